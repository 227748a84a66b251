//! Followers carry the log's entries out to other systems, each at its own pace.
//!
//! A follower reads durable entries in order, and its cursor moves only behind what its sink has taken: every entry goes out
//! at least once, none is skipped, and a restart goes on at the cursor. It shares nothing with the path of a commit, so that
//! one that hangs only lags.
//!
//! This is the part without a network: [`Follower`] says what comes next and remembers what was taken. Who carries a batch
//! out, waits, and gives up after a time is the caller.

mod batch;
mod cursor;
mod notice;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use marque_core::event::{Body, By};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

pub use batch::{Batch, ExportFormat, Framing, Limits, Piece, Rendering};

use crate::error::{EngineError, Result};
use crate::open::Engine;
use cursor::Cursor;

/// What a follower carries, under a name that its cursor stands under.
#[derive(Clone, Debug)]
pub struct Export {
    /// Its name.
    pub name: String,
    /// How entries are written.
    pub rendering: Rendering,
    /// Where one without a cursor begins.
    pub from: u64,
}

/// How far a follower is.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ExportStatus {
    /// The follower.
    pub name: String,
    /// The first entry that its sink has not taken.
    pub cursor: u64,
    /// How many durable entries are waiting.
    pub behind: u64,
    /// How old the first of them is.
    pub seconds_behind: u64,
    /// Whether it runs in this process.
    pub running: bool,
    /// How often in a row its sink has failed.
    #[serde(default)]
    pub failures: u32,
    /// Why, the last time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
}

/// A follower at work.
#[derive(Debug)]
pub struct Follower {
    export: Export,
    cursor: Cursor,
    /// What the sink has not taken yet: it is offered again, as it was.
    pending: Option<Arc<Batch>>,
    failures: u32,
}

impl Follower {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.export.name
    }

    /// The first entry that its sink has not taken.
    pub fn cursor(&self) -> u64 {
        self.cursor.next
    }

    /// What the sink is to be offered: the same batch until it was taken; nothing where nothing is waiting (blocking).
    pub fn batch(&mut self, engine: &Engine) -> Result<Option<Arc<Batch>>> {
        if let Some(pending) = &self.pending {
            return Ok(Some(Arc::clone(pending)));
        }
        // Also before the first batch of this process: the log may be another than the one that the cursor is of.
        self.cursor.check(engine)?;
        self.pending = engine.export_batch(&self.export.rendering, self.cursor.next, u64::MAX)?.map(Arc::new);
        Ok(self.pending.clone())
    }

    /// The sink has taken a batch: the cursor moves behind it, on the disk first (blocking). An answer that comes twice
    /// changes nothing.
    pub fn taken(&mut self, engine: &Engine, batch: &Batch) -> Result<()> {
        if batch.first != self.cursor.next {
            return Ok(());
        }
        let next = Cursor { next: batch.next, leaf: batch.last_leaf.clone() };
        engine.dir.write(&Cursor::file(&self.export.name), &next.encode())?;
        self.cursor = next;
        self.pending = None;
        self.failures = 0;
        engine.exports.put(&self.export.name, Health::default());
        Ok(())
    }

    /// The sink has failed, or has not answered in time: how long to wait before it is offered the batch again.
    pub fn failed(&mut self, engine: &Engine, why: &str) -> Duration {
        self.failures = self.failures.saturating_add(1);
        engine.exports.put(&self.export.name, Health { failures: self.failures, last_error: Some(why.to_owned()) });
        let mut random = [0; 8];
        engine.env.entropy.fill(&mut random);
        backoff(self.failures, u64::from_le_bytes(random))
    }
}

/// From 0.1 s to 60 s, doubled with each failure; half of it is random, so that followers do not knock together.
fn backoff(failures: u32, random: u64) -> Duration {
    let doublings = failures.saturating_sub(1).min(10);
    let most = LEAST_MILLIS.saturating_mul(2_u64.saturating_pow(doublings.saturating_add(1))).min(MOST_MILLIS);
    let half = most / 2;
    Duration::from_millis(half.saturating_add(random % half.saturating_add(1)))
}

