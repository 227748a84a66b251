//! One event into the tables.

use std::collections::{BTreeMap, HashMap};

use marque_core::decision::Effect;
use marque_core::event::{Body, Event};
use marque_core::id::{ObserverId, RecordId, TaskId};
use marque_core::revocation::Target;
use marque_core::task::Task;
use rusqlite::{Connection, OptionalExtension as _, params};
use serde::Serialize;

use crate::error::Result;

/// Projects one event, of which everything that may be read here has been put back.
pub(super) fn event(db: &Connection, seq: u64, event: &Event, tally: &mut Tally) -> Result<()> {
    if seq >= tally.pruned {
        tally.observer(db, seq, event)?;
    }
    if seq.is_multiple_of(MOMENTS) {
        db.prepare_cached("INSERT OR REPLACE INTO moments VALUES (?1, ?2)")?.execute(params![seq, event.ts.micros()])?;
    }
    let keep = event.what.is_replayed() || matches!(event.what, Body::AttestationRefused { .. } | Body::IssueRefused { .. });
    if keep {
        db.prepare_cached("INSERT OR REPLACE INTO events VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?.execute(params![
            seq,
            event.what.kind(),
            event.ts.micros(),
            event.by.to_string(),
            event.what.is_replayed(),
            json(event)
        ])?;
    }
    match &event.what {
        Body::InstanceAttested { instance } => {
            db.prepare_cached("INSERT OR REPLACE INTO instances VALUES (?1, ?2, ?3, ?4, NULL, ?5)")?.execute(params![
                instance.id.to_string(),
                seq,
                instance.identity.to_string(),
                instance.since.micros(),
                json(instance)
            ])?;
        }
        Body::InstanceEnded { instance } => {
            db.prepare_cached("UPDATE instances SET ended = ?2 WHERE id = ?1")?
                .execute(params![instance.to_string(), event.ts.micros()])?;
        }
        Body::TaskStarted { task: started } => task(db, seq, started, None)?,
        Body::TaskFinished { task } => {
            db.prepare_cached("UPDATE tasks SET ended = ?2 WHERE id = ?1")?
                .execute(params![task.to_string(), event.ts.micros()])?;
        }
        Body::LeaseIssued { lease } => {
            db.prepare_cached("INSERT OR REPLACE INTO leases VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)")?.execute(params![
                lease.id.to_string(),
                seq,
                lease.class.as_str(),
                lease.identity.to_string(),
                lease.instance.to_string(),
                lease.task.map(|t| t.to_string()),
                lease.issued.micros(),
                lease.expires.micros(),
                json(lease)
            ])?;
        }
        Body::ElevationRequested { elevation } => {
            db.prepare_cached("INSERT OR REPLACE INTO elevations VALUES (?1, ?2, ?3, 'pending', ?4)")?.execute(params![
                elevation.id.to_string(),
                seq,
                elevation.call.task.to_string(),
                json(elevation)
            ])?;
        }
        Body::ElevationApproved { elevation, task: started, .. } => {
            task(db, seq, started, Some(elevation.to_string()))?;
            elevation_status(db, &elevation.to_string(), "approved")?;
        }
        Body::ElevationRefused { elevation, .. } => elevation_status(db, &elevation.to_string(), "refused")?,
        Body::ElevationExpired { elevation } => elevation_status(db, &elevation.to_string(), "expired")?,
        Body::Revoked { target, epoch, why } => {
            if let Target::Elevation(id) = target {
                elevation_status(db, &id.to_string(), "expired")?;
            }
            db.prepare_cached("INSERT OR REPLACE INTO revocations VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?.execute(params![
                seq,
                target.to_string(),
                epoch.0,
                event.ts.micros(),
                event.by.to_string(),
                why
            ])?;
        }
        Body::Decided(decided) if decided.effect == Effect::Allow => {
            let calls = tally.calls.entry(decided.task).or_default();
            *calls = calls.saturating_add(1);
            tally.open.insert(decided.record, seq);
        }
        Body::Settled { record, .. } => {
            // Mostly both are taken in together, and neither is written.
            if tally.open.remove(record).is_none() {
                tally.settled.push(*record);
            }
        }
        Body::Decided(_)
        | Body::LogStarted { .. }
        | Body::PersonAdded { .. }
        | Body::IdentityApplied { .. }
        | Body::IdentityMoved { .. }
        | Body::ResourceApplied { .. }
        | Body::ToolPinned { .. }
        | Body::PolicyFile { .. }
        | Body::PolicyActivated { .. }
        | Body::AttestationRefused { .. }
        | Body::IssueRefused { .. }
        | Body::ArtifactAttested { .. }
        | Body::LedgerRead { .. }
        | Body::Gap { .. }
        | Body::Erased { .. }
        | Body::AuthorityStepped { .. }
        | Body::NodeTokenMade { .. }
        | Body::NodeJoined { .. }
        | Body::NodeBanned { .. }
        | Body::Pruned { .. }
        | Body::ElevationVoted { .. } => {}
    }
    Ok(())
}

