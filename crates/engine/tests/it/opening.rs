//! Opening a state directory: its history, its lock, its people and its files.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use marque_core::decision::Effect;
use marque_core::event::By;
use marque_core::record::Ending;
use marque_core::revocation::Target;
use marque_engine::{Caller, EngineError, Query, TaskRequest, TokenType};
use marque_store::StoreError;
use serde_json::json;

use crate::world::{ADMIN, ALICE, Closed, LEAD, WORKER, World, answered, asks, call, person, request};

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// INVARIANT (I6 the ledger is the history): the state is the fold of the events, whichever way it is read.
#[tokio::test]
async fn a_reopened_directory_has_the_same_state() {
    let world = World::start().await;
    let (lead, worker) = (world.agent(LEAD).await, world.agent(WORKER).await);
    let task = world.task(LEAD, None).await;
    let token = world.token(&lead, &task).await;
    let lease = token.lease.id;
    world.permit(call(lease, "tool:crm/find", json!({ "q": 1 }))).await.settle(answered()).unwrap();
    let letter = || call(lease, "tool:mail/send", json!({ "to": "bob" }));
    let held = world.held(letter()).await;
    world.engine.approve(&world.bob, held).await.unwrap();
    world.permit(letter()).await.settle(answered()).unwrap();
    world.held(call(lease, "tool:mail/send", json!({ "to": "eve" }))).await;
    world.engine.revoke(&world.admin, Target::Instance(worker.instance.id), "test").await.unwrap();
    world.tick().await;
    let (before, size) = (world.state(), world.engine.log_size());

    let world = world.close().open().await;
    assert_eq!(world.state(), before);
    assert_eq!(world.engine.log_size(), size);
    assert_eq!(world.engine.authenticate_token(&token.token, Some(&lead.workload.thumbprint)).unwrap(), lease);
    assert_eq!(world.denied(call(lease, "tool:crm/drop", json!({}))).await, "never-drop");

    let closed = world.close();
    for file in ["views.db", "views.db-wal", "views.db-shm"] {
        let _ = std::fs::remove_file(closed.root().join(file));
    }
    let world = closed.open().await;
    assert_eq!(world.state(), before, "without the views the log is read again");
    assert_eq!(world.engine.rebuild_views().unwrap(), world.engine.log_size());
}

#[tokio::test]
async fn what_was_spent_stays_spent() {
    let world = World::start().await;
    let lead = world.agent(LEAD).await;
    let with_two = TaskRequest { calls: Some(2), ..request(LEAD, None) };
    let task = world.engine.start_task(&world.alice, with_two).await.unwrap();
    let token = world.token(&lead, &task).await;
    let child = world.engine.exchange(asks(&lead, &token.token, TokenType::AccessToken)).await.unwrap();
    for n in 0..2 {
        world.permit(call(child.lease.id, "tool:crm/find", json!({ "n": n }))).await.settle(answered()).unwrap();
    }
    // The child's calls count for the task above it, also when the child has ended.
    world.engine.finish_task(&world.alice, child.task.id).await.unwrap();
    let again = || call(token.lease.id, "tool:crm/find", json!({}));
    assert_eq!(world.denied(again()).await, "budget");
    let world = world.close().open().await;
    assert_eq!(world.denied(again()).await, "budget");
}

/// INVARIANT (I3 no act without a record): whatever a process leaves open when it is killed, the next opening ends.
#[tokio::test]
async fn what_was_under_way_when_a_process_ended_is_abandoned() {
    /// More than are settled in one batch.
    const UNDER_WAY: usize = 300;
    let world = World::start().await;
    let lead = world.agent(LEAD).await;
    let lease = world.token(&lead, &world.task(LEAD, None).await).await.lease.id;
    let find = |n: usize| call(lease, "tool:crm/find", json!({ "n": n }));
    let done = world.permit(find(0)).await;
    let first = done.record();
    done.settle(answered()).unwrap();
    assert_eq!(world.denied(call(lease, "tool:crm/drop", json!({}))).await, "never-drop");
    let mut under_way = Vec::new();
    for n in 1..=UNDER_WAY {
        under_way.push(world.permit(find(n)).await);
    }
    world.engine.drain().await.unwrap();

    for in_views in [false, true] {
        if in_views {
            world.engine.catch_up().unwrap();
        }
        let next = world.closed.killed().open().await;
        let rows = next.engine.records(None, None, 1000).unwrap();
        assert_eq!(rows.len(), UNDER_WAY + 2);
        for row in rows {
            let ending = match (row.decided.effect, row.decided.record) {
                (Effect::Allow, record) if record == first => Some(Ending::Answered),
                (Effect::Allow, _) => Some(Ending::Abandoned),
                _ => None,
            };
            assert_eq!(row.settled.map(|(_, outcome)| outcome.ending), ending, "{:?}", row.decided);
        }
        let (instance, kind) = (Some(lead.instance.id), Some("settled".to_owned()));
        let of_instance = Query { instance, kind, limit: Some(1000), ..Query::default() };
        assert_eq!(next.engine.query(&of_instance).unwrap().entries.len(), UNDER_WAY + 1);
        let size = next.engine.log_size();
        let next = next.close().open().await;
        assert_eq!(next.engine.log_size(), size, "once is enough");
        assert_eq!(next.engine.rebuild_views().unwrap(), size);
    }
    drop(under_way);
}

