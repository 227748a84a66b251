//! The posting index against a small model, against crashes at every step of its writing, and against damage.

mod faults;
mod world;

use std::collections::BTreeSet;

use marque_store::runs::{Limits, Runs};
use proptest::prelude::*;

use self::world::{World, key, keys, small, two_runs};

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
