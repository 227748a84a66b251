//! The right edge of the log's tree (RFC 6962 §2.1, cut as in C2SP tlog-tiles v0.1.0).

use crate::error::Result;
use crate::hash::{Hash, empty_root, merkle_root};
use crate::tile::{LEVELS, TILE_WIDTH, Tile, TileReader, hashes_at, read_exact};

/// The right edge of a tree: the partial tile of each level, at most 255 hashes each (RFC 6962 §2.1, tlog-tiles v0.1.0).
/// It is all that is needed to append and to know the root.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tree {
    size: u64,
    rows: [Vec<Hash>; LEVELS],
}

impl Tree {
    /// The tree of `size` entries, read from the partial tiles of its right edge (tlog-tiles v0.1.0, "Partial Tiles").
    /// The caller compares [`root`](Self::root) with a checkpoint; the tiles alone prove nothing.
    pub fn restore(size: u64, reader: &dyn TileReader) -> Result<Self> {
        let mut tree = Self { size, ..Self::default() };
        for tile in Tile::partial(size) {
            if let Some(row) = tree.rows.get_mut(usize::from(tile.level)) {
                *row = read_exact(reader, tile)?;
            }
        }
        Ok(tree)
    }

    /// Appends a leaf hash, and to `full` each tile that it fills, lowest level first (tlog-tiles v0.1.0, "Merkle Tree").
    pub fn push(&mut self, leaf: Hash, full: &mut Vec<(Tile, Vec<Hash>)>) {
        self.size += 1;
        let mut hash = leaf;
        for (level, row) in (0u8..).zip(&mut self.rows) {
            row.push(hash);
            if row.len() < usize::from(TILE_WIDTH) {
                return;
            }
            let hashes = std::mem::take(row);
            hash = merkle_root(&hashes);
            let index = hashes_at(self.size, level + 1).saturating_sub(1);
            full.push((Tile { level, index, width: TILE_WIDTH }, hashes));
        }
    }

    /// How many entries the tree has (RFC 6962 §2.1).
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The root hash (RFC 6962 §2.1), from the right edge alone: what stands below a row is the row's last, incomplete
    /// subtree.
    pub fn root(&self) -> Hash {
        let root = self.rows.iter().fold(None, |below, row| {
            let row: Vec<Hash> = row.iter().copied().chain(below).collect();
            (!row.is_empty()).then(|| merkle_root(&row))
        });
        root.unwrap_or_else(empty_root)
    }

    /// The partial tiles, lowest level first; empty ones are left out (tlog-tiles v0.1.0, "Partial Tiles").
    pub fn partial_tiles(&self) -> Vec<(Tile, Vec<Hash>)> {
        let row = |tile: Tile| Some((tile, self.rows.get(usize::from(tile.level))?.clone()));
        Tile::partial(self.size).into_iter().filter_map(row).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::leaf_hash;
    use crate::tile::MemoryTiles;

    #[test]
    fn roots_of_golden_vectors() {
        let golden = [
            (0, "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="),
            (1, "2zQm6HgGjSjSabbIcXIyLOU3K2V1bQeJAB00g19gHAM="),
            (2, "ywCYnZSlacCmeK4EK2Pc1GJduWRAUX83put5duok7Us="),
            (3, "cl1SMNto9VdHDcNfHYhlgTrNfrsHrRUndBQd7LrnEyc="),
            (7, "o+I7Msy2v5bQktFl2KpUbgmCnejwOw6JV1gdHha5K98="),
            (256, "goUV0DPBnYyQHzfsy4rtkZZncDSG+NL/8c9wQDIcXbE="),
            (257, "HtoEmkNR2G92JSvX7At3Rq11t/oDFq1fVB29pFijEsQ="),
            (1000, "Y4r6mAIpJbrP3a2xXvIv0BmcGsmcKXO2FYJD0T/OBcI="),
        ];
        for (size, root) in golden {
            assert_eq!(grown(size).0.root().to_string(), root, "size {size}");
        }
    }

    #[test]
    fn tiles_of_a_large_tree() {
        let (tree, mut tiles, full) = grown(70_000);
        assert_eq!(full.iter().filter(|tile| tile.level == 0).count(), 273);
        assert_eq!(full.iter().filter(|tile| tile.level == 1).count(), 1);
        assert_eq!(full.iter().max_by_key(|tile| tile.level).map(|tile| tile.index), Some(0));
        assert!(full.iter().all(|tile| Tile::in_tree(tile.level, tile.index, 70_000) == Some(*tile)));
        let partial = tree.partial_tiles();
        assert!(partial.iter().all(|(tile, hashes)| hashes.len() == usize::from(tile.width)));
        assert_eq!(partial.iter().map(|(tile, _)| tile.width).collect::<Vec<_>>(), [112, 17, 1]);
        tiles.extend(partial);
        assert_eq!(Tree::restore(70_000, &tiles), Ok(tree));
        assert_eq!(Tree::restore(256, &tiles).unwrap().partial_tiles().len(), 1);
        assert!(Tree::restore(70_001, &tiles).is_err());
    }

    fn grown(size: u64) -> (Tree, MemoryTiles, Vec<Tile>) {
        let (mut tree, mut full) = (Tree::default(), Vec::new());
        (0..size).for_each(|i| tree.push(leaf_hash(i.to_string().as_bytes()), &mut full));
        assert_eq!(tree.size(), size);
        let names = full.iter().map(|(tile, _)| *tile).collect();
        let mut tiles = MemoryTiles::default();
        tiles.extend(full);
        (tree, tiles, names)
    }
}
