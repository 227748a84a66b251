//! The follower that cuts the log into tlog-tiles and entry bundles and signs checkpoints (C2SP tlog-tiles v0.1.0).
//!
//! INVARIANT (I6 the ledger is the history): a checkpoint is signed only if it continues the one before, and given out only
//! after its tiles and its head record are durable; the head that is on the disk is checked against the tiles at every start.

mod disk;
mod prune;

use std::path::{Path, PathBuf};

use disk::{Disk, check_bundle, read_bundle, read_head, sync_filesystem};
use marque_ledger::{Bundle, Checkpoint, Hash, LedgerError, Note, Signer, Tile, TileReader, Tree, TreeHead};
use marque_ledger::{append_bundle_entry, consistency_proof, decode_bundle, encode_tile, inclusion_proof, leaf_hash};

use crate::StoreError;
use crate::dir::{make_private_dir, write_in_place, write_whole};
use crate::error::{Result, describe};
use crate::log::Log;
use crate::private::Private;
use crate::record::Record;

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
    /// The private parts of the same entries, which have files of their own outside of what is published.
    private: Private,
    head: Head,
    /// Whether the checkpoint on the disk is known to be that of the head.
    signed: bool,
    /// Whether tiles were written since the last sync.
    dirty: bool,
    /// The contents of the entries below are let go (tlog-tiles, "Pruning").
    pruned: u64,
    /// Why nothing more is cut or published, once a write or a sync has failed.
    stopped: Option<String>,
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
        let private = Private::open(dir, head.size)?;
        let tiles = Self {
            dir: dir.to_owned(),
            origin: origin.to_owned(),
            tree,
            bundle,
            private,
            head,
            signed: false,
            dirty: false,
            pruned: prune::read_word(dir)?,
            stopped: None,
        };
        tiles.sweep()?;
        Ok(tiles)
    }

    /// The last published head.
    pub fn head(&self) -> Head {
        self.head
    }

    /// The directory that is published.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// How many entries have been cut, published or not.
    pub fn size(&self) -> u64 {
        self.tree.size()
    }

    /// Takes in what became durable in the log. Tiles are written, not yet synced.
    ///
    /// The first failure is for good: what is in memory may be ahead of the files then, and a file that was not written is not
    /// written again. Opening the directory anew goes on from its head, and writes all above it from the log.
    pub fn follow(&mut self, log: &Log) -> Result<()> {
        self.check()?;
        let taken = self.take_in(log);
        self.stopping(taken)
    }

    fn take_in(&mut self, log: &Log) -> Result<()> {
        while self.tree.size() < log.durable() {
            let entries = log.read(self.tree.size(), READ_BYTES)?;
            if entries.is_empty() {
                return Err(StoreError::Damaged { what: format!("entry {} is durable and cannot be read", self.tree.size()) });
            }
            for (_, entry) in entries {
                let (leaf, private) = Record::split(&entry);
                self.push(leaf, private)?;
            }
        }
        Ok(())
    }

    fn push(&mut self, entry: &[u8], private: &[u8]) -> Result<()> {
        let index = self.tree.size();
        append_bundle_entry(&mut self.bundle, entry)?;
        self.private.append(private);
        let mut full = Vec::new();
        self.tree.push(leaf_hash(entry), &mut full);
        self.dirty = true;
        if index % WIDTH == WIDTH - 1 {
            let bundle = Bundle { index: index / WIDTH, width: WIDTH as u16 };
            self.put(&bundle.path(), &self.bundle)?;
            self.bundle.clear();
            self.private.close(bundle)?;
        }
        for (tile, hashes) in full {
            self.put(&tile.path(), &encode_tile(&hashes))?;
        }
        Ok(())
    }

    /// Publishes all that was cut: tiles, then the head record, then a signed checkpoint. Does nothing when there is
    /// nothing new.
    ///
    /// The first failure is for good, as of [`Tiles::follow`]: a second sync may succeed and prove nothing of what was written
    /// before the first.
    pub fn publish(&mut self, signer: &Signer) -> Result<Head> {
        self.check()?;
        let published = self.put_out(signer);
        self.stopping(published)
    }

    fn check(&self) -> Result<()> {
        match &self.stopped {
            Some(why) => Err(StoreError::Stopped { why: why.clone() }),
            None => Ok(()),
        }
    }

    fn stopping<T>(&mut self, result: Result<T>) -> Result<T> {
        if let Err(error) = &result {
            self.stopped = Some(describe(error));
        }
        result
    }

    fn put_out(&mut self, signer: &Signer) -> Result<Head> {
        let head = Head { size: self.tree.size(), root: self.tree.root() };
        if head.size == self.head.size && (self.signed || self.is_signed(signer)) {
            self.signed = true;
            return Ok(self.head);
        }
        if self.dirty {
            self.put_partial(head.size)?;
            sync_filesystem(&self.dir)?;
            self.dirty = false;
        }
        let checkpoint = self.sign(head, signer)?;
        let record = format!("{}\n{}\n", head.size, head.root);
        write_whole(&self.dir.join("head"), record.as_bytes(), 0o600)?;
        write_whole(&self.dir.join(CHECKPOINT), checkpoint.as_bytes(), 0o644)?;
        self.remove_partial(self.head.size, head.size);
        self.head = head;
        self.signed = true;
        Ok(head)
    }

    /// Whether the published file is the signed checkpoint of the head: a crash or bit rot may have left another.
    fn is_signed(&self, signer: &Signer) -> bool {
        let note = self.checkpoint().ok();
        let found = note.and_then(|note| Checkpoint::open(&note, &self.origin, &[signer.verifier()]).ok());
        found.is_some_and(|found| (found.size, found.root) == (self.head.size, self.head.root))
    }

    /// The checkpoint of a head whose tiles are written: nothing is signed that does not continue the published one
    /// (tlog-checkpoint v1.0.0, "Signatures").
    fn sign(&self, head: Head, signer: &Signer) -> Result<String> {
        let before = TreeHead { size: self.head.size, root: self.head.root };
        let proof = consistency_proof(before.size, head.size, &Disk { dir: &self.dir, size: head.size })?;
        let checkpoint = Checkpoint { origin: self.origin.clone(), size: head.size, root: head.root, extensions: Vec::new() };
        checkpoint.sign_next(signer, before, &proof).map_err(|error| match error {
            LedgerError::BadConsistency => StoreError::Contradicted {
                what: format!("{} entries do not continue the {} that were published", head.size, before.size),
            },
            other => other.into(),
        })
    }

    /// The path of a proof that entry `index` is in the published head.
    pub fn inclusion(&self, index: u64) -> Result<Vec<Hash>> {
        self.inclusion_in(index, self.head.size)
    }

    /// The path of a proof that entry `index` is in the head that was published at `size` entries.
    pub fn inclusion_in(&self, index: u64, size: u64) -> Result<Vec<Hash>> {
        Ok(inclusion_proof(index, size, &self.reader())?)
    }

    /// The tiles of the published head, for proofs about it and about any head before it.
    pub fn reader(&self) -> impl TileReader + '_ {
        Disk { dir: &self.dir, size: self.head.size }
    }

    /// The published checkpoint, as signed, with the cosignatures that it has so far.
    pub fn checkpoint(&self) -> Result<String> {
        let path = self.dir.join(CHECKPOINT);
        std::fs::read_to_string(&path).map_err(StoreError::io("read", &path))
    }

    /// The newest checkpoint that a quorum of witnesses cosigned; nothing before there is one.
    pub fn witnessed(&self) -> Result<Option<String>> {
        let path = self.dir.join(WITNESSED);
        match std::fs::read_to_string(&path) {
            Ok(note) => Ok(Some(note)),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(StoreError::io("read", &path)(e)),
        }
    }

    /// Publishes a checkpoint of this log with cosignatures (tlog-cosignature v1.0.1): in place of the published one if that
    /// is still the same head, and, with those of a quorum, as the newest witnessed one, which never goes back.
    pub fn publish_cosigned(&self, note: &str, is_quorum: bool) -> Result<()> {
        let cosigned = Note::parse(note)?;
        let size = cosigned.text.parse::<Checkpoint>()?.size;
        if is_quorum && self.witnessed()?.is_none_or(|before| size_of(&before) <= Some(size)) {
            write_whole(&self.dir.join(WITNESSED), note.as_bytes(), 0o644)?;
        }
        let published = self.checkpoint()?;
        if published != note && Note::parse(&published)?.text == cosigned.text {
            write_whole(&self.dir.join(CHECKPOINT), note.as_bytes(), 0o644)?;
        }
        Ok(())
    }

    /// Published entries from `from` on, as [`Record`]s, at most one bundle of them; none where they were pruned.
    pub fn read(&self, from: u64) -> Result<Vec<(u64, Vec<u8>)>> {
        if from < self.pruned {
            return Ok(Vec::new());
        }
        let Some(bundle) = Bundle::in_tree(from / WIDTH, self.head.size) else { return Ok(Vec::new()) };
        let records = read_records(&self.dir, bundle)?;
        Ok(records.into_iter().filter(|(index, _)| *index >= from && *index < self.head.size).collect())
    }

    fn put_partial(&self, size: u64) -> Result<()> {
        if let Some(open) = Bundle::in_tree(size / WIDTH, size) {
            self.put(&open.path(), &self.bundle)?;
            self.private.put(open)?;
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
        self.private.tidy(old, new);
    }

    /// Writes a file in place: what a crash tears is above the head, and is written again from the log.
    fn put(&self, path: &str, bytes: &[u8]) -> Result<()> {
        write_in_place(&self.dir.join(path), bytes)
    }
}

