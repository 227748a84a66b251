//! WIT-SVIDs in the Workload API, as this process itself sees them (checklist lines 16 to 19, 26, 34). Experimental.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use marque_core::identity::Lifecycle;
use marque_core::revocation::Target;
use marque_core::time::Ttl;
use marque_engine::desired::IdentitySpec;
use marque_engine::{AuthorityVerb, EngineError, KeyKind};
use marque_server::pb::workload::{WitBundlesRequest, WitBundlesResponse, WitsvidRequest, WitsvidResponse};
use marque_svid::P256Key;
use marque_svid::wit::{Expectation, Presentation, ProofRequest, prove};
use serde_json::Value;

use crate::grpc::{MARK, Socket};
use crate::world::{LEAD, ME, World, me, spiffe};

const INVALID_ARGUMENT: u16 = 3;
const PERMISSION_DENIED: u16 = 7;
const UNIMPLEMENTED: u16 = 12;
/// What this very process may be besides [`ME`].
const OTHER: &str = "agent/other";
const TARGET: &str = "https://api.example.org/x";

async fn with_wit() -> World {
    let world = World::start_as(|options| options.rotation.wit = true).await;
    world.register_program(ME, std::process::id()).await;
    world
}

fn any() -> WitsvidRequest {
    WitsvidRequest { spiffe_id: String::new() }
}

/// A part of a token: its header or its claims.
fn part(token: &str, index: usize) -> Value {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token.split('.').nth(index).unwrap()).unwrap()).unwrap()
}

#[tokio::test]
async fn line_34_without_the_setting_every_call_is_unimplemented() {
    let world = World::with_me().await;
    let socket = Socket::open(&world.engine).await;
    for mark in [MARK, None] {
        assert_eq!(socket.refused("FetchWITSVID", &any(), mark).await, Some(UNIMPLEMENTED));
        assert_eq!(socket.refused("FetchWITBundles", &WitBundlesRequest {}, mark).await, Some(UNIMPLEMENTED));
    }
    assert!(world.engine.authorities().bundle().wit_keys.is_empty());
    let lead = world.agent(LEAD).await;
    assert!(matches!(world.engine.wit_svid(&lead.instance).await, Err(EngineError::Invalid(_))));
}

#[tokio::test]
async fn line_34_a_wit_svid_comes_with_its_key_and_its_bundle() {
    let world = with_wit().await;
    let socket = Socket::open(&world.engine).await;
    for mark in [None, Some("false")] {
        assert_eq!(socket.refused("FetchWITSVID", &any(), mark).await, Some(INVALID_ARGUMENT));
    }
    let another = WitsvidRequest { spiffe_id: spiffe(LEAD).to_string() };
    assert_eq!(socket.refused("FetchWITSVID", &another, MARK).await, Some(PERMISSION_DENIED));

    let own = WitsvidRequest { spiffe_id: spiffe(ME).to_string() };
    let response: WitsvidResponse = socket.ask("FetchWITSVID", &own).await.unwrap();
    let [svid] = response.svids.as_slice() else { panic!("one identity, one SVID") };
    assert_eq!(svid.spiffe_id, spiffe(ME).to_string());
    let (header, claims) = (part(&svid.wit_svid, 0), part(&svid.wit_svid, 1));
    let key: Value = serde_json::from_str(&svid.wit_svid_key).unwrap();
    assert!(key["d"].is_string());
    assert_eq!((&key["x"], &key["y"]), (&claims["cnf"]["jwk"]["x"], &claims["cnf"]["jwk"]["y"]));

    let bundles: WitBundlesResponse = socket.ask("FetchWITBundles", &WitBundlesRequest {}).await.unwrap();
    let jwks: Value = serde_json::from_str(&bundles.bundles["spiffe://example.org"]).unwrap();
    let keys = jwks["keys"].as_array().unwrap();
    assert!(keys.iter().all(|key| key["use"] == "wit-svid"));
    assert!(keys.iter().any(|key| key["kid"] == header["kid"]));
}

