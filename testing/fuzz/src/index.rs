//! The files of the posting index: the manifest, and runs with their blocks. Checksums are put right where a mistake in
//! writing is meant, and not a disk's.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::Path;
use std::sync::LazyLock;

use marque_store::StoreError;
use marque_store::runs::{Found, Limits, Runs};
use tempfile::TempDir;

use crate::mutate::edited;

/// The manifest: bytes as they come, the same with their checksum behind them, and the good one with some bytes changed and
/// its checksum put right. One that is taken is written again as it was, and what it lists answers nothing that is not so.
pub fn index_manifest(data: &[u8]) {
    let body = SAMPLE.files.get(MANIFEST).and_then(|good| good.split_last_chunk::<4>()).map(|(body, _)| body);
    let changed = edited(body.unwrap_or_default(), data);
    for manifest in [data.to_vec(), checked(data), checked(&changed)] {
        let dir = laid(&SAMPLE.with(MANIFEST, manifest.clone()));
        // To take nothing out writes the manifest anew.
        let read = open(dir.path(), 0).and_then(|mut runs| Ok((runs.find(&keys(), MOST)?, runs.remove(&|_| false)?)));
        match read {
            Ok((found, gone)) => {
                assert_eq!((gone, std::fs::read(dir.path().join(MANIFEST)).ok()), (0, Some(manifest)));
                let is_so = |found: &Found| {
                    let good = SAMPLE.found.iter().find(|good| good.key == found.key);
                    good.is_some_and(|good| found.seqs.iter().all(|seq| good.seqs.contains(seq)))
                };
                assert!(found.iter().all(is_so), "{found:?}");
            }
            Err(error) => damage(&error),
        }
    }
}

/// A file of the index with some bytes changed. The first byte says which file; then there are three bytes to a change: the
/// place and the value. No change goes unnoticed, and under good checksums no reading of a run panics.
pub fn index_run(data: &[u8]) {
    let (which, edits) = data.split_first().unwrap_or((&0, &[]));
    let Some((name, good)) = SAMPLE.files.iter().nth(usize::from(*which) % 3) else { return };
    let changed = edited(good, edits);
    let files = SAMPLE.with(name, changed.clone());
    for filter in [0, KEPT] {
        match open(laid(&files).path(), filter).and_then(|mut runs| runs.find(&keys(), MOST)) {
            Ok(found) => assert!(changed == *good && found == SAMPLE.found, "a changed `{name}` is read"),
            Err(error) => {
                assert!(changed != *good, "{error}");
                damage(&error);
            }
        }
    }
    if let Some(number) = (0..2).find(|number| run(*number) == *name) {
        read_on(&SAMPLE.with_run(number, changed));
    }
}

/// A block of which only the checksum is as the format has it.
pub fn index_block(data: &[u8]) {
    let Some(good) = SAMPLE.files.get(&run(0)) else { return };
    let mut changed = good.clone();
    let body = data.get(..BLOCK - CRC).unwrap_or(data);
    put(&mut changed, CRC, &[0; BLOCK - CRC]);
    put(&mut changed, CRC, body);
    // Neither the filter nor the first key keeps a question away from the block.
    put(&mut changed, BLOCK, &[0xff; SLICE]);
    put(&mut changed, INDEX, &[0; 8]);
    read_on(&SAMPLE.with_run(0, changed));
}

/// To read an index ends, in an answer or in damage; and what a merge makes of it can be read.
fn read_on(files: &Files) {
    let dir = laid(files);
    let merged = open(dir.path(), KEPT).and_then(|mut runs| {
        assert!(runs.stats().postings <= 2 * BLOCK as u64, "{:?}", runs.stats());
        let found = runs.find(&keys(), 5)?;
        assert!(found.iter().all(|found| found.seqs.len() <= 5), "{found:?}");
        runs.settle()
    });
    match merged {
        Ok(()) => {
            let again = open(dir.path(), 0).and_then(|mut runs| runs.find(&keys(), MOST));
            assert!(again.is_ok(), "a merge made what cannot be read: {again:?}");
        }
        Err(error) => damage(&error),
    }
}

fn damage(error: &StoreError) {
    assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
}

fn open(dir: &Path, filter: u64) -> Result<Runs, StoreError> {
    Runs::open_with(dir, Limits { memtable: usize::MAX, step: 64, alike: 2, runs: 8, filter })
}

