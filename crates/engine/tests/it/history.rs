//! What became of a credential, and who had access when.

use std::collections::BTreeSet;

use marque_core::event::{Body, By};
use marque_core::id::LeaseId;
use marque_core::identity::Lifecycle;
use marque_core::resource::Action;
use marque_core::revocation::Target;
use marque_core::time::Timestamp;
use marque_engine::{EngineError, TaskRequest};
use serde_json::json;

use crate::scan::scan;
use crate::world::{ALICE, BOB, LEAD, WORKER, World, answered, call, manifest, person, policy, request, spiffe};

#[tokio::test]
async fn a_credential_has_a_history() {
    let world = World::start().await;
    let lead = world.agent(LEAD).await;
    let task = world.task(LEAD, None).await;
    let lease = world.token(&lead, &task).await.lease;
    let other = world.token(&lead, &task).await.lease;
    for n in 0..5 {
        world.permit(call(lease.id, "tool:crm/find", json!({ "n": n }))).await.settle(answered()).unwrap();
    }
    world.denied(call(lease.id, "tool:crm/drop", json!({}))).await;
    world.permit(call(other.id, "tool:crm/find", json!({}))).await.settle(answered()).unwrap();
    world.engine.drain().await.unwrap();

    let history = world.engine.credential_history(lease.id, None, None).unwrap();
    assert_eq!((&history.lease, history.uses, &history.ended, history.next), (&lease, 6, &None, None));
    let effects: Vec<_> = history.records.iter().map(|r| (r.effect.as_str(), r.outcome.is_some())).collect();
    assert_eq!(effects[..2], [("deny", false), ("allow", true)], "the newest first");
    let issued = &scan(&world).await[usize::try_from(history.issued).unwrap()];
    assert!(matches!(&issued.what, Body::LeaseIssued { lease: l } if l.id == lease.id), "{issued:?}");
    // Page by page, each use once.
    let mut seen = Vec::new();
    let mut before = None;
    loop {
        let page = world.engine.credential_history(lease.id, before, Some(4)).unwrap();
        assert_eq!(page.uses, 6);
        seen.extend(page.records);
        before = page.next;
        if before.is_none() {
            break;
        }
    }
    assert_eq!(seen, history.records);
    assert!(world.engine.credential_history(LeaseId::from_bytes([1; 16]), None, None).is_err());

    // The end of its task ends it, and says where; before that its time had not come.
    world.advance(10);
    world.engine.revoke(&world.bob, Target::Owner(person(ALICE)), "she left").await.unwrap();
    let ended = world.engine.credential_history(lease.id, None, None).unwrap().ended.unwrap();
    assert_eq!(
        (ended.kind.as_str(), ended.by, ended.said.as_deref()),
        ("revoked", Some(By::Person(person(BOB))), Some("she left"))
    );
    let entry = &scan(&world).await[usize::try_from(ended.entry.unwrap()).unwrap()];
    assert!(matches!(&entry.what, Body::Revoked { target: Target::Owner(_), .. }), "{entry:?}");
    assert_eq!(entry.ts, ended.at);
    // What ended before stays so when its time is over.
    world.advance(3600);
    world.tick().await;
    assert_eq!(world.engine.credential_history(lease.id, None, None).unwrap().ended.unwrap().kind, "revoked");
}

#[tokio::test]
async fn a_credential_ends_with_its_time_or_its_task() {
    let world = World::start().await;
    let lead = world.agent(LEAD).await;
    let task = world.task(LEAD, None).await;
    let lease = world.token(&lead, &task).await.lease;
    let ended = |id| world.engine.credential_history(id, None, None).unwrap().ended;
    world.advance(299);
    assert_eq!(ended(lease.id), None);
    world.advance(1);
    let expired = ended(lease.id).unwrap();
    assert_eq!((expired.kind.as_str(), expired.at, expired.entry), ("expired", lease.expires, None));
    let second = world.token(&lead, &task).await.lease;
    world.engine.finish_task(&world.alice, task.id).await.unwrap();
    let finished = ended(second.id).unwrap();
    assert_eq!((finished.kind.as_str(), finished.by), ("task_finished", Some(By::Person(person(ALICE)))));
    assert_eq!(ended(lease.id).unwrap().kind, "expired", "what came later did not end it");
}

