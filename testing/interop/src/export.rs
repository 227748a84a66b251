//! What was exported, read by packages that no one here wrote (`clients/export_check.py`): the events of a log in every format,
//! as its sinks took them, and what is said of one file.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::fault::{Fault, Heard, Result, need};
use crate::identity::built;
use crate::process::{Server, Stopwatch};
use crate::python::hear;
use crate::tlog::Log;
use crate::world::{client_file, variable};

/// Who takes what a site exports: folders, and a receiver for the sinks that speak to one.
#[derive(Debug)]
pub struct Exports {
    folder: PathBuf,
    addresses: Addresses,
    _receiver: Server,
}

/// Where the receiver listens, as it prints it.
#[derive(Debug, Deserialize)]
struct Addresses {
    http: String,
    syslog: String,
}

impl Exports {
    /// Starts the receiver, if the Python that reads what it takes is here.
    pub fn start(folder: PathBuf) -> Result<Option<Self>> {
        let Some(python) = variable(PYTHON) else { return Ok(None) };
        std::fs::create_dir_all(&folder)?;
        let mut command = Command::new(python);
        command.arg(client_file("export_receiver.py")).arg(&folder).args(SECRETS.map(|(_, value)| value));
        let receiver = Server::start("receiver", &mut command, &folder)?;
        let addresses = serde_json::from_str(&receiver.line()?)?;
        Ok(Some(Self { folder, addresses, _receiver: receiver }))
    }

    /// One export in each format, and at least one to each kind of sink.
    pub fn configuration(&self) -> String {
        let Addresses { http, syslog } = &self.addresses;
        let [(webhook, _), (collector, _)] = SECRETS;
        let post = |path: &str, secret: &str| format!("url = \"http://{http}/{path}\"\nsecret = \"{secret}\"");
        let folder = |name: &str| format!("folder = {}", json!(self.at(name)));
        [
            // Small files, so that there are several.
            ("events", "file", format!("{}\nrotate = 20000", folder("events"))),
            ("parquet", "parquet", format!("{}\nrows = 40\npatience = \"1s\"", folder("parquet"))),
            ("ocsf", "webhook", post("ocsf", webhook)),
            ("cloudevents", "webhook", post("cloudevents", webhook)),
            ("otlp", "otlp", post("v1/logs", collector)),
            ("cef", "syslog", format!("address = \"tcp://{syslog}\"")),
        ]
        .map(|(format, sink, more)| {
            format!("\n[[export]]\nname = \"{format}\"\nformat = \"{format}\"\nsink = \"{sink}\"\n{more}\n")
        })
        .concat()
    }

    fn at(&self, name: &str) -> String {
        self.folder.join(name).display().to_string()
    }

    /// Whether the receiver has so many messages. Syslog has no acknowledgement, so the server cannot know.
    fn has_messages(&self, count: u64) -> bool {
        let text = std::fs::read_to_string(self.at("syslog")).unwrap_or_default();
        u64::try_from(text.lines().count()).is_ok_and(|lines| lines >= count)
    }
}

/// `jsonschema`: every event is what `marque export schema` says.
pub fn events(log: &Log<'_>) -> Result<Heard> {
    let schema = log.beside("schema");
    std::fs::write(&schema, log.site.marque(&["export", "schema"], "")?.to_string())?;
    read(log, &["events", &schema], "events")
}

/// OCSF's own schema.
pub fn ocsf(log: &Log<'_>) -> Result<Heard> {
    read(log, &["ocsf"], "ocsf")
}

/// The CloudEvents SDK. The receiver has held the signatures against the reference library of Standard Webhooks.
pub fn cloudevents(log: &Log<'_>) -> Result<Heard> {
    read(log, &["cloudevents"], "cloudevents")
}

/// OpenTelemetry's Protobuf messages.
pub fn otlp(log: &Log<'_>) -> Result<Heard> {
    read(log, &["otlp"], "v1-logs")
}

/// Parsers of syslog and of CEF.
pub fn cef(log: &Log<'_>) -> Result<Heard> {
    read(log, &["cef"], "syslog")
}

/// pyarrow and duckdb.
pub fn parquet(log: &Log<'_>) -> Result<Heard> {
    read(log, &["parquet"], "parquet")
}

