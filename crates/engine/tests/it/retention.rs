//! Retention: contents go, hashes stay; what is proven stays proven, and what is known stays known.

use std::path::PathBuf;

use marque_core::event::{Body, By, Event, SCHEMA};
use marque_core::id::{EventId, ObserverId};
use marque_core::time::Timestamp;
use marque_engine::{Caller, EngineError, PruneRequest, Receipt, ReceiptOf, Retention, SHORTEST_RETENTION};
use marque_ledger::{Audit, Finding, Findings, LogFiles, TlogProof, audit_log};
use marque_store::log::Log;
use marque_store::vault::Vault;

use crate::world::{LEAD, ORIGIN, World, request};

/// Entries from the beginning and two full bundles of tasks; more than six months later a few more.
async fn aged(world: &World) -> Receipt {
    while world.engine.log_size() < 600 {
        world.engine.start_task(&world.alice, request(LEAD, None)).await.unwrap();
    }
    world.publish().await;
    let receipt = world.engine.receipt(&world.admin, ReceiptOf::Entry(300), false).await.unwrap();
    world.advance(200 * DAY);
    world.engine.start_task(&world.alice, request(LEAD, None)).await.unwrap();
    world.tick().await;
    receipt
}

struct Files(PathBuf);

impl LogFiles for Files {
    fn read(&self, path: &str) -> marque_ledger::Result<Option<Vec<u8>>> {
        Ok(std::fs::read(self.0.join(path)).ok())
    }
}

/// What an auditor finds of the published files, and every event that is left.
async fn audited(world: &World, older: &str) -> (Findings, Vec<Event>) {
    world.publish().await;
    let ledger = world.closed.root().join("ledger");
    let pruned = std::fs::read_to_string(ledger.join("pruned")).map_or(0, |text| text.trim().parse().unwrap());
    let known = [world.verifier()];
    let audit = Audit { older: Some(older), minimum_index: pruned, ..Audit::new(ORIGIN, &known) };
    let mut events = Vec::new();
    let findings = audit_log(&Files(ledger), &audit, &mut |_: u64, entry: &[u8]| {
        events.push(Event::from_bytes(entry).map_err(|e| e.to_string())?);
        Ok(())
    });
    (findings, events)
}

fn older_than(world: &World, days: i64, danger_short: bool) -> PruneRequest {
    let before = Timestamp::from_micros(world.engine.now().micros() - days * DAY * 1_000_000);
    PruneRequest { before, dry_run: false, danger_short }
}

#[tokio::test]
async fn what_is_pruned_stays_proven_and_what_is_known_stays_known() {
    let world = World::start().await;
    let receipt = aged(&world).await;
    let before = world.state();
    let old = older_than(&world, 190, false);
    let planned = world.engine.prune(&world.admin, PruneRequest { dry_run: true, ..old.clone() }).await.unwrap();
    assert_eq!((planned.from, planned.below, planned.entries(), planned.done), (0, 512, 512, false));
    let bundle = world.closed.root().join("ledger/tile/entries/001");
    assert!(bundle.exists());
    let pruning = world.engine.prune(&world.admin, old.clone()).await.unwrap();
    assert_eq!((pruning.from, pruning.below, pruning.done), (0, 512, true));
    assert!(!bundle.exists() && world.closed.root().join("ledger/tile/0/001").exists());
    assert_eq!(world.engine.prune(&world.admin, old).await.unwrap().entries(), 0, "a second time there is nothing");

    // The log holds, and continues what was seen of it; an entry says what is missing and why.
    let (findings, events) = audited(&world, &receipt.inclusion.checkpoint).await;
    assert!(findings.is_ok(), "{findings:?}");
    assert_eq!((findings.report.entries_pruned, findings.consistency), (512, Finding::Holds));
    let said = |event: &&Event| matches!(&event.what, Body::Pruned { below: 512, policy } if policy.contains("a person's word"));
    assert_eq!(events.iter().filter(said).count(), 1);
    // A proof from before needs nothing of it.
    let proof: TlogProof = receipt.proof.parse().unwrap();
    proof.verify(receipt.inclusion.leaf.as_bytes(), ORIGIN, &[world.verifier()]).unwrap();
    let gone = world.engine.receipt(&world.admin, ReceiptOf::Entry(300), false).await.unwrap_err();
    assert!(matches!(&gone, EngineError::Invalid(why) if why.contains("let go")), "{gone}");
    assert!(world.engine.receipt(&world.admin, ReceiptOf::Entry(512), false).await.unwrap().inclusion.verified);
    assert_eq!(world.engine.trace(b"a text that nobody wrote").unwrap().pruned, 512);

    // Whichever way it is read again: also when the log's own files have been used for other entries since.
    assert_eq!(world.state(), before);
    world.engine.rebuild_views().unwrap();
    let world = world.close().open().await;
    assert_eq!(world.state(), before);
    world.publish().await;
    let closed = world.close();
    let segments = std::fs::read_dir(closed.root().join("log")).unwrap().map(|entry| entry.unwrap().path());
    for segment in segments {
        std::fs::remove_file(segment).unwrap();
    }
    for file in ["views.db", "views.db-wal", "views.db-shm"] {
        let _ = std::fs::remove_file(closed.root().join(file));
    }
    std::fs::remove_dir_all(closed.root().join("index")).unwrap();
    let world = closed.open().await;
    assert_eq!(world.state(), before);
    world.tick().await;
    world.engine.start_task(&world.alice, request(LEAD, None)).await.unwrap();
    let (findings, events) = audited(&world, &receipt.inclusion.checkpoint).await;
    assert!(findings.is_ok(), "{findings:?}");
    assert!(events.iter().all(|event| !matches!(event.what, Body::Gap { .. })), "numbers that were let go are not missing");
    let numbers: Vec<u64> = events.iter().map(|event| event.iseq).collect();
    assert!(numbers.iter().zip(513..).all(|(found, expected)| *found == expected), "{numbers:?}");
}

