//! The one error of this crate.

use std::path::PathBuf;

/// What the store could not do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// A file operation failed.
    #[error("cannot {what} `{}`", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Another process holds the state directory.
    #[error("state directory `{}` is in use by another marque process", path.display())]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// Written data does not read back as it was written, and it is not the torn end of the last batch.
    #[error("the log is damaged: {what}")]
    Damaged {
        /// What, and where.
        what: String,
    },
    /// The log's history differs from a head that was once published: never continue (I6).
    #[error("the log contradicts its published head: {what}")]
    Contradicted {
        /// How.
        what: String,
    },
    /// A write failed earlier; nothing more is accepted until a restart.
    #[error("the log has stopped: {why}")]
    Stopped {
        /// What failed.
        why: String,
    },
    /// An entry or an append above the format's limit.
    #[error("{bytes} bytes are above the log's limit of {limit}")]
    TooLarge {
        /// How many there are.
        bytes: usize,
        /// How many there may be.
        limit: usize,
    },
    /// The tree, a tile or a checkpoint.
    #[error("ledger")]
    Ledger(#[from] marque_ledger::LedgerError),
    /// The views.
    #[error("the views (`views.db`) cannot be used")]
    Views(#[from] rusqlite::Error),
    /// A file with a secret that others can read.
    #[error("`{}` can be read by others: chmod 600 it", path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
    },
    /// The secret files of a directory cannot be sealed or unsealed.
    #[error("{what}")]
    Seal {
        /// What is wrong.
        what: String,
    },
    /// Who keeps the key of the secret files did not give it, or what names them cannot be read.
    #[error("{what}")]
    Keeper {
        /// What failed.
        what: String,
        /// What it said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// An event that does not serialize.
    #[error("cannot encode an event")]
    Encode(#[source] serde_json::Error),
    /// An entry that does not parse as an event.
    #[error("entry {index} is not an event")]
    Entry {
        /// Its index.
        index: u64,
        /// What the parser said.
        source: serde_json::Error,
    },
}

impl StoreError {
    pub(crate) fn io(what: &'static str, path: &std::path::Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { what, path, source }
    }
}

/// The result of this crate.
pub type Result<T, E = StoreError> = std::result::Result<T, E>;

/// The whole chain of an error in one line.
pub fn describe(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(e) = source {
        text = format!("{text}: {e}");
        source = e.source();
    }
    text
}
