//! What the follower reads back from the disk, and how it makes durable what it wrote.

use std::fs::File;
use std::path::Path;

use marque_ledger::{Bundle, Hash, LedgerError, Tile, TileReader, decode_bundle, decode_tile, leaf_hash};

use super::Head;
use crate::StoreError;
use crate::error::Result;

/// Tiles on the disk, of a log of `size` entries.
pub(super) struct Disk<'a> {
    pub dir: &'a Path,
    pub size: u64,
}

impl TileReader for Disk<'_> {
    fn read_tile(&self, tile: Tile) -> std::result::Result<Vec<Hash>, LedgerError> {
        // The file of the published size has at least as many hashes as were asked for.
        let published = Tile::in_tree(tile.level, tile.index, self.size).unwrap_or(tile);
        let path = published.path();
        let bytes = std::fs::read(self.dir.join(&path)).map_err(|_| LedgerError::MissingTile(path))?;
        decode_tile(&bytes)
    }
}

/// The bytes of a bundle.
pub(super) fn read_bundle(dir: &Path, bundle: Bundle) -> Result<Vec<u8>> {
    let path = dir.join(bundle.path());
    std::fs::read(&path).map_err(StoreError::io("read", &path))
}

/// The open bundle is written again when it grows: bit rot in it must not get into the full one.
pub(super) fn check_bundle(bytes: &[u8], tiles: &Disk<'_>, bundle: Bundle) -> Result<()> {
    let hashes = tiles.read_tile(Tile { level: 0, index: bundle.index, width: bundle.width })?;
    let entries = decode_bundle(bytes)?;
    if entries.len() == hashes.len() && entries.iter().zip(&hashes).all(|(entry, hash)| leaf_hash(entry) == *hash) {
        return Ok(());
    }
    Err(StoreError::Damaged { what: format!("bundle `{}` does not hash to its tile", bundle.path()) })
}

/// The head record; none in a new directory.
pub(super) fn read_head(dir: &Path) -> Result<Option<Head>> {
    let path = dir.join("head");
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(StoreError::io("read", &path)(e)),
    };
    let damaged = || StoreError::Damaged { what: format!("`{}` is not a head record", path.display()) };
    let (size, rest) = text.split_once('\n').ok_or_else(damaged)?;
    let root = rest.strip_suffix('\n').ok_or_else(damaged)?;
    let size = size.parse().map_err(|_| damaged())?;
    Ok(Some(Head { size, root: Hash::from_base64(root).map_err(|_| damaged())? }))
}

/// Makes everything written to this file system durable: one call for any number of tiles.
pub(super) fn sync_filesystem(dir: &Path) -> Result<()> {
    let handle = File::open(dir).map_err(StoreError::io("open", dir))?;
    rustix::fs::syncfs(&handle).map_err(|e| StoreError::io("sync", dir)(e.into()))
}
