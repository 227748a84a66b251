//! The Python clients that run plainly, found by the Workload API's socket.

use std::ffi::OsStr;
use std::process::Command;

use serde::Deserialize;
use serde_json::Value;

use crate::fault::{Fault, Heard, Result, Tree};
use crate::identity::built;
use crate::process::{Ended, finish};
use crate::site::OLDER;
use crate::tlog::Log;
use crate::world::{World, client_file};

/// py-spiffe as a workload.
pub fn spiffe(world: &World) -> Result<Heard> {
    hear(world.client("spiffe_client.py")?.arg(ID))
}

/// A gRPC client that asks what there is.
pub fn reflection(world: &World) -> Result<Heard> {
    hear(world.client("reflection_client.py")?.arg(ID))
}

/// An OAuth client with a certificate, through a whole token exchange.
pub fn oauth(world: &World) -> Result<Heard> {
    let task = world.task(&[ALLOWED, "invoke:tool:office/customer_statistics"])?;
    hear(world.client("token_exchange.py")?.arg(&world.site.addresses.issuer).args([task.as_str(), ALLOWED, WIDER]))
}

/// An independent verifier of the log's files. Of what the demo left it must also find the bit that was flipped in a copy.
pub fn tlog(log: &Log<'_>) -> Result<Heard> {
    let (origin, key) = (log.origin()?, log.key.as_str());
    plain(&log.dir, origin, key, true)?;
    if let Some(tampered) = log.left("tampered") {
        plain(&tampered, origin, key, false)?;
        hear(client("tlog_judge.py")?.args([tampered.as_str(), origin, key, "--expect-fault"]))?;
    }
    let mut command = client("tlog_judge.py")?;
    if let Some(older) = log.left(OLDER) {
        command.args(["--older", &older]);
    }
    hear(command.arg(&log.dir).args([origin, key]))
}

/// The plain verifier alone, which answers by its exit code.
fn plain(dir: impl AsRef<OsStr>, origin: &str, key: &str, is_whole: bool) -> Result<()> {
    let ended = finish(client("tlog_verify.py")?.arg(dir).args([origin, key]), "")?;
    if ended.code == Some(i32::from(!is_whole)) { Ok(()) } else { Err(ended.fault("tlog_verify.py")) }
}

/// A COSE receipt of an entry holds, and with a flipped bit it does not.
pub fn scitt(log: &Log<'_>) -> Result<Heard> {
    let (cose, broken, entry) = (log.beside("cose"), log.beside("broken"), log.beside("entry"));
    log.site.marque(&["receipt", "get", "7", "--cose", &cose, "--entry", &entry], "")?;
    let mut bytes = std::fs::read(&cose)?;
    if let Some(middle) = bytes.len().checked_div(2).and_then(|middle| bytes.get_mut(middle)) {
        *middle ^= 1;
    }
    std::fs::write(&broken, bytes)?;
    hear(client("scitt_receipt.py")?.args(["--expect-fault", &broken, &entry, &log.key]))?;
    hear(client("scitt_receipt.py")?.args([&cose, &entry, &log.key]))
}

/// A client that needs no server.
fn client(name: &str) -> Result<Command> {
    let mut command = Command::new(built("MARQUE_PYTHON")?);
    command.arg(client_file(name));
    Ok(command)
}

/// Runs a client and takes its one line.
pub fn hear(command: &mut Command) -> Result<Heard> {
    said(&finish(command, "")?)
}

/// The line that every Python client prints.
#[derive(Deserialize)]
struct Said {
    version: String,
    ok: bool,
    seen: Value,
    #[serde(flatten)]
    tree: Option<Tree>,
}

/// What a client said, if it is content.
pub fn said(ended: &Ended) -> Result<Heard> {
    let line = ended.output.lines().last().unwrap_or_default();
    let said: Said = serde_json::from_str(line).map_err(|_| ended.fault("the client"))?;
    if said.ok && ended.code == Some(0) {
        return Ok(Heard { version: Some(said.version), seen: said.seen, tree: said.tree });
    }
    Err(Fault::new(said.seen.as_str().map_or_else(|| said.seen.to_string(), str::to_owned)))
}

const ID: &str = "spiffe://example.org/agent/python";
const ALLOWED: &str = "invoke:tool:office/find_customer";
const WIDER: &str = "invoke:tool:office/export_customers";

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(code: i32, output: &str) -> Ended {
        Ended { code: Some(code), output: output.to_owned(), errors: "why".to_owned() }
    }

    #[test]
    fn a_client_is_believed_only_with_its_exit_code() {
        let content = r#"{"client":"a","version":"1","ok":true,"seen":"all"}"#;
        let heard = said(&ended(0, content)).unwrap();
        assert_eq!((heard.seen, heard.tree), (Value::from("all"), None));
        let of_a_log = r#"{"client":"a","version":"1","ok":true,"seen":"all","size":3,"root":"AA=="}"#;
        assert_eq!(said(&ended(0, of_a_log)).unwrap().tree, Some(Tree { size: 3, root: "AA==".to_owned() }));
        assert!(said(&ended(1, content)).is_err());
        let failed = r#"{"client":"a","version":"1","ok":false,"seen":"nothing"}"#;
        assert_eq!(said(&ended(1, failed)).unwrap_err().to_string(), "nothing");
        assert!(said(&ended(1, "")).unwrap_err().to_string().contains("why"));
    }
}
