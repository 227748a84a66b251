//! WIT-SVIDs: tokens that are bound to a key of the workload, and the proofs that the workload has it. Experimental: both
//! specifications still change.
//!
//! The token is that of the WIT-SVID specification at [`WIT_SVID_REVISION`], the proof that of [`WPT_DRAFT`].

mod proof;

pub use proof::{Expectation, Presentation, ProofRequest, ProofsSeen, VerifiedWit, prove};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use marque_core::spiffe::SpiffeId;
use marque_core::time::{Timestamp, Ttl};
use serde::Serialize;
use serde_json::{Map, Value, json};
use zeroize::Zeroizing;

use crate::bundle::Bundle;
use crate::error::{Result, SvidError, shown};
use crate::jwk::{Algorithm, Jwk};
use crate::jws::{NO_LEEWAY, UnverifiedToken, check_times};
use crate::jwt::{named, workload_claim};
use crate::keys::{P256Key, SigningBackend};
use crate::stored::SecretText;
use crate::token_key::TokenKey;
use crate::validity::{Validity, check_workload};

/// The revision of the SPIFFE specifications whose WIT-SVID this is (WIT-SVID, incubating).
pub const WIT_SVID_REVISION: &str = "665a28f3";

/// The draft whose proof of possession this is (draft-ietf-wimse-wpt §2).
pub const WPT_DRAFT: &str = "draft-ietf-wimse-wpt-02";

/// What a WIT-SVID is asked to say (WIT-SVID §3).
#[derive(Clone, Copy, Debug)]
pub struct WitRequest<'a> {
    /// Whom it names; with a path (WIT-SVID §3.1).
    pub id: &'a SpiffeId,
    /// The unique name of the token: the lease (WIT-SVID §3.3). Each instance gets a token of its own.
    pub jti: &'a str,
    /// The moment of issue (WIT-SVID §3.6).
    pub now: Timestamp,
    /// How long it lives at most (WIT-SVID §3.4).
    pub ttl: Ttl,
}

/// A WIT-SVID with the key that its holder proves (Workload API §7.2.1).
#[derive(Clone, Debug)]
pub struct WitSvid {
    /// Whom it names (WIT-SVID §3.1).
    pub id: SpiffeId,
    /// The token (WIT-SVID §2).
    pub token: String,
    /// The private key, as a JWK (Workload API §7.2.1, RFC 7518 §6.2.2).
    pub key_jwk: SecretText,
    /// The private key, PKCS#8 (RFC 5208).
    pub key_pkcs8: Zeroizing<Vec<u8>>,
    /// When it ends (WIT-SVID §3.4).
    pub expires: Timestamp,
}

/// Issues a WIT-SVID for a fresh key that lives at most `longest`. It has no `aud`, and no `iss`, so that nobody takes it for
/// an OpenID Connect token (WIT-SVID §3.7, §3.8).
pub(crate) fn issue(signer: &TokenKey, request: WitRequest<'_>, longest: Ttl) -> Result<WitSvid> {
    let WitRequest { id, jti, now, ttl } = request;
    check_workload(id, &signer.trust_domain)?;
    let Validity { not_before, not_after } = signer.validity.window(now, ttl.min(longest))?;
    let key = P256Key::generate()?;
    let jwk = Jwk::from_point(key.public_point()).ok_or(SvidError::Key)?;
    let claims = WitClaims {
        sub: id,
        cnf: json!({ "jwk": with_alg(&jwk)? }),
        exp: not_after.seconds(),
        iat: now.seconds(),
        nbf: not_before.seconds(),
        jti,
    };
    Ok(WitSvid {
        id: id.clone(),
        token: signer.sign(WIT_TYP, &claims)?,
        key_jwk: private_jwk(&key, &jwk)?,
        key_pkcs8: key.into_pkcs8(),
        expires: not_after,
    })
}

/// A WIT-SVID that is genuine, shown by who knows whom: it names nobody until [`UnprovenWit::prove`] (WIT-SVID §7.1).
#[derive(Clone, Debug)]
pub struct UnprovenWit {
    token: String,
    id: SpiffeId,
    expires: Timestamp,
    key: Jwk,
    algorithm: String,
    claims: Map<String, Value>,
}

/// Verifies a WIT-SVID against the bundle of its own trust domain (WIT-SVID §2 to §4).
pub fn verify_wit_svid(token: &str, bundle: &Bundle, now: Timestamp) -> Result<UnprovenWit> {
    let unverified = UnverifiedToken::parse(token)?;
    let typ = unverified.parameter("typ")?.unwrap_or_default();
    if typ != WIT_TYP {
        return Err(SvidError::TokenType(shown(typ)));
    }
    let algorithm = Algorithm::named(unverified.alg()?)?;
    let claims = unverified.verify(algorithm, &named(&bundle.wit_keys, unverified.kid()?)?.jwk)?;
    let id = workload_claim(&claims, bundle)?;
    if claims.contains_key("aud") {
        return Err(SvidError::Claim("aud"));
    }
    // WIT-SVID §3.6: `iat` says nothing about validity.
    let mut timed = claims.clone();
    timed.remove("iat");
    let expires = check_times(&timed, now, NO_LEEWAY)?;
    let (key, algorithm) = confirmation(&claims).ok_or(SvidError::Claim("cnf"))?;
    Ok(UnprovenWit { token: token.to_owned(), id, expires, key, algorithm, claims })
}

/// The key that the holder must prove, and its algorithm, which must fit it (WIT-SVID §3.2).
fn confirmation(claims: &Map<String, Value>) -> Option<(Jwk, String)> {
    let members = claims.get("cnf")?.get("jwk")?.as_object()?;
    let name = members.get("alg")?.as_str()?;
    let algorithm = Algorithm::named(name).ok()?;
    let key = Jwk::read(members)?;
    key.fits(algorithm).then(|| (key, name.to_owned()))
}

#[derive(Serialize)]
struct WitClaims<'a> {
    sub: &'a SpiffeId,
    cnf: Value,
    exp: i64,
    iat: i64,
    nbf: i64,
    jti: &'a str,
}

fn with_alg(jwk: &Jwk) -> Result<Value> {
    let mut value = serde_json::to_value(jwk)?;
    if let Some(members) = value.as_object_mut() {
        members.insert("alg".to_owned(), jwk.alg().into());
    }
    Ok(value)
}

/// The key pair as a JWK, whose `d` is the private scalar (RFC 7518 §6.2.2).
fn private_jwk(key: &P256Key, public: &Jwk) -> Result<SecretText> {
    let scalar = key.scalar()?;
    let mut text = serde_json::to_string(&with_alg(public)?)?;
    text.truncate(text.len().saturating_sub(1));
    text.push_str(",\"d\":\"");
    URL_SAFE_NO_PAD.encode_string(scalar.as_slice(), &mut text);
    text.push_str("\"}");
    Ok(SecretText::new(text))
}

pub(crate) const WIT_TYP: &str = "wit+jwt";

#[cfg(test)]
#[path = "wit_tests.rs"]
mod tests;
