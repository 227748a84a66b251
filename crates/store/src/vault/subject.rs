//! One person's key: what it seals, and how it is kept itself.

use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::hmac;
use marque_core::PersonId;
use zeroize::Zeroizing;

use super::Fill;
use crate::StoreError;
use crate::error::Result;

/// A person with the key of their data.
pub(super) struct Subject {
    pub(super) name: PersonId,
    key: Zeroizing<[u8; 32]>,
    aead: LessSafeKey,
    salts: hmac::Key,
}

impl Subject {
    pub(super) fn fresh(name: PersonId, fill: Fill<'_>) -> Self {
        let mut key = Zeroizing::new([0; 32]);
        fill(key.as_mut_slice());
        Self::new(name, key)
    }

    #[expect(clippy::expect_used, reason = "a key of 32 bytes is one for this cipher")]
    fn new(name: PersonId, key: Zeroizing<[u8; 32]>) -> Self {
        let aead = LessSafeKey::new(UnboundKey::new(&AES_256_GCM_SIV, key.as_slice()).expect("32 bytes"));
        let salts = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key.as_slice()), b"marque salts");
        let salts = hmac::Key::new(hmac::HMAC_SHA256, salts.as_ref());
        Self { name, key, aead, salts }
    }

    /// The salt of one field of one event.
    pub(super) fn salt(&self, event: &str, field: &str) -> [u8; 16] {
        let mut context = hmac::Context::with_key(&self.salts);
        context.update(event.as_bytes());
        context.update(b"\n");
        context.update(field.as_bytes());
        context.sign().as_ref().first_chunk::<16>().copied().unwrap_or_default()
    }

    /// Seals the private part of one event. The cipher keeps its promise when a nonce comes twice, and an event has one
    /// private part only.
    pub(super) fn seal(&self, event: &str, nonce: [u8; 12], plain: Vec<u8>) -> Result<Vec<u8>> {
        seal(&self.aead, nonce, event.as_bytes(), plain)
    }

    pub(super) fn open(&self, event: &str, sealed: &[u8]) -> Option<Vec<u8>> {
        open(&self.aead, event.as_bytes(), sealed)
    }

    /// Name and key, under the log's own key.
    pub(super) fn sealed(&self, under: &[u8; 32], nonce: [u8; 12]) -> Result<Vec<u8>> {
        let plain = [self.key.as_slice(), self.name.to_string().as_bytes()].concat();
        seal(&wrapping(under)?, nonce, SUBJECT, plain)
    }

    pub(super) fn unseal(under: &[u8; 32], bytes: &[u8]) -> Option<Self> {
        let plain = Zeroizing::new(open(&wrapping(under).ok()?, SUBJECT, bytes)?);
        let (key, name) = plain.split_first_chunk::<32>()?;
        let name = std::str::from_utf8(name).ok()?.parse().ok()?;
        Some(Self::new(name, Zeroizing::new(*key)))
    }
}

fn wrapping(under: &[u8; 32]) -> Result<LessSafeKey> {
    Ok(LessSafeKey::new(UnboundKey::new(&AES_256_GCM_SIV, under).map_err(|_| cannot("make a key"))?))
}

fn seal(key: &LessSafeKey, nonce: [u8; 12], aad: &[u8], mut plain: Vec<u8>) -> Result<Vec<u8>> {
    key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(aad), &mut plain).map_err(|_| cannot("seal"))?;
    Ok([&nonce[..], &plain].concat())
}

fn open(key: &LessSafeKey, aad: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
    let (nonce, rest) = sealed.split_first_chunk::<12>()?;
    let mut buffer = rest.to_vec();
    let length = key.open_in_place(Nonce::assume_unique_for_key(*nonce), Aad::from(aad), &mut buffer).ok()?.len();
    buffer.truncate(length);
    Some(buffer)
}

fn cannot(what: &str) -> StoreError {
    StoreError::Damaged { what: format!("the cipher could not {what}") }
}

const SUBJECT: &[u8] = b"marque subject";
