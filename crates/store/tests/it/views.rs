//! The views against the model: at once and in pieces, rebuilt, deleted, damaged, and from tiles alone.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use marque_core::artifact::Artifact;
use marque_core::event::{Body, By, Event};
use marque_core::id::{InstanceId, LeaseId, RecordId, TaskId};
use marque_core::revocation::{Epoch, Target};
use marque_core::state::State;
use marque_core::time::{Cx, Timestamp};
use marque_store::index::names;
use marque_store::log::Log;
use marque_store::tiles::Tiles;
use marque_store::vault::Vault;
use marque_store::views::{RecordRow, TaskRow, Views};
use proptest::prelude::*;

use super::disk::append;
use super::model::{Model, Record, Started};
use super::tiles::{ORIGIN, signer};
use super::world::{World, digest};

/// A log with its tiles, and as many views of it as are wanted.
struct Site {
    dir: tempfile::TempDir,
    log: Arc<Log>,
    tiles: Arc<Mutex<Tiles>>,
    vault: Arc<Vault>,
}

impl Site {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let log = Arc::new(Log::open(&dir.path().join("log"), 0).unwrap());
        let tiles = Arc::new(Mutex::new(Tiles::open(&dir.path().join("ledger"), ORIGIN).unwrap()));
        let vault = Arc::new(Vault::open(&dir.path().join("subjects"), &[7; 32]).unwrap());
        Self { dir, log, tiles, vault }
    }

    /// Views have a directory of their own, for the index beside them.
    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name).join("views.db")
    }

    fn views(&self, name: &str) -> Views {
        std::fs::create_dir_all(self.dir.path().join(name)).unwrap();
        Views::open(&self.path(name), Arc::clone(&self.vault), Arc::clone(&self.log), Arc::clone(&self.tiles)).unwrap()
    }

    /// As the engine writes: people and contents are veiled.
    fn write(&self, events: &[Event]) {
        append(&self.log, events.iter().map(|event| veiled(&self.vault, event)).collect());
    }

    fn catch_up(&self, views: &Views) {
        assert_eq!(views.catch_up().unwrap(), self.log.durable());
        assert_eq!(views.covers().unwrap(), self.log.durable());
    }
}

fn veiled(vault: &Vault, event: &Event) -> Vec<u8> {
    let subject = match &event.what {
        Body::Decided(decided) => Some(&decided.principal),
        Body::TaskStarted { task } => Some(&task.principal),
        _ => None,
    };
    vault.veil(event, subject, &|bytes: &mut [u8]| bytes.fill(9)).unwrap().encode()
}

fn record(row: RecordRow) -> Record {
    (row.seq, row.at, row.decided, row.settled)
}

fn started(row: TaskRow) -> Started {
    (row.seq, row.task, row.ended, row.elevation)
}

