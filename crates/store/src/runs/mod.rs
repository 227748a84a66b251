//! The posting index: which log entries have a key, for keys that come in at random and by the hundred thousand a second.
//!
//! Keys are digests and fingerprints, already keyed and hashed to 64 bits. Postings gather in a sorted memtable and are
//! written as immutable runs, which are merged in steps so that few remain. The index is a projection of the log: it
//! says durably how far it covers, after a crash it has everything below that, and an entry that is fed twice counts once.
//! A damaged index is made anew by [`Runs::reset`] and feeding.

mod block;
mod filter;
mod layout;
mod manifest;
mod memtable;
mod merge;
mod run;
mod snapshot;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use self::snapshot::{Found, Reader, Snapshot, Stats};

use self::block::Posting;
use self::manifest::Manifest;
use self::memtable::Memtable;
use self::merge::{Cursor, Merge};
use self::run::Run;
use self::writer::Writer;
use crate::StoreError;
use crate::dir::make_private_dir;
use crate::error::Result;

/// A posting index in a directory that belongs to this process: the one writer. Others look through a [`Reader`].
#[derive(Debug)]
pub struct Runs {
    dir: PathBuf,
    limits: Limits,
    memtable: Memtable,
    runs: Vec<Arc<Run>>,
    /// Everything below is in runs.
    covers: u64,
    /// Everything below was added.
    fed: u64,
    next: u64,
    merging: Option<Merge>,
    reader: Reader,
}

/// How much is held and done at once.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// How many postings gather in memory before they become a run.
    pub memtable: usize,
    /// How many postings one step of a merge handles.
    pub step: usize,
    /// How many runs of about one size are merged into the next size.
    pub alike: usize,
    /// How many runs there are at most: above, whoever flushes merges.
    pub runs: usize,
    /// The largest filter of a run that is kept in memory, in bytes: 512 for some 430 postings. Runs grow by a factor, so
    /// all kept filters together take a few times this at most. Other filters are read where they are needed.
    pub filter: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { memtable: 4 << 20, step: 1 << 18, alike: 4, runs: 48, filter: 32 << 20 }
    }
}

impl Runs {
    /// Opens the index, or makes one; discards what was not finished when the process ended.
    pub fn open(dir: &Path) -> Result<Self> {
        Self::open_with(dir, Limits::default())
    }

    /// Opens the index with limits of one's own.
    pub fn open_with(dir: &Path, limits: Limits) -> Result<Self> {
        make_private_dir(dir)?;
        let manifest = Manifest::read(dir)?;
        let runs =
            manifest.runs.iter().map(|listed| Run::open(dir, *listed, limits.filter).map(Arc::new)).collect::<Result<_>>()?;
        manifest.discard_others(dir)?;
        let mut opened = Self {
            dir: dir.to_owned(),
            limits,
            memtable: Memtable::default(),
            runs,
            covers: manifest.covers,
            fed: manifest.covers,
            next: manifest.next,
            merging: None,
            reader: Reader::default(),
        };
        opened.publish();
        Ok(opened)
    }

    /// Makes an empty index of whatever is in the directory, damaged or not.
    pub fn reset(dir: &Path) -> Result<Self> {
        make_private_dir(dir)?;
        Manifest::default().write(dir)?;
        Self::open(dir)
    }

    /// The next log index to feed after a crash: all postings below are durable.
    pub fn covers(&self) -> u64 {
        self.covers
    }

    /// Adds a posting. It is found after the next [`Runs::advance`], [`Runs::snapshot`] or [`Runs::find`].
    pub fn add(&mut self, key: u64, seq: u64) {
        self.memtable.add(Posting { key, seq });
    }

    /// Says that all postings below `covers` have been added, and publishes them. Flushes when many wait.
    pub fn advance(&mut self, covers: u64) -> Result<()> {
        self.fed = self.fed.max(covers);
        self.publish();
        if self.memtable.len() >= self.limits.memtable { self.flush() } else { Ok(()) }
    }

    /// Makes everything durable. After an error all is as it was, and may be tried again.
    pub fn flush(&mut self) -> Result<()> {
        let waiting = self.memtable.all();
        if waiting.is_empty() && self.fed == self.covers {
            return Ok(());
        }
        let mut runs = self.runs.clone();
        if let Some(base) = waiting.iter().map(|posting| posting.seq).min() {
            let run = self.take_next();
            let mut writer = Writer::create(&self.dir, run, base)?;
            waiting.iter().try_for_each(|posting| writer.push(*posting))?;
            runs.extend(writer.finish(self.limits.filter)?.map(Arc::new));
        }
        self.commit(runs, self.fed)?;
        self.memtable.clear();
        self.publish();
        while self.runs.len() > self.limits.runs && self.merge_step()? {}
        Ok(())
    }

    /// Looks up keys; see [`Snapshot::find`].
    pub fn find(&mut self, keys: &[u64], most_per_key: usize) -> Result<Vec<Found>> {
        self.snapshot().find(keys, most_per_key)
    }

    /// Everything that was added until now.
    pub fn snapshot(&mut self) -> Arc<Snapshot> {
        self.publish();
        self.reader.snapshot()
    }

    /// A way to look things up without this, while it writes.
    pub fn reader(&self) -> Reader {
        self.reader.clone()
    }

