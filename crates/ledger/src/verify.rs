//! Offline verification of a whole log (C2SP tlog-tiles v0.1.0, tlog-checkpoint v1.0.0, RFC 6962 §2.1).

use crate::checkpoint::Checkpoint;
use crate::error::Result;
use crate::hash::{Hash, empty_root, leaf_hash, merkle_root};
use crate::note::Verifier;
use crate::served::{CHECKPOINT, Resource};
use crate::tile::{Bundle, LEVELS, TILE_WIDTH, Tile, decode_bundle, decode_tile, end_of_hash, hashes_at};

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
    /// How many entries are pruned: tiles alone stand for them.
    pub entries_pruned: u64,
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

    pub(crate) fn fault(&mut self, path: &str, what: String) {
        if self.faults.len() < MAX_FAULTS {
            self.faults.push(Fault { path: path.to_owned(), what });
        }
    }
}

/// Recomputes the log `origin` from its entries and compares each tile and the signed root with the outcome (tlog-tiles
/// v0.1.0, tlog-checkpoint v1.0.0). Each entry is given to `on_entry` with its index; what that refuses is a fault too.
///
/// A fault does not end the search, but without a verified checkpoint there is nothing to compare with. One bundle and
/// one tile of each level are in memory at a time.
pub fn verify_log(files: &dyn LogFiles, origin: &str, verifiers: &[Verifier], on_entry: &mut OnEntry<'_>) -> Report {
    let mut walk = Walk::new(files, 0);
    if let Some((_, checkpoint)) = walk.open_checkpoint(origin, verifiers) {
        walk.run(&checkpoint, on_entry);
    }
    walk.report
}

/// One pass over the log. A hash is absent when the entries under it could not be read.
pub(crate) struct Walk<'a> {
    files: &'a dyn LogFiles,
    /// Full tiles and bundles whose entries are all before this index may be missing (tlog-tiles v0.1.0, "Pruning").
    minimum_index: u64,
    /// The tile of each level that is being filled from below; those of level 0 are filled at once.
    rows: [Vec<Option<Hash>>; LEVELS],
    pub(crate) report: Report,
}

impl<'a> Walk<'a> {
    pub(crate) fn new(files: &'a dyn LogFiles, minimum_index: u64) -> Self {
        Self { files, minimum_index, rows: Default::default(), report: Report::default() }
    }

    /// The verified checkpoint, and the note that it came in.
    pub(crate) fn open_checkpoint(&mut self, origin: &str, verifiers: &[Verifier]) -> Option<(String, Checkpoint)> {
        let File::Read(bytes, _) = self.read(Resource::Checkpoint, Resource::Checkpoint) else { return None };
        let opened = match String::from_utf8(bytes) {
            Ok(note) => {
                Checkpoint::open(&note, origin, verifiers).map(|opened| (note, opened)).map_err(|error| error.to_string())
            }
            Err(_) => Err("is not UTF-8".to_owned()),
        };
        opened.map_err(|what| self.fault(CHECKPOINT, what)).ok()
    }