/// Asks every question that there is.
fn agree(views: &Views, events: &[Event]) {
    let model = Model(events);
    let all = model.records();
    let asked = |task, identity: Option<&str>, limit| -> Vec<Record> {
        views.records(task, identity, limit).unwrap().into_iter().map(record).collect()
    };
    assert_eq!(asked(None, None, 1000), all);
    assert_eq!(asked(None, None, 2), all[..all.len().min(2)]);
    for (n, row) in all.iter().enumerate() {
        assert_eq!(views.record(row.2.record).unwrap().map(record).as_ref(), Some(row));
        assert_eq!(views.record_at(row.0).unwrap().map(record).as_ref(), Some(row));
        assert!(views.record_at(row.0 + 1).unwrap().is_none_or(|next| next.seq == row.0 + 1));
        if n % 4 > 0 {
            continue;
        }
        let (task, identity) = (row.2.task, row.2.identity.to_string());
        let of = |t: bool, i: bool| -> Vec<Record> {
            let meant = |r: &&Record| (!t || r.2.task == task) && (!i || r.2.identity == row.2.identity);
            all.iter().filter(meant).cloned().collect()
        };
        assert_eq!(asked(Some(task), None, 1000), of(true, false));
        assert_eq!(asked(None, Some(&identity), 1000), of(false, true));
        assert_eq!(asked(Some(task), Some(&identity), 1000), of(true, true));
    }

    let open = model.unsettled();
    assert_eq!(views.unsettled(0, 1000).unwrap(), open);
    assert_eq!(views.unsettled(0, 1).unwrap(), open[..open.len().min(1)]);
    if let [(first, _), rest @ ..] = open.as_slice() {
        assert_eq!(views.unsettled(first + 1, 1000).unwrap(), rest);
    }

    let tasks = model.tasks();
    assert_eq!(views.tasks(1000).unwrap().into_iter().map(started).collect::<Vec<_>>(), tasks);
    assert_eq!(views.tasks(1).unwrap().into_iter().map(started).collect::<Vec<_>>(), tasks[..tasks.len().min(1)]);
    for task in tasks {
        assert_eq!(views.task(task.1.id).unwrap().map(started), Some(task));
    }
    for (id, lease) in model.leases() {
        assert_eq!(views.lease(id).unwrap(), Some(lease));
    }
    for (id, instance) in model.instances() {
        assert_eq!(views.instance(id).unwrap(), Some(instance));
    }
    let elevations = views.elevations(1000).unwrap();
    let elevations: Vec<_> = elevations.iter().map(|held| (held.elevation.clone(), held.status.as_str())).collect();
    assert_eq!(elevations, model.elevations());
    for n in 0..6 {
        let (exact, normalised) = model.with_content(digest(n));
        assert_eq!(views.index().with_digest(&digest(n), 1000).unwrap(), exact, "the newest first");
        assert_eq!(views.index().with_normalised(&digest(n), 1000).unwrap(), normalised, "the newest first");
        assert_eq!(views.index().with_digest(&digest(n), 1).unwrap().len(), exact.len().min(1));
    }
    let mut usage = model.usage();
    usage.retain(|task, _| views.task(*task).unwrap().is_some());
    assert_eq!(views.usage().unwrap().into_iter().map(|(task, calls)| (task.id, calls)).collect::<BTreeMap<_, _>>(), usage);
    unknown(views);

    let mut replayed = Vec::new();
    views.replay(|event| replayed.push(event.clone())).unwrap();
    assert!(replayed == model.replayed(), "the events that bear state, in their order");
    let fold = |events: &[Event]| {
        let mut state = State::default();
        events.iter().for_each(|event| state.apply(event));
        state.usage.clear();
        state
    };
    assert_eq!(fold(&replayed), fold(events));
}

fn unknown(views: &Views) {
    let mut entropy = || u128::MAX;
    let mut cx = Cx::new(Timestamp::default(), &mut entropy);
    assert!(views.record(RecordId::fresh(&mut cx)).unwrap().is_none());
    assert!(views.task(TaskId::fresh(&mut cx)).unwrap().is_none());
    assert!(views.lease(LeaseId::fresh(&mut cx)).unwrap().is_none());
    assert!(views.instance(InstanceId::fresh(&mut cx)).unwrap().is_none());
    assert!(views.record_at(1 << 40).unwrap().is_none());
    assert!(views.records(Some(TaskId::fresh(&mut cx)), None, 10).unwrap().is_empty());
    assert!(views.records(None, Some("spiffe://example.org/nobody"), 10).unwrap().is_empty());
}

