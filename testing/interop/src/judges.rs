//! Judges of the log that are written in other languages: Go's own checksum database code, Tessera's fsck, and the
//! auditor's page. The first two read over HTTP, as anybody would.

use std::path::PathBuf;
use std::process::Command;

use crate::fault::{Fault, Heard, Result};
use crate::identity::built;
use crate::python::hear;
use crate::site::OLDER;
use crate::tlog::Log;
use crate::world::client_file;

/// `golang.org/x/mod/sumdb/tlog` and `note`, with the content types that C2SP asks for.
pub fn sumdb(log: &Log<'_>) -> Result<Heard> {
    let mut command = Command::new(built("MARQUE_GO_TLOG")?.join("tlog"));
    if let Some(older) = log.left(OLDER) {
        command.args(["--older", &older]);
    }
    hear(command.arg("--content-types").args([served(log)?, &log.key]))
}

/// Tessera's fsck.
pub fn tessera(log: &Log<'_>) -> Result<Heard> {
    let mut command = Command::new(built("MARQUE_GO_TESSERA")?.join("tessera"));
    hear(command.args([served(log)?, &log.key]))
}

/// The auditor's page, without a browser. Of what the demo left it must also find the bit that was flipped in a copy.
pub fn page(log: &Log<'_>) -> Result<Heard> {
    let page = || Ok::<_, Fault>(started(built("MARQUE_NODE")?, "auditor_check.mjs"));
    if let Some(tampered) = log.left("tampered") {
        hear(page()?.args(["--expect-fault", &tampered, &log.key]))?;
    }
    hear(page()?.arg(&log.dir).arg(&log.key).args(log.left(OLDER)))
}

fn started(interpreter: PathBuf, client: &str) -> Command {
    let mut command = Command::new(interpreter);
    command.arg(client_file(client));
    command
}

fn served<'a>(log: &Log<'a>) -> Result<&'a str> {
    log.site.addresses.ledger.as_deref().ok_or_else(|| Fault::new("the server does not serve its log"))
}