/// Who had access is asked of the policies, the tasks and the credentials of then.
#[tokio::test]
async fn access_is_as_it_was() {
    let world = World::empty().await;
    let tool = "tool:crm/find".parse().unwrap();
    let access = |moment: Timestamp| world.engine.access_at(Action::Invoke, &tool, moment).unwrap();
    let now = |seconds: i64| {
        let now = world.engine.now();
        world.advance(seconds);
        now
    };
    let names = |moment: Timestamp| access(moment).could.iter().map(|a| a.identity.short().to_owned()).collect::<Vec<_>>();
    let tasks = |moment: Timestamp| access(moment).had.iter().map(|h| (h.task, h.leases.len())).collect::<Vec<_>>();

    let at_first = now(10);
    world.engine.apply(&world.admin, &manifest()).await.unwrap();
    let applied = now(10);
    let lead = world.agent(LEAD).await;
    let task = world.task(LEAD, None).await;
    let started = now(10);
    let lease = world.token(&lead, &task).await.lease;
    let issued = now(10);
    // A policy that no longer lets anyone.
    let mut closed = manifest();
    closed.policies.push(policy(
        "closed.cedar",
        r#"@id("closed") forbid (principal, action == Marque::Action::"invoke", resource is Marque::Tool);"#,
    ));
    world.engine.apply(&world.admin, &closed).await.unwrap();
    let forbidden = now(10);
    world.engine.apply(&world.admin, &manifest()).await.unwrap();
    let reopened = now(10);
    world.engine.revoke(&world.admin, Target::Lease(lease.id), "test").await.unwrap();
    let without_lease = now(10);
    world.engine.revoke(&world.admin, Target::Identity(spiffe(LEAD)), "test").await.unwrap();
    let suspended = now(10);
    world.engine.move_identity(&world.admin, LEAD, Lifecycle::Active, "again").await.unwrap();
    let active = now(10);

    let first = access(at_first);
    assert!(!first.registered && first.could.is_empty() && first.had.is_empty());
    assert_eq!((names(applied), tasks(applied)), (vec![LEAD.to_owned(), WORKER.to_owned()], vec![]));
    assert_eq!(tasks(started), [(task.id, 0)]);
    assert_eq!(tasks(issued), [(task.id, 1)]);
    assert_eq!(access(issued).had[0].leases[0].lease, lease.id);
    assert_eq!((names(forbidden), tasks(forbidden)), (vec![], vec![]));
    assert_eq!(tasks(reopened), [(task.id, 1)]);
    assert_eq!(tasks(without_lease), [(task.id, 0)]);
    assert_eq!((names(suspended), tasks(suspended)), (vec![WORKER.to_owned()], vec![]));
    // An identity that is active again has no more than it may have: its task stays dead.
    assert_eq!((names(active), tasks(active)), (vec![LEAD.to_owned(), WORKER.to_owned()], vec![]));
    assert_ne!(access(issued).policy, access(forbidden).policy);
    assert_eq!(access(issued).policy, access(reopened).policy);
    assert!(access(issued).same_rules);
    // What happened at the very moment counts, and nothing after it.
    assert_eq!(access(issued).entries, access(Timestamp::from_micros(issued.micros() + 9_000_000)).entries);
    // Time alone ends what it ends.
    assert_eq!(tasks(Timestamp::from_micros(reopened.micros() - 1)), tasks(forbidden), "before the policy was changed back");
    // The present is one of the moments.
    let here = access(world.engine.now());
    assert_eq!(here.could, world.engine.who_can(Action::Invoke, &tool).unwrap());
    let tomorrow = Timestamp::from_micros(world.engine.now().micros() + 1);
    assert!(world.engine.access_at(Action::Invoke, &tool, tomorrow).is_err());

    // Before the log began nobody had anything, and what the log never heard of is a slip of whoever asks.
    let before = access(Timestamp::from_micros(0));
    assert_eq!((before.entries, before.policy, before.registered), (0, None, false));
    let asked = |name: &str| world.engine.access_at(Action::Invoke, &name.parse().unwrap(), issued);
    let unknown = asked("tool:nope/x").unwrap_err();
    assert!(matches!(unknown, EngineError::NotFound { .. }), "{unknown}");
    let lead = world.agent(LEAD).await;
    let lease = world.token(&lead, &world.task(LEAD, None).await).await.lease.id;
    assert_eq!(world.denied(call(lease, "tool:nope/x", json!({}))).await, "unregistered");
    assert!(!asked("tool:nope/x").unwrap().registered, "an entry names it now");
}

/// A budget that is used up grants nothing any more, and an approval is for one call.
#[tokio::test]
async fn access_ends_with_the_budget() {
    let world = World::start().await;
    let tool = "tool:crm/find".parse().unwrap();
    let had = |moment: Timestamp| {
        let access = world.engine.access_at(Action::Invoke, &tool, moment).unwrap();
        access.had.iter().map(|h| h.calls_left).collect::<Vec<_>>()
    };
    let lead = world.agent(LEAD).await;
    let two = TaskRequest { calls: Some(2), ..request(LEAD, None) };
    let task = world.engine.start_task(&world.alice, two).await.unwrap();
    let lease = world.token(&lead, &task).await.lease.id;
    let mut moments = Vec::new();
    for n in 0..2 {
        moments.push(world.engine.now());
        world.advance(1);
        world.permit(call(lease, "tool:crm/find", json!({ "n": n }))).await.settle(answered()).unwrap();
    }
    moments.push(world.engine.now());
    world.advance(1);
    assert_eq!(moments.into_iter().map(had).collect::<Vec<_>>(), [vec![Some(2)], vec![Some(1)], vec![]]);
}

#[tokio::test]
async fn an_approval_is_access_to_one_call() {
    let world = World::start().await;
    let lead = world.agent(LEAD).await;
    let task = world.task(LEAD, None).await;
    let lease = world.token(&lead, &task).await.lease.id;
    let request = call(lease, "tool:mail/send", json!({ "to": "bob" }));
    let held = world.held(request.clone()).await;
    let before = world.engine.now();
    world.advance(1);
    let approved = world.engine.approve(&world.bob, held).await.unwrap().task.unwrap();
    let then = world.engine.now();
    world.advance(1);
    world.permit(request).await.settle(answered()).unwrap();
    let after = world.engine.now();
    let tool = "tool:mail/send".parse().unwrap();
    let had = |moment: Timestamp| {
        let access = world.engine.access_at(Action::Invoke, &tool, moment).unwrap();
        access.had.iter().map(|h| (h.task, h.effect.as_str(), h.leases.len())).collect::<BTreeSet<_>>()
    };
    let with_approval = (task.id, "hold", 1);
    assert_eq!(had(before), BTreeSet::from([with_approval]));
    assert_eq!(had(then), BTreeSet::from([with_approval, (approved.id, "allow", 1)]));
    assert_eq!(had(after), BTreeSet::from([with_approval]), "it was used");
}
