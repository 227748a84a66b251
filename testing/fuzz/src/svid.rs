//! Tokens and certificates against a bundle of which nobody holds the private keys any more.

use std::sync::LazyLock;

use marque_core::spiffe::TrustDomain;
use marque_core::time::Timestamp;
use marque_ledger::decode_bundle;
use marque_svid::wit::{Expectation, verify_wit_svid};
use marque_svid::{AT_JWT_TYP, Bundle, JwtKey, TaskClaims, thumbprint, verify_jwt_svid, verify_typed, verify_x509_svid};

/// [`verify_jwt_svid`]: whatever passes names the one identity for which a token was ever signed.
pub fn svid_jwt(data: &[u8]) {
    let Ok(token) = std::str::from_utf8(data) else { return };
    if let Ok(svid) = verify_jwt_svid(token, &BUNDLE, None, NOW) {
        assert_eq!(svid.id.to_string(), WORKLOAD);
        assert!(svid.expires > NOW, "an expired token passes");
        assert_eq!(svid.audience, [ISSUER]);
        assert!(verify_jwt_svid(token, &BUNDLE, Some("https://other.example"), NOW).is_err(), "any audience passes");
        assert!(verify_jwt_svid(token, &BUNDLE, None, svid.expires).is_err(), "a token outlives its end");
        assert!(typed(token).is_err(), "a JWT-SVID passes for a task token");
    }
}

/// [`verify_typed`] for task tokens: whatever passes says what the one good token says.
pub fn svid_typed(data: &[u8]) {
    let Ok(token) = std::str::from_utf8(data) else { return };
    if let Ok(claims) = typed(token) {
        assert_eq!((claims.iss.as_str(), claims.client_id.as_str(), claims.sub.as_str()), (ISSUER, WORKLOAD, PERSON));
        assert!(claims.exp > NOW.seconds(), "an expired token passes");
        assert!(verify_jwt_svid(token, &BUNDLE, None, NOW).is_err(), "a task token passes for a JWT-SVID");
    }
}

/// [`verify_wit_svid`] and its proof, a line each: whatever passes is the one identity that was ever proved, for the one receiver.
pub fn svid_wit(data: &[u8]) {
    let Some((wit, proof)) = std::str::from_utf8(data).ok().and_then(|text| text.split_once('\n')) else { return };
    let expected = |targets| Expectation { targets, access_token: None, transaction_token: None, others: &[], now: NOW };
    let proved = |targets| verify_wit_svid(wit, &BUNDLE, NOW).and_then(|unproven| unproven.prove(proof, &expected(targets)));
    if let Ok(verified) = proved(&[RECEIVER]) {
        assert_eq!(verified.id.to_string(), WORKLOAD);
        assert!(verified.expires > NOW, "an expired token passes");
        assert!(proved(&["https://other.example/"]).is_err(), "a proof passes at another receiver");
        assert!(verify_jwt_svid(wit, &BUNDLE, None, NOW).is_err(), "a WIT-SVID passes for a JWT-SVID");
    }
}

/// [`verify_x509_svid`]: one certificate, or several as a bundle of entries holds them. Whatever passes names the one
/// identity for which a certificate was ever signed.
pub fn svid_x509(data: &[u8]) {
    let chain = decode_bundle(data).unwrap_or_default();
    for chain in [[data].as_slice(), chain.as_slice()] {
        if let Ok(svid) = verify_x509_svid(chain, &BUNDLE, NOW) {
            assert_eq!(svid.id.to_string(), WORKLOAD);
            assert!(svid.not_after >= NOW, "an expired certificate passes");
            assert_eq!(Some(svid.thumbprint), chain.first().map(|leaf| thumbprint(leaf)));
        }
    }
}

fn typed(token: &str) -> marque_svid::Result<TaskClaims> {
    verify_typed(token, AT_JWT_TYP, &BUNDLE, ISSUER, GATEWAY, NOW)
}

pub(crate) static BUNDLE: LazyLock<Bundle> = LazyLock::new(bundle);

#[expect(clippy::expect_used, reason = "the bundle stands in this folder")]
fn bundle() -> Bundle {
    let trust_domain: TrustDomain = "example.org".parse().expect("a trust domain");
    let key: JwtKey = serde_json::from_str(KEY).expect("a public key");
    let mut bundle = Bundle::empty(trust_domain, 1);
    bundle.wit_keys.push(key.clone());
    bundle.wit_keys.push(serde_json::from_str(WIT_KEY).expect("a public key"));
    bundle.jwt_keys.push(key);
    bundle.x509_authorities.push(AUTHORITY.to_vec());
    bundle
}

/// A self-signed certificate and a public key; what they signed is in the corpus.
const AUTHORITY: &[u8] = include_bytes!("authority.der");
/// The public key of the JWTs in the corpus.
pub const KEY: &str = r#"{ "kid": "fuzz", "kty": "EC", "crv": "P-256",
    "x": "fZTeuusHExNTV5w_EjlvHDp2sc8Todz4OJ925r9gsoc", "y": "OQklq_JCXPlNKE5ss3X-OrSY1zRQ7C_qRmUfaS6VYpM" }"#;
/// The public key of the WIT-SVIDs in the corpus.
pub const WIT_KEY: &str = r#"{ "kid": "fuzz-wit", "kty": "EC", "crv": "P-256",
    "x": "kqcG779ZsLv2Qx9Tn6RWeBUugf9btIhNTLqtrYjUMDI", "y": "YkwBfyvzAJZqTfCxVh_s9aAl9te3lMUd6v4gKer4wFc" }"#;
/// The public key of another issuer, which signed tokens in the corpus, too.
pub const OIDC_KEY: &str = r#"{ "kid": "fuzz-oidc", "kty": "EC", "crv": "P-256",
    "x": "J7hMIeUEI1tSNNLHT2fhKU5J7QYNTKGF0kxHtR14a3w", "y": "W6_CBP46MNlxt6ADXBZXiEPP6E4ttXqa4ThP3HYfHyk" }"#;
/// For whom the proofs in the corpus are.
const RECEIVER: &str = "https://api.example/x";
pub(crate) const WORKLOAD: &str = "spiffe://example.org/agent/researcher";
const PERSON: &str = "user:alice@example.com";
pub(crate) const ISSUER: &str = "https://issuer.example";
const GATEWAY: &str = "spiffe://example.org/marque/gateway";
/// An hour after the authority began.
pub const NOW: Timestamp = Timestamp::from_seconds(1_795_476_919);
