//! Token exchange: own tokens, child tasks, delegation, and what is refused.

use std::os::unix::process::parent_id;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use marque_core::event::Body;
use marque_core::revocation::Target;
use marque_core::scope::Scope;
use marque_core::state::Dead;
use marque_core::task::{MAX_DEPTH, TaskError};
use marque_engine::{EngineError, Exchange, TokenType};
use serde_json::{Value, json};

use crate::world::{
    ALICE, Agent, GATEWAY, ISSUER, LEAD, WORKER, World, agent, asks, chain, manifest, named, observed, person, policy, request,
    spiffe,
};

/// The exchange is refused, and the refusal is in the log.
async fn refused(world: &World, exchange: Exchange) -> EngineError {
    let (size, who) = (world.engine.log_size(), exchange.client.identity.clone());
    let error = world.engine.exchange(exchange).await.unwrap_err();
    assert_eq!(world.engine.log_size(), size + 1, "{error}");
    let last = world.events().await.pop().unwrap();
    let Body::IssueRefused { identity, why } = &last.what else { panic!("{last:?}") };
    assert_eq!((identity, why), (&who, &error.to_string()));
    error
}

fn scope(text: &str) -> Scope {
    text.parse().unwrap()
}

/// What a token says, unverified.
fn payload(token: &str) -> Value {
    let claims = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).unwrap()).unwrap()
}

/// The worker's exchange of a token, with its own JWT-SVID as the actor token.
async fn as_actor(world: &World, worker: &Agent, subject: &str) -> Exchange {
    Exchange { actor: Some(world.jwt(worker).await), ..asks(worker, subject, TokenType::AccessToken) }
}

/// What was launched for a task is within that task, whatever other tasks its identity was given.
#[tokio::test]
async fn a_launch_has_no_other_task_of_its_identity() {
    let world = World::start().await;
    let (its, other) = (world.task(LEAD, None).await, world.task(LEAD, None).await);
    let launch = world.engine.launch(&world.alice, &spiffe(LEAD), its.id, parent_id()).unwrap();
    let instance = world.engine.attest(observed(&[&named(LEAD)]), Some(&launch)).await.unwrap();
    let issued = world.engine.x509_svid(&instance).await.unwrap();
    let workload = world.engine.authenticate_certificate(&chain(&issued)).unwrap();
    let launched = Agent { instance, workload };
    let refused = |error: EngineError| assert!(matches!(error, EngineError::Task(TaskError::Outside(..))), "{error}");

    let own = world.token(&launched, &its).await;
    refused(world.engine.exchange(world.own(&launched, &other).await).await.unwrap_err());
    // The same by a token of the other task, which another copy holds.
    let free = world.agent(LEAD).await;
    let theirs = world.token(&free, &other).await;
    let handed = Exchange { actor: Some(world.jwt(&launched).await), ..asks(&launched, &theirs.token, TokenType::AccessToken) };
    refused(world.engine.exchange(handed).await.unwrap_err());
    // Below its own task it goes on.
    let child = world.engine.exchange(asks(&launched, &own.token, TokenType::AccessToken)).await.unwrap();
    assert_eq!(child.task.lineage, [its.id]);

    world.engine.finish_task(&world.alice, its.id).await.unwrap();
    for token in [&own.token, &child.token] {
        assert!(world.engine.authenticate_token(token, Some(&launched.workload.thumbprint)).is_err());
    }
    assert!(world.engine.authenticate_token(&theirs.token, Some(&free.workload.thumbprint)).is_ok());
}

#[tokio::test]
async fn an_agent_gets_a_token_of_its_task() {
    let world = World::start().await;
    let lead = world.agent(LEAD).await;
    let task = world.task(LEAD, None).await;
    let own = world.token(&lead, &task).await;
    assert_eq!((own.task.id, own.lease.task, &own.lease.scope), (task.id, Some(task.id), &task.scope));
    assert_eq!(own.lease.binding.as_ref(), Some(&lead.workload.thumbprint));
    let narrow = Exchange { scope: Some(scope("invoke:tool:crm/find")), ..world.own(&lead, &task).await };
    let narrow = world.engine.exchange(narrow).await.unwrap();
    assert_eq!((narrow.task.id, narrow.lease.scope), (task.id, scope("invoke:tool:crm/find")));
}

