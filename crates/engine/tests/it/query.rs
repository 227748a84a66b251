//! Questions to the log against a scan of all of it, and who held what.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use marque_core::Digest;
use marque_core::event::{Body, By, Event};
use marque_core::id::{ElevationId, LeaseId, TaskId};
use marque_core::record::Outcome;
use marque_core::revocation::Target;
use marque_core::task::Task;
use marque_core::time::Timestamp;
use marque_core::when::When;
use marque_engine::desired::Desired;
use marque_engine::{
    ActionRequest, ArtifactRequest, Engine, Entry, Exchange, Order, PruneRequest, Query, TokenType, Verdict, content, sha256,
};
use marque_ledger::leaf_hash;
use marque_store::index::{Field, terms};
use serde_json::json;

use crate::world::{ADMIN, ALICE, Agent, BOB, LEAD, WORKER, World, answered, asks, call, person, request, resource, spiffe};

/// The same numbers every time.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % n as u64) as usize
    }

    fn pick<'a, T>(&mut self, from: &'a [T]) -> Option<&'a T> {
        if from.is_empty() { None } else { from.get(self.below(from.len())) }
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }
}

/// What a busy world is made of.
#[derive(Default)]
pub(crate) struct Busy {
    tasks: Vec<Task>,
    tokens: Vec<(String, LeaseId)>,
    held: Vec<ElevationId>,
    texts: Vec<Digest>,
}

/// Whatever can happen, in any order; most of it may fail, as it does.
async fn happen(world: &World, lead: &Agent, worker: &Agent, busy: &mut Busy, dice: &mut Dice) {
    let engine = &world.engine;
    match dice.below(12) {
        0 | 1 => {
            let actor = if dice.one_in(2) { LEAD } else { WORKER };
            let by = if dice.one_in(2) { &world.alice } else { &world.bob };
            busy.tasks.push(engine.start_task(by, request(actor, None)).await.unwrap());
        }
        2 | 3 => {
            let Some(task) = dice.pick(&busy.tasks) else { return };
            let agent = if task.actor == spiffe(LEAD) { lead } else { worker };
            if let Ok(got) = engine.exchange(world.own(agent, task).await).await {
                busy.tokens.push((got.token, got.lease.id));
            }
        }
        4 => {
            let Some((token, _)) = dice.pick(&busy.tokens) else { return };
            let exchange = Exchange { actor: Some(world.jwt(worker).await), ..asks(worker, token, TokenType::AccessToken) };
            if let Ok(got) = engine.exchange(exchange).await {
                busy.tasks.push(got.task);
                busy.tokens.push((got.token, got.lease.id));
            }
        }
        5..=8 => {
            let Some((_, lease)) = dice.pick(&busy.tokens) else { return };
            let tool = ["tool:crm/find", "tool:crm/find", "tool:crm/drop", "tool:mail/send"][dice.below(4)];
            let text = format!("text {}", dice.below(5));
            busy.texts.push(sha256(text.as_bytes()));
            let contents = vec![content("/arguments/body", text.as_bytes())];
            let arguments = json!({ "n": dice.below(3) });
            match engine.authorize(ActionRequest { contents, ..call(*lease, tool, arguments) }).await {
                Ok(Verdict::Proceed(permit)) if dice.one_in(4) => drop(permit),
                Ok(Verdict::Proceed(permit)) => {
                    let contents = vec![content("/result", text.as_bytes())];
                    permit.settle(Outcome { contents, ..answered() }).unwrap();
                }
                Ok(Verdict::Hold { elevation, .. }) => busy.held.push(elevation),
                Ok(Verdict::Deny { .. }) | Err(_) => {}
            }
        }
        9 => {
            if let Some(elevation) = dice.pick(&busy.held) {
                let _ = engine.approve(&world.admin, *elevation).await;
            }
        }
        10 => {
            let target = match (dice.below(3), dice.pick(&busy.tasks), dice.pick(&busy.tokens)) {
                (0, Some(task), _) => Target::Task(task.id),
                (1, _, Some((_, lease))) => Target::Lease(*lease),
                (_, Some(task), _) => {
                    let _ = engine.finish_task(&world.alice, task.id).await;
                    return;
                }
                _ => return,
            };
            let _ = engine.revoke(&world.admin, target, "test").await;
        }
        _ => world.advance(dice.below(20) as i64),
    }
}

