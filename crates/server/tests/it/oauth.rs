//! The token endpoint: what it says of itself, what it gives, and how it says no.

use std::fmt::Write as _;
use std::sync::Arc;

use axum::body::Body;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{Request, StatusCode};
use marque_engine::{IssuerUrl, TrustedIssuer};
use marque_server::oauth_router;
use marque_svid::{AT_JWT_TYP, TaskClaims, verify_typed};
use serde_json::json;

use crate::world::{Agent, GATEWAY, Got, ISSUER, LEAD, WORKER, World, ask, spiffe};

const GRANT: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const ACCESS: &str = "urn:ietf:params:oauth:token-type:access_token";
const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";

type Fields<'a> = Vec<(&'a str, &'a str)>;

fn encoded(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() {
            out.push(char::from(byte));
        } else {
            write!(out, "%{byte:02X}").unwrap();
        }
    }
    out
}

/// Posts a form; whatever comes back is not to be stored.
async fn post(world: &World, client: Option<&Agent>, fields: &[(&str, &str)]) -> Got {
    let pairs: Vec<String> = fields.iter().map(|(k, v)| format!("{}={}", encoded(k), encoded(v))).collect();
    let request = Request::post("/oauth/token").header("content-type", "application/x-www-form-urlencoded");
    let router = oauth_router(Arc::clone(&world.engine), client.map(|c| c.workload.clone()));
    let got = ask(router, request.body(Body::from(pairs.join("&"))).unwrap()).await;
    assert_eq!(got.headers["cache-control"], "no-store", "{got:?}");
    got
}

async fn get(world: &World, path: &str) -> Got {
    ask(oauth_router(Arc::clone(&world.engine), None), Request::get(path).body(Body::empty()).unwrap()).await
}

/// An exchange of this subject token, and more.
fn exchange<'a>(subject: &'a str, kind: &'a str, more: &[(&'a str, &'a str)]) -> Fields<'a> {
    let mut fields = vec![("grant_type", GRANT), ("subject_token", subject), ("subject_token_type", kind)];
    fields.extend_from_slice(more);
    fields
}

/// The same fields without one, or with another value for it.
fn changed<'a>(fields: &[(&'a str, &'a str)], name: &str, value: Option<&'a str>) -> Fields<'a> {
    let with = |(k, v): &(&'a str, &'a str)| if *k == name { value.map(|value| (*k, value)) } else { Some((*k, *v)) };
    fields.iter().filter_map(with).collect()
}

fn refusal(got: &Got) -> (StatusCode, String) {
    assert!(got.json()["error_description"].as_str().is_some_and(|d| !d.is_empty()), "{got:?}");
    assert!(got.json().get("access_token").is_none());
    (got.status, got.json()["error"].as_str().unwrap().to_owned())
}

fn token(got: &Got) -> String {
    assert_eq!(got.status, StatusCode::OK, "{got:?}");
    got.json()["access_token"].as_str().unwrap().to_owned()
}

fn claims(world: &World, token: &str) -> TaskClaims {
    verify_typed(token, AT_JWT_TYP, world.engine.authorities().bundle(), ISSUER, GATEWAY, world.engine.now()).unwrap()
}

#[tokio::test]
async fn it_says_what_it_is() {
    let world = World::start().await;
    let metadata = get(&world, "/.well-known/oauth-authorization-server").await.json();
    assert_eq!(metadata["issuer"], ISSUER);
    assert_eq!(metadata["token_endpoint"], format!("{ISSUER}/oauth/token"));
    assert_eq!(metadata["jwks_uri"], format!("{ISSUER}/oauth/jwks"));
    assert_eq!(metadata["grant_types_supported"], json!([GRANT]));
    assert_eq!(metadata["token_endpoint_auth_methods_supported"], json!(["tls_client_auth"]));
    assert_eq!(metadata["tls_client_certificate_bound_access_tokens"], true);
    let mut uses = Vec::new();
    for path in ["/oauth/jwks", "/spiffe/bundle"] {
        let got = get(&world, path).await;
        assert_eq!((got.status, got.headers["content-type"].to_str().unwrap()), (StatusCode::OK, "application/json"));
        for key in got.json()["keys"].as_array().unwrap() {
            assert!(key["kty"].is_string(), "{key}");
            assert!(key.get("d").is_none(), "no private key");
            uses.push(key["use"].as_str().unwrap().to_owned());
        }
    }
    assert_eq!(uses, ["sig", "x509-svid", "jwt-svid"]);
    let got = get(&world, "/oauth/token").await;
    assert_eq!(got.status, StatusCode::METHOD_NOT_ALLOWED);
}

