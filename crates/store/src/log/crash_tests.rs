//! A crash at every byte of the last 64 KiB: every batch that was whole is there, and nothing of one that was not.

use std::path::Path;

use super::batch::{self, HEADER};
use super::segments::Segments;

/// A segment of batches, cut short behind them so that reading it takes no time.
struct Written {
    bytes: Vec<u8>,
    /// Where the meaning of each batch ends, and how many entries the log has then.
    ends: Vec<(usize, u64)>,
}

impl Written {
    /// Batches of many sizes from entry `first` on, until they take so many bytes.
    fn new(first: u64, bytes: usize) -> Self {
        let (mut written, mut next) = (Self { bytes: Vec::new(), ends: Vec::new() }, first);
        while written.bytes.len() < bytes {
            let entries = (0..1 + next % 5).map(|n| entry(next + n)).collect::<Vec<_>>();
            let meaning = HEADER + entries.iter().map(|entry| 4 + entry.len()).sum::<usize>();
            next += entries.len() as u64;
            written.ends.push((written.bytes.len() + meaning, next));
            batch::encode(&mut written.bytes, next - entries.len() as u64, entries.iter().map(Vec::as_slice));
        }
        written
    }

    /// How many entries the log has when only the bytes before `cut` were written.
    fn whole(&self, cut: usize) -> u64 {
        self.ends.iter().rev().find(|(end, _)| *end <= cut).map_or(FIRST, |(_, size)| *size)
    }

    /// Opens what a crash leaves for each cut within the last 64 KiB: the bytes before it, and what `behind` gives for the rest.
    fn crash(&self, behind: impl Fn(usize) -> Vec<u8> + Sync) {
        let (from, until) = (self.bytes.len() - LAST, self.bytes.len());
        let middle = from + LAST / 2;
        std::thread::scope(|scope| {
            for cuts in [from..middle, middle..until + 1] {
                let behind = &behind;
                scope.spawn(move || {
                    let dir = scratch();
                    let path = dir.path().join(format!("{FIRST:020}.segment"));
                    for cut in cuts {
                        let left = [&self.bytes[..cut], &behind(cut)].concat();
                        std::fs::write(&path, &left).unwrap();
                        self.opens(dir.path(), cut);
                        if cut % 61 == 0 {
                            // What was found once is found again.
                            self.opens(dir.path(), cut);
                        }
                    }
                });
            }
        });
    }

    fn opens(&self, dir: &Path, cut: usize) {
        let segments = Segments::open(dir, FIRST).unwrap_or_else(|error| panic!("cut at {cut}: {error}"));
        let size = self.whole(cut);
        assert_eq!(segments.end(), size, "cut at {cut}");
        if cut.is_multiple_of(61) {
            let read = segments.read(FIRST, size, usize::MAX).unwrap();
            assert_eq!(read.len() as u64, size - FIRST, "cut at {cut}");
            assert!(read.iter().all(|(index, bytes)| *bytes == entry(*index)), "cut at {cut}");
        }
    }
}

#[test]
fn a_crash_at_every_byte_of_the_last_64_kib_before_zeros() {
    let written = Written::new(FIRST, LAST + 2_000);
    written.crash(|cut| vec![0; written.bytes.len() - cut]);
}

#[test]
fn a_crash_at_every_byte_of_the_last_64_kib_of_a_file_that_ends_there() {
    Written::new(FIRST, LAST + 2_000).crash(|_| Vec::new());
}

/// A file that is used again holds batches of its first use, which were good, behind what was written last.
#[test]
fn a_crash_at_every_byte_of_the_last_64_kib_of_a_file_that_is_used_again() {
    let (written, old) = (Written::new(FIRST, LAST + 2_000), Written::new(0, LAST + 2_000));
    assert!(old.ends.last().unwrap().1 < FIRST, "it was let go before");
    written.crash(|cut| old.bytes.get(cut..).unwrap_or_default().to_vec());
}

/// A disk writes sectors in any order: with any one of them missing the last batch is not there, and nothing else is lost.
#[test]
fn a_batch_of_which_any_sector_is_missing_is_not_there() {
    let mut written = Written::new(FIRST, 5_000);
    let (start, size) = (written.bytes.len(), written.ends.last().unwrap().1);
    let large = [vec![0xa5; 9_000], vec![0x5a; 9_000]];
    batch::encode(&mut written.bytes, size, large.iter().map(Vec::as_slice));
    let (dir, end) = (scratch(), start + HEADER + 2 * 9_004);
    let path = dir.path().join(format!("{FIRST:020}.segment"));
    let sizes = |bytes: &[u8]| {
        std::fs::write(&path, bytes).unwrap();
        [(); 2].map(|()| Segments::open(dir.path(), FIRST).unwrap().end())
    };
    assert_eq!(sizes(&written.bytes), [size + 2; 2], "whole");
    for sector in (start / SECTOR..=end / SECTOR).map(|n| (n * SECTOR).max(start)..((n + 1) * SECTOR).min(end)) {
        if sector.is_empty() {
            continue;
        }
        let mut missing = written.bytes.clone();
        missing[sector.clone()].fill(0);
        assert_eq!(sizes(&missing), [size; 2], "without the bytes {sector:?}");
        let mut only = written.bytes.clone();
        only[start..].fill(0);
        only[sector.clone()].copy_from_slice(&written.bytes[sector.clone()]);
        assert_eq!(sizes(&only), [size; 2], "with the bytes {sector:?} alone");
    }
}

/// An entry that knows its index, of one of many lengths. It does not end in a zero, which zeros behind it could replace.
fn entry(index: u64) -> Vec<u8> {
    let length = 1 + (index * 37 % 701) as usize;
    index.to_le_bytes().into_iter().chain(std::iter::repeat_n(1 + (index % 251) as u8, length)).collect()
}

/// A directory in memory where there is one: what is shown is what opening makes of bytes, and not how fast a disk is.
fn scratch() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap()
}

/// Above all that [`Written::new`] makes from 0 on.
const FIRST: u64 = 100_000;
const LAST: usize = 64 << 10;
const SECTOR: usize = 512;
