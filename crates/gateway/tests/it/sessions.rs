//! Revision 2025-11-25: sessions, which are no credentials, and the streams from server to client.

use http::StatusCode;
use http_body_util::BodyExt as _;
use marque_core::revocation::Target;
use serde_json::json;

use crate::client::{Client, bare, legacy, post, read, values};
use crate::server::{FIRST, LAST};
use crate::world::{LEAD, OTHER, SECRET, World, eventually, within};

async fn open(client: &mut Client) -> String {
    let params = json!({ "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": { "name": "a", "version": "1" } });
    let opened = client.ask(legacy("initialize", params, None)).await;
    assert_eq!(opened.status, StatusCode::OK);
    values(&opened.headers, "mcp-session-id")[0].clone()
}

#[tokio::test]
async fn a_session_is_its_openers_only() {
    let world = World::start().await;
    let mut client = world.client().await;
    let session = open(&mut client).await;
    let find = |session: &str| legacy("tools/call", json!({ "name": "find", "arguments": {} }), Some(session));
    let got = client.ask(find(&session)).await;
    assert_eq!(got.decision(), "allow");
    assert_eq!(got.result().get("isError"), None);
    assert_eq!(values(&world.server.seen().pop().unwrap().headers, "mcp-session-id"), std::slice::from_ref(&session));

    let before = world.server.seen().len();
    let (same_agent, _) = world.at_work(LEAD, None).await;
    let (other_agent, _) = world.at_work(OTHER, None).await;
    for mut stranger in [same_agent, other_agent] {
        let stolen = [("mcp-session-id", session.as_str())];
        let requests =
            [find(&session), legacy("ping", json!({}), Some(&session)), legacy("tools/list", json!({}), Some(&session))];
        for request in requests.into_iter().chain(["GET", "DELETE"].map(|m| bare(m, "/mcp/crm", &stolen))) {
            assert_eq!(stranger.ask(request).await.status, StatusCode::NOT_FOUND);
        }
    }
    for unknown in ["session-99", "", "session-0, session-1"] {
        assert_eq!(client.ask(find(unknown)).await.status, StatusCode::NOT_FOUND, "{unknown}");
    }
    assert_eq!(world.server.seen().len(), before, "nothing of that went on");

    assert_eq!(client.ask(legacy("ping", json!({}), Some(&session))).await.status, StatusCode::OK);
    let ended = client.ask(bare("DELETE", "/mcp/crm", &[("mcp-session-id", session.as_str())])).await;
    assert!(ended.status.is_success());
}

#[tokio::test]
async fn a_server_that_wants_sessions_is_asked_in_one() {
    let world = World::start().await;
    world.server.legacy();
    let mut client = world.client().await;
    let session = open(&mut client).await;
    let got = client.ask(legacy("tools/call", json!({ "name": "find", "arguments": {} }), Some(&session))).await;
    assert_eq!(got.decision(), "allow");
    assert_eq!(world.server.calls("find"), 1);
    let asked: Vec<String> = world.server.seen().into_iter().map(|s| s.rpc).collect();
    let expected =
        ["initialize", "tools/list", "initialize", "notifications/initialized", "tools/list", "tools/call"].map(str::to_owned);
    assert_eq!(asked, expected, "the gateway's own questions are in a session of its own");
    let sessions: Vec<_> = world.server.seen().iter().flat_map(|s| values(&s.headers, "mcp-session-id")).collect();
    assert_eq!(sessions, ["session-1", "session-1", "session-0"]);
}

#[tokio::test]
async fn notifications_pass() {
    let world = World::start().await;
    let mut client = world.client().await;
    let session = open(&mut client).await;
    let body = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;
    let got = client.ask(post(body, &[("mcp-session-id", session.as_str())])).await;
    assert_eq!(got.status, StatusCode::ACCEPTED);
    assert_eq!(&world.server.seen().pop().unwrap().body[..], body.as_bytes());
}

#[tokio::test]
async fn a_stream_from_the_server_passes() {
    let world = World::start().await;
    let mut client = world.client().await;
    let session = open(&mut client).await;
    let headers = [("mcp-session-id", session.as_str()), ("authorization", "Bearer mine")];
    let mut response = client.send(bare("GET", "/mcp/crm", &headers)).await;
    assert_eq!(values(response.headers(), "content-type"), ["text/event-stream"]);
    assert_eq!(read(&mut response, FIRST.len()).await, FIRST.as_bytes());
    let seen = world.server.seen().pop().unwrap();
    assert_eq!((seen.http.as_str(), values(&seen.headers, "authorization")), ("GET", vec![format!("Bearer {SECRET}")]));
    world.server.release();
    let rest = within(response.into_body().collect()).await.unwrap().to_bytes();
    assert_eq!(&rest[..], LAST.as_bytes());
    assert!(world.rows().is_empty());
}

#[tokio::test]
async fn a_stream_from_the_server_is_cut_by_a_revocation() {
    let world = World::start().await;
    let (mut client, task) = world.at_work(LEAD, None).await;
    let mut response = client.send(bare("GET", "/mcp/crm", &[])).await;
    read(&mut response, FIRST.len()).await;
    world.engine.revoke(&world.admin, Target::Task(task.id), "test").await.unwrap();
    assert!(within(response.into_body().collect()).await.is_err());
    eventually("the server's end of it", || (world.server.left() == 1).then_some(())).await;
}
