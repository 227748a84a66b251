//! Workload Proof Tokens: that the holder of a WIT-SVID has its key, for this one message (draft-ietf-wimse-wpt §2).

use std::collections::BTreeMap;

use marque_core::spiffe::SpiffeId;
use marque_core::time::{Timestamp, Ttl};
use serde::Serialize;
use serde_json::{Map, Value};

use super::UnprovenWit;
use crate::error::{Result, SvidError};
use crate::jwk::Algorithm;
use crate::jws::{self, NO_LEEWAY, TokenHeader, UnverifiedToken, audience_claim, check_times, text_claim, token_hash};
use crate::keys::SigningBackend;

/// What a proof is asked to cover (draft-ietf-wimse-wpt §2).
#[derive(Clone, Copy, Debug)]
pub struct ProofRequest<'a> {
    /// The WIT-SVID whose key signs (`wth`).
    pub wit: &'a str,
    /// The target URI; its query and fragment are left out (`aud`).
    pub target: &'a str,
    /// The unique name of the proof (`jti`): at least 128 random bits.
    pub jti: &'a str,
    /// The moment of issue.
    pub now: Timestamp,
    /// How long it lives: seconds, rarely minutes (`exp`).
    pub ttl: Ttl,
    /// The OAuth access token that goes with the message (`ath`).
    pub access_token: Option<&'a str>,
    /// The transaction token that goes with the message (`tth`).
    pub transaction_token: Option<&'a str>,
    /// Other tokens that go with the message, by the lower-case names of their header fields (`oth`).
    pub others: &'a [(&'a str, &'a str)],
}

/// Makes a proof with the key of a WIT-SVID, which is P-256 (draft-ietf-wimse-wpt §2).
pub fn prove(key: &dyn SigningBackend, request: ProofRequest<'_>) -> Result<String> {
    let claims = ProofClaims {
        aud: bare(request.target),
        exp: request.now.plus(request.ttl.min(LONGEST_MADE)).seconds(),
        jti: request.jti,
        wth: token_hash(request.wit),
        ath: request.access_token.map(token_hash),
        tth: request.transaction_token.map(token_hash),
        oth: request.others.iter().map(|(name, value)| (*name, token_hash(value.trim_matches(' ')))).collect(),
    };
    jws::sign(key, &TokenHeader::new(None, WPT_TYP), &claims)
}

/// The two header fields of a message, of which there is exactly one each (draft-ietf-wimse-wpt §2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Presentation<'m> {
    /// `Workload-Identity-Token`.
    pub wit: &'m str,
    /// `Workload-Proof-Token`.
    pub proof: &'m str,
}

impl<'m> Presentation<'m> {
    /// From all values of the two fields, as they stand in the message (draft-ietf-wimse-wpt §2).
    pub fn from_fields(wits: &[&'m str], proofs: &[&'m str]) -> Result<Self> {
        match (wits, proofs) {
            ([wit], [proof]) => Ok(Self { wit: wit.trim_matches(' '), proof: proof.trim_matches(' ') }),
            _ => Err(SvidError::Proof("there is not exactly one token and one proof")),
        }
    }
}

/// What the receiver knows of the message (draft-ietf-wimse-wpt §2).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Expectation<'a> {
    /// The names under which the receiver may be called, from its configuration and never from the message.
    pub targets: &'a [&'a str],
    /// The OAuth access token that came with the message.
    pub access_token: Option<&'a str>,
    /// The transaction token that came with the message.
    pub transaction_token: Option<&'a str>,
    /// Other tokens on which the receiver may lean, by the lower-case names of their header fields.
    pub others: &'a [(&'a str, &'a str)],
    /// The moment of receipt.
    pub now: Timestamp,
}

/// Who sent a message: a WIT-SVID whose key was proved (WIT-SVID §7.1).
#[derive(Clone, Debug, PartialEq)]
pub struct VerifiedWit {
    /// Whom it names (WIT-SVID §3.1).
    pub id: SpiffeId,
    /// When the WIT-SVID ends (WIT-SVID §3.4).
    pub expires: Timestamp,
    /// All claims of the WIT-SVID (WIT-SVID §3).
    pub claims: Map<String, Value>,
    /// The unique name of the proof, for [`ProofsSeen`] (draft-ietf-wimse-wpt §2).
    pub proof: String,
    /// When the proof ends (draft-ietf-wimse-wpt §2).
    pub proof_expires: Timestamp,
}

