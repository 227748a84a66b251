//! Followers: whatever their sinks do, every entry goes out at least once and in order, and nobody else waits for it.

use std::sync::Arc;
use std::time::Duration;

use marque_core::event::By;
use marque_engine::{Batch, Export, ExportFormat, ExportStatus, Follower, Framing, Limits, PruneRequest, Rendering, TaskRequest};
use serde_json::Value;
use tokio::task::JoinSet;

use crate::world::{ALICE, LEAD, World, request};

const NAME: &str = "siem";

fn rendering(entries: usize) -> Rendering {
    let limits = Limits { entries, ..Limits::default() };
    Rendering { limits, ..Rendering::new(ExportFormat::Events, Framing::Lines) }
}

async fn follower(world: &World, entries: usize) -> Follower {
    let export = Export { name: NAME.into(), rendering: rendering(entries), from: 0 };
    world.engine.start_follower(export).await.unwrap()
}

/// Adds one entry, and waits until it is durable.
async fn commit(world: &World) {
    world.engine.begin_export(By::System, &rendering(1), 0, Some(0)).await.unwrap();
}

fn status(world: &World) -> ExportStatus {
    let all = world.engine.export_status().unwrap();
    all.into_iter().find(|status| status.name == NAME).unwrap()
}

fn cursor_on_disk(world: &World) -> u64 {
    let bytes = std::fs::read(world.closed.root().join("exports/siem.cursor")).unwrap();
    serde_json::from_slice::<Value>(&bytes).unwrap()["next"].as_u64().unwrap()
}

fn indexes(batch: &Batch) -> Vec<u64> {
    let index = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).unwrap()["index"].as_u64().unwrap();
    batch.pieces.iter().map(|piece| index(&piece.bytes)).collect()
}

/// A sink that remembers up to where it has everything.
#[derive(Default)]
struct Sink {
    next: u64,
}

impl Sink {
    fn take(&mut self, batch: &Batch) {
        assert!(batch.first <= self.next, "{} to {} never came", self.next, batch.first);
        assert_eq!(indexes(batch), (batch.first..batch.next).collect::<Vec<_>>());
        self.next = self.next.max(batch.next);
    }

    /// Takes all that there is.
    fn drain(&mut self, world: &World, follower: &mut Follower) {
        while let Some(batch) = follower.batch(&world.engine).unwrap() {
            self.take(&batch);
            follower.taken(&world.engine, &batch).unwrap();
        }
        assert_eq!(self.next, world.engine.log_size());
        assert_eq!(cursor_on_disk(world), self.next);
    }
}

#[tokio::test]
async fn a_sink_that_hangs_for_an_hour_delays_nobody_and_loses_nothing() {
    let world = World::empty().await;
    let (mut sink, mut follower) = (Sink::default(), follower(&world, 512).await);
    let offered = follower.batch(&world.engine).unwrap().unwrap();
    // The sink has the batch, and does not answer.
    for _ in 0..50 {
        tokio::time::timeout(Duration::from_secs(20), commit(&world)).await.expect("an acknowledgement waits for a sink");
    }
    world.advance(3600);
    let hanging = status(&world);
    assert_eq!((hanging.cursor, hanging.behind, hanging.running), (0, world.engine.log_size(), true));
    assert!(hanging.seconds_behind >= 3600, "{hanging:?}");

    let wait = follower.failed(&world.engine, "no answer");
    assert!((100..=200).contains(&wait.as_millis()), "{wait:?}");
    let failed = status(&world);
    assert_eq!((failed.failures, failed.last_error.as_deref()), (1, Some("no answer")));
    let again = follower.batch(&world.engine).unwrap().unwrap();
    assert_eq!((again.first, again.next, again.lines()), (offered.first, offered.next, offered.lines()));

    sink.drain(&world, &mut follower);
    let caught_up = status(&world);
    assert_eq!((caught_up.behind, caught_up.seconds_behind, caught_up.failures), (0, 0, 0));
    assert_eq!(caught_up.last_error, None);
}