#[tokio::test]
async fn a_token_is_bound_to_the_key_of_its_holder() {
    let world = World::start().await;
    let (lead, worker) = (world.agent(LEAD).await, world.agent(WORKER).await);
    let task = world.task(LEAD, None).await;
    let own = world.token(&lead, &task).await;
    assert_eq!(world.engine.authenticate_token(&own.token, Some(&lead.workload.thumbprint)).unwrap(), own.lease.id);
    for thumbprint in [None, Some(""), Some(worker.workload.thumbprint.as_str())] {
        let error = world.engine.authenticate_token(&own.token, thumbprint).unwrap_err();
        assert!(matches!(error, EngineError::Unauthenticated(_)), "{error}");
    }
    // A JWT-SVID is no task token.
    let svid = world.jwt(&lead).await;
    assert!(matches!(world.engine.authenticate_token(&svid, Some(&lead.workload.thumbprint)), Err(EngineError::Svid(_))));
    world.engine.revoke(&world.admin, Target::Task(task.id), "test").await.unwrap();
    let error = world.engine.authenticate_token(&own.token, Some(&lead.workload.thumbprint)).unwrap_err();
    assert!(matches!(error, EngineError::Dead(Dead::Revoked(_))), "{error}");
}

#[tokio::test]
async fn more_than_the_task_is_refused() {
    let world = World::start().await;
    let (lead, worker) = (world.agent(LEAD).await, world.agent(WORKER).await);
    let task = world.task(LEAD, Some("invoke:tool:crm/*")).await;
    let wider = Exchange { scope: Some(scope("invoke:tool:*")), ..world.own(&lead, &task).await };
    let error = refused(&world, wider).await;
    assert!(matches!(error, EngineError::Task(TaskError::WiderThanTask(..))), "{error}");
    let others = world.own(&worker, &task).await;
    let error = refused(&world, others).await;
    assert!(matches!(error, EngineError::Task(TaskError::WrongActor(..))), "{error}");
    let stolen = Exchange { client: worker.workload.clone(), ..world.own(&lead, &task).await };
    let error = refused(&world, stolen).await;
    assert!(matches!(error, EngineError::Forbidden(_)), "{error}");
    let no_task = Exchange { task: None, ..world.own(&lead, &task).await };
    let error = world.engine.exchange(no_task).await.unwrap_err();
    assert!(matches!(error, EngineError::Invalid(_)), "{error}");
}

/// INVARIANT (I1 narrowing).
#[tokio::test]
async fn a_holder_starts_a_narrower_child() {
    let world = World::start().await;
    let lead = world.agent(LEAD).await;
    let task = world.task(LEAD, Some("invoke:tool:crm/*")).await;
    let own = world.token(&lead, &task).await;
    let child = |wanted: &str| Exchange { scope: Some(scope(wanted)), ..asks(&lead, &own.token, TokenType::AccessToken) };
    let named = Exchange { purpose: Some("find Bob".into()), ..child("invoke:tool:crm/find") };
    let child_token = world.engine.exchange(named).await.unwrap();
    let started = &child_token.task;
    assert_eq!((started.parent, started.depth, &started.lineage), (Some(task.id), 1, &vec![task.id]));
    assert_eq!((&started.principal, started.purpose.as_str()), (&person(ALICE), "find Bob"));
    assert_eq!((&started.scope, &child_token.lease.scope), (&scope("invoke:tool:crm/find"), &scope("invoke:tool:crm/find")));
    assert!(started.expires <= task.expires && child_token.lease.expires <= started.expires);
    for wider in ["invoke:tool:mail/send", "invoke:tool:*", "read:dataset:crm", "invoke:tool:crm/find invoke:service:crm"] {
        let error = refused(&world, child(wider)).await;
        assert!(matches!(error, EngineError::Task(TaskError::WiderThanParent(..))), "{error}");
    }
    world.engine.revoke(&world.admin, Target::Task(task.id), "test").await.unwrap();
    let error = world.engine.authenticate_token(&child_token.token, Some(&lead.workload.thumbprint)).unwrap_err();
    assert!(matches!(error, EngineError::Dead(Dead::Revoked(_))), "{error}");
    let error = refused(&world, child("invoke:tool:crm/find")).await;
    assert!(matches!(error, EngineError::Dead(_)), "{error}");
}

#[tokio::test]
async fn a_chain_has_an_end() {
    let world = World::start().await;
    let lead = world.agent(LEAD).await;
    let task = world.task(LEAD, None).await;
    let mut token = world.token(&lead, &task).await.token;
    for depth in 1..=MAX_DEPTH {
        let child = world.engine.exchange(asks(&lead, &token, TokenType::AccessToken)).await.unwrap();
        assert_eq!(child.task.depth, depth);
        token = child.token;
    }
    let error = refused(&world, asks(&lead, &token, TokenType::AccessToken)).await;
    assert!(matches!(error, EngineError::Task(TaskError::TooDeep)), "{error}");
}

