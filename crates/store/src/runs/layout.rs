//! The bytes of a run: where its parts stand.
//!
//! ```text
//! groups: (up to 64 blocks of 4 KiB | their slices of the filter, 512 B each)*
//! index:  (first key u64)* | (CRC-32C of the slice u32)*      one each a block
//! footer: "MQRN" | version u32 | run u64 | postings u64 | blocks u64 | base u64 | CRC-32C of the index u32
//!         | CRC-32C of the footer u32
//! ```
//! Integers are little-endian. All but the index is written as it comes, in one pass.

use super::block::BLOCK;
use super::filter::SLICE;

/// How many blocks stand together before their slices.
pub(super) const GROUP: u64 = 64;

/// The size of the footer.
pub(super) const FOOTER: usize = 48;

/// The places in a run of so many blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    pub blocks: u64,
}

impl Layout {
    /// Where a block begins.
    pub(super) fn block(self, block: u64) -> u64 {
        self.group(block / GROUP) + block % GROUP * BLOCK as u64
    }

    /// Where a block's slice begins.
    pub(super) fn slice(self, block: u64) -> u64 {
        let group = block / GROUP;
        self.group(group) + self.blocks_in(group) * BLOCK as u64 + block % GROUP * SLICE as u64
    }

    pub(super) fn groups(self) -> u64 {
        self.blocks.div_ceil(GROUP)
    }

    /// How many blocks a group has.
    pub(super) fn blocks_in(self, group: u64) -> u64 {
        self.blocks.saturating_sub(group * GROUP).min(GROUP)
    }

    /// Where the index begins.
    pub(super) fn index(self) -> u64 {
        self.blocks.saturating_mul((BLOCK + SLICE) as u64)
    }

    /// The size of the index.
    pub(super) fn index_bytes(self) -> u64 {
        self.blocks.saturating_mul(12)
    }

    /// The size of the file.
    pub(super) fn bytes(self) -> u64 {
        self.index().saturating_add(self.index_bytes()).saturating_add(FOOTER as u64)
    }

    fn group(self, group: u64) -> u64 {
        group * GROUP * (BLOCK + SLICE) as u64
    }
}

/// What the end of a run says of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Footer {
    pub run: u64,
    pub postings: u64,
    pub layout: Layout,
    /// What the numbers in its blocks count from.
    pub base: u64,
    pub index_crc: u32,
}

impl Footer {
    pub(super) fn encode(self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        for field in [self.run, self.postings, self.layout.blocks, self.base] {
            bytes.extend_from_slice(&field.to_le_bytes());
        }
        bytes.extend_from_slice(&self.index_crc.to_le_bytes());
        let crc = crc32c::crc32c(&bytes);
        bytes.extend_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// The footer in these bytes, if they are one of this version.
    pub(super) fn decode(bytes: &[u8; FOOTER]) -> Option<Self> {
        let (body, crc) = bytes.split_last_chunk::<4>()?;
        let rest = &mut body.strip_prefix(MAGIC)?;
        let known = u32::from_le_bytes(take(rest)?) == VERSION && u32::from_le_bytes(*crc) == crc32c::crc32c(body);
        let mut next = || take(rest).map(u64::from_le_bytes);
        let (run, postings, blocks, base) = (next()?, next()?, next()?, next()?);
        let index_crc = u32::from_le_bytes(take(rest)?);
        known.then_some(Self { run, postings, layout: Layout { blocks }, base, index_crc })
    }
}

/// Takes so many bytes off the front.
pub(super) fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, after) = rest.split_first_chunk::<N>()?;
    *rest = after;
    Some(*taken)
}

const MAGIC: &[u8] = b"MQRN";
const VERSION: u32 = 1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_and_slices_fill_the_file_up_to_the_index() {
        for blocks in [1, 63, 64, 65, 200] {
            let layout = Layout { blocks };
            let mut parts: Vec<(u64, u64)> = (0..blocks).map(|n| (layout.block(n), BLOCK as u64)).collect();
            parts.extend((0..blocks).map(|n| (layout.slice(n), SLICE as u64)));
            parts.sort_unstable();
            let end = parts.iter().fold(0, |end, (at, size)| {
                assert_eq!(*at, end, "no gap in a run of {blocks}");
                at + size
            });
            assert_eq!(end, layout.index());
        }
    }

    #[test]
    fn a_footer_reads_back_and_every_flipped_bit_is_noticed() {
        let footer = Footer { run: 1, postings: 2, layout: Layout { blocks: 3 }, base: 4, index_crc: 5 };
        let good: [u8; FOOTER] = footer.encode().try_into().unwrap();
        assert_eq!(Footer::decode(&good), Some(footer));
        for bit in 0..FOOTER * 8 {
            let mut bad = good;
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Footer::decode(&bad), None, "bit {bit}");
        }
        assert_eq!(Layout { blocks: u64::MAX }.bytes(), u64::MAX, "no count of blocks is too large to say so");
    }
}
