//! The follower that cuts the log into tlog-tiles and entry bundles and signs checkpoints (C2SP tlog-tiles v0.1.0).
//!
//! INVARIANT (I6 the ledger is the history): a checkpoint is signed only after its tiles and its head record are
//! durable, and the head that is on the disk is checked against the tiles at every start.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use marque_ledger::{Bundle, Checkpoint, Hash, LedgerError, Signer, Tile, TileReader, Tree};
use marque_ledger::{append_bundle_entry, decode_bundle, decode_tile, encode_tile, inclusion_proof, leaf_hash};

use crate::StoreError;
use crate::dir::{make_private_dir, private_file, write_whole};
use crate::error::Result;
use crate::log::Log;

/// How many entries a bundle and how many hashes a tile hold.
const WIDTH: u64 = 256;

/// The published form of the log, in a directory that any web server can serve.
#[derive(Debug)]
pub struct Tiles {
    dir: PathBuf,
    origin: String,
    tree: Tree,
    /// The open bundle: the entries behind the last full one.
    bundle: Vec<u8>,
    head: Head,
    /// The size of the checkpoint on the disk; behind the head after a crash between the two.
    signed: Option<u64>,
    /// Whether tiles were written since the last sync.
    dirty: bool,
}

/// The last published size and root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// How many entries.
    pub size: u64,
    /// The root over them.
    pub root: Hash,
}

impl Tiles {
    /// Opens the directory and checks its head record against its tiles.
    pub fn open(dir: &Path, origin: &str) -> Result<Self> {
        make_private_dir(dir)?;
        let head = read_head(dir)?.unwrap_or(Head { size: 0, root: Tree::default().root() });
        let tree = Tree::restore(head.size, &Disk { dir, size: head.size })?;
        if tree.root() != head.root {
            return Err(StoreError::Contradicted {
                what: format!("the tiles of size {} have root {}, the head says {}", head.size, tree.root(), head.root),
            });
        }
        let bundle = match Bundle::in_tree(head.size / WIDTH, head.size) {
            Some(open) if open.width < WIDTH as u16 => {
                let bytes = read_bundle(dir, open)?;
                check_bundle(&bytes, &Disk { dir, size: head.size }, open)?;
                bytes
            }
            _ => Vec::new(),
        };
        let signed = std::fs::read_to_string(dir.join("checkpoint")).ok().and_then(|c| c.lines().nth(1)?.parse().ok());
        Ok(Self { dir: dir.to_owned(), origin: origin.to_owned(), tree, bundle, head, signed, dirty: false })
    }

    /// The last published head.
    pub fn head(&self) -> Head {
        self.head
    }

    /// How many entries have been cut, published or not.
    pub fn size(&self) -> u64 {
        self.tree.size()
    }

    /// Takes in what became durable in the log. Tiles are written, not yet synced.
    pub fn follow(&mut self, log: &Log) -> Result<()> {
        while self.tree.size() < log.durable() {
            let entries = log.read(self.tree.size(), READ_BYTES)?;
            if entries.is_empty() {
                return Err(StoreError::Damaged { what: format!("entry {} is durable and cannot be read", self.tree.size()) });
            }
            for (_, entry) in entries {
                self.push(&entry)?;
            }
        }
        Ok(())
    }

    fn push(&mut self, entry: &[u8]) -> Result<()> {
        let index = self.tree.size();
        append_bundle_entry(&mut self.bundle, entry)?;
        let mut full = Vec::new();
        self.tree.push(leaf_hash(entry), &mut full);
        self.dirty = true;
        if index % WIDTH == WIDTH - 1 {
            let bundle = Bundle { index: index / WIDTH, width: WIDTH as u16 };
            self.put(&bundle.path(), &self.bundle)?;
            self.bundle.clear();
        }
        for (tile, hashes) in full {
            self.put(&tile.path(), &encode_tile(&hashes))?;
        }
        Ok(())
    }

    /// Publishes all that was cut: tiles, then the head record, then a signed checkpoint. Does nothing when there is
    /// nothing new.
    pub fn publish(&mut self, signer: &Signer) -> Result<Head> {
        let head = Head { size: self.tree.size(), root: self.tree.root() };
        if head.size == self.head.size && self.signed == Some(head.size) {
            return Ok(self.head);
        }
        if self.dirty {
            self.put_partial(head.size)?;
            sync_filesystem(&self.dir)?;
            self.dirty = false;
        }
        let record = format!("{}\n{}\n", head.size, head.root);
        write_whole(&self.dir.join("head"), record.as_bytes(), 0o600)?;
        let checkpoint = Checkpoint { origin: self.origin.clone(), size: head.size, root: head.root, extensions: Vec::new() };
        write_whole(&self.dir.join("checkpoint"), checkpoint.sign(signer)?.as_bytes(), 0o644)?;
        self.remove_partial(self.head.size, head.size);
        self.head = head;
        self.signed = Some(head.size);
        Ok(head)
    }

