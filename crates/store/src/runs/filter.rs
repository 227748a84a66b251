//! A filter of the keys of one block: a Bloom filter in which all bits of a key are in one cache line.
//!
//! It belongs to a block and not to a run so that a run of any size is written with little memory, and because a slice can
//! be read alone where the whole filter is too large to keep.

/// The size of a block's filter: about 9.5 bits a key where keys are spread evenly, so that 2 in 100 absent keys pass.
pub(super) const SLICE: usize = 512;

pub(super) fn insert(slice: &mut [u8; SLICE], key: u64) {
    let (line, bits) = place(key);
    if let Some(line) = slice.get_mut(line..line + LINE) {
        for bit in bits {
            if let Some(byte) = line.get_mut(bit >> 3) {
                *byte |= 1 << (bit & 7);
            }
        }
    }
}

/// Whether a slice may have a key. When it says no, that is so.
pub(super) fn may_have(slice: &[u8], key: u64) -> bool {
    let (line, bits) = place(key);
    slice
        .get(line..line + LINE)
        .is_some_and(|line| bits.into_iter().all(|bit| line.get(bit >> 3).is_some_and(|byte| byte >> (bit & 7) & 1 == 1)))
}

/// A key's line and its bits in there. The keys of a block share their high bits, so all bits are mixed first.
fn place(key: u64) -> (usize, [usize; 6]) {
    let hash = (key ^ key >> 32).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let hash = (hash ^ hash >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let bits = [52, 43, 34, 25, 16, 7].map(|shift| (hash >> shift) as usize & (LINE * 8 - 1));
    ((hash >> 61) as usize * LINE, bits)
}

/// A cache line. Eight make a slice.
const LINE: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_are_in_pass_and_few_others_do() {
        let mut slice = [0; SLICE];
        let key = |n: u64| 0x1234 << 48 | n.wrapping_mul(0xd134_2543_de82_ef95) >> 20;
        for n in 0..430 {
            insert(&mut slice, key(n));
        }
        assert!((0..430).all(|n| may_have(&slice, key(n))));
        let wrong = (1_000..101_000).filter(|n| may_have(&slice, key(*n))).count();
        assert!((100..3_000).contains(&wrong), "{wrong} of 100,000 pass");
        assert!(!may_have(&[0; SLICE], 5) && !may_have(&[], 5));
    }
}
