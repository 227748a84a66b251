//! The bytes of a batch: a header with a checksum over everything, then the entries.
//!
//! ```text
//! magic u32 | payload length u32 | first index u64 | entries u32 | CRC-32C u32 | (length u32 | bytes)* | padding to 16
//! ```
//! All integers are little-endian. The checksum covers the header (its own field as zero) and the payload.

/// The size of a batch's header.
pub const HEADER: usize = 24;

/// Batches start at multiples of this.
pub const ALIGN: usize = 16;

/// Appends a batch to `out`.
pub fn encode<'a>(out: &mut Vec<u8>, first: u64, entries: impl Iterator<Item = &'a [u8]>) {
    let start = out.len();
    out.extend_from_slice(&[0; HEADER]);
    let mut count = 0_u32;
    for entry in entries {
        out.extend_from_slice(&(entry.len() as u32).to_le_bytes());
        out.extend_from_slice(entry);
        count = count.wrapping_add(1);
    }
    let payload = (out.len() - start - HEADER) as u32;
    let mut header = [0; HEADER];
    write_header(&mut header, payload, first, count, 0);
    let crc = checksum(&header, out.get(start + HEADER..).unwrap_or_default());
    write_header(&mut header, payload, first, count, crc);
    if let Some(slot) = out.get_mut(start..start + HEADER) {
        slot.copy_from_slice(&header);
    }
    while !out.len().is_multiple_of(ALIGN) {
        out.push(0);
    }
}

/// A batch as it stands in a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// The index of its first entry.
    pub first: u64,
    /// How many entries it has.
    pub count: u32,
    /// How many bytes it takes, with its padding.
    pub bytes: usize,
}

/// The batch at the start of `bytes`, if there is a whole one with a good checksum.
pub fn decode(bytes: &[u8]) -> Option<(Found, &[u8])> {
    let header: &[u8; HEADER] = bytes.first_chunk()?;
    let (magic, payload, first, count, crc) = read_header(header)?;
    if magic != MAGIC || count == 0 {
        return None;
    }
    let end = HEADER.checked_add(payload as usize)?;
    let body = bytes.get(HEADER..end)?;
    let mut zeroed = [0; HEADER];
    write_header(&mut zeroed, payload, first, count, 0);
    if checksum(&zeroed, body) != crc || entries(body).count() != count as usize {
        return None;
    }
    Some((Found { first, count, bytes: end.next_multiple_of(ALIGN) }, body))
}

/// The entries of a payload.
pub fn entries(mut payload: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (length, rest) = payload.split_first_chunk::<4>()?;
        let (entry, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
        payload = rest;
        Some(entry)
    })
}

fn checksum(header: &[u8], payload: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(header), payload)
}

fn write_header(to: &mut [u8; HEADER], payload: u32, first: u64, count: u32, crc: u32) {
    let fields =
        [&MAGIC.to_le_bytes()[..], &payload.to_le_bytes(), &first.to_le_bytes(), &count.to_le_bytes(), &crc.to_le_bytes()];
    for (slot, byte) in to.iter_mut().zip(fields.concat()) {
        *slot = byte;
    }
}

fn read_header(from: &[u8; HEADER]) -> Option<(u32, u32, u64, u32, u32)> {
    let word = |at: usize| Some(u32::from_le_bytes(from.get(at..at + 4)?.try_into().ok()?));
    let first = u64::from_le_bytes(from.get(8..16)?.try_into().ok()?);
    Some((word(0)?, word(4)?, first, word(16)?, word(20)?))
}

const MAGIC: u32 = u32::from_le_bytes(*b"MQB1");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_reads_back_and_any_flipped_bit_is_found() {
        let mut bytes = Vec::new();
        encode(&mut bytes, 7, [b"one".as_slice(), b"", b"three"].into_iter());
        let (found, payload) = decode(&bytes).unwrap();
        assert_eq!((found.first, found.count, found.bytes), (7, 3, bytes.len()));
        assert_eq!(entries(payload).collect::<Vec<_>>(), [b"one".as_slice(), b"", b"three"]);
        let meaningful = HEADER + payload.len();
        for bit in 0..meaningful * 8 {
            let mut bad = bytes.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(decode(&bad), None, "bit {bit}");
        }
        for length in 0..meaningful {
            assert_eq!(decode(&bytes[..length]), None, "cut at {length}");
        }
    }
}
