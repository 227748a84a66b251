//! What the views forget: what was erased, and what was pruned.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::PoisonError;

use rusqlite::Connection;

use super::{Views, make};
use crate::dir::sync_dir;
use crate::error::Result;

impl Views {
    /// Drops everything, then lets `erase` take keys away; the next [`Views::catch_up`] projects the log again, without
    /// what only those keys opened. Nothing is projected in between.
    ///
    /// A crash on the way leaves keys with empty views, or no keys: never what the keys opened without the keys.
    pub fn forget(&self, erase: impl FnOnce() -> Result<()>) -> Result<()> {
        let mut db = self.lock();
        *db = Connection::open_in_memory()?;
        *db = make(&self.path)?;
        sync_dir(self.path.parent().unwrap_or(Path::new(".")))?;
        self.index.clear()?;
        erase()
    }

    /// Takes what the entries below `below` carried out of the index, except those that were kept.
    pub fn let_go(&self, below: u64, kept: &BTreeSet<u64>) -> Result<u64> {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.index.remove(&|seq| seq < below && !kept.contains(&seq))
    }
}
