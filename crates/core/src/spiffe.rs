//! SPIFFE identifiers (SPIFFE-ID §2; conformance lines 1–5).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::ParseError;
use crate::words::as_text;

/// A trust domain name: lower-case letters, digits, `.`, `-`, `_`; at most 255 bytes (SPIFFE-ID §2.1).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TrustDomain(String);

impl TrustDomain {
    /// The trust domain's own identifier, without a path (SPIFFE-ID §3.1).
    pub fn id(&self) -> SpiffeId {
        SpiffeId { trust_domain: self.clone(), path: String::new() }
    }

    /// The identifier of `path` (with its leading slash) in this trust domain.
    pub fn join(&self, path: &str) -> Result<SpiffeId, ParseError> {
        format!("spiffe://{self}{path}").parse()
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TrustDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for TrustDomain {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let lower = text.to_ascii_lowercase();
        if lower.is_empty() || lower.len() > MAX_TRUST_DOMAIN || !lower.bytes().all(is_domain_byte) {
            return Err(ParseError::new("a trust domain of letters, digits, `.`, `-`, `_`", text));
        }
        Ok(Self(lower))
    }
}

/// A SPIFFE ID: `spiffe://<trust domain>[/<path>]`, at most 2048 bytes (SPIFFE-ID §2).
///
/// The scheme and the trust domain compare without regard to case and are kept in lower case; the path is exact.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SpiffeId {
    trust_domain: TrustDomain,
    path: String,
}

impl SpiffeId {
    /// The trust domain.
    pub fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }

    /// The path with its leading slash, or the empty string.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The path without its leading slash: how people and resource names write an identity.
    pub fn short(&self) -> &str {
        self.path.strip_prefix('/').unwrap_or(&self.path)
    }
}

impl fmt::Display for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "spiffe://{}{}", self.trust_domain, self.path)
    }
}

impl fmt::Debug for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for SpiffeId {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let error = || ParseError::new("a SPIFFE ID as `spiffe://example.org/agent/name`", text);
        if text.len() > MAX_ID {
            return Err(error());
        }
        let (scheme, rest) = text.split_once("://").ok_or_else(error)?;
        if !scheme.eq_ignore_ascii_case("spiffe") {
            return Err(error());
        }
        let slash = rest.find('/').unwrap_or(rest.len());
        let (domain, path) = rest.split_at_checked(slash).ok_or_else(error)?;
        let trust_domain = domain.parse().map_err(|_| error())?;
        if let Some(segments) = path.strip_prefix('/') {
            let good = |s: &str| !matches!(s, "" | "." | "..") && s.bytes().all(is_path_byte);
            if !segments.split('/').all(good) {
                return Err(error());
            }
        }
        Ok(Self { trust_domain, path: path.to_owned() })
    }
}

as_text!(TrustDomain, SpiffeId);

fn is_domain_byte(b: u8) -> bool {
    b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'-' | b'_')
}

fn is_path_byte(b: u8) -> bool {
    b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_')
}

const MAX_TRUST_DOMAIN: usize = 255;
const MAX_ID: usize = 2048;

#[cfg(test)]
mod tests {
    use super::*;

    /// SPIFFE-ID §2, conformance lines 1 to 5.
    #[test]
    fn accepts_and_refuses_what_the_standard_says() {
        for good in ["spiffe://example.org", "SPIFFE://Example.org/a", "spiffe://1.2.3.4/A_b.c-d", "spiffe://a/..."] {
            assert!(good.parse::<SpiffeId>().is_ok(), "{good}");
        }
        for bad in [
            "",
            "spiffe://",
            "http://a/b",
            "spiffe:///a",
            "spiffe://a/",
            "spiffe://a//b",
            "spiffe://a/.",
            "spiffe://a/../b",
            "spiffe://a/%41",
            "spiffe://a:1/b",
            "spiffe://u@a/b",
            "spiffe://a/b?c",
            "spiffe://a/b#c",
            "spiffe://a/b:c",
            "spiffe://ä/b",
        ] {
            assert!(bad.parse::<SpiffeId>().is_err(), "{bad}");
        }
        let long = format!("spiffe://a/{}", "b".repeat(2048 - 11));
        assert!(long.parse::<SpiffeId>().is_ok());
        assert!(format!("{long}b").parse::<SpiffeId>().is_err());
    }

    #[test]
    fn domain_compares_without_case_and_path_exactly() {
        let a: SpiffeId = "SPIFFE://EXAMPLE.org/Agent".parse().unwrap();
        assert_eq!(a.to_string(), "spiffe://example.org/Agent");
        assert_ne!(a, "spiffe://example.org/agent".parse().unwrap());
    }
}