#[tokio::test]
async fn one_process_holds_a_directory() {
    let world = World::empty().await;
    let second = world.closed.try_open().await.unwrap_err();
    assert!(matches!(second, EngineError::Store(StoreError::InUse { .. })), "{second}");
    // The first is none the worse, and once it is gone the directory is free.
    world.engine.drain().await.unwrap();
    assert!(world.close().try_open().await.is_ok());
}

#[tokio::test]
async fn a_person_proves_who_they_are_with_their_credential() {
    let world = World::empty().await;
    let carol = person("carol@example.com");
    let path = world.engine.add_person(By::System, &carol).await.unwrap();
    let credential = std::fs::read_to_string(&path).unwrap();
    assert_eq!(world.engine.authenticate_person(&credential).unwrap(), Caller::Person(carol.clone()));
    let digest = world.state().people[&carol].to_string();
    for wrong in ["", "nobody", credential.get(1..).unwrap(), format!("{credential}\n").as_str(), digest.as_str()] {
        let error = world.engine.authenticate_person(wrong).unwrap_err();
        assert!(matches!(error, EngineError::Unauthenticated(_)), "{error}");
    }
    let again = world.engine.add_person(By::System, &carol).await.unwrap_err();
    assert!(matches!(again, EngineError::Invalid(_)), "{again}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), credential, "a second time changes nothing");
    let world = world.close().open().await;
    assert_eq!(world.engine.authenticate_person(&credential).unwrap(), Caller::Person(carol));
}

#[tokio::test]
async fn the_first_person_is_the_administrator() {
    let world = Closed::new().open().await;
    let root = world.closed.root();
    assert_eq!(std::fs::read_to_string(root.join("people/default")).unwrap().trim(), ADMIN);
    let credential = std::fs::read_to_string(root.join(format!("people/{ADMIN}.token"))).unwrap();
    assert_eq!(world.engine.authenticate_person(&credential).unwrap(), world.admin);
}

#[tokio::test]
async fn secrets_are_private_files() {
    let world = World::empty().await;
    world.engine.store_secret("crm-key", "s3cret-value\n").unwrap();
    let secret = world.engine.secret("crm-key").unwrap();
    assert_eq!(secret.expose(), "s3cret-value");
    assert!(!format!("{secret:?}").contains("s3cret"));
    for bad in ["", ".hidden", "../x", "a/b"] {
        assert!(world.engine.store_secret(bad, "x").is_err(), "{bad}");
    }
    let root = world.closed.root();
    assert_eq!(mode(&root), 0o700);
    for dir in ["keys", "people", "secrets"] {
        let files: Vec<_> = std::fs::read_dir(root.join(dir)).unwrap().map(|f| f.unwrap().path()).collect();
        assert!(!files.is_empty(), "{dir}");
        for file in files {
            assert_eq!(mode(&file), 0o600, "{}", file.display());
        }
    }
    assert_eq!(mode(&root.join(format!("people/{ALICE}.token"))), 0o600);
}

#[tokio::test]
async fn a_directory_keeps_its_trust_domain_and_its_keys() {
    let world = World::empty().await;
    let keys = world.engine.authorities().bundle().clone();
    let world = world.close().open().await;
    assert_eq!(world.engine.trust_domain().as_str(), "example.org");
    assert_eq!(*world.engine.authorities().bundle(), keys);
    assert_eq!(world.state().trust_domain.unwrap().as_str(), "example.org");
}
