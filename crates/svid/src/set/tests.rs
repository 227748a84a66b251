use std::collections::BTreeMap;

use super::*;
use crate::authority::Authority;
use crate::jwt::{verify_jwt_svid, verify_typed};
use crate::keys::SoftwareKeys;
use crate::token::AT_JWT_TYP;
use crate::x509::verify_x509_svid;

const START: i64 = 1_800_000_000;
const DAY: u64 = 86_400;

fn policy() -> RotationPolicy {
    RotationPolicy {
        x509_lifetime: Ttl::from_seconds(DAY),
        token_lifetime: Ttl::from_seconds(DAY / 2),
        x509_svid_max: Ttl::from_seconds(3600),
        token_max: Ttl::from_seconds(300),
        publish_ahead: Ttl::from_seconds(1500),
        wit: false,
    }
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_seconds(START + seconds)
}

fn rotation(policy: &RotationPolicy, now: Timestamp) -> Rotation<'_> {
    Rotation { now, policy, keys: &SoftwareKeys, upstream: None }
}

fn new(policy: &RotationPolicy) -> AuthoritySet {
    AuthoritySet::new(&"example.org".parse().unwrap(), &rotation(policy, at(0))).unwrap()
}

fn x509(set: &AuthoritySet, now: Timestamp) -> Result<X509Svid> {
    let id = "spiffe://example.org/agent".parse().unwrap();
    set.issue_x509(X509Request { id: &id, dns: &[], ips: &[], ttl: Ttl::from_seconds(DAY), now, serial: [1; 16] })
}

fn jwt(set: &AuthoritySet, now: Timestamp) -> Result<String> {
    let id = "spiffe://example.org/agent".parse().unwrap();
    let audience = ["db".to_owned()];
    set.issue_jwt_svid(JwtSvidRequest { id: &id, audience: &audience, issuer: None, jti: "j", now, ttl: Ttl::from_seconds(DAY) })
}

fn phases(set: &AuthoritySet, kind: KeyKind) -> Vec<Phase> {
    set.authorities().into_iter().filter(|a| a.kind == kind).map(|a| a.phase).collect()
}

/// Three days, a look every half hour: whatever is issued at any moment verifies until its end against the bundle of any
/// moment from its issue on, and also against a bundle that is as old as others may have.
#[test]
fn nothing_that_was_issued_ever_fails_before_its_end() {
    let policy = policy();
    let mut set = new(&policy);
    let mut issued = Vec::new();
    let mut history: BTreeMap<i64, Bundle> = BTreeMap::new();
    let (mut activations, mut forgotten) = (0, 0);
    for now in (0..3 * DAY as i64).step_by(1800) {
        let advanced = set.advance(&ALL, &rotation(&policy, at(now)));
        assert!(advanced.failed.is_empty(), "{:?}", advanced.failed);
        activations += advanced.done.iter().filter(|step| matches!(step, Step::Activate { .. })).count();
        forgotten += advanced.done.iter().filter(|step| matches!(step, Step::Forget { .. })).count();
        if advanced.set.bundle != set.bundle {
            assert!(advanced.set.bundle.sequence > set.bundle.sequence);
        }
        set = advanced.set;
        for kind in [KeyKind::X509, KeyKind::Jwt] {
            assert_eq!(phases(&set, kind).iter().filter(|phase| **phase == Phase::Active).count(), 1);
            assert!(phases(&set, kind).len() <= 3);
        }
        assert!(set.plan(at(now), &policy).is_empty());
        history.insert(now, set.bundle.clone());
        issued.push((x509(&set, at(now)).unwrap(), jwt(&set, at(now)).unwrap()));
        let old = history.range(..=(now - 1500).max(0)).next_back().unwrap().1;
        for (svid, token) in &issued {
            let alive = at(now) <= svid.not_after;
            for bundle in [&set.bundle, old] {
                assert!(!alive || verify_x509_svid(&[&svid.chain[0]], bundle, at(now)).is_ok(), "at {now}");
                let read = verify_jwt_svid(token, bundle, None, at(now));
                assert!(matches!(read, Ok(_) | Err(SvidError::Expired | SvidError::UnknownKey(_))), "{read:?}");
            }
        }
        assert!(verify_jwt_svid(&issued.last().unwrap().1, old, None, at(now)).is_ok());
        issued.retain(|(svid, _)| at(now) <= svid.not_after);
    }
    assert!(activations >= 2 + 5 && forgotten >= 2 + 5, "{activations} {forgotten}");
}

