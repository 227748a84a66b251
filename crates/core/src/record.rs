//! Records: one credentialed action, its decision before it and its outcome after.

use serde::{Deserialize, Serialize};

use crate::decision::{Effect, Reason};
use crate::id::{ElevationId, InstanceId, LeaseId, RecordId, TaskId};
use crate::resource::{Action, ResourceId, Sensitivity};
use crate::spiffe::SpiffeId;
use crate::{Committed, Digest, PersonId, Prints};

/// The digests of one text that an action carried: what `marque trace` finds a file by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Content {
    /// Where it stood in the request or the response, as a JSON pointer (RFC 6901): names of members are a caller's own words,
    /// so that the log has a commitment to it.
    pub at: String,
    /// SHA-256 of its exact bytes.
    pub exact: Committed,
    /// SHA-256 of its letters and digits alone, compatibility-composed and in lower case.
    pub normalised: Committed,
    /// Its fingerprints, by which a part of it is found again.
    #[serde(default)]
    pub prints: Prints,
    /// Its length in bytes.
    pub bytes: u64,
}

/// What is known of how a running copy was told from others, at the moment of a decision.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Posture {
    /// By which attestor: `unix`, `launched`, `oidc`.
    pub method: String,
    /// How long before the decision it was attested, in seconds.
    pub age: u64,
}

/// Whether people had to agree, and did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Consent {
    /// No rule asks for it.
    #[default]
    NotNeeded,
    /// Somebody must still agree.
    Pending,
    /// Enough people agreed to exactly this call.
    Approved,
    /// Somebody refused exactly this call.
    Refused,
}

/// What was decided, and about what: durable before the action happens (I3).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Decided {
    /// Its identifier.
    pub record: RecordId,
    /// Who acts.
    pub identity: SpiffeId,
    /// Which copy.
    pub instance: InstanceId,
    /// With which credential.
    pub lease: LeaseId,
    /// Under which task; the approver's, where an elevation was used.
    pub task: TaskId,
    /// For whom.
    pub principal: PersonId,
    /// The verb.
    pub action: Action,
    /// On what.
    pub resource: ResourceId,
    /// The sensitivity of the data it touches.
    pub sensitivity: Sensitivity,
    /// How it was asked, as `mcp tools/call`.
    pub protocol: String,
    /// The answer.
    pub effect: Effect,
    /// Why.
    pub reasons: Vec<Reason>,
    /// The digest of the policies that decided.
    pub policy: Digest,
    /// SHA-256 of the request's exact bytes.
    pub request: Committed,
    /// SHA-256 of the canonical arguments.
    pub arguments: Committed,
    /// The purpose of the task: what the person who asked declared.
    #[serde(default)]
    pub intent: String,
    /// How the acting copy was attested.
    #[serde(default)]
    pub posture: Posture,
    /// Whether people had to agree.
    #[serde(default)]
    pub consent: Consent,
    /// What the decision demands of whoever carries it out, as `record-outcome`.
    #[serde(default)]
    pub obligations: Vec<String>,
    /// What the caller's own trace calls this request: a W3C `traceparent`, or the protocol's request identifier, as
    /// `jsonrpc:7`. The log has a commitment to it, unless it is [plain](Decided::is_correlation_plain).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correlation: Option<String>,
    /// The records whose outputs this request carries on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub causes: Vec<RecordId>,
    /// The texts that the request carried.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub contents: Vec<Content>,
    /// The elevation that held it or that it used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub elevation: Option<ElevationId>,
}

impl Decided {
    /// Whether what the caller calls its request can tell nothing else: it is the `traceparent` of a W3C trace context (Trace
    /// Context Level 1, §3.2, version 00), or a whole number of 64 bits as JSON-RPC's identifier. Or there is none.
    pub fn is_correlation_plain(&self) -> bool {
        self.correlation.as_deref().is_none_or(|text| match text.strip_prefix("jsonrpc:") {
            Some(number) => number.parse::<i64>().is_ok_and(|parsed| parsed.to_string() == number),
            None => is_trace_parent(text),
        })
    }
}

/// `00-`, 32 hex digits, `-`, 16 hex digits, `-`, 2 hex digits.
fn is_trace_parent(text: &str) -> bool {
    let fits = |(at, byte): (usize, u8)| match at {
        0 | 1 => byte == b'0',
        2 | 35 | 52 => byte == b'-',
        _ => matches!(byte, b'0'..=b'9' | b'a'..=b'f'),
    };
    text.len() == 55 && text.bytes().enumerate().all(fits)
}

/// How an action ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ending {
    /// The upstream answered, whole.
    Answered,
    /// The upstream's answer broke off, or the caller hung up.
    Truncated,
    /// A revocation cut it.
    Cut,
    /// The upstream could not be reached or did not speak the protocol.
    Failed,
    /// The permit was dropped without an outcome.
    Abandoned,
}

/// What came of an action.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Outcome {
    /// How it ended.
    pub ending: Ending,
    /// The protocol's status, as HTTP's.
    pub status: u16,
    /// SHA-256 of the response's exact bytes, as far as they came.
    pub response: Option<Committed>,
    /// How many bytes came.
    pub bytes: u64,
    /// The texts that the response carried.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub contents: Vec<Content>,
}

impl Outcome {
    /// The outcome of a permit that nobody settled.
    pub const fn abandoned() -> Self {
        Self { ending: Ending::Abandoned, status: 0, response: None, bytes: 0, contents: Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_digits_in_their_places_are_a_trace_parent() {
        let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        assert!(is_trace_parent(good));
        let bad = [
            "",
            "Erika has C50 and this is no traceparent",
            "00-Erika Mustermann, diagnosis C50!-00f067aa0ba902b7-01",
            "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        ];
        assert!(bad.iter().all(|text| !is_trace_parent(text)));
        for changed in [good.to_uppercase(), format!("{good}-more"), good.replace('-', "0"), format!(" {good}")] {
            assert!(!is_trace_parent(&changed), "{changed}");
        }
    }
}
