//! A crash at every step of writing, damaged files, and operations that fail.

use marque_store::StoreError;
use marque_store::runs::{Limits, Runs};

use super::world::{Files, World, ends, files, key, keys, put, small, two_runs};

/// A directory as a crash left it opens as `expected`, with its answers and nothing left over.
fn opens_as(left: &Files, expected: &Files, what: &str) {
    let (dir, good) = (put(left), put(expected));
    let (mut runs, mut same) = (Runs::open(dir.path()).unwrap(), Runs::open(good.path()).unwrap());
    assert_eq!(runs.covers(), same.covers(), "{what}");
    assert_eq!(runs.find(&keys(), 20).unwrap(), same.find(&keys(), 20).unwrap(), "{what}");
    assert!(files(dir.path()) == *expected, "{what}: what was not finished is discarded");
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
