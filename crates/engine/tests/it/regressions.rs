//! Mistakes that were found while these tests were written, each with the one test that shows it.

use marque_core::Digest;
use marque_core::event::{Body, By, Event, SCHEMA};
use marque_core::id::EventId;
use marque_core::record::Outcome;
use marque_core::resource::Action;
use marque_core::time::Timestamp;
use marque_engine::{ActionRequest, EngineError, Exchange, TokenType, TraceClass, canonical, content};
use marque_store::log::Log;
use serde_json::{Value, json};

use crate::world::{ADMIN, ALICE, Closed, LEAD, WORKER, World, answered, asks, call, manifest, person, policy};

/// INVARIANT (I1 narrowing): whoever hands on a narrowed token hands on no more than that.
#[tokio::test]
async fn a_child_is_no_wider_than_the_token_it_was_exchanged_for() {
    let world = World::start().await;
    let (lead, worker) = (world.agent(LEAD).await, world.agent(WORKER).await);
    let task = world.task(LEAD, None).await;
    let narrow = "invoke:tool:crm/find delegate:identity:agent/worker".parse().unwrap();
    let narrow = Exchange { scope: Some(narrow), ..world.own(&lead, &task).await };
    let narrow = world.engine.exchange(narrow).await.unwrap();
    let actor = Some(world.jwt(&worker).await);
    let base = Exchange { actor, ..asks(&worker, &narrow.token, TokenType::AccessToken) };
    let wider = Exchange { scope: Some("invoke:tool:mail/send".parse().unwrap()), ..base.clone() };
    let error = world.engine.exchange(wider).await.unwrap_err();
    assert!(matches!(error, EngineError::Task(_)), "{error}");
    let child = world.engine.exchange(base).await.unwrap();
    assert!(narrow.lease.scope.covers(&child.task.scope), "{} in {}", child.task.scope, narrow.lease.scope);
}

/// A token that was narrowed below `delegate` delegates nothing.
#[tokio::test]
async fn a_token_without_delegate_is_not_handed_on() {
    let world = World::start().await;
    let (lead, worker) = (world.agent(LEAD).await, world.agent(WORKER).await);
    let task = world.task(LEAD, None).await;
    let narrow = Exchange { scope: Some("invoke:tool:crm/find".parse().unwrap()), ..world.own(&lead, &task).await };
    let narrow = world.engine.exchange(narrow).await.unwrap();
    let exchange = Exchange { actor: Some(world.jwt(&worker).await), ..asks(&worker, &narrow.token, TokenType::AccessToken) };
    let error = world.engine.exchange(exchange).await.unwrap_err();
    assert!(matches!(error, EngineError::Denied(_)), "{error}");
}

/// INVARIANT (I7 unknown is No): of a dataset that nobody registered, no sensitivity is known.
#[tokio::test]
async fn what_nobody_registered_is_denied_whatever_it_is() {
    let world = World::empty().await;
    let mut desired = manifest();
    desired.policies = vec![policy("all.cedar", "@id(\"all\") permit (principal, action, resource);")];
    world.engine.apply(&world.admin, &desired).await.unwrap();
    let lead = world.agent(LEAD).await;
    let lease = world.token(&lead, &world.task(LEAD, None).await).await.lease.id;
    let read = ActionRequest { action: Action::Read, definition: None, ..call(lease, "dataset:salaries", json!({})) };
    world.denied(read).await;
}

/// INVARIANT (I3 no act without a record): a caller who hangs up while the decision is written leaves no permit open.
#[tokio::test]
async fn a_call_that_is_dropped_while_it_is_recorded_is_abandoned() {
    let world = World::start().await;
    let lead = world.agent(LEAD).await;
    let task = world.task(LEAD, None).await;
    let lease = world.token(&lead, &task).await.lease.id;
    let mut deciding = Box::pin(world.engine.authorize(call(lease, "tool:crm/find", json!({}))));
    tokio::select! {
        biased;
        verdict = &mut deciding => drop(verdict),
        () = std::future::ready(()) => {}
    }
    drop(deciding);
    // Whatever closes the record may be written a moment later.
    for _ in 0..20 {
        world.engine.drain().await.unwrap();
        tokio::task::yield_now().await;
    }
    let row = &world.engine.records(Some(task.id), None, 1).unwrap()[0];
    assert_eq!(row.settled.as_ref().map(|(_, outcome)| outcome), Some(&Outcome::abandoned()));
}