    pub(crate) fn run(&mut self, checkpoint: &Checkpoint, on_entry: &mut OnEntry<'_>) {
        self.report.size = checkpoint.size;
        if self.minimum_index > checkpoint.size {
            self.fault(CHECKPOINT, format!("has fewer than the `{}` entries that are said to be pruned", self.minimum_index));
        }
        for index in 0..checkpoint.size.div_ceil(u64::from(TILE_WIDTH)) {
            let Some(tile) = Tile::in_tree(0, index, checkpoint.size) else { break };
            let stored = self.read_tile(tile);
            let row = match self.read_bundle(Bundle { index, width: tile.width }, on_entry) {
                Some(leaves) => leaves.into_iter().map(Some).collect(),
                // The bundle is pruned or its fault is named; its stored hashes stand in, so that the rest can be checked.
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
            let mut row = std::mem::take(row);
            self.check(Tile { level, index: hashes_at(size, level + 1).saturating_sub(1), width: TILE_WIDTH }, &mut row);
            hash = root_of(&row);
        }
    }

    /// Checks the right edge above level 0, and the root.
    fn finish(&mut self, checkpoint: &Checkpoint) {
        let mut rows = std::mem::take(&mut self.rows);
        for tile in Tile::partial(checkpoint.size) {
            if let Some(row) = rows.get_mut(usize::from(tile.level)).filter(|_| tile.level > 0) {
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

    /// Compares a stored tile with what came from below, and takes from it the hashes over pruned entries.
    fn check(&mut self, tile: Tile, row: &mut [Option<Hash>]) {
        let stored = self.read_tile(tile);
        self.compare(tile, row, stored.as_deref());
        for (place, (hash, stored)) in row.iter_mut().zip(stored.into_iter().flatten()).enumerate() {
            if hash.is_none() && end_of_hash(tile.level, tile.index, place) <= self.minimum_index {
                *hash = Some(stored);
            }
        }
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
        let (bytes, path) = match self.read(Resource::Bundle(bundle), Resource::Bundle(full)) {
            File::Read(bytes, path) => (bytes, path),
            File::Pruned => {
                self.report.entries_pruned += u64::from(bundle.width);
                return None;
            }
            File::Bad => return None,
        };
        let entries = decode_bundle(&bytes).map_err(|error| self.fault(&path, error.to_string())).ok()?;
        let entries = self.first(&path, entries, &bundle.path(), bundle.width, "entries")?;
        let first = bundle.index.saturating_mul(u64::from(TILE_WIDTH));
        for (index, entry) in (first..).zip(&entries) {
            if let Err(what) = on_entry(index, entry) {
                self.fault(&path, entry_fault(index, &what));
            }
            self.report.entries_checked += 1;
        }
        Some(entries.into_iter().map(leaf_hash).collect())
    }

    fn read_tile(&mut self, tile: Tile) -> Option<Vec<Hash>> {
        let full = Tile { width: TILE_WIDTH, ..tile };
        let File::Read(bytes, path) = self.read(Resource::Tile(tile), Resource::Tile(full)) else { return None };
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

    /// The file that is wanted, or when there is none, the full one in its stead.
    fn read(&mut self, wanted: Resource, full: Resource) -> File {
        let candidates = [Some(wanted), Some(full).filter(|full| *full != wanted)];
        for path in candidates.into_iter().flatten().map(|resource| resource.path()) {
            match self.files.read(&path) {
                Ok(Some(bytes)) => return File::Read(bytes, path),
                Ok(None) => {}
                Err(error) => {
                    self.fault(&path, error.to_string());
                    return File::Bad;
                }
            }
        }
        if wanted.may_be_pruned(self.minimum_index) {
            return File::Pruned;
        }
        self.fault(&wanted.path(), "is missing".to_owned());
        File::Bad
    }

    fn fault(&mut self, path: &str, what: String) {
        self.report.fault(path, what);
    }
}

/// What is wrong with an entry, as a fault of its bundle says it.
pub(crate) fn entry_fault(index: u64, what: &str) -> String {
    format!("entry `{index}`: {what}")
}

/// What came of reading a file.
enum File {
    /// Its bytes, and its path.
    Read(Vec<u8>, String),
    /// It is missing, and may be.
    Pruned,
    /// Its fault has been named.
    Bad,
}

fn padded(mut row: Vec<Option<Hash>>, width: u16) -> Vec<Option<Hash>> {
    row.resize(usize::from(width), None);
    row
}

fn root_of(row: &[Option<Hash>]) -> Option<Hash> {
    row.iter().copied().collect::<Option<Vec<_>>>().map(|row| merkle_root(&row))
}

/// Enough faults to know that a log is broken.
const MAX_FAULTS: usize = 100;
