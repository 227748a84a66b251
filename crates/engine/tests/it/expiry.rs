//! What ends because time passes. Time passes only when a test says so.

use marque_core::attestation::Attestation;
use marque_core::elevation::{ElevationError, Status};
use marque_core::state::Dead;
use marque_core::time::Ttl;
use marque_engine::{EngineError, Observed, TaskRequest};
use marque_svid::SvidError;
use serde_json::json;

use crate::world::{LEAD, World, answered, call, chain, named, observed, request};

/// INVARIANT (I2 leases die first).
#[tokio::test]
async fn a_token_ends_before_its_task() {
    let world = World::start().await;
    let lead = world.agent(LEAD).await;
    let task = world.task(LEAD, None).await;
    let token = world.token(&lead, &task).await;
    let thumbprint = Some(lead.workload.thumbprint.as_str());
    world.advance(299);
    assert!(world.engine.authenticate_token(&token.token, thumbprint).is_ok());
    drop(world.permit(call(token.lease.id, "tool:crm/find", json!({}))).await);
    world.advance(1);
    let error = world.engine.authenticate_token(&token.token, thumbprint).unwrap_err();
    assert!(matches!(error, EngineError::Svid(SvidError::Expired)), "{error}");
    let late = || world.engine.authorize(call(token.lease.id, "tool:crm/find", json!({})));
    let error = late().await.unwrap_err();
    assert!(matches!(error, EngineError::Dead(Dead::Expired(_))), "{error}");
    world.tick().await;
    assert!(!world.state().leases.contains_key(&token.lease.id), "it is forgotten");
    let error = late().await.unwrap_err();
    assert!(matches!(error, EngineError::Dead(Dead::Unknown(_))), "{error}");
    // The task goes on, and there is another token for it.
    let next = world.token(&lead, &task).await;
    drop(world.permit(call(next.lease.id, "tool:crm/find", json!({}))).await);
}

#[tokio::test]
async fn an_svid_ends_after_an_hour() {
    let world = World::start().await;
    let instance = world.engine.attest(observed(&[&named(LEAD)]), None).await.unwrap();
    let issued = world.engine.x509_svid(&instance).await.unwrap();
    world.advance(3599);
    assert!(world.engine.authenticate_certificate(&chain(&issued)).is_ok());
    world.advance(2);
    assert!(world.engine.authenticate_certificate(&chain(&issued)).is_err());
    // The copy is still known, and is given another one.
    world.tick().await;
    let next = world.engine.x509_svid(&instance).await.unwrap();
    assert!(world.engine.authenticate_certificate(&chain(&next)).is_ok());
}

#[tokio::test]
async fn a_task_ends_at_its_deadline_with_all_that_hangs_from_it() {
    let world = World::start().await;
    let lead = world.agent(LEAD).await;
    let short = TaskRequest { ttl: Some(Ttl::from_seconds(60)), ..request(LEAD, None) };
    let task = world.engine.start_task(&world.alice, short).await.unwrap();
    let token = world.token(&lead, &task).await;
    assert_eq!(token.lease.expires, task.expires);
    let held = world.held(call(token.lease.id, "tool:mail/send", json!({}))).await;
    let permit = world.permit(call(token.lease.id, "tool:crm/find", json!({}))).await;
    world.advance(60);
    assert!(!permit.alive());
    let own = world.own(&lead, &task).await;
    let error = world.engine.exchange(own).await.unwrap_err();
    assert!(matches!(error, EngineError::Dead(Dead::Expired(_))), "{error}");
    assert!(world.engine.approve(&world.bob, held).await.is_err());
    permit.settle(answered()).unwrap();
    world.tick().await;
    let state = world.state();
    assert!(!state.tasks.contains_key(&task.id) && !state.elevations.contains_key(&held) && state.usage.is_empty());
    // The history keeps it.
    assert_eq!(world.engine.tasks(10).unwrap()[0].task.id, task.id);
    assert_eq!(world.engine.records(Some(task.id), None, 10).unwrap().len(), 2);
    assert_eq!(world.engine.elevations(10).unwrap()[0].status, "expired");
}

