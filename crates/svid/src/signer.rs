//! How certificates are signed with any [`UpstreamKey`], which every [`SigningBackend`] is.

use std::cell::RefCell;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rcgen::{
    PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ECDSA_P521_SHA512, PublicKeyData, SignatureAlgorithm, SigningKey,
};
use sha2::{Digest, Sha256};

use crate::error::{Result, SvidError};
use crate::jwk::Curve;
use crate::keys::SigningBackend;
use crate::upstream::UpstreamKey;

/// A key as rcgen knows keys. What made a signature fail is kept, for rcgen's own error does not say.
pub(crate) struct Signer<'k, K: ?Sized> {
    key: &'k K,
    failure: RefCell<Option<SvidError>>,
}

impl<'k, K: UpstreamKey + ?Sized> Signer<'k, K> {
    pub(crate) fn new(key: &'k K) -> Self {
        Self { key, failure: RefCell::new(None) }
    }

    /// The cause of a failed build: the key's, if it was the key's.
    pub(crate) fn cause(&self, error: rcgen::Error) -> SvidError {
        self.failure.take().unwrap_or(SvidError::Build(error))
    }
}

impl<K: UpstreamKey + ?Sized> PublicKeyData for Signer<'_, K> {
    fn der_bytes(&self) -> &[u8] {
        self.key.point()
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        match self.key.curve() {
            Curve::P256 => &PKCS_ECDSA_P256_SHA256,
            Curve::P384 => &PKCS_ECDSA_P384_SHA384,
            Curve::P521 => &PKCS_ECDSA_P521_SHA512,
        }
    }
}

impl<K: UpstreamKey + ?Sized> SigningKey for Signer<'_, K> {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        match self.key.sign_raw(message) {
            Ok(signature) => Ok(der_signature(&signature)),
            Err(error) => {
                self.failure.replace(Some(error));
                Err(rcgen::Error::RemoteKeyError)
            }
        }
    }
}

/// SHA-256 of the subject public key info (RFC 5280 §4.1).
pub(crate) fn key_digest(key: &dyn SigningBackend) -> [u8; 32] {
    Sha256::digest(Signer::new(key).subject_public_key_info()).into()
}

/// The name of a key in token headers and bundles: the first 96 bits of its digest (JWT-SVID §2.2).
pub(crate) fn kid(key: &dyn SigningBackend) -> String {
    let mut kid = URL_SAFE_NO_PAD.encode(key_digest(key));
    kid.truncate(16);
    kid
}

/// A signature of r and s, of at most 48 octets each, as a DER sequence of two integers (RFC 3279 §2.2.3).
pub(crate) fn der_signature(signature: &[u8]) -> Vec<u8> {
    let (r, s) = signature.split_at(signature.len() / 2);
    let (r, s) = (der_integer(r), der_integer(s));
    [&[0x30, short(r.len() + s.len())], r.as_slice(), s.as_slice()].concat()
}

fn der_integer(octets: &[u8]) -> Vec<u8> {
    let digits = octets.iter().position(|octet| *octet != 0).and_then(|start| octets.get(start..)).unwrap_or(&[0]);
    let sign: &[u8] = if digits.first().is_some_and(|first| *first >= 0x80) { &[0] } else { &[] };
    [&[0x02, short(sign.len() + digits.len())], sign, digits].concat()
}

/// A length below 128 (X.690 §8.1.3.4); two integers of 49 octets need 102.
fn short(length: usize) -> u8 {
    u8::try_from(length).unwrap_or(u8::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_minimal_and_positive() {
        let mut signature = [0; 64];
        signature[31] = 1;
        signature[32] = 0x80;
        let der = der_signature(&signature);
        assert_eq!(der[..5], [0x30, 38, 2, 1, 1]);
        assert_eq!(der[5..9], [2, 33, 0, 0x80]);
        assert_eq!(der_signature(&[0; 64]), [0x30, 6, 2, 1, 0, 2, 1, 0]);
        assert_eq!(der_signature(&[0xff; 64]).len(), 72);
        assert_eq!(der_signature(&[0xff; 96])[..4], [0x30, 102, 2, 49]);
    }
}
