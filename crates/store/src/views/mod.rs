//! Views: tables for queries. A projection of the log that can be dropped and rebuilt; every answer says how far it
//! covers.

mod erase;
mod project;
mod queries;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use marque_core::event::Event;
use marque_core::time::Timestamp;
use marque_ledger::Bundle;
use rusqlite::{Connection, OptionalExtension as _};

use crate::StoreError;
use crate::error::Result;
use crate::index::Index;
use crate::log::Log;
use crate::record::Record;
use crate::tiles::{Tiles, read_records};
use crate::vault::{Opened, Vault};

pub use queries::{HeldElevation, RecordRow, TaskRow};

/// The views of one log: tables, the index, and a way to read entries again.
#[derive(Debug)]
pub struct Views {
    path: PathBuf,
    db: Mutex<Connection>,
    index: Index,
    vault: Arc<Vault>,
    log: Arc<Log>,
    tiles: Arc<Mutex<Tiles>>,
    ledger: PathBuf,
    /// The bundle that was read last: neighbours are asked for together.
    last: Mutex<Option<(u64, u16, Records)>>,
}

type Records = Arc<Vec<(u64, Vec<u8>)>>;

impl Views {
    /// Opens the database, or makes it anew when there is none, or when it is not whole or of another schema.
    pub fn open(path: &Path, vault: Arc<Vault>, log: Arc<Log>, tiles: Arc<Mutex<Tiles>>) -> Result<Self> {
        let db = match connect(path).and_then(|db| usable(&db).map(|good| (db, good))) {
            Ok((db, true)) => db,
            _ => make(path)?,
        };
        let index = Index::open(&path.with_file_name("index"), Arc::clone(&vault))?;
        let ledger = tiles.lock().unwrap_or_else(PoisonError::into_inner).dir().to_owned();
        let (db, last) = (Mutex::new(db), Mutex::default());
        Ok(Self { path: path.to_owned(), db, index, vault, log, tiles, ledger, last })
    }

    /// Drops everything; the next [`Views::catch_up`] projects the log from its first event.
    pub fn clear(&self) -> Result<()> {
        let mut db = self.lock();
        *db = Connection::open_in_memory()?;
        *db = make(&self.path)?;
        self.index.clear()
    }

