//! Inclusion and consistency proofs (RFC 6962 §2.1.1 and §2.1.2, checked as in RFC 9162 §2.1.3.2 and §2.1.4.2).

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use crate::error::{LedgerError, Result};
use crate::hash::{Hash, empty_root, merkle_root, node_hash};
use crate::tile::{TILE_WIDTH, Tile, TileReader, read_exact};

/// The hashes, leaf to root, that show entry `index` to be in the tree of `size` entries (RFC 6962 §2.1.1).
pub fn inclusion_proof(index: u64, size: u64, reader: &dyn TileReader) -> Result<Vec<Hash>> {
    if index >= size {
        return Err(LedgerError::BadIndex { index, size });
    }
    let mut subtrees = Subtrees::new(size, reader);
    let mut proof = Vec::new();
    let (mut start, mut end) = (0, size);
    while end - start > 1 {
        let middle = start + split(end - start);
        if index < middle {
            proof.push(subtrees.root(middle, end)?);
            end = middle;
        } else {
            proof.push(subtrees.root(start, middle)?);
            start = middle;
        }
    }
    proof.reverse();
    Ok(proof)
}

/// The hashes that show the tree of `old` entries to be the start of the tree of `new` entries (RFC 6962 §2.1.2). None
/// are needed when `old` is 0 or equals `new`.
pub fn consistency_proof(old: u64, new: u64, reader: &dyn TileReader) -> Result<Vec<Hash>> {
    if old > new {
        return Err(LedgerError::BadSizes { old, new });
    }
    if old == 0 || old == new {
        return Ok(Vec::new());
    }
    let mut subtrees = Subtrees::new(new, reader);
    let mut proof = Vec::new();
    let (mut start, mut end) = (0, new);
    while old < end {
        let middle = start + split(end - start);
        if old <= middle {
            proof.push(subtrees.root(middle, end)?);
            end = middle;
        } else {
            proof.push(subtrees.root(start, middle)?);
            start = middle;
        }
    }
    if start > 0 {
        proof.push(subtrees.root(start, end)?);
    }
    proof.reverse();
    Ok(proof)
}

/// Checks that `leaf` is the hash of entry `index` in the tree of `size` entries and this root (RFC 9162 §2.1.3.2). A
/// proof with one hash too many or too few is refused.
pub fn verify_inclusion(leaf: Hash, index: u64, size: u64, proof: &[Hash], root: Hash) -> Result<()> {
    if root_of_inclusion(leaf, index, size, proof)? == root { Ok(()) } else { Err(LedgerError::BadInclusion) }
}

/// The root that an inclusion proof leads to (RFC 9162 §2.1.3.2).
pub(crate) fn root_of_inclusion(leaf: Hash, index: u64, size: u64, proof: &[Hash]) -> Result<Hash> {
    if index >= size {
        return Err(LedgerError::BadIndex { index, size });
    }
    let mut path = Path { node: index, last: size - 1 };
    let mut hash = leaf;
    for sibling in proof {
        hash = match path.up().ok_or(LedgerError::BadInclusion)? {
            Sibling::Left => node_hash(sibling, &hash),
            Sibling::Right => node_hash(&hash, sibling),
        };
    }
    if path.last == 0 { Ok(hash) } else { Err(LedgerError::BadInclusion) }
}

/// Checks that the tree of `old_size` entries and root `old_root` is the start of the tree of `new_size` entries and root
/// `new_root` (RFC 9162 §2.1.4.2). A proof with one hash too many or too few is refused.
pub fn verify_consistency(old_size: u64, old_root: Hash, new_size: u64, new_root: Hash, proof: &[Hash]) -> Result<()> {
    if old_size > new_size {
        return Err(LedgerError::BadSizes { old: old_size, new: new_size });
    }
    let holds = if old_size == new_size {
        proof.is_empty() && old_root == new_root && (old_size > 0 || old_root == empty_root())
    } else if old_size == 0 {
        proof.is_empty() && old_root == empty_root()
    } else {
        consistent(old_size, old_root, new_size, new_root, proof)
    };
    if holds { Ok(()) } else { Err(LedgerError::BadConsistency) }
}

/// RFC 9162 §2.1.4.2 for `0 < old_size < new_size`.
fn consistent(old_size: u64, old_root: Hash, new_size: u64, new_root: Hash, proof: &[Hash]) -> bool {
    let Some((first, others)) = proof.split_first() else { return false };
    // The old root stands for itself when it is a node of the new tree.
    let (seed, rest) = if old_size.is_power_of_two() { (old_root, proof) } else { (*first, others) };
    let skipped = (old_size - 1).trailing_ones();
    let mut path = Path { node: (old_size - 1) >> skipped, last: (new_size - 1) >> skipped };
    let (mut old, mut new) = (seed, seed);
    for sibling in rest {
        match path.up() {
            None => return false,
            Some(Sibling::Left) => {
                old = node_hash(sibling, &old);
                new = node_hash(sibling, &new);
            }
            Some(Sibling::Right) => new = node_hash(&new, sibling),
        }
    }
    path.last == 0 && old == old_root && new == new_root
}

/// A walk from a node to the root: the numbers of the node and of the last node in its level (`fn` and `sn` in RFC 9162).
struct Path {
    node: u64,
    last: u64,
}

/// The side on which the next hash of a proof stands.
enum Sibling {
    Left,
    Right,
}

