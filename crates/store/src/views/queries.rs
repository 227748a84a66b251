//! Questions to the views.

use marque_core::elevation::Elevation;
use marque_core::event::{Body, Event};
use marque_core::id::{ElevationId, InstanceId, LeaseId, ObserverId, RecordId, TaskId};
use marque_core::lease::Lease;
use marque_core::record::{Decided, Outcome};
use marque_core::task::Task;
use marque_core::{attestation::Instance, time::Timestamp};
use rusqlite::{OptionalExtension as _, Row, params};
use serde::de::DeserializeOwned;

use super::Views;
use crate::StoreError;
use crate::error::Result;
use crate::index::{Field, Term};

/// A record with its place in the log and its outcome, where there is one.
#[derive(Clone, Debug)]
pub struct RecordRow {
    /// The index of the decision's entry.
    pub seq: u64,
    /// When it was decided.
    pub at: Timestamp,
    /// What was decided.
    pub decided: Decided,
    /// The index of the outcome's entry, and the outcome.
    pub settled: Option<(u64, Outcome)>,
}

/// A task with its place in the log.
#[derive(Clone, Debug)]
pub struct TaskRow {
    /// The index of its entry.
    pub seq: u64,
    /// The task as it started.
    pub task: Task,
    /// When it was finished, if it was before its deadline.
    pub ended: Option<Timestamp>,
    /// The elevation whose approval started it.
    pub elevation: Option<ElevationId>,
}

/// An elevation with how it ended.
#[derive(Clone, Debug)]
pub struct HeldElevation {
    /// The elevation as it was requested.
    pub elevation: Elevation,
    /// `pending`, `approved`, `refused` or `expired`.
    pub status: String,
}