#[tokio::test]
async fn delegation_names_everyone_between_the_person_and_the_actor() {
    let world = World::start().await;
    let (lead, worker) = (world.agent(LEAD).await, world.agent(WORKER).await);
    let task = world.task(LEAD, None).await;
    let own = world.token(&lead, &task).await;
    let exchange = as_actor(&world, &worker, &own.token).await;
    let delegated = world.engine.exchange(exchange).await.unwrap();
    assert_eq!((&delegated.task.actor, delegated.task.parent), (&spiffe(WORKER), Some(task.id)));
    assert_eq!(delegated.task.scope, task.scope.meet(&world.state().identities[&spiffe(WORKER)].ceiling));
    assert_eq!(delegated.lease.instance, worker.instance.id);
    let claims = payload(&delegated.token);
    let (lead_id, worker_id) = (spiffe(LEAD).to_string(), spiffe(WORKER).to_string());
    assert_eq!(claims["sub"], "user:alice@example.com");
    assert_eq!(claims["client_id"], worker_id);
    assert_eq!(claims["act"]["sub"], worker_id, "the outermost acts now");
    assert_eq!(claims["act"]["act"]["sub"], lead_id);
    assert_eq!(claims["act"]["act"].get("act"), None);
    assert_eq!(claims["act"]["sub_profile"], "ai_agent");
    assert_eq!((&claims["iss"], &claims["aud"]), (&json!(ISSUER), &json!([GATEWAY, ISSUER])));
    assert_eq!(claims["cnf"], json!({ "x5t#S256": worker.workload.thumbprint }));
    assert_eq!((&claims["task"], &claims["lineage"]), (&json!(delegated.task.id), &json!([task.id])));
    assert_eq!((&claims["jti"], &claims["depth"]), (&json!(delegated.lease.id), &json!(1)));
    assert_eq!(claims["scope"], delegated.lease.scope.to_string());
    assert_eq!(world.engine.authenticate_token(&delegated.token, Some(&worker.workload.thumbprint)).unwrap(), delegated.lease.id);
    // What the worker holds ends with the one who delegated it.
    world.engine.revoke(&world.admin, Target::Identity(spiffe(LEAD)), "test").await.unwrap();
    assert!(world.engine.authenticate_token(&delegated.token, Some(&worker.workload.thumbprint)).is_err());
}

#[tokio::test]
async fn without_a_grant_nothing_is_delegated() {
    let world = World::start().await;
    let (lead, worker) = (world.agent(LEAD).await, world.agent(WORKER).await);
    let task = world.task(LEAD, Some("invoke:tool:crm/*")).await;
    let own = world.token(&lead, &task).await;
    let exchange = as_actor(&world, &worker, &own.token).await;
    let error = refused(&world, exchange).await;
    let EngineError::Denied(reasons) = &error else { panic!("{error}") };
    assert_eq!(reasons[0].policy, "task-scope");
}

#[tokio::test]
async fn a_held_delegation_is_denied() {
    let world = World::start().await;
    let soft = r#"@id("ask") @elevation("ask") forbid (principal, action == Marque::Action::"delegate", resource) unless { context.approved.contains("ask") };"#;
    let mut desired = manifest();
    desired.policies.push(policy("soft.cedar", soft));
    world.engine.apply(&world.admin, &desired).await.unwrap();
    let (lead, worker) = (world.agent(LEAD).await, world.agent(WORKER).await);
    let own = world.token(&lead, &world.task(LEAD, None).await).await;
    let exchange = as_actor(&world, &worker, &own.token).await;
    let error = refused(&world, exchange).await;
    let EngineError::Denied(reasons) = &error else { panic!("{error}") };
    assert_eq!(reasons.iter().map(|r| r.policy.as_str()).collect::<Vec<_>>(), ["ask", "delegate"]);
}

