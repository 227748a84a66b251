//! Questions to the log against a scan of all of it, and who held what.

use std::collections::BTreeSet;
use std::sync::Arc;

use marque_core::event::{Body, By};
use marque_core::id::{LeaseId, TaskId};
use marque_core::task::Task;
use marque_core::time::Timestamp;
use marque_core::when::When;
use marque_engine::desired::Desired;
use marque_engine::{Entry, Exchange, Order, PruneRequest, Query, TokenType};
use serde_json::json;

use crate::busy::{Dice, busy};
use crate::scan::{expected, indices, oldest_first, pages, question, scan};
use crate::world::{ADMIN, ALICE, BOB, LEAD, WORKER, World, answered, asks, call, person, resource};

#[tokio::test]
async fn every_question_finds_what_a_scan_finds() {
    let mut found = 0;
    for seed in [3, 1_234_567] {
        let (world, busy) = busy(seed).await;
        let events = scan(&world).await;
        let kinds: BTreeSet<_> = events.iter().map(|event| event.what.kind()).collect();
        for kind in ["decided", "settled", "task_started", "elevation_approved", "revoked", "artifact_attested"] {
            assert!(kinds.contains(kind), "the world is not busy enough: no `{kind}` in {} events", events.len());
        }
        let mut dice = Dice(seed ^ 0xabcd);
        for _ in 0..400 {
            let query = question(&events, &busy, &mut dice);
            let expected = expected(&events, &query);
            found += expected.len();
            // Whatever the page's size and the direction: the same entries, each once, in order.
            let limit = Some([1, 2, 3, 7, 1000][dice.below(5)]);
            let oldest = Query { order: Some(Order::Asc), limit, ..query.clone() };
            assert_eq!(indices(&pages(&world.engine, &oldest)), expected, "{oldest:?}");
            let newest = Query { limit, ..query };
            let mut newest_first = indices(&pages(&world.engine, &newest));
            newest_first.reverse();
            assert_eq!(newest_first, expected, "{newest:?}");
        }
    }
    assert!(found > 1000, "most questions find something: {found}");
}

#[tokio::test]
async fn questions_outlive_a_rebuild_of_the_views_and_a_restart() {
    let (world, _) = busy(99).await;
    let query = Query { person: Some(person(ALICE)), ..oldest_first() };
    let before = pages(&world.engine, &query);
    assert!(before.len() > 10);
    world.engine.rebuild_views().unwrap();
    assert_eq!(pages(&world.engine, &query), before);
    let world = world.close().open().await;
    assert_eq!(pages(&world.engine, &query), before);
}

/// Resources that make many entries in one append.
fn many(round: usize) -> Desired {
    let one = |n: usize| {
        let mut one = resource(&format!("dataset:d{n}"));
        one.description = format!("as of round {round}");
        one
    };
    Desired { resources: (0..1500).map(one).collect(), ..Desired::default() }
}

/// The views know the moment of every 1,024th entry only: what is between them is looked for.
#[tokio::test]
async fn times_are_exact_in_a_long_log() {
    let world = World::empty().await;
    for round in 0..3 {
        world.advance(60);
        world.engine.apply(&world.admin, &many(round)).await.unwrap();
    }
    let kind = Some("resource_applied".to_owned());
    let all = pages(&world.engine, &Query { kind: kind.clone(), ..oldest_first() });
    assert_eq!(all.len(), 4500);
    let moments: BTreeSet<Timestamp> = all.iter().map(|entry| entry.event.as_ref().unwrap().ts).collect();
    assert_eq!(moments.len(), 3);
    let whole = pages(&world.engine, &oldest_first());
    let few = |query: &Query| indices(&world.engine.query(&Query { limit: Some(3), ..query.clone() }).unwrap().entries);
    for published in [false, true] {
        if published {
            world.publish().await;
        }
        for exact in moments.iter().flat_map(|at| [-1, 0, 1].map(|d| Timestamp::from_micros(at.micros() + d))) {
            for (kind, of) in [(kind.clone(), &all), (None, &whole)] {
                let early = |entry: &&Entry| entry.event.as_ref().unwrap().ts < exact;
                // The first three since then, and the last three until then.
                let since = Query { kind: kind.clone(), since: Some(When::At(exact)), ..oldest_first() };
                let expected: Vec<u64> = of.iter().filter(|entry| !early(entry)).take(3).map(|entry| entry.index).collect();
                assert_eq!(few(&since), expected);
                let until = Query { kind, until: Some(When::At(exact)), ..Query::default() };
                let expected: Vec<u64> = of.iter().rev().filter(early).take(3).map(|entry| entry.index).collect();
                assert_eq!(few(&until), expected);
            }
        }
    }
    // The last round was 62 seconds ago at most, and the one before it more than a minute.
    let ago = |text: &str| Query { kind: kind.clone(), since: Some(text.parse().unwrap()), ..oldest_first() };
    assert_eq!(pages(&world.engine, &ago("30s")).len(), 1500);
    assert_eq!(pages(&world.engine, &ago("90s")).len(), 3000);
    assert_eq!(pages(&world.engine, &ago("1d")).len(), 4500);
    assert_eq!(pages(&world.engine, &ago("0s")).len(), 0);
}

