//! An index in a directory of its own, and the model that it should answer as.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use marque_store::runs::{Found, Limits, Runs};
use tempfile::TempDir;

/// What a log would feed: the keys of each entry, and which entries were erased.
#[derive(Clone, Debug, Default)]
pub(super) struct Model {
    pub(super) entries: Vec<Vec<u64>>,
    pub(super) erased: BTreeSet<u64>,
}

/// The entries of each key.
type Postings = BTreeMap<u64, BTreeSet<u64>>;

impl Model {
    pub(super) fn postings(&self, below: u64) -> Postings {
        let mut postings = Postings::new();
        for (seq, keys) in (0..below).zip(&self.entries).filter(|(seq, _)| !self.erased.contains(seq)) {
            keys.iter().for_each(|key| _ = postings.entry(*key).or_default().insert(seq));
        }
        postings
    }

    /// Checks every answer about these keys.
    pub(super) fn check(&self, runs: &mut Runs, keys: &[u64]) {
        let postings = self.postings(self.len());
        for most in [0, 1, 3, usize::MAX] {
            assert_eq!(runs.find(keys, most).unwrap(), answer(&postings, keys, most));
        }
        let (stats, distinct) = (runs.stats(), postings.values().map(BTreeSet::len).sum::<usize>());
        assert!(stats.postings + stats.waiting >= distinct as u64);
    }

    pub(super) fn feed(&self, runs: &mut Runs) {
        for seq in (runs.covers()..self.len()).filter(|seq| !self.erased.contains(seq)) {
            self.entries[seq as usize].iter().for_each(|key| runs.add(*key, seq));
        }
        runs.advance(self.len()).unwrap();
    }

    pub(super) fn len(&self) -> u64 {
        self.entries.len() as u64
    }
}

/// What an index with these postings answers.
fn answer(postings: &Postings, keys: &[u64], most: usize) -> Vec<Found> {
    let keys: BTreeSet<u64> = keys.iter().copied().collect();
    let found = |key: u64| {
        let seqs = postings.get(&key)?;
        Some(Found { key, seqs: seqs.iter().rev().take(most).copied().collect(), more: seqs.len() > most })
    };
    keys.into_iter().filter_map(found).collect()
}

/// An index and the model that it should answer as.
pub(super) struct World {
    pub(super) dir: TempDir,
    limits: Limits,
    pub(super) runs: Runs,
    pub(super) model: Model,
}

impl World {
    pub(super) fn new(limits: Limits) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let runs = Runs::open_with(dir.path(), limits).unwrap();
        Self { dir, limits, runs, model: Model::default() }
    }

    pub(super) fn append(&mut self, keys: Vec<u64>) {
        let seq = self.model.len();
        keys.iter().for_each(|key| self.runs.add(*key, seq));
        self.model.entries.push(keys);
        self.runs.advance(seq + 1).unwrap();
    }

    /// The process ends here, and the next one takes over.
    pub(super) fn crash(&mut self) {
        let fresh = Runs::open_with(tempfile::tempdir().unwrap().path(), self.limits).unwrap();
        std::mem::forget(std::mem::replace(&mut self.runs, fresh));
        self.runs = self.reopened(self.dir.path());
        self.model.feed(&mut self.runs);
    }

    /// What an index in this state knows below `covers` is complete, and what it knows above is true.
    fn reopened(&self, dir: &Path) -> Runs {
        let mut runs = Runs::open_with(dir, self.limits).unwrap();
        let covers = runs.covers();
        assert!(covers <= self.model.len());
        let (everything, covered) = (self.model.postings(self.model.len()), self.model.postings(covers));
        let known: Postings =
            runs.find(&keys(), usize::MAX).unwrap().into_iter().map(|f| (f.key, f.seqs.into_iter().collect())).collect();
        for key in keys() {
            let [known, everything, covered] =
                [&known, &everything, &covered].map(|all| all.get(&key).cloned().unwrap_or_default());
            assert!(
                known.is_subset(&everything) && covered.is_subset(&known),
                "{key}: {covered:?} <= {known:?} <= {everything:?}"
            );
        }
        runs
    }

    /// A crash at this moment would lose nothing that is covered.
    pub(super) fn check_copy(&self) {
        self.reopened(put(&files(self.dir.path())).path());
    }

    pub(super) fn check(&mut self) {
        self.model.check(&mut self.runs, &keys());
    }
}

/// Every key that the tests use, and some that they do not.
pub(super) fn keys() -> Vec<u64> {
    (0..70).map(key).chain([0, 1, 2, 3, u64::MAX - 1, u64::MAX]).collect()
}

pub(super) fn key(n: u64) -> u64 {
    (n + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ n << 7
}

pub(super) fn small() -> Limits {
    Limits { memtable: 20, step: 7, alike: 3, runs: 8, filter: 1 << 20 }
}

/// The files of an index, by name.
pub(super) type Files = BTreeMap<String, Vec<u8>>;

pub(super) fn files(dir: &Path) -> Files {
    let read = |entry: std::io::Result<std::fs::DirEntry>| {
        let entry = entry.unwrap();
        Some((entry.file_name().into_string().unwrap(), std::fs::read(entry.path()).ok()?))
    };
    std::fs::read_dir(dir).unwrap().filter_map(read).collect()
}

pub(super) fn put(files: &Files) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    files.iter().for_each(|(name, bytes)| std::fs::write(dir.path().join(name), bytes).unwrap());
    dir
}

/// A few entries in two runs.
pub(super) fn two_runs() -> World {
    let mut world = World::new(Limits { memtable: usize::MAX, alike: 2, ..small() });
    for entry in 0..60 {
        world.append(vec![key(entry), key(entry % 9), 2]);
        if entry == 29 {
            world.runs.flush().unwrap();
        }
    }
    world.runs.flush().unwrap();
    assert_eq!(world.runs.stats().runs, 2);
    world
}

/// Lengths at which a file that is being written may end.
pub(super) fn ends(bytes: &[u8], step: usize) -> impl Iterator<Item = usize> {
    (0..bytes.len()).step_by(step).chain([bytes.len()])
}
