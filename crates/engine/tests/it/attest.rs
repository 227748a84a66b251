//! From what was seen of a process to the one identity that it is a copy of.

use std::os::unix::process::parent_id;

use marque_core::Digest;
use marque_core::attestation::{Instance, Selector};
use marque_core::event::Body;
use marque_core::identity::Lifecycle;
use marque_core::lease::CredentialClass;
use marque_core::revocation::Target;
use marque_engine::{Caller, EngineError, Told};
use serde_json::json;

use crate::world::{LEAD, WORKER, World, call, chain, manifest, named, observed, request, spiffe};

#[tokio::test]
async fn a_process_that_nothing_matches_is_refused_and_recorded() {
    let world = World::start().await;
    let size = world.engine.log_size();
    let error = world.engine.attest(observed(&["unix:uid:7", "unix:name:stranger"]), None).await.unwrap_err();
    let EngineError::NoIdentity(seen) = &error else { panic!("{error}") };
    assert_eq!(seen, "unix:name:stranger unix:uid:7");
    assert_eq!(world.engine.log_size(), size + 1);
    let last = world.events().await.pop().unwrap();
    let Body::AttestationRefused { why } = &last.what else { panic!("{last:?}") };
    assert!(why.contains("unix:name:stranger unix:uid:7"), "{why}");
}

#[tokio::test]
async fn a_process_that_two_match_is_neither() {
    let world = World::start().await;
    let error = world.engine.attest(observed(&[&named(LEAD), &named(WORKER)]), None).await.unwrap_err();
    let EngineError::Ambiguous(both) = &error else { panic!("{error}") };
    for name in [LEAD, WORKER] {
        assert!(both.contains(&format!("`{}`", spiffe(name))), "{both}");
    }
    assert!(matches!(world.events().await.pop().unwrap().what, Body::AttestationRefused { .. }));
    assert!(world.state().instances.is_empty());
}

#[tokio::test]
async fn only_an_active_identity_matches() {
    let world = World::start().await;
    let seen = || observed(&[&named(LEAD)]);
    world.engine.move_identity(&world.admin, LEAD, Lifecycle::Suspended, "test").await.unwrap();
    let error = world.engine.attest(seen(), None).await.unwrap_err();
    assert!(matches!(error, EngineError::NoIdentity(_)), "{error}");
    world.engine.move_identity(&world.admin, LEAD, Lifecycle::Active, "test").await.unwrap();
    assert_eq!(world.engine.attest(seen(), None).await.unwrap().identity, spiffe(LEAD));
    world.engine.move_identity(&world.admin, LEAD, Lifecycle::Retired, "test").await.unwrap();
    assert!(world.engine.attest(seen(), None).await.is_err());
    let back = world.engine.move_identity(&world.admin, LEAD, Lifecycle::Active, "test").await.unwrap_err();
    assert!(matches!(back, EngineError::Invalid(_)), "{back}");
}

#[tokio::test]
async fn one_process_is_one_instance() {
    let world = World::start().await;
    let first = world.engine.attest(observed(&[&named(LEAD)]), None).await.unwrap();
    let size = world.engine.log_size();
    assert_eq!(world.engine.attest(observed(&[&named(LEAD)]), None).await.unwrap(), first);
    assert_eq!(world.engine.log_size(), size, "it is known already");
    let more = world.engine.attest(observed(&[&named(LEAD), "unix:uid:0"]), None).await.unwrap();
    assert_ne!(more.id, first.id, "another sight is another instance");
}

#[tokio::test]
async fn an_svid_leads_back_to_its_instance() {
    let world = World::start().await;
    let instance = world.engine.attest(observed(&[&named(LEAD)]), None).await.unwrap();
    let issued = world.engine.x509_svid(&instance).await.unwrap();
    let workload = world.engine.authenticate_certificate(&chain(&issued)).unwrap();
    assert_eq!((&workload.lease, &workload.instance, &workload.identity), (&issued.lease, &instance.id, &spiffe(LEAD)));
    let lease = world.state().leases[&issued.lease].clone();
    assert_eq!((lease.class, lease.task, lease.scope.is_empty()), (CredentialClass::X509Svid, None, true));
    assert_eq!(lease.binding, Some(workload.thumbprint));
    assert_eq!(lease.handle, issued.svid.serial);
    // It proves who its holder is, and allows nothing.
    let error = world.engine.authorize(call(issued.lease, "tool:crm/find", json!({}))).await.unwrap_err();
    assert!(matches!(error, EngineError::Forbidden(_)), "{error}");
}