/// What a relying party that knows no SPIFFE does: from the issuer in a JWT-SVID to the key that signed it.
#[tokio::test]
async fn a_relying_party_finds_the_key_of_a_jwt_svid() {
    let world = World::start().await;
    let agent = world.agent(LEAD).await;
    let token = world.engine.jwt_svid(&agent.instance, &["https://api.example.com".to_owned()]).await.unwrap();
    let part = |index: usize| -> serde_json::Value {
        let text = token.split('.').nth(index).unwrap();
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).unwrap()).unwrap()
    };
    let (header, claims) = (part(0), part(1));
    assert_eq!(claims["iss"], ISSUER);
    assert_eq!(claims["sub"], spiffe(LEAD).to_string());
    assert!(claims["iat"].is_i64() && claims["exp"].is_i64(), "{claims}");

    let document = |got: &Got| {
        assert_eq!((got.status, got.headers["content-type"].to_str().unwrap()), (StatusCode::OK, "application/json"));
        got.json()
    };
    let discovery = document(&get(&world, "/.well-known/openid-configuration").await);
    assert_eq!(discovery["issuer"], claims["iss"]);
    assert_eq!(discovery["id_token_signing_alg_values_supported"], json!([header["alg"]]));
    for member in ["response_types_supported", "subject_types_supported"] {
        assert!(discovery[member].as_array().is_some_and(|values| !values.is_empty()), "{member}: {discovery}");
    }
    let jwks_uri = discovery["jwks_uri"].as_str().unwrap();
    let jwks = document(&get(&world, jwks_uri.strip_prefix(ISSUER).unwrap()).await);
    let keys = jwks["keys"].as_array().unwrap();
    let key = keys.iter().find(|key| key["kid"] == header["kid"]).unwrap_or_else(|| panic!("{header}: {jwks}"));
    assert_eq!((&key["kty"], &key["crv"], &key["use"]), (&json!("EC"), &json!("P-256"), &json!("sig")));
    // The same document, by a reader of issuers' keys.
    let issuer: IssuerUrl = ISSUER.parse().unwrap();
    assert_eq!(world.engine.keys_of(&issuer, discovery.to_string().as_bytes()).unwrap(), jwks_uri);
    let trusted = TrustedIssuer { issuer, audiences: vec!["https://api.example.com".to_owned()] };
    world.engine.trust_issuer(&trusted, jwks.to_string().as_bytes()).unwrap();
    // Neither is changed from outside.
    for path in ["/.well-known/openid-configuration", "/oauth/jwks"] {
        let request = Request::post(path).body(Body::empty()).unwrap();
        let got = ask(oauth_router(Arc::clone(&world.engine), None), request).await;
        assert_eq!(got.status, StatusCode::METHOD_NOT_ALLOWED, "{path}");
    }
}

