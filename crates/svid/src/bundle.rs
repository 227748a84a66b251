//! The public keys of a trust domain, in the forms that relying parties read.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, DecodingKey};
use marque_core::spiffe::TrustDomain;
use serde::{Deserialize, Serialize};

use crate::authority::Authority;
use crate::error::{Result, SvidError};
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
    /// Grows with every change of content (SPIFFE Trust Domain and Bundle §4.1.1).
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
            sequence,
            refresh_hint_seconds: REFRESH_HINT_SECONDS,
        }
    }

    /// The SPIFFE bundle document (SPIFFE Trust Domain and Bundle §4, X509-SVID §6, JWT-SVID §6).
    pub fn to_spiffe_json(&self) -> Result<String> {
        let mut keys = self.x509_authorities.iter().map(|der| Entry::x509_svid(der)).collect::<Result<Vec<_>>>()?;
        keys.extend(self.jwt_keys.iter().map(Entry::jwt_svid));
        let document =
            Document { keys, spiffe_sequence: Some(self.sequence), spiffe_refresh_hint: Some(self.refresh_hint_seconds) };
        Ok(serde_json::to_string(&document)?)
    }

    /// The JWKS with the JWT-SVID keys alone, as FetchJWTBundles returns it (Workload API §6.2.2).
    pub fn jwt_jwks_json(&self) -> Result<String> {
        Self::jwks(self.jwt_keys.iter().map(Entry::jwt_svid).collect())
    }

    /// The JWKS for OAuth and OpenID Connect clients (RFC 7517 §5, RFC 8414 §2 `jwks_uri`).
    pub fn oauth_jwks_json(&self) -> Result<String> {
        Self::jwks(self.jwt_keys.iter().map(Entry::oauth).collect())
    }

    fn jwks(keys: Vec<Entry<'_>>) -> Result<String> {
        Ok(serde_json::to_string(&Document { keys, spiffe_sequence: None, spiffe_refresh_hint: None })?)
    }

    /// The JWT key named `kid` (JWT-SVID §2.2).
    pub(crate) fn jwt_key(&self, kid: &str) -> Option<&JwtKey> {
        self.jwt_keys.iter().find(|key| key.kid == kid)
    }
}

/// A key that signs tokens, and its name (JWT-SVID §6).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JwtKey {
    /// The name that token headers use (JWT-SVID §2.2).
    pub kid: String,
    /// The public key (RFC 7517 §4).
    #[serde(flatten)]
    pub jwk: Jwk,
}

/// A public key of a kind that SPIFFE allows (RFC 7518 §6, JWT-SVID §2.1).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kty")]
pub enum Jwk {
    /// A point on an elliptic curve (RFC 7518 §6.2).
    #[serde(rename = "EC")]
    Ec {
        /// The curve (RFC 7518 §6.2.1.1).
        crv: Curve,
        /// The x coordinate, base64url (RFC 7518 §6.2.1.2).
        x: String,
        /// The y coordinate, base64url (RFC 7518 §6.2.1.3).
        y: String,
    },
    /// An RSA key (RFC 7518 §6.3).
    #[serde(rename = "RSA")]
    Rsa {
        /// The modulus, base64url (RFC 7518 §6.3.1.1).
        n: String,
        /// The exponent, base64url (RFC 7518 §6.3.1.2).
        e: String,
    },
}

/// A curve (RFC 7518 §6.2.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Curve {
    /// NIST P-256 (RFC 7518 §6.2.1.1).
    #[serde(rename = "P-256")]
    P256,
    /// NIST P-384 (RFC 7518 §6.2.1.1).
    #[serde(rename = "P-384")]
    P384,
}

impl Jwk {
    /// From an uncompressed point (SEC 1 §2.3.3); its length tells the curve.
    pub(crate) fn from_point(point: &[u8]) -> Option<Self> {
        let coordinates = point.strip_prefix(&[4u8])?;
        let crv = match coordinates.len() {
            64 => Curve::P256,
            96 => Curve::P384,
            _ => return None,
        };
        let (x, y) = coordinates.split_at_checked(coordinates.len() / 2)?;
        Some(Self::Ec { crv, x: URL_SAFE_NO_PAD.encode(x), y: URL_SAFE_NO_PAD.encode(y) })
    }

    /// From the integers of an RSA key, which may carry a leading zero (RFC 7518 §6.3.1).
    pub(crate) fn from_rsa(modulus: &[u8], exponent: &[u8]) -> Self {
        let text = |integer: &[u8]| URL_SAFE_NO_PAD.encode(integer.strip_prefix(&[0u8]).unwrap_or(integer));
        Self::Rsa { n: text(modulus), e: text(exponent) }
    }

    /// The key in the form that checks signatures of `algorithm`, if it is a key for that algorithm (JWT-SVID §2.1).
    pub(crate) fn decoding_key(&self, algorithm: Algorithm) -> Option<DecodingKey> {
        use Algorithm::{ES256, ES384, PS256, PS384, PS512, RS256, RS384, RS512};
        match (self, algorithm) {
            (Self::Ec { crv: Curve::P256, x, y }, ES256) | (Self::Ec { crv: Curve::P384, x, y }, ES384) => {
                DecodingKey::from_ec_components(x, y).ok()
            }
            (Self::Rsa { n, e }, RS256 | RS384 | RS512 | PS256 | PS384 | PS512) => DecodingKey::from_rsa_components(n, e).ok(),
            _ => None,
        }
    }

    fn alg(&self) -> Option<&'static str> {
        match self {
            Self::Ec { crv: Curve::P256, .. } => Some("ES256"),
            Self::Ec { crv: Curve::P384, .. } => Some("ES384"),
            Self::Rsa { .. } => None,
        }
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
        Ok(Self { usage: "x509-svid", kid: None, alg: None, x5c: Some([STANDARD.encode(der)]), jwk: x509::public_jwk(der)? })
    }

    fn jwt_svid(key: &'a JwtKey) -> Self {
        Self { usage: "jwt-svid", kid: Some(&key.kid), alg: None, x5c: None, jwk: key.jwk.clone() }
    }

    fn oauth(key: &'a JwtKey) -> Self {
        Self { usage: "sig", kid: Some(&key.kid), alg: key.jwk.alg(), x5c: None, jwk: key.jwk.clone() }
    }
}

/// SPIRE's default, and what clients fall back to (SPIFFE Federation §4).
const REFRESH_HINT_SECONDS: u64 = 300;

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
            assert_eq!(URL_SAFE_NO_PAD.decode(key["x"].as_str().unwrap()).unwrap().len(), 32);
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

    #[test]
    fn keys_serve_their_own_algorithm_only() {
        let key = authority("example.org").jwt_key();
        assert!(key.jwk.decoding_key(Algorithm::ES256).is_some());
        for other in [Algorithm::ES384, Algorithm::RS256, Algorithm::HS256, Algorithm::EdDSA] {
            assert!(key.jwk.decoding_key(other).is_none());
        }
        let json = serde_json::to_string(&key).unwrap();
        assert_eq!(serde_json::from_str::<JwtKey>(&json).unwrap(), key);
    }
}
