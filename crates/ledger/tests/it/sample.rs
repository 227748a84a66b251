//! Sample logs, whose entries are the decimal numbers from 0.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use marque_ledger::{
    Bundle, Checkpoint, Hash, LogFiles, MemoryTiles, Result, Signer, Tile, Tree, empty_root, encode_bundle, encode_tile,
    leaf_hash,
};

/// The largest sample, its tiles, and the root of each sample up to it.
pub(crate) struct Sample {
    pub(crate) roots: Vec<Hash>,
    pub(crate) tiles: MemoryTiles,
}

pub(crate) static SAMPLE: LazyLock<Sample> = LazyLock::new(|| {
    let (mut tree, mut full, mut roots) = (Tree::default(), Vec::new(), vec![empty_root()]);
    for index in 0..MAX_SIZE {
        tree.push(leaf(index), &mut full);
        roots.push(tree.root());
    }
    let mut tiles = MemoryTiles::default();
    tiles.extend(full);
    tiles.extend(tree.partial_tiles());
    Sample { roots, tiles }
});

/// The files of a log, in memory.
#[derive(Clone, Debug, Default)]
pub(crate) struct MemoryFiles(pub(crate) BTreeMap<String, Vec<u8>>);

impl LogFiles for MemoryFiles {
    fn read(&self, path: &str) -> Result<Option<Vec<u8>>> {
        Ok(self.0.get(path).cloned())
    }
}

pub(crate) fn files(size: u64) -> MemoryFiles {
    let mut files = BTreeMap::new();
    let (mut tree, mut tiles) = (Tree::default(), Vec::new());
    (0..size).for_each(|index| tree.push(leaf(index), &mut tiles));
    tiles.extend(tree.partial_tiles());
    for (tile, hashes) in tiles {
        assert_eq!(Some(tile), Tile::in_tree(tile.level, tile.index, size));
        files.insert(tile.path(), encode_tile(&hashes));
    }
    for bundle in (0..).map_while(|index| Bundle::in_tree(index, size)) {
        let first = bundle.index * 256;
        let entries = (first..first + u64::from(bundle.width)).map(|index| index.to_string());
        files.insert(bundle.path(), encode_bundle(entries).unwrap());
    }
    let head = Checkpoint { origin: ORIGIN.to_owned(), size, root: tree.root(), extensions: vec![] };
    files.insert("checkpoint".to_owned(), head.sign(&signer()).unwrap().into_bytes());
    MemoryFiles(files)
}

pub(crate) fn leaf(index: u64) -> Hash {
    leaf_hash(index.to_string().as_bytes())
}

pub(crate) fn signer() -> Signer {
    Signer::from_seed(ORIGIN, [1; 32]).unwrap()
}

pub(crate) const ORIGIN: &str = "ledger.example/log";
pub(crate) const MAX_SIZE: u64 = 2000;