#[tokio::test]
async fn an_agent_gets_a_token_of_its_task() {
    let world = World::start().await;
    let (lead, task) = (world.agent(LEAD).await, world.task(LEAD, Some("invoke:tool:crm/*")).await);
    let (jwt, id) = (world.jwt(&lead).await, task.id.to_string());
    let more = [("task", id.as_str()), ("audience", GATEWAY), ("requested_token_type", ACCESS)];
    let got = post(&world, Some(&lead), &exchange(&jwt, JWT, &more)).await;
    let json = got.json();
    assert_eq!((&json["token_type"], &json["issued_token_type"]), (&json!("Bearer"), &json!(ACCESS)));
    assert_eq!((&json["scope"], &json["task"]), (&json!("invoke:tool:crm/*"), &json!(id)));
    assert!(json["expires_in"].as_i64().is_some_and(|s| (1..=300).contains(&s)), "{json}");
    let token = token(&got);
    let claims = claims(&world, &token);
    assert_eq!((claims.sub.as_str(), claims.task.as_str(), claims.depth), ("user:alice@example.com", id.as_str(), 0));
    assert_eq!(claims.cnf.x5t_s256.as_ref(), Some(&lead.workload.thumbprint));
    let act = claims.act.unwrap();
    assert_eq!((act.sub, act.act), (spiffe(LEAD).to_string(), None));
    assert!(world.engine.authenticate_token(&token, Some(&lead.workload.thumbprint)).is_ok());

    let narrow =
        post(&world, Some(&lead), &exchange(&jwt, JWT, &[("task", id.as_str()), ("scope", "invoke:tool:crm/find")])).await;
    assert_eq!(narrow.json()["scope"], "invoke:tool:crm/find");
    let wider = post(&world, Some(&lead), &exchange(&jwt, JWT, &[("task", id.as_str()), ("scope", "invoke:tool:*")])).await;
    assert_eq!(refusal(&wider), (StatusCode::BAD_REQUEST, "invalid_scope".to_owned()));
}

#[tokio::test]
async fn a_request_that_is_not_as_it_should_be_is_refused() {
    let world = World::start().await;
    let (lead, task) = (world.agent(LEAD).await, world.task(LEAD, None).await);
    let (jwt, id) = (world.jwt(&lead).await, task.id.to_string());
    let good = exchange(&jwt, JWT, &[("task", id.as_str())]);
    let nobody = post(&world, None, &good).await;
    assert_eq!(refusal(&nobody), (StatusCode::UNAUTHORIZED, "invalid_client".to_owned()));
    let nobody = post(&world, None, &[]).await;
    assert_eq!(refusal(&nobody), (StatusCode::UNAUTHORIZED, "invalid_client".to_owned()));

    let plus = |more: &[(&'static str, &'static str)]| {
        let mut fields = good.clone();
        fields.extend_from_slice(more);
        fields
    };
    let cases = [
        (changed(&good, "grant_type", Some("client_credentials")), "unsupported_grant_type"),
        (changed(&good, "grant_type", None), "invalid_request"),
        (plus(&[("grant_type", GRANT)]), "invalid_request"),
        (changed(&good, "subject_token", None), "invalid_request"),
        (changed(&good, "subject_token", Some("garbage")), "invalid_request"),
        (changed(&good, "subject_token_type", None), "invalid_request"),
        (changed(&good, "subject_token_type", Some(ACCESS)), "invalid_request"),
        (changed(&good, "subject_token_type", Some("urn:ietf:params:oauth:token-type:saml2")), "invalid_request"),
        (changed(&good, "task", None), "invalid_request"),
        (changed(&good, "task", Some("task_1")), "invalid_request"),
        (changed(&good, "task", Some("task_01ARZ3NDEKTSV4RRFFQ69G5FAV")), "invalid_request"),
        (plus(&[("actor_token", "x")]), "invalid_request"),
        (plus(&[("actor_token_type", JWT)]), "invalid_request"),
        (plus(&[("actor_token", "x"), ("actor_token_type", ACCESS)]), "invalid_request"),
        (plus(&[("requested_token_type", JWT)]), "invalid_request"),
        (plus(&[("audience", "https://other.example.org")]), "invalid_target"),
        (plus(&[("resource", "https://other.example.org")]), "invalid_target"),
        (plus(&[("scope", "everything")]), "invalid_scope"),
        (plus(&[("scope", "invoke:tool:cr*")]), "invalid_scope"),
        (plus(&[("scope", "write:dataset:*")]), "invalid_scope"),
    ];
    for (fields, error) in cases {
        let got = post(&world, Some(&lead), &fields).await;
        assert_eq!(refusal(&got), (StatusCode::BAD_REQUEST, error.to_owned()), "{fields:?}");
    }
    assert_eq!(post(&world, Some(&lead), &good).await.status, StatusCode::OK);
    // The JWT-SVID of another, and the task of another.
    let worker = world.agent(WORKER).await;
    assert_eq!(refusal(&post(&world, Some(&worker), &good).await), (StatusCode::BAD_REQUEST, "invalid_request".to_owned()));
    let own = world.jwt(&worker).await;
    let got = post(&world, Some(&worker), &changed(&good, "subject_token", Some(own.as_str()))).await;
    assert_eq!(refusal(&got), (StatusCode::BAD_REQUEST, "invalid_request".to_owned()));
}

