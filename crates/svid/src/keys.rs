//! P-256 keys that sign certificates and tokens: in this process, or wherever a [`SigningBackend`] keeps them.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::encoding::{AsBigEndian, EcPrivateKeyBin};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use zeroize::Zeroizing;

use crate::error::{Result, SvidError};
use crate::set::KeyKind;
use crate::stored::SecretText;

/// A private key on P-256 (FIPS 186-5), which every SPIFFE client understands, wherever the key lives.
///
/// The public point never changes. Signing may be called from several threads at once, may be slow, and may fail: what
/// was to be issued is then not issued. `Debug` must show no secret.
pub trait SigningBackend: fmt::Debug + Send + Sync {
    /// The public point, uncompressed: `04`, x, y (SEC 1 §2.3.3).
    fn public_point(&self) -> &[u8];

    /// ECDSA with SHA-256 over `message`: r and s, 32 octets each (RFC 7518 §3.4).
    fn sign(&self, message: &[u8]) -> Result<[u8; 64]>;

    /// What is kept, so that [`KeyStore::open`] finds the key again after a restart.
    fn stored(&self) -> StoredKey;
}

/// Makes keys and finds them again: in this process, in a PKCS#11 token, in a TPM.
pub trait KeyStore: fmt::Debug + Send + Sync {
    /// A fresh key, which will sign what `kind` says.
    fn generate(&self, kind: KeyKind) -> Result<Arc<dyn SigningBackend>>;

    /// The key that [`SigningBackend::stored`] described; fails when it is not there or not of this store.
    fn open(&self, stored: &StoredKey) -> Result<Arc<dyn SigningBackend>>;
}

/// A key at rest: itself, or where it is. As JSON it is a text or an object, so that files of keys in software stay as
/// they were.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum StoredKey {
    /// The key: base64 of PKCS#8 (RFC 5208).
    Pkcs8(SecretText),
    /// A name under which another device keeps it.
    Elsewhere {
        /// Which kind of device, such as `pkcs11`.
        backend: String,
        /// The name, such as a PKCS#11 URI (RFC 7512).
        reference: String,
    },
}

/// By hand, for what is derived would leave a copy of the key behind.
impl<'de> Deserialize<'de> for StoredKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StoredKeyVisitor)
    }
}

struct StoredKeyVisitor;

impl<'de> Visitor<'de> for StoredKeyVisitor {
    type Value = StoredKey;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key or where it is")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<StoredKey, E> {
        Ok(StoredKey::Pkcs8(SecretText::new(text.to_owned())))
    }

    fn visit_string<E: de::Error>(self, text: String) -> Result<StoredKey, E> {
        Ok(StoredKey::Pkcs8(SecretText::new(text)))
    }

    fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<StoredKey, A::Error> {
        let Elsewhere { backend, reference } = Elsewhere::deserialize(de::value::MapAccessDeserializer::new(map))?;
        Ok(StoredKey::Elsewhere { backend, reference })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Elsewhere {
    backend: String,
    reference: String,
}

/// The keys of this process's own memory.
#[derive(Clone, Copy, Debug, Default)]
pub struct SoftwareKeys;

impl KeyStore for SoftwareKeys {
    fn generate(&self, _: KeyKind) -> Result<Arc<dyn SigningBackend>> {
        Ok(Arc::new(P256Key::generate()?))
    }

    fn open(&self, stored: &StoredKey) -> Result<Arc<dyn SigningBackend>> {
        match stored {
            StoredKey::Pkcs8(text) => Ok(Arc::new(P256Key::from_text(text)?)),
            StoredKey::Elsewhere { .. } => Err(SvidError::Stored("a key is kept by a device that is not set up")),
        }
    }
}

/// A key pair in software; its private half never prints.
pub struct P256Key {
    pair: EcdsaKeyPair,
    pkcs8: Zeroizing<Vec<u8>>,
}

impl P256Key {
    /// A fresh key (FIPS 186-5).
    pub fn generate() -> Result<Self> {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).map_err(|_| SvidError::Key)?;
        let document = pair.to_pkcs8v1().map_err(|_| SvidError::Key)?;
        let pkcs8 = Zeroizing::new(document.as_ref().to_vec());
        Ok(Self { pair, pkcs8 })
    }

    /// The key that `pkcs8` holds (RFC 5208).
    pub fn from_pkcs8(pkcs8: Zeroizing<Vec<u8>>) -> Result<Self> {
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_slice()).map_err(|_| SvidError::Key)?;
        Ok(Self { pair, pkcs8 })
    }

    /// The key whose PKCS#8 is in base64 (RFC 5208).
    pub(crate) fn from_text(text: &SecretText) -> Result<Self> {
        let pkcs8 = STANDARD.decode(text.danger_expose()).map_err(|_| SvidError::Stored("a key is not base64"))?;
        Self::from_pkcs8(Zeroizing::new(pkcs8))
    }

    /// The private key (RFC 5208).
    pub fn danger_pkcs8(&self) -> &Zeroizing<Vec<u8>> {
        &self.pkcs8
    }

    /// The private scalar (RFC 5915 §3).
    pub(crate) fn scalar(&self) -> Result<Zeroizing<[u8; 32]>> {
        let scalar: EcPrivateKeyBin<'_> = self.pair.private_key().as_be_bytes().map_err(|_| SvidError::Key)?;
        Ok(Zeroizing::new(scalar.as_ref().try_into().map_err(|_| SvidError::Key)?))
    }

    /// The private key, given up by this pair (RFC 5208).
    pub(crate) fn into_pkcs8(self) -> Zeroizing<Vec<u8>> {
        self.pkcs8
    }
}

impl SigningBackend for P256Key {
    fn public_point(&self) -> &[u8] {
        self.pair.public_key().as_ref()
    }

    fn sign(&self, message: &[u8]) -> Result<[u8; 64]> {
        let signature = self.pair.sign(&SystemRandom::new(), message).map_err(|_| SvidError::Key)?;
        signature.as_ref().try_into().map_err(|_| SvidError::Key)
    }

    fn stored(&self) -> StoredKey {
        StoredKey::Pkcs8(SecretText::new(STANDARD.encode(self.pkcs8.as_slice())))
    }
}

impl fmt::Debug for P256Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("P256Key").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stored_keys_come_back_and_print_nothing() {
        let key = SoftwareKeys.generate(KeyKind::Jwt).unwrap();
        let json = serde_json::to_string(&key.stored()).unwrap();
        assert!(json.starts_with('"'), "software keys are a text");
        let again = SoftwareKeys.open(&serde_json::from_str(&json).unwrap()).unwrap();
        assert_eq!(again.public_point(), key.public_point());
        assert!(!format!("{key:?} {:?}", key.stored()).contains(&json[20..60]));
        let elsewhere = StoredKey::Elsewhere { backend: "pkcs11".into(), reference: "pkcs11:token=marque".into() };
        let json = serde_json::to_string(&elsewhere).unwrap();
        assert_eq!(serde_json::from_str::<StoredKey>(&json).unwrap(), elsewhere);
        assert!(matches!(SoftwareKeys.open(&elsewhere), Err(SvidError::Stored(_))));
    }
}
