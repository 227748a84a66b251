//! Views: tables for queries. A projection of the log that can be dropped and rebuilt; every answer says how far it
//! covers.

mod project;
mod queries;

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use marque_core::event::Event;
use marque_core::time::Timestamp;
use rusqlite::{Connection, OptionalExtension as _};

use crate::StoreError;
use crate::error::Result;
use crate::log::Log;
use crate::tiles::Tiles;

pub use queries::{FoundContent, HeldElevation, RecordRow, TaskRow};

/// The views' database.
#[derive(Debug)]
pub struct Views {
    path: PathBuf,
    db: Mutex<Connection>,
}

impl Views {
    /// Opens the database, or makes it anew when there is none, or when it is not whole or of another schema.
    pub fn open(path: &Path) -> Result<Self> {
        let db = match connect(path).and_then(|db| usable(&db).map(|good| (db, good))) {
            Ok((db, true)) => db,
            _ => make(path)?,
        };
        Ok(Self { path: path.to_owned(), db: Mutex::new(db) })
    }

    /// Opens the database to read from, beside the process that writes to it.
    pub fn read_only(path: &Path) -> Result<Self> {
        let db = Connection::open_with_flags(path, rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        Ok(Self { path: path.to_owned(), db: Mutex::new(db) })
    }

    /// Drops everything; the next [`Views::catch_up`] projects the log from its first event.
    pub fn clear(&self) -> Result<()> {
        let mut db = self.lock();
        *db = Connection::open_in_memory()?;
        *db = make(&self.path)?;
        Ok(())
    }

    /// How many entries of the log these views cover.
    pub fn covers(&self) -> Result<u64> {
        covers(&self.lock())
    }

    /// The latest moment of any entry that is covered.
    pub fn last_moment(&self) -> Result<Timestamp> {
        let micros = self.lock().query_row("SELECT value FROM meta WHERE name = 'last'", [], |row| row.get(0))?;
        Ok(Timestamp::from_micros(micros))
    }

    /// Takes in what became durable since the last time, entries that the tiles hold first. Returns how many entries
    /// are covered then.
    pub fn catch_up(&self, log: &Log, tiles: &Mutex<Tiles>) -> Result<u64> {
        let mut db = self.lock();
        let mut next = covers(&db)?;
        if next > log.durable() {
            // These views are of a longer log: a restored one is shorter. They are of no use.
            *db = Connection::open_in_memory()?;
            *db = make(&self.path)?;
            next = 0;
        }
        while next < log.durable() {
            let entries = entries(log, tiles, next)?;
            let Some((last, _)) = entries.last() else {
                return Err(StoreError::Damaged { what: format!("entry {next} is durable and cannot be read") });
            };
            let covered = last.saturating_add(1);
            let tx = db.transaction()?;
            let mut last_moment = 0;
            for (index, bytes) in &entries {
                let event = Event::from_bytes(bytes).map_err(|source| StoreError::Entry { index: *index, source })?;
                project::event(&tx, *index, &event, bytes)?;
                last_moment = last_moment.max(event.ts.micros());
            }
            tx.execute("UPDATE meta SET value = ?1 WHERE name = 'last' AND value < ?1", [last_moment])?;
            tx.execute("UPDATE meta SET value = ?1 WHERE name = 'covers'", [covered])?;
            tx.commit()?;
            next = covered;
        }
        Ok(next)
    }

    fn lock(&self) -> MutexGuard<'_, Connection> {
        self.db.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Entries from `next` on: from the log's segments, or from the tiles where those have been retired.
fn entries(log: &Log, tiles: &Mutex<Tiles>, next: u64) -> Result<Vec<(u64, Vec<u8>)>> {
    if next >= log.first() {
        let entries = log.read(next, READ_BYTES)?;
        if !entries.is_empty() {
            return Ok(entries);
        }
    }
    tiles.lock().unwrap_or_else(PoisonError::into_inner).read(next)
}

fn covers(db: &Connection) -> Result<u64> {
    Ok(db.query_row("SELECT value FROM meta WHERE name = 'covers'", [], |row| row.get(0))?)
}

fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let db = Connection::open(path)?;
    // A crash may cost the last transactions, never the file: what is missing is projected again from the log.
    db.execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA temp_store = MEMORY;")?;
    db.set_prepared_statement_cache_capacity(64);
    Ok(db)
}

fn usable(db: &Connection) -> rusqlite::Result<bool> {
    let version: Option<i64> = db.query_row("SELECT value FROM meta WHERE name = 'schema'", [], |row| row.get(0)).optional()?;
    Ok(version == Some(SCHEMA))
}

fn make(path: &Path) -> Result<Connection> {
    for suffix in ["", "-wal", "-shm"] {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        match std::fs::remove_file(&name) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(StoreError::io("remove", Path::new(&name))(e)),
            _ => {}
        }
    }
    let db = connect(path)?;
    db.execute_batch(include_str!("schema.sql"))?;
    Ok(db)
}

const SCHEMA: i64 = 2;
const READ_BYTES: usize = 2 << 20;