/// INVARIANT (I1 narrowing).
#[tokio::test]
async fn a_delegated_token_names_everyone_and_only_narrows() {
    let world = World::start().await;
    let (lead, worker) = (world.agent(LEAD).await, world.agent(WORKER).await);
    let task = world.task(LEAD, Some("invoke:tool:crm/* delegate:identity:agent/*")).await;
    let (jwt, actor, id) = (world.jwt(&lead).await, world.jwt(&worker).await, task.id.to_string());
    let parent = token(&post(&world, Some(&lead), &exchange(&jwt, JWT, &[("task", id.as_str())])).await);
    let acting = [("actor_token", actor.as_str()), ("actor_token_type", JWT), ("purpose", "find Bob")];
    let good = exchange(&parent, ACCESS, &acting);
    let child = token(&post(&world, Some(&worker), &good).await);
    let claims = claims(&world, &child);
    assert_eq!((claims.sub.as_str(), claims.depth, &claims.lineage), ("user:alice@example.com", 1, &vec![id.clone()]));
    assert_eq!((claims.scope.as_str(), claims.client_id), ("invoke:tool:crm/*", spiffe(WORKER).to_string()));
    assert_eq!(claims.cnf.x5t_s256.as_ref(), Some(&worker.workload.thumbprint));
    let act = claims.act.unwrap();
    let before = act.act.unwrap();
    assert_eq!((act.sub, before.sub, before.act), (spiffe(WORKER).to_string(), spiffe(LEAD).to_string(), None));

    for wider in ["invoke:tool:mail/send", "invoke:tool:*", "invoke:service:crm"] {
        let mut fields = good.clone();
        fields.push(("scope", wider));
        let got = post(&world, Some(&worker), &fields).await;
        assert_eq!(refusal(&got), (StatusCode::BAD_REQUEST, "invalid_scope".to_owned()), "{wider}");
    }
    // Without the actor token, with that of another, and without a grant to delegate.
    for fields in [exchange(&parent, ACCESS, &[]), changed(&good, "actor_token", Some(jwt.as_str()))] {
        let got = post(&world, Some(&worker), &fields).await;
        assert_eq!(refusal(&got), (StatusCode::BAD_REQUEST, "invalid_request".to_owned()));
    }
    let got = post(&world, Some(&worker), &exchange(&child, ACCESS, &[])).await;
    assert_eq!(claims_depth(&world, &got), 2, "a holder may narrow its own further");
    let got =
        post(&world, Some(&lead), &exchange(&child, ACCESS, &[("actor_token", jwt.as_str()), ("actor_token_type", JWT)])).await;
    assert_eq!(refusal(&got), (StatusCode::FORBIDDEN, "access_denied".to_owned()), "the worker was given no grant to delegate");
}

fn claims_depth(world: &World, got: &Got) -> u8 {
    claims(world, &token(got)).depth
}
