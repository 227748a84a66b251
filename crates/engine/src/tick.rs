//! What happens because time passes: expiry, ended processes, tiles, checkpoints, views.

use std::sync::atomic::Ordering;

use marque_core::event::{Body, By};
use marque_core::time::Ttl;
use marque_store::StoreError;
use marque_store::tiles::Head;

use crate::error::Result;
use crate::open::Engine;

/// A checkpoint is signed at most this often.
pub const CHECKPOINT_INTERVAL: Ttl = Ttl::from_seconds(1);

impl Engine {
    /// Lets time pass: to be called about once a second. Time passes only here, and in [`Engine::rotate`], which may wait for a
    /// device.
    pub async fn tick(&self) -> Result<()> {
        self.log().check()?;
        self.expire_elevations().await?;
        self.reap().await?;
        let now = self.now();
        self.live_mut().state.forget(now);
        self.publish()?;
        self.catch_up()?;
        self.note_gaps().await?;
        if let Err(error) = self.retain().await {
            tracing::error!("old entries were not let go: {}", error.chain());
        }
        self.views.index().tidy()?;
        Ok(())
    }

    /// What an observer numbered and what never came is itself an event.
    async fn note_gaps(&self) -> Result<()> {
        let gaps = self.views.gaps()?;
        let missing = gaps.into_iter().map(|(observer, from, to)| Body::Gap { observer, from, to }).collect();
        self.commit(By::System, |_, _| Ok(((), missing))).await
    }

    /// Waits until every event that was made before is durable, the outcomes of calls too, which nobody waits for.
    pub async fn drain(&self) -> Result<()> {
        // The log answers in order, so an append of nothing is the last to be answered.
        self.log().append(Vec::new())?.await?;
        Ok(())
    }

    /// Publishes a checkpoint over everything, however young the last one is: before the engine goes.
    pub async fn publish_last(&self) -> Result<Head> {
        self.drain().await?;
        self.publish_every(0)
    }

    /// Cuts the log into tiles and publishes a signed checkpoint over all that is durable (blocking), unless the last
    /// one is younger than `CHECKPOINT_INTERVAL`. Returns the published head.
    pub fn publish(&self) -> Result<Head> {
        self.publish_every(1_000_000 * CHECKPOINT_INTERVAL.seconds() as i64)
    }

    /// As [`Engine::publish`], unless the last checkpoint is younger than so many microseconds (blocking).
    pub(crate) fn publish_every(&self, micros: i64) -> Result<Head> {
        // The clock's own time: the engine's stands still after the clock went back, and then nothing would be due for long.
        let now = self.env.clock.now().micros();
        let mut tiles = self.tiles();
        tiles.follow(self.log())?;
        let last = self.published.load(Ordering::Acquire);
        if (last..last.saturating_add(micros)).contains(&now) {
            return Ok(tiles.head());
        }
        let head = tiles.publish(&self.signer)?;
        self.published.store(now, Ordering::Release);
        self.log().retire(head.size)?;
        if let Some(witnesses) = self.witnesses.get() {
            witnesses.published(head.size);
        }
        Ok(head)
    }

    /// Brings the views up to the end of the log (blocking). Returns how many entries they cover then.
    pub fn catch_up(&self) -> Result<u64> {
        Ok(self.views.catch_up()?)
    }

    /// Drops the views and projects the log again from its first event (blocking).
    pub fn rebuild_views(&self) -> Result<u64> {
        self.views.clear()?;
        self.catch_up()
    }

    /// How many entries are durable.
    pub fn log_size(&self) -> u64 {
        self.log().durable()
    }

    /// The published checkpoint.
    pub fn checkpoint(&self) -> Result<String> {
        Ok(self.tiles().checkpoint()?)
    }

    /// The views, brought up to date.
    pub(crate) fn fresh_views(&self) -> std::result::Result<&marque_store::views::Views, StoreError> {
        self.views.catch_up()?;
        Ok(&self.views)
    }
}
