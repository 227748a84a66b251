//! The log's wire formats, and the verification of a whole log.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use marque_ledger::{
    Bundle, Checkpoint, Hash, LogFiles, Note, Result, Signature, Signer, Tile, TlogProof, Tree, Verifier, decode_bundle,
    decode_tile, encode_bundle, encode_tile, leaf_hash, open, verify_log,
};

/// [`Note`]: what is read is written the same, and opens only with a key that signed it.
pub fn ledger_note(data: &[u8]) {
    let Some(text) = text(data) else { return };
    let Ok(note) = Note::parse(text) else {
        return assert!(open(text, std::slice::from_ref(&LOG.verifier)).is_err(), "a note that does not parse opens");
    };
    assert_eq!(note.to_string(), text);
    for signature in &note.signatures {
        assert_eq!(signature.to_string().parse::<Signature>().as_ref(), Ok(signature));
    }
    if let Ok(opened) = open(text, std::slice::from_ref(&LOG.verifier)) {
        assert_eq!(Some(opened.text.as_bytes()), LOG.head().map(|head| head.text.into_bytes()).as_deref());
    }
}

/// [`Verifier`]: one way of being written.
pub fn ledger_verifier(data: &[u8]) {
    let Some(text) = text(data) else { return };
    if let Ok(verifier) = text.parse::<Verifier>() {
        assert_eq!(verifier.to_string(), text);
    }
}

/// [`Checkpoint`]: one way of being written.
pub fn ledger_checkpoint(data: &[u8]) {
    let Some(text) = text(data) else { return };
    if let Ok(checkpoint) = text.parse::<Checkpoint>() {
        assert_eq!(checkpoint.body(), text);
    }
    if let Ok(hash) = Hash::from_base64(text) {
        assert_eq!(hash.to_string(), text);
    }
}

/// [`TlogProof`]: one way of being written, and a proof of nothing but what is in the log.
pub fn ledger_proof(data: &[u8]) {
    let Some(text) = text(data) else { return };
    if let Ok(proof) = text.parse::<TlogProof>() {
        assert_eq!(proof.to_string(), text);
        let verified = proof.verify(b"not an entry", ORIGIN, std::slice::from_ref(&LOG.verifier));
        assert!(verified.is_err(), "an entry is proved that is not in the log: {verified:?}");
    }
}

/// [`decode_bundle`]: one way of being written.
pub fn ledger_bundle(data: &[u8]) {
    if let Ok(entries) = decode_bundle(data) {
        assert!(entries.len() <= 256);
        assert_eq!(encode_bundle(entries).as_deref(), Ok(data));
    }
}

/// [`decode_tile`]: one way of being written.
pub fn ledger_tile(data: &[u8]) {
    if let Ok(hashes) = decode_tile(data) {
        assert!((1..=256).contains(&hashes.len()));
        assert_eq!(encode_tile(&hashes), data);
    }
}

/// The paths of [`Tile`] and [`Bundle`]: one way of being written, and never both.
pub fn ledger_path(data: &[u8]) {
    let Some(text) = text(data) else { return };
    let (tile, bundle) = (text.parse::<Tile>(), text.parse::<Bundle>());
    assert!(tile.is_err() || bundle.is_err(), "{text}");
    if let Ok(tile) = tile {
        assert_eq!(tile.path(), text);
        assert!((1..=256).contains(&tile.width), "{text}");
    }
    if let Ok(bundle) = bundle {
        assert_eq!(bundle.path(), text);
        assert!((1..=256).contains(&bundle.width), "{text}");
    }
}

/// [`verify_log`] over a good log in which one file is replaced: the first line is its path, the rest its content.
///
/// A log that passes is the good one; a tile or bundle that differs does not pass.
pub fn ledger_verify_log(data: &[u8]) {
    let end = data.iter().position(|byte| *byte == b'\n').unwrap_or(data.len());
    let (path, content) = data.split_at_checked(end).unwrap_or_default();
    let content = content.get(1..).unwrap_or_default();
    let path = String::from_utf8_lossy(path).into_owned();
    let replaced = Replaced { path: &path, content };
    let mut entries = 0;
    let report = verify_log(&replaced, ORIGIN, std::slice::from_ref(&LOG.verifier), &mut |index, entry| {
        entries += 1;
        if entry == index.to_string().as_bytes() { Ok(()) } else { Err("is another entry".to_owned()) }
    });
    assert_eq!(report.entries_checked, entries);
    if report.is_ok() {
        assert_eq!((report.size, report.root), (SIZE, Some(LOG.root)));
        let good = LOG.files.get(&path).filter(|_| path != CHECKPOINT);
        assert!(good.is_none_or(|good| good == content), "a changed `{path}` was not found");
    }
}

/// A small log, made the same way each time.
pub(crate) struct Log {
    files: BTreeMap<String, Vec<u8>>,
    pub(crate) root: Hash,
    pub(crate) verifier: Verifier,
}

impl Log {
    /// Its signed head, as it stands in its file.
    pub(crate) fn checkpoint(&self) -> &str {
        self.files.get(CHECKPOINT).and_then(|bytes| text(bytes)).unwrap_or_default()
    }

    fn head(&self) -> Option<Note> {
        Note::parse(text(self.files.get(CHECKPOINT)?)?).ok()
    }

    fn make() -> Result<Self> {
        let signer = Signer::from_seed(ORIGIN, [1; 32])?;
        let (mut tree, mut tiles, mut files) = (Tree::default(), Vec::new(), BTreeMap::new());
        (0..SIZE).for_each(|index| tree.push(leaf_hash(index.to_string().as_bytes()), &mut tiles));
        tiles.extend(tree.partial_tiles());
        files.extend(tiles.iter().map(|(tile, hashes)| (tile.path(), encode_tile(hashes))));
        for bundle in (0..).map_while(|index| Bundle::in_tree(index, SIZE)) {
            let first = bundle.index * 256;
            let entries = (first..first + u64::from(bundle.width)).map(|index| index.to_string());
            files.insert(bundle.path(), encode_bundle(entries)?);
        }
        let head = Checkpoint { origin: ORIGIN.to_owned(), size: SIZE, root: tree.root(), extensions: Vec::new() };
        files.insert(CHECKPOINT.to_owned(), head.sign(&signer)?.into_bytes());
        Ok(Self { files, root: tree.root(), verifier: signer.verifier() })
    }
}

pub(crate) static LOG: LazyLock<Log> = LazyLock::new(sample);

#[expect(clippy::expect_used, reason = "the sample log is fixed")]
fn sample() -> Log {
    Log::make().expect("the sample log can be made")
}

/// The sample log with one file replaced.
struct Replaced<'a> {
    path: &'a str,
    content: &'a [u8],
}

impl LogFiles for Replaced<'_> {
    fn read(&self, path: &str) -> Result<Option<Vec<u8>>> {
        let replaced = (path == self.path).then(|| self.content.to_vec());
        Ok(replaced.or_else(|| LOG.files.get(path).cloned()))
    }
}

fn text(data: &[u8]) -> Option<&str> {
    std::str::from_utf8(data).ok()
}

pub(crate) const ORIGIN: &str = "ledger.example/log";
const CHECKPOINT: &str = "checkpoint";
pub(crate) const SIZE: u64 = 260;
