//! Nodes that have a certificate of a CA outside of SPIFFE: they prove that they have its key.

use std::collections::BTreeSet;
use std::fmt;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeyPair as RsaKeyPair;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1, ECDSA_P384_SHA384_ASN1_SIGNING, EcdsaKeyPair,
    RSA_PSS_2048_8192_SHA256, RSA_PSS_SHA256, UnparsedPublicKey, VerificationAlgorithm,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use marque_core::attestation::Selector;
use marque_core::spiffe::TrustDomain;
use marque_core::time::{Timestamp, Ttl};
use serde::{Deserialize, Serialize};
use x509_parser::certificate::X509Certificate;
use x509_parser::public_key::PublicKey;

use crate::error::{Result, SvidError};
use crate::path::{self, check_signer_usage, check_validity, parse};
use crate::upstream::certificates;
use crate::x509::thumbprint;

/// Admits nodes by certificates of the configured CAs (RFC 5280 §6).
#[derive(Clone, Debug)]
pub struct PopVerifier {
    roots: Vec<Vec<u8>>,
}

/// What a node is asked to sign: good for one answer, for a minute (RFC 4949 challenge-response).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Challenge {
    trust_domain: TrustDomain,
    nonce: Nonce,
    expires: Timestamp,
}

/// The node's answer (RFC 4949 challenge-response).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Answer {
    nonce: Nonce,
    signature: String,
}

/// A node that has proved its certificate (RFC 5280 §6).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PopNode {
    /// `x509pop:subject:cn:…`, `x509pop:ca:fingerprint:…` (SHA-256, of each CA on the path), `x509pop:serialnumber:…`.
    pub selectors: BTreeSet<Selector>,
    /// SHA-256 of the certificate (RFC 8705 §3.1).
    pub thumbprint: [u8; 32],
    /// When the certificate ends (RFC 5280 §4.1.2.5).
    pub not_after: Timestamp,
}

impl Challenge {
    /// A challenge for a node that wants to join `trust_domain`; `random` comes once and never again.
    pub fn new(trust_domain: &TrustDomain, random: [u8; 32], now: Timestamp) -> Self {
        Self { trust_domain: trust_domain.clone(), nonce: Nonce(random), expires: now.plus(CHALLENGE_TTL) }
    }

    /// What is signed: nothing else that the key signs can be taken for it, and each side chose a part.
    fn message(&self, leaf: &[u8], nonce: &Nonce) -> Vec<u8> {
        let name = self.trust_domain.as_str().as_bytes();
        [DOMAIN, name, &[0], &self.nonce.0, &nonce.0, &thumbprint(leaf)].concat()
    }
}

impl PopVerifier {
    /// With the CA certificates of a PEM text, each of which is trusted by itself (RFC 7468, RFC 5280 §6.1.1).
    pub fn from_pem(roots: &str) -> Result<Self> {
        let roots = certificates(roots)?;
        if roots.is_empty() {
            return Err(SvidError::Certificate("there is none"));
        }
        Ok(Self { roots })
    }

    /// Verifies the node's chain, DER and leaf first, and its answer to the challenge, which is used up (RFC 5280 §6).
    pub fn verify(&self, chain: &[&[u8]], challenge: Challenge, answer: &Answer, now: Timestamp) -> Result<PopNode> {
        if now >= challenge.expires {
            return Err(SvidError::Proof("the challenge has expired"));
        }
        let (leaf_der, intermediates) = chain.split_first().ok_or(SvidError::Certificate("there is none"))?;
        if intermediates.len() > MAX_INTERMEDIATES {
            return Err(SvidError::Certificate("the chain is too long"));
        }
        let leaf = parse(leaf_der)?;
        check_leaf(&leaf, now)?;
        let parsed = intermediates.iter().map(|der| parse(der)).collect::<Result<Vec<_>>>()?;
        let anchors = self.roots.iter().map(|der| parse(der)).collect::<Result<Vec<_>>>()?;
        let check = |signer: &X509Certificate<'_>| {
            check_signer_usage(signer)?;
            check_validity(signer, now)
        };
        let (used, anchor) = path::walk(&leaf, &parsed, &anchors, 0, check)?
            .ok_or(SvidError::Certificate("its chain does not lead to a configured authority"))?;
        check_signature(&leaf, &challenge.message(leaf_der, &answer.nonce), &answer.signature)?;
        let cas = parsed.iter().take(used).chain([anchor]).map(X509Certificate::as_raw);
        Ok(PopNode {
            selectors: selectors(&leaf, cas),
            thumbprint: thumbprint(leaf_der),
            not_after: path::validity(&leaf).not_after,
        })
    }
}

/// The key of a node's certificate: RSA, P-256 or P-384 (RFC 5208).
pub enum PopKey {
    /// P-256, with SHA-256 (RFC 5758 §3.2).
    P256(EcdsaKeyPair),
    /// P-384, with SHA-384 (RFC 5758 §3.2).
    P384(EcdsaKeyPair),
    /// RSA, with PSS and SHA-256 (RFC 8017 §8.1).
    Rsa(RsaKeyPair),
}