#[tokio::test]
async fn a_token_is_exchanged_by_its_holder_or_a_proven_actor_only() {
    let world = World::start().await;
    let (lead, worker) = (world.agent(LEAD).await, world.agent(WORKER).await);
    let task = world.task(LEAD, None).await;
    let own = world.token(&lead, &task).await;
    let error = refused(&world, asks(&worker, &own.token, TokenType::AccessToken)).await;
    assert!(matches!(error, EngineError::Forbidden(_)), "without an actor token: {error}");
    let leads = Exchange { actor: Some(world.jwt(&lead).await), ..asks(&worker, &own.token, TokenType::AccessToken) };
    let error = refused(&world, leads).await;
    assert!(matches!(error, EngineError::Forbidden(_)), "with the actor token of another: {error}");
    let token = Exchange { actor: Some(own.token.clone()), ..asks(&worker, &own.token, TokenType::AccessToken) };
    let error = world.engine.exchange(token).await.unwrap_err();
    assert!(matches!(error, EngineError::Svid(_)), "a task token is no actor token: {error}");
}

#[tokio::test]
async fn a_child_stays_below_the_ceiling_of_its_actor() {
    let world = World::start().await;
    let mut desired = manifest();
    desired.identities.push(agent("agent/reader", "read:dataset:*"));
    world.engine.apply(&world.admin, &desired).await.unwrap();
    let (lead, reader) = (world.agent(LEAD).await, world.agent("agent/reader").await);
    let task = world.task(LEAD, Some("invoke:tool:* delegate:identity:agent/*")).await;
    let error = world.engine.start_task(&world.alice, request(LEAD, Some("write:dataset:*"))).await.unwrap_err();
    assert!(matches!(error, EngineError::Task(TaskError::AboveCeiling(..))), "{error}");
    let own = world.token(&lead, &task).await;
    let nothing = as_actor(&world, &reader, &own.token).await;
    let error = refused(&world, nothing).await;
    assert!(matches!(error, EngineError::Task(TaskError::Empty(_))), "{error}");
    let above = Exchange { scope: Some(scope("invoke:tool:crm/find")), ..as_actor(&world, &reader, &own.token).await };
    let error = refused(&world, above).await;
    assert!(matches!(error, EngineError::Task(TaskError::AboveCeiling(..))), "{error}");
}

/// INVARIANT (I4 revocation is monotone): a connection goes on, and what was shown on it may have ended.
#[tokio::test]
async fn a_client_whose_certificate_was_revoked_gets_no_token() {
    let world = World::start().await;
    let lead = world.agent(LEAD).await;
    let task = world.task(LEAD, None).await;
    let own = world.token(&lead, &task).await;
    let again = world.own(&lead, &task).await;
    let child = asks(&lead, &own.token, TokenType::AccessToken);
    world.engine.revoke(&world.admin, Target::Lease(lead.workload.lease), "test").await.unwrap();
    let revoked = |error: &EngineError| matches!(error, EngineError::Dead(Dead::Revoked(Target::Lease(_))));
    for exchange in [again, child] {
        let error = refused(&world, exchange).await;
        assert!(revoked(&error), "{error}");
    }
    let fresh = world.agent(LEAD).await;
    assert_eq!(fresh.instance.id, lead.instance.id);
    world.token(&fresh, &task).await;
}

/// INVARIANT (I4 revocation is monotone): whoever has the certificate has the token, and it ends with them.
#[tokio::test]
async fn a_token_for_a_certificate_that_a_broker_has_ends_with_the_broker() {
    let world = World::start().await;
    let (broker, worker) = (world.agent(LEAD).await, world.agent(WORKER).await);
    let task = world.task(WORKER, None).await;
    let fetched = world.engine.brokered_x509_svid(&broker.workload, &worker.instance).await.unwrap();
    let workload = world.engine.authenticate_certificate(&chain(&fetched.issued)).unwrap();
    let spoken_for = Agent { instance: worker.instance.clone(), workload };
    let own = world.token(&spoken_for, &task).await;
    let child = world.engine.exchange(asks(&spoken_for, &own.token, TokenType::AccessToken)).await.unwrap();
    let its_own = world.token(&worker, &task).await;
    let thumbprint = Some(spoken_for.workload.thumbprint.as_str());
    for token in [&own, &child] {
        assert_eq!(token.lease.holder, Some(broker.instance.id));
        assert!(world.engine.authenticate_token(&token.token, thumbprint).is_ok());
    }
    world.engine.revoke(&world.admin, Target::Instance(broker.instance.id), "test").await.unwrap();
    for token in [&own, &child] {
        assert!(world.engine.authenticate_token(&token.token, thumbprint).is_err());
    }
    assert!(world.engine.authenticate_token(&its_own.token, Some(&worker.workload.thumbprint)).is_ok());
}
