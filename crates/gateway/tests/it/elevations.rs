//! INVARIANT (I5 elevation never widens), at the door: nothing goes on until another person says so, then one call does.

use marque_core::decision::Effect;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::client::{call, modern};
use crate::world::{BOB, LEAD, World, person};

fn letter() -> Value {
    json!({ "to": "bob", "text": "hello" })
}

#[tokio::test]
async fn a_held_call_goes_on_once_after_another_person_approved() {
    let world = World::start().await;
    let mut client = world.client().await;
    let held = client.ask(call("send", letter())).await;
    assert_eq!((held.decision().as_str(), held.rule().as_str()), ("hold", "send-out"));
    let id = held.elevation();
    let text = held.result()["content"][0]["text"].as_str().unwrap().to_owned();
    assert!(text.contains(&id.to_string()), "{text}");
    assert_eq!(held.marque()["record"], held.record().to_string());
    assert_eq!(held.result()["_meta"]["dev.marque/record"], held.record().to_string());
    assert_eq!(client.ask(call("send", letter())).await.elevation(), id, "identical requests are one");
    assert!(world.engine.approve(&world.alice, id).await.is_err(), "she asked for the task");
    assert_eq!(client.ask(call("send", letter())).await.decision(), "hold");
    assert_eq!(world.server.calls("send"), 0);

    world.engine.approve(&world.bob, id).await.unwrap();
    let other = client.ask(call("send", json!({ "to": "eve", "text": "hello" }))).await;
    assert_eq!(other.decision(), "hold", "other arguments are another call");
    assert_eq!(world.server.calls("send"), 0);
    let allowed = client.ask(call("send", letter())).await;
    assert_eq!((allowed.decision().as_str(), world.server.calls("send")), ("allow", 1));
    let row = world.rows().into_iter().find(|r| r.decided.record == allowed.record()).unwrap();
    assert_eq!((row.decided.effect, row.decided.elevation), (Effect::Allow, Some(id)));
    assert_eq!(row.decided.principal, person(BOB), "what he approved happens in his name");

    let replay = client.ask(call("send", letter())).await;
    assert_eq!(replay.decision(), "hold");
    assert_ne!(replay.elevation(), id);
    assert_eq!(world.server.calls("send"), 1);
}

#[tokio::test]
async fn a_refused_call_stays_where_it_is() {
    let world = World::start().await;
    let mut client = world.client().await;
    let held = client.ask(call("send", letter())).await.elevation();
    world.engine.refuse(&world.bob, held, "not today").await.unwrap();
    let again = client.ask(call("send", letter())).await;
    assert_eq!((again.decision().as_str(), again.rule().as_str()), ("deny", "refused"), "asking again wears nobody down");
    let other = client.ask(call("send", json!({ "to": "bob", "text": "goodbye" }))).await;
    assert_eq!(other.decision(), "hold", "another call is another question");
    assert_eq!(world.server.calls("send"), 0);
}

#[tokio::test]
async fn an_approval_is_not_for_another_task() {
    let world = World::start().await;
    let (mut client, mut other) = (world.client().await, world.client().await);
    let held = client.ask(call("send", letter())).await.elevation();
    world.engine.approve(&world.bob, held).await.unwrap();
    assert_eq!(other.ask(call("send", letter())).await.decision(), "hold");
    assert_eq!(world.server.calls("send"), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_identical_approved_calls_one_goes_on() {
    let world = World::start().await;
    let (agent, task) = (world.agent(LEAD).await, world.task(LEAD, None).await);
    let peer = world.peer(&agent, &task).await;
    let mut client = world.connect(peer.clone()).await;
    for round in 0..5_usize {
        let arguments = json!({ "to": "bob", "n": round });
        let held = client.ask(call("send", arguments.clone())).await.elevation();
        world.engine.approve(&world.bob, held).await.unwrap();
        let mut racing = JoinSet::new();
        for _ in 0..3 {
            let mut client = world.connect(peer.clone()).await;
            let request = call("send", arguments.clone());
            racing.spawn(async move { client.ask(request).await.decision() });
        }
        let mut answers = racing.join_all().await;
        answers.sort();
        assert_eq!(answers, ["allow", "hold", "hold"], "round {round}");
        assert_eq!(world.server.calls("send"), round + 1);
    }
}

#[tokio::test]
async fn a_tool_that_changed_waits_for_a_person() {
    let world = World::start().await;
    let mut client = world.client().await;
    assert_eq!(client.ask(call("find", json!({}))).await.decision(), "allow");
    world.server.describe("find", "something else now");
    world.advance(9);
    assert_eq!(client.ask(call("find", json!({}))).await.decision(), "allow", "ten seconds is how old a sight may be");
    world.advance(2);
    let held = client.ask(call("find", json!({}))).await;
    assert_eq!((held.decision().as_str(), held.rule().as_str()), ("hold", "tool-changed"));
    assert_eq!(world.server.calls("find"), 2);

    world.engine.approve(&world.bob, held.elevation()).await.unwrap();
    assert_eq!(client.ask(call("find", json!({}))).await.decision(), "allow");
    assert_eq!(world.server.calls("find"), 3);
    assert_eq!(client.ask(call("find", json!({}))).await.decision(), "hold", "the approval was for one call");

    // As it was registered, it is itself again.
    world.server.describe("find", "as it was");
    world.advance(11);
    assert_eq!(client.ask(call("find", json!({}))).await.decision(), "allow");
}

/// What one caller's list says may be meant for that caller alone: only the gateway's own question counts.
#[tokio::test]
async fn a_callers_list_does_not_speak_for_others() {
    let world = World::start().await;
    let mut client = world.client().await;
    assert_eq!(client.ask(call("find", json!({}))).await.decision(), "allow");
    world.server.describe("find", "something else now");
    client.ask(modern("tools/list", json!({}))).await;
    assert_eq!(client.ask(call("find", json!({}))).await.decision(), "allow", "the gateway has not asked again yet");
    world.advance(11);
    assert_eq!(client.ask(call("find", json!({}))).await.decision(), "hold");
}
