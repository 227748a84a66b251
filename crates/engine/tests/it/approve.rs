//! INVARIANT (I5 elevation never widens): another person, the exact call, once, for a while.

use marque_core::elevation::{ElevationError, Status};
use marque_core::id::{ElevationId, LeaseId};
use marque_core::revocation::Target;
use marque_engine::{ActionRequest, Caller, EngineError, Verdict};
use serde_json::{Value, json};

use crate::world::{Agent, BOB, LEAD, OWNER, WORKER, World, answered, call, manifest, person, policy, spiffe};

/// A lead with a task of everything, and the lease of a token of it.
async fn lead() -> (World, Agent, LeaseId) {
    let world = World::start().await;
    let lead = world.agent(LEAD).await;
    let task = world.task(LEAD, None).await;
    let lease = world.token(&lead, &task).await.lease.id;
    (world, lead, lease)
}

fn letter(lease: LeaseId, arguments: Value) -> ActionRequest {
    call(lease, "tool:mail/send", arguments)
}

#[tokio::test]
async fn an_approved_call_proceeds_exactly_once() {
    let (world, lead, lease) = lead().await;
    let same = || letter(lease, json!({ "to": "bob", "body": "hello" }));
    let held = world.held(same()).await;
    assert_eq!(world.held(same()).await, held, "identical requests are one");
    let view = world.engine.approve(&world.bob, held).await.unwrap();
    let task = view.task.unwrap();
    assert_eq!(view.elevation.status, Status::Approved { task: task.id });
    assert_eq!((&task.principal, &task.actor, task.budget.calls), (&person(BOB), &spiffe(LEAD), Some(1)));
    assert!(task.lineage.contains(&view.elevation.call.task));

    assert_ne!(world.held(letter(lease, json!({ "to": "eve", "body": "hello" }))).await, held, "another call");
    let permit = world.permit(same()).await;
    let record = permit.record();
    permit.settle(answered()).unwrap();
    let again = world.held(same()).await;
    assert_ne!(again, held, "an approval is used once");

    world.engine.drain().await.unwrap();
    let rows = world.engine.records(Some(task.id), None, 10).unwrap();
    assert_eq!(rows.len(), 1, "what was approved happened under the approver's task");
    let decided = &rows[0].decided;
    assert_eq!((decided.record, &decided.principal, decided.elevation), (record, &person(BOB), Some(held)));
    assert_eq!((decided.instance, decided.lease), (lead.instance.id, lease));
    let listed: Vec<_> = world.engine.elevations(10).unwrap().into_iter().map(|e| (e.elevation.id, e.status)).collect();
    assert!(listed.contains(&(held, "approved".to_owned())) && listed.contains(&(again, "pending".to_owned())), "{listed:?}");
}

#[tokio::test]
async fn nobody_approves_for_themselves() {
    let (world, lead, lease) = lead().await;
    let held = world.held(letter(lease, json!({}))).await;
    for barred in [world.alice.clone(), Caller::Person(person(OWNER))] {
        let error = world.engine.approve(&barred, held).await.unwrap_err();
        assert!(matches!(error, EngineError::Elevation(ElevationError::Barred(_))), "{error}");
    }
    let error = world.engine.approve(&Caller::Workload(lead.workload), held).await.unwrap_err();
    assert!(matches!(error, EngineError::Forbidden(_)), "{error}");
    assert_eq!(world.state().elevations[&held].status, Status::Pending);
    world.engine.approve(&world.bob, held).await.unwrap();
}

#[tokio::test]
async fn two_must_approve_where_policy_says_two() {
    let world = World::empty().await;
    let two = r#"@id("two") @elevation("two") @approvals("2") forbid (principal, action == Marque::Action::"invoke", resource is Marque::Tool) when { resource.egress } unless { context.approved.contains("two") };"#;
    let mut desired = manifest();
    desired.policies.push(policy("two.cedar", two));
    world.engine.apply(&world.admin, &desired).await.unwrap();
    let lead = world.agent(LEAD).await;
    let lease = world.token(&lead, &world.task(LEAD, None).await).await.lease.id;
    let same = || letter(lease, json!({}));
    let held = world.held(same()).await;
    assert_eq!(world.state().elevations[&held].needs.elevations, ["mail-out", "two"]);
    assert!(world.engine.approve(&world.bob, held).await.unwrap().task.is_none());
    assert_eq!(world.held(same()).await, held, "one vote is not enough");
    let error = world.engine.approve(&world.bob, held).await.unwrap_err();
    assert!(matches!(error, EngineError::Elevation(ElevationError::Twice(_))), "{error}");
    assert!(world.engine.approve(&world.admin, held).await.unwrap().task.is_some());
    world.permit(same()).await.settle(answered()).unwrap();
}

