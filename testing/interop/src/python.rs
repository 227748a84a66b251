//! The Python clients that run plainly, found by the Workload API's socket.

use std::process::Command;

use serde::Deserialize;
use serde_json::Value;

use crate::fault::{Fault, Heard, Result};
use crate::process::{Ended, finish};
use crate::world::World;

/// py-spiffe as a workload.
pub fn spiffe(world: &World) -> Result<Heard> {
    hear(world.client("spiffe_client.py")?.arg(ID))
}

/// An OAuth client with a certificate, through a whole token exchange.
pub fn oauth(world: &World) -> Result<Heard> {
    let task = world.task(&[ALLOWED, "invoke:tool:office/customer_statistics"])?;
    hear(world.client("token_exchange.py")?.arg(&world.addresses.issuer).args([task.as_str(), ALLOWED, WIDER]))
}

/// An independent verifier of the log's files.
pub fn tlog(world: &World) -> Result<Heard> {
    let log = crate::tlog::copy(world)?;
    hear(world.client("tlog_verify.py")?.arg(&log.dir).args([log.origin()?, log.key.as_str()]))
}

/// A COSE receipt of an entry: it holds against the published checkpoint, and with a flipped bit it does not.
pub fn scitt(world: &World) -> Result<Heard> {
    let log = crate::tlog::copy(world)?;
    let file = |name: &str| world.dir().join(name).display().to_string();
    let (cose, broken, entry) = (file("receipt.cose"), file("broken.cose"), file("receipt.entry"));
    world.marque(&["receipt", "get", "7", "--cose", &cose, "--entry", &entry], "")?;
    let mut bytes = std::fs::read(&cose)?;
    if let Some(middle) = bytes.len().checked_div(2).and_then(|middle| bytes.get_mut(middle)) {
        *middle ^= 1;
    }
    std::fs::write(&broken, bytes)?;
    hear(world.client("scitt_receipt.py")?.args(["--expect-fault", &broken, &entry, log.key.as_str()]))?;
    hear(world.client("scitt_receipt.py")?.args([cose.as_str(), entry.as_str(), log.key.as_str()]))
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
}

/// What a client said, if it is content.
pub fn said(ended: &Ended) -> Result<Heard> {
    let line = ended.output.lines().last().unwrap_or_default();
    let said: Said = serde_json::from_str(line).map_err(|_| ended.fault("the client"))?;
    if said.ok && ended.code == Some(0) {
        return Ok(Heard { version: Some(said.version), seen: said.seen });
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
        assert_eq!(said(&ended(0, content)).unwrap().seen, "all");
        assert!(said(&ended(1, content)).is_err());
        let failed = r#"{"client":"a","version":"1","ok":false,"seen":"nothing"}"#;
        assert_eq!(said(&ended(1, failed)).unwrap_err().to_string(), "nothing");
        assert!(said(&ended(1, "")).unwrap_err().to_string().contains("why"));
    }
}
