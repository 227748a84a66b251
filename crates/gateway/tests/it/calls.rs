//! What is allowed goes on exactly once and as it was; what is not goes nowhere.

use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::StatusCode;
use marque_core::decision::Effect;
use marque_core::record::{Ending, Outcome};
use marque_engine::{ReceiptOf, sha256};
use marque_ledger::{Checkpoint, TlogProof, Verifier, leaf_hash, verify_inclusion};
use serde_json::json;

use crate::client::{VERSION, call, modern, post, values};
use crate::world::{LEAD, SECRET, World};

#[tokio::test]
async fn an_allowed_call_goes_on_once_and_as_it_was() {
    let world = World::start().await;
    let mut client = world.client().await;
    let body = r#"{ "params": {"arguments" : {"q":"B\u00f6b \/","b":[ 1,2 ]},"name":"find", "_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","x":1}},
        "method":"tools/call", "id" : "a-1" ,"jsonrpc":"2.0" }"#;
    let headers = [
        ("mcp-protocol-version", VERSION),
        ("mcp-method", "tools/call"),
        ("mcp-name", "find"),
        ("mcp-param-q", "=?base64?QsO2YiAv?="),
        ("authorization", "Bearer the-agents-own"),
        ("cookie", "a=b"),
        ("x-api-key", "the-agents-own"),
        ("proxy-authorization", "Basic YTpi"),
    ];
    let got = client.ask(post(body, &headers)).await;
    assert_eq!(got.decision(), "allow");
    assert_eq!((got.json()["id"].as_str(), got.result()["content"][0]["text"].as_str()), (Some("a-1"), Some("found")));
    assert_eq!(values(&got.headers, "x-upstream"), ["kept"]);
    for gone in ["set-cookie", "www-authenticate"] {
        assert!(values(&got.headers, gone).is_empty(), "{gone}");
    }

    assert_eq!(world.server.calls("find"), 1);
    let seen = world.server.seen().pop().unwrap();
    assert_eq!(&seen.body[..], body.as_bytes());
    assert_eq!(values(&seen.headers, "authorization"), [format!("Bearer {SECRET}")]);
    assert_eq!(values(&seen.headers, "mcp-param-q"), ["=?base64?QsO2YiAv?="]);
    for gone in ["cookie", "x-api-key", "proxy-authorization"] {
        assert!(values(&seen.headers, gone).is_empty(), "{gone}");
    }
    let row = &world.rows()[0];
    assert_eq!((row.decided.record, row.decided.effect), (got.record(), Effect::Allow));
    assert_eq!(row.decided.request, sha256(body.as_bytes()));
}

/// RFC 7240: who prefers a receipt gets the proof with the answer, and who does not gets none.
#[tokio::test]
async fn a_receipt_comes_with_the_answer() {
    let world = World::start().await;
    let mut client = world.client().await;
    let got = client.ask(call("find", json!({ "q": "a" }))).await;
    assert!(values(&got.headers, "marque-receipt").is_empty());
    let verifier: Verifier =
        std::fs::read_to_string(world.dir.path().join("state/ledger/verifier")).unwrap().trim().parse().unwrap();
    for (tool, decision) in [("find", "allow"), ("drop", "deny")] {
        let mut asked = call(tool, json!({ "q": "b" }));
        asked.headers_mut().insert("prefer", "respond-async, receipt".parse().unwrap());
        let got = client.ask(asked).await;
        assert_eq!((got.decision().as_str(), values(&got.headers, "preference-applied")), (decision, vec!["receipt".to_owned()]));
        let proof = BASE64_STANDARD.decode(&values(&got.headers, "marque-receipt")[0]).unwrap();
        let proof: TlogProof = String::from_utf8(proof).unwrap().parse().unwrap();
        let checkpoint = Checkpoint::open(&proof.checkpoint, "example.org/marque/log", std::slice::from_ref(&verifier)).unwrap();
        let receipt = world.engine.receipt(&world.admin, ReceiptOf::Record(got.record()), false).await.unwrap().inclusion;
        assert_eq!(receipt.index, proof.index);
        let leaf = leaf_hash(receipt.leaf.as_bytes());
        verify_inclusion(leaf, proof.index, checkpoint.size, &proof.path, checkpoint.root).unwrap();
        assert!(verify_inclusion(leaf_hash(b"x"), proof.index, checkpoint.size, &proof.path, checkpoint.root).is_err());
    }
}

