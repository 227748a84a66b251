//! Small values that every module uses: digests, people and the error of a failed parse.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A text that is not what its type demands: what was expected, and the text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected}, found `{found}`")]
pub struct ParseError {
    /// What the type accepts, in words.
    pub expected: &'static str,
    /// The start of the offending text, at most 200 characters.
    pub found: String,
}

impl ParseError {
    /// An error for `found`, cut to a printable length.
    pub fn new(expected: &'static str, found: &str) -> Self {
        Self { expected, found: found.chars().take(200).collect() }
    }
}

/// A SHA-256 digest, written `sha256:<64 hex digits>`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest([u8; 32]);

impl Digest {
    /// Wraps 32 bytes that some SHA-256 produced.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The first 12 hex digits, for people.
    pub fn short(&self) -> String {
        hex::encode(self.0).chars().take(12).collect()
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", hex::encode(self.0))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Digest {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let error = || ParseError::new("`sha256:` and 64 lower-case hex digits", text);
        let digits = text.strip_prefix("sha256:").ok_or_else(error)?;
        if digits.bytes().any(|b| b.is_ascii_uppercase()) {
            return Err(error());
        }
        let mut bytes = [0; 32];
        hex::decode_to_slice(digits, &mut bytes).map_err(|_| error())?;
        Ok(Self(bytes))
    }
}

/// A salted commitment to bytes: SHA-256(salt ‖ SHA-256(bytes)), written `commit:<64 hex digits>`. It stands in the log
/// where the digest itself would let a reader test guesses.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Commitment([u8; 32]);

impl Commitment {
    /// Wraps 32 bytes that some SHA-256 produced.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for Commitment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{COMMITMENT}{}", hex::encode(self.0))
    }
}

impl fmt::Debug for Commitment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Commitment {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let error = || ParseError::new("`commit:` and 64 lower-case hex digits", text);
        let digits = text.strip_prefix(COMMITMENT).ok_or_else(error)?;
        let mut bytes = [0; 32];
        hex::decode_to_slice(digits, &mut bytes).map_err(|_| error())?;
        // One spelling for one value.
        let commitment = Self(bytes);
        if commitment.to_string() == text { Ok(commitment) } else { Err(error()) }
    }
}

/// The digest of some content, or, for a reader who may not know it or after it was erased, the commitment to it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Committed {
    /// The digest is known here.
    Open(Digest),
    /// Only the commitment is.
    Closed(Commitment),
}

impl Committed {
    /// The digest, where it is known.
    pub const fn digest(&self) -> Option<Digest> {
        match self {
            Self::Open(digest) => Some(*digest),
            Self::Closed(_) => None,
        }
    }
}

impl PartialEq<Digest> for Committed {
    fn eq(&self, digest: &Digest) -> bool {
        self.digest() == Some(*digest)
    }
}

impl From<Digest> for Committed {
    fn from(digest: Digest) -> Self {
        Self::Open(digest)
    }
}

impl fmt::Display for Committed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open(digest) => digest.fmt(f),
            Self::Closed(commitment) => commitment.fmt(f),
        }
    }
}

impl fmt::Debug for Committed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Committed {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        if text.starts_with(COMMITMENT) { text.parse().map(Self::Closed) } else { text.parse().map(Self::Open) }
    }
}

/// The fingerprints of a text, by which a part of it is found again: 64 bits each, as hex without separators.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Prints(Vec<u64>);

impl Prints {
    /// These fingerprints.
    pub const fn new(prints: Vec<u64>) -> Self {
        Self(prints)
    }

    /// Each of them; none where they were erased.
    pub fn as_slice(&self) -> &[u64] {
        &self.0
    }
}

impl fmt::Display for Prints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|print| write!(f, "{print:016x}"))
    }
}

impl FromStr for Prints {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        if text.starts_with(COMMITMENT) {
            return text.parse::<Commitment>().map(|_| Self::default());
        }
        let error = || ParseError::new("fingerprints of 16 hex digits each", text);
        let bytes = hex::decode(text).map_err(|_| error())?;
        let (prints, rest) = bytes.as_chunks::<8>();
        if rest.is_empty() { Ok(Self(prints.iter().map(|p| u64::from_be_bytes(*p)).collect())) } else { Err(error()) }
    }
}

const COMMITMENT: &str = "commit:";

/// A person: `user:` and a name such as an e-mail address. People ask for tasks, own identities and approve.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PersonId(String);

impl PersonId {
    /// The name without `user:`.
    pub fn name(&self) -> &str {
        self.0.strip_prefix("user:").unwrap_or(&self.0)
    }

    /// The pseudonym that stands for a person in the log, and all that is left of one who was erased.
    pub fn pseudonym(bytes: [u8; 16]) -> Self {
        Self(format!("user:~{}", hex::encode(bytes)))
    }

    /// Whether this is a pseudonym.
    pub fn is_pseudonym(&self) -> bool {
        self.name().starts_with('~')
    }
}

impl fmt::Display for PersonId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for PersonId {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let name = text.strip_prefix("user:").unwrap_or(text);
        let allowed = |c: char| c.is_ascii_alphanumeric() || "@._+-".contains(c);
        if let Some(digits) = name.strip_prefix('~') {
            let mut bytes = [0; 16];
            let parsed = hex::decode_to_slice(digits, &mut bytes).ok().map(|()| Self::pseudonym(bytes));
            return parsed
                .filter(|p| p.name() == name)
                .ok_or_else(|| ParseError::new("a pseudonym, as `~` and 32 hex digits", text));
        }
        if name.is_empty() || name.len() > 128 || name.starts_with('.') || !name.chars().all(allowed) {
            return Err(ParseError::new("a person, as `alice@example.com`", text));
        }
        Ok(Self(format!("user:{name}")))
    }
}

/// Implements the conversions that serde uses for a type that is written as text.
macro_rules! as_text {
    ($($type:ty),+) => {$(
        impl TryFrom<String> for $type {
            type Error = $crate::ParseError;
            fn try_from(text: String) -> Result<Self, $crate::ParseError> {
                text.parse()
            }
        }
        impl From<$type> for String {
            fn from(value: $type) -> String {
                value.to_string()
            }
        }
    )+};
}
pub(crate) use as_text;

as_text!(Digest, Commitment, Committed, Prints, PersonId);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digest_round_trips_and_refuses_upper_case() {
        let digest = Digest::from_bytes([0xab; 32]);
        assert_eq!(digest.to_string().parse(), Ok(digest));
        assert!(digest.to_string().to_uppercase().parse::<Digest>().is_err());
        assert!("sha256:abc".parse::<Digest>().is_err());
    }

    #[test]
    fn people_have_plain_names() {
        assert_eq!("alice@example.com".parse::<PersonId>().unwrap().to_string(), "user:alice@example.com");
        for bad in ["", "user:", "a b", "../x", "a/b", "ä"] {
            assert!(bad.parse::<PersonId>().is_err(), "{bad}");
        }
    }
}
