//! Lines 42 to 45 of the SPIFFE conformance checklist: the Broker API, by a broker on mutual TLS and with a workload that is a
//! process of its own. Experimental.

mod scene;

use std::collections::BTreeSet;
use std::sync::Arc;

use marque_core::attestation::Attestation;
use marque_core::revocation::Target;
use marque_core::time::Ttl;
use marque_engine::Observed;
use marque_engine::desired::IdentitySpec;
use marque_server::broker::{Brokers, REVISION};
use marque_server::launch::Launches;
use marque_server::pb::broker::{
    FetchJwtsvidRequest, FetchJwtsvidResponse, SubscribeToJwtBundlesRequest, SubscribeToJwtBundlesResponse,
    SubscribeToX509BundlesRequest, SubscribeToX509BundlesResponse, SubscribeToX509svidResponse, WorkloadPidReference,
    WorkloadReference, api_server,
};
use marque_svid::verify_jwt_svid;
use prost::Message as _;

use self::scene::{AUDIENCE, PID_REFERENCE, SLEEPER, Scene, jwt_of, packed, process, reason, refusal, x509_of};
use crate::grpc::MARK;
use crate::world::{LEAD, NoDoor, WORKER, World, program, spiffe};

const INVALID_ARGUMENT: u16 = 3;
const NOT_FOUND: u16 = 5;
const PERMISSION_DENIED: u16 = 7;
const UNIMPLEMENTED: u16 = 12;
const UNAUTHENTICATED: u16 = 16;

#[tokio::test]
async fn line_42_brokers_are_allowed_by_name_on_mutual_tls_with_the_security_header() {
    assert_eq!(REVISION, "665a28f3");
    let scene = Scene::with_sleeper().await;
    assert!(!scene.is_answered(None).await, "a client without a certificate");
    let stranger = World::start().await;
    let theirs = stranger.agent(LEAD).await;
    let theirs = stranger.engine.x509_svid(&theirs.instance).await.unwrap();
    assert!(!scene.is_answered(Some(&theirs)).await, "a certificate of other keys");
    let revoked = scene.world.agent(LEAD).await;
    let revoked = scene.world.engine.x509_svid(&revoked.instance).await.unwrap();
    assert!(scene.is_answered(Some(&revoked)).await);
    scene.world.engine.revoke(&scene.world.admin, Target::Lease(revoked.lease), "test").await.unwrap();
    assert!(!scene.is_answered(Some(&revoked)).await, "a certificate that was revoked");

    let (broker, other) = (scene.broker(LEAD).await, scene.broker(WORKER).await);
    let asked = process(scene.sleeper.pid());
    assert_eq!(other.statuses(asked.clone(), MARK).await, [Some(PERMISSION_DENIED); 4], "a workload that is no broker");
    for mark in [None, Some("false"), Some("TRUE"), Some("")] {
        assert_eq!(broker.statuses(asked.clone(), mark).await, [Some(INVALID_ARGUMENT); 4], "{mark:?}");
    }
    assert_eq!(broker.statuses(asked, MARK).await, [None; 4]);
}

#[tokio::test]
async fn line_43_each_refusal_of_a_reference_has_its_status_and_reason() {
    let mut scene = Scene::start().await;
    let broker = scene.broker(LEAD).await;
    let invalid = refusal(INVALID_ARGUMENT, "WORKLOAD_REFERENCE_INVALID");
    let own = WorkloadPidReference { pid: scene.sleeper.pid() }.encode_to_vec();
    for (what, reference) in [
        ("none", None),
        ("an empty one", Some(WorkloadReference { reference: None })),
        ("no process", process(0)),
        ("a negative one", process(-1)),
        ("no message", packed(PID_REFERENCE, vec![0xff])),
        ("an unknown type", packed("type.googleapis.com/example.Reference", own.clone())),
        ("an object of Kubernetes", packed("type.googleapis.com/spiffe.broker.KubernetesObjectReference", Vec::new())),
        ("a type without a domain", packed("spiffe.broker.WorkloadPIDReference", own)),
    ] {
        assert_eq!(broker.refused(reference.clone()).await, invalid, "{what}");
        assert_eq!(broker.statuses(reference, MARK).await, [Some(INVALID_ARGUMENT); 4], "{what}");
    }
    let asked = process(scene.sleeper.pid());
    assert_eq!(broker.refused(asked.clone()).await, refusal(PERMISSION_DENIED, "WORKLOAD_NOT_ENTITLED"), "it is nobody");
    scene.world.register_program(SLEEPER, scene.sleeper.0.id()).await;
    assert_eq!(broker.statuses(asked.clone(), MARK).await, [None; 4]);
    let another = FetchJwtsvidRequest { spiffe_id: spiffe(WORKER).to_string(), ..jwt_of(scene.sleeper.pid()) };
    let another = reason(&mut broker.call("FetchJWTSVID", &another, MARK).await).await;
    assert_eq!(another, refusal(PERMISSION_DENIED, "WORKLOAD_NOT_ENTITLED"));
    scene.sleeper.end();
    assert_eq!(broker.refused(asked).await, refusal(NOT_FOUND, "WORKLOAD_NOT_FOUND"));
}

