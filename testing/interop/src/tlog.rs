//! Three crates on the log's files: `tlog_tiles` for the tiles and proofs, `signed_note` for the checkpoint's signature,
//! `ct-merkle` for the root.

use std::path::{Path, PathBuf};
use std::time::Duration;

use ct_merkle::mem_backed_tree::MemoryBackedTree;
use serde_json::Value;
use sha2::Sha256;
use signed_note::{Note, StandardVerifier, VerifierList};
use tlog_tiles::{Checkpoint, Hash, Tile, TileHashReader, TileReader};

use crate::fault::{Fault, Heard, Result, need};
use crate::process::Stopwatch;
use crate::site::Site;

/// A site's log, with a copy of it that nobody writes to.
#[derive(Debug)]
pub struct Log<'a> {
    /// The server that has it.
    pub site: &'a Site,
    /// Where the copy is.
    pub dir: PathBuf,
    /// The verifier key.
    pub key: String,
}

/// Waits until nothing more is written and a checkpoint covers all that was: then whoever reads the log sees one tree.
fn settle(site: &Site) -> Result<()> {
    let watch = Stopwatch::start();
    let mut before = None;
    loop {
        let status = site.marque(&["status"], "")?;
        let entries = status.get("entries").and_then(Value::as_u64);
        let covered = head(&std::fs::read(site.ledger().join("checkpoint"))?)?.size();
        if entries == Some(covered) && before == entries {
            return Ok(());
        }
        need(watch.elapsed() < PATIENCE, format!("a checkpoint covers {covered} entries: {status}"))?;
        before = entries;
        std::thread::sleep(CHECKPOINT);
    }
}

