//! The hashes of RFC 6962 §2.1.

use std::fmt;

use base64::prelude::{BASE64_STANDARD, Engine};
use sha2::{Digest, Sha256};

use crate::error::{LedgerError, Result};

/// A SHA-256 hash of a leaf, node or tree (RFC 6962 §2.1), shown as standard base64.
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Hash)]
pub struct Hash(pub [u8; HASH_SIZE]);

impl Hash {
    /// Parses standard, padded base64 of 32 bytes (tlog-checkpoint v1.0.0).
    pub fn from_base64(text: &str) -> Result<Self> {
        let bytes = BASE64_STANDARD.decode(text).ok();
        let hash = bytes.and_then(|bytes| bytes.try_into().ok());
        hash.map(Self).ok_or_else(|| LedgerError::BadHash(text.to_owned()))
    }

    /// Lower-case hexadecimal, as a witness names an origin (C2SP tlog-witness v1.0.0).
    pub fn to_hex(&self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&BASE64_STANDARD.encode(self.0))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The hash of an entry: `SHA-256(0x00 ‖ entry)` (RFC 6962 §2.1).
pub fn leaf_hash(entry: &[u8]) -> Hash {
    Hash(Sha256::new().chain_update([0u8]).chain_update(entry).finalize().into())
}

/// The hash of a node: `SHA-256(0x01 ‖ left ‖ right)` (RFC 6962 §2.1).
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    let digest = Sha256::new().chain_update([1u8]).chain_update(left.0).chain_update(right.0);
    Hash(digest.finalize().into())
}

/// The root of the tree of no entries: `SHA-256("")` (RFC 6962 §2.1).
pub fn empty_root() -> Hash {
    Hash(Sha256::new().finalize().into())
}

/// The root of the tree over these leaf or subtree hashes (RFC 6962 §2.1). Pairing neighbours and carrying an odd last
/// one up a level is the same as splitting at the largest power of two.
pub(crate) fn merkle_root(hashes: &[Hash]) -> Hash {
    let mut row = hashes.to_vec();
    while row.len() > 1 {
        let pairs = row.chunks(2).filter_map(|pair| match pair {
            [left, right] => Some(node_hash(left, right)),
            [last] => Some(*last),
            _ => None,
        });
        row = pairs.collect();
    }
    row.first().copied().unwrap_or_else(empty_root)
}

/// Bytes of a hash (tlog-tiles v0.1.0).
pub const HASH_SIZE: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roots_of_golden_vectors() {
        let root = |n: u64| merkle_root(&(0..n).map(|i| leaf_hash(i.to_string().as_bytes())).collect::<Vec<_>>());
        assert_eq!(root(0).to_string(), "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=");
        assert_eq!(root(3).to_string(), "cl1SMNto9VdHDcNfHYhlgTrNfrsHrRUndBQd7LrnEyc=");
        assert_eq!(root(1000).to_string(), "Y4r6mAIpJbrP3a2xXvIv0BmcGsmcKXO2FYJD0T/OBcI=");
    }

    #[test]
    fn base64_is_strict() {
        let text = empty_root().to_string();
        assert_eq!(Hash::from_base64(&text), Ok(empty_root()));
        for bad in ["", "AAAA", text.trim_end_matches('='), &text.replace("FU=", "FV="), &format!("{text} ")] {
            assert_eq!(Hash::from_base64(bad), Err(LedgerError::BadHash(bad.to_owned())));
        }
        assert_eq!(empty_root().to_hex(), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    }
}