impl Engine {
    /// Starts a follower where its cursor stands. That it reads the log is itself an event.
    pub async fn start_follower(&self, export: Export) -> Result<Follower> {
        let name = &export.name;
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        if name.is_empty() || name.len() > 64 || !name.chars().all(plain) {
            let text = format!("`{name}` is not a name for an export: use letters, digits, `-`, `_`");
            return Err(EngineError::Invalid(text));
        }
        let cursor = match self.dir.read(&Cursor::file(name))? {
            Some(bytes) => Cursor::decode(name, &bytes)?,
            None => {
                let cursor = Cursor { next: export.from, leaf: None };
                self.dir.write(&Cursor::file(name), &cursor.encode())?;
                cursor
            }
        };
        let query = format!("export `{name}` as {} from {}", export.rendering.described(), cursor.next);
        let rows = self.log_size().saturating_sub(cursor.next);
        self.commit(By::System, |_, _| Ok(((), vec![Body::LedgerRead { query, rows }]))).await?;
        self.exports.put(name, Health::default());
        Ok(Follower { export, cursor, pending: None, failures: 0 })
    }

    /// Begins to write out a range of entries for somebody: the event that says so, and then below which entry it ends.
    pub async fn begin_export(&self, by: By, rendering: &Rendering, from: u64, limit: Option<u64>) -> Result<u64> {
        let size = self.log_size();
        if from > size {
            return Err(EngineError::Invalid(format!("the log has {size} entries: it has none from {from} on")));
        }
        let end = size.min(from.saturating_add(limit.unwrap_or(u64::MAX)));
        let query = format!("export as {} of {from} to {end}", rendering.described());
        let rows = end.saturating_sub(from);
        self.commit(by, |_, _| Ok(((), vec![Body::LedgerRead { query, rows }]))).await?;
        Ok(end)
    }

    /// Follows how many entries are durable.
    pub fn watch_size(&self) -> watch::Receiver<u64> {
        self.log().watch()
    }

    /// How far every follower is that has ever taken anything, or runs (blocking).
    pub fn export_status(&self) -> Result<Vec<ExportStatus>> {
        let running = self.exports.lock().clone();
        let mut names: Vec<String> = running.keys().cloned().collect();
        for name in cursor::names(self.dir.root())? {
            if !running.contains_key(&name) {
                names.push(name);
            }
        }
        names.sort();
        names.into_iter().map(|name| self.status_of(&running, name)).collect()
    }

    fn status_of(&self, running: &BTreeMap<String, Health>, name: String) -> Result<ExportStatus> {
        let cursor = match self.dir.read(&Cursor::file(&name))? {
            Some(bytes) => Cursor::decode(&name, &bytes)?.next,
            None => 0,
        };
        let health = running.get(&name);
        Ok(ExportStatus {
            cursor,
            behind: self.log_size().saturating_sub(cursor),
            seconds_behind: self.age_of(cursor)?.map_or(0, |age| age.as_secs()),
            running: health.is_some(),
            failures: health.map_or(0, |h| h.failures),
            last_error: health.and_then(|h| h.last_error.clone()),
            name,
        })
    }
}

/// How the followers of this process are doing.
#[derive(Debug, Default)]
pub(crate) struct Register(Mutex<BTreeMap<String, Health>>);

#[derive(Clone, Debug, Default)]
struct Health {
    failures: u32,
    last_error: Option<String>,
}

impl Register {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Health>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, name: &str, health: Health) {
        self.lock().insert(name.to_owned(), health);
    }
}

const LEAST_MILLIS: u64 = 100;
const MOST_MILLIS: u64 = 60_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_grows_from_a_tenth_of_a_second_to_a_minute() {
        for random in [0, 1, u64::MAX / 3, u64::MAX] {
            assert!((100..=200).contains(&backoff(1, random).as_millis()));
            assert!((200..=400).contains(&backoff(2, random).as_millis()));
            for failures in [12, 100, u32::MAX] {
                assert!((30_000..=60_000).contains(&backoff(failures, random).as_millis()));
            }
        }
    }
}
