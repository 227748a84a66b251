//! The log's segments: batches with their checksums.

use std::sync::LazyLock;

use marque_store::log::batch::{ALIGN, HEADER, decode, encode, entries};

use crate::mutate::edited;

/// [`decode`]: a batch as it comes, a good one with some bytes changed, and one whose checksum is right whatever stands in it:
/// the number of its entries in the first byte, then its payload. What is read is written, and read as the same; a changed
/// byte never makes other entries.
pub fn store_batch(data: &[u8]) {
    whole(data);
    let changed = edited(&GOOD, data);
    if let Some((found, payload)) = decode(&changed) {
        assert_eq!((found.first, found.bytes), (FIRST, GOOD.len()));
        assert!(entries(payload).eq(ENTRIES), "a changed batch has other entries");
    }
    let Some((count, payload)) = data.split_first() else { return };
    let bytes = summed(u32::from(*count), payload);
    let is_so = entries(payload).count() == usize::from(*count) && *count != 0;
    assert_eq!(decode(&bytes).is_some(), is_so, "{}", bytes.escape_ascii());
    whole(&bytes);
}

/// What is read is written, and read as the same.
#[expect(clippy::expect_used, reason = "a target panics when a property breaks")]
fn whole(bytes: &[u8]) {
    let Some((found, payload)) = decode(bytes) else { return };
    assert!(found.bytes.is_multiple_of(ALIGN) && found.bytes >= HEADER + payload.len(), "{found:?}");
    assert_eq!(entries(payload).count(), found.count as usize);
    let mut written = Vec::new();
    encode(&mut written, found.first, entries(payload));
    let (again, same) = decode(&written).expect("what was written can be read");
    assert_eq!((again.first, again.count), (found.first, found.count));
    assert!(entries(same).eq(entries(payload)), "what is read again differs");
}

/// A batch of this payload, with its checksum.
fn summed(count: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    let head = [b"MQB1".as_slice(), &length.to_le_bytes(), &FIRST.to_le_bytes(), &count.to_le_bytes()].concat();
    let sum = crc32c::crc32c(&[head.as_slice(), &[0; 4], payload].concat());
    [head.as_slice(), &sum.to_le_bytes(), payload].concat()
}

static GOOD: LazyLock<Vec<u8>> = LazyLock::new(good);

fn good() -> Vec<u8> {
    let mut bytes = Vec::new();
    encode(&mut bytes, FIRST, ENTRIES.into_iter());
    bytes
}

const FIRST: u64 = 7;
const ENTRIES: [&[u8]; 3] = [b"{\"what\":{\"kind\":\"revoked\"}}", b"", b"three"];
