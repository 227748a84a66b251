//! JWT-SVIDs and certificates, and everything that ends them.

use std::os::unix::process::parent_id;

use marque_core::id::LeaseId;
use marque_core::identity::Lifecycle;
use marque_core::lease::CredentialClass;
use marque_core::revocation::Target;
use marque_engine::{Caller, EngineError};
use marque_svid::SvidError;

use crate::world::{ALICE, LEAD, OWNER, World, chain, named, observed, person, spiffe};

const AUDIENCE: &str = "https://api.example.org";

#[tokio::test]
async fn a_jwt_svid_is_for_its_audience() {
    let world = World::start().await;
    let lead = world.agent(LEAD).await;
    let token = world.engine.jwt_svid(&lead.instance, &[AUDIENCE.to_owned()]).await.unwrap();
    let valid = world.engine.validate_jwt_svid(&token, Some(AUDIENCE)).unwrap();
    assert_eq!(valid.id, spiffe(LEAD));
    assert_eq!(valid.claims["sub"], spiffe(LEAD).to_string());
    let error = world.engine.validate_jwt_svid(&token, Some("https://other.example.org")).unwrap_err();
    assert!(matches!(error, EngineError::Svid(SvidError::Audience(_))), "{error}");
    assert!(world.engine.validate_jwt_svid(&token[..token.len() - 4], Some(AUDIENCE)).is_err());
    for bad in [vec![], vec![String::new()]] {
        let error = world.engine.jwt_svid(&lead.instance, &bad).await.unwrap_err();
        assert!(matches!(error, EngineError::Invalid(_)), "{error}");
    }
}

#[tokio::test]
async fn a_jwt_svid_of_another_authority_is_refused() {
    let (here, elsewhere) = (World::start().await, World::start().await);
    let lead = elsewhere.agent(LEAD).await;
    let token = elsewhere.engine.jwt_svid(&lead.instance, &[AUDIENCE.to_owned()]).await.unwrap();
    let error = here.engine.validate_jwt_svid(&token, Some(AUDIENCE)).unwrap_err();
    assert!(matches!(error, EngineError::Svid(SvidError::UnknownKey(_))), "{error}");
}

/// INVARIANT (I4 revocation is monotone): in every class at once, across a restart, and for good.
#[tokio::test]
async fn revocation_ends_every_credential_below_its_target() {
    for what in ["lease", "instance", "identity", "owner", "task", "principal"] {
        let world = World::start().await;
        let task = world.task(LEAD, None).await;
        let launch = world.engine.launch(&world.alice, &spiffe(LEAD), task.id, parent_id()).unwrap();
        let instance = world.engine.attest(observed(&[&named(LEAD)]), Some(&launch)).await.unwrap();
        let issued = world.engine.x509_svid(&instance).await.unwrap();
        let token = world.engine.jwt_svid(&instance, &[AUDIENCE.to_owned()]).await.unwrap();
        let valid = world.engine.validate_jwt_svid(&token, Some(AUDIENCE)).unwrap();
        assert!(world.engine.authenticate_certificate(&chain(&issued)).is_ok());

        let lease: LeaseId = valid.claims["jti"].as_str().unwrap().parse().unwrap();
        let target = match what {
            "lease" => Target::Lease(lease),
            "instance" => Target::Instance(instance.id),
            "identity" => Target::Identity(spiffe(LEAD)),
            "owner" => Target::Owner(person(OWNER)),
            "task" => Target::Task(task.id),
            _ => Target::Owner(person(ALICE)),
        };
        let revoked = world.engine.revoke(&world.admin, target.clone(), "test").await.unwrap();
        assert_eq!(revoked.leases.get(&CredentialClass::JwtSvid), Some(&1), "{what}");
        let certificate = (what != "lease").then_some(&1);
        assert_eq!(revoked.leases.get(&CredentialClass::X509Svid), certificate, "{what}");
        let error = world.engine.validate_jwt_svid(&token, Some(AUDIENCE)).unwrap_err();
        assert!(matches!(error, EngineError::Dead(_)), "{what}: {error}");
        assert_eq!(world.engine.authenticate_certificate(&chain(&issued)).is_err(), what != "lease", "{what}");

        let suspended = matches!(what, "identity" | "owner");
        assert_eq!(revoked.suspended.contains(&spiffe(LEAD)), suspended, "{what}");
        if suspended {
            // Activating the identity again does not bring back what it held.
            world.engine.move_identity(&world.admin, LEAD, Lifecycle::Active, "test").await.unwrap();
            assert!(world.engine.validate_jwt_svid(&token, Some(AUDIENCE)).is_err(), "{what}");
        }
        let again = world.engine.revoke(&world.admin, target, "again").await.unwrap();
        assert_eq!(again.epoch, revoked.epoch.next());
        assert!(again.leases.is_empty(), "{what}");
        let world = world.close().open().await;
        assert!(world.engine.validate_jwt_svid(&token, Some(AUDIENCE)).is_err(), "{what}");
    }
}

/// A typing mistake must not look like a revocation that worked.
#[tokio::test]
async fn what_is_not_known_cannot_be_revoked() {
    let world = World::start().await;
    let size = world.engine.log_size();
    for target in ["user:mallory@example.com", "spiffe://example.org/agent/nobody", "lease_01ARZ3NDEKTSV4RRFFQ69G5FAV"] {
        let error = world.engine.revoke(&world.admin, target.parse().unwrap(), "test").await.unwrap_err();
        assert!(matches!(error, EngineError::NotFound { .. }), "{error}");
    }
    let workload = Caller::Workload(world.agent(LEAD).await.workload);
    let error = world.engine.revoke(&workload, Target::Identity(spiffe(LEAD)), "test").await.unwrap_err();
    assert!(matches!(error, EngineError::Forbidden(_)), "{error}");
    assert_eq!(world.engine.log_size(), size + 2, "the instance and its SVID");
}

#[tokio::test]
async fn what_starts_after_a_revocation_is_alive() {
    let world = World::start().await;
    let lead = world.agent(LEAD).await;
    let mut ended = world.engine.watch_ended();
    world.engine.revoke(&world.admin, Target::Instance(lead.instance.id), "test").await.unwrap();
    assert!(ended.has_changed().unwrap());
    ended.mark_unchanged();
    let error = world.engine.jwt_svid(&lead.instance, &[AUDIENCE.to_owned()]).await.unwrap_err();
    assert!(matches!(error, EngineError::Dead(_)), "{error}");
    let fresh = world.agent(LEAD).await;
    assert_ne!(fresh.instance.id, lead.instance.id);
    let token = world.engine.jwt_svid(&fresh.instance, &[AUDIENCE.to_owned()]).await.unwrap();
    assert!(world.engine.validate_jwt_svid(&token, Some(AUDIENCE)).is_ok());
    assert!(!ended.has_changed().unwrap(), "nothing has ended since");
}
