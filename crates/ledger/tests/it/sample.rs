//! Sample logs, whose entries are the decimal numbers from 0.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use marque_ledger::{
    Bundle, Checkpoint, Hash, LogFiles, MemoryTiles, Note, Result, Signer, Tile, Tree, WitnessSigner, empty_root, encode_bundle,
    encode_tile, leaf_hash,
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
    files.insert("checkpoint".to_owned(), note(size, tree.root()).into_bytes());
    MemoryFiles(files)
}

/// A checkpoint of this size and root, signed by the log.
pub(crate) fn note(size: u64, root: Hash) -> String {
    let head = Checkpoint { origin: ORIGIN.to_owned(), size, root, extensions: vec![] };
    head.sign(&signer()).unwrap()
}

/// The sample's checkpoint of this size.
pub(crate) fn sample_note(size: u64) -> String {
    note(size, SAMPLE.roots[size as usize])
}

pub(crate) fn leaf(index: u64) -> Hash {
    leaf_hash(index.to_string().as_bytes())
}

pub(crate) fn signer() -> Signer {
    Signer::from_seed(ORIGIN, [1; 32]).unwrap()
}

/// The witness of this number; the first one is that of the golden vectors.
pub(crate) fn witness(number: u8) -> WitnessSigner {
    WitnessSigner::from_seed(&format!("witness.example/w{number}"), [number + 1; 32]).unwrap()
}

/// A checkpoint with the cosignature of each of these witnesses at its time.
pub(crate) fn cosigned(note: &str, by: &[(u8, u64)]) -> String {
    let text = Note::parse(note).unwrap().text;
    let line = |(number, time): &(u8, u64)| format!("{}\n", witness(*number).cosign(&text, *time).unwrap());
    by.iter().map(line).fold(note.to_owned(), |note, line| note + &line)
}

pub(crate) const ORIGIN: &str = "ledger.example/log";
pub(crate) const MAX_SIZE: u64 = 2000;
