//! The log: appending, reading back, reopening, letting go.

use marque_store::log::{Log, MAX_ENTRY};
use marque_store::{StateDir, StoreError};
use proptest::prelude::*;

use super::disk::{append, entries, segments};

/// An entry that knows its index.
fn entry(index: u64, length: usize) -> Vec<u8> {
    let mut entry = vec![(index % 251) as u8; length];
    entry.iter_mut().zip(index.to_le_bytes()).for_each(|(slot, byte)| *slot = byte);
    entry
}

/// The entries of one append that begins at `first`.
fn numbered(first: u64, lengths: &[usize]) -> Vec<Vec<u8>> {
    (first..).zip(lengths).map(|(index, length)| entry(index, *length)).collect()
}

fn read_back(log: &Log, from: u64, lengths: &[usize]) {
    assert_eq!(log.durable(), lengths.len() as u64);
    let read = entries(log, from);
    assert_eq!(read.len() as u64, log.durable() - from);
    for (index, entry_read) in (from..).zip(&read) {
        assert!(*entry_read == entry(index, lengths[index as usize]), "entry {index}");
    }
}

/// Sixty of the largest entries: four such batches fill a segment.
fn big(log: &Log, lengths: &mut Vec<usize>, batches: usize) {
    for _ in 0..batches {
        let first = lengths.len() as u64;
        lengths.extend([MAX_ENTRY; 60]);
        assert_eq!(append(log, numbered(first, &[MAX_ENTRY; 60])), first);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4))]

    /// What is appended reads back in order, whatever its sizes, across segments and reopenings.
    #[test]
    fn what_is_appended_reads_back(
        appends in prop::collection::vec(prop::collection::vec(0_usize..=MAX_ENTRY, 1..50), 16..36),
        awaited in prop::collection::vec(any::<bool>(), 36),
        reopened_at in 0_usize..36,
    ) {
        let dir = tempfile::tempdir().unwrap();
        let mut log = Log::open(dir.path(), 0).unwrap();
        let mut lengths: Vec<usize> = Vec::new();
        let mut pending = Vec::new();
        for (n, sizes) in appends.into_iter().enumerate() {
            if n == reopened_at {
                // Closing writes what is queued: nobody waits for it here.
                drop(log);
                log = Log::open(dir.path(), 0).unwrap();
                read_back(&log, 0, &lengths);
            }
            let first = lengths.len() as u64;
            lengths.extend(&sizes);
            let append = log.append(numbered(first, &sizes)).unwrap();
            if awaited[n] {
                prop_assert_eq!(append.wait().unwrap(), first);
                prop_assert!(log.durable() >= lengths.len() as u64);
            } else {
                pending.push((first, append));
            }
        }
        for (first, append) in pending {
            prop_assert_eq!(append.wait().unwrap(), first, "even when the log was closed meanwhile");
        }
        read_back(&log, 0, &lengths);
        let middle = lengths.len() as u64 / 2;
        read_back(&log, middle, &lengths);
        drop(log);
        read_back(&Log::open(dir.path(), 0).unwrap(), 0, &lengths);
    }
}

#[test]
fn retired_segments_are_gone_and_their_files_used_again() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::open(dir.path(), 0).unwrap();
    let mut lengths = Vec::new();
    big(&log, &mut lengths, 12);
    assert_eq!(segments(dir.path()).len(), 3, "four batches of sixty each");

    log.retire(239).unwrap();
    assert_eq!((log.first(), segments(dir.path()).len()), (0, 3), "entry 239 is in the first segment");
    log.retire(240).unwrap();
    assert_eq!((log.first(), segments(dir.path()).len()), (240, 2));
    assert!(log.read(239, 1).unwrap().is_empty());
    read_back(&log, 240, &lengths);
    log.retire(720).unwrap();
    assert_eq!((log.first(), segments(dir.path()).len()), (480, 1), "the last segment stays");
    read_back(&log, 480, &lengths);

    // One new segment, and one that is an old file with batches behind its end.
    big(&log, &mut lengths, 5);
    assert_eq!(segments(dir.path()).len(), 3);
    read_back(&log, 480, &lengths);
    drop(log);

    assert!(matches!(Log::open(dir.path(), 479), Err(StoreError::Damaged { .. })), "entry 479 is neither here nor in tiles");
    assert!(matches!(Log::open(dir.path(), 1021), Err(StoreError::Contradicted { .. })), "the log is shorter than its head");
    let log = Log::open(dir.path(), 480).unwrap();
    assert_eq!(log.first(), 480);
    read_back(&log, 480, &lengths);
    big(&log, &mut lengths, 1);
    drop(log);
    read_back(&Log::open(dir.path(), 700).unwrap(), 480, &lengths);
}

#[test]
fn an_entry_above_the_limit_is_refused_and_the_log_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::open(dir.path(), 0).unwrap();
    assert_eq!(append(&log, vec![vec![1; 65_535]]), 0);
    let refused = log.append(vec![b"fine".to_vec(), vec![2; 65_536], b"fine".to_vec()]);
    assert!(matches!(refused, Err(StoreError::TooLarge { bytes: 65_536, .. })));
    assert_eq!(log.durable(), 1, "nothing of it is written");
    assert_eq!(append(&log, Vec::new()), 1, "nothing at all is durable at once");
    assert_eq!(append(&log, vec![Vec::new(), b"next".to_vec()]), 1);
    assert_eq!(entries(&log, 0), [vec![1; 65_535], Vec::new(), b"next".to_vec()]);
    assert_eq!(*log.watch().borrow(), 3);
}

/// What was acknowledged must open again, so an append that no segment can hold must not be acknowledged.
#[test]
fn an_append_larger_than_a_segment_is_refused_or_reads_back() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::open(dir.path(), 0).unwrap();
    let lengths = [MAX_ENTRY; 300];
    let accepted = log.append(numbered(0, &lengths)).and_then(|append| append.wait()).is_ok();
    drop(log);
    let log = Log::open(dir.path(), 0).unwrap();
    read_back(&log, 0, &lengths[..if accepted { 300 } else { 0 }]);
}

#[test]
fn a_state_directory_belongs_to_one() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("state");
    let held = StateDir::lock(&root).unwrap();
    assert!(matches!(StateDir::lock(&root), Err(StoreError::InUse { path }) if path == root));
    drop(held);
    let held = StateDir::lock(&root).unwrap();
    assert_eq!(held.read("keys/a").unwrap(), None);
    held.write("keys/a", b"old").unwrap();
    held.write("keys/a", b"new").unwrap();
    assert_eq!(held.read("keys/a").unwrap().as_deref(), Some(b"new".as_slice()));
}
