//! The private parts of entries, a file for each bundle of 256: length (32 bits, big-endian) and bytes of each. They stand
//! beside the published log, never in it. What outlived its bundle is in a file of its own, with its index (64 bits) before
//! its length.

use std::path::{Path, PathBuf};

use marque_ledger::Bundle;

use crate::StoreError;
use crate::dir::{make_private_dir, read_if_there, remove_bundle, write_in_place, write_whole};
use crate::error::Result;

/// The files, and the open one.
#[derive(Debug)]
pub(crate) struct Private {
    dir: PathBuf,
    open: Vec<u8>,
}

impl Private {
    /// Those of the log in `ledger`, of which `size` entries are published.
    pub fn open(ledger: &Path, size: u64) -> Result<Self> {
        let mut private = Self::beside(ledger);
        if let Some(bundle) = Bundle::in_tree(size / WIDTH, size).filter(|b| u64::from(b.width) < WIDTH) {
            let parts = private.read(bundle)?;
            for n in 0..usize::from(bundle.width) {
                private.append(parts.get(n).map_or(&[][..], Vec::as_slice));
            }
        }
        Ok(private)
    }

    /// Those of the log in `ledger`, to read from.
    pub fn beside(ledger: &Path) -> Self {
        Self { dir: ledger.with_file_name(FOLDER), open: Vec::new() }
    }

    pub fn append(&mut self, part: &[u8]) {
        append_part(&mut self.open, part);
    }

    /// Writes the open file, whose bundle is full, and begins the next.
    pub fn close(&mut self, bundle: Bundle) -> Result<()> {
        self.put(bundle)?;
        self.open.clear();
        Ok(())
    }

    /// Writes the open file as it is.
    pub fn put(&self, bundle: Bundle) -> Result<()> {
        write_in_place(&self.path(bundle), &self.open)
    }

    /// The private parts of a bundle, in order; none where there is no file: a log of before they were kept, or pruned.
    pub fn read(&self, bundle: Bundle) -> Result<Vec<Vec<u8>>> {
        let path = self.path(bundle);
        let Some(bytes) = read_if_there(&path)? else { return Ok(Vec::new()) };
        let damaged = || StoreError::Damaged { what: format!("`{}` does not hold whole parts", path.display()) };
        Ok(parts(&bytes).ok_or_else(damaged)?.into_iter().map(<[u8]>::to_vec).collect())
    }

    /// Removes the partial file of a head that has been followed by another.
    pub fn tidy(&self, old: u64, new: u64) {
        let path = |size: u64| Bundle::in_tree(size / WIDTH, size).map(|bundle| self.path(bundle));
        if let Some(gone) = path(old).filter(|p| Some(p) != path(new).as_ref()) {
            // One that stays behind does no harm.
            let _ = std::fs::remove_file(gone);
        }
    }

    /// Removes the file of a full bundle.
    pub fn remove(&self, bundle: Bundle) -> Result<()> {
        remove_bundle(&self.path(bundle))
    }

    /// Below which entry every bundle is removed, here and in the log, and below which they are being removed.
    pub fn swept(&self) -> Option<(u64, u64)> {
        let text = std::fs::read_to_string(self.dir.join(SWEPT)).ok()?;
        let (done, goal) = text.trim().split_once(' ')?;
        Some((done.parse().ok()?, goal.parse().ok()?))
    }

    /// Keeps that in mind, durably.
    pub fn set_swept(&self, done: u64, goal: u64) -> Result<()> {
        make_private_dir(&self.dir)?;
        write_whole(&self.dir.join(SWEPT), format!("{done} {goal}\n").as_bytes(), 0o600)
    }

    /// The records that were kept when their bundles were let go, by index.
    pub fn retained(&self) -> Result<Vec<(u64, Vec<u8>)>> {
        let path = self.dir.join(RETAINED);
        let Some(bytes) = read_if_there(&path)? else { return Ok(Vec::new()) };
        let damaged = || StoreError::Damaged { what: format!("`{}` does not hold whole records", path.display()) };
        Ok(records(&bytes).ok_or_else(damaged)?.into_iter().map(|(index, record)| (index, record.to_vec())).collect())
    }

    /// Keeps these records from now on, durably.
    pub fn retain(&self, records: &[(u64, Vec<u8>)]) -> Result<()> {
        let mut bytes = Vec::new();
        records.iter().for_each(|(index, record)| append_record(&mut bytes, *index, record));
        make_private_dir(&self.dir)?;
        write_whole(&self.dir.join(RETAINED), &bytes, 0o600)
    }

    fn path(&self, bundle: Bundle) -> PathBuf {
        let path = bundle.path();
        self.dir.join(path.strip_prefix("tile/entries/").unwrap_or(&path))
    }
}

/// The parts that the file of a bundle holds, in order; nothing where one is cut.
pub fn parts(file: &[u8]) -> Option<Vec<&[u8]>> {
    let mut parts = Vec::new();
    let mut rest = file;
    while !rest.is_empty() {
        parts.push(take(&mut rest)?);
    }
    Some(parts)
}

/// Appends a part to the file of its bundle.
pub fn append_part(file: &mut Vec<u8>, part: &[u8]) {
    file.extend_from_slice(&(part.len() as u32).to_be_bytes());
    file.extend_from_slice(part);
}

/// The records, with their indexes, that the file of what outlived its bundle holds; nothing where one is cut.
pub fn records(file: &[u8]) -> Option<Vec<(u64, &[u8])>> {
    let mut records = Vec::new();
    let mut rest = file;
    while !rest.is_empty() {
        let (index, tail) = rest.split_first_chunk::<8>()?;
        rest = tail;
        records.push((u64::from_be_bytes(*index), take(&mut rest)?));
    }
    Some(records)
}

/// Appends a record to the file of what outlived its bundle.
pub fn append_record(file: &mut Vec<u8>, index: u64, record: &[u8]) {
    file.extend_from_slice(&index.to_be_bytes());
    append_part(file, record);
}

/// Takes a length and so many bytes off the front.
fn take<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (length, tail) = rest.split_first_chunk::<4>()?;
    let (part, tail) = tail.split_at_checked(u32::from_be_bytes(*length) as usize)?;
    *rest = tail;
    Some(part)
}

const FOLDER: &str = "private";
/// The file of what outlived its bundle.
const RETAINED: &str = "retained";
/// The file that says below which entry bundles are removed, and are to be.
const SWEPT: &str = "swept";
const WIDTH: u64 = 256;
