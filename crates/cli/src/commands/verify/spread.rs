//! Entries are read on every core while the log is walked, and hashed, on one.

use std::collections::BTreeMap;
use std::num::NonZero;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{available_parallelism, scope};

use marque_ledger::OnEntry;

use super::facts::Facts;

/// What the entries of a log say.
#[derive(Debug, Default, PartialEq)]
pub struct Gathered {
    pub facts: Facts,
    /// Entries that are no events, and why: the first of them.
    pub refused: Vec<(u64, String)>,
}

/// Walks a log, and gathers what the entries say that the walk comes by. Each of them is read in full, on as many threads as
/// there are cores.
pub fn gather<T>(walk: impl FnOnce(&mut OnEntry<'_>) -> T) -> (T, Gathered) {
    gather_on(available_parallelism().map_or(1, NonZero::get), walk)
}

fn gather_on<T>(threads: usize, walk: impl FnOnce(&mut OnEntry<'_>) -> T) -> (T, Gathered) {
    scope(|scope| {
        let (hand, work) = sync_channel(WAITING * threads);
        let (answer, answers) = channel();
        // The threads alone hold on to the work, so that the walk does not wait for threads that are gone.
        let work = Arc::new(Mutex::new(work));
        for _ in 0..threads {
            let (work, answer) = (Arc::clone(&work), answer.clone());
            scope.spawn(move || read(&work, &answer));
        }
        drop((work, answer));
        let mut gathering =
            Gathering { hand, answers, batch: Batch::default(), merged: 0, early: BTreeMap::new(), so_far: Gathered::default() };
        let walked = walk(&mut |index: u64, entry: &[u8]| {
            gathering.take(index, entry);
            Ok(())
        });
        (walked, gathering.finish())
    })
}

/// What a thread does until no more work comes.
fn read(work: &Mutex<Receiver<Batch>>, answer: &Sender<(u64, Gathered)>) {
    loop {
        let batch = work.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(batch) = batch else { return };
        if answer.send((batch.number, batch.read())).is_err() {
            return;
        }
    }
}

/// Entries that follow one another.
#[derive(Default)]
struct Batch {
    /// Its place among the batches.
    number: u64,
    bytes: Vec<u8>,
    /// The index of each entry, and where it ends.
    entries: Vec<(u64, usize)>,
}

impl Batch {
    fn read(&self) -> Gathered {
        let mut gathered = Gathered::default();
        let mut start = 0;
        for (index, end) in &self.entries {
            let entry = self.bytes.get(start..*end).unwrap_or_default();
            gathered.add(*index, entry);
            start = *end;
        }
        gathered
    }
}

impl Gathered {
    fn add(&mut self, index: u64, entry: &[u8]) {
        if let Err(why) = self.facts.add(index, entry) {
            self.refuse((index, why));
        }
    }

    fn merge(&mut self, next: Self) {
        self.facts.merge(next.facts);
        next.refused.into_iter().for_each(|refused| self.refuse(refused));
    }

    fn refuse(&mut self, refused: (u64, String)) {
        if self.refused.len() < MOST {
            self.refused.push(refused);
        }
    }
}

/// Hands batches to the threads, and puts what they answer together in the order of the log.
struct Gathering {
    hand: SyncSender<Batch>,
    answers: Receiver<(u64, Gathered)>,
    /// What is handed over next.
    batch: Batch,
    /// How many batches are in `so_far`.
    merged: u64,
    /// Answers that came before those of an earlier batch.
    early: BTreeMap<u64, Gathered>,
    so_far: Gathered,
}

impl Gathering {
    fn take(&mut self, index: u64, entry: &[u8]) {
        self.batch.bytes.extend_from_slice(entry);
        self.batch.entries.push((index, self.batch.bytes.len()));
        if self.batch.entries.len() >= ENTRIES || self.batch.bytes.len() >= BYTES {
            self.hand_over();
            while let Ok((number, answer)) = self.answers.try_recv() {
                self.put(number, answer);
            }
        }
    }

    fn hand_over(&mut self) {
        let next = Batch {
            number: self.batch.number + 1,
            bytes: Vec::with_capacity(self.batch.bytes.len()),
            entries: Vec::with_capacity(self.batch.entries.len()),
        };
        // Refused only where every thread has panicked, and the scope goes on with that.
        let _ = self.hand.send(std::mem::replace(&mut self.batch, next));
    }

    fn put(&mut self, number: u64, answer: Gathered) {
        self.early.insert(number, answer);
        while let Some(next) = self.early.remove(&self.merged) {
            self.so_far.merge(next);
            self.merged += 1;
        }
    }

    /// Waits for every answer.
    fn finish(mut self) -> Gathered {
        self.hand_over();
        let Self { hand, answers, mut early, mut so_far, .. } = self;
        drop(hand);
        early.extend(answers);
        early.into_values().for_each(|next| so_far.merge(next));
        so_far
    }
}

/// As many entries as a bundle has.
const ENTRIES: usize = 256;
/// Entries may be of 64 KiB.
const BYTES: usize = 1 << 20;
/// How many batches wait for each thread.
const WAITING: usize = 2;
/// More faults than a report has.
const MOST: usize = 100;

#[cfg(test)]
mod tests {
    use marque_core::event::{Body, By, Event, SCHEMA};
    use marque_core::id::{EventId, ObserverId};
    use marque_core::time::Timestamp;

    use super::*;

    fn entry(number: u64) -> Vec<u8> {
        let (id, ts) = (EventId::from_bytes([1; 16]), Timestamp::from_seconds(1));
        let what = Body::Pruned { below: number, policy: "x".repeat(number as usize % 700) };
        let obs = Some(ObserverId::from_bytes([(number % 3) as u8; 16]));
        Event { id, v: SCHEMA, ts, obs, iseq: number / 3 + 1, by: By::System, what }.to_bytes().unwrap()
    }

    #[test]
    fn many_threads_find_what_one_finds() {
        let mut entries: Vec<Vec<u8>> = (0..3000).map(entry).collect();
        for broken in [0, 255, 256, 1700, 2999] {
            entries[broken] = b"no event".to_vec();
        }
        entries.push(vec![b' '; 65_535]);
        let mut once = Gathered::default();
        (0..).zip(&entries).for_each(|(index, entry)| once.add(index, entry));
        assert_eq!(once.refused.iter().map(|(index, _)| *index).collect::<Vec<_>>(), [0, 255, 256, 1700, 2999, 3000]);
        for threads in 1..=5 {
            let (walked, spread) = gather_on(threads, |on_entry| {
                let mut walked = 0_usize;
                for (index, entry) in (0..).zip(&entries) {
                    on_entry(index, entry).unwrap();
                    walked += 1;
                }
                walked
            });
            assert_eq!((walked, &spread), (entries.len(), &once), "{threads} threads");
        }
    }

    #[test]
    fn a_walk_that_comes_by_nothing_finds_nothing() {
        assert_eq!(gather_on(2, |_| ()).1, Gathered::default());
    }

    #[test]
    fn no_more_than_a_report_has_are_told() {
        let (_, spread) = gather_on(2, |on_entry| (0..5000).for_each(|index| on_entry(index, b"{}").unwrap()));
        assert_eq!(spread.refused.iter().map(|(index, _)| *index).collect::<Vec<_>>(), (0..100).collect::<Vec<_>>());
    }
}
