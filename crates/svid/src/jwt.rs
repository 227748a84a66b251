//! Verification of JWT-SVIDs (JWT-SVID §4) and of the other tokens that an authority signs.

use marque_core::spiffe::SpiffeId;
use marque_core::time::Timestamp;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::bundle::Bundle;
use crate::error::{Result, SvidError, shown};
use crate::jwk::{Algorithm, JwtKey};
use crate::jws::{NO_LEEWAY, UnverifiedToken, audience_claim, check_audience, check_times, text_claim};

/// What a verified JWT-SVID says (JWT-SVID §3).
#[derive(Clone, Debug, PartialEq)]
pub struct VerifiedJwtSvid {
    /// Whom it names (JWT-SVID §3.1).
    pub id: SpiffeId,
    /// For whom it is meant (JWT-SVID §3.2).
    pub audience: Vec<String>,
    /// When it ends (JWT-SVID §3.3).
    pub expires: Timestamp,
    /// All its claims (Workload API §6.2.3).
    pub claims: Map<String, Value>,
}

/// Verifies a JWT-SVID against the bundle of its own trust domain (JWT-SVID §2 to §4).
///
/// With `audience`, the token must be meant for it; without, the caller compares [`VerifiedJwtSvid::audience`] itself.
pub fn verify_jwt_svid(token: &str, bundle: &Bundle, audience: Option<&str>, now: Timestamp) -> Result<VerifiedJwtSvid> {
    let token = UnverifiedToken::parse(token)?;
    token.check_plain_header()?;
    token.check_jwt_type()?;
    let algorithm = Algorithm::named(token.alg()?)?;
    let claims = token.verify(algorithm, &named(&bundle.jwt_keys, token.kid()?)?.jwk)?;
    let id = workload_claim(&claims, bundle)?;
    let expires = check_times(&claims, now, NO_LEEWAY)?;
    let found = audience_claim(&claims)?;
    if let Some(wanted) = audience {
        check_audience(&found, wanted)?;
    }
    Ok(VerifiedJwtSvid { id, audience: found, expires, claims })
}

/// Verifies a token of another class, such as `at+jwt`, and reads its claims (RFC 9068 §4).
///
/// The `typ` header must name exactly that class, so that no class of token passes for another (RFC 8725 §3.11).
pub fn verify_typed<T: DeserializeOwned>(
    token: &str,
    typ: &str,
    bundle: &Bundle,
    issuer: &str,
    audience: &str,
    now: Timestamp,
) -> Result<T> {
    let token = UnverifiedToken::parse(token)?;
    token.check_plain_header()?;
    token.check_type(typ)?;
    let algorithm = Algorithm::named(token.alg()?)?;
    if algorithm != Algorithm::Es256 {
        return Err(SvidError::Algorithm(algorithm.name().to_owned()));
    }
    let claims = token.verify(algorithm, &named(&bundle.jwt_keys, token.kid()?)?.jwk)?;
    if text_claim(&claims, "iss")? != issuer {
        return Err(SvidError::Issuer(issuer.to_owned()));
    }
    check_audience(&audience_claim(&claims)?, audience)?;
    check_times(&claims, now, NO_LEEWAY)?;
    Ok(serde_json::from_value(Value::Object(claims))?)
}

/// The key of that name (JWT-SVID §2.2).
pub(crate) fn named<'k>(keys: &'k [JwtKey], kid: &str) -> Result<&'k JwtKey> {
    keys.iter().find(|key| key.kid == kid).ok_or_else(|| SvidError::UnknownKey(shown(kid)))
}

/// The subject, which must be a workload of the bundle's trust domain (JWT-SVID §3.1, Workload API §4.6).
pub(crate) fn workload_claim(claims: &Map<String, Value>, bundle: &Bundle) -> Result<SpiffeId> {
    let id: SpiffeId = text_claim(claims, "sub")?.parse().map_err(|_| SvidError::Claim("sub"))?;
    if *id.trust_domain() != bundle.trust_domain {
        return Err(SvidError::TrustDomain(id.to_string()));
    }
    if id.path().is_empty() {
        return Err(SvidError::NoPath(id.to_string()));
    }
    Ok(id)
}

#[cfg(test)]
#[path = "jwt_tests.rs"]
mod tests;