impl UnprovenWit {
    /// Checks the proof that came with the token; only then does the token name anyone (draft-ietf-wimse-wpt §2).
    pub fn prove(self, proof: &str, expected: &Expectation<'_>) -> Result<VerifiedWit> {
        let token = UnverifiedToken::parse(proof)?;
        token.check_type(WPT_TYP)?;
        if token.alg()? != self.algorithm {
            return Err(SvidError::Proof("its algorithm is not the one of the confirmed key"));
        }
        let claims = token.verify(Algorithm::named(&self.algorithm)?, &self.key)?;
        let proof_expires = check_times(&claims, expected.now, NO_LEEWAY)?;
        if proof_expires > expected.now.plus(MAX_LIFETIME) {
            return Err(SvidError::Proof("it ends too far in the future"));
        }
        let audience = audience_claim(&claims)?;
        if !audience.iter().any(|found| expected.targets.iter().any(|target| bare(target) == bare(found))) {
            return Err(SvidError::Proof("it is meant for another target"));
        }
        check_hash(&claims, "wth", Some(&self.token))?;
        check_hash(&claims, "ath", expected.access_token)?;
        check_hash(&claims, "tth", expected.transaction_token)?;
        check_others(&claims, expected.others)?;
        let proof = text_claim(&claims, "jti")?;
        if proof.is_empty() || proof.len() > MAX_NAME_BYTES {
            return Err(SvidError::Claim("jti"));
        }
        Ok(VerifiedWit { proof: proof.to_owned(), id: self.id, expires: self.expires, claims: self.claims, proof_expires })
    }
}

/// The proofs that were accepted and could still be replayed (draft-ietf-wimse-wpt §3).
#[derive(Clone, Debug)]
pub struct ProofsSeen {
    seen: BTreeMap<(SpiffeId, String), Timestamp>,
    room: usize,
}

impl ProofsSeen {
    /// A memory for at most `room` proofs at a time (draft-ietf-wimse-wpt §3).
    pub fn new(room: usize) -> Self {
        Self { seen: BTreeMap::new(), room }
    }

    /// Takes note of a proof; refuses one that was seen, and all while the memory is full (draft-ietf-wimse-wpt §3).
    pub fn admit(&mut self, wit: &VerifiedWit, now: Timestamp) -> Result<()> {
        if self.seen.len() >= self.room {
            self.seen.retain(|_, ends| *ends > now);
        }
        if self.seen.len() >= self.room {
            return Err(SvidError::Proof("too many proofs are in use"));
        }
        let name = (wit.id.clone(), wit.proof.clone());
        match self.seen.insert(name, wit.proof_expires) {
            Some(ends) if ends > now => Err(SvidError::Proof("it was used before")),
            _ => Ok(()),
        }
    }
}

#[derive(Serialize)]
struct ProofClaims<'a> {
    aud: &'a str,
    exp: i64,
    jti: &'a str,
    wth: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    ath: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tth: Option<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    oth: BTreeMap<&'a str, String>,
}

/// The claim and the token are there together, or neither is.
fn check_hash(claims: &Map<String, Value>, name: &'static str, token: Option<&str>) -> Result<()> {
    match (claims.get(name), token) {
        (None, None) => Ok(()),
        (Some(Value::String(found)), Some(token)) if *found == token_hash(token) => Ok(()),
        _ => Err(SvidError::Proof("it does not cover the tokens of the message")),
    }
}

/// Every entry is understood and every token on which the receiver leans is covered.
fn check_others(claims: &Map<String, Value>, others: &[(&str, &str)]) -> Result<()> {
    let none = Map::new();
    let covered = match claims.get("oth") {
        None => &none,
        Some(Value::Object(covered)) => covered,
        Some(_) => return Err(SvidError::Claim("oth")),
    };
    let holds = |(name, value): &(&str, &str)| {
        covered.get(*name).and_then(Value::as_str).is_some_and(|found| found == token_hash(value.trim_matches(' ')))
    };
    if covered.len() != others.len() || !others.iter().all(holds) {
        return Err(SvidError::Proof("it does not cover the tokens of the message"));
    }
    Ok(())
}

/// A URI without query and fragment (RFC 3986 §3).
fn bare(uri: &str) -> &str {
    uri.split(['?', '#']).next().unwrap_or_default()
}

const WPT_TYP: &str = "wpt+jwt";
/// How long a proof of ours lives at most.
const LONGEST_MADE: Ttl = Ttl::from_seconds(120);
/// How far ahead a proof may end: longer, for clocks that differ.
const MAX_LIFETIME: Ttl = Ttl::from_seconds(300);
const MAX_NAME_BYTES: usize = 256;
