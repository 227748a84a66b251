//! CI jobs and pods: another issuer's token attests, and nothing else of it counts.

use marque_core::event::Body;
use marque_core::identity::{Kind, Lifecycle};
use marque_core::revocation::Target;
use marque_core::time::Ttl;
use marque_engine::desired::{Desired, IdentitySpec};
use marque_engine::{EngineError, TrustedIssuer};
use marque_svid::{Authority, Bundle};
use serde_json::json;

use crate::world::World;

const ISSUER: &str = "https://token.actions.example.com";
const AUDIENCE: &str = "https://marque.example.org";

/// An issuer with its key, and a world that trusts it.
struct Platform {
    key: Authority,
    world: World,
}

impl Platform {
    async fn new() -> Self {
        let world = World::empty().await;
        let key = Authority::generate(&"ci.example".parse().unwrap(), world.engine.now(), Ttl::from_minutes(60 * 24)).unwrap();
        let job = IdentitySpec {
            name: "pipeline/deploy".into(),
            kind: Kind::PipelineStep,
            owner: "alice@example.com".parse().unwrap(),
            purpose: "deploys".into(),
            selectors: ["oidc:claim_repository:acme/shop", "oidc:claim_ref:refs/heads/main"].map(|s| s.parse().unwrap()).into(),
            hint: None,
            nodes: Default::default(),
            ceiling: "invoke:tool:crm/*".parse().unwrap(),
            state: Lifecycle::Active,
        };
        let desired = Desired { identities: vec![job], ..Desired::default() };
        world.engine.apply(&world.admin, &desired).await.unwrap();
        let trusted = TrustedIssuer { issuer: ISSUER.parse().unwrap(), audiences: vec![AUDIENCE.into()] };
        let jwks = Bundle::of(&[&key], 1).unwrap().oauth_jwks_json().unwrap();
        world.engine.trust_issuer(&trusted, jwks.as_bytes()).unwrap();
        Self { key, world }
    }

    fn token(&self, change: impl FnOnce(&mut serde_json::Value)) -> String {
        let now = self.world.engine.now().seconds();
        let mut claims = json!({
            "iss": ISSUER, "sub": "repo:acme/shop:ref:refs/heads/main", "aud": AUDIENCE, "iat": now, "nbf": now - 5,
            "exp": now + 600, "jti": "job-1", "repository": "acme/shop", "ref": "refs/heads/main", "run_id": "77",
        });
        change(&mut claims);
        self.key.sign("JWT", &claims).unwrap()
    }
}

#[tokio::test]
async fn a_job_is_the_identity_whose_claims_it_has() {
    let ci = Platform::new().await;
    let token = ci.token(|_| {});
    let instance = ci.world.engine.attest_token(&token).await.unwrap();
    assert_eq!(instance.identity.to_string(), "spiffe://example.org/pipeline/deploy");
    assert_eq!((instance.attestation.method.as_str(), instance.attestation.pid), ("oidc", 0));
    let svid = ci.world.engine.jwt_svid(&instance, &["https://api.example.org".into()]).await.unwrap();
    assert!(ci.world.engine.validate_jwt_svid(&svid, Some("https://api.example.org")).is_ok());
    // Another step has another token, and is another instance.
    let other = ci.token(|c| c["jti"] = json!("job-1-step-2"));
    let step = ci.world.engine.attest_token(&other).await.unwrap();
    assert_ne!(step.id, instance.id);
    // The same token, later, is the same instance, unless that was revoked.
    ci.world.advance(30);
    assert_eq!(ci.world.engine.attest_token(&token).await.unwrap(), instance);
    assert_eq!(ci.world.state().instances.len(), 2);
    ci.world.engine.revoke(&ci.world.admin, Target::Instance(step.id), "lost").await.unwrap();
    let again = ci.world.engine.attest_token(&other).await.unwrap();
    assert_ne!(again.id, step.id);
    assert!(ci.world.state().check_instance(again.id).is_ok() && ci.world.state().check_instance(step.id).is_err());
    // It ends with its token, and with it everything that it holds.
    ci.world.advance(601);
    ci.world.tick().await;
    assert!(ci.world.state().check_instance(instance.id).is_err());
    assert!(ci.world.engine.jwt_svid(&instance, &["https://api.example.org".into()]).await.is_err());
}

#[tokio::test]
async fn what_is_not_quite_right_is_nobody() {
    let ci = Platform::new().await;
    let engine = &ci.world.engine;
    let now = engine.now().seconds();
    type Change = Box<dyn Fn(&mut serde_json::Value)>;
    let wrong: Vec<(&str, Change)> = vec![
        ("another repository", Box::new(|c| c["repository"] = json!("acme/other"))),
        ("another branch", Box::new(|c| c["ref"] = json!("refs/heads/evil"))),
        ("another issuer", Box::new(|c| c["iss"] = json!("https://evil.example.com"))),
        ("another audience", Box::new(|c| c["aud"] = json!("https://other.example.org"))),
        ("no audience", Box::new(|c| c["aud"] = json!(null))),
        ("expired", Box::new(move |c| c["exp"] = json!(now - 120))),
        ("of tomorrow", Box::new(move |c| c["nbf"] = json!(now + 86_400))),
        ("no end", Box::new(|c| c["exp"] = json!(null))),
    ];
    for (name, change) in wrong {
        assert!(engine.attest_token(&ci.token(|c| change(c))).await.is_err(), "{name}");
    }
    let stranger = Authority::generate(&"evil.example".parse().unwrap(), engine.now(), Ttl::from_minutes(60)).unwrap();
    let claims = json!({ "iss": ISSUER, "sub": "x", "aud": AUDIENCE, "iat": now, "exp": now + 600, "repository": "acme/shop", "ref": "refs/heads/main" });
    assert!(engine.attest_token(&stranger.sign("JWT", &claims).unwrap()).await.is_err(), "another key");
    for junk in ["", "a.b.c", "eyJhbGciOiJub25lIn0.e30."] {
        let refused = engine.attest_token(junk).await.unwrap_err();
        assert!(!matches!(refused, EngineError::Store(_)), "{refused}");
    }
    assert!(ci.world.state().instances.is_empty());
}

/// Whoever asks chooses the token, and neither fills the log nor writes into it.
#[tokio::test]
async fn a_token_that_does_not_verify_is_recorded_once_a_minute() {
    let ci = Platform::new().await;
    let refused = async || {
        let events = ci.world.events().await;
        let told = events.into_iter().filter_map(|event| match event.what {
            Body::AttestationRefused { why } => Some(why),
            _ => None,
        });
        told.collect::<Vec<_>>()
    };
    let bad = |n: u32| ci.token(|c| c["aud"] = json!(format!("https://chosen-{n}.example.com")));
    for n in 0..5 {
        assert!(ci.world.engine.attest_token(&bad(n)).await.is_err());
    }
    assert_eq!(refused().await, ["oidc: what was shown does not verify"]);
    ci.world.advance(61);
    assert!(ci.world.engine.attest_token(&bad(6)).await.is_err());
    assert_eq!(refused().await.len(), 2);
}
