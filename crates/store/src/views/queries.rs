//! Questions to the views.

use marque_core::Digest;
use marque_core::elevation::Elevation;
use marque_core::event::Event;
use marque_core::id::{ElevationId, InstanceId, LeaseId, RecordId, TaskId};
use marque_core::lease::Lease;
use marque_core::record::{Decided, Outcome};
use marque_core::task::Task;
use marque_core::{attestation::Instance, time::Timestamp};
use rusqlite::{OptionalExtension as _, Row, params};
use serde::de::DeserializeOwned;

use super::Views;
use crate::StoreError;
use crate::error::Result;

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

/// A digest that was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FoundContent {
    /// The index of the decision's entry.
    pub seq: u64,
    /// Whether white space had to be normalised for it.
    pub normalised: bool,
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

    /// How many calls were allowed under each task, ended or not.
    pub fn usage(&self) -> Result<Vec<(Task, u64)>> {
        let db = self.lock();
        let sql = "SELECT t.body, r.calls FROM (SELECT task, COUNT(*) AS calls FROM records WHERE effect = 'allow' GROUP BY task) r \
                   JOIN tasks t ON t.id = r.task";
        let mut statement = db.prepare(sql)?;
        let rows = statement.query_map([], |row| Ok((body(row, 0)?, row.get(1)?)))?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// Records that carried exactly the bytes of this digest, the newest first.
    pub fn with_exact_content(&self, digest: Digest, limit: u32) -> Result<Vec<FoundContent>> {
        let db = self.lock();
        let sql = "SELECT seq FROM contents WHERE digest = ?1 AND normalised = 0 ORDER BY seq DESC LIMIT ?2";
        let mut statement = db.prepare_cached(sql)?;
        let rows = statement
            .query_map(params![digest.to_string(), limit], |row| Ok(FoundContent { seq: row.get(0)?, normalised: false }))?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// Records that carried a text with this digest, exact or normalised, the newest first.
    pub fn with_content(&self, digest: Digest, limit: u32) -> Result<Vec<FoundContent>> {
        let db = self.lock();
        let mut statement =
            db.prepare_cached("SELECT seq, normalised FROM contents WHERE digest = ?1 ORDER BY seq DESC LIMIT ?2")?;
        let rows = statement.query_map(params![digest.to_string(), limit], |row| {
            Ok(FoundContent { seq: row.get(0)?, normalised: row.get::<_, i64>(1)? != 0 })
        })?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// The record whose decision is entry `seq`.
    pub fn record_at(&self, seq: u64) -> Result<Option<RecordRow>> {
        self.one(&format!("{RECORDS} WHERE seq = ?1"), params![seq], record)
    }

    /// A record.
    pub fn record(&self, id: RecordId) -> Result<Option<RecordRow>> {
        self.one(&format!("{RECORDS} WHERE id = ?1"), params![id.to_string()], record)
    }

    /// The newest records, of one task or identity where given, the newest first.
    pub fn records(&self, task: Option<TaskId>, identity: Option<&str>, limit: u32) -> Result<Vec<RecordRow>> {
        let db = self.lock();
        let sql =
            format!("{RECORDS} WHERE (?1 IS NULL OR task = ?1) AND (?2 IS NULL OR identity = ?2) ORDER BY seq DESC LIMIT ?3");
        let mut statement = db.prepare_cached(&sql)?;
        let rows = statement.query_map(params![task.map(|t| t.to_string()), identity, limit], record)?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
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

const RECORDS: &str = "SELECT seq, ts, body, settled, outcome FROM records";

fn record(row: &Row<'_>) -> rusqlite::Result<RecordRow> {
    let settled: Option<u64> = row.get(3)?;
    let settled = settled.map(|seq| body(row, 4).map(|outcome| (seq, outcome))).transpose()?;
    Ok(RecordRow { seq: row.get(0)?, at: Timestamp::from_micros(row.get(1)?), decided: body(row, 2)?, settled })
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