/// Every kind of step several times over.
fn long() -> World {
    let steps: Vec<(u8, u16, u8)> = (0..160_u16).map(|n| ((n % 16) as u8, n * 7, (n * 37 % 256) as u8)).collect();
    World::after(&steps)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    /// INVARIANT I6: every view equals the fold of the events, however they came in.
    #[test]
    fn views_answer_as_the_model_does(
        steps in prop::collection::vec((0_u8..16, any::<u16>(), any::<u8>()), 1..120),
        pieces in prop::collection::vec(1_usize..12, 1..8),
    ) {
        let world = World::after(&steps);
        let site = Site::new();
        let in_pieces = site.views("pieces.db");
        let (mut rest, mut pieces) = (world.events.as_slice(), pieces.iter().cycle());
        while !rest.is_empty() {
            let (piece, behind) = rest.split_at(rest.len().min(*pieces.next().unwrap()));
            site.write(piece);
            site.catch_up(&in_pieces);
            rest = behind;
        }
        agree(&in_pieces, &world.events);
        let at_once = site.views("once.db");
        site.catch_up(&at_once);
        agree(&at_once, &world.events);
        at_once.clear().unwrap();
        assert_eq!(at_once.covers().unwrap(), 0);
        site.catch_up(&at_once);
        agree(&at_once, &world.events);
    }
}

#[test]
fn views_that_are_missing_or_damaged_are_made_anew() {
    let world = long();
    let site = Site::new();
    site.write(&world.events);
    let path = site.path("views.db");
    let views = site.views("views.db");
    site.catch_up(&views);
    agree(&views, &world.events);
    drop(views);
    let views = site.views("views.db");
    assert_eq!(views.covers().unwrap(), world.events.len() as u64, "what is whole is kept");
    agree(&views, &world.events);
    drop(views);

    let good = std::fs::read(&path).unwrap();
    let half = good[..good.len() / 2].to_vec();
    for damaged in [None, Some(Vec::new()), Some(b"garbage".to_vec()), Some(vec![0xff; 100_000]), Some(half)] {
        match damaged {
            None => std::fs::remove_file(&path).unwrap(),
            Some(bytes) => std::fs::write(&path, bytes).unwrap(),
        }
        let views = site.views("views.db");
        assert_eq!(views.covers().unwrap(), 0);
        site.catch_up(&views);
        agree(&views, &world.events);
    }
    rusqlite::Connection::open(&path).unwrap().execute("UPDATE meta SET value = 99 WHERE name = 'schema'", []).unwrap();
    let views = site.views("views.db");
    assert_eq!(views.covers().unwrap(), 0, "another schema");
    site.catch_up(&views);
    agree(&views, &world.events);
    drop(views);
    agree(&site.views("views.db"), &world.events);
}

/// Once segments are let go, the tiles have what they held.
#[test]
fn views_are_rebuilt_from_tiles_and_log_together() {
    let mut world = long();
    for _ in 0..300 {
        world.push(Body::IssueRefused { identity: "spiffe://example.org/agent/a0".parse().unwrap(), why: "w".repeat(65_000) });
    }
    let site = Site::new();
    for events in world.events.chunks(40) {
        site.write(events);
    }
    let behind = site.views("behind.db");
    {
        let mut tiles = site.tiles.lock().unwrap();
        tiles.follow(&site.log).unwrap();
        let head = tiles.publish(&signer()).unwrap();
        site.log.retire(head.size).unwrap();
    }
    assert!(site.log.first() > 0);
    (0..40).for_each(|n| world.step(n % 16, usize::from(n), n * 5));
    site.write(&world.events[site.log.durable() as usize..]);
    site.catch_up(&behind);
    agree(&behind, &world.events);
}