impl Views {
    /// The events to replay at start, in order.
    pub fn replay(&self, mut each: impl FnMut(&Event)) -> Result<()> {
        let db = self.lock();
        let mut statement = db.prepare("SELECT seq, body FROM events WHERE replayed = 1 ORDER BY seq")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let body: String = row.get(1)?;
            let index: u64 = row.get(0)?;
            each(&Event::from_bytes(body.as_bytes()).map_err(|source| StoreError::Entry { index, source })?);
        }
        Ok(())
    }

    /// The events to replay from entry `from` on and below `below`, in order, at most `most` of them: for a fold of the
    /// past, which goes on beside everything else.
    pub fn replayed(&self, from: u64, below: u64, most: u32) -> Result<Vec<(u64, Event)>> {
        let db = self.lock();
        let sql = "SELECT seq, body FROM events WHERE replayed = 1 AND seq >= ?1 AND seq < ?2 ORDER BY seq LIMIT ?3";
        let mut statement = db.prepare_cached(sql)?;
        let rows = statement.query_map(params![from, below, most], |row| Ok((row.get(0)?, body(row, 1)?)))?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// How many calls were allowed under each task, ended or not.
    pub fn usage(&self) -> Result<Vec<(Task, u64)>> {
        let db = self.lock();
        let mut statement = db.prepare("SELECT t.body, u.calls FROM usage u JOIN tasks t ON t.id = u.task")?;
        let rows = statement.query_map([], |row| Ok((body(row, 0)?, row.get(1)?)))?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// The allowed calls from entry `from` on that have no outcome, in order, at most `most` of them: the index of the decision,
    /// and the record.
    pub fn unsettled(&self, from: u64, most: u32) -> Result<Vec<(u64, RecordId)>> {
        let db = self.lock();
        let mut statement = db.prepare_cached("SELECT seq, record FROM unsettled WHERE seq >= ?1 ORDER BY seq LIMIT ?2")?;
        let rows = statement.query_map(params![from, most], |row| Ok((row.get(0)?, row.get::<_, String>(1)?)))?;
        let known = |(seq, record): (u64, String)| Some((seq, record.parse().ok()?));
        Ok(rows.collect::<rusqlite::Result<Vec<_>>>()?.into_iter().filter_map(known).collect())
    }

    /// The last number of an observer.
    pub fn last_of(&self, observer: ObserverId) -> Result<u64> {
        Ok(self.one("SELECT last FROM observers WHERE id = ?1", params![observer.to_string()], |row| row.get(0))?.unwrap_or(0))
    }

    /// What observers numbered that never came, as far as no event says so yet.
    pub fn gaps(&self) -> Result<Vec<(ObserverId, u64, u64)>> {
        let db = self.lock();
        let mut statement = db.prepare_cached("SELECT observer, first, last FROM gaps ORDER BY seq")?;
        let rows = statement.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get(1)?, row.get(2)?)))?;
        let known = |(observer, first, last): (String, u64, u64)| Some((observer.parse().ok()?, first, last));
        Ok(rows.collect::<rusqlite::Result<Vec<_>>>()?.into_iter().filter_map(known).collect())
    }

    /// The record whose decision is entry `seq`.
    pub fn record_at(&self, seq: u64) -> Result<Option<RecordRow>> {
        let Some(Event { ts, what: Body::Decided(decided), .. }) = self.entry(seq)?.map(|o| o.event) else { return Ok(None) };
        let mut settled = None;
        for later in self.of_record(decided.record)?.into_iter().filter(|later| *later > seq) {
            if let Some(Event { what: Body::Settled { outcome, .. }, .. }) = self.entry(later)?.map(|o| o.event) {
                settled = Some((later, outcome));
            }
        }
        Ok(Some(RecordRow { seq, at: ts, decided: *decided, settled }))
    }

    /// A record.
    pub fn record(&self, id: RecordId) -> Result<Option<RecordRow>> {
        match self.of_record(id)?.into_iter().min() {
            Some(seq) => self.record_at(seq),
            None => Ok(None),
        }
    }

    /// The record whose decision or outcome is entry `seq`.
    pub fn record_with(&self, seq: u64) -> Result<Option<RecordRow>> {
        match self.entry(seq)?.map(|o| o.event.what) {
            Some(Body::Settled { record, .. }) => self.record(record),
            _ => self.record_at(seq),
        }
    }

    /// The newest records, of one task or identity where given, the newest first.
    pub fn records(&self, task: Option<TaskId>, identity: Option<&str>, limit: u32) -> Result<Vec<RecordRow>> {
        let term = |field, value: &dyn std::fmt::Display| vec![Term { field, value: value.to_string() }];
        let mut groups = vec![term(Field::Kind, &"decided")];
        groups.extend(task.map(|id| term(Field::Task, &id)));
        groups.extend(identity.map(|id| term(Field::Identity, &id)));
        let seqs = self.index().find(&groups, 0, self.index().covers(), limit as usize)?;
        let rows = seqs.into_iter().map(|seq| self.record_at(seq));
        Ok(rows.collect::<Result<Vec<_>>>()?.into_iter().flatten().collect())
    }

    /// The first entry that is not before `moment`, at most `MOMENTS` entries too early.
    pub fn about(&self, moment: Timestamp) -> Result<u64> {
        let sql = "SELECT seq FROM moments WHERE ts < ?1 ORDER BY seq DESC LIMIT 1";
        Ok(self.one(sql, params![moment.micros()], |row| row.get(0))?.unwrap_or(0))
    }

    /// The task and every task that hangs from it: those that were delegated, and those that an approval started.
    pub fn descendants(&self, task: TaskId) -> Result<Vec<TaskId>> {
        let db = self.lock();
        let sql = "WITH RECURSIVE below (id) AS (SELECT ?1 UNION SELECT t.id FROM tasks t JOIN below b ON t.parent = b.id) \
                   SELECT id FROM below";
        let mut statement = db.prepare_cached(sql)?;
        let rows = statement.query_map([task.to_string()], |row| row.get::<_, String>(0))?;
        Ok(rows.collect::<rusqlite::Result<Vec<_>>>()?.iter().filter_map(|id| id.parse().ok()).collect())
    }

    /// Every credential that was ever issued for a task, the oldest first.
    pub fn leases_of(&self, task: TaskId) -> Result<Vec<(u64, Lease)>> {
        let db = self.lock();
        let mut statement = db.prepare_cached("SELECT seq, body FROM leases WHERE task = ?1 ORDER BY seq")?;
        let rows = statement.query_map([task.to_string()], |row| Ok((row.get(0)?, body(row, 1)?)))?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    fn of_record(&self, id: RecordId) -> Result<Vec<u64>> {
        let group = vec![Term { field: Field::Record, value: id.to_string() }];
        // Both events of a record are near each other, but nobody knows where.
        self.index().find(&[group], 0, self.index().covers(), 2)
    }

    /// A task, ended or not.
    pub fn task(&self, id: TaskId) -> Result<Option<TaskRow>> {
        self.one("SELECT seq, body, ended, elevation FROM tasks WHERE id = ?1", params![id.to_string()], task)
    }

    /// The newest tasks, the newest first.
    pub fn tasks(&self, limit: u32) -> Result<Vec<TaskRow>> {
        let db = self.lock();
        let mut statement = db.prepare_cached("SELECT seq, body, ended, elevation FROM tasks ORDER BY seq DESC LIMIT ?1")?;
        let rows = statement.query_map([limit], task)?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// A lease with the index of its entry, expired or not.
    pub fn lease(&self, id: LeaseId) -> Result<Option<(u64, Lease)>> {
        self.one("SELECT seq, body FROM leases WHERE id = ?1", params![id.to_string()], |row| Ok((row.get(0)?, body(row, 1)?)))
    }

    /// A running copy, ended or not.
    pub fn instance(&self, id: InstanceId) -> Result<Option<Instance>> {
        self.one("SELECT body FROM instances WHERE id = ?1", params![id.to_string()], |row| body(row, 0))
    }

    /// The newest elevations, the newest first.
    pub fn elevations(&self, limit: u32) -> Result<Vec<HeldElevation>> {
        let db = self.lock();
        let mut statement = db.prepare_cached("SELECT body, status FROM elevations ORDER BY seq DESC LIMIT ?1")?;
        let rows = statement.query_map([limit], |row| Ok(HeldElevation { elevation: body(row, 0)?, status: row.get(1)? }))?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    fn one<T>(
        &self,
        sql: &str,
        with: &[&dyn rusqlite::ToSql],
        read: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Option<T>> {
        let db = self.lock();
        let mut statement = db.prepare_cached(sql)?;
        Ok(statement.query_row(with, read).optional()?)
    }
}

fn task(row: &Row<'_>) -> rusqlite::Result<TaskRow> {
    let ended: Option<i64> = row.get(2)?;
    let elevation: Option<String> = row.get(3)?;
    Ok(TaskRow {
        seq: row.get(0)?,
        task: body(row, 1)?,
        ended: ended.map(Timestamp::from_micros),
        elevation: elevation.and_then(|e| e.parse().ok()),
    })
}

fn body<T: DeserializeOwned>(row: &Row<'_>, column: usize) -> rusqlite::Result<T> {
    let text: String = row.get(column)?;
    serde_json::from_str(&text)
        .map_err(|e| rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Text, Box::new(e)))
}