/// What many events of a transaction change again and again, written once at its end.
#[derive(Default)]
pub(super) struct Tally {
    /// Below it only some entries were kept.
    pruned: u64,
    /// The last number of each observer.
    observers: HashMap<ObserverId, u64>,
    /// Allowed calls by task.
    calls: HashMap<TaskId, u64>,
    /// Allowed calls without an outcome, and the index of their decision.
    open: BTreeMap<RecordId, u64>,
    /// Outcomes of calls that were allowed before.
    settled: Vec<RecordId>,
}

impl Tally {
    /// Of entries of which those below `pruned` are not all there.
    pub(super) fn above(pruned: u64) -> Self {
        Self { pruned, ..Self::default() }
    }

    /// Notes an observer's number, and what is missing before it.
    fn observer(&mut self, db: &Connection, seq: u64, event: &Event) -> Result<()> {
        let Some(observer) = event.obs else { return Ok(()) };
        let last = match self.observers.get(&observer) {
            Some(last) => Some(*last),
            None => db
                .prepare_cached("SELECT last FROM observers WHERE id = ?1")?
                .query_row([observer.to_string()], |row| row.get(0))
                .optional()?,
        };
        let expected = match last {
            Some(last) => last.saturating_add(1),
            // Whoever is first met behind what was let go may have numbered some of that: those numbers are not missing.
            None if self.pruned > 0 => event.iseq,
            None => 1,
        };
        if event.iseq > expected {
            db.prepare_cached("INSERT OR REPLACE INTO gaps VALUES (?1, ?2, ?3, ?4)")?.execute(params![
                observer.to_string(),
                expected,
                event.iseq.saturating_sub(1),
                seq
            ])?;
        }
        self.observers.insert(observer, event.iseq.max(expected.saturating_sub(1)));
        if let Body::Gap { observer, from, .. } = &event.what {
            db.prepare_cached("DELETE FROM gaps WHERE observer = ?1 AND first = ?2")?
                .execute(params![observer.to_string(), from])?;
        }
        Ok(())
    }

    /// Writes it down.
    pub(super) fn write(self, db: &Connection) -> Result<()> {
        for (observer, last) in self.observers {
            db.prepare_cached("INSERT OR REPLACE INTO observers VALUES (?1, ?2)")?
                .execute(params![observer.to_string(), last])?;
        }
        for (task, calls) in self.calls {
            let sql = "INSERT INTO usage VALUES (?1, ?2) ON CONFLICT (task) DO UPDATE SET calls = calls + ?2";
            db.prepare_cached(sql)?.execute(params![task.to_string(), calls])?;
        }
        for record in self.settled {
            db.prepare_cached("DELETE FROM unsettled WHERE record = ?1")?.execute([record.to_string()])?;
        }
        for (record, seq) in self.open {
            db.prepare_cached("INSERT OR REPLACE INTO unsettled VALUES (?1, ?2)")?.execute(params![seq, record.to_string()])?;
        }
        Ok(())
    }
}

fn task(db: &Connection, seq: u64, task: &Task, elevation: Option<String>) -> Result<()> {
    db.prepare_cached("INSERT OR REPLACE INTO tasks VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, NULL, ?8, ?9)")?.execute(params![
        task.id.to_string(),
        seq,
        // The task of an approval has no parent, and hangs from the one that was held.
        task.parent.or(task.lineage.last().copied()).map(|p| p.to_string()),
        task.actor.to_string(),
        task.principal.to_string(),
        task.started.micros(),
        task.expires.micros(),
        elevation,
        json(task)
    ])?;
    Ok(())
}

fn elevation_status(db: &Connection, id: &str, status: &str) -> Result<()> {
    db.prepare_cached("UPDATE elevations SET status = ?2 WHERE id = ?1")?.execute(params![id, status])?;
    Ok(())
}

/// Values of `core` hold no map with keys that are not strings, so they always serialize.
fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

/// How many entries lie between two of which the moment is kept.
pub(super) const MOMENTS: u64 = 1024;
