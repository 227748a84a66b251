//! One CA and one token key that live and end together: the authority of a trust domain that does not rotate.

use std::fmt;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use marque_core::spiffe::TrustDomain;
use marque_core::time::{Timestamp, Ttl};
use serde::Serialize;

use crate::ca::{Above, CertificateAuthority, X509Request, X509Svid};
use crate::error::{Result, SvidError};
use crate::jwk::JwtKey;
use crate::keys::{P256Key, StoredKey};
use crate::stored::{SecretText, StoredAuthority};
use crate::token_key::{JwtSvidRequest, TokenKey};

/// The authority of a trust domain: a self-signed CA (X509-SVID §3.2) and a key that signs tokens (JWT-SVID §2).
///
/// [`crate::AuthoritySet`] has several, which rotate.
pub struct Authority {
    ca: CertificateAuthority,
    token_key: TokenKey,
}

impl Authority {
    /// A new authority for `trust_domain`, valid from shortly before `now` until `ca_ttl` after it (X509-SVID §3.2).
    pub fn generate(trust_domain: &TrustDomain, now: Timestamp, ca_ttl: Ttl) -> Result<Self> {
        let ca = CertificateAuthority::self_signed(trust_domain, Arc::new(P256Key::generate()?), now, ca_ttl)?;
        let token_key = TokenKey::new(trust_domain.clone(), Arc::new(P256Key::generate()?), ca.validity)?;
        Ok(Self { ca, token_key })
    }

    /// The authority as it was stored (X509-SVID §3.2); refused when its parts do not belong together.
    pub fn from_stored(stored: StoredAuthority) -> Result<Self> {
        let StoredAuthority { trust_domain, certificate, x509_key, jwt_key, not_after } = stored;
        let certificate = STANDARD.decode(certificate).map_err(|_| SvidError::Stored("the certificate is not base64"))?;
        let key = Arc::new(P256Key::from_text(&x509_key)?);
        let ca = CertificateAuthority::assemble(trust_domain.clone(), key, certificate, Above::default())?;
        if ca.validity.not_after != not_after {
            return Err(SvidError::Stored("the end is not that of the certificate"));
        }
        let token_key = TokenKey::new(trust_domain, Arc::new(P256Key::from_text(&jwt_key)?), ca.validity)?;
        Ok(Self { ca, token_key })
    }

    /// The authority in a form to keep (X509-SVID §3.2).
    pub fn to_stored(&self) -> StoredAuthority {
        StoredAuthority {
            trust_domain: self.ca.trust_domain.clone(),
            certificate: STANDARD.encode(&self.ca.certificate),
            x509_key: text(self.ca.key.stored()),
            jwt_key: text(self.token_key.key.stored()),
            not_after: self.ca.validity.not_after,
        }
    }

    /// The trust domain (SPIFFE-ID §3.1).
    pub fn trust_domain(&self) -> &TrustDomain {
        &self.ca.trust_domain
    }

    /// The CA certificate, DER (X509-SVID §3.2).
    pub fn certificate(&self) -> &[u8] {
        &self.ca.certificate
    }

    /// The name of the key that signs tokens (JWT-SVID §2.2).
    pub fn kid(&self) -> &str {
        self.token_key.id.as_str()
    }

    /// The public key that checks tokens (JWT-SVID §6).
    pub fn jwt_key(&self) -> JwtKey {
        self.token_key.public()
    }

    /// When the authority begins (RFC 5280 §4.1.2.5).
    pub fn not_before(&self) -> Timestamp {
        self.ca.validity.not_before
    }

    /// When the authority ends, and with it all that it issued (RFC 5280 §4.1.2.5).
    pub fn not_after(&self) -> Timestamp {
        self.ca.validity.not_after
    }

    /// Issues an X.509-SVID for a fresh key (X509-SVID §3.1, §4).
    pub fn issue_x509(&self, request: X509Request<'_>) -> Result<X509Svid> {
        self.ca.issue(request, None)
    }

    /// Issues a JWT-SVID (JWT-SVID §2, §3); it ends no later than the authority.
    pub fn issue_jwt_svid(&self, request: JwtSvidRequest<'_>) -> Result<String> {
        self.token_key.issue_jwt_svid(request, None)
    }

    /// Signs `claims` as a token of the class `typ`, such as `at+jwt` (RFC 7515 §3.1, RFC 9068 §2.1).
    ///
    /// The header holds exactly `alg`, `kid` and `typ`. What the claims may say, and until when, is the caller's to decide.
    pub fn sign(&self, typ: &str, claims: &impl Serialize) -> Result<String> {
        self.token_key.sign(typ, claims)
    }

    /// Its two halves, which rotate apart from here on.
    pub(crate) fn into_parts(self) -> (CertificateAuthority, TokenKey) {
        (self.ca, self.token_key)
    }

    #[cfg(test)]
    pub(crate) fn ca(&self) -> &CertificateAuthority {
        &self.ca
    }

    #[cfg(test)]
    pub(crate) fn token_key(&self) -> &TokenKey {
        &self.token_key
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority")
            .field("trust_domain", &self.ca.trust_domain)
            .field("kid", &self.token_key.id)
            .field("not_after", &self.ca.validity.not_after)
            .finish_non_exhaustive()
    }
}

/// Both keys of an [`Authority`] are in software.
fn text(key: StoredKey) -> SecretText {
    match key {
        StoredKey::Pkcs8(text) => text,
        StoredKey::Elsewhere { .. } => SecretText::new(String::new()),
    }
}

#[cfg(test)]
#[path = "authority_tests.rs"]
mod tests;
