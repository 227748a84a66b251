//! What could mean two things, or is not meant for us, is refused before anything is asked or decided.

use http::{HeaderValue, Method, StatusCode};
use serde_json::json;

use crate::client::{Asked, VERSION, call, modern, post};
use crate::world::World;

/// Every request is answered with this status, and the server hears of none of them.
async fn refused(world: &World, status: StatusCode, requests: Vec<Asked>) {
    for (n, request) in requests.into_iter().enumerate() {
        let got = world.client().await.ask(request).await;
        assert_eq!(got.status, status, "request {n}: {got:?}");
    }
    assert!(world.server.seen().is_empty());
    assert!(world.rows().is_empty());
}

#[tokio::test]
async fn headers_must_say_what_the_body_says() {
    let world = World::start().await;
    let body = json!({ "jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": {
        "name": "find", "arguments": {}, "_meta": { "io.modelcontextprotocol/protocolVersion": VERSION } } })
    .to_string();
    let good = [("mcp-protocol-version", VERSION), ("mcp-method", "tools/call"), ("mcp-name", "find")];
    let wrong = [("mcp-protocol-version", "2025-11-25"), ("mcp-method", "tools/list"), ("mcp-name", "drop")];
    for n in 0..good.len() {
        let (mut missing, mut differs, mut twice) = (good.to_vec(), good.to_vec(), good.to_vec());
        missing.remove(n);
        differs[n] = wrong[n];
        twice.push(good[n]);
        for headers in [missing, differs, twice] {
            let got = world.client().await.ask(post(&body, &headers)).await;
            assert_eq!(
                (got.status, got.json()["error"]["code"].as_i64()),
                (StatusCode::BAD_REQUEST, Some(-32020)),
                "{headers:?}"
            );
            assert_eq!(got.json()["id"], 7);
        }
    }
    assert!(world.server.seen().is_empty());
    assert_eq!(world.client().await.ask(post(&body, &good)).await.decision(), "allow");
}

#[tokio::test]
async fn a_body_must_mean_one_thing() {
    let world = World::start().await;
    let bodies = [
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"find","arguments":{"q":1,"q":2}}}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"find","arguments":{"a":[{"q":1,"\u0071":2}]}}}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"find","name":"drop"}}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"find"},"params":{"name":"drop"}}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/list","method":"tools/call","params":{"name":"find"}}"#,
        r#"[{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"find"}}]"#,
        "  []",
        "",
        "{",
        r#"{"jsonrpc":"2.0","id":1,"method":"ping"}{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"find"}}"#,
        r#"{"jsonrpc":"2.0","id":1,"result":{}}"#,
        r#"{"jsonrpc":"1.0","id":1,"method":"ping"}"#,
        r#"{"jsonrpc":"2.0","id":{},"method":"ping"}"#,
    ];
    refused(&world, StatusCode::BAD_REQUEST, bodies.iter().map(|body| post(body, &[])).collect()).await;
}

#[tokio::test]
async fn pages_of_other_sites_are_refused() {
    let world = World::start().await;
    let from = |origin: &str| {
        let mut request = call("find", json!({}));
        request.headers_mut().insert("origin", HeaderValue::from_str(origin).unwrap());
        request
    };
    let foreign = [
        "https://evil.example",
        "null",
        "",
        "http://localhost.evil.example",
        "http://127.0.0.1.evil.example:8080",
        "http://localhost@evil.example",
        "http://evil.example:localhost",
    ];
    refused(&world, StatusCode::FORBIDDEN, foreign.into_iter().map(from).collect()).await;
    for local in ["http://localhost:3000", "http://127.0.0.1", "http://[::1]:8080", "http://[::1]"] {
        assert_eq!(world.client().await.ask(from(local)).await.decision(), "allow", "{local}");
    }
}

#[tokio::test]
async fn what_is_not_ours_is_refused() {
    let world = World::start().await;
    let elsewhere = |path: &str| {
        let mut request = call("find", json!({}));
        *request.uri_mut() = path.parse().unwrap();
        request
    };
    let paths = ["/", "/mcp", "/mcp/", "/mcp/../crm", "/mcp/%63rm", "/other/crm"].into_iter().map(elsewhere).collect();
    refused(&world, StatusCode::NOT_FOUND, paths).await;
    refused(&world, StatusCode::FORBIDDEN, vec![elsewhere("/mcp/unknown"), elsewhere("/mcp/crm/find")]).await;

    let mut put = call("find", json!({}));
    *put.method_mut() = Method::PUT;
    refused(&world, StatusCode::METHOD_NOT_ALLOWED, vec![put]).await;
    let kinds = ["text/plain", "application/x-www-form-urlencoded", "application/jsonx"].map(|kind| {
        let mut request = call("find", json!({}));
        request.headers_mut().insert("content-type", HeaderValue::from_static(kind));
        request
    });
    refused(&world, StatusCode::UNSUPPORTED_MEDIA_TYPE, kinds.into()).await;
    refused(&world, StatusCode::PAYLOAD_TOO_LARGE, vec![post(&" ".repeat((4 << 20) + 1), &[])]).await;
}

#[tokio::test]
async fn a_method_that_is_not_known_goes_nowhere() {
    let world = World::start().await;
    for method in ["tools/uninstall", "subscriptions/listen", "Tools/Call", "tools/call "] {
        let body = json!({ "jsonrpc": "2.0", "id": 7, "method": method, "params": { "name": "find" } }).to_string();
        let got = world.client().await.ask(post(&body, &[])).await;
        assert_eq!((got.status, got.json()["error"]["code"].as_i64()), (StatusCode::OK, Some(-32601)), "{method}");
    }
    refused(&world, StatusCode::NOT_FOUND, vec![modern("tools/uninstall", json!({}))]).await;
}
