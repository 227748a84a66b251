//! Entries as a question reads them: from the tiles, from the log's end, and from what was kept of those that were let go.

use std::collections::BTreeMap;
use std::ops::Range;

use marque_core::event::Event;
use marque_core::time::Timestamp;
use marque_ledger::{Hash, TILE_WIDTH, Tile, decode_tile, leaf_hash};
use marque_store::StoreError;
use marque_store::record::Record;
use marque_store::views::Views;

use super::Entry;
use crate::error::{EngineError, Result};
use crate::open::Engine;

/// Reads entries for one question.
pub(super) struct Reader<'a> {
    engine: &'a Engine,
    views: &'a Views,
    /// The entries below were let go.
    pruned: u64,
    /// What was kept of them.
    retained: BTreeMap<u64, Vec<u8>>,
    /// How many entries the tiles have.
    published: u64,
    /// Entries behind those, read together: each by itself would read its whole batch.
    tail: BTreeMap<u64, Vec<u8>>,
}

impl<'a> Reader<'a> {
    /// For entries from `from` on.
    pub(super) fn new(engine: &'a Engine, views: &'a Views, from: u64) -> Result<Self> {
        let tiles = engine.tiles();
        let pruned = tiles.pruned();
        let retained = if from < pruned { tiles.retained()? } else { Vec::new() };
        let published = tiles.head().size;
        drop(tiles);
        Ok(Self { engine, views, pruned, retained: retained.into_iter().collect(), published, tail: BTreeMap::new() })
    }

    /// How many entries of a range were let go.
    pub(super) fn let_go(&self, range: &Range<u64>) -> u64 {
        let below = range.start..range.end.min(self.pruned).max(range.start);
        let kept = self.retained.range(below.clone()).count() as u64;
        below.end.saturating_sub(below.start).saturating_sub(kept)
    }

    /// The entries of a range that can be read.
    pub(super) fn kept(&self, range: Range<u64>) -> Vec<u64> {
        let split = self.pruned.clamp(range.start, range.end);
        self.retained.range(range.start..split).map(|(seq, _)| *seq).chain(split..range.end).collect()
    }

    /// One entry, opened as far as it may be read.
    pub(super) fn entry(&mut self, index: u64) -> Result<Entry> {
        match self.raw(index)? {
            Some(bytes) => open(self.engine, index, &bytes),
            None => {
                let leaf_hash = self.hash(index)?.to_string();
                Ok(Entry { index, leaf_hash, event: None, subject: None, erased: false, pruned: true })
            }
        }
    }

    /// The first of the entries below `covers` that is not before `moment`. Where it may lie among those that were let go,
    /// it is the last that it can be if they are taken to be `before` it, and the first otherwise.
    pub(super) fn first_at(&mut self, moment: Timestamp, covers: u64, before: bool) -> Result<u64> {
        let mut low = self.views.about(moment)?.min(covers);
        let mut high = covers;
        // Where the first that is kept is, tells whether it can lie among those that were let go.
        if low < self.pruned && self.pruned < covers {
            if self.is_before(self.pruned, moment, before)? {
                low = self.pruned.saturating_add(1);
            } else {
                high = self.pruned;
            }
        }
        // The views have the moments of some entries: it is near.
        let near = low.saturating_add(NEAR);
        if near < high && !self.is_before(near, moment, before)? {
            high = near;
        }
        while low < high {
            let middle = low.midpoint(high);
            if self.is_before(middle, moment, before)? {
                low = middle.saturating_add(1);
            } else {
                high = middle;
            }
        }
        Ok(low)
    }

    fn is_before(&mut self, index: u64, moment: Timestamp, unknown: bool) -> Result<bool> {
        let Some(bytes) = self.raw(index)? else { return Ok(unknown) };
        let event = Event::from_bytes(Record::split(&bytes).0).map_err(|source| StoreError::Entry { index, source })?;
        Ok(event.ts < moment)
    }

    fn raw(&mut self, index: u64) -> Result<Option<Vec<u8>>> {
        if let Some(bytes) = self.retained.get(&index) {
            return Ok(Some(bytes.clone()));
        }
        if index >= self.published {
            if !self.tail.contains_key(&index) {
                let from = index.saturating_sub(NEIGHBOURS).max(self.published);
                self.tail = self.views.entries(from)?.into_iter().collect();
            }
            if let Some(bytes) = self.tail.get(&index) {
                return Ok(Some(bytes.clone()));
            }
        }
        Ok(self.views.raw(index)?)
    }

    /// The hash of an entry that was let go: its tile stays.
    fn hash(&self, index: u64) -> Result<Hash> {
        let tile = Tile { level: 0, index: index / TILE, width: TILE_WIDTH };
        let path = tile.path();
        let read = |source| EngineError::Read { what: format!("tile `{path}`"), source };
        let dir = self.engine.tiles().dir().to_owned();
        let hashes = decode_tile(&std::fs::read(dir.join(&path)).map_err(read)?).map_err(StoreError::from)?;
        let hash = usize::try_from(index % TILE).ok().and_then(|at| hashes.get(at).copied());
        hash.ok_or_else(|| StoreError::Damaged { what: format!("tile `{path}` has no hash of entry {index}") }.into())
    }
}

/// An entry with everything put back that may still be read.
pub(super) fn open(engine: &Engine, index: u64, bytes: &[u8]) -> Result<Entry> {
    let (leaf, private) = Record::split(bytes);
    let opened = engine.vault.open_entry(index, leaf, private)?;
    Ok(Entry {
        index,
        leaf_hash: leaf_hash(leaf).to_string(),
        event: Some(opened.event),
        subject: opened.subject,
        erased: opened.erased,
        pruned: false,
    })
}

/// How many entries a moment of the views may be away from what is looked for.
const NEAR: u64 = 2048;
/// How many entries before one are read with it.
const NEIGHBOURS: u64 = 255;
/// The entries that one tile has the hashes of.
const TILE: u64 = TILE_WIDTH as u64;
