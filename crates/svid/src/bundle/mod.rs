//! The public keys of a trust domain, in the forms that relying parties read.

mod document;
mod set;

pub use set::{BundleSet, Offered};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use marque_core::spiffe::TrustDomain;
use marque_core::time::Ttl;
use serde::Serialize;

use crate::authority::Authority;
use crate::error::{Result, SvidError};
use crate::jwk::{Jwk, JwtKey};
use crate::x509;

/// The bundle of one trust domain (SPIFFE Trust Domain and Bundle §4).
///
/// It holds the keys of every authority that is prepared, active or retired but not yet forgotten. A bundle without
/// keys is valid and means that nothing of the trust domain is trusted (§4.1.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bundle {
    /// Whose keys these are (SPIFFE-ID §2.1).
    pub trust_domain: TrustDomain,
    /// The CA certificates, DER (X509-SVID §6).
    pub x509_authorities: Vec<Vec<u8>>,
    /// The keys that sign tokens (JWT-SVID §6).
    pub jwt_keys: Vec<JwtKey>,
    /// The keys that sign WIT-SVIDs (WIT-SVID §6).
    pub wit_keys: Vec<JwtKey>,
    /// The SHA-256 of the keys of signing certificates that count no longer, though a root above them does (RFC 5280
    /// §6.1.3). No form of the bundle for others has a place for them.
    pub revoked_signers: Vec<[u8; 32]>,
    /// Grows with every change of content; zero where the publisher gave none (SPIFFE Trust Domain and Bundle §4.1.1).
    pub sequence: u64,
    /// How often to look again, in seconds (SPIFFE Trust Domain and Bundle §4.1.2).
    pub refresh_hint_seconds: u64,
}

impl Bundle {
    /// The bundle of `authorities`, which must all be of one trust domain (SPIFFE Trust Domain and Bundle §4).
    pub fn of(authorities: &[&Authority], sequence: u64) -> Result<Self> {
        let trust_domain = authorities.first().ok_or(SvidError::NoAuthority)?.trust_domain().clone();
        let mut bundle = Self::empty(trust_domain, sequence);
        for authority in authorities {
            if *authority.trust_domain() != bundle.trust_domain {
                return Err(SvidError::TrustDomain(authority.trust_domain().to_string()));
            }
            bundle.x509_authorities.push(authority.certificate().to_vec());
            bundle.jwt_keys.push(authority.jwt_key());
        }
        Ok(bundle)
    }

    /// The bundle without keys: everything of `trust_domain` is revoked (SPIFFE Trust Domain and Bundle §4.1.3).
    pub fn empty(trust_domain: TrustDomain, sequence: u64) -> Self {
        Self {
            trust_domain,
            x509_authorities: Vec::new(),
            jwt_keys: Vec::new(),
            wit_keys: Vec::new(),
            revoked_signers: Vec::new(),
            sequence,
            refresh_hint_seconds: REFRESH_HINT_SECONDS,
        }
    }

    /// Reads a SPIFFE bundle document, which does not say whose it is (SPIFFE Trust Domain and Bundle §4).
    ///
    /// Keys of a kind or for a use that is not known here do not count, nor do those that are not whole. What is not a
    /// bundle at all is an error.
    pub fn from_spiffe_json(trust_domain: TrustDomain, document: &[u8]) -> Result<Self> {
        document::read(trust_domain, document)
    }

    /// The SPIFFE bundle document (SPIFFE Trust Domain and Bundle §4, X509-SVID §6, JWT-SVID §6).
    pub fn to_spiffe_json(&self) -> Result<String> {
        Ok(serde_json::to_string(&self.document(Some(self.refresh_hint_seconds))?)?)
    }

    fn document(&self, spiffe_refresh_hint: Option<u64>) -> Result<Document<'_>> {
        let mut keys = self.x509_authorities.iter().map(|der| Entry::x509_svid(der)).collect::<Result<Vec<_>>>()?;
        keys.extend(self.jwt_keys.iter().map(|key| Entry::token(JWT_SVID, key)));
        keys.extend(self.wit_keys.iter().map(|key| Entry::token(WIT_SVID, key)));
        Ok(Document { keys, spiffe_sequence: Some(self.sequence), spiffe_refresh_hint })
    }

    /// The JWKS with the JWT-SVID keys alone, as FetchJWTBundles returns it (Workload API §6.2.2).
    pub fn jwt_jwks_json(&self) -> Result<String> {
        Self::jwks(self.jwt_keys.iter().map(|key| Entry::token(JWT_SVID, key)).collect())
    }

    /// The JWKS with the WIT-SVID keys alone, as FetchWITBundles returns it (Workload API §7.2.2).
    pub fn wit_jwks_json(&self) -> Result<String> {
        Self::jwks(self.wit_keys.iter().map(|key| Entry::token(WIT_SVID, key)).collect())
    }

    /// The JWKS for OAuth and OpenID Connect clients (RFC 7517 §5, RFC 8414 §2 `jwks_uri`).
    pub fn oauth_jwks_json(&self) -> Result<String> {
        Self::jwks(self.jwt_keys.iter().map(Entry::oauth).collect())
    }

    fn jwks(keys: Vec<Entry<'_>>) -> Result<String> {
        Ok(serde_json::to_string(&Document { keys, spiffe_sequence: None, spiffe_refresh_hint: None })?)
    }

    /// Whether it holds no key at all, so that nothing of the trust domain is trusted (SPIFFE Trust Domain and Bundle §4.1.3).
    pub fn is_empty(&self) -> bool {
        self.x509_authorities.is_empty() && self.jwt_keys.is_empty() && self.wit_keys.is_empty()
    }

    /// How long to wait before the next look at the endpoint, whether the last one worked or not (SPIFFE Federation §4.1,
    /// §6.2): what the publisher hints at, but neither in haste nor once a month.
    pub fn poll_interval(&self) -> Ttl {
        Ttl::from_seconds(self.refresh_hint_seconds.clamp(MIN_POLL_SECONDS, MAX_POLL_SECONDS))
    }
}

