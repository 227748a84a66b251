//! Clients that no one here wrote, against a server started here: the binary that `cargo xtask interop` runs.
//!
//! `marque-interop [AREA] [--json]` starts Marque and a tool server in a directory of its own, registers this program
//! and the other clients as agents, and then lets one judge after the other speak to it. Each says in a line what
//! it saw; one that fails does not stop the others. The environment names the binary (`MARQUE_BIN`), and what
//! `cargo xtask interop` built or found for the clients (`MARQUE_PYTHON`, `MARQUE_PYTHON_EXPORT`, `MARQUE_GO_…`, `MARQUE_JAVA`,
//! `MARQUE_NODE`).

#![expect(clippy::print_stdout, reason = "the report is what this program is for")]

mod agreement;
mod broker;
mod export;
mod fault;
mod identity;
mod judges;
mod manifest;
mod mcp;
mod mtls;
mod process;
mod python;
mod site;
mod tlog;
mod workload;
mod world;
mod x509;

use std::process::ExitCode;

use serde_json::json;

use On::{Demo, Logs, Whole};
use agreement::Agreement;
use fault::{Fault, Heard, Result, Tree};
use process::Stopwatch;
use tlog::Log;
use world::World;

/// One client, and how it is let loose.
struct Judge {
    area: &'static str,
    client: &'static str,
    /// Said when the client does not name its own.
    version: &'static str,
    run: On,
}

