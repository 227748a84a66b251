//! Discovery documents and key sets: of pinned issuers, and of our own.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::{Result, SvidError, shown};
use crate::federation::EndpointUrl;
use crate::json;
use crate::jwk::{Algorithm, Jwk};

/// The name of an issuer, byte for byte as its tokens say it (OpenID Connect Discovery §3): an `https` URL without query and
/// fragment, or, for an issuer on this very host, an `http` URL of a loopback address.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct IssuerUrl(String);

impl IssuerUrl {
    /// The name as written (OpenID Connect Discovery §3).
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Where its discovery document is (OpenID Connect Discovery §4).
    pub fn discovery_url(&self) -> String {
        format!("{}/.well-known/openid-configuration", self.0.trim_end_matches('/'))
    }

    fn is_local(&self) -> bool {
        self.0.starts_with(HTTP)
    }
}

impl FromStr for IssuerUrl {
    type Err = SvidError;

    fn from_str(text: &str) -> Result<Self> {
        if text.contains(['?', '#']) || !is_url(text, text.starts_with(HTTP)) {
            return Err(SvidError::Url(shown(text)));
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for IssuerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for IssuerUrl {
    type Error = SvidError;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<IssuerUrl> for String {
    fn from(issuer: IssuerUrl) -> Self {
        issuer.0
    }
}

/// What a pinned issuer says of itself (OpenID Connect Discovery §3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Discovery {
    /// Where its keys are (OpenID Connect Discovery §3).
    pub jwks_uri: String,
}

impl Discovery {
    /// Reads the document that was fetched for `issuer`, which it must name exactly (OpenID Connect Discovery §4.3).
    pub fn read(issuer: &IssuerUrl, document: &[u8]) -> Result<Self> {
        let document = json::object(document, MAX_DOCUMENT_BYTES)?;
        if document.get("issuer").and_then(Value::as_str) != Some(issuer.as_str()) {
            return Err(SvidError::Issuer(issuer.to_string()));
        }
        let jwks_uri = document.get("jwks_uri").and_then(Value::as_str).unwrap_or_default();
        if !is_url(jwks_uri, issuer.is_local()) {
            return Err(SvidError::Url(shown(jwks_uri)));
        }
        Ok(Self { jwks_uri: jwks_uri.to_owned() })
    }
}

/// The keys of an issuer that check tokens (RFC 7517 §5).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IssuerKeys(Vec<IssuerKey>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct IssuerKey {
    kid: Option<String>,
    alg: Option<String>,
    jwk: Jwk,
}

impl IssuerKeys {
    /// Reads a key set; keys of other kinds or for other uses do not count (RFC 7517 §5).
    pub fn read(document: &[u8]) -> Result<Self> {
        let document = json::object(document, MAX_DOCUMENT_BYTES)?;
        let Some(Value::Array(keys)) = document.get("keys") else {
            return Err(SvidError::Document("it has no list of keys"));
        };
        Ok(Self(keys.iter().filter_map(IssuerKey::read).take(MAX_KEYS).collect()))
    }

    /// How many keys count (RFC 7517 §5).
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether no key counts (RFC 7517 §5).
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The keys that may have made a signature (RFC 7515 §6).
    pub(super) fn candidates(&self, kid: Option<&str>, algorithm: Algorithm) -> Vec<&Jwk> {
        let fits = |key: &&IssuerKey| {
            (kid.is_none() || key.kid.as_deref() == kid)
                && key.alg.as_deref().is_none_or(|alg| alg == algorithm.name())
                && key.jwk.fits(algorithm)
        };
        self.0.iter().filter(fits).map(|key| &key.jwk).collect()
    }
}

impl IssuerKey {
    fn read(key: &Value) -> Option<Self> {
        let members = key.as_object()?;
        let text = |name: &str| match members.get(name) {
            None => Some(None),
            Some(Value::String(text)) => Some(Some(text.clone())),
            Some(_) => None,
        };
        if text("use")?.is_some_and(|usage| usage != "sig") {
            return None;
        }
        Some(Self { kid: text("kid")?, alg: text("alg")?, jwk: Jwk::read(members)? })
    }
}

/// What relying parties need to know of our own issuer, at `/.well-known/openid-configuration` (OpenID Connect Discovery §3):
/// that JWT-SVIDs are its tokens.
#[derive(Clone, Debug, Serialize)]
pub struct OwnDiscovery<'a> {
    issuer: &'a str,
    jwks_uri: &'a str,
    response_types_supported: [&'static str; 1],
    subject_types_supported: [&'static str; 1],
    id_token_signing_alg_values_supported: [&'static str; 1],
    claims_supported: [&'static str; 7],
}

impl<'a> OwnDiscovery<'a> {
    /// Of the issuer whose name is in our tokens and whose keys are at `jwks_uri` (OpenID Connect Discovery §3).
    pub fn new(issuer: &'a str, jwks_uri: &'a str) -> Self {
        Self {
            issuer,
            jwks_uri,
            response_types_supported: ["id_token"],
            subject_types_supported: ["public"],
            id_token_signing_alg_values_supported: ["ES256"],
            claims_supported: ["iss", "sub", "aud", "exp", "iat", "nbf", "jti"],
        }
    }

    /// The document (OpenID Connect Discovery §4.2).
    pub fn to_json(&self) -> Result<String> {
        Ok(serde_json::to_string(self)?)
    }
}

/// Whether one may fetch from there: over TLS, or, with `local`, from this very host.
fn is_url(text: &str, local: bool) -> bool {
    match text.strip_prefix(HTTP).filter(|_| local) {
        Some(rest) => {
            let url = format!("https://{rest}").parse::<EndpointUrl>();
            url.is_ok_and(|url| matches!(url.host(), "127.0.0.1" | "[::1]" | "localhost"))
        }
        None => text.starts_with("https://") && text.parse::<EndpointUrl>().is_ok(),
    }
}

const HTTP: &str = "http://";
const MAX_DOCUMENT_BYTES: usize = 1 << 20;
const MAX_KEYS: usize = 256;
