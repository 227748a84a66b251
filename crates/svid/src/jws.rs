//! Compact JWS: taken apart, checked, and made (RFC 7515 §3.1, §5).

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use marque_core::time::{Timestamp, Ttl};
use serde::Serialize;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::error::{Result, SvidError, shown};
use crate::json;
use crate::jwk::{Algorithm, Jwk};
use crate::keys::SigningBackend;

/// A token that has been taken apart and not yet believed.
pub(crate) struct UnverifiedToken<'t> {
    header: Map<String, Value>,
    message: &'t str,
    claims: &'t str,
    signature: &'t str,
}

impl<'t> UnverifiedToken<'t> {
    pub(crate) fn parse(token: &'t str) -> Result<Self> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(SvidError::TokenSize);
        }
        let three_parts = || SvidError::TokenForm("it does not have three parts");
        let (message, signature) = token.rsplit_once('.').ok_or_else(three_parts)?;
        let (header, claims) = message.split_once('.').ok_or_else(three_parts)?;
        if claims.contains('.') {
            return Err(three_parts());
        }
        let header = json::object(&decode(header)?, MAX_TOKEN_BYTES)
            .map_err(|_| SvidError::TokenForm("its header is not a JSON object of unique members"))?;
        // RFC 7515 §4.1.11: an extension that is marked critical is one that is not understood here.
        if header.contains_key("crit") {
            return Err(SvidError::TokenForm("its header has extensions that are critical"));
        }
        Ok(Self { header, message, claims, signature })
    }

    /// JWT-SVID §2: these three parameters and no other.
    pub(crate) fn check_plain_header(&self) -> Result<()> {
        if self.header.keys().any(|name| !matches!(name.as_str(), "alg" | "kid" | "typ")) {
            return Err(SvidError::TokenForm("its header has other parameters than `alg`, `kid` and `typ`"));
        }
        Ok(())
    }

    pub(crate) fn alg(&self) -> Result<&str> {
        self.parameter("alg")?.ok_or(SvidError::TokenForm("its header has no `alg`"))
    }

    pub(crate) fn kid(&self) -> Result<&str> {
        self.parameter("kid")?.ok_or(SvidError::TokenForm("its header has no `kid`"))
    }

    /// A parameter that is a text, if it is there.
    pub(crate) fn parameter(&self, name: &str) -> Result<Option<&str>> {
        match self.header.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(SvidError::TokenForm("a parameter of its header is not a text")),
        }
    }

    /// The `typ` must name exactly this class of token, so that none passes for another (RFC 8725 §3.11).
    pub(crate) fn check_type(&self, typ: &str) -> Result<()> {
        let found = self.parameter("typ")?;
        if found.is_some_and(|found| media_type(found).eq_ignore_ascii_case(media_type(typ))) {
            return Ok(());
        }
        Err(SvidError::TokenType(shown(found.unwrap_or_default())))
    }

    /// A JWT and no other class of token, as `typ` says if it says anything (JWT-SVID §2.3).
    pub(crate) fn check_jwt_type(&self) -> Result<()> {
        match self.parameter("typ")? {
            None | Some("JWT" | "JOSE") => Ok(()),
            Some(found) => Err(SvidError::TokenType(shown(found))),
        }
    }

    /// The claims, once the signature holds.
    pub(crate) fn verify(&self, algorithm: Algorithm, key: &Jwk) -> Result<Map<String, Value>> {
        let signature = URL_SAFE_NO_PAD.decode(self.signature).map_err(|_| SvidError::Signature)?;
        key.verify(algorithm, self.message.as_bytes(), &signature)?;
        self.unverified_claims()
    }

    /// The claims, of which nothing may be believed yet.
    pub(crate) fn unverified_claims(&self) -> Result<Map<String, Value>> {
        json::object(&decode(self.claims)?, MAX_TOKEN_BYTES)
            .map_err(|_| SvidError::TokenForm("its claims are not a JSON object of unique members"))
    }
}

/// Signs `claims` with ES256 under exactly this header (RFC 7515 §5.1).
pub(crate) fn sign(key: &dyn SigningBackend, header: &TokenHeader<'_>, claims: &impl Serialize) -> Result<String> {
    let header = URL_SAFE_NO_PAD.encode(serde_json::to_vec(header)?);
    let mut token = format!("{header}.{}", URL_SAFE_NO_PAD.encode(serde_json::to_vec(claims)?));
    let signature = key.sign(token.as_bytes())?;
    token.push('.');
    URL_SAFE_NO_PAD.encode_string(signature, &mut token);
    Ok(token)
}

