//! Files and sockets that people name.

use std::io::{Read, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use marque_core::Digest;
use marque_server::bind_unix;
use sha2::{Digest as _, Sha256};
use tokio::net::UnixListener;

use crate::failure::{Failure, Result};

/// All of a file.
pub fn read(file: &Path) -> Result<Vec<u8>> {
    std::fs::read(file).map_err(|e| unreadable(file, &e))
}

/// All of a file, as text.
pub fn text(file: &Path) -> Result<String> {
    std::fs::read_to_string(file).map_err(|e| unreadable(file, &e))
}

/// SHA-256 of all that is read, and its length in bytes.
pub fn digest(mut from: impl Read) -> std::io::Result<(Digest, u64)> {
    let (mut hasher, mut length) = (Sha256::new(), 0_u64);
    let mut buffer = vec![0; 1 << 16];
    loop {
        let count = from.read(&mut buffer)?;
        let Some(part) = buffer.get(..count).filter(|part| !part.is_empty()) else { break };
        hasher.update(part);
        length = length.saturating_add(part.len() as u64);
    }
    Ok((Digest::from_bytes(hasher.finalize().into()), length))
}

/// Why a file that somebody named is of no use.
pub fn unreadable(file: &Path, error: &std::io::Error) -> Failure {
    Failure::input(format!("cannot read `{}`: {error}", file.display()))
}

/// Writes a file that nobody else may read. A pipe or a device is written to as it is.
pub fn write_private(file: &Path, bytes: &[u8]) -> Result<()> {
    let failed = |e| Failure::failed(format!("cannot write `{}`: {e}", file.display()));
    let mut options = std::fs::OpenOptions::new();
    options.write(true).mode(0o600);
    if std::fs::symlink_metadata(file).is_ok_and(|known| !known.is_file()) {
        options.truncate(true);
    } else {
        // A file that is there may be somebody else's to read.
        let _ = std::fs::remove_file(file);
        options.create_new(true);
    }
    options.open(file).and_then(|mut out| out.write_all(bytes)).map_err(failed)
}

/// Listens on a Unix socket that everybody may connect to. The folder that it is in is made where it is not there.
pub fn listen(path: &Path, what: &str) -> Result<UnixListener> {
    let listener = path.parent().map_or(Ok(()), open_folder).and_then(|()| bind_unix(path, 0o666));
    listener.map_err(|e| Failure::failed(format!("cannot listen on `{}`, {what}: {e}", path.display())))
}

/// A folder through which everybody finds what is in it, whatever the mask of this process is.
fn open_folder(folder: &Path) -> std::io::Result<()> {
    if folder.as_os_str().is_empty() || folder.is_dir() {
        return Ok(());
    }
    folder.parent().map_or(Ok(()), open_folder)?;
    std::fs::DirBuilder::new().mode(0o755).create(folder)?;
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o755))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_socket_gets_its_folders_and_an_error_names_its_path() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("run/marque/workload.sock");
        let listener = listen(&path, "the Workload API's socket").unwrap();
        for folder in ["run", "run/marque"] {
            assert_eq!(dir.path().join(folder).metadata().unwrap().permissions().mode() & 0o777, 0o755, "{folder}");
        }
        assert!(std::os::unix::net::UnixStream::connect(&path).is_ok());
        drop(listener);
        std::fs::write(dir.path().join("file"), "").unwrap();
        let failed = listen(&dir.path().join("file/workload.sock"), "the Workload API's socket").unwrap_err();
        assert!(failed.message.contains("file/workload.sock`, the Workload API's socket"), "{}", failed.message);
    }
}