#[tokio::test]
async fn the_last_six_months_are_kept_unless_somebody_takes_the_danger() {
    let world = World::start().await;
    let workload = Caller::Workload(world.agent(LEAD).await.workload);
    aged(&world).await;
    let refused = world.engine.prune(&world.admin, older_than(&world, 180, false)).await.unwrap_err();
    assert!(refused.to_string().contains("Art. 19(1)"), "{refused}");
    let size = world.engine.log_size();
    assert!(matches!(world.engine.prune(&workload, older_than(&world, 180, true)).await, Err(EngineError::Forbidden(_))));
    assert_eq!(world.engine.log_size(), size, "nothing happened");
    assert_eq!(world.engine.prune(&world.admin, older_than(&world, 180, true)).await.unwrap().entries(), 512);
    assert_eq!(world.engine.prune(&world.admin, older_than(&world, 0, true)).await.unwrap().entries(), 0, "bundles go whole");
}

/// Time passes only in a tick, and with it the rule of retention is followed: once a day.
#[tokio::test]
async fn the_rule_is_followed_as_time_passes() {
    let rule = Retention { keep: SHORTEST_RETENTION, policy: "six months".into() };
    let world = World::start().await;
    let receipt = aged(&world).await;
    let world = world.close().open_keeping(Some(rule)).await;
    let pruned = |events: &[Event]| events.iter().filter(|e| matches!(&e.what, Body::Pruned { .. })).count();
    world.tick().await;
    let (findings, events) = audited(&world, &receipt.inclusion.checkpoint).await;
    assert!(findings.is_ok(), "{findings:?}");
    assert_eq!((findings.report.entries_pruned, pruned(&events)), (512, 1));
    // A year later what came meanwhile is old too; of the entry that spoke of the first time only its hash is left.
    while world.engine.log_size() < 800 {
        world.engine.start_task(&world.alice, request(LEAD, None)).await.unwrap();
    }
    world.advance(365 * DAY);
    world.engine.start_task(&world.alice, request(LEAD, None)).await.unwrap();
    for _ in 0..2 {
        world.tick().await;
        let (findings, events) = audited(&world, &receipt.inclusion.checkpoint).await;
        assert!(findings.is_ok(), "{findings:?}");
        assert_eq!((findings.report.entries_pruned, pruned(&events)), (768, 1));
    }
}

/// What an observer numbered and what never came is said once, by an event.
#[tokio::test]
async fn missing_numbers_are_an_event() {
    let world = World::start().await;
    world.publish().await;
    let size = world.engine.log_size();
    let closed = world.close();
    let root = closed.root();
    let key: [u8; 32] = std::fs::read(root.join("keys/vault.key")).unwrap().try_into().unwrap();
    let vault = Vault::open(&root.join("subjects"), &key).unwrap();
    let observer = ObserverId::from_bytes([5; 16]);
    let entry = |iseq: u64| {
        let (id, ts) = (EventId::from_bytes([iseq as u8; 16]), Timestamp::from_seconds(1_760_000_000));
        let what = Body::AttestationRefused { why: "seen elsewhere".into() };
        let event = Event { id, v: SCHEMA, ts, obs: Some(observer), iseq, by: By::System, what };
        vault.veil(&event, None, &|bytes: &mut [u8]| bytes.fill(1)).unwrap().encode()
    };
    let log = Log::open(&root.join("log"), size).unwrap();
    log.append(vec![entry(1), entry(4), entry(5), entry(9)]).unwrap().await.unwrap();
    drop(log);

    let world = closed.open().await;
    world.tick().await;
    world.tick().await;
    let gaps = |events: Vec<Event>| -> Vec<(ObserverId, u64, u64)> {
        let said = |event: Event| match event.what {
            Body::Gap { observer, from, to } => Some((observer, from, to)),
            _ => None,
        };
        events.into_iter().filter_map(said).collect()
    };
    assert_eq!(gaps(world.events().await), [(observer, 2, 3), (observer, 6, 8)]);
    let world = world.close().open().await;
    world.engine.rebuild_views().unwrap();
    world.tick().await;
    assert_eq!(gaps(world.events().await).len(), 2, "nothing is said twice");
}

const DAY: i64 = 86_400;
