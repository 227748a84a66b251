//! What is wrong is told as JSON: `{"error", "message"}`.

use http::StatusCode;
use serde_json::json;

use crate::world::{LEAD, World, json_request};

const ULID: &str = "01ARZ3NDEKTSV4RRFFQ69G5FAV";

#[tokio::test]
async fn a_body_or_a_question_that_makes_no_sense_is_invalid() {
    let world = World::start().await;
    let task = json!({ "identity": LEAD, "purpose": "test" });
    let plus = |key: &str, value: serde_json::Value| {
        let mut task = task.clone();
        task[key] = value;
        task.to_string()
    };
    let launch = json!({ "identity": LEAD, "task": format!("task_{ULID}") }).to_string();
    let cases = [
        ("POST", "/v1/tasks", "{".to_owned()),
        ("POST", "/v1/tasks", "[]".to_owned()),
        ("POST", "/v1/tasks", String::new()),
        ("POST", "/v1/tasks", plus("extra", json!(1))),
        ("POST", "/v1/tasks", plus("identity", json!(1))),
        ("POST", "/v1/tasks", plus("ttl", json!(-1))),
        ("POST", "/v1/tasks", plus("scope", json!("everything"))),
        ("POST", "/v1/tasks", plus("identity", json!("spiffe://"))),
        ("POST", "/v1/tasks/x/finish", String::new()),
        ("POST", "/v1/tasks/lease_01ARZ3NDEKTSV4RRFFQ69G5FAV/finish", String::new()),
        ("POST", "/v1/plan", r#"{"identities":[],"resources":[],"policies":[],"extra":[]}"#.to_owned()),
        ("POST", "/v1/plan", r#"{"identities":[{"name":"a"}],"resources":[],"policies":[]}"#.to_owned()),
        ("POST", "/v1/apply", r#"{"identities":[],"resources":[],"policies":[{"name":"a","text":"permit ("}]}"#.to_owned()),
        ("POST", "/v1/identities/state", json!({ "identity": LEAD, "to": "gone", "why": "test" }).to_string()),
        ("POST", "/v1/identities/state", json!({ "identity": LEAD, "to": "suspended" }).to_string()),
        ("POST", "/v1/identities/state", json!({ "identity": LEAD, "to": "suspended", "why": " " }).to_string()),
        ("POST", "/v1/people", r#"{"person":"a b"}"#.to_owned()),
        ("POST", "/v1/people", r#"{"person":"admin@example.com"}"#.to_owned()),
        ("PUT", "/v1/secrets/.hidden", "secret".to_owned()),
        ("PUT", "/v1/secrets/crm", String::new()),
        ("PUT", "/v1/secrets/crm", "two\nlines".to_owned()),
        ("PUT", "/v1/secrets/crm", "x".repeat((16 << 10) + 1)),
        ("POST", "/v1/launches", launch),
        ("POST", "/v1/elevations/elev_1/approve", String::new()),
        ("POST", "/v1/revocations", r#"{"target":"everything"}"#.to_owned()),
        ("POST", "/v1/revocations", r#"{"why":"no target"}"#.to_owned()),
        ("GET", "/v1/tasks?limit=many", String::new()),
        ("GET", "/v1/tasks?limit=1001", String::new()),
        ("GET", "/v1/elevations?limit=1001", String::new()),
        ("GET", "/v1/records?limit=1001", String::new()),
        ("GET", "/v1/records?task=x", String::new()),
        ("POST", "/v1/tools/accept", r#"{"tool":"tool:crm/find","definition":"sha256:1"}"#.to_owned()),
        ("GET", "/v1/who-can?action=fly&resource=tool:crm/find", String::new()),
        ("GET", "/v1/who-can?action=invoke", String::new()),
        ("GET", "/v1/records/x", String::new()),
    ];
    let size = world.engine.log_size();
    for (method, path, body) in cases {
        let got = world.admin(method, path, &body).await;
        assert_eq!(got.status, StatusCode::BAD_REQUEST, "{method} {path} {body}: {got:?}");
        assert_eq!(got.code(), "invalid", "{method} {path} {body}");
    }
    let said = world.admin("POST", "/v1/launches", &json!({ "identity": LEAD, "task": "task_nope" }).to_string()).await;
    assert_eq!(said.json()["message"], "task: expected an identifier as `task_` and a ULID, found `task_nope`");
    let said = world.admin("GET", "/v1/tasks?limit=many", "").await;
    assert!(!said.json()["message"].as_str().unwrap().contains("deserialize"), "{said:?}");
    let said = world.admin("POST", "/v1/identities/state", &json!({ "identity": LEAD, "to": "active" }).to_string()).await;
    assert!(said.json()["message"].as_str().unwrap().ends_with(": `why` is empty"), "{said:?}");
    let activate = json!({ "verb": "activate", "kind": "jwt" }).to_string();
    let said = world.admin("POST", "/v1/authorities", &activate).await;
    assert_eq!(said.status, StatusCode::BAD_REQUEST);
    assert!(said.json()["message"].as_str().unwrap().contains("`marque authority prepare jwt`"), "{said:?}");
    let mut untyped = json_request("POST", "/v1/tasks", Some(&world.credential()), &task.to_string());
    untyped.headers_mut().remove("content-type");
    let got = world.api(untyped).await;
    assert_eq!((got.status, got.code().as_str()), (StatusCode::BAD_REQUEST, "invalid"));
    assert_eq!(world.engine.log_size(), size, "nothing happened");
}

#[tokio::test]
async fn what_is_not_known_is_not_found() {
    let world = World::start().await;
    let [finish, approve, refuse, record] =
        ["tasks/task_X/finish", "elevations/elev_X/approve", "elevations/elev_X/refuse", "records/rec_X"]
            .map(|path| format!("/v1/{}", path.replace('X', ULID)));
    let digest = format!("sha256:{}", "0".repeat(64));
    let moved = json!({ "identity": "agent/nobody", "to": "suspended", "why": "test" });
    let revoke = |target: &str| json!({ "target": target, "why": "test" }).to_string();
    let cases = [
        ("POST", finish.as_str(), String::new()),
        ("POST", approve.as_str(), String::new()),
        ("POST", refuse.as_str(), "{}".to_owned()),
        ("GET", record.as_str(), String::new()),
        ("POST", "/v1/revocations", revoke("user:mallory@example.com")),
        ("POST", "/v1/revocations", revoke("spiffe://example.org/agent/nobody")),
        ("POST", "/v1/revocations", revoke(&format!("lease_{ULID}"))),
        ("POST", "/v1/tasks", json!({ "identity": "agent/nobody", "purpose": "test" }).to_string()),
        ("POST", "/v1/identities/state", moved.to_string()),
        ("POST", "/v1/authorities", json!({ "verb": "revoke", "kind": "x509", "id": "nope" }).to_string()),
        ("POST", "/v1/authorities", json!({ "verb": "taint", "kind": "jwt", "id": "nope" }).to_string()),
        ("POST", "/v1/tools/accept", json!({ "tool": "tool:crm/none", "definition": digest }).to_string()),
        ("GET", "/v1/instances?identity=agent/nobody", String::new()),
        ("GET", "/v1/records?identity=agent/nobody", String::new()),
        ("GET", "/v1/can?identity=agent/nobody", String::new()),
        ("GET", "/v1/who-can?action=invoke&resource=tool:crm/none", String::new()),
    ];
    for (method, path, body) in cases {
        let got = world.admin(method, path, &body).await;
        assert_eq!(got.status, StatusCode::NOT_FOUND, "{method} {path} {body}: {got:?}");
        assert_eq!(got.code(), "not_found", "{method} {path} {body}");
    }
}

#[tokio::test]
async fn what_is_refused_says_so() {
    let world = World::start().await;
    let above = json!({ "identity": LEAD, "purpose": "test", "scope": ["write:dataset:*"] }).to_string();
    let got = world.admin("POST", "/v1/tasks", &above).await;
    assert_eq!((got.status, got.code().as_str()), (StatusCode::CONFLICT, "refused"));
    let active = world.engine.authority_list().into_iter().find(|key| key.kind == "jwt").unwrap();
    let again = json!({ "verb": "activate", "kind": "jwt", "id": active.id }).to_string();
    let got = world.admin("POST", "/v1/authorities", &again).await;
    assert_eq!((got.status, got.code().as_str()), (StatusCode::CONFLICT, "refused"), "it is active already: {got:?}");
    let good = json!({ "identity": LEAD, "purpose": "test" }).to_string();
    let got = world.admin("POST", "/v1/tasks", &good).await;
    assert_eq!((got.status, got.json()["principal"].as_str()), (StatusCode::OK, Some("user:admin@example.com")));
}
