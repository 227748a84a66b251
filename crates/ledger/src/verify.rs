//! Offline verification of a whole log (C2SP tlog-tiles v0.1.0, tlog-checkpoint v1.0.0, RFC 6962 §2.1).

use crate::checkpoint::Checkpoint;
use crate::error::Result;
use crate::hash::{Hash, empty_root, leaf_hash, merkle_root};
use crate::note::Verifier;
use crate::tile::{Bundle, LEVELS, TILE_WIDTH, Tile, decode_bundle, decode_tile, hashes_at};

/// The files of a log, under the paths of tlog-tiles v0.1.0.
///
/// Nothing that is read is trusted, and files that fit together are not needed: any bytes give a report.
pub trait LogFiles {
    /// The whole file at `path`, or nothing when there is none. A file that is there but cannot be read is an error.
    fn read(&self, path: &str) -> Result<Option<Vec<u8>>>;
}

/// What is asked about each entry, by index and bytes, while a log is verified; its answer is what is wrong with the entry
/// (tlog-tiles v0.1.0, "Log Entries").
pub type OnEntry<'a> = dyn FnMut(u64, &[u8]) -> std::result::Result<(), String> + 'a;

/// What is wrong with one file of a log (tlog-tiles v0.1.0).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The path of the file.
    pub path: String,
    /// What is wrong with it, in a few words.
    pub what: String,
}

/// What was found in a log's files (tlog-tiles v0.1.0).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The size in the verified checkpoint; 0 when there is none.
    pub size: u64,
    /// The root recomputed from the entries; where a bundle could not be read, from its stored leaf hashes, and nothing where
    /// those could not be read either.
    pub root: Option<Hash>,
    /// How many entries were read and hashed.
    pub entries_checked: u64,
    /// How many tiles were read and compared.
    pub tiles_checked: u64,
    /// What is wrong; the search ends at the hundredth.
    pub faults: Vec<Fault>,
}

impl Report {
    /// Whether nothing is wrong: the entries give every tile and the root that the log signed (tlog-tiles v0.1.0).
    pub fn is_ok(&self) -> bool {
        self.faults.is_empty()
    }
}

/// Recomputes the log `origin` from its entries and compares each tile and the signed root with the outcome (tlog-tiles
/// v0.1.0, tlog-checkpoint v1.0.0). Each entry is given to `on_entry` with its index; what that refuses is a fault too.
///
/// A fault does not end the search, but without a verified checkpoint there is nothing to compare with. One bundle and
/// one tile of each level are in memory at a time.
pub fn verify_log(files: &dyn LogFiles, origin: &str, verifiers: &[Verifier], on_entry: &mut OnEntry<'_>) -> Report {
    let mut walk = Walk { files, rows: Default::default(), report: Report::default() };
    if let Some(checkpoint) = walk.open_checkpoint(origin, verifiers) {
        walk.report.size = checkpoint.size;
        walk.run(&checkpoint, on_entry);
    }
    walk.report
}

/// One pass over the log. A hash is absent when the entries under it could not be read.
struct Walk<'a> {
    files: &'a dyn LogFiles,
    /// The tile of each level that is being filled from below; those of level 0 are filled at once.
    rows: [Vec<Option<Hash>>; LEVELS],
    report: Report,
}

