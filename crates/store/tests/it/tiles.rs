//! The tiles: what they publish is verified from their files alone, and crashes and forks are told apart.

use std::path::{Path, PathBuf};

use marque_ledger::{Checkpoint, Hash, LogFiles, Signer, Tree, leaf_hash, verify_inclusion, verify_log};
use marque_store::StoreError;
use marque_store::log::Log;
use marque_store::tiles::{Head, Tiles};

use super::disk::{append, entries, files};

pub(crate) const ORIGIN: &str = "example.org/marque/log";

/// A directory as a web server would give it.
struct Served<'a>(&'a Path);

impl LogFiles for Served<'_> {
    fn read(&self, path: &str) -> marque_ledger::Result<Option<Vec<u8>>> {
        Ok(std::fs::read(self.0.join(path)).ok())
    }
}

/// A log and the directory of its tiles.
pub(crate) struct Site {
    dir: tempfile::TempDir,
    log: Log,
}

impl Site {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let log = Log::open(&dir.path().join("log"), 0).unwrap();
        Self { dir, log }
    }

    pub(crate) fn ledger(&self) -> PathBuf {
        self.dir.path().join("ledger")
    }

    pub(crate) fn open(&self) -> Tiles {
        Tiles::open(&self.ledger(), ORIGIN).unwrap()
    }

    fn grow(&self, size: u64) {
        while self.log.durable() < size {
            let first = self.log.durable();
            append(&self.log, (first..size.min(first + 10_000)).map(entry).collect());
        }
    }

    /// Checks every file against the entries, and what is opened again against what was published.
    fn verify(&self, head: Head) {
        let mut seen = 0;
        let mut on_entry = |index: u64, bytes: &[u8]| {
            seen += 1;
            if bytes == entry(index) { Ok(()) } else { Err("another entry".to_owned()) }
        };
        let report = verify_log(&Served(&self.ledger()), ORIGIN, &[signer().verifier()], &mut on_entry);
        assert!(report.is_ok(), "size {}: {:?}", head.size, report.faults);
        assert_eq!((report.size, report.root, report.entries_checked, seen), (head.size, Some(head.root), head.size, head.size));
        let again = self.open();
        assert_eq!((again.head(), again.size()), (head, head.size));
    }
}

pub(crate) fn entry(index: u64) -> Vec<u8> {
    index.to_string().into_bytes()
}

pub(crate) fn signer() -> Signer {
    Signer::from_seed(ORIGIN, [1; 32]).unwrap()
}

#[test]
fn what_is_published_verifies_at_every_size() {
    let site = Site::new();
    let mut tiles = site.open();
    let nothing = tiles.publish(&signer()).unwrap();
    assert_eq!(nothing.size, 0);
    site.verify(nothing);
    for size in [1, 255, 256, 257, 70_000] {
        site.grow(size);
        tiles.follow(&site.log).unwrap();
        assert_eq!((tiles.size(), tiles.head().size < size), (size, true), "cut, not yet published");
        let head = tiles.publish(&signer()).unwrap();
        assert_eq!((head, head.size), (tiles.head(), size));
        site.verify(head);
        let files_before = files(&site.ledger());
        assert_eq!(tiles.publish(&signer()).unwrap(), head);
        assert!(files(&site.ledger()) == files_before, "nothing new, nothing written");
        if size == 257 {
            // From here on by a follower that starts again in the middle of a bundle.
            tiles = site.open();
        }
    }
    let head = tiles.head();
    for index in [0, 1, 255, 256, 65_535, 65_536, 69_887, 69_888, 69_999] {
        let proof = tiles.inclusion(index).unwrap();
        verify_inclusion(leaf_hash(&entry(index)), index, head.size, &proof, head.root).unwrap();
        assert!(verify_inclusion(leaf_hash(b"another"), index, head.size, &proof, head.root).is_err());
        let part = tiles.read(index).unwrap();
        assert_eq!(part.first(), Some(&(index, entry(index))));
        assert!(part.iter().zip(index..).all(|((found, bytes), n)| *found == n && *bytes == entry(n)));
    }
    assert!(tiles.inclusion(70_000).is_err());
    assert!(tiles.read(70_000).unwrap().is_empty());
    assert!(tiles.checkpoint().unwrap().starts_with(&format!("{ORIGIN}\n70000\n{}\n", head.root)));
}