#[tokio::test]
async fn line_44_the_server_looks_itself_and_stops_with_the_workload() {
    let mut scene = Scene::with_sleeper().await;
    let engine = Arc::clone(&scene.world.engine);
    let broker = scene.broker(LEAD).await;
    let mut stream = broker.call("SubscribeToX509SVID", &x509_of(scene.sleeper.pid()), MARK).await;
    let mut bundles = broker
        .call("SubscribeToX509Bundles", &SubscribeToX509BundlesRequest { reference: process(scene.sleeper.pid()) }, MARK)
        .await;
    let first: SubscribeToX509svidResponse = stream.next().await.unwrap();
    let _: SubscribeToX509BundlesResponse = bundles.next().await.unwrap();
    let chain = [first.svids[0].x509_svid.as_slice()];
    let workload = engine.authenticate_certificate(&chain).unwrap();
    assert_eq!(workload.identity, spiffe(SLEEPER));
    let instance = engine.instance(workload.instance).unwrap();
    assert_eq!(i32::try_from(instance.attestation.pid).unwrap(), scene.sleeper.pid());
    let own = engine.current_x509_svid(&instance).await.unwrap();
    assert_ne!(own.issued.lease, workload.lease, "what the broker holds is a credential of its own");
    let again: SubscribeToX509svidResponse = broker.ask("SubscribeToX509SVID", &x509_of(scene.sleeper.pid())).await.unwrap();
    assert_eq!(again.svids[0].x509_svid, first.svids[0].x509_svid);

    scene.sleeper.end();
    engine.tick().await.unwrap();
    assert_eq!(reason(&mut stream).await, refusal(NOT_FOUND, "WORKLOAD_NOT_FOUND"));
    assert_eq!(reason(&mut bundles).await, refusal(NOT_FOUND, "WORKLOAD_NOT_FOUND"));
    assert!(engine.authenticate_certificate(&chain).is_err());
}

/// A process number is nothing to a broker that is no process of this host.
#[tokio::test]
async fn line_44_process_numbers_do_not_cross_hosts() {
    let scene = Scene::with_sleeper().await;
    let engine = &scene.world.engine;
    let selectors = BTreeSet::from([format!("unix:name:{LEAD}").parse().unwrap()]);
    let until = Some(engine.now().plus(Ttl::from_minutes(60)));
    let remote = Observed(Attestation { method: "oidc".into(), pid: 0, started: 0, selectors, until, node: None });
    let remote = engine.attest(remote, None).await.unwrap();
    let broker = scene.broker_of(&remote).await;
    let invalid = refusal(INVALID_ARGUMENT, "WORKLOAD_REFERENCE_INVALID");
    assert_eq!(broker.refused(process(scene.sleeper.pid())).await, invalid);
}

/// A refusal in the middle of a stream says why, as one at its beginning does.
#[tokio::test]
async fn line_43_a_stream_ends_with_its_reason() {
    let scene = Scene::with_sleeper().await;
    let broker = scene.broker(LEAD).await;
    let mut stream = broker.call("SubscribeToX509SVID", &x509_of(scene.sleeper.pid()), MARK).await;
    let _: SubscribeToX509svidResponse = stream.next().await.unwrap();
    let nobody = BTreeSet::from(["unix:name:nobody".parse().unwrap()]);
    let changed = IdentitySpec { selectors: nobody, ..program(SLEEPER, scene.sleeper.0.id()) };
    scene.world.register(changed).await.unwrap();
    assert_eq!(reason(&mut stream).await, refusal(PERMISSION_DENIED, "WORKLOAD_NOT_ENTITLED"), "its entry is another's");

    let scene = Scene::with_sleeper().await;
    let (world, broker) = (&scene.world, scene.broker(LEAD).await);
    let mut stream = broker.call("SubscribeToX509SVID", &x509_of(scene.sleeper.pid()), MARK).await;
    let first: SubscribeToX509svidResponse = stream.next().await.unwrap();
    let workload = world.engine.authenticate_certificate(&[first.svids[0].x509_svid.as_slice()]).unwrap();
    world.engine.revoke(&world.admin, Target::Instance(workload.instance), "test").await.unwrap();
    assert_eq!(reason(&mut stream).await, refusal(PERMISSION_DENIED, "WORKLOAD_NOT_ENTITLED"), "it was revoked");
}