#[tokio::test]
async fn a_refusal_is_final() {
    let (world, _lead, lease) = lead().await;
    let held = world.held(letter(lease, json!({}))).await;
    let view = world.engine.refuse(&world.bob, held, "not today").await.unwrap();
    assert_eq!(view.elevation.status, Status::Refused { by: person(BOB) });
    let error = world.engine.approve(&world.admin, held).await.unwrap_err();
    assert!(matches!(error, EngineError::Elevation(ElevationError::NotPending(..))), "{error}");
    let again = world.engine.authorize(letter(lease, json!({}))).await.unwrap();
    assert!(
        matches!(&again, Verdict::Deny { reasons, .. } if reasons[0].policy == "refused"),
        "asking again does not wear people down: {again:?}"
    );
    assert_ne!(world.held(letter(lease, json!({ "other": 1 }))).await, held, "another call is another question");
    let unknown = world.engine.approve(&world.admin, ElevationId::from_bytes([1; 16])).await.unwrap_err();
    assert!(matches!(unknown, EngineError::NotFound { .. }), "{unknown}");
}

#[tokio::test]
async fn the_order_of_arguments_is_no_difference() {
    let (world, _lead, lease) = lead().await;
    let [one, other] = [r#"{"a":1,"b":2}"#, r#"{"b":2,"a":1}"#].map(|text| serde_json::from_str::<Value>(text).unwrap());
    let held = world.held(letter(lease, one)).await;
    assert_eq!(world.held(letter(lease, other)).await, held);
}

#[tokio::test]
async fn an_approval_ends_with_what_it_hangs_from() {
    for what in ["elevation", "task", "approver"] {
        let (world, _lead, lease) = lead().await;
        let same = || letter(lease, json!({}));
        let held = world.held(same()).await;
        let call = world.state().elevations[&held].call.clone();
        world.engine.approve(&world.bob, held).await.unwrap();
        let target = match what {
            "elevation" => Target::Elevation(held),
            "task" => Target::Task(call.task),
            _ => Target::Owner(person(BOB)),
        };
        let revoked = world.engine.revoke(&world.admin, target, "test").await.unwrap();
        assert_eq!(revoked.tasks, if what == "task" { 2 } else { 1 }, "{what}");
        match what {
            "task" => assert!(world.engine.authorize(same()).await.is_err()),
            _ => assert_ne!(world.held(same()).await, held, "{what}"),
        }
    }
}

#[tokio::test]
async fn what_was_revoked_while_it_waited_is_not_approved() {
    let (world, _lead, lease) = lead().await;
    let held = world.held(letter(lease, json!({}))).await;
    world.engine.revoke(&world.admin, Target::Identity(spiffe(LEAD)), "test").await.unwrap();
    let error = world.engine.approve(&world.bob, held).await.unwrap_err();
    assert!(matches!(error, EngineError::Dead(_)), "{error}");
    assert_eq!(world.engine.records(None, Some(WORKER), 10).unwrap().len(), 0);
}

#[tokio::test]
async fn a_revoked_elevation_is_no_longer_listed_as_open() {
    let (world, _lead, lease) = lead().await;
    let held = world.held(letter(lease, json!({}))).await;
    world.engine.revoke(&world.admin, Target::Elevation(held), "test").await.unwrap();
    assert_eq!(world.state().elevations[&held].status, Status::Expired);
    assert_eq!(world.engine.elevations(10).unwrap()[0].status, "expired");
    assert!(world.engine.approve(&world.bob, held).await.is_err());
}