impl PopKey {
    /// The key that `pkcs8` holds (RFC 5208).
    pub fn from_pkcs8(pkcs8: &[u8]) -> Result<Self> {
        let ecdsa = |algorithm| EcdsaKeyPair::from_pkcs8(algorithm, pkcs8);
        if let Ok(key) = ecdsa(&ECDSA_P256_SHA256_ASN1_SIGNING) {
            Ok(Self::P256(key))
        } else if let Ok(key) = ecdsa(&ECDSA_P384_SHA384_ASN1_SIGNING) {
            Ok(Self::P384(key))
        } else {
            RsaKeyPair::from_pkcs8(pkcs8).map(Self::Rsa).map_err(|_| SvidError::Key)
        }
    }

    /// Answers a challenge for the certificate `leaf`, DER; `random` is the node's own part.
    pub fn answer(&self, challenge: &Challenge, leaf: &[u8], random: [u8; 32]) -> Result<Answer> {
        let nonce = Nonce(random);
        let message = challenge.message(leaf, &nonce);
        let system = SystemRandom::new();
        let signature = match self {
            Self::P256(key) | Self::P384(key) => key.sign(&system, &message).map_err(|_| SvidError::Key)?.as_ref().to_vec(),
            Self::Rsa(key) => {
                let mut signature = vec![0; key.public_modulus_len()];
                key.sign(&RSA_PSS_SHA256, &system, &message, &mut signature).map_err(|_| SvidError::Key)?;
                signature
            }
        };
        Ok(Answer { nonce, signature: URL_SAFE_NO_PAD.encode(signature) })
    }
}

impl fmt::Debug for PopKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PopKey").finish_non_exhaustive()
    }
}

/// 32 random octets, base64url.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
struct Nonce([u8; 32]);

impl TryFrom<String> for Nonce {
    type Error = SvidError;

    fn try_from(text: String) -> Result<Self> {
        let octets = URL_SAFE_NO_PAD.decode(text).ok().and_then(|octets| octets.try_into().ok());
        octets.map(Self).ok_or(SvidError::Proof("a nonce has not 32 octets"))
    }
}

impl From<Nonce> for String {
    fn from(nonce: Nonce) -> Self {
        URL_SAFE_NO_PAD.encode(nonce.0)
    }
}

/// RFC 5280 §4.2.1.3, §4.2.1.12: a certificate that may sign a handshake as a client, or says nothing of it.
fn check_leaf(leaf: &X509Certificate<'_>, now: Timestamp) -> Result<()> {
    if leaf.is_ca() {
        return Err(SvidError::Certificate("it is a signing certificate"));
    }
    match leaf.key_usage() {
        Ok(None) => {}
        Ok(Some(usage)) if usage.value.digital_signature() && !usage.value.key_cert_sign() => {}
        _ => return Err(SvidError::Certificate("its key may not sign, or may sign certificates")),
    }
    match leaf.extended_key_usage() {
        Ok(None) => {}
        Ok(Some(usage)) if usage.value.any || usage.value.client_auth => {}
        _ => return Err(SvidError::Certificate("its extended key usage is not that of a client")),
    }
    check_validity(leaf, now)
}

fn check_signature(leaf: &X509Certificate<'_>, message: &[u8], signature: &str) -> Result<()> {
    let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| SvidError::Signature)?;
    let algorithm: &dyn VerificationAlgorithm = match leaf.public_key().parsed() {
        Ok(PublicKey::EC(point)) if point.data().len() == 65 => &ECDSA_P256_SHA256_ASN1,
        Ok(PublicKey::EC(point)) if point.data().len() == 97 => &ECDSA_P384_SHA384_ASN1,
        Ok(PublicKey::RSA(_)) => &RSA_PSS_2048_8192_SHA256,
        _ => return Err(SvidError::Certificate("its key is of an unknown kind")),
    };
    let key: &[u8] = &leaf.public_key().subject_public_key.data;
    UnparsedPublicKey::new(algorithm, key).verify(message, &signature).map_err(|_| SvidError::Signature)
}

/// What cannot be written as a selector is left out.
fn selectors<'c>(leaf: &X509Certificate<'_>, cas: impl Iterator<Item = &'c [u8]>) -> BTreeSet<Selector> {
    let names = leaf.subject().iter_common_name().filter_map(|name| name.as_str().ok());
    let names = names.map(|name| Selector::new("x509pop", "subject", format_args!("cn:{name}")));
    let cas = cas.map(|der| Selector::new("x509pop", "ca", format_args!("fingerprint:{}", hex::encode(thumbprint(der)))));
    let serial = Selector::new("x509pop", "serialnumber", hex::encode(leaf.serial.to_bytes_be()));
    names.chain(cas).chain([serial]).filter_map(std::result::Result::ok).collect()
}

const DOMAIN: &[u8] = b"marque x509pop 1\0";
const CHALLENGE_TTL: Ttl = Ttl::from_seconds(60);
const MAX_INTERMEDIATES: usize = 4;

#[cfg(test)]
#[path = "x509pop_tests.rs"]
mod tests;
