//! A key that signs tokens, and the JWT-SVIDs that it issues.

use std::sync::Arc;

use marque_core::spiffe::{SpiffeId, TrustDomain};
use marque_core::time::{Timestamp, Ttl};
use serde::Serialize;

use crate::ca::AuthorityId;
use crate::error::{Result, SvidError};
use crate::jwk::{Jwk, JwtKey};
use crate::jws::{self, TokenHeader};
use crate::keys::SigningBackend;
use crate::signer::kid;
use crate::validity::{Validity, check_workload};

/// A key of the trust domain that signs tokens (JWT-SVID §2, WIT-SVID §2).
#[derive(Debug)]
pub(crate) struct TokenKey {
    pub(crate) id: AuthorityId,
    pub(crate) trust_domain: TrustDomain,
    pub(crate) key: Arc<dyn SigningBackend>,
    pub(crate) jwk: Jwk,
    pub(crate) validity: Validity,
}

impl TokenKey {
    pub(crate) fn new(trust_domain: TrustDomain, key: Arc<dyn SigningBackend>, validity: Validity) -> Result<Self> {
        let jwk = Jwk::from_point(key.public_point()).ok_or(SvidError::Key)?;
        Ok(Self { id: AuthorityId::new(kid(&*key)), trust_domain, key, jwk, validity })
    }

    /// The public key (JWT-SVID §6).
    pub(crate) fn public(&self) -> JwtKey {
        JwtKey { kid: self.id.to_string(), jwk: self.jwk.clone() }
    }

    /// Issues a JWT-SVID that lives at most `longest` (JWT-SVID §2, §3); it ends no later than the key.
    pub(crate) fn issue_jwt_svid(&self, request: JwtSvidRequest<'_>, longest: Option<Ttl>) -> Result<String> {
        let JwtSvidRequest { id, audience, issuer, jti, now, ttl } = request;
        check_workload(id, &self.trust_domain)?;
        if audience.is_empty() || audience.iter().any(String::is_empty) {
            return Err(SvidError::NoAudience);
        }
        let Validity { not_before, not_after } = self.validity.window(now, longest.map_or(ttl, |longest| longest.min(ttl)))?;
        let claims = JwtSvidClaims {
            iss: issuer,
            sub: id,
            aud: audience,
            exp: not_after.seconds(),
            iat: now.seconds(),
            nbf: not_before.seconds(),
            jti,
        };
        self.sign(JWT_TYP, &claims)
    }

    /// Signs `claims` as a token of the class `typ`; the header holds exactly `alg`, `kid` and `typ` (RFC 7515 §3.1).
    pub(crate) fn sign(&self, typ: &str, claims: &impl Serialize) -> Result<String> {
        jws::sign(&*self.key, &TokenHeader::new(Some(self.id.as_str()), typ), claims)
    }
}

/// What a JWT-SVID is asked to say (JWT-SVID §3).
#[derive(Clone, Copy, Debug)]
pub struct JwtSvidRequest<'a> {
    /// Whom it names; with a path (JWT-SVID §3.1).
    pub id: &'a SpiffeId,
    /// For whom it is meant; at least one (JWT-SVID §3.2).
    pub audience: &'a [String],
    /// The issuer, for relying parties that discover keys by OpenID Connect (RFC 7519 §4.1.1).
    pub issuer: Option<&'a str>,
    /// The unique name of the token: the lease (RFC 7519 §4.1.7).
    pub jti: &'a str,
    /// The moment of issue (RFC 7519 §4.1.6).
    pub now: Timestamp,
    /// How long it lives at most (JWT-SVID §3.3).
    pub ttl: Ttl,
}

#[derive(Serialize)]
struct JwtSvidClaims<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    iss: Option<&'a str>,
    sub: &'a SpiffeId,
    aud: &'a [String],
    exp: i64,
    iat: i64,
    nbf: i64,
    jti: &'a str,
}

const JWT_TYP: &str = "JWT";
