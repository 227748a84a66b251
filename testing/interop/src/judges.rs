//! Judges of the log that are written in other languages: Go's own checksum database code, Tessera's fsck, and the
//! auditor's page. The first two read over HTTP, as anybody would.

use std::path::Path;
use std::process::Command;

use crate::fault::{Fault, Heard, Result};
use crate::identity::built;
use crate::python::hear;
use crate::world::World;

/// `golang.org/x/mod/sumdb/tlog` and `note`, with the content types that C2SP asks for.
pub fn sumdb(world: &World) -> Result<Heard> {
    let (url, key) = served(world)?;
    let mut command = Command::new(built("MARQUE_GO_TLOG")?.join("tlog"));
    hear(command.arg("--content-types").args([&url, &key]))
}

/// Tessera's fsck.
pub fn tessera(world: &World) -> Result<Heard> {
    let (url, key) = served(world)?;
    let mut command = Command::new(built("MARQUE_GO_TESSERA")?.join("tessera"));
    hear(command.args([&url, &key]))
}

/// The auditor's page, without a browser.
pub fn page(world: &World) -> Result<Heard> {
    let log = crate::tlog::copy(world)?;
    let client = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients/auditor_check.mjs");
    let mut command = Command::new(built("MARQUE_NODE")?);
    hear(command.arg(client).arg(&log.dir).arg(&log.key))
}

fn served(world: &World) -> Result<(String, String)> {
    let log = crate::tlog::copy(world)?;
    let url = world.addresses.ledger.clone().ok_or_else(|| Fault::new("the server does not serve its log"))?;
    Ok((url, log.key))
}