#[tokio::test]
async fn a_certificate_of_another_authority_is_refused() {
    let (here, elsewhere) = (World::start().await, World::start().await);
    let stranger = elsewhere.engine.attest(observed(&[&named(LEAD)]), None).await.unwrap();
    let issued = elsewhere.engine.x509_svid(&stranger).await.unwrap();
    let error = here.engine.authenticate_certificate(&chain(&issued)).unwrap_err();
    assert!(matches!(error, EngineError::Svid(_)), "{error}");
    assert!(here.engine.authenticate_certificate(&[]).is_err());
    let instance = here.engine.x509_svid(&stranger).await.unwrap_err();
    assert!(matches!(instance, EngineError::Dead(_)), "an instance of another log is unknown: {instance}");
}

#[tokio::test]
async fn a_server_certificate_is_no_workload() {
    let world = World::start().await;
    let server = world.engine.server_svid(&["localhost".into()], &[]).unwrap();
    let chain: Vec<&[u8]> = server.chain.iter().map(Vec::as_slice).collect();
    assert!(world.engine.authenticate_certificate(&chain).is_err());
}

#[tokio::test]
async fn a_launch_reaches_the_processes_below_it() {
    let world = World::start().await;
    let task = world.task(LEAD, None).await;
    let launch = world.engine.launch(&world.alice, &spiffe(LEAD), task.id, parent_id()).unwrap();
    let instance = world.engine.attest(observed(&[&named(LEAD), &named(WORKER)]), Some(&launch)).await.unwrap();
    assert_eq!((&instance.identity, instance.task), (&spiffe(LEAD), Some(task.id)), "only the launched identity is considered");
    assert_eq!(instance.attestation.method, "launched");
    let session = world.engine.gateway_session(&instance, task.id).await.unwrap();
    assert_eq!(world.engine.gateway_session(&instance, task.id).await.unwrap(), session, "one for each instance and task");
    drop(world.permit(call(session, "tool:crm/find", json!({}))).await);

    // This process did not start itself, and another identity is not that of the task.
    let own = world.engine.launch(&world.alice, &spiffe(LEAD), task.id, std::process::id()).unwrap();
    let error = world.engine.attest(observed(&[&named(LEAD)]), Some(&own)).await.unwrap_err();
    assert!(matches!(error, EngineError::Forbidden(_)), "{error}");
    assert!(world.engine.launch(&world.alice, &spiffe(WORKER), task.id, parent_id()).is_err());
    let workload = Caller::Workload(world.agent(LEAD).await.workload);
    assert!(world.engine.launch(&workload, &spiffe(LEAD), task.id, parent_id()).is_err(), "people launch");
}

#[tokio::test]
async fn a_launch_vouches_for_what_its_launcher_measured() {
    let world = World::empty().await;
    let (required, other) = (Digest::from_bytes([7; 32]), Digest::from_bytes([8; 32]));
    let artifact = |digest: &Digest| format!("launched:artifact_sha256:{}", digest.to_string().trim_start_matches("sha256:"));
    let mut desired = manifest();
    let lead = &mut desired.identities[0];
    assert_eq!(lead.name, LEAD);
    lead.selectors.insert(artifact(&required).parse().unwrap());
    world.engine.apply(&world.admin, &desired).await.unwrap();
    let task = world.engine.start_task(&world.alice, request(LEAD, None)).await.unwrap();
    let told = |artifacts: &[Digest]| {
        let told = Told { uid: Some(7), argv: Some(Digest::from_bytes([9; 32])), artifacts: artifacts.iter().copied().collect() };
        world.engine.launch(&world.alice, &spiffe(LEAD), task.id, parent_id()).unwrap().told(&told).unwrap()
    };
    let attest = async |launch| world.engine.attest(observed(&[&named(LEAD)]), Some(&launch)).await;
    let instance = attest(told(&[required])).await.unwrap();
    let seen: Vec<&str> = instance.attestation.selectors.iter().map(Selector::as_str).collect();
    let argv = format!("launched:argv_sha256:{}", "09".repeat(32));
    let task_selector = format!("launched:task:{}", task.id);
    for expected in ["launched:launcher_uid:7", &argv, &task_selector, &artifact(&required)] {
        assert!(seen.contains(&expected), "{expected} in {seen:?}");
    }
    // With one more file it is another copy; with another file alone, or with none, it is nobody.
    assert_ne!(attest(told(&[required, other])).await.unwrap().id, instance.id);
    for none in [told(&[other]), told(&[])] {
        assert!(matches!(attest(none).await.unwrap_err(), EngineError::NoIdentity(_)));
    }
    // No process says so of itself.
    assert!(world.engine.attest(observed(&[&named(LEAD)]), None).await.is_err());
    let many = Told { artifacts: (0..65).map(|n| Digest::from_bytes([n; 32])).collect(), ..Told::default() };
    assert!(world.engine.launch(&world.alice, &spiffe(LEAD), task.id, parent_id()).unwrap().told(&many).is_err());
}

