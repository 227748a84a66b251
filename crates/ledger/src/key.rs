//! Named public keys (C2SP signed-note v1.0.0, "Verifier keys").

use std::fmt;

use base64::prelude::{BASE64_STANDARD, Engine};
use ed25519_dalek::VerifyingKey;
use sha2::{Digest, Sha256};

use crate::error::{LedgerError, Result};
use crate::note::Signature;

/// An Ed25519 public key with its name, for signatures of one type (signed-note v1.0.0, "Signature types").
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NamedKey {
    name: String,
    signature_type: u8,
    id: u32,
    key: VerifyingKey,
}

impl NamedKey {
    /// The key of this name; its id is the start of `SHA-256(name ‖ 0x0A ‖ signature type ‖ public key)`.
    pub(crate) fn new(name: &str, signature_type: u8, key: VerifyingKey) -> Result<Self> {
        if !is_key_name(name) {
            return Err(LedgerError::BadKeyName(name.to_owned()));
        }
        let digest = Sha256::new().chain_update(name).chain_update([b'\n', signature_type]).chain_update(key.as_bytes());
        let [a, b, c, d, ..]: [u8; 32] = digest.finalize().into();
        Ok(Self { name: name.to_owned(), signature_type, id: u32::from_be_bytes([a, b, c, d]), key })
    }

    /// Reads `<name>+<key id>+<base64(signature type ‖ public key)>` of this signature type.
    pub(crate) fn parse(text: &str, signature_type: u8) -> Result<Self> {
        let parse = || {
            let (name, rest) = text.split_once('+')?;
            let (_, key) = rest.split_once('+')?;
            let key: [u8; 33] = BASE64_STANDARD.decode(key).ok()?.try_into().ok()?;
            let (_, key) = key.split_first_chunk::<1>()?;
            let key = VerifyingKey::from_bytes(key.try_into().ok()?).ok()?;
            // Type, key id and base64 are right when the key is written the same way again.
            Self::new(name, signature_type, key).ok().filter(|key| key.to_string() == text)
        };
        parse().ok_or_else(|| LedgerError::BadVerifierKey(text.to_owned()))
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn id(&self) -> u32 {
        self.id
    }

    pub(crate) fn public_key(&self) -> [u8; 32] {
        self.key.to_bytes()
    }

    /// Whether a signature line names this key: a name or an id alone is not enough.
    pub(crate) fn is_named_in(&self, signature: &Signature) -> bool {
        self.name == signature.name && self.id == signature.key_id
    }

    /// Whether these are the 64 bytes of this key's signature over the message (RFC 8032).
    pub(crate) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        let signature = ed25519_dalek::Signature::from_slice(signature);
        signature.is_ok_and(|signature| self.key.verify_strict(message, &signature).is_ok())
    }
}

impl fmt::Display for NamedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = [[self.signature_type].as_slice(), self.key.as_bytes()].concat();
        write!(f, "{}+{:08x}+{}", self.name, self.id, BASE64_STANDARD.encode(key))
    }
}

/// Whether a key may have this name: no Unicode space, plus or control character (signed-note v1.0.0, "Format").
pub(crate) fn is_key_name(name: &str) -> bool {
    !name.is_empty() && !name.contains(|c: char| c.is_whitespace() || c == '+' || c < ' ')
}
