//! Every route of the administration API, against nobody, a stranger and a person.

use std::collections::BTreeSet;

use http::StatusCode;

use crate::world::{World, json_request};

/// All of them: `no_route_is_missing` holds this list against the router.
const ROUTES: [(&str, &str); 43] = [
    ("GET", "/v1/status"),
    ("POST", "/v1/plan"),
    ("POST", "/v1/apply"),
    ("GET", "/v1/identities"),
    ("POST", "/v1/identities/state"),
    ("GET", "/v1/resources"),
    ("POST", "/v1/tools/accept"),
    ("GET", "/v1/instances"),
    ("GET", "/v1/people"),
    ("POST", "/v1/people"),
    ("DELETE", "/v1/people/{person}"),
    ("GET", "/v1/nodes"),
    ("POST", "/v1/nodes/{name}/token"),
    ("POST", "/v1/nodes/{name}/ban"),
    ("GET", "/v1/authorities"),
    ("POST", "/v1/authorities"),
    ("GET", "/v1/exports"),
    ("GET", "/v1/ledger/export"),
    ("GET", "/v1/findings"),
    ("PUT", "/v1/secrets/{name}"),
    ("GET", "/v1/tasks"),
    ("POST", "/v1/tasks"),
    ("POST", "/v1/tasks/{id}/finish"),
    ("POST", "/v1/launches"),
    ("GET", "/v1/elevations"),
    ("POST", "/v1/elevations/{id}/approve"),
    ("POST", "/v1/elevations/{id}/refuse"),
    ("POST", "/v1/revocations"),
    ("GET", "/v1/who-can"),
    ("GET", "/v1/can"),
    ("GET", "/v1/records"),
    ("GET", "/v1/records/{id}"),
    ("POST", "/v1/trace"),
    ("POST", "/v1/trace/statement"),
    ("GET", "/v1/receipts/{id}"),
    ("POST", "/v1/artifacts"),
    ("POST", "/v1/ledger/prune"),
    ("GET", "/v1/ledger/events"),
    ("GET", "/v1/ledger/stream"),
    ("GET", "/v1/ledger/credentials/{id}"),
    ("GET", "/v1/ledger/tasks/{id}/credentials"),
    ("GET", "/v1/ledger/access"),
    ("POST", "/v1/views/rebuild"),
];

fn asked(path: &str) -> String {
    path.replace("{name}", "x").replace("{id}", "x").replace("{person}", "nobody%20here")
}

#[tokio::test]
async fn nobody_and_strangers_are_refused_everywhere() {
    let world = World::start().await;
    let (size, good) = (world.engine.log_size(), world.credential());
    let secret = good.strip_prefix("Bearer ").unwrap();
    let [zeros, longer, lower, basic] = [
        format!("Bearer {}", "0".repeat(64)),
        format!("{good}0"),
        format!("Bearer {}", secret.to_uppercase()),
        format!("Basic {secret}"),
    ];
    let strangers = ["", "Bearer", "Bearer ", "Bearer garbage", secret, &zeros, &longer, &lower, &basic];
    for (method, path) in ROUTES {
        for credential in std::iter::once(None).chain(strangers.into_iter().map(Some)) {
            let got = world.api(json_request(method, &asked(path), credential, "{}")).await;
            assert_eq!(got.status, StatusCode::UNAUTHORIZED, "{method} {path} with {credential:?}");
            assert_eq!(got.code(), "unauthenticated", "{method} {path} with {credential:?}");
        }
    }
    assert_eq!(world.engine.log_size(), size, "nothing happened");
    assert!(world.engine.secret("x").is_err());
}

#[tokio::test]
async fn a_person_is_answered_everywhere() {
    let world = World::start().await;
    for (method, path) in ROUTES {
        let got = world.admin(method, &asked(path), "{}").await;
        // What names something that is not there is told so.
        let missing = got.status == StatusCode::NOT_FOUND && got.code() == "not_found" && path.contains('{');
        assert!(missing || matches!(got.status, StatusCode::OK | StatusCode::BAD_REQUEST), "{method} {path}: {got:?}");
        if got.status == StatusCode::BAD_REQUEST {
            assert_eq!(got.code(), "invalid", "{method} {path}");
        }
    }
}

/// The list above is the list of the router: a route that is added there is tested here.
#[test]
fn no_route_is_missing() {
    let source = include_str!("../../src/api/mod.rs");
    let mut declared = BTreeSet::new();
    for route in source.split(".route(\"").skip(1) {
        let (path, rest) = route.split_once('"').unwrap();
        let handlers = rest.split(".layer(").next().unwrap();
        let words = handlers.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        let methods = words.filter(|w| ["get", "post", "put", "patch", "delete", "any"].contains(w));
        let before = declared.len();
        declared.extend(methods.map(|m| (m.to_uppercase(), path.to_owned())));
        assert!(declared.len() > before, "`{path}` has no method that this test knows");
    }
    let listed: BTreeSet<_> = ROUTES.iter().map(|(method, path)| ((*method).to_owned(), (*path).to_owned())).collect();
    assert_eq!(listed, declared);
    assert_eq!(listed.len(), ROUTES.len());
    for other_way in [".nest(", ".merge(", ".fallback(", ".route_service(", ".nest_service("] {
        assert!(!source.contains(other_way), "`{other_way}` adds routes that this test does not see");
    }
}
