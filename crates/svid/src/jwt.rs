//! Verification of JWT-SVIDs (JWT-SVID §4) and of the other tokens that an authority signs.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::Algorithm;
use marque_core::spiffe::SpiffeId;
use marque_core::time::{Timestamp, Ttl};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::bundle::Bundle;
use crate::error::{Result, SvidError, shown};

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
    if !matches!(token.header.typ.as_deref(), None | Some("JWT" | "JOSE")) {
        return Err(token.wrong_type());
    }
    let claims = token.verify(spiffe_algorithm(&token.header.alg)?, bundle)?;
    let id: SpiffeId = text_claim(&claims, "sub")?.parse().map_err(|_| SvidError::Claim("sub"))?;
    if *id.trust_domain() != bundle.trust_domain {
        return Err(SvidError::TrustDomain(id.to_string()));
    }
    if id.path().is_empty() {
        return Err(SvidError::NoPath(id.to_string()));
    }
    let expires = check_times(&claims, now)?;
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
    if !token.header.typ.as_deref().is_some_and(|found| media_type(found).eq_ignore_ascii_case(media_type(typ))) {
        return Err(token.wrong_type());
    }
    if token.header.alg != "ES256" {
        return Err(SvidError::Algorithm(shown(&token.header.alg)));
    }
    let claims = token.verify(Algorithm::ES256, bundle)?;
    if text_claim(&claims, "iss")? != issuer {
        return Err(SvidError::Issuer(issuer.to_owned()));
    }
    check_audience(&audience_claim(&claims)?, audience)?;
    check_times(&claims, now)?;
    Ok(serde_json::from_value(Value::Object(claims))?)
}

/// A token that has been taken apart and not yet believed.
struct UnverifiedToken<'t> {
    header: Header,
    message: &'t str,
    claims: &'t str,
    signature: &'t str,
}

/// JWT-SVID §2: these three parameters and no other.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    alg: String,
    kid: Option<String>,
    typ: Option<String>,
}

impl<'t> UnverifiedToken<'t> {
    fn parse(token: &'t str) -> Result<Self> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(SvidError::TokenSize);
        }
        let three_parts = || SvidError::TokenForm("it does not have three parts");
        let (message, signature) = token.rsplit_once('.').ok_or_else(three_parts)?;
        let (header, claims) = message.split_once('.').ok_or_else(three_parts)?;
        if claims.contains('.') {
            return Err(three_parts());
        }
        let header = serde_json::from_slice(&decode(header)?)
            .map_err(|_| SvidError::TokenForm("its header has other parameters than `alg`, `kid` and `typ`"))?;
        Ok(Self { header, message, claims, signature })
    }

    /// The claims, once the signature holds.
    fn verify(&self, algorithm: Algorithm, bundle: &Bundle) -> Result<Map<String, Value>> {
        let kid = self.header.kid.as_deref().ok_or(SvidError::TokenForm("its header has no `kid`"))?;
        let key = bundle.jwt_key(kid).ok_or_else(|| SvidError::UnknownKey(shown(kid)))?;
        let key = key.jwk.decoding_key(algorithm).ok_or_else(|| SvidError::Algorithm(shown(&self.header.alg)))?;
        match jsonwebtoken::crypto::verify(self.signature, self.message.as_bytes(), &key, algorithm) {
            Ok(true) => {}
            _ => return Err(SvidError::Signature),
        }
        serde_json::from_slice(&decode(self.claims)?).map_err(|_| SvidError::TokenForm("its claims are not a JSON object"))
    }

    fn wrong_type(&self) -> SvidError {
        SvidError::TokenType(shown(self.header.typ.as_deref().unwrap_or_default()))
    }
}

fn decode(part: &str) -> Result<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| SvidError::TokenForm("a part is not base64url"))
}

/// JWT-SVID §2.1. `ES512` is on that list too, but the cryptographic library does not offer it.
fn spiffe_algorithm(name: &str) -> Result<Algorithm> {
    Ok(match name {
        "RS256" => Algorithm::RS256,
        "RS384" => Algorithm::RS384,
        "RS512" => Algorithm::RS512,
        "ES256" => Algorithm::ES256,
        "ES384" => Algorithm::ES384,
        "PS256" => Algorithm::PS256,
        "PS384" => Algorithm::PS384,
        "PS512" => Algorithm::PS512,
        _ => return Err(SvidError::Algorithm(shown(name))),
    })
}

/// RFC 7515 §4.1.9: `at+jwt` is short for `application/at+jwt`.
fn media_type(typ: &str) -> &str {
    match typ.split_at_checked(APPLICATION.len()) {
        Some((prefix, rest)) if prefix.eq_ignore_ascii_case(APPLICATION) => rest,
        _ => typ,
    }
}

/// Checks `exp`, which must be there, and `nbf` and `iat`, which need not; returns when the token ends (RFC 7519 §4.1).
fn check_times(claims: &Map<String, Value>, now: Timestamp) -> Result<Timestamp> {
    let expires = time_claim(claims, "exp")?.ok_or(SvidError::Claim("exp"))?;
    if now >= expires {
        return Err(SvidError::Expired);
    }
    if time_claim(claims, "nbf")?.is_some_and(|start| now < start) {
        return Err(SvidError::NotYetValid);
    }
    if time_claim(claims, "iat")?.is_some_and(|issued| issued > now.plus(MAX_SKEW)) {
        return Err(SvidError::NotYetValid);
    }
    Ok(expires)
}

/// A NumericDate, which may have a fraction (RFC 7519 §2).
fn time_claim(claims: &Map<String, Value>, name: &'static str) -> Result<Option<Timestamp>> {
    let Some(value) = claims.get(name) else { return Ok(None) };
    let fraction = || value.as_f64().filter(|seconds| seconds.is_finite());
    let time = match value.as_i64() {
        Some(seconds) => Some(Timestamp::from_seconds(seconds)),
        None => fraction().map(|seconds| Timestamp::from_micros((seconds * 1e6) as i64)),
    };
    time.map(Some).ok_or(SvidError::Claim(name))
}

fn text_claim<'c>(claims: &'c Map<String, Value>, name: &'static str) -> Result<&'c str> {
    claims.get(name).and_then(Value::as_str).ok_or(SvidError::Claim(name))
}

/// One text or a list of them, none empty (RFC 7519 §4.1.3, JWT-SVID §3.2).
fn audience_claim(claims: &Map<String, Value>) -> Result<Vec<String>> {
    let text = |value: &Value| value.as_str().filter(|text| !text.is_empty()).map(str::to_owned);
    let found = match claims.get("aud") {
        Some(Value::Array(values)) => values.iter().map(text).collect::<Option<Vec<_>>>(),
        Some(value) => text(value).map(|one| vec![one]),
        None => None,
    };
    found.filter(|values| !values.is_empty()).ok_or(SvidError::Claim("aud"))
}

fn check_audience(found: &[String], wanted: &str) -> Result<()> {
    if found.iter().any(|one| one == wanted) {
        return Ok(());
    }
    Err(SvidError::Audience(wanted.to_owned()))
}

const APPLICATION: &str = "application/";
const MAX_TOKEN_BYTES: usize = 16 * 1024;
/// How far ahead the clock of the issuer may be.
const MAX_SKEW: Ttl = Ttl::from_seconds(60);

#[cfg(test)]
#[path = "jwt_tests.rs"]
mod tests;