fn copy_tree(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_tree(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

/// `tlog_tiles`: the checkpoint's text, inclusion of entries, and an older tree as the start of this one.
pub fn tiles(log: &Log<'_>) -> Result<Heard> {
    let head = head(&log.checkpoint()?)?;
    need(head.origin() == log.origin()?, format!("the checkpoint is of `{}`", head.origin()))?;
    let (size, root) = (head.size(), *head.hash());
    let entries = log.entries(size)?;
    let reader = TileHashReader::new(size, root, log);
    let (mut proved, mut continued) = (0, 0);
    for index in [0, 1, size / 3, 255, 256, size / 2, size.saturating_sub(1)].into_iter().filter(|index| *index < size) {
        let entry = usize::try_from(index).ok().and_then(|at| entries.get(at));
        let entry = entry.ok_or_else(|| Fault::new(format!("there is no entry {index}")))?;
        let proof = tlog_tiles::prove_record(size, index, &reader)?;
        tlog_tiles::check_record(&proof, size, root, index, tlog_tiles::record_hash(entry))?;
        let forged = tlog_tiles::check_record(&proof, size, root, index, tlog_tiles::record_hash(b"another entry"));
        need(forged.is_err(), format!("another entry passes for entry {index}"))?;
        proved += 1;
    }
    for older in [1, 255, 256, size.saturating_sub(1)].into_iter().filter(|older| *older < size) {
        let start: Hash = tlog_tiles::tree_hash(older, &reader)?;
        let proof = tlog_tiles::prove_tree(size, older, &reader)?;
        tlog_tiles::check_tree(&proof, size, root, older, start)?;
        continued += 1;
    }
    let seen = format!("{size} entries, {proved} inclusion proofs and {continued} consistency proofs from the tiles");
    Ok(Heard::seen(seen).of_tree(size, root))
}

/// `signed_note`: the signature holds, and does not for another text.
pub fn note(log: &Log<'_>) -> Result<Heard> {
    let bytes = log.checkpoint()?;
    let verifiers = VerifierList::new(vec![Box::new(StandardVerifier::new(&log.key)?)]);
    let note = Note::from_bytes(&bytes)?;
    let (verified, unknown) = note.verify(&verifiers)?;
    need(verified.len() == 1, format!("{} signatures are the log's", verified.len()))?;
    let head = head(&bytes)?;
    let size = head.size();
    let text = String::from_utf8_lossy(&bytes).replacen(&format!("\n{size}\n"), &format!("\n{}\n", size + 1), 1);
    let forged = Note::from_bytes(text.as_bytes())?;
    need(forged.verify(&verifiers).is_err(), "the signature holds for another size")?;
    let name = verified.first().map_or("", |signature| signature.name());
    let seen = format!("signed by {name}, {} other signatures; not for another size", unknown.len());
    Ok(Heard::seen(seen).of_tree(size, head.hash()))
}

/// `ct-merkle`: the entries hash to the root (RFC 6962 section 2.1).
pub fn tree(log: &Log<'_>) -> Result<Heard> {
    let head = head(&log.checkpoint()?)?;
    let mut tree = MemoryBackedTree::<Sha256, Vec<u8>>::new();
    for entry in log.entries(head.size())? {
        tree.push(entry);
    }
    let root = tree.root();
    need(root.as_bytes().as_slice() == head.hash().0.as_slice(), "the entries do not hash to the signed root")?;
    let (size, root) = (root.num_leaves(), *head.hash());
    Ok(Heard::seen(format!("{size} entries hash to {root}")).of_tree(size, root))
}

/// The tree head of a note, whose signature is not looked at here.
fn head(note: &[u8]) -> Result<Checkpoint> {
    let mut text = note;
    Checkpoint::from_reader(&mut text, false).map_err(|error| Fault::new(error.to_string()))
}

impl<'a> Log<'a> {
    /// Copies what a site's log has now to a new folder `dir`.
    pub fn copy(site: &'a Site, dir: PathBuf) -> Result<Self> {
        settle(site)?;
        let ledger = site.ledger();
        let key = std::fs::read_to_string(ledger.join("verifier"))?.trim().to_owned();
        std::fs::create_dir_all(&dir)?;
        // The checkpoint first: the files that it speaks of are there before it is.
        std::fs::copy(ledger.join("checkpoint"), dir.join("checkpoint"))?;
        copy_tree(&ledger.join("tile"), &dir.join("tile"))?;
        Ok(Self { site, dir, key })
    }

    /// Where a judge may write something about this log.
    pub fn beside(&self, name: &str) -> String {
        self.dir.with_extension(name).display().to_string()
    }

    /// Something that `marque demo` left, where that wrote the log.
    pub fn left(&self, name: &str) -> Option<String> {
        self.site.demo.as_ref().map(|left| left.join(name).display().to_string())
    }

    /// How many entries the copy has.
    pub fn size(&self) -> Result<u64> {
        Ok(head(&self.checkpoint()?)?.size())
    }

    /// The log's name, as its key says it.
    pub fn origin(&self) -> Result<&str> {
        self.key.split_once('+').map(|(name, _)| name).ok_or_else(|| Fault::new("the verifier key has no name"))
    }

    fn checkpoint(&self) -> Result<Vec<u8>> {
        Ok(std::fs::read(self.dir.join("checkpoint"))?)
    }

    /// All entries, out of their bundles.
    fn entries(&self, size: u64) -> Result<Vec<Vec<u8>>> {
        let mut entries = Vec::new();
        for bundle in 0..size.div_ceil(WIDTH) {
            let width = u32::try_from((size - bundle * WIDTH).min(WIDTH))?;
            let bytes = self.file(&Tile::new(HEIGHT, 0, bundle, width, true))?;
            let list = split(&bytes).ok_or_else(|| Fault::new(format!("bundle {bundle} ends within an entry")))?;
            entries.extend(list.into_iter().take(usize::try_from(width)?));
        }
        need(u64::try_from(entries.len())? == size, format!("{} entries of {size}", entries.len()))?;
        Ok(entries)
    }

    /// A tile's file; where a partial one was removed, the full one stands for it.
    fn file(&self, tile: &Tile) -> Result<Vec<u8>> {
        let full = Tile::new(HEIGHT, tile.level(), tile.level_index(), FULL, tile.is_data());
        let found = [tile, &full].into_iter().find_map(|tile| std::fs::read(self.dir.join(path(tile))).ok());
        found.ok_or_else(|| Fault::new(format!("`{}` is missing", path(tile))))
    }
}

/// C2SP tlog-tiles has no height in its paths, and other words for the bundles.
fn path(tile: &Tile) -> String {
    tile.path().replacen("tile/8/", "tile/", 1).replacen("tile/data/", "tile/entries/", 1)
}

/// The entries of a bundle: each behind its length in two bytes.
fn split(mut bytes: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut entries = Vec::new();
    while !bytes.is_empty() {
        let (length, rest) = bytes.split_at_checked(2)?;
        let (entry, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(length.try_into().ok()?)))?;
        entries.push(entry.to_vec());
        bytes = rest;
    }
    Some(entries)
}

impl TileReader for Log<'_> {
    fn height(&self) -> u8 {
        HEIGHT
    }

    fn read_tiles(&self, tiles: &[Tile]) -> std::result::Result<Vec<Vec<u8>>, tlog_tiles::Error> {
        let read = |tile: &Tile| {
            let mut bytes = self.file(tile).map_err(|fault| tlog_tiles::Error::InvalidInput(fault.to_string()))?;
            bytes.truncate(usize::try_from(tile.width()).unwrap_or(usize::MAX).saturating_mul(tlog_tiles::HASH_SIZE));
            Ok(bytes)
        };
        tiles.iter().map(read).collect()
    }

    fn save_tiles(&self, _: &[Tile], _: &[Vec<u8>]) {}
}

const HEIGHT: u8 = 8;
const FULL: u32 = 256;
const WIDTH: u64 = 256;
/// A little more than the time to the next checkpoint.
const CHECKPOINT: Duration = Duration::from_millis(1_200);
const PATIENCE: Duration = Duration::from_secs(20);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_have_the_paths_of_the_specification() {
        assert_eq!(path(&Tile::new(HEIGHT, 0, 0, 44, false)), "tile/0/000.p/44");
        assert_eq!(path(&Tile::new(HEIGHT, 1, 1_234_067, FULL, false)), "tile/1/x001/x234/067");
        assert_eq!(path(&Tile::new(HEIGHT, 0, 1, 7, true)), "tile/entries/001.p/7");
    }

    #[test]
    fn a_bundle_is_split_or_is_broken() {
        assert_eq!(split(b"\x00\x01a\x00\x00").unwrap(), [b"a".to_vec(), Vec::new()]);
        assert!(split(b"\x00").is_none());
        assert!(split(b"\x00\x02a").is_none());
    }
}