/// INVARIANT (I4 revocation is monotone): a copy that was revoked has no successor before its process asks.
#[tokio::test]
async fn what_was_revoked_does_not_come_back_unasked() {
    let world = World::empty().await;
    let hinted = async |lead: &str, worker: &str| {
        let mut desired = manifest();
        desired.identities[0].hint = Some(lead.into());
        desired.identities[1].hint = Some(worker.into());
        world.engine.apply(&world.admin, &desired).await.unwrap();
    };
    hinted("a", "b").await;
    let seen = || observed(&[&named(LEAD), &named(WORKER)]);
    let both = world.engine.attest_all(seen(), None).await.unwrap();
    let ids = |instances: &[Instance]| instances.iter().map(|i| (i.identity.clone(), i.id)).collect::<Vec<_>>();
    assert_eq!(both.len(), 2);
    world.engine.revoke(&world.admin, Target::Instance(both[0].id), "test").await.unwrap();
    let left = world.engine.identified(&both[1..]);
    assert_eq!(world.engine.attest_again(&left, None).await.unwrap(), None);
    hinted("a", "c").await;
    let size = world.engine.log_size();
    let now = world.engine.attest_again(&left, None).await.unwrap().expect("its hint is another");
    assert_eq!((ids(&now), world.engine.log_size()), (ids(&both[1..]), size), "it alone, and no new copy");

    // Whoever asks again is attested again, and from then on is both in streams from before, too.
    let again = world.engine.attest_all(seen(), None).await.unwrap();
    assert_eq!((again.len(), again[1].id), (2, both[1].id));
    assert_ne!(again[0].id, both[0].id);
    let left = world.engine.identified(&now);
    assert_eq!(world.engine.attest_again(&left, None).await.unwrap(), Some(again.clone()));

    // Of nothing that counts, nothing follows.
    let [lead, worker] = [&again[0], &again[1]].map(|copy| Target::Instance(copy.id));
    let left = world.engine.identified(&again);
    world.engine.revoke(&world.admin, worker, "test").await.unwrap();
    world.engine.revoke(&world.admin, lead, "test").await.unwrap();
    let error = world.engine.attest_again(&left, None).await.unwrap_err();
    assert!(matches!(error, EngineError::Dead(_)), "{error}");
}

/// Other selectors in the manifest end what was attested by the old ones, at once and wherever it is used.
#[tokio::test]
async fn a_copy_counts_while_its_identity_is_for_what_was_seen_of_it() {
    let world = World::start().await;
    let agent = world.agent(LEAD).await;
    let task = world.engine.start_task(&world.alice, request(LEAD, None)).await.unwrap();
    let session = world.engine.gateway_session(&agent.instance, task.id).await.unwrap();
    let token = world.token(&agent, &task).await.token;
    let left = world.engine.identified(std::slice::from_ref(&agent.instance));
    let counts = || {
        let token = world.engine.authenticate_token(&token, Some(&agent.workload.thumbprint)).is_ok();
        assert_eq!(token, world.state().check_lease(session, world.engine.now()).is_ok());
        assert_eq!(token, world.state().check_lease(agent.workload.lease, world.engine.now()).is_ok());
        token
    };
    let asks_for = async |lead: &str, worker: &str| {
        let mut desired = manifest();
        for (identity, selector) in desired.identities.iter_mut().zip([lead, worker]) {
            identity.selectors = [selector.parse().unwrap()].into();
        }
        world.engine.apply(&world.admin, &desired).await.unwrap();
    };
    assert!(counts());
    asks_for("unix:uid:4711", "unix:uid:4712").await;
    assert!(!counts());
    assert!(world.engine.attest_again(&left, None).await.is_err());
    // A stream from before goes on as whom the process is now.
    asks_for("unix:uid:4711", &named(LEAD)).await;
    let now = world.engine.attest_again(&left, None).await.unwrap().expect("it is another identity");
    assert_eq!(now.iter().map(|copy| &copy.identity).collect::<Vec<_>>(), [&spiffe(WORKER)]);
    assert!(!counts());
    // Nothing was revoked: by the old selectors it counts again.
    asks_for(&named(LEAD), &named(WORKER)).await;
    assert!(counts());
}

/// An identity without selectors matches nothing (INVARIANT (I7 unknown is No)).
#[tokio::test]
async fn an_identity_without_selectors_matches_nothing() {
    let world = World::empty().await;
    let mut bare = manifest();
    bare.identities.truncate(1);
    bare.identities[0].selectors.clear();
    world.engine.apply(&world.admin, &bare).await.unwrap();
    assert!(world.engine.attest(observed(&[&named(LEAD)]), None).await.is_err());
}
