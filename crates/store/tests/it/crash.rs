//! Killed at every byte: what was acknowledged is there, and the last batch is there whole or not at all.

use std::path::{Path, PathBuf};

use marque_store::StoreError;
use marque_store::log::{Log, MAX_ENTRY};

use super::disk::{append, entries, segments};

/// The size of a batch's header, as the format says.
const HEADER: usize = 24;

/// What a crash leaves behind the place where the write stopped.
#[derive(Clone, Copy, Debug)]
enum Damage {
    Zeros,
    Flip,
    Ones,
}

impl Damage {
    fn apply(self, rest: &mut [u8]) {
        match self {
            Self::Zeros => rest.fill(0),
            Self::Flip => rest[0] ^= 0x10,
            Self::Ones => rest.fill(0xff),
        }
    }
}

/// A log whose segment file is cut short, so that reading all of it takes no time.
struct Small {
    dir: tempfile::TempDir,
    file: PathBuf,
}

impl Small {
    fn new(batches: &[Vec<Vec<u8>>]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let log = Log::open(dir.path(), 0).unwrap();
        for batch in batches {
            append(&log, batch.clone());
        }
        drop(log);
        let file = segments(dir.path()).pop().unwrap();
        std::fs::OpenOptions::new().write(true).open(&file).unwrap().set_len(64 << 10).unwrap();
        Self { dir, file }
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    fn bytes(&self) -> Vec<u8> {
        std::fs::read(&self.file).unwrap()
    }

    fn put(&self, bytes: &[u8]) {
        std::fs::write(&self.file, bytes).unwrap();
    }
}

/// Where the meaningful bytes of a batch begin and end, and where its padding does.
fn place(bytes: &[u8], batch: &[Vec<u8>]) -> (usize, usize, usize) {
    let at = bytes.windows(batch[0].len()).position(|window| window == batch[0]).unwrap();
    let (start, payload) = (at - 4 - HEADER, batch.iter().map(|entry| 4 + entry.len()).sum::<usize>());
    let end = start + HEADER + payload;
    (start, end, end.next_multiple_of(16))
}

fn batch(name: &str, n: usize) -> Vec<Vec<u8>> {
    vec![format!("{name}-{n:04}").into_bytes(), Vec::new(), b"the last of its batch".to_vec()]
}

#[test]
fn the_last_batch_is_there_whole_or_not_at_all() {
    let first = [batch("first", 0), batch("first", 1)];
    let small = Small::new(&first);
    let mut acknowledged = first.concat();
    let mut steps = 0;
    let mut whole = 0;
    for damage in [Damage::Zeros, Damage::Flip, Damage::Ones] {
        let mut offset = 0;
        loop {
            // Each opening checks the damage before it, and that what was appended after that one is there to stay.
            let log = Log::open(small.path(), 0).unwrap();
            assert!(entries(&log, 0) == acknowledged, "{damage:?} before byte {offset}");
            let after = vec![format!("after-{steps:04}").into_bytes()];
            assert_eq!(append(&log, after.clone()), acknowledged.len() as u64);
            acknowledged.extend(after);
            let last = batch("last", steps);
            append(&log, last.clone());
            assert!(entries(&log, 0) == [acknowledged.as_slice(), &last].concat());
            drop(log);

            let mut bytes = small.bytes();
            let (start, end, padded) = place(&bytes, &last);
            assert!(bytes[padded..].iter().all(|b| *b == 0), "nothing is behind the last batch");
            damage.apply(&mut bytes[start + offset..]);
            small.put(&bytes);
            if start + offset >= end {
                acknowledged.extend(last);
                whole += 1;
            }
            steps += 1;
            offset += 1;
            if start + offset == padded {
                break;
            }
        }
    }
    assert!(steps > 200 && whole > 0);
    assert!(entries(&Log::open(small.path(), 0).unwrap(), 0) == acknowledged);
}

/// An acknowledged batch with a good one behind it is never taken for a torn one.
#[test]
fn damage_before_the_last_batch_is_never_dropped() {
    let batches = [batch("first", 0), batch("second", 0), batch("third", 0)];
    let small = Small::new(&batches);
    let good = small.bytes();
    let refused = |bytes: &[u8], what: &str| {
        small.put(bytes);
        assert!(matches!(Log::open(small.path(), 0), Err(StoreError::Damaged { .. })), "{what}");
        assert!(small.bytes() == bytes, "what is damaged is left as it is: {what}");
    };
    for (n, damaged) in batches[..2].iter().enumerate() {
        let (start, end, padded) = place(&good, damaged);
        for at in start..end {
            let mut bytes = good.clone();
            bytes[at] ^= 0x10;
            refused(&bytes, &format!("byte {} of batch {n}", at - start));
        }
        let mut bytes = good.clone();
        bytes[start..padded].fill(0);
        refused(&bytes, &format!("batch {n} is zeros"));
    }
    small.put(&good);
    assert!(entries(&Log::open(small.path(), 0).unwrap(), 0) == batches.concat());
}

/// The end of a segment is not the end of the log.
#[test]
fn damage_before_the_last_segment_is_never_dropped() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::open(dir.path(), 0).unwrap();
    for n in 0..5 {
        append(&log, vec![vec![n; MAX_ENTRY]; 60]);
    }
    drop(log);
    let files = segments(dir.path());
    assert_eq!(files.len(), 2, "four batches, then one");

    let good = std::fs::read(&files[0]).unwrap();
    let mut bytes = good.clone();
    let last_of_first = 3 * (HEADER + 60 * (4 + MAX_ENTRY)).next_multiple_of(16);
    bytes[last_of_first + 1000] ^= 1;
    std::fs::write(&files[0], &bytes).unwrap();
    assert!(matches!(Log::open(dir.path(), 0), Err(StoreError::Damaged { .. })));
    std::fs::remove_file(&files[0]).unwrap();
    assert!(matches!(Log::open(dir.path(), 0), Err(StoreError::Damaged { .. })), "missing, and not in tiles");
    assert_eq!(entries(&Log::open(dir.path(), 240).unwrap(), 240).len(), 60);
    std::fs::write(&files[0], &good).unwrap();
    assert_eq!(entries(&Log::open(dir.path(), 0).unwrap(), 0).len(), 300);
}

/// A log that does not reach to its published head is left as it was found: what looks torn there may be what is missing.
#[test]
fn what_contradicts_its_head_is_left_as_it_is() {
    let batches = [batch("first", 0), batch("second", 0)];
    let small = Small::new(&batches);
    let mut bytes = small.bytes();
    let (start, ..) = place(&bytes, &batches[1]);
    bytes[start + HEADER + 5] ^= 1;
    small.put(&bytes);
    for _ in 0..2 {
        assert!(matches!(Log::open(small.path(), 6), Err(StoreError::Contradicted { .. })));
        assert!(small.bytes() == bytes);
    }
    // Where nothing of it was published, it is the torn end of the log.
    assert!(entries(&Log::open(small.path(), 3).unwrap(), 0) == batches[0]);
}
