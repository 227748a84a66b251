//! Revocation: one verb over every class of target, by lineage and epoch.
//!
//! INVARIANT (I4 revocation is monotone): every revocation takes the next epoch. Whatever carries an epoch below that
//! of a revocation of itself, or of anything it hangs from, is dead; epochs only grow.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::id::{ElevationId, InstanceId, LeaseId, TaskId};
use crate::spiffe::SpiffeId;
use crate::words::as_text;
use crate::{ParseError, PersonId};

/// How many revocations there have been: 0 at the start, one more with each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Epoch(pub u64);

impl Epoch {
    /// The epoch after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

/// What is revoked. Everything that hangs from it dies with it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Target {
    /// One credential.
    Lease(LeaseId),
    /// A task, the tasks below it, and their credentials.
    Task(TaskId),
    /// One running copy, and its credentials.
    Instance(InstanceId),
    /// An identity: its tasks, its copies and their credentials.
    Identity(SpiffeId),
    /// Everything that a person asked for, approved or owns.
    Owner(PersonId),
    /// An approval, and the task that it started.
    Elevation(ElevationId),
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lease(id) => id.fmt(f),
            Self::Task(id) => id.fmt(f),
            Self::Instance(id) => id.fmt(f),
            Self::Identity(id) => id.fmt(f),
            Self::Owner(id) => id.fmt(f),
            Self::Elevation(id) => id.fmt(f),
        }
    }
}

impl FromStr for Target {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let error = || ParseError::new("a target: `lease_…`, `task_…`, `inst_…`, `elev_…`, `spiffe://…` or `user:…`", text);
        if text.starts_with("user:") {
            return text.parse().map(Self::Owner).map_err(|_| error());
        }
        if text.starts_with("spiffe://") {
            return text.parse().map(Self::Identity).map_err(|_| error());
        }
        None.or_else(|| text.parse().ok().map(Self::Lease))
            .or_else(|| text.parse().ok().map(Self::Task))
            .or_else(|| text.parse().ok().map(Self::Instance))
            .or_else(|| text.parse().ok().map(Self::Elevation))
            .ok_or_else(error)
    }
}

as_text!(Target);
