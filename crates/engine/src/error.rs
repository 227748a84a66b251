//! The one error of this crate.

use std::collections::BTreeSet;

use marque_core::ParseError;
use marque_core::attestation::Selector;
use marque_core::decision::Reason;
use marque_core::elevation::ElevationError;
use marque_core::state::Dead;
use marque_core::task::TaskError;
pub use marque_store::describe;

/// The result of this crate.
pub type Result<T> = std::result::Result<T, EngineError>;

/// What the engine could not or would not do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// A value that does not parse.
    #[error(transparent)]
    Parse(#[from] ParseError),
    /// A request that makes no sense.
    #[error("{0}")]
    Invalid(String),
    /// Nothing of that name.
    #[error("{what} `{name}` is not known")]
    NotFound {
        /// What sort of thing.
        what: &'static str,
        /// Which.
        name: String,
    },
    /// The caller did not prove who it is.
    #[error("{0}")]
    Unauthenticated(String),
    /// The caller may not.
    #[error("{0}")]
    Forbidden(String),
    /// Policy says no.
    #[error("denied: {}", .0.iter().map(|r| r.text.as_str()).collect::<Vec<_>>().join("; "))]
    Denied(Vec<Reason>),
    /// No identity fits what was observed of the process.
    #[error("no identity matches this process, of which was seen: {0}")]
    NoIdentity(String),
    /// More than one identity fits: never a pick.
    #[error("this process matches more than one identity: {0}; make their selectors differ, or give each a hint of its own")]
    Ambiguous(String),
    /// A credential, task or identity no longer counts.
    #[error(transparent)]
    Dead(#[from] Dead),
    /// A task or lease was refused.
    #[error(transparent)]
    Task(#[from] TaskError),
    /// A vote was refused.
    #[error(transparent)]
    Elevation(#[from] ElevationError),
    /// Policies were refused.
    #[error(transparent)]
    Policy(#[from] marque_policy::PolicyError),
    /// A token or certificate was refused.
    #[error(transparent)]
    Svid(#[from] marque_svid::SvidError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] marque_store::StoreError),
    /// Something that must be readable is not.
    #[error("cannot read {what}")]
    Read {
        /// What.
        what: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// Entries could not be written in another format.
    #[error(transparent)]
    Export(#[from] marque_export::ExportError),
    /// A value that must serialize does not.
    #[error("cannot encode an event")]
    Encode(#[from] serde_json::Error),
}

impl EngineError {
    pub(crate) fn not_found(what: &'static str, name: impl ToString) -> Self {
        Self::NotFound { what, name: name.to_string() }
    }

    /// Nobody of whom this was seen.
    pub(crate) fn no_identity(seen: &BTreeSet<Selector>) -> Self {
        Self::NoIdentity(seen.iter().map(Selector::as_str).collect::<Vec<_>>().join(" "))
    }

    /// The whole chain in one line.
    pub fn chain(&self) -> String {
        describe(self)
    }
}