/// Killed after some tiles were written and before the head: the same log is published in the end.
#[test]
fn a_crash_between_tiles_and_head_changes_nothing() {
    let site = Site::new();
    let mut tiles = site.open();
    for (n, size) in [1, 200, 256, 300, 511, 512, 770].into_iter().enumerate() {
        let published = tiles.publish(&signer()).unwrap();
        let before = files(&site.ledger());
        site.grow(size);
        tiles.follow(&site.log).unwrap();
        let head = tiles.publish(&signer()).unwrap();

        // What belongs to the old head is as it was; what is above it is torn or missing.
        for path in files(&site.ledger()).into_keys().filter(|path| !before.contains_key(path)) {
            match n % 3 {
                0 => std::fs::write(path, b"torn").unwrap(),
                1 => std::fs::remove_file(path).unwrap(),
                _ => {}
            }
        }
        for (path, bytes) in before {
            std::fs::write(path, bytes).unwrap();
        }
        tiles = site.open();
        assert_eq!((tiles.head(), tiles.size()), (published, published.size));
        tiles.follow(&site.log).unwrap();
        assert_eq!(tiles.publish(&signer()).unwrap(), head);
        site.verify(head);
    }
}

/// Killed after the head and before the checkpoint: the checkpoint follows, though nothing is new.
#[test]
fn a_crash_between_head_and_checkpoint_is_made_good() {
    let site = Site::new();
    let mut tiles = site.open();
    let checkpoint = site.ledger().join("checkpoint");
    for size in [3, 256, 300] {
        tiles.publish(&signer()).unwrap();
        let old = std::fs::read(&checkpoint).unwrap();
        site.grow(size);
        tiles.follow(&site.log).unwrap();
        let head = tiles.publish(&signer()).unwrap();
        std::fs::write(&checkpoint, old).unwrap();
        tiles = site.open();
        assert_eq!(tiles.head(), head);
        tiles.follow(&site.log).unwrap();
        assert_eq!(tiles.publish(&signer()).unwrap(), head);
        site.verify(head);
    }
}

/// INVARIANT I6: a head that the tiles do not give is never gone on from.
#[test]
fn a_head_that_contradicts_the_tiles_is_refused() {
    let site = Site::new();
    site.grow(300);
    let mut tiles = site.open();
    tiles.follow(&site.log).unwrap();
    let head = tiles.publish(&signer()).unwrap();
    let path = site.ledger().join("head");
    let good = std::fs::read(&path).unwrap();
    let open = |text: &str| {
        std::fs::write(&path, text).unwrap();
        Tiles::open(&site.ledger(), ORIGIN)
    };
    assert!(matches!(open(&format!("300\n{}\n", Hash([7; 32]))), Err(StoreError::Contradicted { .. })), "another root");
    assert!(open(&format!("299\n{}\n", head.root)).is_err(), "another size");
    assert!(open(&format!("301\n{}\n", head.root)).is_err(), "another size");
    for torn in ["", "300", "300\n", &format!("300\n{}", head.root), "x\ny\n"] {
        assert!(matches!(open(torn), Err(StoreError::Damaged { .. })), "{torn:?}");
    }
    std::fs::write(&path, good).unwrap();

    let tile = site.ledger().join("tile/0/001.p/44");
    let mut hashes = std::fs::read(&tile).unwrap();
    hashes[40] ^= 1;
    std::fs::write(&tile, &hashes).unwrap();
    assert!(matches!(Tiles::open(&site.ledger(), ORIGIN), Err(StoreError::Contradicted { .. })), "another hash in a tile");
    hashes[40] ^= 1;
    std::fs::write(&tile, &hashes).unwrap();
    site.verify(head);
}

/// INVARIANT I6: a log that has lost what was published is never gone on from.
#[test]
fn a_log_shorter_than_its_head_is_refused() {
    let site = Site::new();
    site.grow(10);
    let mut tiles = site.open();
    tiles.follow(&site.log).unwrap();
    let head = tiles.publish(&signer()).unwrap();
    let other = site.dir.path().join("other");
    let log = Log::open(&other, 0).unwrap();
    append(&log, (0..9).map(entry).collect());
    drop(log);
    assert!(matches!(Log::open(&other, head.size), Err(StoreError::Contradicted { .. })));
    let log = Log::open(&other, 9).unwrap();
    append(&log, vec![entry(9)]);
    drop(log);
    assert_eq!(entries(&Log::open(&other, head.size).unwrap(), 0).len(), 10);
}