/// SPIFFE Federation §4.1: the times at which SPIRE does it.
#[test]
fn steps_are_due_at_their_time() {
    let policy = policy();
    let set = new(&policy);
    let end = set.authorities()[0].not_after.seconds() - START;
    // The lifetime begins ten seconds before the first moment.
    let half = end - (DAY as i64 + 10) / 2;
    let is_ca = |step: &Step| matches!(step, Step::Prepare { kind: KeyKind::X509 });
    assert!(!set.plan(at(half - 1), &policy).iter().any(is_ca));
    assert!(set.plan(at(half), &policy).iter().any(is_ca));
    let prepared = set.apply(&Step::Prepare { kind: KeyKind::X509 }, &rotation(&policy, at(half))).unwrap();
    assert_eq!(prepared.bundle.sequence, 2);
    assert_eq!(prepared.bundle.x509_authorities.len(), 2);
    assert_eq!(x509(&prepared, at(half)).unwrap().authority, set.active(KeyKind::X509).unwrap());
    let sixth = end - (DAY as i64 + 10) / 6;
    let is_activation = |step: &Step| matches!(step, Step::Activate { kind: KeyKind::X509, .. });
    assert!(!prepared.plan(at(sixth - 1), &policy).iter().any(is_activation));
    let due = prepared.plan(at(sixth), &policy).into_iter().find(is_activation).unwrap();
    let activated = prepared.apply(&due, &rotation(&policy, at(sixth))).unwrap();
    assert_eq!(activated.bundle, prepared.bundle, "activation publishes nothing new");
    assert_eq!(phases(&activated, KeyKind::X509), [Phase::Retired(at(sixth + 3600)), Phase::Active]);
    let over = sixth + 3600 + 60;
    let is_forget = |step: &Step| matches!(step, Step::Forget { kind: KeyKind::X509, .. });
    assert!(!activated.plan(at(over), &policy).iter().any(is_forget));
    let due = activated.plan(at(over + 1), &policy).into_iter().find(is_forget).unwrap();
    assert!(activated.apply(&due, &rotation(&policy, at(over))).is_err(), "too early");
    let forgotten = activated.apply(&due, &rotation(&policy, at(over + 1))).unwrap();
    assert_eq!((forgotten.bundle.sequence, forgotten.bundle.x509_authorities.len()), (3, 1));
    // A key that was prepared late is used only after others can know it.
    let late = set.apply(&Step::Prepare { kind: KeyKind::X509 }, &rotation(&policy, at(sixth))).unwrap();
    assert!(!late.plan(at(sixth + 1499), &policy).iter().any(is_activation));
    assert!(late.plan(at(sixth + 1500), &policy).iter().any(is_activation));
}

/// A server that was down past the end of its keys has new ones with the first look.
#[test]
fn an_ended_set_recovers_at_once() {
    let policy = policy();
    let set = new(&policy);
    let now = at(30 * DAY as i64);
    assert!(matches!(x509(&set, now), Err(SvidError::Lifetime)));
    let advanced = set.advance(&ALL, &rotation(&policy, now));
    assert!(advanced.failed.is_empty());
    assert!(x509(&advanced.set, now).is_ok() && jwt(&advanced.set, now).is_ok());
    assert_eq!(advanced.set.authorities().len(), 2, "the ended ones are forgotten");
}

#[test]
fn nothing_outlives_its_key_or_its_longest_life() {
    let policy = policy();
    let set = new(&policy);
    let end = set.authorities()[0].not_after;
    assert_eq!(x509(&set, at(0)).unwrap().not_after, at(3600));
    let late = Timestamp::from_seconds(end.seconds() - 60);
    assert_eq!(x509(&set, late).unwrap().not_after, end);
    assert_eq!(set.token_limit(at(0)).unwrap(), at(300));
    let claims = serde_json::json!({ "iss": "i", "aud": "a", "exp": START + 300 });
    let token = set.sign(AT_JWT_TYP, &claims, at(300), at(0)).unwrap();
    assert!(verify_typed::<serde_json::Value>(&token, AT_JWT_TYP, set.bundle(), "i", "a", at(0)).is_ok());
    for expires in [at(301), at(0)] {
        assert!(matches!(set.sign(AT_JWT_TYP, &claims, expires, at(0)), Err(SvidError::Lifetime)));
    }
    assert!(matches!(
        set.issue_wit_svid(WitRequest {
            id: &"spiffe://example.org/agent".parse().unwrap(),
            jti: "j",
            now: at(0),
            ttl: Ttl::from_seconds(60),
        }),
        Err(SvidError::NoAuthority)
    ));
}