impl Walk<'_> {
    fn open_checkpoint(&mut self, origin: &str, verifiers: &[Verifier]) -> Option<Checkpoint> {
        let bytes = self.read(CHECKPOINT, CHECKPOINT)?.0;
        let opened = match String::from_utf8(bytes) {
            Ok(note) => Checkpoint::open(&note, origin, verifiers).map_err(|error| error.to_string()),
            Err(_) => Err("is not UTF-8".to_owned()),
        };
        opened.map_err(|what| self.fault(CHECKPOINT, what)).ok()
    }

    fn run(&mut self, checkpoint: &Checkpoint, on_entry: &mut OnEntry<'_>) {
        for index in 0..checkpoint.size.div_ceil(u64::from(TILE_WIDTH)) {
            let Some(tile) = Tile::in_tree(0, index, checkpoint.size) else { break };
            let stored = self.read_tile(tile);
            let row = match self.read_bundle(Bundle { index, width: tile.width }, on_entry) {
                Some(leaves) => leaves.into_iter().map(Some).collect(),
                // The bundle's fault is named; its stored hashes stand in, so that the rest can be checked.
                None => stored.iter().flatten().copied().map(Some).collect(),
            };
            let row = padded(row, tile.width);
            self.compare(tile, &row, stored.as_deref());
            if tile.width == TILE_WIDTH {
                self.push(root_of(&row), index);
            } else if let Some(edge) = self.rows.first_mut() {
                *edge = row;
            }
            if self.report.faults.len() >= MAX_FAULTS {
                return;
            }
        }
        self.finish(checkpoint);
    }

    /// Puts the root of the full tile `index` of level 0 into the tile above, and checks each tile that this fills.
    fn push(&mut self, root: Option<Hash>, index: u64) {
        let size = index.saturating_add(1).saturating_mul(u64::from(TILE_WIDTH));
        let mut hash = root;
        for level in 1..LEVELS as u8 {
            let Some(row) = self.rows.get_mut(usize::from(level)) else { return };
            row.push(hash);
            if row.len() < usize::from(TILE_WIDTH) {
                return;
            }
            let row = std::mem::take(row);
            hash = root_of(&row);
            self.check(Tile { level, index: hashes_at(size, level + 1).saturating_sub(1), width: TILE_WIDTH }, &row);
        }
    }

    /// Checks the right edge above level 0, and the root.
    fn finish(&mut self, checkpoint: &Checkpoint) {
        let rows = std::mem::take(&mut self.rows);
        for tile in Tile::partial(checkpoint.size) {
            if let Some(row) = rows.get(usize::from(tile.level)).filter(|_| tile.level > 0) {
                self.check(tile, row);
            }
        }
        let root = rows.iter().fold(None, |below, row| {
            let row: Vec<Option<Hash>> = row.iter().copied().chain(below).collect();
            (!row.is_empty()).then(|| root_of(&row))
        });
        self.report.root = root.unwrap_or_else(|| Some(empty_root()));
        match self.report.root {
            Some(root) if root == checkpoint.root => {}
            Some(root) => self.fault(CHECKPOINT, format!("the root is not `{root}`, which the entries give")),
            None => self.fault(CHECKPOINT, "the root could not be recomputed".to_owned()),
        }
    }

    fn check(&mut self, tile: Tile, row: &[Option<Hash>]) {
        let stored = self.read_tile(tile);
        self.compare(tile, row, stored.as_deref());
    }

    /// Names the first hash of a tile that is not what the entries give.
    fn compare(&mut self, tile: Tile, row: &[Option<Hash>], stored: Option<&[Hash]>) {
        let Some(stored) = stored else { return };
        self.report.tiles_checked += 1;
        let differs = |(hash, stored): (&Option<Hash>, &Hash)| hash.is_some_and(|hash| hash != *stored);
        if let Some(place) = row.iter().zip(stored).position(differs) {
            self.fault(&tile.path(), format!("hash `{place}` is not what the entries give"));
        }
    }

    /// The leaf hashes of a bundle, whose entries have been given to `on_entry`.
    fn read_bundle(&mut self, bundle: Bundle, on_entry: &mut OnEntry<'_>) -> Option<Vec<Hash>> {
        let full = Bundle { width: TILE_WIDTH, ..bundle };
        let (bytes, path) = self.read(&bundle.path(), &full.path())?;
        let entries = decode_bundle(&bytes).map_err(|error| self.fault(&path, error.to_string())).ok()?;
        let entries = self.first(&path, entries, &bundle.path(), bundle.width, "entries")?;
        let first = bundle.index.saturating_mul(u64::from(TILE_WIDTH));
        for (index, entry) in (first..).zip(&entries) {
            if let Err(what) = on_entry(index, entry) {
                self.fault(&path, format!("entry `{index}`: {what}"));
            }
            self.report.entries_checked += 1;
        }
        Some(entries.into_iter().map(leaf_hash).collect())
    }

    fn read_tile(&mut self, tile: Tile) -> Option<Vec<Hash>> {
        let full = Tile { width: TILE_WIDTH, ..tile };
        let (bytes, path) = self.read(&tile.path(), &full.path())?;
        let hashes = decode_tile(&bytes).map_err(|error| self.fault(&path, error.to_string())).ok()?;
        self.first(&path, hashes, &tile.path(), tile.width, "hashes")
    }

    /// The first `width` items of the file at `path`. It must have no more when it is the one that was `wanted`; a full
    /// one in its stead starts with the same.
    fn first<T>(&mut self, path: &str, mut items: Vec<T>, wanted: &str, width: u16, of: &str) -> Option<Vec<T>> {
        let (found, width) = (items.len(), usize::from(width));
        if found < width || (found > width && path == wanted) {
            self.fault(path, format!("has `{found}` {of} where there should be `{width}`"));
            return None;
        }
        items.truncate(width);
        Some(items)
    }

    /// The file at `path`, or when there is none, the file at `full`; with the path of the one that was read.
    fn read(&mut self, path: &str, full: &str) -> Option<(Vec<u8>, String)> {
        for path in [path, full] {
            match self.files.read(path) {
                Ok(Some(bytes)) => return Some((bytes, path.to_owned())),
                Ok(None) => {}
                Err(error) => {
                    self.fault(path, error.to_string());
                    return None;
                }
            }
        }
        self.fault(path, "is missing".to_owned());
        None
    }

    fn fault(&mut self, path: &str, what: String) {
        if self.report.faults.len() < MAX_FAULTS {
            self.report.faults.push(Fault { path: path.to_owned(), what });
        }
    }
}

fn padded(mut row: Vec<Option<Hash>>, width: u16) -> Vec<Option<Hash>> {
    row.resize(usize::from(width), None);
    row
}

fn root_of(row: &[Option<Hash>]) -> Option<Hash> {
    row.iter().copied().collect::<Option<Vec<_>>>().map(|row| merkle_root(&row))
}

/// The path of the checkpoint (tlog-tiles v0.1.0, "Checkpoints").
const CHECKPOINT: &str = "checkpoint";
/// Enough faults to know that a log is broken.
const MAX_FAULTS: usize = 100;