/// A directory with these files.
#[expect(clippy::expect_used, reason = "a target panics when a property breaks")]
fn laid(files: &Files) -> TempDir {
    let dir = tempfile::tempdir().expect("a directory");
    for (name, bytes) in files {
        std::fs::write(dir.path().join(name), bytes).expect("a file");
    }
    dir
}

/// The files of an index, by name.
type Files = BTreeMap<String, Vec<u8>>;

/// A good index of two runs of one block each, and what it answers.
struct Sample {
    files: Files,
    found: Vec<Found>,
}

impl Sample {
    fn make() -> Result<Self, Box<dyn Error>> {
        let dir = tempfile::tempdir()?;
        let mut runs = open(dir.path(), KEPT)?;
        for entry in 0..60 {
            [key(entry), key(entry % 9), 2].into_iter().for_each(|key| runs.add(key, entry));
            runs.advance(entry + 1)?;
            if entry == 29 {
                runs.flush()?;
            }
        }
        runs.flush()?;
        let found = runs.find(&keys(), MOST)?;
        let mut files = Files::new();
        for name in [run(0), run(1), MANIFEST.to_owned()] {
            let bytes = std::fs::read(dir.path().join(&name))?;
            files.insert(name, bytes);
        }
        Ok(Self { files, found })
    }

    fn with(&self, name: &str, bytes: Vec<u8>) -> Files {
        let mut files = self.files.clone();
        files.insert(name.to_owned(), bytes);
        files
    }

    /// With this run of one block in the place of another, and every checksum over it put right.
    fn with_run(&self, number: u64, mut bytes: Vec<u8>) -> Files {
        let place = [number.to_le_bytes(), [0; 8]].concat();
        let block = crc32c::crc32c_append(crc32c::crc32c(&place), part(&bytes, CRC, BLOCK));
        put(&mut bytes, 0, &block.to_le_bytes());
        let slice = crc32c::crc32c(part(&bytes, BLOCK, INDEX));
        put(&mut bytes, INDEX + 8, &slice.to_le_bytes());
        let index = crc32c::crc32c(part(&bytes, INDEX, FOOTER));
        put(&mut bytes, FOOTER + 40, &index.to_le_bytes());
        let footer = crc32c::crc32c(part(&bytes, FOOTER, FOOTER + 44)).to_le_bytes();
        put(&mut bytes, FOOTER + 44, &footer);
        let mut manifest = self.files.get(MANIFEST).cloned().unwrap_or_default();
        manifest.truncate(manifest.len().saturating_sub(CRC));
        put(&mut manifest, if number == 0 { LISTED + 16 } else { LISTED + 36 }, &footer);
        let mut files = self.with(MANIFEST, checked(&manifest));
        files.insert(run(number), bytes);
        files
    }
}

static SAMPLE: LazyLock<Sample> = LazyLock::new(sample);

#[expect(clippy::expect_used, reason = "the sample is fixed")]
fn sample() -> Sample {
    Sample::make().expect("the sample can be made")
}

/// With the checksum of all of it behind it.
fn checked(bytes: &[u8]) -> Vec<u8> {
    [bytes, &crc32c::crc32c(bytes).to_le_bytes()].concat()
}

fn part(bytes: &[u8], from: usize, to: usize) -> &[u8] {
    bytes.get(from..to).unwrap_or_default()
}

fn put(bytes: &mut [u8], at: usize, what: &[u8]) {
    if let Some(to) = bytes.get_mut(at..at + what.len()) {
        to.copy_from_slice(what);
    }
}

fn run(number: u64) -> String {
    format!("{number:020}.run")
}

/// Every key of the sample, and some that it does not have.
fn keys() -> Vec<u64> {
    (0..70).map(key).chain([0, 1, 2, u64::MAX]).collect()
}

fn key(n: u64) -> u64 {
    (n + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

const MANIFEST: &str = "manifest";
/// More than any key of the sample has.
const MOST: usize = 100;
/// A filter of this size is kept in memory.
const KEPT: u64 = 1 << 20;
/// The places in a run of one block: block, slice of the filter, index, footer.
const BLOCK: usize = 4096;
const SLICE: usize = 512;
const INDEX: usize = BLOCK + SLICE;
const FOOTER: usize = INDEX + 12;
const CRC: usize = 4;
/// Where the manifest lists the first run; each takes 20 bytes, of which the last four are the checksum.
const LISTED: usize = 28;