/// The header of what this crate signs (JWT-SVID §2).
#[derive(Serialize)]
pub(crate) struct TokenHeader<'a> {
    alg: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    kid: Option<&'a str>,
    typ: &'a str,
}

impl<'a> TokenHeader<'a> {
    pub(crate) fn new(kid: Option<&'a str>, typ: &'a str) -> Self {
        Self { alg: "ES256", kid, typ }
    }
}

/// Checks `exp`, which must be there, and `nbf` and `iat`, which need not; returns when the token ends (RFC 7519 §4.1).
///
/// `exp` and `nbf` may be off by `leeway`, and `iat` may lie [`MAX_SKEW`] ahead.
pub(crate) fn check_times(claims: &Map<String, Value>, now: Timestamp, leeway: Ttl) -> Result<Timestamp> {
    let expires = time_claim(claims, "exp")?.ok_or(SvidError::Claim("exp"))?;
    if now >= expires.plus(leeway) {
        return Err(SvidError::Expired);
    }
    if time_claim(claims, "nbf")?.is_some_and(|start| now.plus(leeway) < start) {
        return Err(SvidError::NotYetValid);
    }
    if time_claim(claims, "iat")?.is_some_and(|issued| issued > now.plus(MAX_SKEW.max(leeway))) {
        return Err(SvidError::NotYetValid);
    }
    Ok(expires)
}

/// A NumericDate, which may have a fraction (RFC 7519 §2).
pub(crate) fn time_claim(claims: &Map<String, Value>, name: &'static str) -> Result<Option<Timestamp>> {
    let Some(value) = claims.get(name) else { return Ok(None) };
    let fraction = || value.as_f64().filter(|seconds| seconds.is_finite());
    let time = match value.as_i64() {
        Some(seconds) => Some(Timestamp::from_seconds(seconds)),
        None => fraction().map(|seconds| Timestamp::from_micros((seconds * 1e6) as i64)),
    };
    time.map(Some).ok_or(SvidError::Claim(name))
}

pub(crate) fn text_claim<'c>(claims: &'c Map<String, Value>, name: &'static str) -> Result<&'c str> {
    claims.get(name).and_then(Value::as_str).ok_or(SvidError::Claim(name))
}

/// One text or a list of them, none empty (RFC 7519 §4.1.3, JWT-SVID §3.2).
pub(crate) fn audience_claim(claims: &Map<String, Value>) -> Result<Vec<String>> {
    let text = |value: &Value| value.as_str().filter(|text| !text.is_empty()).map(str::to_owned);
    let found = match claims.get("aud") {
        Some(Value::Array(values)) => values.iter().map(text).collect::<Option<Vec<_>>>(),
        Some(value) => text(value).map(|one| vec![one]),
        None => None,
    };
    found.filter(|values| !values.is_empty()).ok_or(SvidError::Claim("aud"))
}

pub(crate) fn check_audience(found: &[String], wanted: &str) -> Result<()> {
    if found.iter().any(|one| one == wanted) {
        return Ok(());
    }
    Err(SvidError::Audience(wanted.to_owned()))
}

/// The base64url of SHA-256 of a token, by which other tokens name it (RFC 9449 §4.1 `ath`).
pub(crate) fn token_hash(token: &str) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(token.as_bytes()))
}

/// RFC 7515 §4.1.9: `at+jwt` is short for `application/at+jwt`.
fn media_type(typ: &str) -> &str {
    match typ.split_at_checked(APPLICATION.len()) {
        Some((prefix, rest)) if prefix.eq_ignore_ascii_case(APPLICATION) => rest,
        _ => typ,
    }
}

pub(crate) fn decode(part: &str) -> Result<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| SvidError::TokenForm("a part is not base64url"))
}

/// No leeway at all.
pub(crate) const NO_LEEWAY: Ttl = Ttl::from_seconds(0);

const APPLICATION: &str = "application/";
const MAX_TOKEN_BYTES: usize = 16 * 1024;
/// How far ahead the clock of the issuer may be.
const MAX_SKEW: Ttl = Ttl::from_seconds(60);