pub(crate) async fn busy(seed: u64) -> (World, Busy) {
    let world = World::start().await;
    let (lead, worker) = (world.agent(LEAD).await, world.agent(WORKER).await);
    let (mut busy, mut dice) = (Busy::default(), Dice(seed));
    for _ in 0..250 {
        happen(&world, &lead, &worker, &mut busy, &mut dice).await;
    }
    if let Some(task) = busy.tasks.first() {
        let (content, input) = (sha256(b"a model"), sha256(b"text 0"));
        let file = ArtifactRequest { name: "model".into(), content, bytes: 7, task: task.id, inputs: vec![input] };
        world.engine.attest_artifact(&world.alice, file).await.unwrap();
        busy.texts.push(content);
    }
    world.engine.drain().await.unwrap();
    (world, busy)
}

/// All pages of a question, put together.
pub(crate) fn pages(engine: &Engine, query: &Query) -> Vec<Entry> {
    let (mut query, mut all) = (query.clone(), Vec::new());
    loop {
        let page = engine.query(&query).unwrap();
        assert_eq!((page.covers, page.size, page.pruned), (engine.log_size(), engine.log_size(), 0));
        assert!(page.entries.len() <= query.limit.unwrap_or(100) as usize);
        assert!(page.next.is_none() || !page.entries.is_empty(), "a page without an end");
        all.extend(page.entries);
        match page.next {
            Some(next) => query = query.page_at(next),
            None => return all,
        }
    }
}

pub(crate) fn indices(entries: &[Entry]) -> Vec<u64> {
    entries.iter().map(|entry| entry.index).collect()
}

pub(crate) fn oldest_first() -> Query {
    Query { order: Some(Order::Asc), limit: Some(1000), ..Query::default() }
}

/// Every event, opened: held against the published log, entry by entry.
pub(crate) async fn scan(world: &World) -> Vec<Event> {
    let entries = pages(&world.engine, &oldest_first());
    let published = world.entries().await;
    assert_eq!(entries.len(), published.len(), "all of the log");
    for (index, (entry, leaf)) in entries.iter().zip(&published).enumerate() {
        assert_eq!((entry.index, &entry.leaf_hash), (index as u64, &leaf_hash(leaf).to_string()));
        assert!(!entry.erased && !entry.pruned);
        let (opened, veiled) = (entry.event.as_ref().unwrap(), Event::from_bytes(leaf).unwrap());
        assert_eq!((opened.id, opened.ts, opened.what.kind()), (veiled.id, veiled.ts, veiled.what.kind()));
    }
    entries.into_iter().filter_map(|entry| entry.event).collect()
}

/// What an entry has, as the scan knows it.
fn facts(event: &Event) -> BTreeSet<(Field, String)> {
    let mut facts = BTreeSet::new();
    terms(event, &mut |field, value| {
        facts.insert((field, value.to_owned()));
    });
    facts
}

fn digests(event: &Event) -> Vec<Digest> {
    let contents = match &event.what {
        Body::Decided(decided) => decided.contents.clone(),
        Body::Settled { outcome, .. } => outcome.contents.clone(),
        _ => Vec::new(),
    };
    let files = match &event.what {
        Body::ArtifactAttested { artifact } => [vec![artifact.content], artifact.inputs.clone()].concat(),
        _ => Vec::new(),
    };
    contents.iter().map(|c| c.exact).chain(files).filter_map(|c| c.digest()).collect()
}

