//! The posting index against a small model, against crashes at every step of its writing, and against damage.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use marque_store::StoreError;
use marque_store::runs::{Found, Limits, Runs};
use proptest::prelude::*;
use tempfile::TempDir;

/// What a log would feed: the keys of each entry, and which entries were erased.
#[derive(Clone, Debug, Default)]
struct Model {
    entries: Vec<Vec<u64>>,
    erased: BTreeSet<u64>,
}

/// The entries of each key.
type Postings = BTreeMap<u64, BTreeSet<u64>>;

impl Model {
    fn postings(&self, below: u64) -> Postings {
        let mut postings = Postings::new();
        for (seq, keys) in (0..below).zip(&self.entries).filter(|(seq, _)| !self.erased.contains(seq)) {
            keys.iter().for_each(|key| _ = postings.entry(*key).or_default().insert(seq));
        }
        postings
    }

    /// Checks every answer about these keys.
    fn check(&self, runs: &mut Runs, keys: &[u64]) {
        let postings = self.postings(self.len());
        for most in [0, 1, 3, usize::MAX] {
            assert_eq!(runs.find(keys, most).unwrap(), answer(&postings, keys, most));
        }
        let (stats, distinct) = (runs.stats(), postings.values().map(BTreeSet::len).sum::<usize>());
        assert!(stats.postings + stats.waiting >= distinct as u64);
    }

    fn feed(&self, runs: &mut Runs) {
        for seq in (runs.covers()..self.len()).filter(|seq| !self.erased.contains(seq)) {
            self.entries[seq as usize].iter().for_each(|key| runs.add(*key, seq));
        }
        runs.advance(self.len()).unwrap();
    }

