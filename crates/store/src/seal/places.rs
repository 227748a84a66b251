//! Which files of a directory are secret, and how one in clear becomes a sealed one.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::path::Path;

use zeroize::Zeroizing;

use super::{SealKey, envelope};
use crate::dir::{UNFINISHED, unfinished, write_whole};
use crate::error::{Result, StoreError};

/// The folder of keys.
const KEYS: &str = "keys";
/// The folder of secrets for upstreams.
const SECRETS: &str = "secrets";
/// The keys of a witness and of a root log, which have directories of their own.
const FILES: [&str; 2] = ["log.key", "witness.key"];

/// The secret files that are there, by their names in the directory.
pub(super) fn files(root: &Path) -> Result<Vec<String>> {
    let mut found: Vec<String> = FILES.iter().filter(|name| root.join(name).is_file()).map(|name| (*name).to_owned()).collect();
    for folder in [KEYS, SECRETS] {
        found.extend(listed(root, folder)?.into_iter().filter(|name| !is_unfinished(name)));
    }
    found.sort();
    Ok(found)
}

/// Whether it is what a write left that did not end. A secret may be called `x.tmp`, and nothing else is.
fn is_unfinished(name: &str) -> bool {
    let (folder, file) = name.rsplit_once('/').unwrap_or(("", name));
    file.ends_with(UNFINISHED) && (file.starts_with('.') || folder != SECRETS)
}

pub(super) fn is_sealed(root: &Path, name: &str) -> Result<bool> {
    let path = root.join(name);
    let mut start = Vec::new();
    let file = File::open(&path).map_err(StoreError::io("open", &path))?;
    file.take(64).read_to_end(&mut start).map_err(StoreError::io("read", &path))?;
    Ok(envelope::is_sealed(&Zeroizing::new(start)))
}

/// Seals one file: it is replaced, and then what stood in clear is written over where it was, as far as the disk lets us.
pub(super) fn seal_in_place(root: &Path, name: &str, key: &SealKey) -> Result<()> {
    let path = root.join(name);
    let mut old = OpenOptions::new().read(true).write(true).open(&path).map_err(StoreError::io("open", &path))?;
    let size = old.metadata().map_err(StoreError::io("read", &path))?.len();
    let mut plain = Zeroizing::new(Vec::with_capacity(usize::try_from(size).unwrap_or_default().saturating_add(1)));
    old.read_to_end(&mut plain).map_err(StoreError::io("read", &path))?;
    write_whole(&path, &envelope::seal(key, name, &plain)?, 0o600)?;
    write_over(&mut old, plain.len()).map_err(StoreError::io("write over", &path))
}

/// Removes what a write in clear may have left unfinished.
pub(super) fn tidy(root: &Path) -> Result<()> {
    let folders = [listed(root, KEYS)?, listed(root, SECRETS)?].concat();
    let folders = folders.into_iter().filter(|name| is_unfinished(name)).map(|name| root.join(name));
    // Also as it was called before.
    let alone = FILES.iter().flat_map(|name| [unfinished(&root.join(name)), root.join(format!("{name}{UNFINISHED}"))]);
    for path in folders.chain(alone) {
        let mut file = match OpenOptions::new().write(true).open(&path) {
            Ok(file) => file,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => continue,
            Err(e) => return Err(StoreError::io("open", &path)(e)),
        };
        let size = file.metadata().map_err(StoreError::io("read", &path))?.len();
        write_over(&mut file, usize::try_from(size).unwrap_or_default()).map_err(StoreError::io("write over", &path))?;
        std::fs::remove_file(&path).map_err(StoreError::io("remove", &path))?;
    }
    Ok(())
}

fn write_over(file: &mut File, length: usize) -> std::io::Result<()> {
    use std::io::Seek as _;
    file.rewind()?;
    file.write_all(&vec![0; length])?;
    file.sync_all()
}

/// The files of a folder, by their names in the directory.
fn listed(root: &Path, folder: &str) -> Result<Vec<String>> {
    let path = root.join(folder);
    let entries = match std::fs::read_dir(&path) {
        Ok(entries) => entries,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(StoreError::io("list", &path)(e)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(StoreError::io("list", &path))?;
        if entry.path().is_file() {
            names.push(format!("{folder}/{}", entry.file_name().to_string_lossy()));
        }
    }
    Ok(names)
}
