//! Retention: the contents of old entries are let go, and their hashes stay, so that every proof still holds.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

use marque_core::event::{Body, By, Event};
use marque_core::time::{Timestamp, Ttl};
use marque_store::record::Record;
use marque_store::views::Views;
use serde::{Deserialize, Serialize};

use crate::caller::Caller;
use crate::error::{EngineError, Result};
use crate::open::Engine;

/// How long the contents of entries are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Older ones are let go.
    pub keep: Ttl,
    /// The rule, in words: it stands in the log.
    pub policy: String,
}

/// The shortest time for which contents are kept, unless somebody takes the danger on them: six months, as the European AI
/// Act has it for the logs of high-risk systems (Regulation (EU) 2024/1689, Art. 19(1) and 26(6)).
pub const SHORTEST_RETENTION: Ttl = Ttl::from_seconds(6 * 31 * 86_400);

/// What a person asks to be let go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PruneRequest {
    /// Entries from before this moment.
    pub before: Timestamp,
    /// Only say what would go.
    #[serde(default)]
    pub dry_run: bool,
    /// Also what is younger than [`SHORTEST_RETENTION`].
    #[serde(default)]
    pub danger_short: bool,
}

/// Which entries are let go, or would be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pruning {
    /// The first entry whose contents were still kept.
    pub from: u64,
    /// The first entry whose contents are kept from now on: bundles go whole, 256 entries at a time.
    pub below: u64,
    /// Whether it is done.
    pub done: bool,
}

impl Pruning {
    /// How many entries that is.
    pub fn entries(&self) -> u64 {
        self.below.saturating_sub(self.from)
    }
}

impl Engine {
    /// Lets go of the contents of old entries on a person's word (blocking).
    pub async fn prune(&self, by: &Caller, request: PruneRequest) -> Result<Pruning> {
        by.person()?;
        let youngest = before(self.now(), SHORTEST_RETENTION);
        if request.before > youngest && !request.danger_short {
            return Err(EngineError::Invalid(format!(
                "what is younger than six months, from {youngest} on, is kept: the EU AI Act asks for it (Art. 19(1), 26(6)) \
                 unless your logs are not of a high-risk system; then say `--danger-short`"
            )));
        }
        if request.dry_run {
            return self.prunable(request.before);
        }
        let policy = format!("entries from before {}, by a person's word", request.before);
        self.let_go(by.by(), request.before, &policy).await
    }

    /// Follows the rule of retention, once a day: each time the index is written again without what has gone (blocking).
    pub(crate) async fn retain(&self) -> Result<()> {
        let Some(Retention { keep, policy }) = self.options.retention.clone() else { return Ok(()) };
        let now = self.now();
        if now.micros() < self.pruned.load(Ordering::Acquire) {
            return Ok(());
        }
        self.pruned.store(now.plus(PAUSE).micros(), Ordering::Release);
        self.let_go(By::System, before(now, keep), &policy).await?;
        self.pruned.store(now.plus(INTERVAL).micros(), Ordering::Release);
        Ok(())
    }

    /// The word comes before the deed: what is missing is missing on purpose, as an entry says.
    async fn let_go(&self, by: By, moment: Timestamp, policy: &str) -> Result<Pruning> {
        let found = self.prunable(moment)?;
        if found.entries() == 0 {
            return Ok(found);
        }
        let body = Body::Pruned { below: found.below, policy: policy.to_owned() };
        self.commit(by, |_, _| Ok(((), vec![body]))).await?;
        self.publish_every(0)?;
        let kept: BTreeSet<u64> = {
            let mut tiles = self.tiles();
            tiles.prune(found.below, &bears_state)?;
            tiles.retained()?.into_iter().map(|(index, _)| index).collect()
        };
        self.views.let_go(found.below, &kept)?;
        Ok(Pruning { done: true, ..found })
    }

    fn prunable(&self, moment: Timestamp) -> Result<Pruning> {
        let views = self.fresh_views()?;
        let (from, head) = {
            let tiles = self.tiles();
            (tiles.pruned(), tiles.head().size)
        };
        let old = first_since(views, moment, from)?.min(head);
        let below = (old - old % BUNDLE).max(from);
        Ok(Pruning { from, below, done: false })
    }
}

/// The first entry from `from` on that is not from before a moment. Entries stand in the order of their time.
fn first_since(views: &Views, moment: Timestamp, from: u64) -> Result<u64> {
    let mut low = views.about(moment)?.max(from);
    let mut high = low.saturating_add(FAR).min(views.covers()?);
    while low < high {
        let middle = low + (high - low) / 2;
        match views.entry(middle)? {
            Some(opened) if opened.event.ts >= moment => high = middle,
            _ => low = middle + 1,
        }
    }
    Ok(low)
}

/// Whether a record is needed to know the state again. What cannot be read here is kept. Credentials have long expired.
fn bears_state(record: &[u8]) -> bool {
    let (leaf, _) = Record::split(record);
    match Event::from_bytes(leaf) {
        Ok(event) => event.what.is_replayed() && !matches!(event.what, Body::LeaseIssued { .. }),
        Err(_) => true,
    }
}

fn before(now: Timestamp, time: Ttl) -> Timestamp {
    let micros = i64::try_from(time.seconds()).unwrap_or(i64::MAX).saturating_mul(1_000_000);
    Timestamp::from_micros(now.micros().saturating_sub(micros))
}

/// When it is tried again after it failed.
const PAUSE: Ttl = Ttl::from_seconds(3_600);
/// How often the rule is followed.
const INTERVAL: Ttl = Ttl::from_seconds(86_400);
/// How many entries a bundle has.
const BUNDLE: u64 = 256;
/// The views know the moment of every 1,024th entry.
const FAR: u64 = 1024;
