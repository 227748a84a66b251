//! The official Python SDK of MCP under `marque run`, in both eras, and a tool server that no one here wrote.

use std::process::Command;

use serde_json::Map;

use crate::fault::{Fault, Heard, Result};
use crate::process::finish;
use crate::python::said;
use crate::world::World;

/// One call, and how it must end.
struct Case {
    name: &'static str,
    era: &'static str,
    tool: &'static str,
    arguments: &'static str,
    expect: &'static str,
    contains: Option<&'static str>,
}

/// Revision 2026-07-28: no session.
pub fn modern(world: &World) -> Result<Heard> {
    office(world, "--modern")
}

/// Revision 2025-11-25: the initialize handshake and a session.
pub fn legacy(world: &World) -> Result<Heard> {
    office(world, "--legacy")
}

/// Four answers: yes, no, ask a person, and a tool that is not even seen.
fn office(world: &World, era: &'static str) -> Result<Heard> {
    let case = |name, tool, arguments, expect, contains| Case { name, era, tool, arguments, expect, contains };
    let cases = [
        case("allowed", "find_customer", r#"{"name": "Ada Holm"}"#, "allowed", Some("ada.holm@example.com")),
        case("denied", "send_mail", FOREIGN, "denied", Some("example.com and example.org only")),
        case("held", "send_mail", CUSTOMER, "held", Some("elev_")),
        case("hidden", "export_customers", "{}", "hidden", None),
    ];
    let task = world.task(&["invoke:tool:office/find_customer", "invoke:tool:office/send_mail"])?;
    converse(world, &task, "office", &cases)
}

/// The MCP project's time server, started by the gateway. It writes its definitions differently in the two eras; that
/// must not look like a changed tool.
pub fn server_time(world: &World) -> Result<Heard> {
    let case = |name, era, tool, arguments, contains| Case { name, era, tool, arguments, expect: "allowed", contains };
    let berlin = r#"{"timezone": "Europe/Berlin"}"#;
    let tokyo = r#"{"source_timezone": "UTC", "time": "12:00", "target_timezone": "Asia/Tokyo"}"#;
    let cases = [
        case("legacy", "--legacy", "get_current_time", berlin, Some("Europe/Berlin")),
        case("legacy conversion", "--legacy", "convert_time", tokyo, Some("+9.0h")),
        case("modern", "--modern", "get_current_time", berlin, Some("Europe/Berlin")),
        case("legacy again", "--legacy", "get_current_time", berlin, Some("Europe/Berlin")),
    ];
    let task = world.task(&["invoke:tool:clock/*"])?;
    let heard = converse(world, &task, "clock", &cases)?;
    let mut ask = Command::new(world.python()?);
    ask.args(["-c", "from importlib.metadata import version; print(version('mcp-server-time'))"]);
    let version = finish(&mut ask, "")?.well("the interpreter")?.output.trim().to_owned();
    Ok(Heard { version: Some(version), ..heard })
}

/// Every case in a process of its own. All are tried, so that one failure does not hide another.
fn converse(world: &World, task: &str, service: &str, cases: &[Case]) -> Result<Heard> {
    let mut version = None;
    let mut seen = Map::new();
    let mut failed = Vec::new();
    for case in cases {
        match call(world, task, service, case) {
            Ok(heard) => {
                version = heard.version;
                seen.insert(case.name.to_owned(), heard.seen);
            }
            Err(fault) => failed.push(format!("{}: {fault}", case.name)),
        }
    }
    if failed.is_empty() { Ok(Heard::by(version, seen)) } else { Err(Fault::new(failed.join("; "))) }
}

fn call(world: &World, task: &str, service: &str, case: &Case) -> Result<Heard> {
    let mut command = world.launched(task, "mcp_client.py", service)?;
    command.args([case.era, "--call", case.tool, "--args", case.arguments, "--expect", case.expect]);
    command.args(case.contains.iter().flat_map(|text| ["--contains", *text]));
    said(&finish(&mut command, "")?)
}

const FOREIGN: &str = r#"{"to": "news@press.example.net", "subject": "Balance", "body": "All of it."}"#;
const CUSTOMER: &str = r#"{"to": "ada.holm@example.com", "subject": "Balance", "body": "Dear Ada, it is fine."}"#;
