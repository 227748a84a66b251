//! The list of tools: what the caller may call, at once or with approval, and everything else as the server said it.

use http::StatusCode;
use serde_json::json;

use crate::client::{call, legacy, modern, values};
use crate::server::{Mode, tool};
use crate::world::{LEAD, SECRET, World};

#[tokio::test]
async fn a_list_is_the_callers_own() {
    let world = World::start().await;
    let mut client = world.client().await;
    for mode in [Mode::Json, Mode::Events] {
        world.server.mode(mode);
        let got = client.ask(modern("tools/list", json!({}))).await;
        assert_eq!(got.status, StatusCode::OK);
        assert_eq!(got.tools(), ["find", "send"], "{mode:?}");
        let result = got.result();
        assert_eq!(result["cacheScope"], "private");
        assert_eq!((&result["ttlMs"], &result["x-unknown"]), (&json!(1000), &json!({ "kept": true })));
        assert_eq!(result["tools"][0], tool("find", "as it was"), "no field of a tool is lost");
        assert_eq!(got.json()["id"], 7);
        assert!(values(&got.headers, "set-cookie").is_empty());
    }
    let seen = world.server.seen().pop().unwrap();
    assert_eq!(values(&seen.headers, "authorization"), [format!("Bearer {SECRET}")]);
    assert!(world.rows().is_empty(), "nothing happened, so nothing is recorded");
}

#[tokio::test]
async fn a_narrower_task_sees_less() {
    let world = World::start().await;
    let (mut narrow, _) = world.at_work(LEAD, Some("invoke:tool:crm/find")).await;
    assert_eq!(narrow.ask(modern("tools/list", json!({}))).await.tools(), ["find"]);
    assert_eq!(narrow.ask(legacy("tools/list", json!({}), None)).await.tools(), ["find"]);
    let (mut hidden, _) = world.at_work(LEAD, Some("invoke:tool:crm/drop")).await;
    assert!(hidden.ask(modern("tools/list", json!({}))).await.tools().is_empty());
}

#[tokio::test]
async fn a_task_without_anything_there_does_not_come_in() {
    let world = World::start().await;
    let (mut elsewhere, _) = world.at_work(LEAD, Some("invoke:tool:local/*")).await;
    for request in [modern("tools/list", json!({})), modern("ping", json!({})), call("find", json!({}))] {
        let got = elsewhere.ask(request).await;
        assert_eq!((got.status, got.json()["error"].as_str()), (StatusCode::FORBIDDEN, Some("insufficient_scope")));
    }
    assert!(world.server.seen().is_empty());
}