#[test]
fn a_tainted_key_issues_nothing_and_is_told_of() {
    let policy = policy();
    for prepare_first in [false, true] {
        let mut set = new(&policy);
        let svid = x509(&set, at(10)).unwrap();
        if prepare_first {
            set = set.apply(&Step::Prepare { kind: KeyKind::X509 }, &rotation(&policy, at(20))).unwrap();
        }
        assert_eq!(set.standing(KeyKind::X509, &svid.authority), Standing::Good);
        let step = Step::Taint { kind: KeyKind::X509, id: svid.authority.clone() };
        let tainted = set.apply(&step, &rotation(&policy, at(30))).unwrap();
        assert_eq!(tainted.cas.entries().len(), 2);
        assert_eq!(tainted.standing(KeyKind::X509, &svid.authority), Standing::Tainted);
        assert!(verify_x509_svid(&[&svid.chain[0]], tainted.bundle(), at(40)).is_ok(), "until it is issued again");
        let again = x509(&tainted, at(40)).unwrap();
        assert_eq!(tainted.standing(KeyKind::X509, &again.authority), Standing::Good);
        assert!(
            tainted
                .apply(&Step::Activate { kind: KeyKind::X509, id: svid.authority.clone() }, &rotation(&policy, at(50)))
                .is_err()
        );
        let step = Step::Revoke { kind: KeyKind::X509, id: svid.authority.clone() };
        let revoked = tainted.apply(&step, &rotation(&policy, at(60))).unwrap();
        assert_eq!(revoked.bundle.sequence, tainted.bundle.sequence + 1);
        assert_eq!(revoked.standing(KeyKind::X509, &svid.authority), Standing::Gone);
        assert!(verify_x509_svid(&[&svid.chain[0]], revoked.bundle(), at(60)).is_err());
        assert!(verify_x509_svid(&[&again.chain[0]], revoked.bundle(), at(60)).is_ok());
        assert_eq!(set.active(KeyKind::Jwt).unwrap(), revoked.active(KeyKind::Jwt).unwrap(), "the other kind is untouched");
    }
}

#[test]
fn a_revoked_key_is_replaced_and_its_tokens_are_dead() {
    let policy = policy();
    let set = new(&policy);
    let token = jwt(&set, at(0)).unwrap();
    let step = Step::Revoke { kind: KeyKind::Jwt, id: set.active(KeyKind::Jwt).unwrap() };
    let revoked = set.apply(&step, &rotation(&policy, at(1))).unwrap();
    assert!(matches!(verify_jwt_svid(&token, revoked.bundle(), None, at(1)), Err(SvidError::UnknownKey(_))));
    assert!(verify_jwt_svid(&jwt(&revoked, at(1)).unwrap(), revoked.bundle(), None, at(1)).is_ok());
    assert!(matches!(revoked.apply(&step, &rotation(&policy, at(2))), Err(SvidError::NoSuchAuthority(_))));
}

#[test]
fn a_tainted_preparation_never_becomes_active() {
    let policy = policy();
    let set = new(&policy).apply(&Step::Prepare { kind: KeyKind::Jwt }, &rotation(&policy, at(0))).unwrap();
    let prepared = set.authorities().into_iter().find(|a| a.phase == Phase::Prepared).unwrap().id;
    let set = set.apply(&Step::Taint { kind: KeyKind::Jwt, id: prepared.clone() }, &rotation(&policy, at(1))).unwrap();
    assert!(set.apply(&Step::Activate { kind: KeyKind::Jwt, id: prepared.clone() }, &rotation(&policy, at(2))).is_err());
    let due = set.plan(at(DAY as i64 / 4 + 10), &policy);
    assert!(due.contains(&Step::Prepare { kind: KeyKind::Jwt }), "{due:?}");
    let set = set.advance(&ALL, &rotation(&policy, at(100))).set;
    assert_eq!(set.standing(KeyKind::Jwt, &prepared), Standing::Gone, "it had issued nothing");
}

#[test]
fn wit_keys_come_and_go_with_the_policy() {
    let without = policy();
    let with = RotationPolicy { wit: true, ..policy() };
    let set = new(&without);
    assert!(set.bundle().wit_keys.is_empty());
    let set = set.advance(&ALL, &rotation(&with, at(0))).set;
    assert_eq!(set.bundle().wit_keys.len(), 1);
    assert_eq!(new(&with).bundle().wit_keys.len(), 1);
    let step = Step::Revoke { kind: KeyKind::Wit, id: set.active(KeyKind::Wit).unwrap() };
    assert_eq!(set.apply(&step, &rotation(&with, at(0))).unwrap().bundle().wit_keys.len(), 1);
    let gone = set.apply(&step, &rotation(&without, at(0))).unwrap();
    assert!(gone.bundle().wit_keys.is_empty());
    assert!(gone.advance(&ALL, &rotation(&without, at(0))).set.bundle().wit_keys.is_empty());
}

