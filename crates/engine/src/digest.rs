//! Digests of bytes, of texts and of JSON.

use marque_core::{Digest, Prints};
use marque_core::record::Content;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

/// SHA-256.
pub fn sha256(bytes: &[u8]) -> Digest {
    Digest::from_bytes(Sha256::digest(bytes).into())
}

/// The digest over canonical JSON (RFC 8785 for values without floats: keys sorted, no white space).
pub fn canonical(value: &Value) -> Digest {
    let mut value = value.clone();
    value.sort_all_objects();
    // A value always serializes.
    sha256(&serde_json::to_vec(&value).unwrap_or_default())
}

/// The digests of one text: exact, and with each run of white space as one space and none at the ends.
pub fn content(at: &str, bytes: &[u8]) -> Content {
    let text = String::from_utf8_lossy(bytes);
    let mut hasher = Sha256::new();
    for (n, word) in text.split_whitespace().enumerate() {
        if n > 0 {
            hasher.update(b" ");
        }
        hasher.update(word.as_bytes());
    }
    let normalised = Digest::from_bytes(hasher.finalize().into());
    Content {
        at: at.to_owned(),
        exact: sha256(bytes).into(),
        normalised: normalised.into(),
        prints: Prints::default(),
        bytes: bytes.len() as u64,
    }
}
