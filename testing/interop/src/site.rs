//! A server that runs, with its state directory: this world's own, and one on what `marque demo` left.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;
use serde_json::Value;

use crate::export::{Exports, SECRETS};
use crate::fault::Result;
use crate::process::{Server, finish};

/// A server, and how to speak to it.
#[derive(Debug)]
pub struct Site {
    /// What it is called where both are spoken of.
    pub name: &'static str,
    /// Where it listens.
    pub addresses: Addresses,
    /// The binary.
    pub binary: PathBuf,
    /// What `marque demo` left, where that wrote the log.
    pub demo: Option<PathBuf>,
    state: PathBuf,
    _server: Server,
    /// Who takes what it exports, where somebody reads that.
    pub exports: Option<Exports>,
}

/// Where a server listens, as `marque serve` prints it.
#[derive(Debug, Deserialize)]
pub struct Addresses {
    /// `unix:///…`.
    pub workload_api: String,
    /// `https://…`, the token endpoint's.
    pub issuer: String,
    /// `http://…`, where the published log is served.
    #[serde(default)]
    pub ledger: Option<String>,
    /// `unix:///…`, where brokers connect.
    #[serde(default)]
    pub broker: Option<String>,
}

impl Site {
    /// Starts a server in `dir`, with this configuration and with exports in every format.
    pub fn start(name: &'static str, binary: &Path, dir: &Path, state: PathBuf, config: &str) -> Result<Self> {
        let exports = Exports::start(dir.join(format!("{name}-exports")))?;
        let path = dir.join(format!("{name}.toml"));
        let sinks = exports.as_ref().map(Exports::configuration);
        std::fs::write(&path, format!("{config}{}", sinks.unwrap_or_default()))?;
        let path = path.display().to_string();
        let (server, addresses) = serve(binary, dir, name, &state, &["--ledger", "127.0.0.1:0", "--config", &path])?;
        let site = Self { name, addresses, binary: binary.to_owned(), demo: None, state, _server: server, exports };
        if site.exports.is_some() {
            for (secret, value) in SECRETS {
                site.marque(&["secret", "set", secret], value)?;
            }
        }
        Ok(site)
    }

    /// Runs `marque demo`, puts its checkpoint aside, and serves what it left.
    pub fn demo(binary: &Path, dir: &Path) -> Result<Self> {
        let left = dir.join("demo");
        let mut command = Command::new(binary);
        finish(command.args(["demo", "--json", "--dir"]).arg(&left), "")?.well("`marque demo`")?;
        let state = left.join("state");
        std::fs::copy(state.join("ledger/checkpoint"), left.join(OLDER))?;
        let site = Self::start("demo", binary, dir, state, "")?;
        Ok(Self { demo: Some(left), ..site })
    }

    /// A server whose X.509-SVIDs live for half a minute, with the manifest that stands in `dir`.
    pub fn brief(binary: &Path, dir: &Path) -> Result<Self> {
        let (name, state, config) = ("brief", dir.join("brief"), dir.join("brief.toml"));
        std::fs::write(&config, "[authority]\nx509_svid_ttl = \"30s\"\n")?;
        let (server, addresses) = serve(binary, dir, name, &state, &["--config", &config.display().to_string()])?;
        let site = Self { name, addresses, binary: binary.to_owned(), demo: None, state, _server: server, exports: None };
        site.marque(&["secret", "set", "office-key"], "nobody calls the office here")?;
        site.marque(&["apply", "-f", &dir.join("manifest").display().to_string()], "")?;
        Ok(site)
    }

    /// The log's directory.
    pub fn ledger(&self) -> PathBuf {
        self.state.join("ledger")
    }

    /// Runs one command of the CLI as alice, and takes its JSON.
    pub fn marque(&self, args: &[&str], input: &str) -> Result<Value> {
        let what = format!("`marque {}`", args.join(" "));
        let ended = finish(self.as_alice().arg("--json").args(args), input)?.well(&what)?;
        Ok(serde_json::from_str(&ended.output)?)
    }

    /// The CLI as alice.
    pub fn as_alice(&self) -> Command {
        let mut command = Command::new(&self.binary);
        command.arg("--state").arg(&self.state).args(["--person", ALICE]);
        command
    }
}

/// Starts `marque serve` on a state directory.
pub fn serve(binary: &Path, dir: &Path, name: &'static str, state: &Path, more: &[&str]) -> Result<(Server, Addresses)> {
    let mut command = Command::new(binary);
    command.arg("--json").arg("--state").arg(state).args(["serve", "--administrator", ALICE]);
    command.args(["--listen", "127.0.0.1:0", "--gateway", "127.0.0.1:0", "--console", "127.0.0.1:0"]).args(more);
    let server = Server::start(name, &mut command, dir)?;
    let addresses = serde_json::from_str(&server.line()?)?;
    Ok((server, addresses))
}

/// Among what the demo left: the checkpoint with which it ended.
pub const OLDER: &str = "older-checkpoint";
const ALICE: &str = "alice@example.com";