/// Many callers at once, for as long as it takes: none of them waits for the sink, and it gets what each of them was told.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_events_are_acknowledged_while_a_sink_hangs() {
    let world = World::empty().await;
    let (mut sink, mut follower) = (Sink::default(), follower(&world, 512).await);
    let offered = follower.batch(&world.engine).unwrap().unwrap();
    let before = world.engine.log_size();
    let mut callers = JoinSet::new();
    for _ in 0..100 {
        let engine = Arc::clone(&world.engine);
        callers.spawn(async move {
            for _ in 0..100 {
                engine.begin_export(By::System, &rendering(1), 0, Some(0)).await.unwrap();
            }
        });
    }
    let all = async { while callers.join_next().await.transpose().unwrap().is_some() {} };
    tokio::time::timeout(Duration::from_secs(300), all).await.expect("an acknowledgement waits for a sink");
    world.advance(3600);
    assert_eq!((status(&world).cursor, world.engine.log_size()), (0, before + 10_000));
    let again = follower.batch(&world.engine).unwrap().unwrap();
    assert_eq!((again.first, again.lines()), (offered.first, offered.lines()));
    sink.drain(&world, &mut follower);
    assert_eq!(sink.next, before + 10_000);
}

/// INVARIANT (I6 the ledger is the history): what goes out is the log, entry by entry, in any interleaving of commits,
/// failures, lost and repeated answers, and restarts.
#[tokio::test]
async fn every_interleaving_delivers_every_entry_in_order() {
    for seed in 0..12 {
        interleaving(seed).await;
    }
}

async fn interleaving(seed: u64) {
    let mut random = Random(seed);
    let mut world = World::empty().await;
    let (mut sink, mut following) = (Sink::default(), follower(&world, 7).await);
    let mut old = None;
    for _ in 0..80 {
        match random.below(10) {
            0..=2 => {
                for _ in 0..=random.below(12) {
                    commit(&world).await;
                }
            }
            // It takes the batch.
            3 | 4 => {
                if let Some(batch) = following.batch(&world.engine).unwrap() {
                    sink.take(&batch);
                    following.taken(&world.engine, &batch).unwrap();
                    old = Some(batch);
                }
            }
            // It fails.
            5 => {
                if following.batch(&world.engine).unwrap().is_some() {
                    following.failed(&world.engine, "no");
                }
            }
            // It takes the batch, and its answer is lost.
            6 => {
                if let Some(batch) = following.batch(&world.engine).unwrap() {
                    sink.take(&batch);
                    following.failed(&world.engine, "no answer");
                }
            }
            // It answers twice, the second time about a batch of long ago.
            7 => {
                if let Some(batch) = &old {
                    let before = following.cursor();
                    following.taken(&world.engine, batch).unwrap();
                    assert_eq!(following.cursor(), before);
                }
            }
            // The follower starts again, wherever it was.
            8 => following = follower(&world, 7).await,
            // So does everything.
            _ => {
                if random.below(3) == 0 {
                    world = world.close().open().await;
                    following = follower(&world, 7).await;
                } else {
                    world.publish().await;
                }
            }
        }
        assert!(cursor_on_disk(&world) <= sink.next, "seed {seed}: the cursor is ahead of what was taken");
        assert!(following.cursor() <= sink.next, "seed {seed}");
    }
    sink.drain(&world, &mut following);
}

#[tokio::test]
async fn a_batch_is_bounded() {
    let world = World::empty().await;
    for _ in 0..600 {
        commit(&world).await;
    }
    let mut follower = follower(&world, Limits::default().entries).await;
    let first = follower.batch(&world.engine).unwrap().unwrap();
    assert_eq!((first.first, first.next, first.pieces.len()), (0, 512, 512));
    let few = Rendering { limits: Limits { bytes: 4096, ..Limits::default() }, ..rendering(0) };
    let small = world.engine.export_batch(&few, 0, u64::MAX).unwrap().unwrap();
    assert!((1..30).contains(&small.pieces.len()), "{}", small.pieces.len());
    let tiny = Rendering { limits: Limits { bytes: 1, ..Limits::default() }, ..rendering(0) };
    assert_eq!(world.engine.export_batch(&tiny, 5, u64::MAX).unwrap().unwrap().next, 6, "one goes in any case");
}

#[tokio::test]
async fn a_batch_that_is_to_be_full_waits_so_long_and_no_longer() {
    let world = World::empty().await;
    let size = world.engine.log_size();
    let limits = |entries| Limits { entries, patience: Some(Duration::from_secs(600)), ..Limits::default() };
    let of = |entries| Rendering { limits: limits(entries), ..rendering(0) };
    assert!(world.engine.export_batch(&of(size as usize), 0, u64::MAX).unwrap().is_some());
    let more = of(size as usize + 1);
    assert!(world.engine.export_batch(&more, 0, u64::MAX).unwrap().is_none());
    world.advance(601);
    assert_eq!(world.engine.export_batch(&more, 0, u64::MAX).unwrap().unwrap().next, size);
}

