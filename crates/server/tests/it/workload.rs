//! The SPIFFE Workload API, as this process itself sees it.

use std::sync::Arc;

use marque_core::revocation::Target;
use marque_engine::parent_of;
use marque_server::pb::workload::{
    JwtBundlesRequest, JwtBundlesResponse, JwtsvidRequest, JwtsvidResponse, ValidateJwtsvidRequest, ValidateJwtsvidResponse,
    X509BundlesRequest, X509BundlesResponse, X509svidRequest, X509svidResponse,
};
use marque_server::source::Local;
use marque_svid::{verify_jwt_svid, verify_x509_svid};
use serde_json::Value;

use crate::grpc::{MARK, Socket};
use crate::world::{LEAD, ME, World, spiffe};

pub(crate) const INVALID_ARGUMENT: u16 = 3;
pub(crate) const PERMISSION_DENIED: u16 = 7;
pub(crate) const UNIMPLEMENTED: u16 = 12;
pub(crate) const AUDIENCE: &str = "https://api.example.org";

pub(crate) fn jwt_for(audience: &[&str]) -> JwtsvidRequest {
    JwtsvidRequest { audience: audience.iter().map(|a| (*a).to_owned()).collect(), spiffe_id: String::new() }
}

pub(crate) fn validate(audience: &str, svid: &str) -> ValidateJwtsvidRequest {
    ValidateJwtsvidRequest { audience: audience.to_owned(), svid: svid.to_owned() }
}

/// The status of every method, with good requests.
async fn statuses(socket: &Socket, mark: Option<&str>) -> [Option<u16>; 5] {
    [
        socket.refused("FetchX509SVID", &X509svidRequest {}, mark).await,
        socket.refused("FetchX509Bundles", &X509BundlesRequest {}, mark).await,
        socket.refused("FetchJWTSVID", &jwt_for(&[AUDIENCE]), mark).await,
        socket.refused("FetchJWTBundles", &JwtBundlesRequest {}, mark).await,
        socket.refused("ValidateJWTSVID", &validate(AUDIENCE, "x"), mark).await,
    ]
}

#[tokio::test]
async fn every_call_carries_the_security_header() {
    let world = World::with_me().await;
    let socket = Socket::open(&world.engine).await;
    let size = world.engine.log_size();
    for mark in [None, Some("false"), Some(""), Some("TRUE")] {
        assert_eq!(statuses(&socket, mark).await, [Some(INVALID_ARGUMENT); 5], "{mark:?}");
    }
    assert_eq!(world.engine.log_size(), size, "nobody was even looked at");
}

#[tokio::test]
async fn a_process_without_an_identity_gets_nothing() {
    let world = World::start().await;
    let socket = Socket::open(&world.engine).await;
    assert_eq!(statuses(&socket, MARK).await, [Some(PERMISSION_DENIED); 5]);
    assert!(world.engine.state().leases.is_empty());
}

#[tokio::test]
async fn what_is_not_there_is_unimplemented() {
    let world = World::with_me().await;
    let socket = Socket::open(&world.engine).await;
    assert_eq!(socket.refused("FetchEverything", &X509svidRequest {}, MARK).await, Some(UNIMPLEMENTED));
}

#[tokio::test]
async fn an_x509_svid_verifies_against_its_bundle() {
    let world = World::with_me().await;
    let socket = Socket::open(&world.engine).await;
    let response: X509svidResponse = socket.ask("FetchX509SVID", &X509svidRequest {}).await.unwrap();
    assert_eq!(response.svids.len(), 1);
    let svid = &response.svids[0];
    assert_eq!(svid.spiffe_id, spiffe(ME).to_string());
    assert!(!svid.x509_svid_key.is_empty());
    assert_eq!(svid.bundle, world.engine.authorities().bundle().x509_authorities.concat());
    let chain = [svid.x509_svid.as_slice()];
    let verified = verify_x509_svid(&chain, world.engine.authorities().bundle(), world.engine.now()).unwrap();
    assert_eq!(verified.id, spiffe(ME));
    assert_eq!(world.engine.authenticate_certificate(&chain).unwrap().identity, spiffe(ME));

    let bundles: X509BundlesResponse = socket.ask("FetchX509Bundles", &X509BundlesRequest {}).await.unwrap();
    assert_eq!(bundles.bundles.len(), 1);
    assert_eq!(bundles.bundles["spiffe://example.org"], svid.bundle);
    let bundles: JwtBundlesResponse = socket.ask("FetchJWTBundles", &JwtBundlesRequest {}).await.unwrap();
    let jwks: Value = serde_json::from_slice(&bundles.bundles["spiffe://example.org"]).unwrap();
    assert_eq!(jwks["keys"][0]["use"], "jwt-svid");
}