    /// The path of a proof that entry `index` is in the published head.
    pub fn inclusion(&self, index: u64) -> Result<Vec<Hash>> {
        Ok(inclusion_proof(index, self.head.size, &Disk { dir: &self.dir, size: self.head.size })?)
    }

    /// The published checkpoint, as signed.
    pub fn checkpoint(&self) -> Result<String> {
        let path = self.dir.join("checkpoint");
        std::fs::read_to_string(&path).map_err(StoreError::io("read", &path))
    }

    /// Published entries from `from` on, at most one bundle of them.
    pub fn read(&self, from: u64) -> Result<Vec<(u64, Vec<u8>)>> {
        let Some(bundle) = Bundle::in_tree(from / WIDTH, self.head.size) else { return Ok(Vec::new()) };
        let bytes = read_bundle(&self.dir, bundle)?;
        let first = bundle.index.saturating_mul(WIDTH);
        let entries = decode_bundle(&bytes)?.into_iter().enumerate().map(|(n, e)| (first.saturating_add(n as u64), e.to_vec()));
        Ok(entries.filter(|(index, _)| *index >= from && *index < self.head.size).collect())
    }

    fn put_partial(&self, size: u64) -> Result<()> {
        if let Some(open) = Bundle::in_tree(size / WIDTH, size) {
            self.put(&open.path(), &self.bundle)?;
        }
        for (tile, hashes) in self.tree.partial_tiles() {
            self.put(&tile.path(), &encode_tile(&hashes))?;
        }
        Ok(())
    }

    /// Partial files that the new head no longer needs; a larger partial or the full one has their content (T5).
    fn remove_partial(&self, old: u64, new: u64) {
        let keep: Vec<String> = partial_paths(new);
        for path in partial_paths(old).into_iter().filter(|p| !keep.contains(p)) {
            let _ = std::fs::remove_file(self.dir.join(path));
        }
    }

    /// Writes a file in place: what a crash tears is above the head, and is written again from the log.
    fn put(&self, path: &str, bytes: &[u8]) -> Result<()> {
        let path = self.dir.join(path);
        let write =
            |path: &Path| private_file().create(true).truncate(true).write(true).open(path).and_then(|mut f| f.write_all(bytes));
        match write(&path) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                make_private_dir(path.parent().unwrap_or(&self.dir))?;
                write(&path).map_err(StoreError::io("write", &path))
            }
            done => done.map_err(StoreError::io("write", &path)),
        }
    }
}

/// Tiles on the disk, of a log of `size` entries.
struct Disk<'a> {
    dir: &'a Path,
    size: u64,
}

impl TileReader for Disk<'_> {
    fn read_tile(&self, tile: Tile) -> std::result::Result<Vec<Hash>, LedgerError> {
        // The file of the published size has at least as many hashes as were asked for.
        let published = Tile::in_tree(tile.level, tile.index, self.size).unwrap_or(tile);
        let path = published.path();
        let bytes = std::fs::read(self.dir.join(&path)).map_err(|_| LedgerError::MissingTile(path))?;
        decode_tile(&bytes)
    }
}

fn partial_paths(size: u64) -> Vec<String> {
    let bundle = Bundle::in_tree(size / WIDTH, size).map(|b| b.path());
    Tile::partial(size).into_iter().map(|t| t.path()).chain(bundle).collect()
}

fn read_bundle(dir: &Path, bundle: Bundle) -> Result<Vec<u8>> {
    let path = dir.join(bundle.path());
    std::fs::read(&path).map_err(StoreError::io("read", &path))
}

/// The open bundle is written again when it grows: bit rot in it must not get into the full one.
fn check_bundle(bytes: &[u8], tiles: &Disk<'_>, bundle: Bundle) -> Result<()> {
    let hashes = tiles.read_tile(Tile { level: 0, index: bundle.index, width: bundle.width })?;
    let entries = decode_bundle(bytes)?;
    if entries.len() == hashes.len() && entries.iter().zip(&hashes).all(|(entry, hash)| leaf_hash(entry) == *hash) {
        return Ok(());
    }
    Err(StoreError::Damaged { what: format!("bundle `{}` does not hash to its tile", bundle.path()) })
}

fn read_head(dir: &Path) -> Result<Option<Head>> {
    let path = dir.join("head");
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(StoreError::io("read", &path)(e)),
    };
    let damaged = || StoreError::Damaged { what: format!("`{}` is not a head record", path.display()) };
    let (size, rest) = text.split_once('\n').ok_or_else(damaged)?;
    let root = rest.strip_suffix('\n').ok_or_else(damaged)?;
    let size = size.parse().map_err(|_| damaged())?;
    Ok(Some(Head { size, root: Hash::from_base64(root).map_err(|_| damaged())? }))
}

/// Makes everything written to this file system durable: one call for any number of tiles.
fn sync_filesystem(dir: &Path) -> Result<()> {
    let handle = File::open(dir).map_err(StoreError::io("open", dir))?;
    rustix::fs::syncfs(&handle).map_err(|e| StoreError::io("sync", dir)(e.into()))
}

const READ_BYTES: usize = 4 << 20;