    /// Rewrites the runs without the postings of some entries, and returns how many went. Whoever feeds the index again
    /// leaves those entries out. Snapshots taken before still have them. After an error some may have gone: ask again.
    pub fn remove(&mut self, seqs: &dyn Fn(u64) -> bool) -> Result<u64> {
        self.merging = None;
        let mut gone = self.memtable.remove(seqs);
        self.publish();
        for run in self.runs.clone() {
            gone = gone.saturating_add(self.remove_from(&run, seqs)?);
        }
        self.commit(self.runs.clone(), self.covers)?;
        self.discard_others()?;
        Ok(gone)
    }

    /// Forgets everything: nothing is covered then.
    pub fn clear(&mut self) -> Result<()> {
        self.merging = None;
        self.commit(Vec::new(), 0)?;
        self.fed = 0;
        self.memtable.clear();
        self.publish();
        self.discard_others()
    }

    /// Does one bounded step of merging; true when there is more to do.
    pub fn merge_step(&mut self) -> Result<bool> {
        let under_way = match self.merging.take() {
            Some(merge) => Some(merge),
            None => self.start_merge()?,
        };
        let Some(mut merge) = under_way else { return Ok(false) };
        if !merge.step(self.limits.step)? {
            self.merging = Some(merge);
            return Ok(true);
        }
        let (merged, inputs) = merge.finish(self.limits.filter)?;
        self.replace(&inputs, merged)?;
        Ok(self.alike().is_some())
    }

    /// Flushes, and merges all there is to merge.
    pub fn settle(&mut self) -> Result<()> {
        self.flush()?;
        while self.merge_step()? {}
        Ok(())
    }

    /// How large it is, as last published.
    pub fn stats(&self) -> Stats {
        self.reader.snapshot().stats()
    }

    fn publish(&mut self) {
        self.memtable.seal();
        let chunks = self.memtable.chunks().to_vec();
        self.reader.publish(Snapshot { covers: self.fed, chunks, runs: self.runs.clone() });
    }

    /// Makes these the runs, durably. If that fails, either set may be the one after a crash, so no file of either goes.
    fn commit(&mut self, runs: Vec<Arc<Run>>, covers: u64) -> Result<()> {
        self.manifest(&runs, covers).write(&self.dir)?;
        (self.runs, self.covers) = (runs, covers);
        Ok(())
    }

    fn manifest(&self, runs: &[Arc<Run>], covers: u64) -> Manifest {
        Manifest { covers, next: self.next, runs: runs.iter().map(|run| run.listed()).collect() }
    }

    fn replace(&mut self, old: &[u64], new: Option<Run>) -> Result<()> {
        let (gone, mut runs): (Vec<_>, Vec<_>) = self.runs.iter().cloned().partition(|run| old.contains(&run.listed().run));
        runs.extend(new.map(Arc::new));
        self.commit(runs, self.covers)?;
        self.publish();
        gone.iter().try_for_each(|run| std::fs::remove_file(run.path()).map_err(StoreError::io("remove", run.path())))
    }

    /// Removes every file that is not in use. A write that failed may have left some.
    fn discard_others(&self) -> Result<()> {
        self.manifest(&self.runs, self.covers).discard_others(&self.dir)
    }

    fn remove_from(&mut self, run: &Arc<Run>, seqs: &dyn Fn(u64) -> bool) -> Result<u64> {
        let gone = count(run, seqs)?;
        if gone == 0 {
            return Ok(0);
        }
        let next = self.take_next();
        let mut writer = Writer::create(&self.dir, next, run.base())?;
        let mut cursor = Cursor::new(Arc::clone(run))?;
        while let Some(posting) = cursor.head() {
            if !seqs(posting.seq) {
                writer.push(posting)?;
            }
            cursor.advance()?;
        }
        let left = writer.finish(self.limits.filter)?;
        self.replace(&[run.listed().run], left)?;
        Ok(gone)
    }

    fn start_merge(&mut self) -> Result<Option<Merge>> {
        let Some(inputs) = self.alike() else { return Ok(None) };
        let run = self.take_next();
        Merge::start(&self.dir, run, &inputs).map(Some)
    }

    /// The smallest runs of about one size, if they are enough to be merged.
    fn alike(&self) -> Option<Vec<Arc<Run>>> {
        let alike = self.limits.alike.max(2);
        let smallest = (self.limits.memtable / 64).max(1) as u64;
        let size = |run: &Run| (run.postings() / smallest).checked_ilog(alike as u64).map_or(0, |log| log.saturating_add(1));
        let mut sized: Vec<(u32, &Arc<Run>)> = self.runs.iter().map(|run| (size(run), run)).collect();
        sized.sort_by_key(|(size, _)| *size);
        let same = sized.chunk_by(|a, b| a.0 == b.0).find(|same| same.len() >= alike)?;
        Some(same.iter().take(MOST_INPUTS).map(|(_, run)| Arc::clone(run)).collect())
    }

    fn take_next(&mut self) -> u64 {
        let next = self.next;
        self.next = next.wrapping_add(1);
        next
    }
}

fn count(run: &Arc<Run>, seqs: &dyn Fn(u64) -> bool) -> Result<u64> {
    let mut cursor = Cursor::new(Arc::clone(run))?;
    let mut count = 0_u64;
    while let Some(posting) = cursor.head() {
        count = count.saturating_add(u64::from(seqs(posting.seq)));
        cursor.advance()?;
    }
    Ok(count)
}

/// How many runs are merged at once: each takes some 300 KiB of memory meanwhile.
const MOST_INPUTS: usize = 16;
