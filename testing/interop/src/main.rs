//! Clients that no one here wrote, against a server started here: the binary that `cargo xtask interop` runs.
//!
//! `marque-interop [AREA] [--json]` starts Marque and a tool server in a directory of its own, registers this program
//! and the other clients as agents, and then lets one judge after the other speak to it. Each says in a line what
//! it saw; one that fails does not stop the others. The environment names the binary (`MARQUE_BIN`), and what
//! `cargo xtask interop` built or found for the clients (`MARQUE_PYTHON`, `MARQUE_GO_…`, `MARQUE_JAVA`, `MARQUE_NODE`).

#![expect(clippy::print_stdout, reason = "the report is what this program is for")]

mod broker;
mod fault;
mod identity;
mod judges;
mod manifest;
mod mcp;
mod mtls;
mod process;
mod python;
mod tlog;
mod workload;
mod world;
mod x509;

use std::process::ExitCode;

use serde_json::json;

use fault::{Fault, Heard, Result};
use process::Stopwatch;
use world::World;

/// One client, and how it is let loose.
struct Judge {
    area: &'static str,
    client: &'static str,
    /// Said when the client does not name its own.
    version: &'static str,
    run: fn(&World) -> Result<Heard>,
}

/// Every judge. Those of the log come last: they look at what the others left in it.
const JUDGES: &[Judge] = &[
    Judge { area: "identity", client: "spiffe-rust", version: "0.19", run: workload::judge },
    Judge { area: "identity", client: "spiffe-rustls", version: "0.11", run: mtls::judge },
    Judge { area: "identity", client: "spiffe-rust-broker", version: "0.19", run: broker::judge },
    Judge { area: "identity", client: "spiffe-python", version: "0.3", run: python::spiffe },
    Judge { area: "identity", client: "spiffe-go", version: "2.8", run: identity::go },
    Judge { area: "identity", client: "spiffe-go-wit", version: "2.8", run: identity::go_wit },
    Judge { area: "identity", client: "spiffe-go-mtls", version: "2.8", run: identity::go_mtls },
    Judge { area: "identity", client: "spiffe-go-federation", version: "2.8", run: identity::go_federation },
    Judge { area: "identity", client: "spiffe-java", version: "0.8", run: identity::java },
    Judge { area: "identity", client: "spiffe-java-mtls", version: "0.8", run: identity::java_mtls },
    Judge { area: "identity", client: "envoy", version: "1.40", run: identity::envoy },
    Judge { area: "identity", client: "openssl", version: "any", run: x509::judge },
    Judge { area: "identity", client: "spiffe-rust-own-tests", version: "0.19", run: identity::own_tests },
    // The last one: it leaves more authorities than one, and others count on one.
    Judge { area: "identity", client: "spiffe-go-rotation", version: "2.8", run: identity::go_rotation },
    Judge { area: "mcp", client: "mcp-python-modern", version: "2.3", run: mcp::modern },
    Judge { area: "mcp", client: "mcp-python-legacy", version: "2.3", run: mcp::legacy },
    Judge { area: "mcp", client: "mcp-server-time", version: "2026", run: mcp::server_time },
    Judge { area: "oauth", client: "oauth-python", version: "2.15", run: python::oauth },
    Judge { area: "ledger", client: "tlog-python", version: "2", run: python::tlog },
    Judge { area: "ledger", client: "scitt-cose", version: "0.5", run: python::scitt },
    Judge { area: "ledger", client: "go-sumdb-tlog", version: "0.33", run: judges::sumdb },
    Judge { area: "ledger", client: "tessera-fsck", version: "1.0", run: judges::tessera },
    Judge { area: "ledger", client: "auditor-page", version: "20", run: judges::page },
    Judge { area: "ledger", client: "tlog_tiles", version: "0.2", run: tlog::tiles },
    Judge { area: "ledger", client: "signed_note", version: "0.2", run: tlog::note },
    Judge { area: "ledger", client: "ct-merkle", version: "0.3", run: tlog::tree },
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.as_slice() {
        [word, socket] if word == workload::STRANGER => return workload::stranger(socket),
        [word] if word == broker::WAIT => return broker::wait(),
        [word, socket, client] if word == mtls::PEER_WORD => return mtls::serve(socket, client),
        _ => {}
    }
    match run(&arguments) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(fault) => {
            eprintln!("marque-interop: {fault}");
            ExitCode::FAILURE
        }
    }
}

/// Runs the judges that were asked for; whether all are content.
fn run(arguments: &[String]) -> Result<bool> {
    let json = arguments.iter().any(|a| a == "--json");
    let mut areas = arguments.iter().filter(|a| *a != "--json");
    let area = areas.next();
    if let Some(more) = areas.next() {
        return Err(Fault::new(format!("one area at most, not also `{more}`")));
    }
    let wanted: Vec<&Judge> = JUDGES.iter().filter(|judge| area.is_none_or(|area| judge.area == area)).collect();
    if wanted.is_empty() {
        return Err(Fault::new(format!("there is no area `{}`", area.map_or("", String::as_str))));
    }
    let world = World::start()?;
    let mut content = true;
    for judge in wanted {
        content &= tell(judge, &world, json);
    }
    Ok(content)
}

/// Lets one judge speak, and prints its line.
fn tell(judge: &Judge, world: &World, json: bool) -> bool {
    let watch = Stopwatch::start();
    let outcome = (judge.run)(world);
    let milliseconds = watch.milliseconds();
    let (ok, version, seen) = match outcome {
        Ok(heard) => (true, heard.version.unwrap_or_else(|| judge.version.to_owned()), heard.seen),
        Err(fault) => (false, judge.version.to_owned(), json!(fault.to_string())),
    };
    if json {
        let line = json!({ "client": judge.client, "version": version, "ok": ok, "seen": seen, "milliseconds": milliseconds });
        println!("{line}");
    } else {
        let verdict = if ok { "    ok" } else { "FAILED" };
        println!("{verdict} {} {version} ({milliseconds} ms) {seen}", judge.client);
    }
    ok
}