/// The size in a checkpoint, whoever signed it; nothing where it is none.
fn size_of(note: &str) -> Option<u64> {
    Some(Note::parse(note).ok()?.text.parse::<Checkpoint>().ok()?.size)
}

/// The entries of a published bundle, as [`Record`]s; none where it was pruned. For readers beside the follower.
pub fn read_records(ledger: &Path, bundle: Bundle) -> Result<Vec<(u64, Vec<u8>)>> {
    let path = ledger.join(bundle.path());
    let bytes = match std::fs::read(&path) {
        Ok(bytes) => bytes,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound && u64::from(bundle.width) == WIDTH => return Ok(Vec::new()),
        Err(e) => return Err(StoreError::io("read", &path)(e)),
    };
    let mut private = Private::beside(ledger).read(bundle)?.into_iter();
    let first = bundle.index.saturating_mul(WIDTH);
    let record = |leaf: &[u8]| Record { leaf: leaf.to_vec(), private: private.next().unwrap_or_default() }.encode();
    Ok((first..).zip(decode_bundle(&bytes)?.into_iter().map(record)).collect())
}

fn partial_paths(size: u64) -> Vec<String> {
    let bundle = Bundle::in_tree(size / WIDTH, size).map(|b| b.path());
    Tile::partial(size).into_iter().map(|t| t.path()).chain(bundle).collect()
}

const READ_BYTES: usize = 4 << 20;
/// The file of the signed head.
const CHECKPOINT: &str = "checkpoint";
/// The file of the newest checkpoint with the cosignatures of a quorum.
pub(crate) const WITNESSED: &str = "checkpoint.witnessed";
/// The file that says below which entry bundles are missing on purpose.
pub(crate) const PRUNED: &str = "pruned";