/// What a scan of everything finds.
pub(crate) fn expected(events: &[Event], query: &Query) -> Vec<u64> {
    let mut below: BTreeMap<TaskId, Vec<TaskId>> = BTreeMap::new();
    for event in events {
        if let Body::TaskStarted { task } | Body::ElevationApproved { task, .. } = &event.what {
            below.insert(task.id, task.lineage.clone());
        }
    }
    let hangs = |task: &str, root: TaskId| {
        task == root.to_string()
            || (query.below && task.parse().is_ok_and(|id: TaskId| below.get(&id).is_some_and(|above| above.contains(&root))))
    };
    let identity = query.identity.as_ref().map(|name| if name.contains("://") { name.clone() } else { spiffe(name).to_string() });
    let at = |when: Option<When>| match when {
        Some(When::At(moment)) => Some(moment),
        Some(When::Ago(_)) => panic!("the scan knows no clock"),
        None => None,
    };
    let fits = |event: &Event| {
        let facts = facts(event);
        let any = |field: Field, fits: &dyn Fn(&str) -> bool| facts.iter().any(|(f, value)| *f == field && fits(value));
        let same = |field: Field, wanted: Option<String>| wanted.is_none_or(|wanted| any(field, &|value| value == wanted));
        query.task.is_none_or(|root| any(Field::Task, &|task| hangs(task, root)))
            && same(Field::Identity, identity.clone())
            && same(Field::Instance, query.instance.map(|v| v.to_string()))
            && same(Field::Person, query.person.as_ref().map(ToString::to_string))
            && same(Field::Resource, query.resource.as_ref().map(ToString::to_string))
            && same(Field::Credential, query.credential.map(|v| v.to_string()))
            && same(Field::Record, query.record.map(|v| v.to_string()))
            && same(Field::Decision, query.decision.map(|v| v.as_str().to_owned()))
            && same(Field::Kind, query.kind.clone())
            && query.digest.is_none_or(|digest| digests(event).contains(&digest))
            && at(query.since).is_none_or(|since| event.ts >= since)
            && at(query.until).is_none_or(|until| event.ts < until)
    };
    let in_range = |index: u64| index >= query.from.unwrap_or(0) && index < query.before.unwrap_or(u64::MAX);
    (0..).zip(events).filter(|(index, event)| in_range(*index) && fits(event)).map(|(index, _)| index).collect()
}

/// A question with some of what some entries have, so that most find something.
pub(crate) fn question(events: &[Event], busy: &Busy, dice: &mut Dice) -> Query {
    let mut query = Query { below: dice.one_in(2), ..Query::default() };
    let mut of = &events[dice.below(events.len())];
    for (field, value) in facts(of) {
        if !dice.one_in(2) {
            continue;
        }
        match field {
            Field::Identity if dice.one_in(2) => {
                query.identity = Some(value.trim_start_matches("spiffe://example.org/").to_owned());
            }
            Field::Identity => query.identity = Some(value),
            Field::Instance => query.instance = value.parse().ok(),
            Field::Task => query.task = value.parse().ok(),
            Field::Person => query.person = value.parse().ok(),
            Field::Resource => query.resource = value.parse().ok(),
            Field::Credential => query.credential = value.parse().ok(),
            Field::Decision => query.decision = serde_json::from_value(json!(value)).ok(),
            Field::Kind => query.kind = Some(value),
            Field::Record => query.record = value.parse().ok(),
        }
    }
    if dice.one_in(3) {
        query.digest = dice.pick(&busy.texts).copied();
    }
    for bound in [&mut query.since, &mut query.until] {
        if dice.one_in(4) {
            of = &events[dice.below(events.len())];
            *bound = Some(When::At(of.ts));
        }
    }
    if dice.one_in(6) {
        query.from = Some(dice.below(events.len()) as u64);
    }
    if dice.one_in(6) {
        query.before = Some(dice.below(events.len() + 5) as u64);
    }
    query
}

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
    Desired { identities: Vec::new(), resources: (0..1500).map(one).collect(), policies: Vec::new() }
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
    assert!(world.engine.query(&query("a b")).is_err());
    assert!(world.engine.query(&Query { limit: Some(1001), ..Query::default() }).is_err());
    assert_eq!(world.engine.query(&Query { from: Some(u64::MAX), ..Query::default() }).unwrap().entries, []);
    assert_eq!(world.engine.query(&Query { before: Some(0), ..Query::default() }).unwrap().entries, []);
}
