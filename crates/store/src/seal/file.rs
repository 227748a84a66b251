//! A key in a file: the simplest keeper, for a disk that is mounted at the start, or a secret that the platform hands in.

use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use aws_lc_rs::aead::{AES_256_GCM, Aad, Nonce};
use zeroize::Zeroizing;

use super::{Keeper, KeeperError, cipher, random, seal_error};
use crate::error::{Result, StoreError};

/// The content of a private file: a regular one that nobody but its owner can read or write, and outside of `not_in`, for who
/// copies that directory must not have it.
pub fn read_private(path: &Path, not_in: Option<&Path>) -> Result<Zeroizing<Vec<u8>>> {
    let file = File::open(path).map_err(StoreError::io("open", path))?;
    let meta = file.metadata().map_err(StoreError::io("read", path))?;
    if !meta.is_file() {
        return Err(seal_error(format!("`{}` is not a file", path.display())));
    }
    if meta.permissions().mode() & 0o077 != 0 {
        return Err(StoreError::Exposed { path: path.to_owned() });
    }
    if let Some(folder) = not_in {
        let (inner, outer) = (path.canonicalize(), folder.canonicalize());
        let (inner, outer) = (inner.map_err(StoreError::io("find", path))?, outer.map_err(StoreError::io("find", folder))?);
        if inner.starts_with(&outer) {
            return Err(seal_error(format!("`{}` is in the directory that it is to unseal: keep it elsewhere", path.display())));
        }
    }
    let room = usize::try_from(meta.len()).unwrap_or_default().min(MOST).saturating_add(1);
    let mut bytes = Zeroizing::new(Vec::with_capacity(room));
    let most = u64::try_from(MOST).unwrap_or(u64::MAX);
    file.take(most).read_to_end(&mut bytes).map_err(StoreError::io("read", path))?;
    Ok(bytes)
}

/// A key of 32 bytes out of a file.
pub struct StaticKey(Zeroizing<[u8; 32]>);

impl StaticKey {
    /// Reads it; the file must be private, and outside of the directory that it unseals.
    pub fn read(path: &Path, not_in: &Path) -> Result<Self> {
        let bytes = read_private(path, Some(not_in))?;
        let key = bytes.as_slice().try_into().map_err(|_| {
            seal_error(format!("`{}` has {} bytes, and a key has 32: head -c 32 /dev/urandom", path.display(), bytes.len()))
        })?;
        Ok(Self(Zeroizing::new(key)))
    }
}

impl std::fmt::Debug for StaticKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StaticKey").finish_non_exhaustive()
    }
}

/// AES-256-GCM: nonce, ciphertext, tag.
impl Keeper for StaticKey {
    fn wrap(&self, key: &[u8]) -> Result<Vec<u8>, KeeperError> {
        let nonce: [u8; 12] = random()?;
        let mut wrapped = Vec::with_capacity(key.len().saturating_add(AES_256_GCM.tag_len()));
        wrapped.extend_from_slice(key);
        cipher(&self.0)?
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(PURPOSE), &mut wrapped)
            .map_err(|_| "the key could not be wrapped")?;
        Ok([nonce.as_slice(), &wrapped].concat())
    }

    fn unwrap_key(&self, wrapped: &[u8]) -> Result<Zeroizing<Vec<u8>>, KeeperError> {
        const OTHER: &str = "it is not the key that they were sealed with";
        let (nonce, rest) = wrapped.split_first_chunk::<12>().ok_or(OTHER)?;
        let mut key = Zeroizing::new(rest.to_vec());
        let length = cipher(&self.0)?
            .open_in_place(Nonce::assume_unique_for_key(*nonce), Aad::from(PURPOSE), key.as_mut_slice())
            .map_err(|_| OTHER)?
            .len();
        key.truncate(length);
        Ok(key)
    }
}

const PURPOSE: &[u8] = b"marque seal";
/// Far above any key or PIN.
const MOST: usize = 1 << 16;
