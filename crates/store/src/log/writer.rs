//! The one thread that writes: natural batching, and a stop for good at the first failed write.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock, mpsc};

use tokio::sync::{oneshot, watch};

use super::batch;
use super::pace::Pace;
use super::segments::{Segments, Tail};
use super::{MAX_APPEND, SEGMENT_BYTES};
use crate::error::{Result, describe};

/// An append that waits to be written.
pub(super) struct Job {
    pub first: u64,
    pub entries: Vec<Vec<u8>>,
    pub done: oneshot::Sender<std::result::Result<u64, String>>,
}

pub(super) struct Writer {
    segments: Arc<Segments>,
    queue: mpsc::Receiver<Job>,
    durable: watch::Sender<u64>,
    /// Why the log has stopped, once it has.
    stopped: Arc<OnceLock<String>>,
    spares: mpsc::Receiver<Result<PathBuf>>,
    preparer: std::thread::JoinHandle<()>,
    pace: Arc<Pace>,
    tail: Option<Tail>,
    buffer: Vec<u8>,
}

impl Writer {
    pub(super) fn new(
        segments: Arc<Segments>,
        queue: mpsc::Receiver<Job>,
        durable: watch::Sender<u64>,
        stopped: Arc<OnceLock<String>>,
    ) -> Result<Self> {
        // A rendezvous channel: while one prepared file waits to be taken, no other is made.
        let (give, spares) = mpsc::sync_channel(0);
        let tail = segments.tail();
        let pace = Arc::new(Pace::default());
        pace.filled(tail.as_ref().map_or(u64::MAX, |tail| tail.offset));
        let (from, at) = (Arc::clone(&segments), Arc::clone(&pace));
        let preparer = std::thread::Builder::new()
            .name("log-prepare".into())
            .spawn(move || while from.prepare(&at).transpose().is_some_and(|spare| give.send(spare).is_ok()) {})
            .map_err(|source| crate::StoreError::Io { what: "start a thread for", path: PathBuf::from("log"), source })?;
        pace.preparer(preparer.thread());
        Ok(Self { segments, queue, durable, stopped, spares, preparer, pace, tail, buffer: Vec::new() })
    }

    pub(super) fn run(mut self) {
        while let Ok(job) = self.queue.recv() {
            let jobs = self.gather(job);
            // After a failed write nobody knows what is on the disk: nothing more is accepted, and nothing is retried.
            let result = match self.stopped.get().cloned() {
                Some(why) => Err(why),
                None => self.commit(&jobs).map_err(|e| describe(&e)),
            };
            if let Err(why) = &result {
                let _ = self.stopped.set(why.clone());
            }
            for job in jobs {
                let _ = job.done.send(result.clone().map(|()| job.first));
            }
        }
        // The preparer must not write to a file that the next opening takes for its own.
        drop(self.spares);
        self.pace.end();
        let _ = self.preparer.join();
    }

    /// The job and all that queued behind it, up to the size of a batch.
    fn gather(&self, first: Job) -> Vec<Job> {
        let size = |job: &Job| job.entries.iter().map(|e| e.len() + 4).sum::<usize>();
        let mut bytes = size(&first);
        let mut jobs = vec![first];
        while bytes < MAX_APPEND {
            let Ok(job) = self.queue.try_recv() else { break };
            bytes += size(&job);
            jobs.push(job);
        }
        jobs
    }

    fn commit(&mut self, jobs: &[Job]) -> Result<()> {
        let Some(first) = jobs.first().map(|j| j.first) else { return Ok(()) };
        let entries = || jobs.iter().flat_map(|j| &j.entries).map(Vec::as_slice);
        let count = entries().count() as u32;
        if count == 0 {
            return Ok(());
        }
        self.buffer.clear();
        batch::encode(&mut self.buffer, first, entries());
        let mut tail = match self.tail.take() {
            Some(tail) if tail.offset.saturating_add(self.buffer.len() as u64) <= SEGMENT_BYTES => tail,
            _ => self.next_segment(first)?,
        };
        tail.segment.write(&self.buffer, tail.offset)?;
        self.segments.wrote(&tail, first, count, self.buffer.len());
        tail.offset = tail.offset.saturating_add(self.buffer.len() as u64);
        self.pace.filled(tail.offset);
        self.tail = Some(tail);
        self.durable.send_replace(first.saturating_add(u64::from(count)));
        Ok(())
    }

    fn next_segment(&self, first: u64) -> Result<Tail> {
        let ended = |_| crate::StoreError::Stopped { why: "no segment is being prepared".into() };
        self.pace.filled(u64::MAX);
        let spare = self.spares.recv().map_err(ended)??;
        self.segments.begin(&spare, first)
    }
}