/// A live segment still has what was let go: nothing reads it there, not even to make the views anew.
#[test]
fn what_was_let_go_is_not_read_again_from_a_live_segment() {
    let mut world = long();
    while world.events.len() < 600 {
        world.push(Body::IssueRefused { identity: "spiffe://example.org/agent/a0".parse().unwrap(), why: "w".into() });
    }
    let decided = world.events.iter().position(|event| matches!(event.what, Body::Decided(_))).unwrap() as u64;
    let (site, bears_state) = (Site::new(), |record: &[u8]| {
        let leaf = marque_store::record::Record::split(record).0;
        Event::from_bytes(leaf).unwrap().what.is_replayed()
    });
    site.write(&world.events);
    let views = site.views("views.db");
    site.catch_up(&views);
    {
        let mut tiles = site.tiles.lock().unwrap();
        tiles.follow(&site.log).unwrap();
        tiles.publish(&signer()).unwrap();
    }
    assert!(views.entry(decided).unwrap().is_some());
    assert_eq!(site.tiles.lock().unwrap().prune(512, &bears_state).unwrap(), 512);
    assert_eq!(site.log.first(), 0, "the segment has it all");
    for seq in [0, decided, 511] {
        assert!(views.raw(seq).unwrap().is_none() && views.entries(seq).unwrap().is_empty(), "{seq}");
    }
    for seq in [512, 599] {
        assert!(views.raw(seq).unwrap().is_some(), "{seq}");
        assert_eq!(views.entries(seq).unwrap().first().map(|(index, _)| *index), Some(seq));
    }
    views.clear().unwrap();
    site.catch_up(&views);
    assert!(views.record_at(decided).unwrap().is_none());
    let mut replayed = Vec::new();
    views.replay(|event| replayed.push(event.clone())).unwrap();
    assert!(replayed == Model(&world.events).replayed(), "state is made anew from what was kept");
}

/// INVARIANT I6: what the state has closed is not pending in the views.
#[test]
fn a_revoked_elevation_is_not_pending() {
    let mut world = World::new();
    world.step(12, 0, 0);
    let Some(Body::ElevationRequested { elevation }) = world.events.last().map(|event| event.what.clone()) else {
        unreachable!()
    };
    world.push(Body::Revoked { target: Target::Elevation(elevation.id), epoch: Epoch(1), why: String::new() });
    let site = Site::new();
    site.write(&world.events);
    let views = site.views("views.db");
    site.catch_up(&views);
    let mut state = State::default();
    world.events.iter().for_each(|event| state.apply(event));
    assert_eq!(views.elevations(1).unwrap()[0].status, state.elevations[&elevation.id].status.as_str());
}

/// What a file was made from is found as that, and never as the file.
#[test]
fn an_input_is_not_the_file() {
    let mut world = World::new();
    let first = world.events.len() as u64;
    let made = |name: &str, content: usize, inputs: &[usize]| Artifact {
        name: name.into(),
        content: digest(content).into(),
        bytes: 9,
        identity: "spiffe://example.org/agent/a0".parse().unwrap(),
        task: TaskId::from_bytes([1; 16]),
        instance: None,
        inputs: inputs.iter().map(|n| digest(*n).into()).collect(),
    };
    for artifact in [made("train", 100, &[]), made("a", 101, &[100]), made("b", 102, &[100, 101, 103])] {
        world.push(Body::ArtifactAttested { artifact });
    }
    let site = Site::new();
    site.write(&world.events);
    let views = site.views("views.db");
    site.catch_up(&views);
    for (n, own, input) in [(100, vec![0], vec![2, 1]), (101, vec![1], vec![2]), (102, vec![2], vec![]), (103, vec![], vec![2])] {
        let at = |places: &[u64]| places.iter().map(|place| first + place).collect::<Vec<u64>>();
        assert_eq!(views.index().with_digest(&digest(n), 10).unwrap(), at(&own), "{n}");
        assert_eq!(views.index().with_input(&digest(n), 10).unwrap(), at(&input), "{n}: the newest first");
        let named = |place: &u64| names(&views.entry(first + place).unwrap().unwrap().event, &digest(n));
        assert!(own.iter().chain(&input).all(named), "{n}");
    }
    assert_eq!(views.index().with_input(&digest(100), 1).unwrap(), [first + 2]);
}

#[test]
fn the_fixed_world_has_what_it_should() {
    let world = long();
    let mut said = world.events.iter().map(|event| &event.by);
    assert!(said.any(|by| matches!(by, By::Instance(_))));
    for kind in ["task_finished", "settled", "instance_ended", "elevation_approved", "elevation_refused", "revoked", "decided"] {
        assert!(world.events.iter().any(|event| event.what.kind() == kind), "{kind} happens in the fixed world");
    }
}
