//! Signing keys: on schedule, by command, and what becomes of what they issued.

use marque_core::event::{AuthorityStep, Body};
use marque_engine::{AuthorityVerb, EngineError, KeyKind};
use marque_svid::verify_x509_svid;

use crate::world::{ISSUER, LEAD, World, chain, named, observed};

fn active(world: &World, kind: &str) -> String {
    let keys = world.engine.authority_list();
    let mut active = keys.iter().filter(|k| k.kind == kind && k.phase == "active");
    let one = active.next().unwrap().id.clone();
    assert!(active.next().is_none(), "exactly one is active");
    one
}

/// SPIFFE Federation §4.1: a key is published well before it is used, and stays until all that it issued has ended.
#[tokio::test]
async fn keys_rotate_on_schedule_and_nothing_that_was_issued_breaks() {
    let world = World::start().await;
    let lead = world.agent(LEAD).await;
    let (first_ca, first_jwt) = (active(&world, "x509"), active(&world, "jwt"));
    let mut sequences = vec![world.engine.authorities().bundle().sequence];
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..100 * 4 {
        world.advance(6 * 3600);
        world.tick().await;
        let jwt = world.engine.jwt_svid(&lead.instance, &[ISSUER.to_owned()]).await.unwrap();
        let held = world.engine.current_x509_svid(&lead.instance).await.unwrap();
        let bundle = world.engine.authorities().bundle().clone();
        assert!(verify_x509_svid(&chain(&held.issued), &bundle, world.engine.now()).is_ok());
        assert!(world.engine.validate_jwt_svid(&jwt, Some(ISSUER)).is_ok());
        if sequences.last() != Some(&bundle.sequence) {
            sequences.push(bundle.sequence);
        }
        seen.insert(active(&world, "jwt"));
    }
    assert!(sequences.is_sorted(), "{sequences:?}");
    assert_ne!(active(&world, "x509"), first_ca);
    assert!(seen.len() >= 4 && seen.contains(&first_jwt), "{seen:?}");
    let steps: Vec<_> = world
        .events()
        .await
        .into_iter()
        .filter_map(|e| if let Body::AuthorityStepped { step, .. } = e.what { Some(step) } else { None })
        .collect();
    for step in [AuthorityStep::Prepared, AuthorityStep::Activated, AuthorityStep::Forgotten] {
        assert!(steps.contains(&step), "{steps:?}");
    }
}

#[tokio::test]
async fn a_tainted_authority_is_used_no_longer_and_a_revoked_one_does_not_count() {
    let world = World::start().await;
    let lead = world.agent(LEAD).await;
    let before = world.engine.current_x509_svid(&lead.instance).await.unwrap();
    let again = world.engine.current_x509_svid(&lead.instance).await.unwrap();
    assert_eq!(before.issued.svid.serial, again.issued.svid.serial, "whoever asks again gets the same");
    let mut changes = world.engine.watch_bundles();
    changes.mark_unchanged();
    world.engine.change_authority(&world.admin, AuthorityVerb::Taint, KeyKind::X509, None, "leaked").await.unwrap();
    assert!(changes.has_changed().unwrap());
    assert!(!world.engine.good_authorities().contains(&before.issued.svid.authority));
    // It still counts, so that there is time to issue anew.
    assert!(world.engine.authenticate_certificate(&chain(&before.issued)).is_ok());
    let fresh = world.engine.current_x509_svid(&lead.instance).await.unwrap();
    assert_ne!(fresh.issued.svid.authority, before.issued.svid.authority);
    let old = before.issued.svid.authority.as_str();
    world.engine.change_authority(&world.admin, AuthorityVerb::Revoke, KeyKind::X509, Some(old), "leaked").await.unwrap();
    assert!(world.engine.authenticate_certificate(&chain(&before.issued)).is_err());
    assert!(world.engine.authenticate_certificate(&chain(&fresh.issued)).is_ok());
    // The keys outlive a restart, in the order in which they were changed.
    let keys = world.engine.authority_list();
    drop(lead);
    let world = world.close().open().await;
    assert_eq!(world.engine.authority_list(), keys);
}

#[tokio::test]
async fn revoking_the_active_token_key_ends_every_token() {
    let world = World::start().await;
    let lead = world.agent(LEAD).await;
    let jwt = world.jwt(&lead).await;
    let task = world.task(LEAD, None).await;
    let token = world.token(&lead, &task).await.token;
    world.engine.change_authority(&world.admin, AuthorityVerb::Revoke, KeyKind::Jwt, None, "leaked").await.unwrap();
    assert!(world.engine.validate_jwt_svid(&jwt, Some(ISSUER)).is_err());
    assert!(world.engine.authenticate_token(&token, Some(&lead.workload.thumbprint)).is_err());
    let fresh = world.jwt(&lead).await;
    assert!(world.engine.validate_jwt_svid(&fresh, Some(ISSUER)).is_ok());
}

#[tokio::test]
async fn only_a_person_changes_keys_and_what_is_not_there_is_told() {
    let world = World::start().await;
    let lead = world.agent(LEAD).await;
    let workload = marque_engine::Caller::Workload(lead.workload.clone());
    let refused = world.engine.change_authority(&workload, AuthorityVerb::Revoke, KeyKind::X509, None, "").await;
    assert!(refused.is_err());
    let none = world.engine.change_authority(&world.admin, AuthorityVerb::Activate, KeyKind::X509, None, "").await.unwrap_err();
    assert_eq!(none.to_string(), "no x509 key is prepared: prepare one with `marque authority prepare x509`");
    for verb in [AuthorityVerb::Activate, AuthorityVerb::Taint, AuthorityVerb::Revoke] {
        let unknown = world.engine.change_authority(&world.admin, verb, KeyKind::X509, Some("nope"), "").await.unwrap_err();
        assert_eq!(unknown.to_string(), "key `nope` is not known");
        assert!(matches!(unknown, EngineError::NotFound { .. }), "{unknown}");
    }
}

/// Workload API §5.2.1: several identities of one process, told apart by hints of their own.
#[tokio::test]
async fn a_process_is_several_identities_only_when_each_has_a_hint() {
    let world = World::empty().await;
    let mut manifest = crate::world::manifest();
    for identity in &mut manifest.identities {
        identity.hint = Some(identity.name.clone());
    }
    world.engine.apply(&world.admin, &manifest).await.unwrap();
    let both = || observed(&[&named(LEAD), &named(crate::world::WORKER)]);
    let instances = world.engine.attest_all(both(), None).await.unwrap();
    assert_eq!(instances.len(), 2);
    assert!(world.engine.attest(both(), None).await.is_err(), "one was asked for");
    manifest.identities[0].hint = manifest.identities[1].hint.clone();
    world.engine.apply(&world.admin, &manifest).await.unwrap();
    assert!(world.engine.attest_all(both(), None).await.is_err(), "the same hint tells nothing apart");
}
