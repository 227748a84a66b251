//! Tiles and entry bundles (C2SP tlog-tiles v0.1.0).

use std::collections::HashMap;
use std::str::FromStr;

use crate::error::{LedgerError, Result};
use crate::hash::{HASH_SIZE, Hash};

/// A tile: `width` neighbouring hashes of one level (tlog-tiles v0.1.0, "Merkle Tree").
#[derive(Copy, Clone, Debug, Eq, PartialEq, Ord, PartialOrd, Hash)]
pub struct Tile {
    /// 0 for leaf hashes; each hash of level `l` is the root of a full tile of level `l - 1`.
    pub level: u8,
    /// The place of the tile in its level, from 0.
    pub index: u64,
    /// How many hashes it has, 1 to 256.
    pub width: u16,
}

impl Tile {
    /// The tile at `level` and `index` as it stands in a tree of `size` entries, or nothing when it is empty there
    /// (tlog-tiles v0.1.0, "Partial Tiles").
    pub fn in_tree(level: u8, index: u64, size: u64) -> Option<Self> {
        let before = index.checked_mul(u64::from(TILE_WIDTH))?;
        let hashes = hashes_at(size, level).checked_sub(before)?.min(u64::from(TILE_WIDTH));
        let width = u16::try_from(hashes).ok().filter(|width| *width > 0)?;
        Some(Self { level, index, width })
    }

    /// The partial tiles of a tree of `size` entries, lowest level first; empty ones are left out (tlog-tiles v0.1.0,
    /// "Partial Tiles").
    pub fn partial(size: u64) -> Vec<Self> {
        let edge = |level| Self::in_tree(level, hashes_at(size, level) / u64::from(TILE_WIDTH), size);
        (0u8..).take(LEVELS).filter_map(edge).collect()
    }

    /// The index after the last entry under the tile when it is full (tlog-tiles v0.1.0, "Merkle Tree"); the largest number
    /// when it is beyond all indices.
    pub fn end_index(&self) -> u64 {
        end_of_hash(self.level, self.index, usize::from(TILE_WIDTH) - 1)
    }

    /// `tile/<L>/<N>[.p/<W>]` (tlog-tiles v0.1.0, "Merkle Tree").
    pub fn path(&self) -> String {
        format!("tile/{}/{}", self.level, position(self.index, self.width))
    }
}

impl FromStr for Tile {
    type Err = LedgerError;

    fn from_str(path: &str) -> Result<Self> {
        let parse = || {
            let (level, rest) = path.strip_prefix("tile/")?.split_once('/')?;
            let level = level.parse::<u8>().ok().filter(|level| *level <= MAX_LEVEL)?;
            let (index, width) = parse_position(rest)?;
            let tile = Self { level, index, width };
            (tile.path() == path).then_some(tile)
        };
        parse().ok_or_else(|| LedgerError::BadPath(path.to_owned()))
    }
}

/// A bundle: `width` neighbouring entries, those whose hashes are the level 0 tile of the same index (tlog-tiles
/// v0.1.0, "Log Entries").
#[derive(Copy, Clone, Debug, Eq, PartialEq, Ord, PartialOrd, Hash)]
pub struct Bundle {
    /// The place of the bundle in the log, from 0.
    pub index: u64,
    /// How many entries it has, 1 to 256.
    pub width: u16,
}

impl Bundle {
    /// The bundle at `index` as it stands in a log of `size` entries, or nothing when it is empty there (tlog-tiles
    /// v0.1.0, "Log Entries").
    pub fn in_tree(index: u64, size: u64) -> Option<Self> {
        Tile::in_tree(0, index, size).map(|tile| Self { index, width: tile.width })
    }

    /// The index after the last entry of the bundle when it is full (tlog-tiles v0.1.0, "Log entries").
    pub fn end_index(&self) -> u64 {
        end_of_hash(0, self.index, usize::from(TILE_WIDTH) - 1)
    }

    /// `tile/entries/<N>[.p/<W>]` (tlog-tiles v0.1.0, "Log Entries").
    pub fn path(&self) -> String {
        format!("tile/entries/{}", position(self.index, self.width))
    }
}

