//! What was observed about a process, and by which attestor.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::id::{InstanceId, TaskId};
use crate::node::NodeName;
use crate::revocation::Epoch;
use crate::spiffe::SpiffeId;
use crate::time::Timestamp;
use crate::words::as_text;
use crate::{Commitment, ParseError};

/// One observed fact: `attestor:key:value`, as `unix:uid:1000` or `unix:path:/usr/bin/agent`. For a reader of the log who may
/// not know it, and after it was erased, the commitment to it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Selector(String);

impl Selector {
    /// How those begin that are a digest of what somebody could guess: of a command line, of a file that was handed to an
    /// agent. The log has commitments to them.
    pub const MEASURED: [&str; 2] = ["launched:argv_sha256:", "launched:artifact_sha256:"];

    /// The fact `value` for `key`, as `attestor` saw it.
    pub fn new(attestor: &str, key: &str, value: impl fmt::Display) -> Result<Self, ParseError> {
        format!("{attestor}:{key}:{value}").parse()
    }

    /// The selector as written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this is a commitment only: which fact it is to cannot be known here.
    pub fn is_closed(&self) -> bool {
        self.0.split_once(':').is_some_and(|(_, rest)| !rest.contains(':'))
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Selector {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let error = || ParseError::new("a selector as `unix:uid:1000`", text);
        let word =
            |w: &str| !w.is_empty() && w.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-');
        let (attestor, rest) = text.split_once(':').ok_or_else(error)?;
        let Some((key, value)) = rest.split_once(':') else {
            return text.parse::<Commitment>().map(|_| Self(text.to_owned())).map_err(|_| error());
        };
        if !word(attestor) || !word(key) || value.is_empty() || text.len() > 4096 || value.chars().any(char::is_control) {
            return Err(error());
        }
        Ok(Self(text.to_owned()))
    }
}

as_text!(Selector);

/// What was seen of a process, never what it says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attestation {
    /// Which attestor looked: `unix`, `launched`, `oidc`.
    pub method: String,
    /// The process, on its host.
    pub pid: u32,
    /// The kernel's start time of the process in clock ticks since boot: with the pid, it names one process for good.
    pub started: u64,
    /// All facts seen.
    pub selectors: BTreeSet<Selector>,
    /// Until when what was seen counts, where it was no process of this host: a token's own end. Such an attestation has
    /// no process, and its pid is 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// The node whose process it is, and who looked at it; without, it is of the server's own host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<NodeName>,
}

/// One running copy of an identity. Credentials go to instances, never to definitions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Instance {
    /// Its identifier.
    pub id: InstanceId,
    /// The identity that it is a copy of.
    pub identity: SpiffeId,
    /// What was seen.
    pub attestation: Attestation,
    /// The task that it was launched for, where the launcher said so.
    pub task: Option<TaskId>,
    /// When it was first seen.
    pub since: Timestamp,
    /// The epoch at which it was attested (I4).
    pub epoch: Epoch,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_selector_is_a_fact_or_a_commitment_to_one() {
        let closed = format!("commit:{}", "ab".repeat(32));
        assert!(closed.parse::<Selector>().unwrap().is_closed());
        for open in ["unix:uid:1000", "commit:uid:1000", "launched:argv_sha256:00", "unix:path:/a:b"] {
            assert!(!open.parse::<Selector>().unwrap().is_closed(), "{open}");
        }
        for bad in ["", "unix", "unix:uid", "unix:uid:", "commit:ab", &closed.to_uppercase(), &format!("{closed}0")] {
            assert!(bad.parse::<Selector>().is_err(), "{bad}");
        }
    }
}
