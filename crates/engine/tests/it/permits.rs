//! What a permit, a passage and a list of tools are worth, and when they end.

use marque_core::identity::Lifecycle;
use marque_core::record::{Ending, Outcome};
use marque_core::resource::ResourceId;
use marque_core::revocation::Target;
use marque_engine::EngineError;
use serde_json::json;

use crate::world::{ADMIN, ALICE, LEAD, OWNER, World, answered, call, person, spiffe};

#[tokio::test]
async fn a_permit_ends_with_what_it_hangs_from() {
    for what in ["lease", "task", "instance", "identity", "owner", "person", "suspended", "finished"] {
        let world = World::start().await;
        let lead = world.agent(LEAD).await;
        let task = world.task(LEAD, None).await;
        let lease = world.token(&lead, &task).await.lease.id;
        let permit = world.permit(call(lease, "tool:crm/find", json!({}))).await;
        assert!(permit.alive());
        let ended = world.engine.watch_ended();
        let target = match what {
            "lease" => Some(Target::Lease(lease)),
            "task" => Some(Target::Task(task.id)),
            "instance" => Some(Target::Instance(lead.instance.id)),
            "identity" => Some(Target::Identity(spiffe(LEAD))),
            "owner" => Some(Target::Owner(person(OWNER))),
            "person" => Some(Target::Owner(person(ALICE))),
            _ => None,
        };
        match target {
            Some(target) => drop(world.engine.revoke(&world.admin, target, "test").await.unwrap()),
            None if what == "finished" => world.engine.finish_task(&world.alice, task.id).await.unwrap(),
            None => drop(world.engine.move_identity(&world.admin, LEAD, Lifecycle::Suspended, "test").await.unwrap()),
        }
        assert!(!permit.alive(), "{what}");
        assert!(ended.has_changed().unwrap(), "{what}: streams under way are told");
        // What has happened is still recorded.
        let record = permit.record();
        permit.settle(Outcome { ending: Ending::Cut, ..answered() }).unwrap();
        world.engine.drain().await.unwrap();
        let row = &world.engine.records(Some(task.id), None, 1).unwrap()[0];
        assert_eq!((row.decided.record, row.settled.as_ref().map(|(_, o)| o.ending)), (record, Some(Ending::Cut)), "{what}");
    }
}

#[tokio::test]
async fn a_permit_of_an_approval_ends_with_the_approval() {
    let world = World::start().await;
    let lead = world.agent(LEAD).await;
    let lease = world.token(&lead, &world.task(LEAD, None).await).await.lease.id;
    let letter = || call(lease, "tool:mail/send", json!({}));
    let held = world.held(letter()).await;
    world.engine.approve(&world.bob, held).await.unwrap();
    let permit = world.permit(letter()).await;
    assert!(permit.alive());
    world.engine.revoke(&world.admin, Target::Elevation(held), "test").await.unwrap();
    assert!(!permit.alive());
}

#[tokio::test]
async fn another_revocation_leaves_a_permit_alive() {
    let world = World::start().await;
    let lead = world.agent(LEAD).await;
    let lease = world.token(&lead, &world.task(LEAD, None).await).await.lease.id;
    let permit = world.permit(call(lease, "tool:crm/find", json!({}))).await;
    let other = world.task(LEAD, None).await;
    world.engine.revoke(&world.admin, Target::Task(other.id), "test").await.unwrap();
    world.engine.revoke(&world.admin, Target::Owner(person(ADMIN)), "test").await.unwrap();
    assert!(permit.alive());
}

/// INVARIANT (I3 no act without a record): one that is dropped is recorded as abandoned.
#[tokio::test]
async fn a_dropped_permit_is_abandoned() {
    let world = World::start().await;
    let lead = world.agent(LEAD).await;
    let task = world.task(LEAD, None).await;
    let lease = world.token(&lead, &task).await.lease.id;
    let permit = world.permit(call(lease, "tool:crm/find", json!({}))).await;
    assert!(world.engine.records(Some(task.id), None, 1).unwrap()[0].settled.is_none());
    drop(permit);
    world.engine.drain().await.unwrap();
    let row = &world.engine.records(Some(task.id), None, 1).unwrap()[0];
    assert_eq!(row.settled.as_ref().map(|(_, outcome)| outcome), Some(&Outcome::abandoned()));
}

#[tokio::test]
async fn a_list_shows_what_could_be_called() {
    let world = World::start().await;
    let lead = world.agent(LEAD).await;
    let task = world.task(LEAD, Some("invoke:tool:crm/* invoke:tool:mail/send")).await;
    let lease = world.token(&lead, &task).await.lease.id;
    let narrow = world.token(&lead, &world.task(LEAD, Some("invoke:tool:mail/*")).await).await.lease.id;
    let svid = lead.workload.lease;
    let size = world.engine.log_size();
    let shows = |lease, tool: &str| world.engine.would_show(lease, &tool.parse().unwrap());
    assert!(shows(lease, "tool:crm/find"));
    assert!(shows(lease, "tool:mail/send"), "what a person may approve is shown");
    assert!(!shows(lease, "tool:crm/drop"), "forbidden");
    assert!(!shows(lease, "tool:crm/raw"), "unclassified");
    assert!(!shows(lease, "tool:crm/unknown"), "not registered");
    assert!(!shows(narrow, "tool:crm/find"), "not granted");
    assert!(!shows(svid, "tool:crm/find"), "of no task");
    assert_eq!(world.engine.log_size(), size, "nothing happened, so nothing is recorded");
    world.engine.revoke(&world.admin, Target::Task(task.id), "test").await.unwrap();
    assert!(!shows(lease, "tool:crm/find"), "revoked");
}

#[tokio::test]
async fn a_passage_is_for_those_who_may_do_something_there() {
    let world = World::start().await;
    let lead = world.agent(LEAD).await;
    let task = world.task(LEAD, Some("invoke:tool:crm/find")).await;
    let lease = world.token(&lead, &task).await.lease.id;
    let [crm, mail] = ["service:crm", "service:mail"].map(|s| s.parse::<ResourceId>().unwrap());
    let passage = world.engine.passage(lease, &crm).unwrap();
    assert_eq!(passage.holder(), (lead.instance.id, task.id));
    assert!(passage.alive(&world.engine));
    for (lease, service) in [(lease, &mail), (lead.workload.lease, &crm)] {
        let error = world.engine.passage(lease, service).unwrap_err();
        assert!(matches!(error, EngineError::Forbidden(_)), "{error}");
    }
    assert!(world.engine.upstream(&crm).is_none());
    world.engine.revoke(&world.admin, Target::Instance(lead.instance.id), "test").await.unwrap();
    assert!(!passage.alive(&world.engine));
    assert!(matches!(world.engine.passage(lease, &crm), Err(EngineError::Dead(_))));
}
