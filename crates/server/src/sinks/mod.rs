//! Where exports go: each sink takes batches from a follower, one at a time.
//!
//! A sink that fails or hangs is offered the same batch again, later and later, forever: it lags, and nothing is skipped.
//! Nothing here is on the way of a commit.

mod acknowledged;
mod files;
mod http;
mod otlp;
mod parquet;
mod syslog;
mod webhook;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use marque_engine::{Batch, Engine, EngineError, Export, ExportFormat, Follower, Framing, Limits, Rendering};

use files::Files;
use otlp::Otlp;
use parquet::Folder;
use syslog::Syslog;
use webhook::Webhook;

pub use syslog::SyslogAddress;

/// A sink as it is configured.
#[derive(Clone, Debug)]
pub enum Target {
    /// Lines in files of a folder, a new one when one has this size.
    File {
        /// The folder.
        folder: PathBuf,
        /// How many bytes a file has before the next begins.
        rotate: u64,
    },
    /// An OpenTelemetry collector.
    Otlp {
        /// The address, which ends with `/v1/logs`.
        url: String,
        /// The name of a stored secret for a header, and the header.
        secret: Option<(String, String)>,
    },
    /// Signed requests.
    Webhook {
        /// The address.
        url: String,
        /// The name of the stored secret that signs.
        secret: String,
    },
    /// Lines to a syslog server.
    Syslog(SyslogAddress),
    /// Whole files of columns in a folder.
    Parquet {
        /// The folder.
        folder: PathBuf,
        /// How many entries a file has.
        rows: usize,
        /// How long the first entry may wait for its file to become full.
        patience: Duration,
    },
}

