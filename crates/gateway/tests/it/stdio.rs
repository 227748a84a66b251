//! A server that the gateway starts: one for each holder, with its own secrets and nothing of ours.

use http::StatusCode;
use marque_core::record::Ending;
use marque_core::revocation::Target;
use marque_engine::sha256;
use serde_json::{Value, json};

use crate::client::{Asked, Got, VERSION, modern, post};
use crate::world::{LEAD, OTHER, SECRET, World, eventually};

fn local(mut request: Asked) -> Asked {
    *request.uri_mut() = "/mcp/local".parse().unwrap();
    request
}

/// A call whose answer tells the server's process, its secret, and the names in its environment.
fn ask_env(id: &Value) -> Asked {
    let meta = json!({ "io.modelcontextprotocol/protocolVersion": VERSION });
    let params = json!({ "name": "env", "arguments": { "line": "one\ntwo" }, "_meta": meta });
    let body = json!({ "jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params }).to_string();
    local(post(&body, &[("mcp-protocol-version", VERSION), ("mcp-method", "tools/call"), ("mcp-name", "env")]))
}

fn told(got: &Got) -> [String; 3] {
    let text = got.result()["content"][0]["text"].as_str().unwrap().to_owned();
    let parts: Vec<String> = text.split('|').map(str::to_owned).collect();
    parts.try_into().unwrap()
}

#[tokio::test]
async fn a_started_server_lists_and_answers() {
    let world = World::start().await;
    let mut client = world.client().await;
    let listed = client.ask(local(modern("tools/list", json!({})))).await;
    assert_eq!((listed.status, listed.json()["id"].as_i64()), (StatusCode::OK, Some(7)));
    assert_eq!(listed.tools(), ["env"]);
    assert_eq!(listed.result()["cacheScope"], "private");

    for id in [json!("mine-1"), json!(7), json!("a\"b"), json!(0)] {
        let got = client.ask(ask_env(&id)).await;
        assert_eq!(got.decision(), "allow", "{id}");
        assert_eq!(got.json()["id"], id);
        let outcome = world.outcome(got.record()).await;
        assert_eq!((outcome.ending, outcome.response), (Ending::Answered, Some(sha256(&got.body).into())));
        let [_, secret, names] = told(&got);
        assert_eq!(secret, SECRET);
        let expected = ["PATH", "HOME", "CRM_KEY"];
        let by_the_shell = ["PWD", "OLDPWD", "SHLVL", "_"];
        assert!(names.split(' ').any(|name| name == "CRM_KEY"), "{names}");
        let stray = names.split_whitespace().find(|name| !expected.contains(name) && !by_the_shell.contains(name));
        assert_eq!(stray, None, "of all that is in our environment");
    }
}

#[tokio::test]
async fn two_holders_never_share_a_server() {
    let world = World::start().await;
    let (mut one, mut other) = (world.client().await, world.client().await);
    let [mine, ..] = told(&one.ask(ask_env(&json!(1))).await);
    let [again, ..] = told(&one.ask(ask_env(&json!(2))).await);
    let [theirs, ..] = told(&other.ask(ask_env(&json!(1))).await);
    assert_eq!(mine, again);
    assert_ne!(mine, theirs, "another task is another holder");
}

#[tokio::test]
async fn a_server_ends_with_its_holder() {
    let world = World::start().await;
    let ((mut one, _), (mut other, _)) = (world.at_work(LEAD, None).await, world.at_work(OTHER, None).await);
    let [ending, ..] = told(&one.ask(ask_env(&json!(1))).await);
    let [staying, ..] = told(&other.ask(ask_env(&json!(1))).await);
    world.gateway.sweep().await;
    assert_eq!(told(&one.ask(ask_env(&json!(2))).await)[0], ending, "its holder is alive");
    let instance = world.agent(LEAD).await.instance.id;
    world.engine.revoke(&world.admin, Target::Instance(instance), "test").await.unwrap();
    world.gateway.sweep().await;
    // Gone, or dead and not yet collected.
    let stat = format!("/proc/{ending}/stat");
    let ended = || std::fs::read_to_string(&stat).map_or(Some(()), |stat| stat.contains(") Z ").then_some(()));
    eventually("the end of its server", ended).await;
    assert_eq!(told(&other.ask(ask_env(&json!(2))).await)[0], staying);
    assert_eq!(one.ask(ask_env(&json!(3))).await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_tool_that_a_started_server_does_not_have_goes_nowhere() {
    let world = World::start().await;
    let (mut client, _) = world.at_work(LEAD, Some("invoke:tool:local/*")).await;
    let got = client.ask(local(modern("tools/call", json!({ "name": "other", "arguments": {} })))).await;
    assert_eq!((got.decision().as_str(), got.rule().as_str()), ("deny", "unregistered"));
}
