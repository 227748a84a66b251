//! Logs and files on the disk, for all tests.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use marque_store::log::Log;

/// Appends entries as one batch and waits until they are durable. Returns the index of the first.
pub(crate) fn append(log: &Log, entries: Vec<Vec<u8>>) -> u64 {
    log.append(entries).unwrap().wait().unwrap()
}

/// All entries from `from` on, whose indices have no gap.
pub(crate) fn entries(log: &Log, from: u64) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    loop {
        let next = from + all.len() as u64;
        let part = log.read(next, 1 << 20).unwrap();
        if part.is_empty() {
            assert_eq!(next, log.durable(), "reading ends where the log does");
            return all;
        }
        for (index, entry) in part {
            assert_eq!(index, from + all.len() as u64);
            all.push(entry);
        }
    }
}

/// The segment files, the oldest first.
pub(crate) fn segments(dir: &Path) -> Vec<PathBuf> {
    let paths = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let mut found: Vec<PathBuf> = paths.filter(|path| path.extension().is_some_and(|e| e == "segment")).collect();
    found.sort();
    found
}

/// The bytes of every file below a directory.
pub(crate) fn files(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut dirs = vec![dir.to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                dirs.push(path);
            } else {
                let bytes = std::fs::read(&path).unwrap();
                found.insert(path, bytes);
            }
        }
    }
    found
}