#[tokio::test]
async fn what_was_pruned_is_told_once_and_not_passed_over() {
    let world = World::empty().await;
    let mut follower = follower(&world, 7).await;
    for _ in 0..600 {
        commit(&world).await;
    }
    let first = follower.batch(&world.engine).unwrap().unwrap();
    follower.taken(&world.engine, &first).unwrap();
    world.publish().await;
    world.advance(10);
    let asked = PruneRequest { before: world.engine.now(), dry_run: false, danger_short: true };
    let below = world.engine.prune(&world.admin, asked).await.unwrap().below;
    assert_eq!(below, 512);

    let notice = follower.batch(&world.engine).unwrap().unwrap();
    assert!(notice.pruned);
    assert_eq!((notice.first, notice.next, notice.pieces.len()), (7, below, 1));
    let said: Value = serde_json::from_slice(&notice.pieces[0].bytes).unwrap();
    assert_eq!((said["from"].as_u64(), said["below"].as_u64()), (Some(7), Some(below)));
    follower.taken(&world.engine, &notice).unwrap();
    let mut sink = Sink { next: below };
    sink.drain(&world, &mut follower);

    for format in ExportFormat::ALL {
        for framing in [Framing::Lines, Framing::Body] {
            let batch = world.engine.export_batch(&Rendering::new(format, framing), 0, u64::MAX).unwrap().unwrap();
            let text = String::from_utf8(batch.pieces[0].bytes.clone()).unwrap();
            assert!(batch.pruned && text.contains("pruned") && text.contains("512"), "{format:?} {framing:?}: {text}");
        }
    }
}

#[tokio::test]
async fn names_and_contents_leave_only_where_that_is_asked_for() {
    const PURPOSE: &str = "the purpose that nobody else is to read";
    let world = World::start().await;
    let asked = TaskRequest { purpose: PURPOSE.into(), ..request(LEAD, None) };
    world.engine.start_task(&world.alice, asked).await.unwrap();
    for (names, contents) in [(false, false), (false, true), (true, false), (true, true)] {
        let how = Rendering { names, contents, ..rendering(512) };
        let batch = world.engine.export_batch(&how, 0, u64::MAX).unwrap().unwrap();
        let text = String::from_utf8(batch.lines()).unwrap();
        assert_eq!(text.contains(ALICE), names, "names {names}, contents {contents}");
        assert_eq!(text.contains(PURPOSE), contents, "names {names}, contents {contents}");
    }
}

#[tokio::test]
async fn every_format_comes_out() {
    let world = World::start().await;
    world.task(LEAD, None).await;
    let size = world.engine.log_size();
    for format in ExportFormat::ALL {
        for framing in [Framing::Lines, Framing::Body] {
            let batch = world.engine.export_batch(&Rendering::new(format, framing), 0, u64::MAX).unwrap().unwrap();
            assert_eq!((batch.first, batch.next, batch.pruned), (0, size, false));
            let whole = framing == Framing::Body || matches!(format, ExportFormat::Otlp | ExportFormat::Parquet);
            assert_eq!(batch.pieces.len() as u64, if whole { 1 } else { size }, "{format:?} {framing:?}");
            assert_eq!(batch.body().starts_with(b"PAR1"), format == ExportFormat::Parquet);
        }
    }
}

#[tokio::test]
async fn a_cursor_of_another_log_is_refused() {
    let world = World::empty().await;
    let file = world.closed.root().join("exports/siem.cursor");
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    for cursor in [r#"{"next":100000,"leaf":"00"}"#, r#"{"next":3,"leaf":"00"}"#] {
        std::fs::write(&file, cursor).unwrap();
        let mut follower = follower(&world, 7).await;
        let error = follower.batch(&world.engine).unwrap_err();
        assert!(error.to_string().contains("another log"), "{error}");
        assert_eq!(std::fs::read_to_string(&file).unwrap(), cursor, "the cursor stays as it is");
    }
    std::fs::write(&file, "torn").unwrap();
    let export = Export { name: NAME.into(), rendering: rendering(7), from: 0 };
    assert!(world.engine.start_follower(export).await.is_err());
    for name in ["", "../x", "a b"] {
        let export = Export { name: name.into(), rendering: rendering(7), from: 0 };
        assert!(world.engine.start_follower(export).await.is_err(), "{name}");
    }
}

/// A linear congruential generator: the same every time.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}
