//! Exports as the configuration names them.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use marque_core::time::Ttl;
use marque_engine::{Engine, Export, ExportFormat};
use marque_server::sinks::{Exporter, SinkError, SyslogAddress, Target};
use serde::Deserialize;
use tokio::task::JoinSet;

use crate::failure::{Failure, Result};

/// One export: events of the log carried out to another system, in order, each at least once.
///
/// ```toml
/// [[export]]
/// name = "siem"
/// format = "ocsf"
/// sink = "webhook"
/// url = "https://siem.example.com/marque"
/// secret = "siem-key"
/// ```
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExportConfig {
    /// Its name: how far it is stands under it, in `exports/<name>.cursor` of the state directory.
    pub name: String,
    /// `events`, `ocsf`, `otlp`, `cef`, `cloudevents` or `parquet`.
    pub format: ExportFormat,
    /// Where to.
    pub sink: SinkKind,
    /// Of `otlp` and `webhook`: the address; https, or http on a loopback address. An OTLP address ends with `/v1/logs`.
    pub url: Option<String>,
    /// Of `webhook`: the stored secret that signs, `whsec_` and 24 to 64 bytes in base64. Of `otlp`: the stored secret that is
    /// sent in `header`.
    pub secret: Option<String>,
    /// Of `otlp`: the header for the secret. Default: `authorization`.
    pub header: Option<String>,
    /// Of `syslog`: `tcp://host:port` or `udp://host:port`.
    pub address: Option<String>,
    /// Of `file` and `parquet`: the folder, which no other export writes to.
    pub folder: Option<PathBuf>,
    /// Of `file`: how many bytes a file has before the next begins. Default: 64 MiB.
    pub rotate: Option<u64>,
    /// Of `parquet`: how many entries a file has, 20000 at most. Default: 5000.
    pub rows: Option<usize>,
    /// Of `parquet`: how long an entry waits for its file to become full. Default: `1h`.
    pub patience: Option<String>,
    /// Whether people are called by their names. Without it their pseudonyms stand there, so that erasing somebody reaches
    /// the copies too. Default: no.
    #[serde(default)]
    pub names: bool,
    /// Whether content that the log keeps back, and digests of it, go out too. Default: no.
    #[serde(default)]
    pub contents: bool,
    /// The first entry, where the export has not run before. Default: 0.
    #[serde(default)]
    pub from: u64,
}

/// The kinds of sinks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SinkKind {
    /// Lines in files of a folder.
    File,
    /// An OpenTelemetry collector, OTLP/HTTP with JSON.
    Otlp,
    /// Signed requests (Standard Webhooks).
    Webhook,
    /// Lines of CEF to a syslog server.
    Syslog,
    /// Parquet files in a folder.
    Parquet,
}

/// Starts every export; they end when the set is dropped.
pub async fn start(engine: &Arc<Engine>, configs: &[ExportConfig]) -> Result<JoinSet<()>> {
    check(configs)?;
    let mut running = JoinSet::new();
    for config in configs {
        let wrong = |e: SinkError| config.wrong(e.chain());
        let target = config.target()?;
        let mut rendering = target.rendering(config.format).map_err(wrong)?;
        rendering.names = config.names;
        rendering.contents = config.contents;
        let export = Export { name: config.name.clone(), rendering, from: config.from };
        let exporter = Exporter::start(Arc::clone(engine), export, &target).await.map_err(wrong)?;
        running.spawn(exporter.run());
    }
    Ok(running)
}

/// Whether the configuration makes sense, without starting anything.
pub fn check(configs: &[ExportConfig]) -> Result<()> {
    for (n, config) in configs.iter().enumerate() {
        let others = configs.iter().take(n);
        for other in others {
            if other.name == config.name {
                return Err(Failure::input(format!("there are two exports of the name `{}`", config.name)));
            }
            if let Some(folder) = config.folder.as_ref().filter(|folder| other.folder.as_ref() == Some(folder)) {
                let text = format!("exports `{}` and `{}` both write to `{}`", other.name, config.name, folder.display());
                return Err(Failure::input(text));
            }
        }
        let target = config.target()?;
        target.rendering(config.format).and_then(|_| target.check()).map_err(|e| config.wrong(e.chain()))?;
    }
    Ok(())
}