/// Lines 18 and 19, and the rule that a credential names one copy.
#[tokio::test]
async fn line_19_a_wit_svid_is_nobody_elses_and_no_openid_token() {
    let world = with_wit().await;
    let socket = Socket::open(&world.engine).await;
    let response: WitsvidResponse = socket.ask("FetchWITSVID", &any()).await.unwrap();
    let again: WitsvidResponse = socket.ask("FetchWITSVID", &any()).await.unwrap();
    assert_eq!(response.svids[0].wit_svid, again.svids[0].wit_svid, "the same copy has the same one until it is due");
    let claims = part(&response.svids[0].wit_svid, 1);
    assert!(claims.get("iss").is_none() && claims.get("aud").is_none());
    let jti = claims["jti"].as_str().unwrap().parse().unwrap();
    let lease = world.engine.state().check_lease(jti, world.engine.now()).unwrap().clone();
    assert_eq!((lease.class.as_str(), lease.identity), ("wit-svid", spiffe(ME)));

    let (one, two) = (world.agent(LEAD).await, world.agent("agent/worker").await);
    let one = world.engine.current_wit_svid(&one.instance).await.unwrap();
    let two = world.engine.current_wit_svid(&two.instance).await.unwrap();
    let key = |token: &str| part(token, 1)["cnf"]["jwk"]["x"].clone();
    assert_ne!(key(&one.issued.svid.token), key(&two.issued.svid.token));
    assert_ne!(one.issued.lease, two.issued.lease);

    let bundle: Value = serde_json::from_str(&world.engine.authorities().bundle().to_spiffe_json().unwrap()).unwrap();
    let mut kids: Vec<&str> = bundle["keys"].as_array().unwrap().iter().filter_map(|key| key["kid"].as_str()).collect();
    let count = kids.len();
    kids.sort_unstable();
    kids.dedup();
    assert_eq!((kids.len(), count), (2, 2), "a JWT key and a WIT key");
}

/// INVARIANT (I4 revocation is monotone): by its lease, and by all that the lease hangs from.
#[tokio::test]
async fn a_revocation_ends_a_wit_svid() {
    for what in ["lease", "instance", "identity"] {
        let world = with_wit().await;
        let lead = world.agent(LEAD).await;
        let held = world.engine.current_wit_svid(&lead.instance).await.unwrap();
        let (wit, key) = (&held.issued.svid.token, P256Key::from_pkcs8(held.issued.svid.key_pkcs8.clone()).unwrap());
        let now = world.engine.now();
        let proof = ProofRequest {
            wit,
            target: TARGET,
            jti: "proof",
            now,
            ttl: Ttl::from_seconds(60),
            access_token: None,
            transaction_token: None,
            others: &[],
        };
        let proof = prove(&key, proof).unwrap();
        let expected = || Expectation {
            targets: &[TARGET],
            access_token: None,
            transaction_token: None,
            others: &[],
            now: world.engine.now(),
        };
        let shown = || Presentation { wit, proof: &proof };
        assert_eq!(world.engine.validate_wit_svid(shown(), &expected()).unwrap().id, spiffe(LEAD));
        let target = match what {
            "lease" => Target::Lease(held.issued.lease),
            "instance" => Target::Instance(lead.instance.id),
            _ => Target::Identity(spiffe(LEAD)),
        };
        world.engine.revoke(&world.admin, target, "test").await.unwrap();
        let error = world.engine.validate_wit_svid(shown(), &expected()).unwrap_err();
        assert!(matches!(error, EngineError::Dead(_)), "{what}: {error}");
        if what == "lease" {
            let next = world.engine.current_wit_svid(&lead.instance).await.unwrap();
            assert_ne!(next.issued.lease, held.issued.lease);
        } else {
            assert!(world.engine.current_wit_svid(&lead.instance).await.is_err(), "{what}");
        }
    }
}

