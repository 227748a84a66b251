//! The log as it grows.

use std::sync::Arc;

use marque_core::PersonId;
use tokio::sync::watch;

use super::filter::Filter;
use super::{Entry, Query, reader};
use crate::error::{EngineError, Result};
use crate::open::Engine;

/// The entries that match, from some index on, each as soon as it is durable: in order, none left out and none twice.
#[derive(Debug)]
pub struct Follow {
    engine: Arc<Engine>,
    filter: Filter,
    next: u64,
    durable: watch::Receiver<u64>,
}

impl Engine {
    /// Follows the log from entry `from` on (blocking for a moment). Of the question, its range, order and limit do not
    /// count; of a task, those that will hang from it do.
    pub fn follow(self: &Arc<Self>, query: &Query, from: u64) -> Result<Follow> {
        self.catch_up()?;
        let filter = Filter::new(self, &self.views, query)?;
        Ok(Follow { engine: Arc::clone(self), filter, next: from, durable: self.log().watch() })
    }

    /// Whether somebody is known here: whoever is not any more is shown nothing more.
    pub fn is_known(&self, person: &PersonId) -> bool {
        self.state().people.contains_key(person)
    }
}

impl Follow {
    /// Waits for more entries that match. A call that is dropped loses nothing: the next one begins where it began.
    pub async fn next(&mut self) -> Result<Vec<Entry>> {
        loop {
            let durable = *self.durable.borrow_and_update();
            if self.next >= durable {
                if self.durable.changed().await.is_err() {
                    self.engine.log().check()?;
                    return Err(EngineError::Invalid("the log is closed".into()));
                }
                continue;
            }
            let (engine, mut filter, from) = (Arc::clone(&self.engine), self.filter.clone(), self.next);
            let read = tokio::task::spawn_blocking(move || {
                let (found, next) = some(&engine, &mut filter, from)?;
                Ok::<_, EngineError>((found, next, filter))
            });
            let ended_early = |_: tokio::task::JoinError| EngineError::Invalid("following the log ended early".into());
            let (found, next, filter) = read.await.map_err(ended_early)??;
            (self.filter, self.next) = (filter, next);
            if !found.is_empty() {
                return Ok(found);
            }
        }
    }

    /// The first entry that has not been looked at.
    pub fn position(&self) -> u64 {
        self.next
    }
}

/// Those that match of the next few entries, and the first entry behind them.
fn some(engine: &Engine, filter: &mut Filter, from: u64) -> Result<(Vec<Entry>, u64)> {
    let entries = engine.views.entries(from)?;
    if entries.first().is_none_or(|(first, _)| *first != from) {
        return Err(EngineError::Invalid(format!("entry {from} was let go before it could be shown")));
    }
    let (mut found, mut next) = (Vec::new(), from);
    for (index, bytes) in &entries {
        let entry = reader::open(engine, *index, bytes)?;
        next = index.saturating_add(1);
        let Some(event) = &entry.event else { continue };
        filter.learn(event);
        if filter.matches(&engine.vault, event) && filter.carried_by(event) {
            found.push(entry);
        }
        if found.len() >= AT_ONCE {
            break;
        }
    }
    Ok((found, next))
}

/// How many are given at once.
const AT_ONCE: usize = 256;