/// Entries that change make no other copy of a launched process.
#[tokio::test]
async fn line_44_a_launched_process_stays_a_process_of_its_launch() {
    let mut scene = Scene::with_sleeper().await;
    let engine = Arc::clone(&scene.world.engine);
    let task = scene.world.task(SLEEPER, None).await;
    let dir = tempfile::tempdir().unwrap();
    let launches = Arc::new(Launches::new(Arc::clone(&engine), dir.path().to_owned(), Arc::new(NoDoor)));
    let launch = engine.launch(&scene.world.alice, &spiffe(SLEEPER), task.id, std::process::id()).unwrap();
    launches.open(launch, false).await.unwrap();
    scene.brokers = Brokers::new(Arc::clone(&engine), Some(launches), BTreeSet::from([spiffe(LEAD)]));
    let broker = scene.broker(LEAD).await;
    let mut stream = broker.call("SubscribeToX509SVID", &x509_of(scene.sleeper.pid()), MARK).await;
    let first: SubscribeToX509svidResponse = stream.next().await.unwrap();
    let workload = engine.authenticate_certificate(&[first.svids[0].x509_svid.as_slice()]).unwrap();
    assert_eq!(engine.instance(workload.instance).unwrap().task, Some(task.id));
    let changed = IdentitySpec { hint: Some("behind the mesh".into()), ..program(SLEEPER, scene.sleeper.0.id()) };
    scene.world.register(changed).await.unwrap();
    let second: SubscribeToX509svidResponse = stream.next().await.unwrap();
    assert_eq!(second.svids[0].hint, "behind the mesh");
    assert_eq!(second.svids[0].x509_svid, first.svids[0].x509_svid, "it is the same copy");

    // It ends with its task, though the process goes on.
    let asked = SubscribeToX509BundlesRequest { reference: process(scene.sleeper.pid()) };
    let mut bundles = broker.call("SubscribeToX509Bundles", &asked, MARK).await;
    let _: SubscribeToX509BundlesResponse = bundles.next().await.unwrap();
    engine.finish_task(&scene.world.alice, task.id).await.unwrap();
    assert_eq!(reason(&mut stream).await, refusal(PERMISSION_DENIED, "WORKLOAD_NOT_ENTITLED"));
    assert_eq!(reason(&mut bundles).await, refusal(PERMISSION_DENIED, "WORKLOAD_NOT_ENTITLED"));
}

/// INVARIANT (I4 revocation is monotone): of the workload, and of the broker.
#[tokio::test]
async fn line_44_a_revocation_of_either_ends_the_streams() {
    for (revoked, code) in [(SLEEPER, PERMISSION_DENIED), (LEAD, UNAUTHENTICATED)] {
        let scene = Scene::with_sleeper().await;
        let broker = scene.broker(LEAD).await;
        let mut stream = broker.call("SubscribeToX509SVID", &x509_of(scene.sleeper.pid()), MARK).await;
        let _: SubscribeToX509svidResponse = stream.next().await.unwrap();
        scene.world.engine.revoke(&scene.world.admin, Target::Identity(spiffe(revoked)), "test").await.unwrap();
        assert_eq!(stream.next::<SubscribeToX509svidResponse>().await.err(), Some(code), "{revoked}");
        assert_eq!(broker.statuses(process(scene.sleeper.pid()), MARK).await, [Some(code); 4], "{revoked}");
    }
}

#[tokio::test]
async fn line_45_the_four_calls_of_the_standard_and_no_other() {
    assert_eq!(api_server::SERVICE_NAME, "spiffe.broker.API");
    let scene = Scene::with_sleeper().await;
    let (engine, pid) = (&scene.world.engine, scene.sleeper.pid());
    let broker = scene.broker(LEAD).await;
    let set = engine.authorities();
    let (domain, roots) = ("spiffe://example.org", set.bundle().x509_authorities.concat());

    let x509: SubscribeToX509svidResponse = broker.ask("SubscribeToX509SVID", &x509_of(pid)).await.unwrap();
    assert_eq!((x509.svids.len(), &x509.svids[0].spiffe_id), (1, &spiffe(SLEEPER).to_string()));
    assert!(!x509.svids[0].x509_svid_key.is_empty());
    assert_eq!(x509.svids[0].bundle, roots);
    let asked = SubscribeToX509BundlesRequest { reference: process(pid) };
    let bundles: SubscribeToX509BundlesResponse = broker.ask("SubscribeToX509Bundles", &asked).await.unwrap();
    assert_eq!(bundles.bundles[domain], roots);
    let asked = SubscribeToJwtBundlesRequest { reference: process(pid) };
    let bundles: SubscribeToJwtBundlesResponse = broker.ask("SubscribeToJWTBundles", &asked).await.unwrap();
    let jwks: serde_json::Value = serde_json::from_slice(&bundles.bundles[domain]).unwrap();
    assert_eq!(jwks["keys"][0]["use"], "jwt-svid");

    let jwt: FetchJwtsvidResponse = broker.ask("FetchJWTSVID", &jwt_of(pid)).await.unwrap();
    let verified = verify_jwt_svid(&jwt.svids[0].svid, set.bundle(), Some(AUDIENCE), engine.now()).unwrap();
    assert_eq!(verified.id, spiffe(SLEEPER));
    let nobody = FetchJwtsvidRequest { audience: Vec::new(), ..jwt_of(pid) };
    assert_eq!(broker.ask::<FetchJwtsvidResponse>("FetchJWTSVID", &nobody).await.err(), Some(INVALID_ARGUMENT));
    assert_eq!(broker.ask::<FetchJwtsvidResponse>("FetchEverything", &jwt_of(pid)).await.err(), Some(UNIMPLEMENTED));
}
