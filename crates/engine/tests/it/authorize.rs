//! Decided, recorded, and only then permitted.

use marque_core::decision::Effect;
use marque_core::resource::{Action, Resource, Sensitivity};
use marque_engine::{ActionRequest, EngineError, Exchange, TaskRequest, TokenType, Verdict, canonical, content, sha256};
use serde_json::json;

use crate::world::{ALICE, LEAD, WORKER, World, answered, asks, call, manifest, person, request, resource, spiffe};

/// INVARIANT (I3 no act without a record).
#[tokio::test]
async fn every_answer_is_recorded_before_it_is_given() {
    let world = World::start().await;
    let lead = world.agent(LEAD).await;
    let task = world.task(LEAD, None).await;
    let lease = world.token(&lead, &task).await.lease.id;
    let arguments = json!({ "q": "Bob" });
    let Verdict::Deny { record: denied, .. } = world.engine.authorize(call(lease, "tool:crm/drop", json!({}))).await.unwrap()
    else {
        panic!("it is not denied")
    };
    let Verdict::Hold { record: held, elevation, reasons } =
        world.engine.authorize(call(lease, "tool:mail/send", json!({}))).await.unwrap()
    else {
        panic!("it is not held")
    };
    let texts = vec![content("/arguments/q", b"Bob")];
    let permit = world.permit(ActionRequest { contents: texts.clone(), ..call(lease, "tool:crm/find", arguments.clone()) }).await;
    let allowed = permit.record();
    permit.settle(answered()).unwrap();
    world.engine.drain().await.unwrap();

    let rows = world.engine.records(Some(task.id), None, 10).unwrap();
    let found: Vec<_> = rows.iter().map(|r| (r.decided.record, r.decided.effect)).collect();
    assert_eq!(found, [(allowed, Effect::Allow), (held, Effect::Hold), (denied, Effect::Deny)], "the newest first");
    assert_eq!(rows[0].settled.as_ref().map(|(_, outcome)| outcome), Some(&answered()));
    assert_eq!((rows[1].settled.is_none(), rows[2].settled.is_none()), (true, true));
    assert_eq!((rows[1].decided.elevation, rows[2].decided.elevation), (Some(elevation), None));
    assert_eq!((reasons[0].policy.as_str(), &rows[1].decided.reasons), ("mail-out", &reasons));
    let first = &rows[0].decided;
    assert_eq!((&first.identity, &first.principal), (&spiffe(LEAD), &person(ALICE)));
    assert_eq!((first.instance, first.lease, first.task), (lead.instance.id, lease, task.id));
    assert_eq!((first.action, first.resource.to_string()), (Action::Invoke, "tool:crm/find".to_owned()));
    assert_eq!((first.arguments, first.request), (canonical(&arguments).into(), sha256(arguments.to_string().as_bytes()).into()));
    assert_eq!((&first.contents, first.protocol.as_str()), (&texts, "mcp tools/call"));
    assert_eq!(Some(first.policy), world.state().policy.map(|(_, digest)| digest));

    assert_eq!(world.engine.records(None, Some(LEAD), 10).unwrap().len(), 3);
    assert_eq!(world.engine.records(None, Some(WORKER), 10).unwrap().len(), 0);
    assert_eq!(world.engine.records(None, None, 1).unwrap().len(), 1);
}

#[tokio::test]
async fn what_is_not_known_is_denied() {
    let world = World::start().await;
    let lead = world.agent(LEAD).await;
    let lease = world.token(&lead, &world.task(LEAD, None).await).await.lease.id;
    assert_eq!(world.denied(call(lease, "tool:crm/unknown", json!({}))).await, "unregistered");
    assert_eq!(world.denied(call(lease, "tool:crm/raw", json!({}))).await, "unclassified");
    let unseen = ActionRequest { definition: None, ..call(lease, "tool:crm/find", json!({})) };
    assert_eq!(world.denied(unseen).await, "definition-unknown");
    let too_deep = (0..40).fold(json!(1), |inner, _| json!([inner]));
    assert_eq!(world.denied(call(lease, "tool:crm/find", too_deep)).await, "request");
    assert_eq!(world.denied(call(lease, "tool:crm/find", json!({ "a.b": 1, "a": { "b": 2 } }))).await, "request");
}

