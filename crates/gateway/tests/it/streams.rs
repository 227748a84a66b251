//! What came back is on record as it came, whole, broken off or cut.

use http_body_util::BodyExt as _;
use marque_core::record::{Ending, Outcome};
use marque_core::revocation::Target;
use marque_engine::sha256;
use marque_gateway::Peer;
use serde_json::json;

use crate::client::{call, read, record_of};
use crate::server::{FIRST, LAST, Mode};
use crate::world::{ALICE, LEAD, OTHER, World, eventually, person, spiffe, within};

/// The outcome of a stream of which only the first piece came.
fn first_piece(ending: Ending) -> Outcome {
    Outcome {
        ending,
        status: 200,
        response: Some(sha256(FIRST.as_bytes()).into()),
        bytes: FIRST.len() as u64,
        contents: Vec::new(),
    }
}

#[tokio::test]
async fn an_outcome_has_exactly_the_bytes_that_the_caller_got() {
    let world = World::start().await;
    let mut client = world.client().await;
    for mode in [Mode::Json, Mode::Events, Mode::Long] {
        world.server.mode(mode);
        let got = client.ask(call("find", json!({}))).await;
        let outcome = world.outcome(got.record()).await;
        let expected = Outcome {
            ending: Ending::Answered,
            status: 200,
            response: Some(sha256(&got.body).into()),
            bytes: got.body.len() as u64,
            contents: Vec::new(),
        };
        assert_eq!(outcome, expected, "{mode:?}");
    }
}

#[tokio::test]
async fn a_stream_flows_while_it_is_open() {
    let world = World::start().await;
    let mut client = world.client().await;
    world.server.mode(Mode::Open);
    let mut response = client.send(call("find", json!({}))).await;
    let record = record_of(response.headers());
    assert_eq!(read(&mut response, FIRST.len()).await, FIRST.as_bytes());
    assert!(world.rows()[0].settled.is_none(), "it is not over");
    // The revocation of something else is nothing to it.
    let other = world.task(LEAD, None).await;
    world.engine.revoke(&world.admin, Target::Task(other.id), "test").await.unwrap();
    world.engine.revoke(&world.admin, Target::Identity(spiffe(OTHER)), "test").await.unwrap();
    world.server.release();
    let rest = within(response.into_body().collect()).await.unwrap().to_bytes();
    assert_eq!(&rest[..], LAST.as_bytes());
    let whole = format!("{FIRST}{LAST}");
    let expected = Outcome {
        ending: Ending::Answered,
        status: 200,
        response: Some(sha256(whole.as_bytes()).into()),
        bytes: whole.len() as u64,
        contents: Vec::new(),
    };
    assert_eq!(world.outcome(record).await, expected);
}

#[tokio::test]
async fn a_caller_who_hangs_up_leaves_a_truncated_record() {
    let world = World::start().await;
    let mut client = world.client().await;
    world.server.mode(Mode::Open);
    let mut response = client.send(call("find", json!({}))).await;
    read(&mut response, FIRST.len()).await;
    client.hang_up();
    assert_eq!(world.outcome(record_of(response.headers())).await, first_piece(Ending::Truncated));
    eventually("the server's end of it", || (world.server.left() == 1).then_some(())).await;
}

#[tokio::test]
async fn a_server_that_dies_leaves_a_truncated_record() {
    let world = World::start().await;
    let mut client = world.client().await;
    world.server.mode(Mode::Dies);
    let mut response = client.send(call("find", json!({}))).await;
    let record = record_of(response.headers());
    read(&mut response, FIRST.len()).await;
    world.server.release();
    assert!(within(response.into_body().collect()).await.is_err(), "the caller is not told that this was all");
    assert_eq!(world.outcome(record).await, first_piece(Ending::Truncated));
}

/// INVARIANT (I4 revocation is monotone): streams under way are cut.
#[tokio::test]
async fn a_revocation_cuts_an_open_stream() {
    for what in ["task", "instance", "identity", "person", "lease"] {
        let world = World::start().await;
        let (mut client, task) = world.at_work(LEAD, None).await;
        world.server.mode(Mode::Open);
        let mut response = client.send(call("find", json!({}))).await;
        let record = record_of(response.headers());
        read(&mut response, FIRST.len()).await;
        let decided = world.rows()[0].decided.clone();
        let target = match what {
            "task" => Target::Task(task.id),
            "instance" => Target::Instance(decided.instance),
            "identity" => Target::Identity(spiffe(LEAD)),
            "person" => Target::Owner(person(ALICE)),
            _ => Target::Lease(decided.lease),
        };
        world.engine.revoke(&world.admin, target, "test").await.unwrap();
        assert!(within(response.into_body().collect()).await.is_err(), "{what}");
        assert_eq!(world.outcome(record).await, first_piece(Ending::Cut), "{what}");
        eventually("the server's end of it", || (world.server.left() == 1).then_some(())).await;
        let refused = world.connect(Peer::Session(decided.lease)).await.ask(call("find", json!({}))).await;
        assert_eq!(refused.status, 401, "{what}");
        assert_eq!(world.server.calls("find"), 1, "{what}");
    }
}

/// INVARIANT (I3 no act without a record): a caller who goes away before there is an answer leaves a record too.
#[tokio::test]
async fn a_call_that_nobody_waits_for_is_abandoned() {
    let world = World::start().await;
    let mut client = world.client().await;
    assert_eq!(client.ask(call("find", json!({}))).await.decision(), "allow");
    world.server.mode(Mode::Stalls);
    let lease = world.rows()[0].decided.lease;
    let mut leaving = world.connect(Peer::Session(lease)).await;
    let request = call("find", json!({ "q": "Bob" }));
    tokio::select! {
        _ = leaving.send(request) => panic!("it does not answer"),
        () = eventually("the call", || (world.server.calls("find") == 2).then_some(())) => {}
    }
    leaving.hang_up();
    let record = world.rows()[0].decided.record;
    assert_eq!(world.outcome(record).await, Outcome::abandoned());
}
