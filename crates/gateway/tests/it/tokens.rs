//! On mutual TLS: a task token, bound to the certificate of the connection, on every request.

use http::{HeaderValue, StatusCode};
use marque_core::revocation::Target;
use marque_gateway::Peer;
use serde_json::json;

use crate::client::{Asked, Got, call, values};
use crate::world::{Agent, LEAD, OTHER, SECRET, World};

fn peer(agent: &Agent) -> Peer {
    Peer::Tls { thumbprint: agent.workload.thumbprint.clone() }
}

fn with(credentials: &[&str]) -> Asked {
    let mut request = call("find", json!({}));
    for value in credentials {
        request.headers_mut().append("authorization", HeaderValue::from_str(value).unwrap());
    }
    request
}

async fn ask(world: &World, agent: &Agent, credentials: &[&str]) -> Got {
    world.connect(peer(agent)).await.ask(with(credentials)).await
}

#[tokio::test]
async fn only_a_live_token_of_this_certificate_comes_in() {
    let world = World::start().await;
    let (lead, other) = (world.agent(LEAD).await, world.agent(OTHER).await);
    let task = world.task(LEAD, None).await;
    let token = world.token(&lead, &task).await;
    let [bearer, lower] = ["Bearer", "bearer"].map(|scheme| format!("{scheme} {token}"));
    let svid = format!("Bearer {}", world.jwt(&lead).await);
    let (token, bearer, lower, svid) = (token.as_str(), bearer.as_str(), lower.as_str(), svid.as_str());
    let cut = &bearer[..bearer.len() - 4];
    let bad: [&[&str]; 8] =
        [&[], &["Bearer"], &["Bearer garbage"], &["Basic YTpi"], &[token], &[svid], &[cut], &[bearer, bearer]];
    for credentials in bad {
        let got = ask(&world, &lead, credentials).await;
        assert_eq!((got.status, got.json()["error"].as_str()), (StatusCode::UNAUTHORIZED, Some("invalid_token")));
        assert_eq!(values(&got.headers, "www-authenticate"), ["Bearer error=\"invalid_token\""]);
    }
    assert_eq!(ask(&world, &other, &[bearer]).await.status, StatusCode::UNAUTHORIZED, "it is bound to another certificate");
    let nobody = world.connect(Peer::Tls { thumbprint: String::new() }).await.ask(with(&[bearer])).await;
    assert_eq!(nobody.status, StatusCode::UNAUTHORIZED);
    assert!(world.server.seen().is_empty());
    assert!(world.rows().is_empty());

    let got = ask(&world, &lead, &[bearer]).await;
    assert_eq!(got.decision(), "allow");
    let seen = world.server.seen().pop().unwrap();
    assert_eq!(values(&seen.headers, "authorization"), [format!("Bearer {SECRET}")], "no token passes through");
    assert_eq!(ask(&world, &lead, &[lower]).await.decision(), "allow", "schemes have no case");

    world.engine.revoke(&world.admin, Target::Task(task.id), "test").await.unwrap();
    assert_eq!(ask(&world, &lead, &[bearer]).await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(world.server.calls("find"), 2);
}

#[tokio::test]
async fn a_token_ends_while_its_connection_goes_on() {
    let world = World::start().await;
    let lead = world.agent(LEAD).await;
    let bearer = format!("Bearer {}", world.token(&lead, &world.task(LEAD, None).await).await);
    let mut client = world.connect(peer(&lead)).await;
    assert_eq!(client.ask(with(&[bearer.as_str()])).await.decision(), "allow");
    world.advance(5 * 60);
    assert_eq!(client.ask(with(&[bearer.as_str()])).await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(world.server.calls("find"), 1);
}