#[tokio::test]
async fn a_jwt_svid_is_for_its_audience() {
    let world = World::with_me().await;
    let socket = Socket::open(&world.engine).await;
    for audience in [&[] as &[&str], &[""], &[AUDIENCE, ""]] {
        assert_eq!(socket.refused("FetchJWTSVID", &jwt_for(audience), MARK).await, Some(INVALID_ARGUMENT), "{audience:?}");
    }
    let another = JwtsvidRequest { spiffe_id: spiffe(LEAD).to_string(), ..jwt_for(&[AUDIENCE]) };
    assert_eq!(socket.refused("FetchJWTSVID", &another, MARK).await, Some(PERMISSION_DENIED));

    let own = JwtsvidRequest { spiffe_id: spiffe(ME).to_string(), ..jwt_for(&[AUDIENCE]) };
    let response: JwtsvidResponse = socket.ask("FetchJWTSVID", &own).await.unwrap();
    assert_eq!(response.svids.len(), 1);
    let svid = &response.svids[0];
    assert_eq!(svid.spiffe_id, spiffe(ME).to_string());
    let verified = verify_jwt_svid(&svid.svid, world.engine.authorities().bundle(), Some(AUDIENCE), world.engine.now()).unwrap();
    assert_eq!(verified.id, spiffe(ME));

    let valid: ValidateJwtsvidResponse = socket.ask("ValidateJWTSVID", &validate(AUDIENCE, &svid.svid)).await.unwrap();
    assert_eq!(valid.spiffe_id, spiffe(ME).to_string());
    let claims = valid.claims.unwrap().fields;
    assert_eq!(claims["sub"].kind, Some(prost_types::value::Kind::StringValue(spiffe(ME).to_string())));
    let cut = &svid.svid[..svid.svid.len() - 4];
    for bad in [
        validate("https://other.example.org", &svid.svid),
        validate(AUDIENCE, cut),
        validate("", &svid.svid),
        validate(AUDIENCE, ""),
    ] {
        assert_eq!(socket.refused("ValidateJWTSVID", &bad, MARK).await, Some(INVALID_ARGUMENT));
    }
    let lease = verified.claims["jti"].as_str().unwrap().parse().unwrap();
    world.engine.revoke(&world.admin, Target::Lease(lease), "test").await.unwrap();
    let revoked = validate(AUDIENCE, &svid.svid);
    assert_eq!(socket.refused("ValidateJWTSVID", &revoked, MARK).await, Some(INVALID_ARGUMENT));
}

/// INVARIANT (I4 revocation is monotone): who is no longer who it was is told so at once.
#[tokio::test]
async fn a_revocation_ends_the_streams() {
    for what in ["instance", "identity"] {
        let world = World::with_me().await;
        let socket = Socket::open(&world.engine).await;
        let mut svids = socket.call("FetchX509SVID", &X509svidRequest {}, MARK).await;
        let first: X509svidResponse = svids.next().await.unwrap();
        let mut bundles = socket.call("FetchX509Bundles", &X509BundlesRequest {}, MARK).await;
        let _: X509BundlesResponse = bundles.next().await.unwrap();
        let instance = world.engine.state().instances.values().find(|i| i.identity == spiffe(ME)).map(|i| i.id).unwrap();
        let target = if what == "instance" { Target::Instance(instance) } else { Target::Identity(spiffe(ME)) };
        world.engine.revoke(&world.admin, target, "test").await.unwrap();
        assert_eq!(svids.next::<X509svidResponse>().await.err(), Some(PERMISSION_DENIED), "{what}");
        assert_eq!(bundles.next::<X509BundlesResponse>().await.err(), Some(PERMISSION_DENIED), "{what}");
        assert!(world.engine.authenticate_certificate(&[first.svids[0].x509_svid.as_slice()]).is_err(), "{what}");
        if what == "identity" {
            assert_eq!(statuses(&socket, MARK).await, [Some(PERMISSION_DENIED); 5]);
        }
    }
}

/// INVARIANT (I4 revocation is monotone): what a launched copy holds ends with its task, however that ends.
#[tokio::test]
async fn the_streams_of_a_launch_end_with_its_task() {
    for what in ["finished", "revoked"] {
        let world = World::with_me().await;
        let task = world.task(ME, None).await;
        let launcher = parent_of(std::process::id()).unwrap();
        let launch = world.engine.launch(&world.alice, &spiffe(ME), task.id, launcher).unwrap();
        let socket = Socket::over(Local::of(Arc::clone(&world.engine), Some(launch))).await;
        let mut svids = socket.call("FetchX509SVID", &X509svidRequest {}, MARK).await;
        let _: X509svidResponse = svids.next().await.unwrap();
        let mut bundles = socket.call("FetchX509Bundles", &X509BundlesRequest {}, MARK).await;
        let _: X509BundlesResponse = bundles.next().await.unwrap();
        match what {
            "finished" => world.engine.finish_task(&world.alice, task.id).await.unwrap(),
            _ => drop(world.engine.revoke(&world.admin, Target::Task(task.id), "test").await.unwrap()),
        }
        assert_eq!(svids.refusal().await, Some(PERMISSION_DENIED), "{what}");
        assert_eq!(bundles.refusal().await, Some(PERMISSION_DENIED), "{what}");
    }
}
