//! The manifest: which runs there are and how far they cover the log. What it does not list does not exist.
//!
//! ```text
//! "MQRM" | version u32 | covers u64 | next run u64 | runs u32 | (run u64 | bytes u64 | CRC-32C of its footer u32)*
//!        | CRC-32C of all before u32
//! ```

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::layout::take;
use crate::StoreError;
use crate::dir::{UNFINISHED, unfinished, write_whole};
use crate::error::Result;

/// What is durable.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Manifest {
    pub covers: u64,
    /// The identifier of the next run. None is used twice.
    pub next: u64,
    pub runs: Vec<Listed>,
}

/// A run, and what its file must be like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Listed {
    pub run: u64,
    pub bytes: u64,
    pub crc: u32,
}

impl Manifest {
    /// Reads it. Where there is none yet, nothing is covered.
    pub(super) fn read(dir: &Path) -> Result<Self> {
        let path = dir.join(NAME);
        match std::fs::read(&path) {
            Ok(bytes) => Self::decode(&bytes).ok_or_else(|| damaged(&path, "it does not match its checksum")),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(e) => Err(StoreError::io("read", &path)(e)),
        }
    }

    /// Replaces it: after a crash it is the old one or this one.
    pub(super) fn write(&self, dir: &Path) -> Result<()> {
        write_whole(&dir.join(NAME), &self.encode(), 0o600)
    }

    /// Removes runs that are not listed and files that were being written when the process ended.
    pub(super) fn discard_others(&self, dir: &Path) -> Result<()> {
        for entry in std::fs::read_dir(dir).map_err(StoreError::io("list", dir))? {
            let entry = entry.map_err(StoreError::io("list", dir))?;
            let name = entry.file_name();
            let Some(name) = name.to_str() else { continue };
            let of_run = |name: &str| name.strip_suffix(UNFINISHED).is_some_and(|name| run_of(name).is_some());
            let is_unfinished = of_run(name) || unfinished(Path::new(NAME)).as_os_str() == name;
            let unlisted = run_of(name).is_some_and(|run| self.runs.iter().all(|listed| listed.run != run));
            if is_unfinished || unlisted {
                std::fs::remove_file(entry.path()).map_err(StoreError::io("remove", &entry.path()))?;
            }
        }
        Ok(())
    }

    fn encode(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(&self.covers.to_le_bytes());
        bytes.extend_from_slice(&self.next.to_le_bytes());
        bytes.extend_from_slice(&(self.runs.len() as u32).to_le_bytes());
        for listed in &self.runs {
            bytes.extend_from_slice(&listed.run.to_le_bytes());
            bytes.extend_from_slice(&listed.bytes.to_le_bytes());
            bytes.extend_from_slice(&listed.crc.to_le_bytes());
        }
        let crc = crc32c::crc32c(&bytes);
        bytes.extend_from_slice(&crc.to_le_bytes());
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (body, crc) = bytes.split_last_chunk::<4>()?;
        let rest = &mut body.strip_prefix(MAGIC)?;
        if u32::from_le_bytes(*crc) != crc32c::crc32c(body) || u32::from_le_bytes(take(rest)?) != VERSION {
            return None;
        }
        let (covers, next) = (u64::from_le_bytes(take(rest)?), u64::from_le_bytes(take(rest)?));
        let count = u32::from_le_bytes(take(rest)?);
        let runs = (0..count).map(|_| Listed::decode(rest)).collect::<Option<Vec<_>>>()?;
        // A run that is listed twice, or that is still to come, would be written over or removed under whoever reads it.
        let once: BTreeSet<u64> = runs.iter().map(|listed| listed.run).collect();
        let is_whole = rest.is_empty() && once.len() == runs.len() && once.last().is_none_or(|last| *last < next);
        is_whole.then_some(Self { covers, next, runs })
    }
}

impl Listed {
    fn decode(rest: &mut &[u8]) -> Option<Self> {
        let (run, bytes) = (u64::from_le_bytes(take(rest)?), u64::from_le_bytes(take(rest)?));
        Some(Self { run, bytes, crc: u32::from_le_bytes(take(rest)?) })
    }
}

/// The file of a run.
pub(super) fn run_path(dir: &Path, run: u64) -> PathBuf {
    dir.join(format!("{run:020}.run"))
}

/// The index does not read back as it was written.
pub(super) fn damaged(path: &Path, what: &str) -> StoreError {
    StoreError::Damaged { what: format!("posting index `{}`: {what}", path.display()) }
}

fn run_of(name: &str) -> Option<u64> {
    name.strip_suffix(".run").filter(|digits| digits.len() == 20)?.parse().ok()
}

const NAME: &str = "manifest";
const MAGIC: &[u8] = b"MQRM";
const VERSION: u32 = 1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_reads_back_and_every_flipped_bit_and_every_missing_byte_is_noticed() {
        let runs = vec![Listed { run: 1, bytes: 2, crc: 3 }, Listed { run: 4, bytes: 5, crc: 6 }];
        for manifest in [Manifest::default(), Manifest { covers: 7, next: 8, runs }] {
            let good = manifest.encode();
            assert_eq!(Manifest::decode(&good), Some(manifest));
            for bit in 0..good.len() * 8 {
                let mut bad = good.clone();
                bad[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(Manifest::decode(&bad), None, "bit {bit}");
            }
            assert!((0..good.len()).all(|end| Manifest::decode(&good[..end]).is_none()));
        }
    }

    #[test]
    fn no_run_is_listed_twice_or_still_to_come() {
        let listed = |run| Listed { run, bytes: 2, crc: 3 };
        let read = |next, runs: &[u64]| {
            let runs = runs.iter().copied().map(listed).collect();
            Manifest::decode(&Manifest { covers: 7, next, runs }.encode()).is_some()
        };
        assert!(read(5, &[4, 1]) && read(0, &[]));
        assert!(!read(5, &[4, 1, 4]) && !read(4, &[4, 1]) && !read(0, &[0]));
    }

    #[test]
    fn only_names_of_this_index_are_names_of_runs() {
        assert_eq!(run_path(Path::new("x"), 12).file_name().and_then(|name| run_of(name.to_str()?)), Some(12));
        for other in ["12.run", "manifest", "00000000000000000012.run.tmp", "0000000000000000001x.run", ".run"] {
            assert_eq!(run_of(other), None, "{other}");
        }
    }
}