#[derive(Serialize)]
struct Document<'a> {
    keys: Vec<Entry<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    spiffe_sequence: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    spiffe_refresh_hint: Option<u64>,
}

#[derive(Serialize)]
struct Entry<'a> {
    #[serde(rename = "use")]
    usage: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    kid: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    alg: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    x5c: Option<[String; 1]>,
    #[serde(flatten)]
    jwk: Jwk,
}

impl<'a> Entry<'a> {
    fn x509_svid(der: &[u8]) -> Result<Self> {
        Ok(Self { usage: X509_SVID, kid: None, alg: None, x5c: Some([STANDARD.encode(der)]), jwk: x509::public_jwk(der)? })
    }

    fn token(usage: &'static str, key: &'a JwtKey) -> Self {
        Self { usage, kid: Some(&key.kid), alg: None, x5c: None, jwk: key.jwk.clone() }
    }

    fn oauth(key: &'a JwtKey) -> Self {
        Self { usage: "sig", kid: Some(&key.kid), alg: key.jwk.alg(), x5c: None, jwk: key.jwk.clone() }
    }
}

/// SPIRE's default, and what clients fall back to (SPIFFE Federation §4).
const REFRESH_HINT_SECONDS: u64 = 300;
const MIN_POLL_SECONDS: u64 = 10;
const MAX_POLL_SECONDS: u64 = 86_400;

const X509_SVID: &str = "x509-svid";
const JWT_SVID: &str = "jwt-svid";
const WIT_SVID: &str = "wit-svid";

#[cfg(test)]
mod tests {
    use marque_core::time::{Timestamp, Ttl};
    use serde_json::Value;

    use super::*;

    fn authority(trust_domain: &str) -> Authority {
        let now = Timestamp::from_seconds(1_800_000_000);
        Authority::generate(&trust_domain.parse().unwrap(), now, Ttl::from_seconds(3600)).unwrap()
    }

    fn read(json: &str) -> Value {
        serde_json::from_str(json).unwrap()
    }

    /// X509-SVID §6, JWT-SVID §6, conformance lines 11, 15, 35.
    #[test]
    fn spiffe_document_has_both_kinds_of_keys_of_all_authorities() {
        let (old, new) = (authority("example.org"), authority("example.org"));
        let bundle = Bundle::of(&[&old, &new], 42).unwrap();
        let json = read(&bundle.to_spiffe_json().unwrap());
        assert_eq!(json["spiffe_sequence"], 42);
        assert_eq!(json["spiffe_refresh_hint"], 300);
        let keys = json["keys"].as_array().unwrap();
        assert_eq!(keys.len(), 4);
        for (key, authority) in keys.iter().zip([&old, &new]) {
            assert_eq!(key["use"], "x509-svid");
            assert_eq!(key["kty"], "EC");
            assert_eq!(key["crv"], "P-256");
            assert!(key.get("kid").is_none());
            assert_eq!(key["x5c"], serde_json::json!([STANDARD.encode(authority.certificate())]));
        }
        for (key, authority) in keys.iter().skip(2).zip([&old, &new]) {
            assert_eq!(key["use"], "jwt-svid");
            assert_eq!(key["kid"], authority.kid());
            assert!(key.get("x5c").is_none());
            assert_eq!(key["x"].as_str().unwrap().len(), 43);
        }
    }

    /// Workload API §6.2.2, conformance line 31; RFC 7517 §4.2 and §4.4.
    #[test]
    fn key_sets_hold_token_keys_only() {
        let authority = authority("example.org");
        let bundle = Bundle::of(&[&authority], 1).unwrap();
        let jwt = read(&bundle.jwt_jwks_json().unwrap());
        assert_eq!(jwt["keys"].as_array().unwrap().len(), 1);
        assert_eq!(jwt["keys"][0]["use"], "jwt-svid");
        assert!(jwt.get("spiffe_sequence").is_none());
        let oauth = read(&bundle.oauth_jwks_json().unwrap());
        assert_eq!(oauth["keys"][0]["use"], "sig");
        assert_eq!(oauth["keys"][0]["alg"], "ES256");
        assert_eq!(oauth["keys"][0]["kid"], authority.kid());
    }

    /// SPIFFE Trust Domain and Bundle §4.1.3, conformance lines 36 and 41.
    #[test]
    fn bundles_do_not_mix_trust_domains_and_may_be_empty() {
        let (a, b) = (authority("a.example"), authority("b.example"));
        assert!(matches!(Bundle::of(&[&a, &b], 1), Err(SvidError::TrustDomain(_))));
        assert!(matches!(Bundle::of(&[], 1), Err(SvidError::NoAuthority)));
        let empty = Bundle::empty("a.example".parse().unwrap(), 2);
        assert_eq!(read(&empty.to_spiffe_json().unwrap())["keys"], serde_json::json!([]));
    }
}
