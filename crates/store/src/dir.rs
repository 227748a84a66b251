//! The state directory: private, and held by one process.

use std::ffi::OsString;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;

use crate::StoreError;
use crate::error::Result;
use crate::seal::Sealing;

/// A state directory. [`StateDir::lock`]ed, it belongs to this process until dropped.
#[derive(Debug)]
pub struct StateDir {
    root: PathBuf,
    pub(crate) sealing: Sealing,
    _lock: File,
}

impl StateDir {
    /// Opens or makes the directory (mode 0700) and takes its lock; fails when another process has it.
    pub fn lock(root: &Path) -> Result<Self> {
        make_private_dir(root)?;
        let path = root.join("lock");
        let file = private_file().create(true).truncate(false).write(true).open(&path).map_err(StoreError::io("open", &path))?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self { root: root.to_owned(), sealing: Sealing::of(root)?, _lock: file }),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(StoreError::InUse { path: root.to_owned() }),
            Err(e) => Err(StoreError::io("lock", &path)(e.into())),
        }
    }

    /// The directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The published form of the log: checkpoint, tiles, entry bundles.
    pub fn ledger(&self) -> PathBuf {
        self.root.join("ledger")
    }

    /// The log's segments.
    pub fn segments(&self) -> PathBuf {
        self.root.join("log")
    }

    /// The keys and names of the people whose data the log keeps.
    pub fn subjects(&self) -> PathBuf {
        self.root.join("subjects")
    }

    /// The views' database.
    pub fn views(&self) -> PathBuf {
        self.root.join("views.db")
    }

    /// A private file's content, if there is one.
    pub fn read(&self, name: &str) -> Result<Option<Vec<u8>>> {
        read_if_there(&self.root.join(name))
    }

    /// Writes a private file (mode 0600) so that after a crash it is whole, old or new.
    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let path = self.root.join(name);
        if let Some(parent) = path.parent() {
            make_private_dir(parent)?;
        }
        write_whole(&path, bytes, 0o600)
    }

    /// Removes a private file, durably; one that is not there is removed already.
    pub fn remove(&self, name: &str) -> Result<()> {
        let path = self.root.join(name);
        match std::fs::remove_file(&path) {
            Ok(()) => sync_dir(path.parent().unwrap_or(&self.root)),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(()),
            Err(e) => Err(StoreError::io("remove", &path)(e)),
        }
    }
}

/// Makes a directory and those above it, mode 0700.
pub(crate) fn make_private_dir(path: &Path) -> Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(StoreError::io("make directory", path))
}

/// Replaces a file: temporary file, fsync, rename, fsync of the directory.
pub(crate) fn write_whole(path: &Path, bytes: &[u8], mode: u32) -> Result<()> {
    let temporary = unfinished(path);
    let mut file = private_file()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(mode)
        .open(&temporary)
        .map_err(StoreError::io("create", &temporary))?;
    file.write_all(bytes).map_err(StoreError::io("write", &temporary))?;
    file.sync_all().map_err(StoreError::io("sync", &temporary))?;
    std::fs::rename(&temporary, path).map_err(StoreError::io("rename to", path))?;
    sync_dir(path.parent().unwrap_or(Path::new(".")))
}

/// A file's content, if there is one.
pub(crate) fn read_if_there(path: &Path) -> Result<Option<Vec<u8>>> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(StoreError::io("read", path)(e)),
    }
}

/// What a file is called while it is written: `.<name>.tmp`. No file that is kept begins with a dot.
pub(crate) fn unfinished(path: &Path) -> PathBuf {
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(UNFINISHED);
    path.with_file_name(name)
}

/// How it ends.
pub(crate) const UNFINISHED: &str = ".tmp";

/// Writes a file where it stands, with its directory if that is missing. A crash may leave it torn.
pub(crate) fn write_in_place(path: &Path, bytes: &[u8]) -> Result<()> {
    let write =
        |path: &Path| private_file().create(true).truncate(true).write(true).open(path).and_then(|mut f| f.write_all(bytes));
    match write(path) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            make_private_dir(path.parent().unwrap_or(Path::new(".")))?;
            write(path).map_err(StoreError::io("write", path))
        }
        done => done.map_err(StoreError::io("write", path)),
    }
}

/// Removes the file of a full bundle, and what may be left of when it was not full yet.
pub(crate) fn remove_bundle(path: &Path) -> Result<()> {
    let mut partial = path.as_os_str().to_owned();
    partial.push(".p");
    let partial = PathBuf::from(partial);
    for (path, removed) in [(path, std::fs::remove_file(path)), (partial.as_path(), std::fs::remove_dir_all(&partial))] {
        match removed {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(StoreError::io("remove", path)(e)),
            _ => {}
        }
    }
    Ok(())
}

pub(crate) fn sync_dir(dir: &Path) -> Result<()> {
    File::open(dir).and_then(|d| d.sync_all()).map_err(StoreError::io("sync directory", dir))
}

pub(crate) fn private_file() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.mode(0o600);
    options
}
