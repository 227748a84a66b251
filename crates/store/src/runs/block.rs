//! A block: 4 KiB of postings in order, each coded by its difference to the one before.
//!
//! ```text
//! CRC-32C u32 | postings u16 | zero u16 | (lengths u8 | key u0..64 | number u0..64)* | zeros
//! ```
//! A posting's first byte says how many bytes its key (low half) and its number (high half) take. The key is the
//! difference to the key before it, from 0 on. The number is the difference to the number before it where the key is the
//! same, else to the base of the run. Integers are little-endian. The checksum covers the run's identifier and the block's
//! place too, so that a block in the wrong place is not taken for a good one.

use super::filter::{self, SLICE};

/// The size of a block.
pub(super) const BLOCK: usize = 4096;

/// A key, and the index of a log entry that has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Posting {
    pub key: u64,
    pub seq: u64,
}

/// Where a block belongs, and what its numbers count from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub run: u64,
    pub block: u64,
    pub base: u64,
}

/// A block while it is written, with its slice of the filter.
#[derive(Debug)]
pub(super) struct Builder {
    bytes: Vec<u8>,
    count: u16,
    first: u64,
    last: Posting,
    slice: [u8; SLICE],
}

impl Builder {
    pub(super) fn new() -> Self {
        let mut bytes = Vec::with_capacity(BLOCK + WORD);
        bytes.extend_from_slice(&[0; HEAD]);
        Self { bytes, count: 0, first: 0, last: Posting::default(), slice: [0; SLICE] }
    }

    /// Appends a posting above the last one; false when there is no room for it.
    pub(super) fn push(&mut self, posting: Posting, base: u64) -> bool {
        let same = self.count > 0 && posting.key == self.last.key;
        let key = posting.key.wrapping_sub(self.last.key);
        let number = posting.seq.wrapping_sub(if same { self.last.seq } else { base });
        let (key_bytes, number_bytes) = (width(key), width(number));
        if self.bytes.len() + 1 + key_bytes + number_bytes > BLOCK {
            return false;
        }
        self.bytes.push((number_bytes << 4 | key_bytes) as u8);
        self.put(key, key_bytes);
        self.put(number, number_bytes);
        if self.count == 0 {
            self.first = posting.key;
        }
        if !same {
            filter::insert(&mut self.slice, posting.key);
        }
        self.count = self.count.wrapping_add(1);
        self.last = posting;
        true
    }

    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The first key.
    pub(super) fn first(&self) -> u64 {
        self.first
    }

    /// Appends the block to `blocks` and its slice to `slices`, and starts anew.
    pub(super) fn finish(&mut self, place: Place, blocks: &mut Vec<u8>, slices: &mut Vec<u8>) {
        self.bytes.resize(BLOCK, 0);
        if let Some(to) = self.bytes.get_mut(CRC..CRC + 2) {
            to.copy_from_slice(&self.count.to_le_bytes());
        }
        let crc = checksum(self.bytes.get(CRC..).unwrap_or_default(), place);
        blocks.extend_from_slice(&crc.to_le_bytes());
        blocks.extend_from_slice(self.bytes.get(CRC..).unwrap_or_default());
        slices.extend_from_slice(&self.slice);
        self.bytes.truncate(HEAD);
        (self.count, self.last, self.slice) = (0, Posting::default(), [0; SLICE]);
    }

    fn put(&mut self, value: u64, bytes: usize) {
        let end = self.bytes.len() + bytes;
        self.bytes.extend_from_slice(&value.to_le_bytes());
        self.bytes.truncate(end);
    }
}

/// The postings of a block, in order.
#[derive(Debug)]
pub(super) struct Postings<'a> {
    rest: &'a [u8],
    left: u16,
    first: bool,
    last: Posting,
    base: u64,
}

impl<'a> Postings<'a> {
    /// The postings of a block, if its checksum is right.
    pub(super) fn of(block: &'a [u8], place: Place) -> Option<Self> {
        let (crc, body) = block.split_first_chunk::<CRC>()?;
        if u32::from_le_bytes(*crc) != checksum(body, place) {
            return None;
        }
        let left = u16::from_le_bytes(*body.first_chunk()?);
        Some(Self { rest: block.get(HEAD..)?, left, first: true, last: Posting::default(), base: place.base })
    }

    /// How many are left. Some are at the end if the block was not written as the format says.
    pub(super) fn left(&self) -> u16 {
        self.left
    }