impl FromStr for Bundle {
    type Err = LedgerError;

    fn from_str(path: &str) -> Result<Self> {
        let position = path.strip_prefix("tile/entries/").and_then(parse_position);
        let bundle = position.map(|(index, width)| Self { index, width });
        bundle.ok_or_else(|| LedgerError::BadPath(path.to_owned()))
    }
}

/// The bytes of a tile: its hashes one after another (tlog-tiles v0.1.0, "Merkle Tree").
pub fn encode_tile(hashes: &[Hash]) -> Vec<u8> {
    hashes.iter().flat_map(|hash| hash.0).collect()
}

/// The hashes of a tile, 1 to 256 of them (tlog-tiles v0.1.0, "Merkle Tree").
pub fn decode_tile(bytes: &[u8]) -> Result<Vec<Hash>> {
    let (hashes, rest) = bytes.as_chunks::<HASH_SIZE>();
    if hashes.is_empty() || hashes.len() > usize::from(TILE_WIDTH) || !rest.is_empty() {
        return Err(LedgerError::BadTile(bytes.len()));
    }
    Ok(hashes.iter().copied().map(Hash).collect())
}

/// The bytes of a bundle: each entry after its 16-bit big-endian length (tlog-tiles v0.1.0, "Log Entries").
pub fn encode_bundle<I>(entries: I) -> Result<Vec<u8>>
where
    I: IntoIterator,
    I::Item: AsRef<[u8]>,
{
    let mut bundle = Vec::new();
    for (count, entry) in entries.into_iter().enumerate() {
        if count == usize::from(TILE_WIDTH) {
            return Err(LedgerError::OverfullBundle);
        }
        append_bundle_entry(&mut bundle, entry.as_ref())?;
    }
    Ok(bundle)
}

/// Adds one entry to the bytes of a bundle; an entry that is too long leaves them as they were (tlog-tiles v0.1.0,
/// "Log Entries").
pub fn append_bundle_entry(bundle: &mut Vec<u8>, entry: &[u8]) -> Result<()> {
    let length = u16::try_from(entry.len()).map_err(|_| LedgerError::EntryTooLong(entry.len()))?;
    bundle.extend_from_slice(&length.to_be_bytes());
    bundle.extend_from_slice(entry);
    Ok(())
}

/// The entries of a bundle, at most 256 of them (tlog-tiles v0.1.0, "Log Entries").
pub fn decode_bundle(bundle: &[u8]) -> Result<Vec<&[u8]>> {
    let mut entries = Vec::new();
    let mut rest = bundle;
    while !rest.is_empty() {
        if entries.len() == usize::from(TILE_WIDTH) {
            return Err(LedgerError::OverfullBundle);
        }
        let truncated = || LedgerError::TruncatedBundle(entries.len());
        let (length, tail) = rest.split_first_chunk::<2>().ok_or_else(truncated)?;
        let length = usize::from(u16::from_be_bytes(*length));
        let (entry, tail) = tail.split_at_checked(length).ok_or_else(truncated)?;
        entries.push(entry);
        rest = tail;
    }
    Ok(entries)
}

/// Where tiles are read from (tlog-tiles v0.1.0).
///
/// The reader need not be trusted: wrong hashes give wrong roots and proofs that do not verify, never a panic.
pub trait TileReader {
    /// The hashes of the tile at `tile.level` and `tile.index`, from its first on; at least `tile.width` of them.
    fn read_tile(&self, tile: Tile) -> Result<Vec<Hash>>;
}

/// Tiles in memory (tlog-tiles v0.1.0).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemoryTiles {
    tiles: HashMap<(u8, u64), Vec<Hash>>,
}

impl MemoryTiles {
    /// Keeps a tile, unless a wider one of the same level and index is there already (tlog-tiles v0.1.0: a partial tile
    /// is the start of the full one).
    pub fn insert(&mut self, tile: Tile, hashes: Vec<Hash>) {
        let kept = self.tiles.entry((tile.level, tile.index)).or_default();
        if kept.len() < hashes.len() {
            *kept = hashes;
        }
    }
}