/// Why a sink did not take a batch.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SinkError {
    /// The configuration makes no sense.
    #[error("{0}")]
    Invalid(String),
    /// Reading the log, the cursor or a secret failed.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// A file or a connection failed.
    #[error("cannot {what}")]
    Io {
        /// What was tried.
        what: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The receiver does not speak HTTP as it should.
    #[error("the receiver did not answer as it should")]
    Http(#[from] hyper::Error),
    /// The receiver said no.
    #[error("the receiver answered {0}")]
    Refused(axum::http::StatusCode),
    /// There is no TLS.
    #[error("TLS cannot be set up")]
    Tls(#[from] rustls::Error),
    /// The sink did not answer.
    #[error("no answer within {} s", WRITE_TIMEOUT.as_secs())]
    TimedOut,
    /// A write that was given up is still under way.
    #[error("an earlier write has not ended")]
    Busy,
    /// The work was cut off.
    #[error("the work was cut off")]
    CutOff,
}

impl SinkError {
    fn io(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }

    /// The whole chain in one line.
    pub fn chain(&self) -> String {
        marque_engine::describe(self)
    }
}

impl Target {
    /// How entries must be written for this sink; an error where it cannot carry the format.
    pub fn rendering(&self, format: ExportFormat) -> Result<Rendering, SinkError> {
        use ExportFormat::{Cef, Cloudevents, Events, Ocsf, Otlp, Parquet};
        let (formats, framing): (&[ExportFormat], _) = match self {
            Self::File { .. } => (&[Events, Ocsf, Otlp, Cef, Cloudevents], Framing::Lines),
            Self::Otlp { .. } => (&[Otlp], Framing::Body),
            Self::Webhook { .. } => (&[Cloudevents, Ocsf, Events, Otlp, Cef], Framing::Body),
            Self::Syslog(_) => (&[Cef], Framing::Lines),
            Self::Parquet { .. } => (&[Parquet], Framing::Body),
        };
        if !formats.contains(&format) {
            let known: Vec<&str> = formats.iter().map(|f| f.as_str()).collect();
            let text = format!("this sink does not carry `{}`, but: {}", format.as_str(), known.join(", "));
            return Err(SinkError::Invalid(text));
        }
        let mut rendering = Rendering::new(format, framing);
        if let Self::Parquet { rows, patience, .. } = self {
            rendering.limits = Limits { entries: *rows, bytes: PARQUET_BYTES, patience: Some(*patience) };
        }
        Ok(rendering)
    }

    /// Whether addresses and the like make sense; nothing is connected to.
    pub fn check(&self) -> Result<(), SinkError> {
        self.open().map(drop)
    }

    fn open(&self) -> Result<Sink, SinkError> {
        Ok(match self {
            Self::File { folder, rotate } => Sink::File(Files::new(folder.clone(), *rotate)),
            Self::Otlp { url, secret } => Sink::Otlp(Otlp::new(url, secret.clone())?),
            Self::Webhook { url, secret } => Sink::Webhook(Webhook::new(url, secret.clone())?),
            Self::Syslog(address) => Sink::Syslog(Syslog::new(address.clone())),
            Self::Parquet { folder, .. } => Sink::Parquet(Folder::new(folder.clone())),
        })
    }
}

enum Sink {
    File(Files),
    Otlp(Otlp),
    Webhook(Webhook),
    Syslog(Syslog),
    Parquet(Folder),
}

impl Sink {
    /// Carries a batch out: all of it has been taken when this is done.
    async fn write(&mut self, engine: &Engine, batch: &Arc<Batch>) -> Result<(), SinkError> {
        match self {
            Self::File(files) => files.write(batch).await,
            Self::Otlp(otlp) => otlp.write(engine, batch).await,
            Self::Webhook(webhook) => webhook.write(engine, batch).await,
            Self::Syslog(syslog) => syslog.write(engine.trust_domain(), batch).await,
            Self::Parquet(folder) => folder.write(batch).await,
        }
    }
}

/// An export with its sink, checked and started.
pub struct Exporter {
    engine: Arc<Engine>,
    follower: Arc<Mutex<Follower>>,
    sink: Sink,
    name: String,
}

impl Exporter {
    /// Checks the configuration, and starts the follower where its cursor stands.
    pub async fn start(engine: Arc<Engine>, export: Export, target: &Target) -> Result<Self, SinkError> {
        let sink = target.open()?;
        let name = export.name.clone();
        let follower = Arc::new(Mutex::new(engine.start_follower(export).await?));
        Ok(Self { engine, follower, sink, name })
    }

    /// Carries entries out for as long as it is let. To be dropped at any point: what was not noted as taken goes out again.
    pub async fn run(mut self) {
        let mut size = self.engine.watch_size();
        let mut failing = false;
        loop {
            size.mark_unchanged();
            match self.round().await {
                Ok(true) => {
                    if std::mem::take(&mut failing) {
                        tracing::info!(export = self.name.as_str(), "the export goes on");
                    }
                }
                Ok(false) => {
                    // What has to wait for company becomes due without a change of the log.
                    let _ = tokio::time::timeout(LOOK_AGAIN, size.changed()).await;
                    tokio::time::sleep(LINGER).await;
                }
                Err(error) => {
                    let why = error.chain();
                    if !std::mem::replace(&mut failing, true) {
                        tracing::warn!(export = self.name.as_str(), "the export lags: {why}");
                    }
                    let wait = self.blocking(move |follower, engine| follower.failed(engine, &why)).await;
                    tokio::time::sleep(wait.unwrap_or(LOOK_AGAIN)).await;
                }
            }
        }
    }

    /// Offers the sink one batch. Says whether there was one.
    async fn round(&mut self) -> Result<bool, SinkError> {
        let Some(batch) = self.blocking(|follower, engine| follower.batch(engine)).await?? else { return Ok(false) };
        let written = tokio::time::timeout(WRITE_TIMEOUT, self.sink.write(&self.engine, &batch));
        written.await.map_err(|_| SinkError::TimedOut)??;
        self.blocking(move |follower, engine| follower.taken(engine, &batch)).await??;
        Ok(true)
    }

    /// Reading the log and writing the cursor block: off the threads that serve.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Follower, &Engine) -> T + Send + 'static,
    ) -> Result<T, SinkError> {
        let (engine, follower) = (Arc::clone(&self.engine), Arc::clone(&self.follower));
        let done = tokio::task::spawn_blocking(move || {
            let mut follower = follower.lock().unwrap_or_else(PoisonError::into_inner);
            work(&mut follower, &engine)
        });
        done.await.map_err(|_| SinkError::CutOff)
    }
}

/// How long a sink may take for one batch.
pub const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// At most this often, new entries are carried out: a write each would be for little.
const LINGER: Duration = Duration::from_millis(100);
const LOOK_AGAIN: Duration = Duration::from_secs(10);

/// Bytes of the log in one Parquet file, which is built in memory.
const PARQUET_BYTES: usize = 8 << 20;