#[tokio::test]
async fn streams_follow_the_keys_and_end_with_the_caller() {
    let world = with_wit().await;
    let socket = Socket::open(&world.engine).await;
    let mut svids = socket.call("FetchWITSVID", &any(), MARK).await;
    let mut bundles = socket.call("FetchWITBundles", &WitBundlesRequest {}, MARK).await;
    let first: WitsvidResponse = svids.next().await.unwrap();
    let _: WitBundlesResponse = bundles.next().await.unwrap();
    world.engine.change_authority(&world.admin, AuthorityVerb::Taint, KeyKind::Wit, None, "test").await.unwrap();
    let second: WitsvidResponse = svids.next().await.unwrap();
    let kid = |response: &WitsvidResponse| part(&response.svids[0].wit_svid, 0)["kid"].clone();
    assert_ne!(kid(&first), kid(&second));
    let both: WitBundlesResponse = bundles.next().await.unwrap();
    let jwks: Value = serde_json::from_str(&both.bundles["spiffe://example.org"]).unwrap();
    assert_eq!(jwks["keys"].as_array().unwrap().len(), 2);

    world.engine.revoke(&world.admin, Target::Identity(spiffe(ME)), "test").await.unwrap();
    assert_eq!(svids.next::<WitsvidResponse>().await.err(), Some(PERMISSION_DENIED));
    assert_eq!(bundles.next::<WitBundlesResponse>().await.err(), Some(PERMISSION_DENIED));
}

/// A stream of one identity is of that one, whatever else the caller becomes, and ends with it.
#[tokio::test]
async fn a_stream_of_one_identity_shows_no_other() {
    let world = World::start_as(|options| options.rotation.wit = true).await;
    let hinted = |name: &str, hint: &str| IdentitySpec { hint: Some(hint.into()), ..me(name) };
    world.register(hinted(ME, "inside")).await.unwrap();
    world.register(hinted(OTHER, "outside")).await.unwrap();
    let socket = Socket::open(&world.engine).await;
    let own = WitsvidRequest { spiffe_id: spiffe(ME).to_string() };
    let mut stream = socket.call("FetchWITSVID", &own, MARK).await;
    let shown = |response: &WitsvidResponse| {
        response.svids.iter().map(|svid| (svid.spiffe_id.clone(), svid.hint.clone())).collect::<Vec<_>>()
    };
    let first: WitsvidResponse = stream.next().await.unwrap();
    assert_eq!(shown(&first), [(spiffe(ME).to_string(), "inside".to_owned())]);
    world.register(hinted(ME, "within")).await.unwrap();
    let second: WitsvidResponse = stream.next().await.unwrap();
    assert_eq!(shown(&second), [(spiffe(ME).to_string(), "within".to_owned())]);
    world.engine.move_identity(&world.admin, ME, Lifecycle::Suspended, "test").await.unwrap();
    assert_eq!(stream.refusal().await, Some(PERMISSION_DENIED), "the other one is still there, and was not asked for");
}

/// A state directory from before the setting: the key is made when time passes.
#[tokio::test]
async fn a_key_for_wit_svids_comes_after_the_setting() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("state");
    let options = || {
        let (domain, person) = ("example.org".parse().unwrap(), crate::world::person(crate::world::ADMIN));
        marque_engine::Options::new(domain, person, crate::world::ISSUER.into())
    };
    drop(marque_engine::Engine::open(&root, marque_engine::Env::system(), options()).await.unwrap());
    let mut with = options();
    with.rotation.wit = true;
    let engine = marque_engine::Engine::open(&root, marque_engine::Env::system(), with).await.unwrap();
    assert!(engine.authorities().bundle().wit_keys.is_empty());
    assert!(engine.rotate(KeyKind::Wit).await.unwrap());
    assert_eq!(engine.authorities().bundle().wit_keys.len(), 1);
}