impl Extend<(Tile, Vec<Hash>)> for MemoryTiles {
    fn extend<T: IntoIterator<Item = (Tile, Vec<Hash>)>>(&mut self, tiles: T) {
        tiles.into_iter().for_each(|(tile, hashes)| self.insert(tile, hashes));
    }
}

impl TileReader for MemoryTiles {
    fn read_tile(&self, tile: Tile) -> Result<Vec<Hash>> {
        let hashes = self.tiles.get(&(tile.level, tile.index));
        hashes.cloned().ok_or_else(|| LedgerError::MissingTile(tile.path()))
    }
}

/// Exactly `tile.width` hashes from a reader that may give more.
pub(crate) fn read_exact(reader: &dyn TileReader, tile: Tile) -> Result<Vec<Hash>> {
    let mut hashes = reader.read_tile(tile)?;
    let width = usize::from(tile.width);
    if hashes.len() < width {
        return Err(LedgerError::MissingTile(tile.path()));
    }
    hashes.truncate(width);
    Ok(hashes)
}

/// How many hashes a tree of `size` entries has at a tile level.
pub(crate) fn hashes_at(size: u64, level: u8) -> u64 {
    size.checked_shr(8 * u32::from(level)).unwrap_or(0)
}

/// The index after the last entry under the hash at `place` in the tile of this level and index; the largest number when
/// it is beyond all indices.
pub(crate) fn end_of_hash(level: u8, index: u64, place: usize) -> u64 {
    let hashes = index.saturating_mul(u64::from(TILE_WIDTH)).saturating_add(place as u64).saturating_add(1);
    let entries = 1u64.checked_shl(8 * u32::from(level)).unwrap_or(u64::MAX);
    hashes.saturating_mul(entries)
}

fn position(index: u64, width: u16) -> String {
    let mut groups = format!("{:03}", index % 1000);
    let mut rest = index / 1000;
    while rest > 0 {
        groups = format!("x{:03}/{groups}", rest % 1000);
        rest /= 1000;
    }
    if width < TILE_WIDTH {
        groups = format!("{groups}.p/{width}");
    }
    groups
}

/// Reads a position leniently, then lets only the one way of writing it through.
fn parse_position(text: &str) -> Option<(u64, u16)> {
    let (groups, width) = match text.split_once(".p/") {
        Some((groups, width)) => (groups, width.parse::<u16>().ok().filter(|width| (1..TILE_WIDTH).contains(width))?),
        None => (text, TILE_WIDTH),
    };
    let index = groups.split('/').try_fold(0u64, |sum, group| {
        let digits = group.strip_prefix('x').unwrap_or(group).parse::<u64>().ok()?;
        sum.checked_mul(1000)?.checked_add(digits)
    })?;
    (position(index, width) == text).then_some((index, width))
}

