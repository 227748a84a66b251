//! What a node and the server say to each other, as JSON. Lengths of time, not moments: the clocks of two hosts differ.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use marque_core::id::InstanceId;
use marque_core::node::NodeName;
use marque_core::spiffe::SpiffeId;
use marque_core::time::Timestamp;
use marque_engine::{AuthorityId, EngineError, HeldX509, NodeProof, PopAnswer, PopChallenge, SecretText, X509Svid};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::source::HeldSvid;

/// The codes of errors. After the first two the node is not one of this server's any more.
pub(super) const BANNED: &str = "banned";
pub(super) const UNAUTHENTICATED: &str = "unauthenticated";
pub(super) const DENIED: &str = "denied";
pub(super) const INVALID: &str = "invalid";
pub(super) const FAILED: &str = "failed";

/// A node wants to join.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct JoinRequest {
    pub(super) name: NodeName,
    pub(super) proof: WireProof,
}

/// By what it proves that it is the one of its name.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum WireProof {
    JoinToken(SecretText),
    X509Pop { chain: Vec<String>, challenge: PopChallenge, answer: PopAnswer },
}

impl TryFrom<WireProof> for NodeProof {
    type Error = EngineError;

    fn try_from(proof: WireProof) -> Result<Self, EngineError> {
        match proof {
            WireProof::JoinToken(token) => Ok(Self::Token(token)),
            WireProof::X509Pop { chain, challenge, answer } => {
                let invalid = |_| EngineError::Invalid("the certificates are not base64".into());
                let chain = chain.iter().map(|der| STANDARD.decode(der)).collect::<Result<_, _>>().map_err(invalid)?;
                Ok(Self::Certificate { chain, challenge, answer })
            }
        }
    }
}

impl From<NodeProof> for WireProof {
    fn from(proof: NodeProof) -> Self {
        match proof {
            NodeProof::Token(token) => Self::JoinToken(token),
            NodeProof::Certificate { chain, challenge, answer } => {
                Self::X509Pop { chain: chain.iter().map(|der| STANDARD.encode(der)).collect(), challenge, answer }
            }
        }
    }
}

/// An X.509-SVID with its key: the node's own, or that of a copy which runs there.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct WireSvid {
    chain: Vec<String>,
    key: SecretText,
    authority: AuthorityId,
    /// In how many microseconds the next one is due, and in how many this one ends.
    due_in: i64,
    ends_in: i64,
}

/// The same, in the node's own time.
#[derive(Clone)]
pub(super) struct Received {
    pub(super) chain: Vec<Vec<u8>>,
    pub(super) key: Zeroizing<Vec<u8>>,
    pub(super) authority: AuthorityId,
    pub(super) due: Timestamp,
    pub(super) ends: Timestamp,
}

impl WireSvid {
    pub(super) fn of_node(svid: &X509Svid, now: Timestamp) -> Self {
        let ends_in = svid.not_after.micros().saturating_sub(now.micros());
        Self::of(svid, ends_in / 2, ends_in)
    }

    pub(super) fn of_workload(held: &HeldX509, now: Timestamp) -> Self {
        let until = |at: Timestamp| at.micros().saturating_sub(now.micros());
        Self::of(&held.issued.svid, until(held.due), until(held.issued.svid.not_after))
    }

    fn of(svid: &X509Svid, due_in: i64, ends_in: i64) -> Self {
        Self {
            chain: svid.chain.iter().map(|der| STANDARD.encode(der)).collect(),
            key: SecretText::new(STANDARD.encode(svid.key_pkcs8.as_slice())),
            authority: svid.authority.clone(),
            due_in,
            ends_in,
        }
    }

    /// In the time of whoever received it at `now`; nothing where it is not as it should be.
    pub(super) fn received(&self, now: Timestamp) -> Option<Received> {
        let chain = self.chain.iter().map(|der| STANDARD.decode(der)).collect::<Result<Vec<_>, _>>().ok()?;
        if chain.is_empty() {
            return None;
        }
        let after = |micros: i64| Timestamp::from_micros(now.micros().saturating_add(micros));
        Some(Received {
            chain,
            key: Zeroizing::new(STANDARD.decode(self.key.danger_expose()).ok()?),
            authority: self.authority.clone(),
            due: after(self.due_in),
            ends: after(self.ends_in),
        })
    }
}

/// What a node holds of the server's answer with an X.509-SVID, in its own time, and when that ends.
pub fn received(answer: &[u8], now: Timestamp) -> Option<(HeldSvid, Timestamp)> {
    let Received { chain, key, authority, due, ends } = serde_json::from_slice::<WireSvid>(answer).ok()?.received(now)?;
    Some((HeldSvid { chain, key_pkcs8: key, due, authority }, ends))
}

/// A node asks what it may show.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct SyncRequest {
    /// What it has.
    pub(super) seen: Option<String>,
    /// For how long it waits for something else at most.
    pub(super) hold_millis: u64,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct OfInstance {
    pub(super) instance: InstanceId,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct JwtRequest {
    pub(super) instance: InstanceId,
    pub(super) audience: Vec<String>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct WireJwt {
    pub(super) svid: String,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct ValidateRequest {
    pub(super) svid: String,
    pub(super) audience: String,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct WireValid {
    pub(super) id: SpiffeId,
    pub(super) claims: serde_json::Map<String, serde_json::Value>,
}
