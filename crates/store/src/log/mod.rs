//! The embedded log: one writer, segments, group commit.
//!
//! Whatever was enqueued while the last fdatasync ran is the next batch; there is no timer. So an idle write costs
//! one fdatasync, and a busy one almost nothing. A batch is the unit of durability: after a crash it is there whole or
//! not at all.

pub mod batch;
#[cfg(test)]
mod crash_tests;
mod pace;
mod segments;
mod writer;

use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, mpsc};
use std::task::{Context, Poll};

use tokio::sync::{oneshot, watch};

use crate::StoreError;
use crate::error::Result;
use crate::record::Record;
use segments::Segments;
use writer::{Job, Writer};

/// How large a segment is: 16 MiB, so that a new log is ready in milliseconds.
pub const SEGMENT_BYTES: u64 = 16 << 20;

/// The format's limit for one entry (tlog-tiles: a bundle's length field has 16 bits).
pub const MAX_ENTRY: usize = 65_535;
/// The most that is kept beside an entry.
pub const MAX_PRIVATE: usize = 192 << 10;

/// The most that one append may hold: a batch gathers up to this and one append more, and must fit into a segment.
pub const MAX_APPEND: usize = 4 << 20;

/// The log, shared by all who append and read. Dropping the last handle waits for the writer to finish.
#[derive(Debug)]
pub struct Log {
    queue: Mutex<Queue>,
    segments: Arc<Segments>,
    durable: watch::Receiver<u64>,
    stopped: Arc<OnceLock<String>>,
    writer: Option<std::thread::JoinHandle<()>>,
}

#[derive(Debug)]
struct Queue {
    next: u64,
    jobs: Option<mpsc::Sender<Job>>,
}

/// An append under way: resolves to the index of its first entry once all of them are durable.
#[must_use = "what is not awaited may not be durable"]
pub struct Pending(oneshot::Receiver<std::result::Result<u64, String>>);

impl Future for Pending {
    type Output = Result<u64>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(cx).map(settle)
    }
}

impl Pending {
    /// Waits on this thread; not for use inside an async runtime.
    pub fn wait(self) -> Result<u64> {
        settle(self.0.blocking_recv())
    }
}

fn settle(answer: std::result::Result<std::result::Result<u64, String>, oneshot::error::RecvError>) -> Result<u64> {
    match answer {
        Ok(Ok(index)) => Ok(index),
        Ok(Err(why)) => Err(StoreError::Stopped { why }),
        Err(_) => Err(StoreError::Stopped { why: "its writer has ended".into() }),
    }
}

impl Log {
    /// Opens the log in `dir`: finds the end of the last whole batch, cuts off a torn one, and starts the writer.
    ///
    /// `kept` is the number of entries that the tiles hold durably; segments may be missing below it, never above.
    pub fn open(dir: &Path, kept: u64) -> Result<Self> {
        let segments = Arc::new(Segments::open(dir, kept)?);
        let next = segments.end();
        let (durable_tx, durable) = watch::channel(next);
        let (jobs, queue) = mpsc::channel();
        let stopped = Arc::new(OnceLock::new());
        let writer = Writer::new(Arc::clone(&segments), queue, durable_tx, Arc::clone(&stopped))?;
        let handle = std::thread::Builder::new()
            .name("log-writer".into())
            .spawn(move || writer.run())
            .map_err(StoreError::io("start the writer for", dir))?;
        Ok(Self { queue: Mutex::new(Queue { next, jobs: Some(jobs) }), segments, durable, stopped, writer: Some(handle) })
    }

    /// Queues entries, each a [`Record`], as one atomic append. The order of calls is the order of entries.
    pub fn append(&self, entries: Vec<Vec<u8>>) -> Result<Pending> {
        for (leaf, private) in entries.iter().map(|e| Record::split(e)) {
            for (part, limit) in [(leaf, MAX_ENTRY), (private, MAX_PRIVATE)] {
                if part.len() > limit {
                    return Err(StoreError::TooLarge { bytes: part.len(), limit });
                }
            }
        }
        let bytes = entries.iter().map(|e| e.len().saturating_add(4)).sum();
        if bytes > MAX_APPEND {
            return Err(StoreError::TooLarge { bytes, limit: MAX_APPEND });
        }
        let (done, answer) = oneshot::channel();
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let first = queue.next;
        let count = entries.len() as u64;
        let stopped = || StoreError::Stopped { why: "its writer has ended".into() };
        queue.jobs.as_ref().ok_or_else(stopped)?.send(Job { first, entries, done }).map_err(|_| stopped())?;
        queue.next = first.saturating_add(count);
        Ok(Pending(answer))
    }

    /// How many entries are durable.
    pub fn durable(&self) -> u64 {
        *self.durable.borrow()
    }

    /// Follows how many entries are durable.
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.durable.clone()
    }

    /// An error once a write has failed: nothing is accepted any more.
    pub fn check(&self) -> Result<()> {
        match self.stopped.get() {
            Some(why) => Err(StoreError::Stopped { why: why.clone() }),
            None => Ok(()),
        }
    }

    /// Durable entries from index `from` on, whole batches, about `bytes` bytes of them; empty at the end.
    pub fn read(&self, from: u64, bytes: usize) -> Result<Vec<(u64, Vec<u8>)>> {
        self.segments.read(from, self.durable(), bytes)
    }

    /// The first index that [`Log::read`] still has.
    pub fn first(&self) -> u64 {
        self.segments.first()
    }

    /// Lets go of segments whose entries are all below `kept`; their files are used again.
    pub fn retire(&self, kept: u64) -> Result<()> {
        self.segments.retire(kept)
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner).jobs = None;
        if let Some(writer) = self.writer.take() {
            let _ = writer.join();
        }
    }
}
