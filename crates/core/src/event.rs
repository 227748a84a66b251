//! Events: everything that ever happened, in one closed list. An event is durable in the log, or it did not happen.

mod body;
mod kinds;

pub use body::{AuthorityStep, Body};

use serde::{Deserialize, Serialize};

use crate::PersonId;
use crate::id::{EventId, InstanceId, ObserverId};
use crate::time::Timestamp;

/// The version of this schema, written into every event.
///
/// 2 added the observer and its numbering, commitments in the place of digests, and pseudonyms in the place of people.
pub const SCHEMA: u32 = 2;

/// One entry of the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Event {
    /// Its identifier.
    pub id: EventId,
    /// The schema's version.
    pub v: u32,
    /// When, by the clock of the one who wrote the log; microseconds since the Unix epoch.
    pub ts: Timestamp,
    /// Which observer saw it; every event since version 2 has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub obs: Option<ObserverId>,
    /// The observer's own number of it, from 1 without gaps; 0 before version 2.
    #[serde(default)]
    pub iseq: u64,
    /// On whose word: `user:…`, `inst_…` or `system`.
    pub by: By,
    /// What.
    pub what: Body,
}

/// On whose word something happened.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum By {
    /// A person.
    Person(PersonId),
    /// A running copy of an identity.
    Instance(InstanceId),
    /// Marque itself: expiry, pinning.
    System,
}

impl std::fmt::Display for By {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Person(person) => person.fmt(f),
            Self::Instance(instance) => instance.fmt(f),
            Self::System => f.write_str("system"),
        }
    }
}

impl std::str::FromStr for By {
    type Err = crate::ParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "system" => Ok(Self::System),
            _ if text.starts_with("inst_") => text.parse().map(Self::Instance),
            _ => text.parse().map(Self::Person),
        }
    }
}

crate::words::as_text!(By);

impl Event {
    /// The entry's bytes: canonical JSON (RFC 8785: keys sorted, no white space; the schema holds no floats).
    pub fn to_bytes(&self) -> Result<Vec<u8>, serde_json::Error> {
        // All keys of the schema are ASCII, so that sorting by bytes is sorting by UTF-16 as RFC 8785 §3.2.3 asks.
        let mut value = serde_json::to_value(self)?;
        value.sort_all_objects();
        serde_json::to_vec(&value)
    }

    /// Reads an entry.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(bytes)
    }
}
