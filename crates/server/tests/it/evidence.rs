//! Receipts, attested files and erased people, as the administration API gives them.

use http::StatusCode;
use marque_engine::sha256;
use serde_json::json;

use crate::world::{ADMIN, ALICE, WORKER, World};

#[tokio::test]
async fn a_receipt_is_what_the_auditors_page_reads() {
    let world = World::start().await;
    let task = world.task(WORKER, None).await;
    let index = world.engine.log_size() - 1;
    let got = world.admin("GET", &format!("/v1/receipts/{index}"), "").await;
    assert_eq!(got.status, StatusCode::OK, "{got:?}");
    let receipt = got.json();
    assert!(receipt["path"].is_array() && receipt["checkpoint"].is_string() && receipt["root"].is_string(), "{receipt}");
    assert_eq!((receipt["index"].as_u64(), receipt["verified"].as_bool()), (Some(index), Some(true)));
    assert!(receipt["leaf"].as_str().unwrap().contains(&task.id.to_string()));
    assert!(receipt["proof"].as_str().unwrap().starts_with("c2sp.org/tlog-proof@v1\n"));
    assert!(receipt.get("openings").is_none(), "only for whoever asks");
    let opened = world.admin("GET", &format!("/v1/receipts/{index}?openings=true"), "").await.json();
    let opening = &opened["openings"][0];
    assert_eq!((opening["field"].as_str(), opening["value"].as_str()), (Some("/what/task/purpose"), Some("test")));
    assert!(opening["salt"].is_string() && opening["commitment"].as_str().unwrap().starts_with("commit:"));
    let far = world.admin("GET", "/v1/receipts/99999", "").await;
    assert_eq!((far.status, far.code().as_str()), (StatusCode::NOT_FOUND, "not_found"));
}

#[tokio::test]
async fn a_file_is_attested() {
    let world = World::start().await;
    let task = world.task(WORKER, None).await.id;
    let body = json!({ "name": "a.txt", "content": sha256(b"a"), "bytes": 1, "task": task, "inputs": [sha256(b"b")] });
    let attested = world.admin("POST", "/v1/artifacts", &body.to_string()).await;
    assert_eq!(attested.status, StatusCode::OK, "{attested:?}");
    let attested = attested.json();
    assert_eq!(attested["entry"].as_u64(), Some(world.engine.log_size() - 1));
    assert_eq!(attested["artifact"]["task"], json!(task));
    let unknown = json!({ "name": "a.txt", "content": sha256(b"a"), "bytes": 1, "task": "task_00000000000000000000000001" });
    assert_eq!(world.admin("POST", "/v1/artifacts", &unknown.to_string()).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_person_is_erased() {
    let world = World::start().await;
    world.task(WORKER, None).await;
    let (size, path) = (world.engine.log_size(), format!("/v1/people/{ALICE}"));
    let planned = world.admin("DELETE", &format!("{path}?dry_run=true"), "").await.json();
    assert_eq!((planned["done"].as_bool(), planned["tasks"].as_u64()), (Some(false), Some(1)), "{planned}");
    assert_eq!(world.engine.log_size(), size);
    let erased = world.admin("DELETE", &path, "").await;
    assert_eq!(erased.status, StatusCode::OK, "{erased:?}");
    assert_eq!((erased.json()["done"].as_bool(), erased.json()["revoked"]["tasks"].as_u64()), (Some(true), Some(1)));
    let people = world.admin("GET", "/v1/people", "").await.json().to_string();
    assert!(people.contains(ADMIN) && !people.contains(ALICE), "{people}");
    let tasks = world.admin("GET", "/v1/tasks", "").await.json().to_string();
    assert!(tasks.contains(planned["pseudonym"].as_str().unwrap()) && !tasks.contains(ALICE), "{tasks}");
    assert_eq!(world.admin("DELETE", &path, "").await.status, StatusCode::BAD_REQUEST);
    assert_eq!(world.admin("DELETE", &format!("/v1/people/{ADMIN}"), "").await.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn young_entries_are_not_let_go() {
    let world = World::start().await;
    let now = world.engine.now();
    let ask = |more: &str| format!("{{\"before\":{}{more}}}", now.micros());
    let refused = world.admin("POST", "/v1/ledger/prune", &ask("")).await;
    assert_eq!((refused.status, refused.code().as_str()), (StatusCode::BAD_REQUEST, "invalid"));
    let allowed = world.admin("POST", "/v1/ledger/prune", &ask(",\"danger_short\":true,\"dry_run\":true")).await;
    assert_eq!(allowed.json(), json!({ "from": 0, "below": 0, "done": false }));
}
