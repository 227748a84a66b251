//! What the log keeps of one entry: the leaf that outsiders may read and prove, and beside it what only this server may.
//!
//! ```text
//! 0x00 | leaf length, 24 bits, big-endian | leaf | private part
//! ```
//! A leaf is JSON and begins with another byte, so that one without a private part stands as it is.

/// An entry as the log keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// What is hashed into the tree and published.
    pub leaf: Vec<u8>,
    /// What was taken out of it, sealed; empty when there is nothing.
    pub private: Vec<u8>,
}

impl Record {
    /// The bytes for the log.
    pub fn encode(self) -> Vec<u8> {
        if self.private.is_empty() && self.leaf.first() != Some(&MARK) {
            return self.leaf;
        }
        let length = (self.leaf.len() as u32 & 0x00ff_ffff).to_be_bytes();
        let mut bytes = Vec::with_capacity(HEAD + self.leaf.len() + self.private.len());
        bytes.extend_from_slice(&length);
        bytes.extend_from_slice(&self.leaf);
        bytes.extend_from_slice(&self.private);
        bytes
    }

    /// The leaf and the private part of what [`Record::encode`] made. What is not of that form is a leaf.
    pub fn split(bytes: &[u8]) -> (&[u8], &[u8]) {
        let parts = || {
            let (head, rest) = bytes.split_first_chunk::<HEAD>()?;
            if head.first() != Some(&MARK) {
                return None;
            }
            rest.split_at_checked(u32::from_be_bytes(*head) as usize)
        };
        parts().unwrap_or((bytes, &[]))
    }
}

const MARK: u8 = 0;
const HEAD: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_parts_come_back() {
        for (leaf, private) in [(&b"{}"[..], &b""[..]), (b"{\"a\":1}", b"sealed"), (b"", b"x"), (b"\0odd", b""), (b"", b"")] {
            let bytes = Record { leaf: leaf.to_vec(), private: private.to_vec() }.encode();
            assert_eq!(Record::split(&bytes), (leaf, private));
        }
        assert_eq!(Record::split(b"{plain}"), (&b"{plain}"[..], &b""[..]));
        assert_eq!(Record::split(b"\0\0\0\x09short"), (&b"\0\0\0\x09short"[..], &b""[..]));
    }
}
