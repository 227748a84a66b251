//! Digests of bytes, of texts and of JSON.

use marque_core::record::Content;
use marque_core::{Digest, Prints};
use marque_trace::{Fingerprint, Winnower};
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

/// What one text is found by again: its digest, that of its normalised form, and its fingerprints.
pub fn content(at: &str, bytes: &[u8]) -> Content {
    content_within(at, bytes, MOST_PRINTS)
}

/// The same with no more than `most` fingerprints, and at least one: the texts of one record share what it may have.
pub fn content_within(at: &str, bytes: &[u8], most: usize) -> Content {
    let mut winnower = Winnower::new(most.min(MOST_PRINTS));
    winnower.push_bytes(bytes);
    let Fingerprint { normalised, prints, .. } = winnower.finish();
    let mut prints: Vec<u64> = prints.iter().map(|print| print.hash).collect();
    prints.sort_unstable();
    prints.dedup();
    Content {
        at: at.to_owned(),
        exact: sha256(bytes).into(),
        normalised: Digest::from_bytes(normalised).into(),
        prints: Prints::new(prints),
        bytes: bytes.len() as u64,
    }
}

/// The most fingerprints that are kept of one text: beyond some 4 kB they grow sparser.
const MOST_PRINTS: usize = 256;
