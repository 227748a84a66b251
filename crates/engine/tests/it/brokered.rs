//! What a broker fetches for an instance: credentials of its own, on its word.

use marque_core::event::{Body, By};
use marque_core::id::LeaseId;
use marque_core::identity::Lifecycle;
use marque_core::lease::CredentialClass;
use marque_core::revocation::Target;
use marque_engine::EngineError;

use crate::world::{BOB, LEAD, WORKER, World, chain, manifest, person, spiffe};

const AUDIENCE: &str = "https://api.example.org";

#[tokio::test]
async fn what_a_broker_fetches_is_recorded_on_its_word() {
    let world = World::start().await;
    let (broker, worker) = (world.agent(LEAD).await, world.agent(WORKER).await);
    let audience = [AUDIENCE.to_owned()];
    let held = world.engine.brokered_x509_svid(&broker.workload, &worker.instance).await.unwrap();
    let token = world.engine.brokered_jwt_svid(&broker.workload, &worker.instance, &audience).await.unwrap();
    let valid = world.engine.validate_jwt_svid(&token, Some(AUDIENCE)).unwrap();
    assert_eq!(valid.id, worker.instance.identity);
    let jwt: LeaseId = valid.claims["jti"].as_str().unwrap().parse().unwrap();
    let again = world.engine.brokered_x509_svid(&broker.workload, &worker.instance).await.unwrap();
    assert_eq!(again.issued.lease, held.issued.lease);
    let own = world.engine.current_x509_svid(&worker.instance).await.unwrap();
    assert_ne!(own.issued.lease, held.issued.lease, "the worker's own is another");

    let events = world.events().await;
    let issued = |id: LeaseId| {
        let found = events.iter().find_map(|event| match &event.what {
            Body::LeaseIssued { lease } if lease.id == id => Some((event.by.clone(), lease.instance)),
            _ => None,
        });
        found.unwrap()
    };
    for fetched in [held.issued.lease, jwt] {
        assert_eq!(issued(fetched), (By::Instance(broker.instance.id), worker.instance.id));
    }
    assert_eq!(issued(own.issued.lease), (By::Instance(worker.instance.id), worker.instance.id));
}

/// INVARIANT (I4 revocation is monotone): what a broker has ends with it, and not with its certificate alone.
#[tokio::test]
async fn what_a_broker_fetched_ends_with_the_broker() {
    let bobs = person(BOB);
    for target in ["lease", "instance", "identity", "owner"] {
        let world = World::start().await;
        let mut desired = manifest();
        desired.identities[0].owner = bobs.clone();
        world.engine.apply(&world.admin, &desired).await.unwrap();
        let (broker, worker) = (world.agent(LEAD).await, world.agent(WORKER).await);
        let audience = [AUDIENCE.to_owned()];
        let x509 = world.engine.brokered_x509_svid(&broker.workload, &worker.instance).await.unwrap();
        let jwt = world.engine.brokered_jwt_svid(&broker.workload, &worker.instance, &audience).await.unwrap();
        assert_eq!(world.state().leases[&x509.issued.lease].holder, Some(broker.instance.id));
        assert_eq!(world.state().leases[&worker.workload.lease].holder, None);
        let counts = || {
            let lives = world.engine.authenticate_certificate(&chain(&x509.issued)).is_ok();
            (lives, world.engine.validate_jwt_svid(&jwt, Some(AUDIENCE)).is_ok())
        };
        assert_eq!(counts(), (true, true));
        let (target, reaches) = match target {
            "lease" => (Target::Lease(broker.workload.lease), false),
            "instance" => (Target::Instance(broker.instance.id), true),
            "identity" => (Target::Identity(spiffe(LEAD)), true),
            _ => (Target::Owner(bobs.clone()), true),
        };
        let revoked = world.engine.revoke(&world.admin, target, "test").await.unwrap();
        assert_eq!(counts(), (!reaches, !reaches), "{}", revoked.target);
        let x509_and_jwt = [CredentialClass::X509Svid, CredentialClass::JwtSvid].map(|class| revoked.leases.get(&class).copied());
        let expected = if reaches { [Some(2), Some(1)] } else { [Some(1), None] };
        assert_eq!(x509_and_jwt, expected, "its own certificate, and what it fetched: {}", revoked.target);
        assert!(world.engine.authenticate_certificate(&chain(&world.engine.x509_svid(&worker.instance).await.unwrap())).is_ok());
        // Bringing the broker back does not bring that back.
        if !revoked.suspended.is_empty() {
            world.engine.move_identity(&world.admin, LEAD, Lifecycle::Active, "test").await.unwrap();
            assert_eq!(counts(), (false, false), "{}", revoked.target);
        }
    }
}

/// INVARIANT (I4 revocation is monotone): a broker that counts no longer fetches nothing.
#[tokio::test]
async fn a_broker_whose_certificate_was_revoked_fetches_nothing() {
    let world = World::start().await;
    let (broker, worker) = (world.agent(LEAD).await, world.agent(WORKER).await);
    world.engine.brokered_x509_svid(&broker.workload, &worker.instance).await.unwrap();
    world.engine.revoke(&world.admin, Target::Lease(broker.workload.lease), "test").await.unwrap();
    // What it has counts on, and is not given again.
    let x509 = world.engine.brokered_x509_svid(&broker.workload, &worker.instance).await.unwrap_err();
    assert!(matches!(x509, EngineError::Dead(_)), "{x509}");
    let audience = [AUDIENCE.to_owned()];
    assert!(world.engine.brokered_jwt_svid(&broker.workload, &worker.instance, &audience).await.is_err());
    assert!(world.engine.current_x509_svid(&worker.instance).await.is_ok());
}