/// A lead's task, the worker's below it, and the one that an approval started for a call of the worker's.
async fn family(world: &World) -> (Task, Task, Task, LeaseId) {
    let (lead, worker) = (world.agent(LEAD).await, world.agent(WORKER).await);
    let root = world.task(LEAD, None).await;
    let own = world.token(&lead, &root).await;
    let exchange = Exchange { actor: Some(world.jwt(&worker).await), ..asks(&worker, &own.token, TokenType::AccessToken) };
    let child = world.engine.exchange(exchange).await.unwrap();
    let request = call(child.lease.id, "tool:mail/send", json!({ "to": "bob" }));
    let held = world.held(request.clone()).await;
    let approved = world.engine.approve(&world.bob, held).await.unwrap().task.unwrap();
    world.permit(request).await.settle(answered()).unwrap();
    world.engine.drain().await.unwrap();
    (root, child.task, approved, child.lease.id)
}

#[tokio::test]
async fn a_task_is_asked_for_with_what_hangs_from_it() {
    let world = World::start().await;
    let (root, child, approved, lease) = family(&world).await;
    let of = |task: &Task, below: bool| {
        let entries = pages(&world.engine, &Query { task: Some(task.id), below, ..oldest_first() });
        entries.into_iter().map(|entry| entry.event.unwrap().what.kind()).collect::<Vec<_>>()
    };
    assert_eq!(of(&root, false), ["task_started", "lease_issued"]);
    let all = [
        "task_started",
        "lease_issued",
        "task_started",
        "lease_issued",
        "elevation_requested",
        "decided",
        "elevation_approved",
        "decided",
    ];
    assert_eq!(of(&root, true), all);
    assert_eq!(of(&child, true), all[2..]);
    assert_eq!(of(&child, false), all[2..6]);
    assert_eq!(of(&approved, false), all[6..]);
    // Its credentials are those of the tasks below it too.
    let held = world.engine.credentials_of(root.id, true).unwrap();
    let leases: Vec<_> = held.credentials.iter().map(|c| (c.lease.task, c.uses)).collect();
    assert_eq!(leases, [(Some(root.id), 0), (Some(child.id), 2)]);
    assert_eq!(held.credentials[1].lease.id, lease);
    assert!(held.credentials[1].first < held.credentials[1].last);
    assert_eq!((held.covers, held.pruned), (world.engine.log_size(), 0));
    assert_eq!(world.engine.credentials_of(root.id, false).unwrap().credentials.len(), 1);
    assert!(world.engine.credentials_of(TaskId::from_bytes([1; 16]), true).is_err());
}

/// Erased data is said to be erased, and is found by what is left of it.
#[tokio::test]
async fn what_was_erased_is_said_to_be() {
    let world = World::start().await;
    world.task(LEAD, None).await;
    let of_alice = Query { person: Some(person(ALICE)), ..oldest_first() };
    let before = pages(&world.engine, &of_alice);
    let started = before.last().unwrap();
    let Body::TaskStarted { task } = &started.event.as_ref().unwrap().what else { panic!("{started:?}") };
    assert_eq!((task.purpose.as_str(), &task.principal, started.erased), ("test", &person(ALICE), false));
    let erased = world.engine.erase_person(&world.admin, &person(ALICE)).await.unwrap();
    for asked in [&of_alice, &Query { person: Some(erased.pseudonym.clone()), ..oldest_first() }] {
        let after = pages(&world.engine, asked);
        let known: Vec<_> = after.iter().filter(|entry| entry.index <= started.index).collect();
        assert_eq!(known.len(), before.len(), "none is left out");
        for (old, new) in before.iter().zip(known) {
            assert_eq!((old.index, &old.leaf_hash), (new.index, &new.leaf_hash));
            assert!(!serde_json::to_string(new).unwrap().contains(ALICE), "{new:?}");
        }
        let now = after.iter().find(|entry| entry.index == started.index).unwrap();
        let Body::TaskStarted { task } = &now.event.as_ref().unwrap().what else { panic!("{now:?}") };
        assert!(now.erased && task.purpose.starts_with("commit:"), "{now:?}");
        assert_eq!((&task.principal, now.subject.as_ref()), (&erased.pseudonym, Some(&erased.pseudonym)));
    }
}

