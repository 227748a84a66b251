//! What a log serves, and how (C2SP tlog-tiles v0.1.0, "APIs"; tlog-witness v1.0.0, "Monitor Retrieval Mechanism").

use std::str::FromStr;

use sha2::{Digest, Sha256};

use crate::error::{LedgerError, Result};
use crate::hash::{HASH_SIZE, Hash};
use crate::tile::{Bundle, TILE_WIDTH, Tile, decode_bundle, decode_tile};

/// Anything that a log serves, by its path under the log's prefix (tlog-tiles v0.1.0, "APIs").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource {
    /// The signed tree head.
    Checkpoint,
    /// Hashes of the tree.
    Tile(Tile),
    /// Entries.
    Bundle(Bundle),
}

impl Resource {
    /// The path under the log's prefix (tlog-tiles v0.1.0, "APIs").
    pub fn path(&self) -> String {
        match self {
            Self::Checkpoint => CHECKPOINT.to_owned(),
            Self::Tile(tile) => tile.path(),
            Self::Bundle(bundle) => bundle.path(),
        }
    }

    /// The content type (tlog-tiles v0.1.0, "APIs").
    pub fn content_type(&self) -> &'static str {
        match self {
            Self::Checkpoint => PLAIN_TEXT,
            Self::Tile(_) | Self::Bundle(_) => "application/octet-stream",
        }
    }

    /// Whether the same path has the same bytes for good (tlog-tiles v0.1.0, "APIs").
    pub fn is_immutable(&self) -> bool {
        *self != Self::Checkpoint
    }

    /// The header `Cache-Control` (RFC 9111 §5.2.2, RFC 8246): a checkpoint is cached for seconds, all else for good
    /// (tlog-tiles v0.1.0, "APIs").
    pub fn cache_control(&self) -> &'static str {
        if self.is_immutable() { "public, max-age=31536000, immutable" } else { "public, max-age=1" }
    }

    /// Whether a log of `size` entries has this. What it has not, it must not serve: no empty tile, and none that is wider
    /// than the tree (tlog-tiles v0.1.0, "Partial Tiles").
    pub fn is_in(&self, size: u64) -> bool {
        let width = |level, index| Tile::in_tree(level, index, size).map(|tile| tile.width);
        match self {
            Self::Checkpoint => true,
            Self::Tile(tile) => width(tile.level, tile.index) >= Some(tile.width),
            Self::Bundle(bundle) => width(0, bundle.index) >= Some(bundle.width),
        }
    }

    /// Whether a log that is pruned up to `minimum_index` may refuse to serve this: full tiles and bundles whose entries are
    /// all before it (tlog-tiles v0.1.0, "Pruning").
    pub fn may_be_pruned(&self, minimum_index: u64) -> bool {
        let end = match self {
            Self::Tile(tile) if tile.width == TILE_WIDTH => tile.end_index(),
            Self::Bundle(bundle) if bundle.width == TILE_WIDTH => bundle.end_index(),
            _ => return false,
        };
        end <= minimum_index
    }

    /// The bytes of this tile or bundle from those of a wider one at the same place: a partial one is the start of the
    /// full one (tlog-tiles v0.1.0, "Partial Tiles"). Bytes that are too few or malformed are an error.
    pub fn cut<'a>(&self, wider: &'a [u8]) -> Result<&'a [u8]> {
        let end = match self {
            Self::Checkpoint => Some(wider.len()),
            Self::Tile(tile) => {
                let width = usize::from(tile.width);
                (decode_tile(wider)?.len() >= width).then_some(width * HASH_SIZE)
            }
            Self::Bundle(bundle) => {
                let (entries, width) = (decode_bundle(wider)?, usize::from(bundle.width));
                entries.get(..width).map(|entries| entries.iter().map(|entry| LENGTH_SIZE + entry.len()).sum())
            }
        };
        end.and_then(|end| wider.get(..end)).ok_or_else(|| LedgerError::MissingTile(self.path()))
    }
}

impl FromStr for Resource {
    type Err = LedgerError;

    fn from_str(path: &str) -> Result<Self> {
        if path == CHECKPOINT {
            return Ok(Self::Checkpoint);
        }
        path.parse().map(Self::Bundle).or_else(|_| path.parse().map(Self::Tile))
    }
}

/// The path, under a witness's monitoring prefix, of the checkpoint that it cosigned last for a log (tlog-witness v1.0.0,
/// "Monitor Retrieval Mechanism").
pub fn witness_path(origin: &str) -> String {
    format!("{}/{CHECKPOINT}", Hash(Sha256::digest(origin).into()).to_hex())
}

/// The path of the checkpoint (tlog-tiles v0.1.0, "Checkpoints").
pub(crate) const CHECKPOINT: &str = "checkpoint";
/// The content type of checkpoints and of cosignatures (tlog-tiles v0.1.0, "Checkpoints").
pub const PLAIN_TEXT: &str = "text/plain; charset=utf-8";
/// The content type of a witness's answer with status 409 (tlog-witness v1.0.0, "add-checkpoint").
pub const TREE_SIZE: &str = "text/x.tlog.size";
/// The path, under a witness's submission prefix, to which a log posts checkpoints (tlog-witness v1.0.0, "add-checkpoint").
pub const ADD_CHECKPOINT: &str = "add-checkpoint";
/// Bytes of an entry's length in a bundle (tlog-tiles v0.1.0, "Log entries").
const LENGTH_SIZE: usize = 2;