/// Hashes in a full tile, and entries in a full bundle (tlog-tiles v0.1.0).
pub const TILE_WIDTH: u16 = 256;
/// Bytes of the longest entry (tlog-tiles v0.1.0, "Log Entries").
pub const MAX_ENTRY_SIZE: usize = 65_535;
/// Tile levels that a tree of fewer than 2^64 entries can have.
pub(crate) const LEVELS: usize = 8;
/// The highest level that a path may name (tlog-tiles v0.1.0).
const MAX_LEVEL: u8 = 63;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_golden_vectors() {
        let path = |index, width| Tile { level: 0, index, width }.path();
        assert_eq!(path(1_234_067, 256), "tile/0/x001/x234/067");
        assert_eq!(path(999, 256), "tile/0/999");
        assert_eq!(path(1000, 7), "tile/0/x001/000.p/7");
        assert_eq!(path(u64::MAX, 256), "tile/0/x018/x446/x744/x073/x709/x551/615");
        assert_eq!(Bundle { index: 1000, width: 255 }.path(), "tile/entries/x001/000.p/255");
        for path in ["tile/0/x001/x234/067", "tile/63/000", "tile/7/999.p/255", "tile/0/x001/000.p/1"] {
            assert_eq!(path.parse::<Tile>().unwrap().path(), path);
        }
        assert_eq!("tile/entries/x001/000.p/255".parse::<Bundle>(), Ok(Bundle { index: 1000, width: 255 }));
    }

    #[test]
    fn only_one_way_to_write_a_path() {
        for bad in [
            "",
            "tile",
            "tile/0",
            "tile/0/",
            "tile//000",
            "tile/00/000",
            "tile/64/000",
            "tile/-1/000",
            "tile/+1/000",
            "tile/0/0",
            "tile/0/0000",
            "tile/0/1000",
            "tile/0/x000/001",
            "tile/0/001/000",
            "tile/0/x001",
            "tile/0/+01",
            "tile/0/x01/000",
            "tile/0/xx001/000",
            "tile/0/000.p/0",
            "tile/0/000.p/256",
            "tile/0/000.p/01",
            "tile/0/000.p/",
            "tile/0/000.p/+1",
            "tile/0/000.p/1/",
            "tile/0/000/",
            "/tile/0/000",
            "tile/0/000\n",
            "tile/0/x018/x446/x744/x073/x709/x551/616",
            "tile/entries/000",
        ] {
            assert_eq!(bad.parse::<Tile>(), Err(LedgerError::BadPath(bad.to_owned())), "{bad}");
        }
        for bad in ["tile/entries/0", "tile/entries/x000/000", "tile/entries/000.p/256", "tile/0/000", "entries/000"] {
            assert_eq!(bad.parse::<Bundle>(), Err(LedgerError::BadPath(bad.to_owned())), "{bad}");
        }
    }

    #[test]
    fn partial_tiles_of_golden_vectors() {
        let tile = |level, index, width| Tile { level, index, width };
        assert_eq!(Tile::partial(70_000), [tile(0, 273, 112), tile(1, 1, 17), tile(2, 0, 1)]);
        assert_eq!(Tile::partial(256), [tile(1, 0, 1)]);
        assert!(Tile::partial(0).is_empty());
        assert_eq!(Tile::in_tree(0, 272, 70_000), Some(tile(0, 272, 256)));
        assert_eq!(Tile::in_tree(0, 1, 256), None);
        assert_eq!(Tile::in_tree(63, 0, u64::MAX), None);
        assert_eq!(Tile::partial(u64::MAX).len(), LEVELS);
    }

    #[test]
    fn bundles_round_trip() {
        let long = vec![7u8; MAX_ENTRY_SIZE];
        let entries: [&[u8]; 3] = [b"", b"one", &long];
        let bytes = encode_bundle(entries).unwrap();
        assert!(bytes.starts_with(&[0, 0, 0, 3, b'o', b'n', b'e', 0xff, 0xff]));
        assert_eq!(decode_bundle(&bytes).unwrap(), entries);
        assert_eq!(decode_bundle(&[]), Ok(vec![]));
        assert_eq!(decode_bundle(&[0]), Err(LedgerError::TruncatedBundle(0)));
        assert_eq!(decode_bundle(&[0, 0, 0, 2, 1]), Err(LedgerError::TruncatedBundle(1)));
        assert_eq!(decode_bundle(&[0; 514]), Err(LedgerError::OverfullBundle));
        assert_eq!(encode_bundle([vec![0u8; 65_536]]), Err(LedgerError::EntryTooLong(65_536)));
        assert_eq!(encode_bundle(vec!["x"; 257]), Err(LedgerError::OverfullBundle));
    }

    #[test]
    fn tiles_round_trip() {
        let hashes = vec![Hash([1; 32]), Hash([2; 32])];
        let bytes = encode_tile(&hashes);
        assert_eq!(decode_tile(&bytes), Ok(hashes));
        for bad in [0, 31, 33, 257 * 32] {
            assert_eq!(decode_tile(&vec![0u8; bad]), Err(LedgerError::BadTile(bad)));
        }
    }
}
