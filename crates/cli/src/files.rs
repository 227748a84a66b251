//! Files that people name.

use std::io::Read;
use std::path::Path;

use marque_core::Digest;
use sha2::{Digest as _, Sha256};

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
