//! A P-256 key pair for certificates and tokens; its private half never prints.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rcgen::{PKCS_ECDSA_P256_SHA256, PublicKeyData, SignatureAlgorithm, SigningKey};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::bundle::Jwk;
use crate::error::{Result, SvidError};

/// A key pair on the curve that every SPIFFE client understands.
pub(crate) struct P256Key {
    pair: EcdsaKeyPair,
    pkcs8: Zeroizing<Vec<u8>>,
}

impl P256Key {
    /// A fresh key.
    pub(crate) fn generate() -> Result<Self> {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).map_err(|_| SvidError::Key)?;
        let document = pair.to_pkcs8v1().map_err(|_| SvidError::Key)?;
        let pkcs8 = Zeroizing::new(document.as_ref().to_vec());
        Ok(Self { pair, pkcs8 })
    }

    /// The key that `pkcs8` holds (RFC 5208).
    pub(crate) fn from_pkcs8(pkcs8: Zeroizing<Vec<u8>>) -> Result<Self> {
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, pkcs8.as_slice()).map_err(|_| SvidError::Key)?;
        Ok(Self { pair, pkcs8 })
    }

    /// The private key (RFC 5208).
    pub(crate) fn pkcs8(&self) -> &Zeroizing<Vec<u8>> {
        &self.pkcs8
    }

    /// The private key, given up by this pair (RFC 5208).
    pub(crate) fn into_pkcs8(self) -> Zeroizing<Vec<u8>> {
        self.pkcs8
    }

    /// The public point, uncompressed (SEC 1 §2.3.3).
    pub(crate) fn public(&self) -> &[u8] {
        self.pair.public_key().as_ref()
    }

    /// SHA-256 of the subject public key info (RFC 5280 §4.1).
    pub(crate) fn digest(&self) -> [u8; 32] {
        Sha256::digest(self.subject_public_key_info()).into()
    }

    /// The name of this key in headers and bundles: the first 96 bits of its digest (JWT-SVID §2.2).
    pub(crate) fn kid(&self) -> String {
        let mut kid = URL_SAFE_NO_PAD.encode(self.digest());
        kid.truncate(16);
        kid
    }

    /// The public key as a JWK (RFC 7518 §6.2).
    pub(crate) fn jwk(&self) -> Result<Jwk> {
        Jwk::from_point(self.public()).ok_or(SvidError::Key)
    }
}

impl PublicKeyData for P256Key {
    fn der_bytes(&self) -> &[u8] {
        self.public()
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_ECDSA_P256_SHA256
    }
}

impl SigningKey for P256Key {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        let signature = self.pair.sign(&SystemRandom::new(), message).map_err(|_| rcgen::Error::RemoteKeyError)?;
        Ok(signature.as_ref().to_vec())
    }
}