impl ExportConfig {
    fn target(&self) -> Result<Target> {
        self.only_what_belongs()?;
        Ok(match self.sink {
            SinkKind::File => {
                Target::File { folder: self.needed("folder", &self.folder)?, rotate: self.rotate.unwrap_or(ROTATE).max(1) }
            }
            SinkKind::Otlp => {
                let header = || self.header.clone().unwrap_or_else(|| "authorization".into());
                let secret = self.secret.clone().map(|secret| (secret, header()));
                Target::Otlp { url: self.needed("url", &self.url)?, secret }
            }
            SinkKind::Webhook => {
                Target::Webhook { url: self.needed("url", &self.url)?, secret: self.needed("secret", &self.secret)? }
            }
            SinkKind::Syslog => {
                let address = self.needed("address", &self.address)?;
                Target::Syslog(address.parse::<SyslogAddress>().map_err(|e| self.wrong(e))?)
            }
            SinkKind::Parquet => {
                let rows = self.rows.unwrap_or(ROWS);
                if !(1..=MOST_ROWS).contains(&rows) {
                    return Err(self.wrong(format!("`rows` is from 1 to {MOST_ROWS}, not {rows}")));
                }
                let patience = self.patience.as_deref().unwrap_or(PATIENCE);
                let patience = patience.parse::<Ttl>().map_err(|e| self.wrong(e))?;
                let folder = self.needed("folder", &self.folder)?;
                Target::Parquet { folder, rows, patience: Duration::from_secs(patience.seconds()) }
            }
        })
    }

    /// A setting of another sink is a mistake, and not to be passed over.
    fn only_what_belongs(&self) -> Result<()> {
        use SinkKind::{File, Otlp, Parquet, Syslog, Webhook};
        let settings: [(&str, bool, &[SinkKind]); 8] = [
            ("url", self.url.is_some(), &[Otlp, Webhook]),
            ("secret", self.secret.is_some(), &[Otlp, Webhook]),
            ("header", self.header.is_some(), &[Otlp]),
            ("address", self.address.is_some(), &[Syslog]),
            ("folder", self.folder.is_some(), &[File, Parquet]),
            ("rotate", self.rotate.is_some(), &[File]),
            ("rows", self.rows.is_some(), &[Parquet]),
            ("patience", self.patience.is_some(), &[Parquet]),
        ];
        match settings.iter().find(|(_, set, sinks)| *set && !sinks.contains(&self.sink)) {
            Some((name, ..)) => Err(self.wrong(format!("its sink has no `{name}`"))),
            None => Ok(()),
        }
    }

    fn needed<T: Clone>(&self, name: &str, value: &Option<T>) -> Result<T> {
        value.clone().ok_or_else(|| self.wrong(format!("its sink needs `{name}`")))
    }

    fn wrong(&self, why: impl std::fmt::Display) -> Failure {
        Failure::input(format!("export `{}`: {why}", self.name))
    }
}

const ROTATE: u64 = 64 << 20;
const ROWS: usize = 5000;
const MOST_ROWS: usize = 20_000;
const PATIENCE: &str = "1h";

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Deserialize)]
    struct File {
        export: Vec<ExportConfig>,
    }

    fn said(text: &str) -> std::result::Result<(), String> {
        let file: File = toml::from_str(text).map_err(|e| e.to_string())?;
        check(&file.export).map_err(|failure| failure.message)
    }

    fn one(rest: &str) -> std::result::Result<(), String> {
        said(&format!("[[export]]\nname = \"a\"\n{rest}"))
    }

    #[test]
    fn what_makes_sense_is_taken() {
        for good in [
            "format = \"ocsf\"\nsink = \"webhook\"\nurl = \"https://siem.example.com/\"\nsecret = \"k\"",
            "format = \"cef\"\nsink = \"syslog\"\naddress = \"tcp://127.0.0.1:514\"",
            "format = \"otlp\"\nsink = \"otlp\"\nurl = \"http://127.0.0.1:4318/v1/logs\"",
            "format = \"events\"\nsink = \"file\"\nfolder = \"/var/log/marque\"\nrotate = 1000",
            "format = \"parquet\"\nsink = \"parquet\"\nfolder = \"/data\"\nrows = 10\npatience = \"5m\"",
        ] {
            assert_eq!(one(good), Ok(()), "{good}");
        }
    }

    #[test]
    fn what_makes_none_is_told() {
        for (bad, word) in [
            ("format = \"ocsf\"\nsink = \"webhook\"\nurl = \"https://x\"", "`secret`"),
            ("format = \"parquet\"\nsink = \"file\"\nfolder = \"/x\"", "`parquet`"),
            ("format = \"cef\"\nsink = \"file\"\nfolder = \"/x\"\nurl = \"https://x\"", "`url`"),
            ("format = \"cef\"\nsink = \"syslog\"\naddress = \"siem:514\"", "`siem:514`"),
            ("format = \"cef\"\nsink = \"file\"\nfolder = \"/x\"\nfolders = 1", "folders"),
            ("format = \"parquet\"\nsink = \"parquet\"\nfolder = \"/x\"\nrows = 0", "`rows`"),
        ] {
            assert!(one(bad).is_err_and(|why| why.contains(word)), "{bad}");
        }
        let export = |name: &str| format!("[[export]]\nname = \"{name}\"\nformat = \"cef\"\nsink = \"file\"\nfolder = \"/x\"\n");
        assert!(said(&(export("a") + &export("a"))).is_err_and(|why| why.contains("two exports")));
        assert!(said(&(export("a") + &export("b"))).is_err_and(|why| why.contains("both write to")));
    }
}
