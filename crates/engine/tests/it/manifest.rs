//! Plan and apply: all or nothing, and nothing twice.

use marque_core::event::{Body, By};
use marque_core::finding::Problem;
use marque_core::identity::Lifecycle;
use marque_core::resource::{Action, Resource, Risk};
use marque_core::revocation::Target;
use marque_engine::desired::Desired;
use marque_engine::{Caller, Change, ChangeKind, EngineError, Entry, Order, Query, sha256};
use serde_json::json;

use crate::world::{
    LEAD, OWNER, POLICY, WORKER, World, agent, call, manifest, named, observed, person, policy, resource, spiffe,
};

/// Nothing of this manifest is applied.
async fn refused(world: &World, desired: &Desired) -> EngineError {
    let (before, size) = (world.state(), world.engine.log_size());
    let planned = world.engine.plan(desired).unwrap_err();
    let error = world.engine.apply(&world.admin, desired).await.unwrap_err();
    assert_eq!(planned.to_string(), error.to_string());
    assert_eq!(world.state(), before);
    assert_eq!(world.engine.log_size(), size);
    error
}

fn names(changes: &[Change]) -> Vec<(ChangeKind, &str)> {
    changes.iter().map(|c| (c.kind, c.name.as_str())).collect()
}

#[tokio::test]
async fn what_was_applied_needs_no_more() {
    let world = World::empty().await;
    let plan = world.engine.plan(&manifest()).unwrap();
    assert!(plan.iter().all(|c| c.kind == ChangeKind::Add), "{plan:?}");
    assert_eq!(plan.len(), 2 + 6 + 1);
    let applied = world.engine.apply(&world.admin, &manifest()).await.unwrap();
    assert_eq!(applied.changes, plan);
    assert_eq!(world.state().policy, Some((vec!["main.cedar".to_owned()], applied.policy)));
    assert!(world.engine.plan(&manifest()).unwrap().is_empty());
    let size = world.engine.log_size();
    let again = world.engine.apply(&world.admin, &manifest()).await.unwrap();
    assert_eq!((again.changes, again.policy), (vec![], applied.policy));
    assert_eq!(world.engine.log_size(), size);
    let world = world.close().open().await;
    assert!(world.engine.plan(&manifest()).unwrap().is_empty());
}