#[tokio::test]
async fn a_tool_that_changed_waits_for_a_person() {
    let world = World::start().await;
    let lead = world.agent(LEAD).await;
    let lease = world.token(&lead, &world.task(LEAD, None).await).await.lease.id;
    let changed =
        |text: &str| ActionRequest { definition: Some(sha256(text.as_bytes())), ..call(lease, "tool:crm/find", json!({})) };
    let held = world.held(changed("second")).await;
    let elevation = world.state().elevations[&held].clone();
    assert_eq!(elevation.needs.elevations, ["tool-changed"]);
    world.engine.approve(&world.bob, held).await.unwrap();
    // The approval is for the definition that was seen, not for the next one.
    assert_ne!(world.held(changed("third")).await, held);
    world.permit(changed("second")).await.settle(answered()).unwrap();
}

#[tokio::test]
async fn the_task_the_lease_and_the_ceiling_bound_every_call() {
    let world = World::start().await;
    let lead = world.agent(LEAD).await;
    let task = world.task(LEAD, Some("invoke:tool:crm/*")).await;
    let lease = world.token(&lead, &task).await.lease.id;
    assert_eq!(world.denied(call(lease, "tool:mail/send", json!({}))).await, "task-scope");
    let narrow = Exchange { scope: Some("invoke:tool:crm/drop".parse().unwrap()), ..world.own(&lead, &task).await };
    let narrow = world.engine.exchange(narrow).await.unwrap().lease.id;
    assert_eq!(world.denied(call(narrow, "tool:crm/find", json!({}))).await, "task-scope");
    drop(world.permit(call(lease, "tool:crm/find", json!({}))).await);
    // A ceiling that came down holds for tasks that run.
    let mut desired = manifest();
    desired.identities[0].ceiling = "invoke:tool:mail/*".parse().unwrap();
    world.engine.apply(&world.admin, &desired).await.unwrap();
    assert_eq!(world.denied(call(lease, "tool:crm/find", json!({}))).await, "ceiling");
}

#[tokio::test]
async fn a_budget_is_used_up_by_the_task_and_all_below_it() {
    let world = World::start().await;
    let lead = world.agent(LEAD).await;
    let task = world.engine.start_task(&world.alice, TaskRequest { calls: Some(2), ..request(LEAD, None) }).await.unwrap();
    let own = world.token(&lead, &task).await;
    let child = world.engine.exchange(asks(&lead, &own.token, TokenType::AccessToken)).await.unwrap();
    let find = |lease| call(lease, "tool:crm/find", json!({}));
    // What is denied or held costs nothing.
    world.denied(call(own.lease.id, "tool:crm/drop", json!({}))).await;
    world.held(call(own.lease.id, "tool:mail/send", json!({}))).await;
    drop(world.permit(find(own.lease.id)).await);
    drop(world.permit(find(child.lease.id)).await);
    assert_eq!(world.denied(find(child.lease.id)).await, "budget");
    assert_eq!(world.denied(find(own.lease.id)).await, "budget");
}

#[tokio::test]
async fn a_stranger_is_told_nothing_and_leaves_nothing() {
    let (world, elsewhere) = (World::start().await, World::start().await);
    let lead = elsewhere.agent(LEAD).await;
    let lease = elsewhere.token(&lead, &elsewhere.task(LEAD, None).await).await.lease.id;
    let size = world.engine.log_size();
    let error = world.engine.authorize(call(lease, "tool:crm/find", json!({}))).await.unwrap_err();
    assert!(matches!(error, EngineError::Dead(_)), "{error}");
    assert_eq!(world.engine.log_size(), size);
}

#[tokio::test]
async fn a_resource_may_be_more_sensitive_than_the_task_allows() {
    let world = World::empty().await;
    let mut desired = manifest();
    desired.resources.push(Resource { sensitivity: Sensitivity::Restricted, ..resource("tool:crm/salaries") });
    world.engine.apply(&world.admin, &desired).await.unwrap();
    let lead = world.agent(LEAD).await;
    let task = world.task(LEAD, Some("invoke:tool:crm/*;sensitivity=internal")).await;
    let lease = world.token(&lead, &task).await.lease.id;
    assert_eq!(world.denied(call(lease, "tool:crm/salaries", json!({}))).await, "task-scope");
    drop(world.permit(call(lease, "tool:crm/find", json!({}))).await);
}
