//! What is kept of an authority between two starts.

use std::fmt;

use marque_core::spiffe::TrustDomain;
use marque_core::time::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::Zeroizing;

/// An authority at rest (X509-SVID §3.2, JWT-SVID §2). Whoever reads it can issue any identity of the trust domain.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StoredAuthority {
    /// The trust domain that the authority speaks for (SPIFFE-ID §3.1).
    pub trust_domain: TrustDomain,
    /// The CA certificate: base64 of DER (X509-SVID §3.2).
    pub certificate: String,
    /// The key that signs certificates: base64 of PKCS#8 (RFC 5208).
    pub x509_key: SecretText,
    /// The key that signs tokens: base64 of PKCS#8 (RFC 5208).
    pub jwt_key: SecretText,
    /// When the CA certificate ends (RFC 5280 §4.1.2.5).
    pub not_after: Timestamp,
}

/// Text that is wiped from memory when dropped and never printed (RFC 5208 keys in base64).
#[derive(Clone, PartialEq, Eq)]
pub struct SecretText(Zeroizing<String>);

impl SecretText {
    /// Takes the text (RFC 5208 keys in base64).
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// The text itself (RFC 5208 keys in base64); the caller must neither print nor copy it.
    pub fn danger_expose(&self) -> &str {
        self.0.as_str()
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretText([redacted])")
    }
}

impl Serialize for SecretText {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.danger_expose())
    }
}

impl<'de> Deserialize<'de> for SecretText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::new)
    }
}