/// What was let go is counted: an answer that leaves it out says so.
#[tokio::test]
async fn what_was_let_go_is_counted() {
    let world = World::start().await;
    let reads = |n: u64| {
        let (engine, by) = (Arc::clone(&world.engine), world.alice.clone());
        tokio::spawn(async move { engine.record_read(&by, "everything", n).await.unwrap() })
    };
    for read in (0..700).map(reads).collect::<Vec<_>>() {
        read.await.unwrap();
    }
    world.publish().await;
    world.advance(60);
    let now = world.engine.now();
    world.engine.record_read(&world.bob, "one more", 1).await.unwrap();
    let size = world.engine.log_size();
    let by_alice = Query { person: Some(person(ALICE)), kind: Some("ledger_read".into()), limit: Some(1000), ..Query::default() };
    assert_eq!(world.engine.query(&by_alice).unwrap().entries.len(), 700);
    let request = PruneRequest { before: now, dry_run: false, danger_short: true };
    let pruning = world.engine.prune(&world.admin, request).await.unwrap();
    assert_eq!(pruning.below, 512);
    for rebuilt in [false, true] {
        if rebuilt {
            world.engine.rebuild_views().unwrap();
        }
        let page = world.engine.query(&oldest_first()).unwrap();
        assert_eq!(page.entries.len() as u64 + page.pruned, world.engine.log_size(), "every entry is shown or counted");
        assert!(page.pruned > 400 && page.entries.iter().all(|entry| entry.event.is_some()));
        assert!(page.entries[0].index == 0, "what the state rests on is kept");
        let found = world.engine.query(&by_alice).unwrap();
        // The log's own files may still tell that there was one: then that is all that is told of it.
        assert!(found.entries.iter().all(|entry| entry.pruned == (entry.index < 512) && entry.event.is_none() == entry.pruned));
        assert_eq!(found.pruned, page.pruned, "among these may be some of hers");
        let later = world.engine.query(&Query { from: Some(512), ..by_alice.clone() }).unwrap();
        let kept: Vec<_> = found.entries.into_iter().filter(|entry| !entry.pruned).collect();
        assert!(!kept.is_empty());
        assert_eq!((later.pruned, later.entries), (0, kept));
        let since = world.engine.query(&Query { since: Some(When::At(now)), ..oldest_first() }).unwrap();
        assert_eq!((since.pruned, since.entries[0].index), (0, size - 1), "their time is over");
        let until = world.engine.query(&Query { until: Some(When::At(now)), ..oldest_first() }).unwrap();
        assert_eq!(until.entries.len() as u64 + until.pruned, size - 1);
    }
    // Whoever follows from there is told, and not led past it.
    let mut follow = world.engine.follow(&Query::default(), 300).unwrap();
    assert!(follow.next().await.is_err());
    assert_eq!(follow.position(), 300);
}

/// Reading the log is in the log, with who read; what they asked is theirs, and no reader of the leaves sees it.
#[tokio::test]
async fn reading_is_an_event() {
    let world = World::start().await;
    world.engine.record_read(&world.bob, "/v1/ledger/events?person=alice", 17).await.unwrap();
    let by_bob = Query { person: Some(person(BOB)), kind: Some("ledger_read".into()), ..Query::default() };
    let page = world.engine.query(&by_bob).unwrap();
    let [entry] = page.entries.as_slice() else { panic!("{page:?}") };
    let event = entry.event.as_ref().unwrap();
    assert_eq!(event.by, By::Person(person(BOB)));
    assert_eq!(event.what, Body::LedgerRead { query: "/v1/ledger/events?person=alice".into(), rows: 17 });
    let leaf = &world.entries().await[usize::try_from(entry.index).unwrap()];
    let leaf = String::from_utf8(leaf.clone()).unwrap();
    assert!(leaf.contains("commit:") && !leaf.contains("alice") && !leaf.contains("bob"), "{leaf}");
    assert!(world.engine.is_known(&person(ADMIN)) && !world.engine.is_known(&person("eve@example.com")));
}

#[tokio::test]
async fn a_name_that_nobody_has_finds_nothing() {
    let world = World::start().await;
    let query = |identity: &str| Query { identity: Some(identity.into()), ..Query::default() };
    assert!(world.engine.query(&query("agent/never")).unwrap().entries.is_empty());
    assert!(world.engine.query(&query("spiffe://elsewhere.example/agent")).unwrap().entries.is_empty());
    assert!(world.engine.query(&query("spiffe://")).is_err());
    let of_kind = |kind: &str| world.engine.query(&Query { kind: Some(kind.into()), ..Query::default() });
    assert!(of_kind("gap").unwrap().entries.is_empty());
    let bogus = of_kind("bogus").unwrap_err().to_string();
    assert!(bogus.contains("`bogus`") && bogus.contains("task_started, task_finished"), "{bogus}");
    assert!(world.engine.query(&query("a b")).is_err());
    assert!(world.engine.query(&Query { limit: Some(1001), ..Query::default() }).is_err());
    assert_eq!(world.engine.query(&Query { from: Some(u64::MAX), ..Query::default() }).unwrap().entries, []);
    assert_eq!(world.engine.query(&Query { before: Some(0), ..Query::default() }).unwrap().entries, []);
}
