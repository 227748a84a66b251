//! `cargo xtask interop`: clients that no one here wrote, against a server started here.
//!
//! The package `marque-interop` runs them; this installs what they need and holds the result against the list below.
//! A client that did not run is a failure, never a skip.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::Deserialize;

use crate::report::{Report, Step, say};
use crate::tools::{self, Cargo, Workspace};
use crate::{Flags, Stop, toolchains};

/// One client that must be heard of.
pub struct Client {
    /// What it tries.
    pub area: &'static str,
    /// What it calls itself in `client`.
    pub name: &'static str,
    version: &'static str,
    how: How,
}

/// Where a client comes from, and so what must be there before it can run.
#[derive(Clone, Copy, PartialEq, Eq)]
enum How {
    /// A program in `testing/interop/clients`, with packages pinned in its `requirements.txt`.
    Python,
    /// `export_check.py` there, with the packages pinned in `requirements-export.txt`.
    ExportPython,
    /// A crate that `marque-interop` is built with.
    Crate,
    /// A program of the system, and the Debian package that has it.
    System(&'static str, &'static str),
    /// A Go module in `testing/interop/go`.
    Go(&'static str),
    /// The Java program in `testing/interop/java`.
    Java,
    /// A program for Node in `testing/interop/clients`.
    Node,
}

/// Every client. A version is the one pinned where the client is installed from; `any` is whatever the system has.
pub const CLIENTS: &[Client] = &[
    Client { area: "mcp", name: "mcp-python-modern", version: "2.3.0", how: How::Python },
    Client { area: "mcp", name: "mcp-python-legacy", version: "2.3.0", how: How::Python },
    Client { area: "mcp", name: "mcp-server-time", version: "2026.10.19", how: How::Python },
    Client { area: "oauth", name: "oauth-python", version: "2.15.1", how: How::Python },
    Client { area: "identity", name: "spiffe-python", version: "0.3.2", how: How::Python },
    Client { area: "identity", name: "spiffe-rust", version: "0.19", how: How::Crate },
    Client { area: "identity", name: "spiffe-rustls", version: "0.11", how: How::Crate },
    Client { area: "identity", name: "spiffe-rust-broker", version: "0.19", how: How::Crate },
    Client { area: "identity", name: "spiffe-rust-own-tests", version: "0.19", how: How::Python },
    Client { area: "identity", name: "spiffe-go", version: "2.8.2", how: How::Go("spiffe") },
    Client { area: "identity", name: "spiffe-go-wit", version: "2.8.2", how: How::Go("spiffe") },
    Client { area: "identity", name: "spiffe-go-mtls", version: "2.8.2", how: How::Go("spiffe") },
    Client { area: "identity", name: "spiffe-go-federation", version: "2.8.2", how: How::Go("spiffe") },
    Client { area: "identity", name: "spiffe-java", version: "0.8.17", how: How::Java },
    Client { area: "identity", name: "spiffe-java-mtls", version: "0.8.17", how: How::Java },
    Client { area: "identity", name: "envoy", version: "1.40.0", how: How::Python },
    Client { area: "identity", name: "envoy-rotation", version: "1.40.0", how: How::Python },
    Client { area: "identity", name: "openssl", version: "any", how: How::System("openssl", "openssl") },
    // The last one: it leaves more authorities than one, and others count on one.
    Client { area: "identity", name: "spiffe-go-rotation", version: "2.8.2", how: How::Go("spiffe") },
    Client { area: "ledger", name: "tlog-python", version: "3", how: How::Python },
    Client { area: "ledger", name: "scitt-cose", version: "0.5.0", how: How::Python },
    Client { area: "ledger", name: "go-sumdb-tlog", version: "0.33.0", how: How::Go("tlog") },
    Client { area: "ledger", name: "tessera-fsck", version: "1.0.4", how: How::Go("tessera") },
    Client { area: "ledger", name: "auditor-page", version: "20", how: How::Node },
    Client { area: "ledger", name: "tlog_tiles", version: "0.2", how: How::Crate },
    Client { area: "ledger", name: "signed_note", version: "0.2", how: How::Crate },
    Client { area: "ledger", name: "ct-merkle", version: "0.3", how: How::Crate },
    // No client of its own: that all of these judged the same tree of the log that `marque demo` wrote.
    Client { area: "ledger", name: "agreement", version: "any", how: How::Crate },
    Client { area: "export", name: "jsonschema", version: "4.26.0", how: How::ExportPython },
    Client { area: "export", name: "ocsf-json-schema", version: "1.2.0", how: How::ExportPython },
    Client { area: "export", name: "cloudevents", version: "2.2.0", how: How::ExportPython },
    Client { area: "export", name: "opentelemetry-proto", version: "1.45.2", how: How::ExportPython },
    Client { area: "export", name: "cefp", version: "0.0.2", how: How::ExportPython },
    Client { area: "export", name: "pyarrow", version: "26.0.1", how: How::ExportPython },
    Client { area: "export", name: "prov", version: "3.2.3", how: How::ExportPython },
    Client { area: "export", name: "in-toto-attestation", version: "0.9.3", how: How::ExportPython },
];

/// Runs the clients of one area, or all.
pub fn run(workspace: &Workspace, args: &[String]) -> Result<(), Stop> {
    let flags = Flags::parse(args, &["--json"], &[])?;
    let area = flags.one_name()?;
    if let Some(area) = area.filter(|area| CLIENTS.iter().all(|client| client.area != *area)) {
        let areas: BTreeSet<_> = CLIENTS.iter().map(|client| client.area).collect();
        return Err(Stop::Usage(format!("there is no area `{area}`; the areas are {}", Vec::from_iter(areas).join(" "))));
    }
    let json = flags.has("--json");
    let mut report = Report::new(json);
    let step =
        Step::time("interop", || drive(workspace, area, |line, text| say(&if json { text.to_owned() } else { line.show() })));
    let ok = step.ok;
    report.add(step);
    if ok { Ok(()) } else { Err(Stop::Failed("a client is not served".to_owned())) }
}

/// The stage of `cargo xtask ci`: the same, with only the outcome told.
pub fn check(workspace: &Workspace, area: Option<&str>) -> Result<String, String> {
    drive(workspace, area, |line, _| crate::report::note(&line.show()))
}

fn drive(workspace: &Workspace, area: Option<&str>, mut tell: impl FnMut(&Line, &str)) -> Result<String, String> {
    let wanted: Vec<&Client> = CLIENTS.iter().filter(|client| area.is_none_or(|area| client.area == area)).collect();
    let mut command = Cargo::new(workspace, &["run", "--quiet", "--package", "marque-interop", "--"]).args(area).args(["--json"]);
    for client in &wanted {
        if let How::System(program, package) = client.how {
            tools::program(program, package)?;
        }
    }
    if wanted.iter().any(|client| client.how == How::Python) {
        command = command.env("MARQUE_PYTHON", tools::python(workspace)?);
    }
    if wanted.iter().any(|client| client.how == How::ExportPython) {
        command = command.env("MARQUE_PYTHON_EXPORT", tools::export_python(workspace)?);
    }
    let modules: BTreeSet<&str> =
        wanted.iter().filter_map(|c| if let How::Go(module) = c.how { Some(module) } else { None }).collect();
    for module in modules {
        command = command.env(&format!("MARQUE_GO_{}", module.to_uppercase()), toolchains::go(workspace, module)?);
    }
    // The Java client speaks to the Go one.
    if wanted.iter().any(|client| client.how == How::Java) {
        command = command.env("MARQUE_JAVA", toolchains::java(workspace)?);
        command = command.env("MARQUE_GO_SPIFFE", toolchains::go(workspace, "spiffe")?);
    }
    if wanted.iter().any(|client| client.how == How::Node) {
        command = command.env("MARQUE_NODE", toolchains::node(workspace)?);
    }
    command = command.env("MARQUE_BIN", workspace.build_marque()?);

    let mut lines = Vec::new();
    let ended = command.lines(LIMIT, |text| {
        if let Ok(line) = serde_json::from_str::<Line>(text) {
            tell(&line, text);
            lines.push(line);
        }
    });
    let seen = judge(&wanted, &lines)?;
    ended.map(|()| seen)
}

fn judge(wanted: &[&Client], lines: &[Line]) -> Result<String, String> {
    let failed: Vec<_> = lines.iter().filter(|line| !line.ok).map(|line| line.client.as_str()).collect();
    if !failed.is_empty() {
        return Err(format!("these clients failed: {}", failed.join(", ")));
    }
    let silent: Vec<_> = wanted.iter().filter(|client| lines.iter().all(|line| line.client != client.name)).collect();
    if !silent.is_empty() {
        let silent: Vec<_> = silent.iter().map(|client| format!("{} {}", client.name, client.version)).collect();
        return Err(format!("these clients did not run: {}", silent.join(", ")));
    }
    Ok(format!("{} clients, {} conversations", wanted.len(), lines.len()))
}

/// What a client says of itself when it is done.
#[derive(Deserialize)]
struct Line {
    client: String,
    #[serde(default)]
    version: String,
    ok: bool,
    #[serde(default)]
    seen: serde_json::Value,
}

impl Line {
    fn show(&self) -> String {
        let verdict = if self.ok { "    ok" } else { "FAILED" };
        let seen = self.seen.as_str().map_or_else(|| self.seen.to_string(), str::to_owned);
        format!("{verdict} {} {} {seen}", self.client, self.version)
    }
}

const LIMIT: Duration = Duration::from_secs(1_800);

#[cfg(test)]
mod tests {
    use super::*;

    fn line(client: &str, ok: bool) -> Line {
        Line { client: client.to_owned(), version: "1".to_owned(), ok, seen: serde_json::Value::Null }
    }

    #[test]
    fn a_silent_client_is_a_failure() {
        let wanted: Vec<&Client> = CLIENTS.iter().collect();
        let mut lines: Vec<Line> = CLIENTS.iter().map(|client| line(client.name, true)).collect();
        assert!(judge(&wanted, &lines).is_ok());
        let last = lines.pop().unwrap();
        assert!(judge(&wanted, &lines).unwrap_err().contains(&last.client));
        lines.push(line(&last.client, false));
        assert!(judge(&wanted, &lines).unwrap_err().contains("failed"));
    }

    #[test]
    fn a_line_reads_with_text_or_with_an_object() {
        let plain: Line = serde_json::from_str(r#"{"client":"a","version":"1","ok":true,"seen":"two tools"}"#).unwrap();
        assert_eq!(plain.show(), "    ok a 1 two tools");
        let object: Line = serde_json::from_str(r#"{"client":"a","ok":false,"seen":{"n":1}}"#).unwrap();
        assert_eq!(object.show(), r#"FAILED a  {"n":1}"#);
    }
}