    fn len(&self) -> u64 {
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
struct World {
    dir: TempDir,
    limits: Limits,
    runs: Runs,
    model: Model,
}

impl World {
    fn new(limits: Limits) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let runs = Runs::open_with(dir.path(), limits).unwrap();
        Self { dir, limits, runs, model: Model::default() }
    }

    fn append(&mut self, keys: Vec<u64>) {
        let seq = self.model.len();
        keys.iter().for_each(|key| self.runs.add(*key, seq));
        self.model.entries.push(keys);
        self.runs.advance(seq + 1).unwrap();
    }

    /// The process ends here, and the next one takes over.
    fn crash(&mut self) {
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
    fn check_copy(&self) {
        self.reopened(put(&files(self.dir.path())).path());
    }

    fn check(&mut self) {
        self.model.check(&mut self.runs, &keys());
    }
}

/// Every key that the tests use, and some that they do not.
fn keys() -> Vec<u64> {
    (0..70).map(key).chain([0, 1, 2, 3, u64::MAX - 1, u64::MAX]).collect()
}

fn key(n: u64) -> u64 {
    (n + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ n << 7
}

fn small() -> Limits {
    Limits { memtable: 20, step: 7, alike: 3, runs: 8, filter: 1 << 20 }
}

#[derive(Clone, Debug)]
enum Step {
    Append(Vec<u64>),
    Again(usize),
    Flush,
    Merge(usize),
    Settle,
    Remove(u64, u64),
    Crash,
    Clear,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let some_key = prop_oneof![4 => (0..60_u64).prop_map(key), 3 => 0..3_u64, 1 => Just(u64::MAX)];
    let step = prop_oneof![
        20 => prop::collection::vec(some_key, 0..12).prop_map(Step::Append),
        2 => any::<usize>().prop_map(Step::Again),
        3 => Just(Step::Flush),
        6 => (1..6_usize).prop_map(Step::Merge),
        1 => Just(Step::Settle),
        1 => (2..9_u64, 0..9_u64).prop_map(|(modulus, rest)| Step::Remove(modulus, rest)),
        2 => Just(Step::Crash),
        1 => Just(Step::Clear),
    ];
    prop::collection::vec(step, 1..120)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_index_answers_as_the_model_does(steps in steps(), alike in 2..5_usize, filter in prop_oneof![Just(0), Just(1 << 20)]) {
        let mut world = World::new(Limits { alike, filter, ..small() });
        for step in steps {
            match step {
                Step::Append(keys) => world.append(keys),
                Step::Again(n) if world.model.entries.is_empty() => _ = n,
                Step::Again(n) => {
                    let seq = n as u64 % world.model.len();
                    if !world.model.erased.contains(&seq) {
                        world.model.entries[seq as usize].iter().for_each(|key| world.runs.add(*key, seq));
                    }
                }
                Step::Flush => {
                    world.runs.flush().unwrap();
                    prop_assert_eq!(world.runs.covers(), world.model.len());
                }
                Step::Merge(times) => (0..times).for_each(|_| _ = world.runs.merge_step().unwrap()),
                Step::Settle => {
                    world.runs.settle().unwrap();
                    prop_assert_eq!(world.runs.stats().waiting, 0);
                    prop_assert!(!world.runs.merge_step().unwrap());
                }
                Step::Remove(modulus, rest) => {
                    let gone = |seq: u64| seq % modulus == rest;
                    let before: usize = world.model.postings(world.model.len()).values().map(BTreeSet::len).sum();
                    world.model.erased.extend((0..world.model.len()).filter(|seq| gone(*seq)));
                    let after: usize = world.model.postings(world.model.len()).values().map(BTreeSet::len).sum();
                    let removed = world.runs.remove(&gone).unwrap();
                    prop_assert!(removed >= (before - after) as u64);
                    prop_assert_eq!(removed == 0, before == after);
                }
                Step::Crash => world.crash(),
                Step::Clear => {
                    world.runs.clear().unwrap();
                    prop_assert_eq!(world.runs.covers(), 0);
                    prop_assert_eq!(world.runs.find(&keys(), 1).unwrap(), []);
                    world.model.feed(&mut world.runs);
                }
            }
            world.check();
        }
    }
}

/// Many blocks and groups, and a key whose postings fill blocks of their own.
#[test]
fn large_runs_answer_as_the_model_does() {
    let limits = Limits { memtable: 45_000, step: 10_000, alike: 3, runs: 48, filter: 0 };
    let mut world = World::new(limits);
    for entry in 0..5_000_u64 {
        let mut keys: Vec<u64> = (0..30).map(|n| key(entry * 30 + n)).collect();
        keys.extend([key(1), 5].iter().filter(|_| entry % 3 != 0));
        world.append(keys);
    }
    let some: Vec<u64> = (0..6_000).map(|n| key(n * 29)).chain([5, 6, key(1)]).collect();
    assert!(world.runs.stats().runs == 3 && world.runs.stats().waiting > 0);
    world.model.check(&mut world.runs, &some);
    world.runs.settle().unwrap();
    assert!(world.runs.stats().runs < 3);
    world.model.check(&mut world.runs, &some);
    world.model.erased.extend((0..5_000).filter(|seq| seq % 2 == 0));
    assert!(world.runs.remove(&|seq| seq % 2 == 0).unwrap() > 70_000);
    world.model.check(&mut world.runs, &some);
    world.runs = Runs::open_with(world.dir.path(), Limits { filter: 1 << 20, ..limits }).unwrap();
    assert_eq!(world.runs.covers(), 5_000);
    world.model.check(&mut world.runs, &some);
}

/// The files of an index, by name.
type Files = BTreeMap<String, Vec<u8>>;

fn files(dir: &Path) -> Files {
    let read = |entry: std::io::Result<std::fs::DirEntry>| {
        let entry = entry.unwrap();
        Some((entry.file_name().into_string().unwrap(), std::fs::read(entry.path()).ok()?))
    };
    std::fs::read_dir(dir).unwrap().filter_map(read).collect()
}

fn put(files: &Files) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    files.iter().for_each(|(name, bytes)| std::fs::write(dir.path().join(name), bytes).unwrap());
    dir
}

/// A few entries in two runs.
fn two_runs() -> World {
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

/// A directory as a crash left it opens as `expected`, with its answers and nothing left over.
fn opens_as(left: &Files, expected: &Files, what: &str) {
    let (dir, good) = (put(left), put(expected));
    let (mut runs, mut same) = (Runs::open(dir.path()).unwrap(), Runs::open(good.path()).unwrap());
    assert_eq!(runs.covers(), same.covers(), "{what}");
    assert_eq!(runs.find(&keys(), 20).unwrap(), same.find(&keys(), 20).unwrap(), "{what}");
    assert!(files(dir.path()) == *expected, "{what}: what was not finished is discarded");
}

/// Lengths at which a file that is being written may end.
fn ends(bytes: &[u8], step: usize) -> impl Iterator<Item = usize> {
    (0..bytes.len()).step_by(step).chain([bytes.len()])
}

/// A crash between any two file operations of a change, which are: write the run under another name, rename it, write the
/// manifest under another name, rename it, remove what it no longer lists.
fn every_crash(before: &Files, after: &Files, what: &str) {
    let new: Vec<&String> = after.keys().filter(|name| !before.contains_key(*name)).collect();
    let mut left = before.clone();
    for name in new {
        let bytes = &after[name];
        for end in ends(bytes, 997) {
            let mut left = left.clone();
            left.insert(format!("{name}.tmp"), bytes[..end].to_vec());
            opens_as(&left, before, &format!("{what}: {end} bytes of the run"));
        }
        left.insert(name.clone(), bytes.clone());
        opens_as(&left, before, &format!("{what}: the run has its name"));
    }
    for end in ends(&after["manifest"], 1) {
        let mut left = left.clone();
        left.insert(".manifest.tmp".to_owned(), after["manifest"][..end].to_vec());
        opens_as(&left, before, &format!("{what}: {end} bytes of the manifest"));
    }
    left.insert("manifest".to_owned(), after["manifest"].clone());
    opens_as(&left, after, &format!("{what}: the manifest has its name"));
    for name in before.keys().filter(|name| !after.contains_key(*name)) {
        left.remove(name);
        opens_as(&left, after, &format!("{what}: `{name}` is removed"));
    }
    assert!(left == *after, "{what}: that was all");
}

#[test]
fn a_crash_at_any_file_operation_leaves_the_index_before_or_after() {
    let mut world = two_runs();
    let mut before = files(world.dir.path());
    let mut change = |world: &mut World, what: &str, change: &dyn Fn(&mut World)| {
        change(world);
        let after = files(world.dir.path());
        assert!(before != after, "{what} changes something");
        every_crash(&before, &after, what);
        before = after;
    };
    change(&mut world, "merge", &|world| while world.runs.merge_step().unwrap() {});
    change(&mut world, "remove", &|world| assert_eq!(world.runs.remove(&|seq| seq == 7).unwrap(), 2));
    change(&mut world, "flush", &|world| {
        world.append(vec![key(1), 3]);
        world.runs.flush().unwrap();
    });
    change(&mut world, "flush of nothing", &|world| {
        world.append(vec![]);
        world.runs.flush().unwrap();
    });
    change(&mut world, "clear", &|world| world.runs.clear().unwrap());
}

#[test]
fn the_first_flush_may_crash_too() {
    let mut world = World::new(small());
    world.append(vec![1, 2, 3]);
    world.runs.flush().unwrap();
    let after = files(world.dir.path());
    let run = after.keys().find(|name| *name != "manifest").unwrap();
    let left = Files::from([(run.clone(), after[run].clone()), (".manifest.tmp".to_owned(), vec![])]);
    opens_as(&left, &Files::new(), "no manifest yet");
}

fn is_damaged<T: std::fmt::Debug>(result: Result<T, StoreError>, what: &str) {
    assert!(matches!(result, Err(StoreError::Damaged { .. })), "{what}: {result:?}");
}

#[test]
fn a_cut_or_missing_file_is_damage_and_is_left_as_it_is() {
    let world = two_runs();
    let good = files(world.dir.path());
    for (name, bytes) in &good {
        for end in ends(bytes, if name == "manifest" { 1 } else { 13 }).filter(|end| *end < bytes.len()) {
            let mut left = good.clone();
            left.insert(name.clone(), bytes[..end].to_vec());
            let dir = put(&left);
            is_damaged(Runs::open(dir.path()), &format!("`{name}` ends after {end} bytes"));
            assert!(files(dir.path()) == left);
        }
    }
    for name in good.keys().filter(|name| *name != "manifest") {
        let mut left = good.clone();
        left.remove(name);
        is_damaged(Runs::open(put(&left).path()), "a run is missing");
    }
    let mut swapped = good.clone();
    let names: Vec<&String> = good.keys().filter(|name| *name != "manifest").collect();
    swapped.insert(names[0].clone(), good[names[1]].clone());
    is_damaged(Runs::open(put(&swapped).path()), "one run in place of another");
}

#[test]
fn a_flipped_bit_is_damage_when_it_is_read_and_never_a_wrong_answer() {
    let world = two_runs();
    let good = files(world.dir.path());
    for filter in [0, 1 << 20] {
        let limits = Limits { filter, ..small() };
        for (name, bytes) in &good {
            for at in (0..bytes.len()).step_by(if name == "manifest" { 1 } else { 5 }) {
                let mut left = good.clone();
                left.get_mut(name).unwrap()[at] ^= 1 << (at % 8);
                let dir = put(&left);
                let read = Runs::open_with(dir.path(), limits).and_then(|mut runs| runs.find(&keys(), 20));
                is_damaged(read, &format!("byte {at} of `{name}`"));
            }
        }
    }
}

#[test]
fn a_flipped_bit_stops_a_merge_and_a_removal_and_a_reset_makes_good() {
    let world = two_runs();
    let good = files(world.dir.path());
    let mut left = good.clone();
    let run = good.keys().find(|name| *name != "manifest").unwrap();
    left.get_mut(run).unwrap()[100] ^= 1;
    let dir = put(&left);
    let mut runs = Runs::open_with(dir.path(), Limits { alike: 2, ..small() }).unwrap();
    is_damaged(runs.merge_step(), "merge");
    is_damaged(runs.remove(&|_| true), "remove");
    assert!(files(dir.path()) == left, "nothing was changed, and nothing is left over");
    drop(runs);

    let mut runs = Runs::reset(dir.path()).unwrap();
    assert_eq!((runs.covers(), runs.stats().bytes), (0, 0));
    world.model.feed(&mut runs);
    world.model.check(&mut runs, &keys());
}

/// What stands in the way of each operation, so that it fails as on a full disk.
#[test]
fn a_failed_operation_changes_nothing_and_may_be_tried_again() {
    let mut world = two_runs();
    for in_the_way in ["00000000000000000002.run.tmp", "00000000000000000003.run", ".manifest.tmp"] {
        let (covers, path) = (world.runs.covers(), world.dir.path().join(in_the_way));
        std::fs::create_dir_all(path.join("not empty")).unwrap();
        world.append(vec![key(3), 1]);
        assert!(matches!(world.runs.flush(), Err(StoreError::Io { .. })), "{in_the_way}");
        assert_eq!(world.runs.covers(), covers);
        world.check();
        world.check_copy();
        assert!(files(world.dir.path()).keys().all(|name| !name.ends_with(".run.tmp")), "it takes no room meanwhile");
        std::fs::remove_dir_all(&path).unwrap();
    }
    world.crash();
    world.check();
    world.runs.flush().unwrap();
    std::fs::create_dir_all(world.dir.path().join(".manifest.tmp")).unwrap();
    let failed = (0..100).find_map(|_| world.runs.merge_step().err());
    assert!(matches!(failed, Some(StoreError::Io { .. })));
    world.check_copy();
    assert!(matches!(world.runs.remove(&|seq| seq == 3), Err(StoreError::Io { .. })));
    world.check();
    world.check_copy();
    assert!(matches!(world.runs.clear(), Err(StoreError::Io { .. })));
    world.check();
    world.check_copy();
    std::fs::remove_dir(world.dir.path().join(".manifest.tmp")).unwrap();
    assert!(world.runs.remove(&|seq| seq == 3).unwrap() > 0);
    world.model.erased.insert(3);
    world.runs.settle().unwrap();
    world.check();
    let stats = world.runs.stats();
    assert_eq!(files(world.dir.path()).len(), stats.runs + 1, "no file of a failed operation outlives a removal");
    world.crash();
    world.check();
}

/// Readers ask while the writer writes, merges and removes files under them.
#[test]
fn a_reader_beside_the_writer_finds_all_that_its_snapshot_covers() {
    let mut world = World::new(Limits { memtable: 500, step: 200, alike: 2, ..small() });
    let reader = world.runs.reader();
    std::thread::scope(|scope| {
        let writing = scope.spawn(|| {
            for entry in 0..4_000 {
                world.runs.add(key(entry), entry);
                world.runs.advance(entry + 1).unwrap();
                world.runs.merge_step().unwrap();
            }
        });
        let mut last = 0;
        while last < 4_000 && !writing.is_finished() {
            let snapshot = reader.snapshot();
            let covers = snapshot.covers();
            assert!(covers >= last, "no snapshot goes back");
            let asked: Vec<u64> = (covers.saturating_sub(300)..covers + 5).map(key).collect();
            let mut found: Vec<u64> = snapshot.find(&asked, 4).unwrap().iter().map(|found| found.seqs[0]).collect();
            found.sort_unstable();
            let known = found.partition_point(|seq| *seq < covers);
            assert_eq!(found[..known], (covers.saturating_sub(300)..covers).collect::<Vec<_>>());
            last = covers;
        }
    });
    assert_eq!(reader.snapshot().covers(), 4_000);
}

/// What a merge has read already must not come back through it.
#[test]
fn a_removal_and_a_clearing_end_the_merge_under_way() {
    let mut world = two_runs();
    assert!(world.runs.merge_step().unwrap(), "under way");
    assert_eq!(world.runs.remove(&|seq| seq < 10).unwrap(), 21, "nine entries have one key twice");
    world.model.erased.extend(0..10);
    world.runs.settle().unwrap();
    assert_eq!(world.runs.stats().runs, 1);
    world.check();

    let mut world = two_runs();
    assert!(world.runs.merge_step().unwrap(), "under way");
    world.runs.clear().unwrap();
    world.runs.settle().unwrap();
    assert_eq!(world.runs.find(&keys(), 1).unwrap(), []);
}

/// Without anyone who merges, an index still has no more runs than its limit.
#[test]
fn runs_do_not_pile_up() {
    let mut world = World::new(Limits { alike: 4, runs: 8, ..small() });
    for entry in 0..60 {
        world.append(vec![key(entry)]);
        world.runs.flush().unwrap();
        assert!(world.runs.stats().runs <= 8);
    }
    world.check();
}