/// The lineage of the demo's report, and of a file that is known only as attested, with the `prov` package.
pub fn prov(log: &Log<'_>) -> Result<Heard> {
    let document = log.beside("prov");
    log.site.marque(&["trace", &report(log)?, "--prov", &document], "")?;
    let written = hear(reader()?.args(["prov", &document]))?;
    let made = made(log, &[])?;
    log.site.marque(&["trace", &made, "--prov", &document], "")?;
    let attested = hear(reader()?.args(["prov", &document]))?;
    Ok(Heard::by(written.version, json!({ "report": written.seen, "attested": attested.seen })))
}

/// What is stated of the demo's report, and of a file that was made from it: `securesystemslib` and `in-toto-attestation`.
pub fn statements(log: &Log<'_>) -> Result<Heard> {
    let (report, envelope) = (report(log)?, log.beside("dsse"));
    log.site.marque(&["trace", &report, "--intoto", &envelope], "")?;
    let action = stated(log, &envelope, &report, "https://marque.dev/attestation/action/v1")?;

    let made = made(log, &["--out", &envelope])?;
    let provenance = stated(log, &envelope, &made, "https://slsa.dev/provenance/v1")?;
    Ok(Heard::by(action.version, json!({ "action": action.seen, "provenance": provenance.seen })))
}

/// A file that was made from the demo's report, attested.
fn made(log: &Log<'_>, more: &[&str]) -> Result<String> {
    let (report, made) = (report(log)?, log.beside("made"));
    std::fs::write(&made, "what somebody made of the report")?;
    let records = log.site.marque(&["records", "--limit", "1"], "")?;
    let task = records.pointer("/0/task").and_then(Value::as_str).ok_or_else(|| Fault::new("the demo left no record"))?;
    log.site.marque(&[&["attest", &made, "--task", task, "--input", &report][..], more].concat(), "")?;
    Ok(made)
}

fn stated(log: &Log<'_>, envelope: &str, file: &str, predicate: &str) -> Result<Heard> {
    let heard = hear(reader()?.args(["dsse", envelope, &log.key, file]))?;
    let is_stated = heard.seen.as_str().is_some_and(|seen| seen.starts_with(predicate));
    need(is_stated, format!("of `{file}` there is stated {}", heard.seen))?;
    Ok(heard)
}

fn report(log: &Log<'_>) -> Result<String> {
    log.left("office/reports/weekly.md").ok_or_else(|| Fault::new("this log is not the demo's"))
}

/// Lets a mode of the reader loose on what a sink took, which must be all that the copy of the log has.
fn read(log: &Log<'_>, mode: &[&str], taken: &str) -> Result<Heard> {
    let exports = delivered(log)?;
    let mut command = reader()?;
    hear(command.args(mode).arg(exports.at(taken)).arg("--log").arg(&log.dir))
}

fn reader() -> Result<Command> {
    let mut command = Command::new(built(PYTHON)?);
    // It has modules of its own, whose compiled form has no place beside them.
    command.arg("-B").arg(client_file("export_check.py"));
    Ok(command)
}

/// The exports, when every one of them has carried out what the copy of the log has.
fn delivered<'a>(log: &Log<'a>) -> Result<&'a Exports> {
    let exports = log.site.exports.as_ref().ok_or_else(|| Fault::new(format!("`{PYTHON}` does not name the interpreter")))?;
    let size = log.size()?;
    let watch = Stopwatch::start();
    let mut nudged = false;
    loop {
        let status = log.site.marque(&["export", "status"], "")?;
        let taken = |export: &Value| export.get("cursor").and_then(Value::as_u64).is_some_and(|cursor| cursor >= size);
        let all = status.as_array().is_some_and(|all| all.len() == FORMATS && all.iter().all(taken));
        if all && exports.has_messages(size) {
            return Ok(exports);
        }
        need(watch.elapsed() < PATIENCE, format!("of {size} entries not all were taken: {status}"))?;
        if !nudged {
            // A file of columns waits a second for company, and its export looks again when the log grows: reading is an entry.
            nudged = true;
            log.site.marque(&["export", "run", "--format", "events", "--limit", "1", "--to", &log.beside("first")], "")?;
        }
        std::thread::sleep(PAUSE);
    }
}

/// The stored secrets of the exports: that which signs webhooks, and the key that the collector asks for.
pub const SECRETS: [(&str, &str); 2] =
    [("webhook-key", "whsec_YSBrZXkgb2YgdGhpcnR5LXR3byBvY3RldHMsIGhlcmU="), ("collector-key", "the-key-of-the-collector")];
/// The variable that names the Python with the packages of `requirements-export.txt`.
const PYTHON: &str = "MARQUE_PYTHON_EXPORT";
/// How many formats there are, and so exports.
const FORMATS: usize = 6;
const PATIENCE: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(100);