#[test]
fn a_stored_set_comes_back_as_it_was() {
    let policy = RotationPolicy { wit: true, ..policy() };
    let mut set = new(&policy);
    let step = Step::Revoke { kind: KeyKind::X509, id: set.active(KeyKind::X509).unwrap() };
    set = set.apply(&step, &rotation(&policy, at(0))).unwrap();
    let step = Step::Taint { kind: KeyKind::Jwt, id: set.active(KeyKind::Jwt).unwrap() };
    set = set.apply(&step, &rotation(&policy, at(1))).unwrap();
    set = set.apply(&Step::Prepare { kind: KeyKind::X509 }, &rotation(&policy, at(2))).unwrap();
    let json = serde_json::to_vec(&set.to_stored()).unwrap();
    let again = AuthoritySet::from_json(&json, &SoftwareKeys, &policy).unwrap();
    assert_eq!(again.authorities(), set.authorities());
    assert_eq!(again.bundle(), set.bundle());
    assert_eq!(serde_json::to_vec(&again.to_stored()).unwrap(), json);
    let svid = x509(&again, at(3)).unwrap();
    assert!(verify_x509_svid(&[&svid.chain[0]], set.bundle(), at(3)).is_ok());
    let shown = format!("{:?} {set:?} {set:#?}", set.to_stored());
    let key: serde_json::Value = serde_json::from_slice(&json).unwrap();
    assert!(!shown.contains(&key["x509"][0]["key"].as_str().unwrap()[20..60]));
}

/// The file of the time before sets.
#[test]
fn a_single_stored_authority_becomes_a_set() {
    let authority = Authority::generate(&"example.org".parse().unwrap(), at(0), Ttl::from_seconds(DAY)).unwrap();
    let json = serde_json::to_vec(&authority.to_stored()).unwrap();
    let policy = policy();
    let set = AuthoritySet::from_json(&json, &SoftwareKeys, &policy).unwrap();
    assert_eq!(set.active(KeyKind::Jwt).unwrap().as_str(), authority.kid());
    assert_eq!(*set.bundle(), Bundle::of(&[&authority], 1).unwrap());
    let svid = x509(&set, at(0)).unwrap();
    assert!(verify_x509_svid(&[&svid.chain[0]], &Bundle::of(&[&authority], 1).unwrap(), at(0)).is_ok());
    assert!(set.plan(at(0), &policy).is_empty());
    let advanced = set.advance(&ALL, &rotation(&policy, at(DAY as i64)));
    assert!(advanced.failed.is_empty() && advanced.done.len() >= 4, "{advanced:?}");
}

#[test]
fn a_damaged_store_is_refused() {
    let policy = policy();
    let json = serde_json::to_value(new(&policy).to_stored()).unwrap();
    let read = |json: &serde_json::Value| AuthoritySet::from_json(json.to_string().as_bytes(), &SoftwareKeys, &policy);
    assert!(read(&json).is_ok());
    let changes: [fn(&mut serde_json::Value); 9] = [
        |json| json["version"] = 2.into(),
        |json| json["x509"] = serde_json::json!([]),
        |json| json["jwt"][0]["life"]["phase"] = "prepared".into(),
        |json| json["x509"][0]["key"] = json["jwt"][0]["key"].clone(),
        |json| json["x509"][0]["certificate"] = "AAAA".into(),
        |json| json["trust_domain"] = "other.org".into(),
        |json| {
            let twice = json["jwt"][0].clone();
            json["jwt"].as_array_mut().unwrap().push(twice);
        },
        |json| json["x509"][0]["key"] = serde_json::json!({ "backend": "pkcs11", "reference": "r" }),
        |json| json["more"] = 1.into(),
    ];
    for change in changes {
        let mut changed = json.clone();
        change(&mut changed);
        assert!(read(&changed).is_err(), "{changed}");
    }
}

#[test]
fn policies_that_contradict_themselves_are_refused() {
    assert!(RotationPolicy::default().check().is_ok());
    let refused = [
        RotationPolicy { x509_svid_max: Ttl::from_seconds(DAY / 6 + 1), ..policy() },
        RotationPolicy { token_max: Ttl::from_seconds(0), ..policy() },
        RotationPolicy { publish_ahead: Ttl::from_seconds(DAY), ..policy() },
        RotationPolicy { token_lifetime: Ttl::from_seconds(60), ..policy() },
    ];
    for policy in refused {
        assert!(matches!(policy.check(), Err(SvidError::Policy(_))), "{policy:?}");
        let made = AuthoritySet::new(&"example.org".parse().unwrap(), &rotation(&policy, at(0)));
        assert!(matches!(made, Err(SvidError::Policy(_))));
    }
}

#[test]
fn steps_are_written_plainly() {
    let step = Step::Activate { kind: KeyKind::Jwt, id: "abc".into() };
    let json = serde_json::to_string(&step).unwrap();
    assert_eq!(json, r#"{"step":"activate","kind":"jwt","id":"abc"}"#);
    assert_eq!(serde_json::from_str::<Step>(&json).unwrap(), step);
}

const ALL: [KeyKind; 3] = [KeyKind::X509, KeyKind::Jwt, KeyKind::Wit];
