//! Join tokens: a secret that admits one node, once, for a short time.

use std::fmt;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use marque_core::attestation::Selector;
use marque_core::time::{Timestamp, Ttl};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::error::{Result, SvidError};
use crate::stored::SecretText;

/// The secret itself, which is shown once and never kept (RFC 4086 §8.2.1: 256 random bits).
#[derive(Clone, Debug)]
pub struct JoinToken(SecretText);

impl JoinToken {
    /// From random octets (RFC 4086 §8.2.1).
    pub fn new(random: [u8; 32]) -> Self {
        Self(SecretText::new(format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(random))))
    }

    /// The text to hand to the node; the caller must neither print it elsewhere nor keep it (RFC 4086 §8.2.1).
    pub fn danger_expose(&self) -> &str {
        self.0.danger_expose()
    }

    /// What is kept of it (RFC 4086 §8.2.1): it admits until `ttl` after `now`.
    pub fn record(&self, now: Timestamp, ttl: Ttl) -> JoinTokenRecord {
        JoinTokenRecord { digest: digest(self.danger_expose()), expires: now.plus(ttl), used: None }
    }
}

/// What is kept of a join token (RFC 4086 §8.2.1): its digest and whether it was used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JoinTokenRecord {
    digest: String,
    expires: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    used: Option<Timestamp>,
}

impl JoinTokenRecord {
    /// The public name of the token: the start of its digest (FIPS 180-4 SHA-256).
    pub fn id(&self) -> &str {
        self.digest.get(..16).unwrap_or(&self.digest)
    }

    /// When it ends (RFC 4086 §8.2.1).
    pub fn expires(&self) -> Timestamp {
        self.expires
    }

    /// When it was used, if it was.
    pub fn used(&self) -> Option<Timestamp> {
        self.used
    }

    /// Whether this is the record of that token (FIPS 180-4 SHA-256); the time it takes says nothing of where they differ.
    pub fn is_of(&self, presented: &str) -> bool {
        verify_slices_are_equal(digest(presented).as_bytes(), self.digest.as_bytes()).is_ok()
    }

    /// The record after the token was used at `now`. The caller makes it durable before it admits the node, so that the
    /// token admits once.
    pub fn redeem(&self, presented: &str, now: Timestamp) -> Result<Self> {
        if !self.is_of(presented) {
            return Err(SvidError::JoinToken("it is not known"));
        }
        if self.used.is_some() {
            return Err(SvidError::JoinToken("it was used before"));
        }
        if now >= self.expires {
            return Err(SvidError::JoinToken("it has expired"));
        }
        Ok(Self { used: Some(now), ..self.clone() })
    }

    /// What is known of a node that it admitted: `join_token:id:<name>`.
    pub fn selector(&self) -> Result<Selector> {
        Selector::new("join_token", "id", self.id()).map_err(|_| SvidError::Selectors("a join token has no name"))
    }
}

impl fmt::Display for JoinTokenRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.id())
    }
}

fn digest(token: &str) -> String {
    hex::encode(Sha256::digest(token.as_bytes()))
}

/// By which scanners find a secret that leaked.
const PREFIX: &str = "marque_join_";

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_seconds(1_800_000_000);

    #[test]
    fn a_token_admits_once_and_in_time() {
        let token = JoinToken::new([7; 32]);
        let record = token.record(NOW, Ttl::from_seconds(60));
        let secret = token.danger_expose();
        assert!(secret.starts_with("marque_join_") && secret.len() == 55);
        let used = record.redeem(secret, NOW).unwrap();
        assert_eq!((used.used(), used.expires(), used.id()), (Some(NOW), record.expires(), record.id()));
        assert!(matches!(used.redeem(secret, NOW), Err(SvidError::JoinToken("it was used before"))));
        let last = Timestamp::from_micros(record.expires().micros() - 1);
        assert!(record.redeem(secret, last).is_ok());
        assert!(matches!(record.redeem(secret, record.expires()), Err(SvidError::JoinToken("it has expired"))));
        for other in ["", "marque_join_", &secret[1..], &format!("{secret} "), JoinToken::new([8; 32]).danger_expose()] {
            assert!(matches!(record.redeem(other, NOW), Err(SvidError::JoinToken("it is not known"))), "{other}");
        }
    }

    #[test]
    fn what_is_kept_gives_nothing_away() {
        let token = JoinToken::new([7; 32]);
        let record = token.record(NOW, Ttl::from_seconds(60));
        let json = serde_json::to_string(&record).unwrap();
        assert!(!format!("{json} {record} {record:?} {token:?}").contains(&token.danger_expose()[12..30]));
        assert_eq!(serde_json::from_str::<JoinTokenRecord>(&json).unwrap(), record);
        assert_eq!(record.selector().unwrap().as_str(), format!("join_token:id:{}", record.id()));
    }
}
