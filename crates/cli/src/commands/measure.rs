//! What the launcher measures of a launch: the command, and the files that it is to work with.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::File;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use marque_core::Digest;
use rustix::fs::{Mode, OFlags};
use sha2::{Digest as _, Sha256};

use crate::failure::{Failure, Result};
use crate::files;

/// SHA-256 of the command and its arguments, joined by NUL.
pub(super) fn argv(command: &[OsString]) -> Digest {
    let words: Vec<&[u8]> = command.iter().map(|word| word.as_bytes()).collect();
    Digest::from_bytes(Sha256::digest(words.join(&0_u8)).into())
}

/// SHA-256 of each of these files, as they are now. Nothing keeps whoever may write one from changing it afterwards.
pub(super) fn artifacts(files: &[PathBuf]) -> Result<BTreeSet<Digest>> {
    let measured =
        |file: &PathBuf| artifact(file).map_err(|e| Failure::input(format!("cannot measure `{}`: {e}", file.display())));
    files.iter().map(measured).collect()
}

/// The digest of one regular file. A link is not followed: it could lead elsewhere a moment later.
fn artifact(path: &Path) -> std::io::Result<Digest> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = File::from(rustix::fs::open(path, flags, Mode::empty())?);
    if !file.metadata()?.is_file() {
        return Err(std::io::Error::new(std::io::ErrorKind::InvalidInput, "it is no regular file"));
    }
    Ok(files::digest(file)?.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_measured_by_its_content_and_a_link_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let (first, second, link) = (folder.path().join("a"), folder.path().join("b"), folder.path().join("c"));
        let bytes = vec![7; 200_000];
        std::fs::write(&first, &bytes).unwrap();
        std::fs::write(&second, &bytes).unwrap();
        std::os::unix::fs::symlink(&first, &link).unwrap();
        let both = artifacts(&[first, second.clone()]).unwrap();
        assert_eq!(both, BTreeSet::from([Digest::from_bytes(Sha256::digest(&bytes).into())]), "the path does not count");
        std::fs::write(&second, b"other").unwrap();
        assert_ne!(artifacts(&[second]).unwrap(), both);
        for wrong in [link, folder.path().to_owned(), folder.path().join("missing"), PathBuf::from("/dev/null")] {
            assert!(
                artifacts(std::slice::from_ref(&wrong)).unwrap_err().message.contains("cannot measure"),
                "{}",
                wrong.display()
            );
        }
    }

    #[test]
    fn a_command_is_measured_word_by_word() {
        let digest = |words: &[&str]| argv(&words.iter().map(OsString::from).collect::<Vec<_>>());
        assert_eq!(digest(&["a", "b c"]), Digest::from_bytes(Sha256::digest(b"a\0b c").into()));
        assert_ne!(digest(&["a", "b c"]), digest(&["a", "b", "c"]));
    }
}