impl Path {
    /// Goes up past one hash of the proof; nothing when the walk is at the root already.
    fn up(&mut self) -> Option<Sibling> {
        if self.last == 0 {
            return None;
        }
        let sibling = if self.node % 2 == 1 || self.node == self.last {
            // A last node without a sibling is carried up until it is a right child.
            let carried = if self.node == 0 { 0 } else { self.node.trailing_zeros() };
            self.node >>= carried;
            self.last >>= carried;
            Sibling::Left
        } else {
            Sibling::Right
        };
        self.node >>= 1;
        self.last >>= 1;
        Some(sibling)
    }
}

/// The subtree roots of a tree, from its tiles; each tile is read once.
struct Subtrees<'a> {
    size: u64,
    reader: &'a dyn TileReader,
    tiles: HashMap<Tile, Vec<Hash>>,
}

impl<'a> Subtrees<'a> {
    fn new(size: u64, reader: &'a dyn TileReader) -> Self {
        Self { size, reader, tiles: HashMap::new() }
    }

    /// The root over the leaves from `start` up to `end`, where `start` is a multiple of every power of two that fits in
    /// between: all ranges that RFC 6962 splits a tree into.
    fn root(&mut self, start: u64, end: u64) -> Result<Hash> {
        let mut perfect = Vec::new();
        let mut from = start;
        while from < end {
            let height = (end - from).ilog2();
            perfect.push(self.perfect(height, from >> height)?);
            from += 1 << height;
        }
        let right_to_left = perfect.into_iter().rev();
        Ok(right_to_left.reduce(|right, left| node_hash(&left, &right)).unwrap_or_else(empty_root))
    }

    /// The node of this height and number. Its hash stands in the bottom row of a tile, or is the root of a power of two
    /// of neighbours there.
    fn perfect(&mut self, height: u32, number: u64) -> Result<Hash> {
        let level = (height / 8) as u8;
        let first = number << (height % 8);
        let index = first / u64::from(TILE_WIDTH);
        let offset = (first % u64::from(TILE_WIDTH)) as usize;
        let missing = || LedgerError::MissingTile(Tile { level, index, width: TILE_WIDTH }.path());
        let tile = Tile::in_tree(level, index, self.size).ok_or_else(missing)?;
        let row = match self.tiles.entry(tile) {
            Entry::Occupied(read) => read.into_mut(),
            Entry::Vacant(unread) => unread.insert(read_exact(self.reader, tile)?),
        };
        row.get(offset..offset + (1 << (height % 8))).map(merkle_root).ok_or_else(missing)
    }
}

/// The largest power of two below `n`, for `n` of 2 or more (`k` in RFC 6962 §2.1).
fn split(n: u64) -> u64 {
    1 << (n - 1).ilog2()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::leaf_hash;
    use crate::tile::MemoryTiles;
    use crate::tree::Tree;

    #[test]
    fn every_proof_of_small_trees_verifies() {
        let (roots, tiles) = grown(70);
        for (new, new_root) in (0u64..).zip(&roots) {
            for (old, old_root) in (0..=new).zip(&roots) {
                let proof = consistency_proof(old, new, &tiles).unwrap();
                verify_consistency(old, *old_root, new, *new_root, &proof).unwrap();
                if old < new {
                    let proof = inclusion_proof(old, new, &tiles).unwrap();
                    verify_inclusion(leaf(old), old, new, &proof, *new_root).unwrap();
                }
            }
        }
    }

    #[test]
    fn proofs_out_of_range_are_refused() {
        let (roots, tiles) = grown(3);
        assert_eq!(inclusion_proof(3, 3, &tiles), Err(LedgerError::BadIndex { index: 3, size: 3 }));
        assert_eq!(inclusion_proof(0, 0, &tiles), Err(LedgerError::BadIndex { index: 0, size: 0 }));
        assert_eq!(consistency_proof(4, 3, &tiles), Err(LedgerError::BadSizes { old: 4, new: 3 }));
        assert!(matches!(inclusion_proof(0, 300, &tiles), Err(LedgerError::MissingTile(_))));
        let refused = Err(LedgerError::BadConsistency);
        assert_eq!(verify_consistency(3, roots[3], 3, roots[2], &[]), refused);
        assert_eq!(verify_consistency(0, roots[1], 3, roots[3], &[]), refused);
        assert_eq!(verify_consistency(0, roots[1], 0, roots[1], &[]), refused);
        assert_eq!(verify_consistency(2, roots[2], 3, roots[3], &[]), refused);
        assert!(verify_consistency(3, roots[3], 2, roots[2], &[]).is_err());
        assert!(verify_inclusion(leaf(0), 0, 0, &[], roots[0]).is_err());
        assert!(verify_inclusion(leaf(0), 0, 1, &[leaf(0)], roots[1]).is_err());
    }

    fn leaf(index: u64) -> Hash {
        leaf_hash(index.to_string().as_bytes())
    }

    fn grown(size: u64) -> (Vec<Hash>, MemoryTiles) {
        let (mut tree, mut tiles) = (Tree::default(), MemoryTiles::default());
        let mut roots = vec![tree.root()];
        for index in 0..size {
            let mut full = Vec::new();
            tree.push(leaf(index), &mut full);
            tiles.extend(full);
            roots.push(tree.root());
        }
        tiles.extend(tree.partial_tiles());
        (roots, tiles)
    }
}
