//! Looking up postings beside the writer.

use std::sync::{Arc, PoisonError, RwLock};

use super::memtable::{self, Chunk};
use super::run::{Run, Scratch};
use crate::error::Result;

/// What is known of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The key.
    pub key: u64,
    /// The log entries that have it, the newest first.
    pub seqs: Vec<u64>,
    /// Whether older ones have it too.
    pub more: bool,
}

/// The size of an index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stats {
    /// Postings in runs. One that was fed twice may count twice until its runs are merged.
    pub postings: u64,
    /// Postings in memory.
    pub waiting: u64,
    /// How many runs there are.
    pub runs: usize,
    /// The size of their files.
    pub bytes: u64,
}

/// The postings as they were at one moment. It stays as it is while the index goes on.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    pub(super) covers: u64,
    pub(super) chunks: Vec<Chunk>,
    pub(super) runs: Vec<Arc<Run>>,
}

impl Snapshot {
    /// The first log index that is not in here.
    pub fn covers(&self) -> u64 {
        self.covers
    }

    /// Looks up keys: those that have postings, in ascending order, each with up to `most_per_key` sequence numbers.
    pub fn find(&self, keys: &[u64], most_per_key: usize) -> Result<Vec<Found>> {
        let mut keys = keys.to_vec();
        keys.sort_unstable();
        keys.dedup();
        let mut found: Vec<Found> = keys.into_iter().map(|key| Found { key, seqs: Vec::new(), more: false }).collect();
        // One more than asked for, to know whether there are more.
        let most = most_per_key.saturating_add(1);
        for chunk in &self.chunks {
            found.iter_mut().for_each(|one| memtable::newest(chunk, one.key, most, &mut one.seqs));
        }
        for run in &self.runs {
            let mut scratch = Scratch::default();
            for one in &mut found {
                run.newest(one.key, most, &mut scratch, &mut one.seqs)?;
            }
        }
        found.retain(|one| !one.seqs.is_empty());
        found.iter_mut().for_each(|one| one.settle(most_per_key));
        Ok(found)
    }

    /// How large it is.
    pub fn stats(&self) -> Stats {
        Stats {
            postings: self.runs.iter().map(|run| run.postings()).sum(),
            waiting: self.chunks.iter().map(|chunk| chunk.len() as u64).sum(),
            runs: self.runs.len(),
            bytes: self.runs.iter().map(|run| run.listed().bytes).sum(),
        }
    }
}

impl Found {
    fn settle(&mut self, most: usize) {
        self.seqs.sort_unstable_by(|a, b| b.cmp(a));
        self.seqs.dedup();
        self.more = self.seqs.len() > most;
        self.seqs.truncate(most);
    }
}

/// Gives out snapshots without waiting for the writer, which publishes one at each `advance`.
#[derive(Clone, Debug, Default)]
pub struct Reader(Arc<RwLock<Arc<Snapshot>>>);

impl Reader {
    /// The postings as last published.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn publish(&self, snapshot: Snapshot) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(snapshot);
    }
}