    fn decode(&mut self) -> Option<Posting> {
        let (lengths, rest) = self.rest.split_first()?;
        let (key, rest) = take(rest, usize::from(lengths & 15))?;
        let (number, rest) = take(rest, usize::from(lengths >> 4))?;
        let same = key == 0 && !self.first;
        let seq = number.wrapping_add(if same { self.last.seq } else { self.base });
        self.last = Posting { key: key.wrapping_add(self.last.key), seq };
        (self.rest, self.first) = (rest, false);
        Some(self.last)
    }
}

impl Iterator for Postings<'_> {
    type Item = Posting;

    fn next(&mut self) -> Option<Posting> {
        if self.left == 0 {
            return None;
        }
        let posting = self.decode()?;
        self.left -= 1;
        Some(posting)
    }
}

/// The number in the first `length` bytes, and what follows them.
fn take(bytes: &[u8], length: usize) -> Option<(u64, &[u8])> {
    if length > WORD {
        return None;
    }
    let (own, rest) = bytes.split_at_checked(length)?;
    let value = match bytes.first_chunk() {
        Some(word) => u64::from_le_bytes(*word) & u64::MAX.checked_shr(64 - 8 * length as u32).unwrap_or(0),
        None => own.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte)),
    };
    Some((value, rest))
}

/// How many bytes a number takes.
fn width(value: u64) -> usize {
    (u64::BITS - value.leading_zeros()).div_ceil(8) as usize
}

fn checksum(body: &[u8], place: Place) -> u32 {
    let run = crc32c::crc32c(&place.run.to_le_bytes());
    crc32c::crc32c_append(crc32c::crc32c_append(run, &place.block.to_le_bytes()), body)
}

const CRC: usize = 4;
const HEAD: usize = 8;
const WORD: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    const PLACE: Place = Place { run: 7, block: 3, base: 100 };

    fn block(postings: &[Posting]) -> Vec<u8> {
        let (mut builder, mut blocks, mut slices) = (Builder::new(), Vec::new(), Vec::new());
        for posting in postings {
            assert!(builder.push(*posting, PLACE.base));
        }
        builder.finish(PLACE, &mut blocks, &mut slices);
        assert_eq!((blocks.len(), slices.len()), (BLOCK, SLICE));
        assert!(postings.iter().all(|p| filter::may_have(&slices, p.key)));
        blocks
    }

    fn extremes() -> Vec<Posting> {
        let (keys, seqs) = ([0, 1, 255, 256, 1 << 40, u64::MAX], [0, 99, 100, 101, 1 << 33, u64::MAX]);
        keys.into_iter().flat_map(|key| seqs.map(|seq| Posting { key, seq })).collect()
    }

    #[test]
    fn a_block_reads_back_as_it_was_written() {
        for postings in [vec![], extremes(), vec![Posting { key: u64::MAX, seq: 0 }]] {
            let bytes = block(&postings);
            assert_eq!(Postings::of(&bytes, PLACE).unwrap().collect::<Vec<_>>(), postings);
        }
    }

    #[test]
    fn a_full_block_takes_no_more_and_reads_back_to_its_last_byte() {
        let (mut builder, mut blocks, mut slices) = (Builder::new(), Vec::new(), Vec::new());
        let postings: Vec<Posting> =
            (0..).map(|n| Posting { key: n << 57, seq: !n }).take_while(|p| builder.push(*p, 0)).collect();
        assert!(postings.len() > 100);
        builder.finish(PLACE, &mut blocks, &mut slices);
        assert_eq!(Postings::of(&blocks, Place { base: 0, ..PLACE }).unwrap().collect::<Vec<_>>(), postings);
        assert!(builder.is_empty() && builder.push(Posting { key: 1, seq: 1 }, 0), "it starts anew");
    }

    #[test]
    fn every_flipped_bit_and_every_other_place_is_noticed() {
        let good = block(&extremes());
        for bit in 0..BLOCK * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(Postings::of(&bad, PLACE).is_none(), "bit {bit}");
        }
        assert!(Postings::of(&good, Place { block: 4, ..PLACE }).is_none());
        assert!(Postings::of(&good, Place { run: 8, ..PLACE }).is_none());
        assert!(Postings::of(&good[..2], PLACE).is_none());
    }

    #[test]
    fn what_is_no_block_under_a_good_checksum_leaves_postings_over() {
        let mut bytes = block(&[Posting { key: 5, seq: 105 }]);
        bytes[HEAD] = 0xff;
        let crc = checksum(&bytes[CRC..], PLACE);
        bytes[..CRC].copy_from_slice(&crc.to_le_bytes());
        let mut postings = Postings::of(&bytes, PLACE).unwrap();
        assert_eq!((postings.next(), postings.left()), (None, 1));
    }
}