    /// The index.
    pub fn index(&self) -> &Index {
        &self.index
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
    pub fn catch_up(&self) -> Result<u64> {
        let mut db = self.lock();
        let durable = self.log.durable();
        if covers(&db)? > durable || self.index.covers() > durable {
            // These views are of a longer log: a restored one is shorter. They are of no use.
            *db = Connection::open_in_memory()?;
            *db = make(&self.path)?;
            self.index.clear()?;
        }
        loop {
            let (tables, index) = (covers(&db)?, self.index.covers());
            let next = tables.min(index);
            if next >= durable {
                return Ok(next);
            }
            let entries = self.entries(next)?;
            let Some(covered) = entries.last().map(|(last, _)| last.saturating_add(1)) else {
                self.skip_pruned(&mut db, next)?;
                continue;
            };
            let opened = self.opened(&entries)?;
            let feed = || self.index.feed(opened.iter().filter(|(i, _)| *i >= index).map(|(i, event)| (*i, event)), covered);
            // Each says for itself how far it covers, and neither looks at the other.
            std::thread::scope(|scope| {
                let fed = (opened.len() >= MANY).then(|| scope.spawn(feed));
                project(&mut db, opened.iter().filter(|(i, _)| *i >= tables), covered)?;
                fed.map_or_else(feed, |thread| thread.join().unwrap_or_else(|_| Err(ended())))
            })?;
        }
    }

    /// The events of entries, in order. Opening is most of the work of a projection, so many entries are opened by several
    /// threads.
    fn opened(&self, entries: &[(u64, Vec<u8>)]) -> Result<Vec<(u64, Event)>> {
        let open = |(index, bytes): &(u64, Vec<u8>)| {
            let (leaf, private) = Record::split(bytes);
            Ok((*index, self.vault.open_entry(*index, leaf, private)?.event))
        };
        let cores = || std::thread::available_parallelism().map_or(1, usize::from);
        let threads = if entries.len() < MANY { 1 } else { cores().min(OPENERS) };
        if threads == 1 {
            return entries.iter().map(open).collect();
        }
        let parts: Vec<Result<Vec<_>>> = std::thread::scope(|scope| {
            let parts = entries.chunks(entries.len().div_ceil(threads));
            let running: Vec<_> = parts.map(|part| scope.spawn(move || part.iter().map(open).collect())).collect();
            running.into_iter().map(|thread| thread.join().unwrap_or_else(|_| Err(ended()))).collect()
        });
        let mut all = Vec::with_capacity(entries.len());
        for part in parts {
            all.extend(part?);
        }
        Ok(all)
    }

    /// Where the contents of entries were let go, what was kept of them is taken in, and the views go on behind them.
    fn skip_pruned(&self, db: &mut Connection, next: u64) -> Result<()> {
        let (below, kept) = {
            let tiles = self.tiles();
            (tiles.pruned(), tiles.retained()?)
        };
        if next >= below {
            return Err(StoreError::Damaged { what: format!("entry {next} is durable and cannot be read") });
        }
        let opened = self.opened(&kept)?;
        let (tables, index) = (covers(db)?, self.index.covers());
        self.index.feed(opened.iter().filter(|(i, _)| *i >= index).map(|(i, event)| (*i, event)), below)?;
        if tables < below {
            db.execute("INSERT OR REPLACE INTO meta VALUES ('pruned', ?1)", [below])?;
        }
        project(db, opened.iter().filter(|(i, _)| *i >= tables), below)
    }

    /// Durable entries from `next` on, as the log keeps them, about four mebibytes at most: from the log's segments, or from
    /// the tiles where those have been retired; none at the end and where they were pruned.
    pub fn entries(&self, next: u64) -> Result<Vec<(u64, Vec<u8>)>> {
        // The segments may still have what was let go.
        if next < self.tiles().pruned() {
            return Ok(Vec::new());
        }
        if next >= self.log.first() {
            let entries = self.log.read(next, READ_BYTES)?;
            if !entries.is_empty() {
                return Ok(entries);
            }
        }
        let tiles = self.tiles();
        let (mut entries, mut bytes, mut from) = (Vec::new(), 0_usize, next);
        while bytes < READ_BYTES {
            let more = tiles.read(from)?;
            let Some((last, _)) = more.last() else { break };
            from = last.saturating_add(1);
            bytes = bytes.saturating_add(more.iter().map(|(_, bytes)| bytes.len()).sum());
            entries.extend(more);
        }
        Ok(entries)
    }

    /// One entry, opened; nothing where it was pruned or is not there.
    pub fn entry(&self, seq: u64) -> Result<Option<Opened>> {
        let Some(bytes) = self.raw(seq)? else { return Ok(None) };
        let (leaf, private) = Record::split(&bytes);
        self.vault.open_entry(seq, leaf, private).map(Some)
    }

    /// One entry as the log keeps it: a [`Record`].
    pub fn raw(&self, seq: u64) -> Result<Option<Vec<u8>>> {
        if seq >= self.log.durable() {
            return Ok(None);
        }
        let (published, pruned) = {
            let tiles = self.tiles();
            (tiles.head().size, tiles.pruned())
        };
        if seq < pruned {
            return Ok(None);
        }
        if seq >= published {
            return Ok(self.log.read(seq, 1)?.into_iter().find(|(index, _)| *index == seq).map(|(_, bytes)| bytes));
        }
        let Some(bundle) = Bundle::in_tree(seq / 256, published) else { return Ok(None) };
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let known = last.as_ref().filter(|(index, width, _)| (*index, *width) == (bundle.index, bundle.width));
        let records = match known {
            Some((_, _, records)) => Arc::clone(records),
            None => {
                // A publication meanwhile may have put a wider file in this one's place.
                let read = read_records(&self.ledger, bundle).or_else(|_| self.entries(bundle.index.saturating_mul(256)))?;
                let records = Arc::new(read);
                *last = Some((bundle.index, bundle.width, Arc::clone(&records)));
                records
            }
        };
        Ok(records.iter().find(|(index, _)| *index == seq).map(|(_, bytes)| bytes.clone()))
    }

    fn tiles(&self) -> MutexGuard<'_, Tiles> {
        self.tiles.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, Connection> {
        self.db.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn ended() -> StoreError {
    StoreError::Damaged { what: "a thread that took entries in has ended".into() }
}

/// As many threads open entries at most, and from so many entries on.
const OPENERS: usize = 4;
const MANY: usize = 256;

/// Projects entries in one transaction.
fn project<'a>(db: &mut Connection, entries: impl Iterator<Item = &'a (u64, Event)>, covered: u64) -> Result<()> {
    let tx = db.transaction()?;
    let mut last_moment = 0;
    let pruned = tx.query_row("SELECT value FROM meta WHERE name = 'pruned'", [], |row| row.get(0)).optional()?.unwrap_or(0);
    let mut tally = project::Tally::above(pruned);
    for (index, event) in entries {
        project::event(&tx, *index, event, &mut tally)?;
        last_moment = last_moment.max(event.ts.micros());
    }
    tally.write(&tx)?;
    tx.execute("UPDATE meta SET value = ?1 WHERE name = 'last' AND value < ?1", [last_moment])?;
    tx.execute("UPDATE meta SET value = ?1 WHERE name = 'covers' AND value < ?1", [covered])?;
    Ok(tx.commit()?)
}

fn covers(db: &Connection) -> Result<u64> {
    Ok(db.query_row("SELECT value FROM meta WHERE name = 'covers'", [], |row| row.get(0))?)
}

fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let db = Connection::open(path)?;
    // A crash may cost the last transactions, never the file: what is missing is projected again from the log.
    db.execute_batch(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA temp_store = MEMORY; \
                      PRAGMA secure_delete = ON;",
    )?;
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

const SCHEMA: i64 = 6;
const READ_BYTES: usize = 4 << 20;