/// INVARIANT (I5 elevation never widens): expiry beats approval.
#[tokio::test]
async fn nobody_decides_after_an_hour() {
    let world = World::start().await;
    let lead = world.agent(LEAD).await;
    let long = TaskRequest { ttl: Some(Ttl::from_minutes(300)), ..request(LEAD, None) };
    let task = world.engine.start_task(&world.alice, long).await.unwrap();
    let lease = world.token(&lead, &task).await.lease.id;
    let held = world.held(call(lease, "tool:mail/send", json!({}))).await;
    world.advance(3600);
    let error = world.engine.approve(&world.bob, held).await.unwrap_err();
    assert!(matches!(error, EngineError::Elevation(ElevationError::NotPending(_, "expired"))), "{error}");
    world.tick().await;
    assert_eq!(world.state().elevations[&held].status, Status::Expired);
    assert_eq!(world.engine.elevations(10).unwrap()[0].status, "expired");
    let size = world.engine.log_size();
    world.tick().await;
    assert_eq!(world.engine.log_size(), size, "it expires once");
    // Its X.509-SVID has expired meanwhile.
    let lead = world.agent(LEAD).await;
    let lease = world.token(&lead, &task).await.lease.id;
    assert_ne!(world.held(call(lease, "tool:mail/send", json!({}))).await, held);
}

#[tokio::test]
async fn an_approval_that_is_not_used_ends() {
    let world = World::start().await;
    let lead = world.agent(LEAD).await;
    let task = world.task(LEAD, None).await;
    let lease = world.token(&lead, &task).await.lease.id;
    let held = world.held(call(lease, "tool:mail/send", json!({}))).await;
    let approved = world.engine.approve(&world.bob, held).await.unwrap().task.unwrap();
    assert_eq!(approved.expires, approved.started.plus(Ttl::from_minutes(15)));
    world.advance(15 * 60);
    world.tick().await;
    let lease = world.token(&lead, &task).await.lease.id;
    assert_ne!(world.held(call(lease, "tool:mail/send", json!({}))).await, held);
}

#[tokio::test]
async fn an_instance_ends_with_its_process() {
    let world = World::start().await;
    let lead = world.agent(LEAD).await;
    // The number of this process, but of another start: that process has ended.
    let Observed(seen) = observed(&[&named(LEAD), "unix:uid:0"]);
    let gone = Observed(Attestation { started: seen.started + 1, ..seen });
    let gone = world.engine.attest(gone, None).await.unwrap();
    let token = world.engine.jwt_svid(&gone, &["a".to_owned()]).await.unwrap();
    assert!(world.engine.validate_jwt_svid(&token, None).is_ok());
    world.tick().await;
    assert!(world.engine.validate_jwt_svid(&token, None).is_err());
    let state = world.state();
    assert!(!state.instances.contains_key(&gone.id) && state.instances.contains_key(&lead.instance.id));
}

#[tokio::test]
async fn time_does_not_go_back() {
    let world = World::start().await;
    let lead = world.agent(LEAD).await;
    let task = world.task(LEAD, None).await;
    let token = world.token(&lead, &task).await;
    world.advance(300);
    world.task(LEAD, None).await;
    let now = world.engine.now();
    world.advance(-3600);
    assert_eq!(world.engine.now(), now);
    assert!(world.engine.authenticate_token(&token.token, Some(&lead.workload.thumbprint)).is_err(), "what has expired stays so");
}

/// INVARIANTs I4 and I6: the clock of the host an hour back, also across a restart. Entries keep their order and their numbers,
/// checkpoints continue, and what has ended does not come to life.
#[tokio::test]
async fn a_clock_that_goes_back_across_a_restart_loses_nothing_and_revives_nothing() {
    let world = World::start().await;
    let lead = world.agent(LEAD).await;
    let token = world.token(&lead, &world.task(LEAD, None).await).await;
    world.advance(600);
    let later = world.task(LEAD, None).await;
    let before = world.events().await;
    let bearer = |world: &World| world.engine.authenticate_token(&token.token, Some(&lead.workload.thumbprint)).is_ok();
    assert!(!bearer(&world), "it has expired");
    let mut world = world;
    for _ in 0..3 {
        world.advance(-3_600);
        world = world.close().open().await;
        assert!(world.engine.now() >= later.started, "time went back");
        assert!(!bearer(&world), "what has expired is alive again");
        world.task(LEAD, None).await;
        world.tick().await;
    }
    let after = world.events().await;
    assert_eq!(after[..before.len()], before[..]);
    assert!(after.len() >= before.len() + 3);
    assert!(after.is_sorted_by_key(|event| event.ts), "an entry is older than the one before it");
    assert!(after.windows(2).all(|pair| pair[0].iseq < pair[1].iseq), "an entry's number is not above the last");
}