#[tokio::test]
async fn a_plan_says_what_changes() {
    let world = World::start().await;
    let mut desired = manifest();
    desired.identities[1].purpose = "another".into();
    desired.identities.push(agent("agent/new", "invoke:tool:*"));
    desired.resources[2].risk = Some(Risk::Medium);
    desired.policies = vec![policy("other.cedar", POLICY)];
    let plan = world.engine.plan(&desired).unwrap();
    let (worker, new) = (spiffe(WORKER).to_string(), spiffe("agent/new").to_string());
    let expected = [
        (ChangeKind::Change, worker.as_str()),
        (ChangeKind::Add, new.as_str()),
        (ChangeKind::Change, "tool:crm/find"),
        (ChangeKind::Add, "policy other.cedar"),
        (ChangeKind::Remove, "policy main.cedar"),
    ];
    assert_eq!(names(&plan), expected);
    assert_eq!(plan[0].fields, [r#"purpose: "test" → "another""#]);
    assert_eq!(plan[2].fields, [r#"risk: "low" → "medium""#]);
    assert_eq!(world.state().identities.len(), 2, "a plan changes nothing");
    assert_eq!(world.engine.apply(&world.admin, &desired).await.unwrap().changes, plan);
    assert!(world.engine.plan(&desired).unwrap().is_empty());
    assert_eq!(world.state().policy_files.keys().collect::<Vec<_>>(), ["other.cedar"]);
}

#[tokio::test]
async fn one_bad_policy_stops_everything() {
    let world = World::start().await;
    let mut desired = manifest();
    desired.identities.push(agent("agent/new", "invoke:tool:*"));
    desired.resources.push(resource("tool:crm/new"));
    desired
        .policies
        .push(policy("bad.cedar", "\n@id(\"bad\")\npermit (principal, action, resource) when { resource.colour };\n"));
    let error = refused(&world, &desired).await;
    let EngineError::Policy(place) = &error else { panic!("{error}") };
    assert_eq!((place.file.as_str(), place.line), ("bad.cedar", 3), "{place}");
    desired.policies.pop();
    desired.policies.push(policy("again.cedar", "@id(\"tools\") permit (principal, action, resource);"));
    assert!(matches!(refused(&world, &desired).await, EngineError::Policy(_)));
}

#[tokio::test]
async fn only_people_apply() {
    let world = World::start().await;
    let workload = Caller::Workload(world.agent(LEAD).await.workload);
    let error = world.engine.apply(&workload, &manifest()).await.unwrap_err();
    assert!(matches!(error, EngineError::Forbidden(_)), "{error}");
}

#[tokio::test]
async fn a_retired_name_is_never_used_again() {
    let world = World::start().await;
    world.engine.move_identity(&world.admin, WORKER, Lifecycle::Retired, "test").await.unwrap();
    let mut desired = manifest();
    desired.identities.push(agent("agent/new", "invoke:tool:*"));
    let error = refused(&world, &desired).await;
    assert!(matches!(&error, EngineError::Invalid(why) if why.contains("retired") && why.contains(WORKER)), "{error}");
    assert_eq!(world.state().identities[&spiffe(WORKER)].state, Lifecycle::Retired);
}

#[tokio::test]
async fn a_manifest_registers_what_is_proposed_or_active() {
    let world = World::empty().await;
    let mut desired = manifest();
    for state in [Lifecycle::Suspended, Lifecycle::Retired] {
        desired.identities[0].state = state;
        let error = refused(&world, &desired).await.to_string();
        assert!(error.contains(LEAD) && error.contains("the identity is new") && error.contains(state.as_str()), "{error}");
    }
    desired.identities[0].state = Lifecycle::Proposed;
    world.engine.apply(&world.admin, &desired).await.unwrap();
    assert!(world.engine.attest(observed(&[&named(LEAD)]), None).await.is_err(), "proposed is not yet in use");
    desired.identities[0].state = Lifecycle::Active;
    world.engine.apply(&world.admin, &desired).await.unwrap();
    world.agent(LEAD).await;
    desired.identities[0].state = Lifecycle::Proposed;
    assert!(world.engine.plan(&desired).unwrap().is_empty(), "an active identity stays active");
}

/// The steps that identities took, with why and by whom.
fn steps(world: &World) -> Vec<(Lifecycle, String, By)> {
    let moves = Query { kind: Some("identity_moved".into()), order: Some(Order::Asc), ..Query::default() };
    let step = |entry: Entry| {
        let event = entry.event?;
        let Body::IdentityMoved { to, why, .. } = event.what else { return None };
        Some((to, why, event.by))
    };
    world.engine.query(&moves).unwrap().entries.into_iter().filter_map(step).collect()
}

#[tokio::test]
async fn a_manifest_moves_identities_and_says_why() {
    let world = World::empty().await;
    let mut desired = manifest();
    desired.identities[0].state = Lifecycle::Proposed;
    world.engine.apply(&world.admin, &desired).await.unwrap();
    assert!(steps(&world).is_empty(), "to be registered is no step");
    desired.identities[0].state = Lifecycle::Suspended;
    let error = refused(&world, &desired).await.to_string();
    assert!(error.contains("was never active"), "{error}");

    let id = spiffe(LEAD);
    let mut expected = Vec::new();
    let states = [Lifecycle::Active, Lifecycle::Suspended, Lifecycle::Retired];
    for (from, (to, why)) in
        ["proposed", "active", "suspended"].iter().zip(states.into_iter().zip([None, Some(" odd "), Some("over")]))
    {
        desired.identities[0].state = to;
        desired.identities[0].purpose = format!("to be {to}");
        desired.why = why.map(ToOwned::to_owned);
        let plan = world.engine.plan(&desired).unwrap();
        assert_eq!(names(&plan), [(ChangeKind::Change, id.to_string().as_str())]);
        assert_eq!(plan[0].fields.last(), Some(&format!(r#"state: "{from}" → "{to}""#)));
        assert_eq!(world.engine.apply(&world.admin, &desired).await.unwrap().changes, plan);
        let now = world.state().identities[&id].clone();
        assert_eq!((now.state, now.purpose), (to, format!("to be {to}")));
        expected.push((to, why.map_or("manifest", str::trim).to_owned(), world.admin.by()));
        assert_eq!(steps(&world), expected);
        assert!(world.engine.plan(&desired).unwrap().is_empty(), "{to}");
    }
    // It may stay in the manifest; what else is said of it there changes nothing.
    desired.identities[0].purpose = "another".into();
    assert!(world.engine.plan(&desired).unwrap().is_empty());
    let world = world.close().open().await;
    assert_eq!(world.state().identities[&id].state, Lifecycle::Retired);
    assert!(world.engine.plan(&desired).unwrap().is_empty());
}

#[tokio::test]
async fn no_step_is_without_why() {
    let world = World::start().await;
    let mut desired = manifest();
    desired.identities[0].state = Lifecycle::Suspended;
    for why in ["", "  ", "\n\t"] {
        let error = world.engine.move_identity(&world.admin, LEAD, Lifecycle::Suspended, why).await.unwrap_err();
        assert!(matches!(&error, EngineError::Invalid(text) if text.contains("`why` is empty")), "{error}");
        desired.why = Some(why.into());
        let error = refused(&world, &desired).await;
        assert!(matches!(&error, EngineError::Invalid(text) if text.contains("`why` is empty")), "{error}");
    }
    let moved = world.engine.move_identity(&world.admin, LEAD, Lifecycle::Suspended, " a pause ").await.unwrap();
    assert_eq!(moved, world.state().identities[&spiffe(LEAD)]);
    assert_eq!(steps(&world), [(Lifecycle::Suspended, "a pause".to_owned(), world.admin.by())]);
}

#[tokio::test]
async fn a_manifest_does_not_lift_a_suspension() {
    let world = World::start().await;
    let lead = world.agent(LEAD).await;
    world.engine.revoke(&world.admin, Target::Identity(spiffe(LEAD)), "test").await.unwrap();
    assert!(world.engine.plan(&manifest()).unwrap().is_empty());
    let mut desired = manifest();
    desired.identities[0].purpose = "another".into();
    world.engine.apply(&world.admin, &desired).await.unwrap();
    let state = world.state();
    let suspended = &state.identities[&spiffe(LEAD)];
    assert_eq!((suspended.state, suspended.purpose.as_str()), (Lifecycle::Suspended, "another"));
    assert!(world.engine.jwt_svid(&lead.instance, &["a".to_owned()]).await.is_err());
}

#[tokio::test]
async fn a_tool_is_pinned_once() {
    let world = World::empty().await;
    let mut desired = manifest();
    for tool in &mut desired.resources {
        tool.definition = None;
    }
    world.engine.apply(&world.admin, &desired).await.unwrap();
    let find = resource("tool:crm/find").id;
    let (first, second) = (sha256(b"first"), sha256(b"second"));
    let definition = || world.state().resources[&find].definition;
    world.engine.pin_tools(&[(find.clone(), first), (resource("tool:crm/unknown").id, first)]).await.unwrap();
    assert_eq!(definition(), Some(first));
    assert!(!world.state().resources.contains_key(&resource("tool:crm/unknown").id), "nothing is registered by being seen");
    let size = world.engine.log_size();
    world.engine.pin_tools(&[(find.clone(), second)]).await.unwrap();
    assert_eq!((definition(), world.engine.log_size()), (Some(first), size));
    // A manifest that does not say it again leaves it, and one that says another registers that.
    assert!(world.engine.plan(&desired).unwrap().is_empty());
    desired.resources[2].definition = Some(second);
    world.engine.apply(&world.admin, &desired).await.unwrap();
    assert_eq!(definition(), Some(second));
}

#[tokio::test]
async fn policies_that_the_manifest_no_longer_has_end() {
    let world = World::start().await;
    let lead = world.agent(LEAD).await;
    let lease = world.token(&lead, &world.task(LEAD, None).await).await.lease.id;
    drop(world.permit(call(lease, "tool:crm/find", json!({}))).await);
    let applied = world.engine.apply(&world.admin, &Desired::default()).await.unwrap();
    assert_eq!(names(&applied.changes), [(ChangeKind::Remove, "policy main.cedar")], "identities and resources are left alone");
    assert_eq!(world.denied(call(lease, "tool:crm/find", json!({}))).await, "no-permit");
    let world = world.close().open().await;
    assert_eq!(world.denied(call(lease, "tool:crm/find", json!({}))).await, "no-permit");
}

#[tokio::test]
async fn the_inventory_answers_who_can() {
    let world = World::start().await;
    let find = resource("tool:crm/find").id;
    let who = world.engine.who_can(Action::Invoke, &find).unwrap();
    assert_eq!(who.iter().map(|a| a.identity.short()).collect::<Vec<_>>(), [LEAD, WORKER]);
    let error = world.engine.who_can(Action::Invoke, &resource("tool:crm/unknown").id).unwrap_err();
    assert!(matches!(error, EngineError::NotFound { .. }), "{error}");
    let can = world.engine.can(WORKER).unwrap();
    assert_eq!(can.iter().map(|a| a.resource.to_string()).collect::<Vec<_>>(), ["tool:crm/find", "tool:mail/send"]);
    assert!(matches!(world.engine.can("agent/nobody"), Err(EngineError::NotFound { .. })));
}

/// INVARIANT (I8 every identity has an owner).
#[tokio::test]
async fn what_is_wrong_in_the_inventory_is_found() {
    let world = World::start().await;
    let found = |world: &World| world.engine.findings().into_iter().map(|f| (f.problem, f.subject)).collect::<Vec<_>>();
    let (lead, worker) = (spiffe(LEAD).to_string(), spiffe(WORKER).to_string());
    let all = found(&world);
    assert!(all.contains(&(Problem::NoOwner, lead.clone())) && all.contains(&(Problem::NoOwner, worker)), "{all:?}");
    assert!(all.contains(&(Problem::Unclassified, "tool:crm/raw".to_owned())), "{all:?}");
    assert!(all.contains(&(Problem::DanglingGrant, lead)), "no dataset is registered: {all:?}");
    world.engine.add_person(By::System, &person(OWNER)).await.unwrap();
    let mut desired = manifest();
    desired.resources[4] = Resource { risk: Some(Risk::Low), ..resource("tool:crm/raw") };
    desired.resources.push(resource("dataset:crm"));
    world.engine.apply(&world.admin, &desired).await.unwrap();
    assert!(found(&world).is_empty());
}

/// Streams look at their callers' entries when these have changed, and at nothing else that happens.
#[tokio::test]
async fn what_changes_entries_is_told() {
    let world = World::start().await;
    let mut entries = world.engine.watch_entries();
    let mut told = || {
        let told = entries.has_changed().unwrap();
        entries.mark_unchanged();
        told
    };
    world.engine.apply(&world.admin, &manifest()).await.unwrap();
    let mut desired = manifest();
    desired.resources[2].risk = Some(Risk::Medium);
    world.engine.apply(&world.admin, &desired).await.unwrap();
    let lead = world.agent(LEAD).await;
    let task = world.task(LEAD, None).await;
    for target in [Target::Lease(lead.workload.lease), Target::Task(task.id), Target::Instance(lead.instance.id)] {
        world.engine.revoke(&world.admin, target, "test").await.unwrap();
    }
    assert!(!told(), "no entry is another");
    desired.identities[1].hint = Some("w".into());
    world.engine.apply(&world.admin, &desired).await.unwrap();
    assert!(told());
    for to in [Lifecycle::Suspended, Lifecycle::Active] {
        world.engine.move_identity(&world.admin, LEAD, to, "test").await.unwrap();
        assert!(told(), "{to}");
    }
    for target in [Target::Identity(spiffe(LEAD)), Target::Owner(person(OWNER))] {
        world.engine.revoke(&world.admin, target.clone(), "test").await.unwrap();
        assert!(told(), "{target}");
    }
}