/// INVARIANT I6: a bit that rots in any file of the published log, while the follower runs or before it starts: whoever
/// verifies finds it, and every checkpoint that is signed afterwards is over the entries as they were.
#[test]
fn a_rotten_bit_in_any_file_is_found_and_never_signed_over() {
    let names: Vec<PathBuf> = {
        let (site, _) = Site::published(600);
        files(&site.ledger()).into_keys().map(|path| path.strip_prefix(site.ledger()).unwrap().to_owned()).collect()
    };
    let shown: Vec<&str> = names.iter().map(|name| name.to_str().unwrap()).collect();
    for kind in ["checkpoint", "head", "tile/0/000", "tile/0/002.p/88", "tile/1/000.p/2", "tile/entries/000"] {
        assert!(shown.contains(&kind), "{kind} is not among {shown:?}");
    }
    for name in shown {
        for restarted in [false, true] {
            let context = format!("`{name}`, restarted: {restarted}");
            let (site, mut tiles) = Site::published(600);
            assert_eq!(site.faults(), 0, "{context}: before");
            rot(&site.ledger().join(name));
            // The head is the follower's own note; no reader is given it.
            assert!(site.faults() > 0 || name == "head", "{context}: nobody finds it");
            for size in [601, 768, 1_100] {
                if restarted {
                    let Ok(again) = Tiles::open(&site.ledger(), ORIGIN) else { break };
                    tiles = again;
                }
                site.grow(size);
                let published = tiles.follow(&site.log).and_then(|()| tiles.publish(&signer()));
                site.has_no_fork(&context);
                match published {
                    Ok(head) => assert_eq!((head.size, head.root), (size, root(size)), "{context}"),
                    // It has stopped for good, until it is opened again.
                    Err(_) if !restarted => assert!(tiles.publish(&signer()).is_err(), "{context}"),
                    Err(_) => {}
                }
            }
        }
    }
}

/// INVARIANT I6: what could not be written stops the follower for good, also when there is room again: else a head would be
/// signed over a file that is missing, and the log would let go of the entries in it.
#[test]
fn a_follower_that_could_not_write_goes_on_only_when_it_is_opened_again() {
    for obstacle in ["tile/entries/001", "tile/0/001", "tile/0/002.p/8", "tile/entries/002.p/8", ".head.tmp", ".checkpoint.tmp"] {
        let (site, mut tiles) = Site::published(300);
        let (before, path) = (tiles.head(), site.ledger().join(obstacle));
        std::fs::create_dir_all(&path).unwrap();
        site.grow(520);
        let failed = tiles.follow(&site.log).and_then(|()| tiles.publish(&signer()));
        assert!(matches!(failed, Err(StoreError::Io { .. })), "`{obstacle}`: {failed:?}");
        std::fs::remove_dir(&path).unwrap();
        for _ in 0..2 {
            assert!(matches!(tiles.follow(&site.log), Err(StoreError::Stopped { .. })), "`{obstacle}`");
            assert!(matches!(tiles.publish(&signer()), Err(StoreError::Stopped { .. })), "`{obstacle}`");
        }
        assert_eq!(tiles.head(), before, "`{obstacle}`");
        site.has_no_fork(obstacle);

        let mut again = site.open();
        again.follow(&site.log).unwrap();
        let head = again.publish(&signer()).unwrap();
        assert_eq!(head.root, root(520), "`{obstacle}`");
        site.verify(head);
    }
}

impl Site {
    /// A log that is published as far as it reaches, with its follower.
    pub(crate) fn published(size: u64) -> (Self, Tiles) {
        let site = Self::new();
        let mut tiles = site.open();
        site.grow(size);
        tiles.follow(&site.log).unwrap();
        tiles.publish(&signer()).unwrap();
        (site, tiles)
    }

    /// How many faults a reader of the files finds.
    fn faults(&self) -> usize {
        let report = verify_log(&Served(&self.ledger()), ORIGIN, &[signer().verifier()], &mut |index: u64, bytes: &[u8]| {
            if bytes == entry(index) { Ok(()) } else { Err("another entry".to_owned()) }
        });
        report.faults.len()
    }

    /// Whatever is signed on the disk is the head of the entries as they were.
    fn has_no_fork(&self, context: &str) {
        let note = std::fs::read_to_string(self.ledger().join("checkpoint")).unwrap_or_default();
        if let Ok(signed) = Checkpoint::open(&note, ORIGIN, &[signer().verifier()]) {
            assert_eq!(signed.root, root(signed.size), "{context}: a fork is signed");
        }
    }
}

/// Flips a bit in the middle of a file.
fn rot(path: &Path) {
    let mut bytes = std::fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x10;
    std::fs::write(path, bytes).unwrap();
}

/// The root over the first entries, from nothing but themselves.
fn root(size: u64) -> Hash {
    let mut tree = Tree::default();
    (0..size).for_each(|index| tree.push(leaf_hash(&entry(index)), &mut Vec::new()));
    tree.root()
}