#[tokio::test]
async fn a_denied_call_goes_nowhere() {
    let world = World::start().await;
    let (mut client, task) = world.at_work(LEAD, Some("invoke:tool:crm/drop invoke:tool:crm/ghost")).await;
    let got = client.ask(call("drop", json!({}))).await;
    assert_eq!((got.decision().as_str(), got.rule().as_str()), ("deny", "never-drop"));
    assert!(got.marque()["elevation"].is_null());
    assert_eq!(got.result()["resultType"], "complete");
    let row = &world.rows()[0];
    assert_eq!((row.decided.record, row.decided.effect, row.decided.task), (got.record(), Effect::Deny, task.id));
    assert!(row.settled.is_none());
    let got = client.ask(call("find", json!({}))).await;
    assert_eq!((got.decision().as_str(), got.rule().as_str()), ("deny", "task-scope"));
    assert_eq!((world.server.calls("drop"), world.server.calls("find")), (0, 0));
}

/// INVARIANT (I7 unknown is No).
#[tokio::test]
async fn what_is_not_known_goes_nowhere() {
    let world = World::start().await;
    let mut client = world.client().await;
    for (tool, rule) in [("extra", "unregistered"), ("ghost", "definition-unknown")] {
        let got = client.ask(call(tool, json!({}))).await;
        assert_eq!((got.decision().as_str(), got.rule().as_str()), ("deny", rule), "{tool}");
        assert_eq!(world.server.calls(tool), 0, "{tool}");
    }
    for tool in ["a b", "../find", "find/", ""] {
        let got = client.ask(call(tool, json!({}))).await;
        assert_eq!((got.status, got.json()["error"]["code"].as_i64()), (StatusCode::OK, Some(-32602)), "{tool}");
    }
    let nameless = client.ask(modern("tools/call", json!({ "arguments": {} }))).await;
    assert_eq!(nameless.status, StatusCode::BAD_REQUEST);
    assert!(world.server.seen().iter().all(|s| s.rpc != "tools/call"));
}

/// INVARIANT (I3 no act without a record).
#[tokio::test]
async fn the_decision_is_durable_before_the_server_sees_the_call() {
    let world = World::start().await;
    let mut client = world.client().await;
    let (tx, rx) = std::sync::mpsc::channel();
    let engine = Arc::clone(&world.engine);
    world.server.look(move |body| {
        let request = sha256(body);
        let row = engine.records(None, None, 10).unwrap().into_iter().find(|r| r.decided.request == request);
        let durable = engine.log_size();
        tx.send(row.map(|r| (r.decided.record, r.decided.effect, r.settled.is_none(), r.seq < durable))).unwrap();
    });
    let got = client.ask(call("find", json!({ "q": "Bob" }))).await;
    assert_eq!(rx.try_recv().unwrap(), Some((got.record(), Effect::Allow, true, true)));
    assert!(rx.try_recv().is_err(), "one call is one call");
}

#[tokio::test]
async fn a_server_that_cannot_be_reached_is_a_failure_on_record() {
    let mut world = World::start().await;
    let mut client = world.client().await;
    let first = client.ask(call("find", json!({}))).await;
    world.outcome(first.record()).await;
    world.server.stop().await;
    let got = client.ask(call("find", json!({ "q": "Bob" }))).await;
    assert_eq!((got.status, got.json()["error"]["code"].as_i64()), (StatusCode::BAD_GATEWAY, Some(-31001)));
    let row = &world.rows()[0];
    assert_ne!(row.decided.record, first.record());
    let failed = Outcome { ending: Ending::Failed, status: 502, response: None, bytes: 0, contents: Vec::new() };
    assert_eq!(world.outcome(row.decided.record).await, failed);

    // Once the sight of its tools is too old, nothing is known of them any more.
    world.advance(11);
    let got = client.ask(call("find", json!({}))).await;
    assert_eq!((got.decision().as_str(), got.rule().as_str()), ("deny", "definition-unknown"));
    assert_eq!(world.server.calls("find"), 1);
}

/// What is decided on the body must not be said otherwise in a header that a server may act on.
#[tokio::test]
async fn a_copied_parameter_that_differs_goes_nowhere() {
    let world = World::start().await;
    let mut client = world.client().await;
    let body = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"find","arguments":{"to":"bob"},"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}}"#;
    let headers =
        [("mcp-protocol-version", VERSION), ("mcp-method", "tools/call"), ("mcp-name", "find"), ("mcp-param-to", "eve")];
    let got = client.ask(post(body, &headers)).await;
    assert_eq!((got.status.as_u16(), got.json()["error"]["code"].as_i64()), (400, Some(-32020)));
    assert_eq!(world.server.calls("find"), 0);
}