/// Two files of one name would not come back as they were: the directory could not be opened again.
#[tokio::test]
async fn two_policy_files_of_one_name_are_refused() {
    let world = World::empty().await;
    let mut desired = manifest();
    desired.policies.push(policy("main.cedar", "@id(\"more\") forbid (principal, action, resource);"));
    let applied = world.engine.apply(&world.admin, &desired).await;
    let closed = world.close();
    assert!(applied.is_err() || closed.try_open().await.is_ok(), "it was applied, and now the directory does not open");
    assert!(applied.is_err());
}

/// The recovery path is the ordinary path: a crash between the first events and the first person.
#[tokio::test]
async fn a_log_that_has_only_begun_gets_its_administrator() {
    let closed = Closed::new();
    let bodies = [
        Body::LogStarted { trust_domain: "example.org".parse().unwrap() },
        Body::PolicyActivated { files: Vec::new(), digest: Digest::from_bytes([1; 32]) },
    ];
    let event = |n: u8, what| Event {
        id: EventId::from_bytes([n; 16]),
        v: SCHEMA,
        ts: Timestamp::from_seconds(1),
        obs: None,
        iseq: 0,
        by: By::System,
        what,
    };
    let entries = bodies.into_iter().zip(1..).map(|(what, n)| event(n, what).to_bytes().unwrap()).collect();
    let log = Log::open(&closed.root().join("log"), 0).unwrap();
    log.append(entries).unwrap().await.unwrap();
    drop(log);
    let world = closed.open().await;
    assert!(world.state().people.contains_key(&person(ADMIN)));
    let credential = std::fs::read_to_string(world.closed.root().join(format!("people/{ADMIN}.token"))).unwrap();
    assert_eq!(world.engine.authenticate_person(&credential).unwrap(), world.admin);
}

/// Canonical is canonical whatever `serde_json` is built with: Cedar turns its `preserve_order` on.
#[test]
fn canonical_json_has_sorted_keys() {
    let [one, other] = [r#"{"a":[{"c":1,"d":2}],"b":{"e":3,"f":4}}"#, r#"{"b":{"f":4,"e":3},"a":[{"d":2,"c":1}]}"#]
        .map(|text| serde_json::from_str::<Value>(text).unwrap());
    assert_eq!(canonical(&one), canonical(&other));
}

#[tokio::test]
async fn entries_are_canonical_json() {
    fn sorted(value: &Value) -> bool {
        match value {
            Value::Object(map) => map.keys().is_sorted() && map.values().all(sorted),
            Value::Array(list) => list.iter().all(sorted),
            _ => true,
        }
    }
    let world = World::start().await;
    let lead = world.agent(LEAD).await;
    let lease = world.token(&lead, &world.task(LEAD, None).await).await.lease.id;
    world.held(call(lease, "tool:mail/send", json!({}))).await;
    for entry in world.entries().await {
        let value: Value = serde_json::from_slice(&entry).unwrap();
        assert!(sorted(&value), "{}", String::from_utf8_lossy(&entry));
    }
}

/// Many records with the same words must not hide the one that carried exactly these bytes.
#[tokio::test]
async fn an_exact_trace_is_found_behind_many_that_only_resemble_it() {
    let world = World::start().await;
    let lead = world.agent(LEAD).await;
    let lease = world.token(&lead, &world.task(LEAD, None).await).await.lease.id;
    let carrying = |text: &[u8]| ActionRequest { contents: vec![content("/x", text)], ..call(lease, "tool:crm/find", json!({})) };
    let permit = world.permit(carrying(b"one two")).await;
    let record = permit.record();
    permit.settle(answered()).unwrap();
    for _ in 0..25 {
        world.permit(carrying(b"one  two")).await.settle(answered()).unwrap();
    }
    let trace = world.engine.trace(b"one two").unwrap();
    assert_eq!(trace.class, TraceClass::Exact);
    assert_eq!(trace.chains[0].found.as_ref().map(|f| f.class), Some(TraceClass::Exact));
    assert_eq!(trace.chains[0].decided.as_ref().unwrap().record, record);
    assert_eq!(trace.chains[0].decided.as_ref().unwrap().principal, person(ALICE));
}