/// What a judge is let loose on.
enum On {
    /// All that runs here.
    Whole(fn(&World) -> Result<Heard>),
    /// A log, and what was exported of it: this world's, and then the one that `marque demo` wrote.
    Logs(fn(&Log<'_>) -> Result<Heard>),
    /// What `marque demo` left.
    Demo(fn(&Log<'_>) -> Result<Heard>),
}

/// Every judge. Those of logs come last: they look at what the others left there.
const JUDGES: &[Judge] = &[
    Judge { area: "identity", client: "spiffe-rust", version: "0.19", run: Whole(workload::judge) },
    Judge { area: "identity", client: "spiffe-rustls", version: "0.11", run: Whole(mtls::judge) },
    Judge { area: "identity", client: "spiffe-rust-broker", version: "0.19", run: Whole(broker::judge) },
    Judge { area: "identity", client: "spiffe-python", version: "0.3", run: Whole(python::spiffe) },
    Judge { area: "identity", client: "grpc-reflection", version: "1.85", run: Whole(python::reflection) },
    Judge { area: "identity", client: "spiffe-go", version: "2.8", run: Whole(identity::go) },
    Judge { area: "identity", client: "spiffe-go-wit", version: "2.8", run: Whole(identity::go_wit) },
    Judge { area: "identity", client: "spiffe-go-mtls", version: "2.8", run: Whole(identity::go_mtls) },
    Judge { area: "identity", client: "spiffe-go-federation", version: "2.8", run: Whole(identity::go_federation) },
    Judge { area: "identity", client: "spiffe-java", version: "0.8", run: Whole(identity::java) },
    Judge { area: "identity", client: "spiffe-java-mtls", version: "0.8", run: Whole(identity::java_mtls) },
    Judge { area: "identity", client: "envoy", version: "1.40", run: Whole(identity::envoy) },
    Judge { area: "identity", client: "envoy-rotation", version: "1.40", run: Whole(identity::envoy_rotation) },
    Judge { area: "identity", client: "openssl", version: "any", run: Whole(x509::judge) },
    Judge { area: "identity", client: "spiffe-rust-own-tests", version: "0.19", run: Whole(identity::own_tests) },
    // The last one: it leaves more authorities than one, and others count on one.
    Judge { area: "identity", client: "spiffe-go-rotation", version: "2.8", run: Whole(identity::go_rotation) },
    Judge { area: "mcp", client: "mcp-python-modern", version: "2.3", run: Whole(mcp::modern) },
    Judge { area: "mcp", client: "mcp-python-legacy", version: "2.3", run: Whole(mcp::legacy) },
    Judge { area: "mcp", client: "mcp-server-time", version: "2026", run: Whole(mcp::server_time) },
    Judge { area: "oauth", client: "oauth-python", version: "2.15", run: Whole(python::oauth) },
    Judge { area: "ledger", client: "tlog-python", version: "3", run: Logs(python::tlog) },
    Judge { area: "ledger", client: "scitt-cose", version: "0.5", run: Logs(python::scitt) },
    Judge { area: "ledger", client: "go-sumdb-tlog", version: "0.33", run: Logs(judges::sumdb) },
    Judge { area: "ledger", client: "tessera-fsck", version: "1.0", run: Logs(judges::tessera) },
    Judge { area: "ledger", client: "auditor-page", version: "20", run: Logs(judges::page) },
    Judge { area: "ledger", client: "tlog_tiles", version: "0.2", run: Logs(tlog::tiles) },
    Judge { area: "ledger", client: "signed_note", version: "0.2", run: Logs(tlog::note) },
    Judge { area: "ledger", client: "ct-merkle", version: "0.3", run: Logs(tlog::tree) },
    Judge { area: "export", client: "jsonschema", version: "4.26", run: Logs(export::events) },
    Judge { area: "export", client: "ocsf-json-schema", version: "1.2", run: Logs(export::ocsf) },
    Judge { area: "export", client: "cloudevents", version: "2.2", run: Logs(export::cloudevents) },
    Judge { area: "export", client: "opentelemetry-proto", version: "1.45", run: Logs(export::otlp) },
    Judge { area: "export", client: "cefp", version: "0.0.2", run: Logs(export::cef) },
    Judge { area: "export", client: "pyarrow", version: "26.0", run: Logs(export::parquet) },
    Judge { area: "export", client: "prov", version: "3.2", run: Demo(export::prov) },
    Judge { area: "export", client: "in-toto-attestation", version: "0.9", run: Demo(export::statements) },
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
    for judge in &wanted {
        if let Whole(run) = judge.run {
            content &= tell(judge.client, judge.version, json, || run(&world)).0;
        }
    }
    if wanted.iter().any(|judge| !matches!(judge.run, Whole(_))) {
        content &= judge_logs(&world, &wanted, json)?;
    }
    Ok(content)
}

/// Lets the judges of logs speak of this world's and of the demo's, and holds what those of the ledger say of the second
/// against each other.
fn judge_logs(world: &World, wanted: &[&Judge], json: bool) -> Result<bool> {
    world.lengthen()?;
    let demo = world.demo()?;
    let own = Log::copy(&world.site, world.dir().join("world-log"))?;
    let demo = Log::copy(&demo, world.dir().join("demo-log"))?;
    let (mut content, mut agreement) = (true, Agreement::default());
    for judge in wanted {
        let (ok, tree) = match judge.run {
            Whole(_) => continue,
            Logs(run) => tell(judge.client, judge.version, json, || both(run, &own, &demo)),
            Demo(run) => tell(judge.client, judge.version, json, || run(&demo)),
        };
        content &= ok;
        if judge.area == "ledger" {
            agreement.take(judge.client, tree);
        }
    }
    if !agreement.is_empty() {
        content &= tell("agreement", "", json, || agreement.reached()).0;
    }
    Ok(content)
}

/// What a judge says of both logs; the tree is the demo's.
fn both(run: fn(&Log<'_>) -> Result<Heard>, own: &Log<'_>, demo: &Log<'_>) -> Result<Heard> {
    let told = |log: &Log<'_>| run(log).map_err(|fault| Fault::new(format!("{}: {fault}", log.site.name)));
    let (first, second) = (told(own)?, told(demo)?);
    Ok(Heard { seen: json!({ "world": first.seen, "demo": second.seen }), ..second })
}

/// Lets one judge speak, prints its line, and says whether it is content and of which tree it spoke.
fn tell(client: &str, version: &str, json: bool, run: impl FnOnce() -> Result<Heard>) -> (bool, Option<Tree>) {
    let watch = Stopwatch::start();
    let outcome = run();
    let milliseconds = watch.milliseconds();
    let ok = outcome.is_ok();
    let heard = outcome.unwrap_or_else(|fault| Heard::seen(fault.to_string()));
    let (version, seen) = (heard.version.as_deref().unwrap_or(version), &heard.seen);
    if json {
        println!("{}", json!({ "client": client, "version": version, "ok": ok, "seen": seen, "milliseconds": milliseconds }));
    } else {
        let verdict = if ok { "    ok" } else { "FAILED" };
        println!("{verdict} {client} {version} ({milliseconds} ms) {seen}");
    }
    (ok, heard.tree)
}
