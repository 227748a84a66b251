//! Whatever comes in: no panic, nothing accepted that was not issued, and the laws of rotation.

use std::sync::LazyLock;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use marque_core::time::{Timestamp, Ttl};
use marque_svid::join::{JoinToken, JoinTokenRecord};
use marque_svid::oidc::{Discovery, IssuerKeys, IssuerUrl, OidcVerifier, selectors};
use marque_svid::wit::{Expectation, WitRequest, verify_wit_svid};
use marque_svid::x509pop::{Answer, Challenge, PopVerifier};
use marque_svid::{
    AuthoritySet, Bundle, BundleSet, EndpointUrl, KeyKind, Phase, Rotation, RotationPolicy, SoftwareKeys, Standing, Step,
    UpstreamCa, verify_jwt_svid, verify_x509_svid,
};
use proptest::prelude::*;
use serde_json::{Map, Value};

use crate::fixtures::{NOW, agent, jwt, set, x509};

/// One of everything that is issued or published.
struct World {
    set: AuthoritySet,
    certificate: Vec<u8>,
    token: String,
    wit: String,
    bundle: String,
    map: String,
    jwks: String,
}

static WORLD: LazyLock<World> = LazyLock::new(|| {
    let set = set("example.org");
    let bundles: BundleSet = [set.bundle().clone()].into_iter().collect();
    World {
        certificate: x509(&set, &agent()).chain.remove(0),
        token: jwt(&set, &agent()),
        wit: set.issue_wit_svid(WitRequest { id: &agent(), jti: "j", now: NOW, ttl: Ttl::from_seconds(60) }).unwrap().token,
        bundle: set.bundle().to_spiffe_json().unwrap(),
        map: bundles.to_map_json().unwrap(),
        jwks: set.bundle().oauth_jwks_json().unwrap(),
        set,
    }
});

/// Every parser and verifier, on one input.
fn all_parsers(data: &[u8]) {
    let world = &*WORLD;
    let bundle = world.set.bundle();
    let text = String::from_utf8_lossy(data);
    let _ = Bundle::from_spiffe_json(bundle.trust_domain.clone(), data);
    let _ = BundleSet::from_map_json(data);
    let _ = IssuerKeys::read(data);
    let _ = Discovery::read(&"https://marque.example.org".parse::<IssuerUrl>().unwrap(), data);
    let _ = AuthoritySet::from_json(data, &SoftwareKeys, &RotationPolicy::default());
    let _ = text.parse::<EndpointUrl>();
    let _ = text.parse::<IssuerUrl>();
    let _ = UpstreamCa::from_pem(&text, &text, Some(&text));
    let _ = PopVerifier::from_pem(&text);
    let _ = serde_json::from_slice::<(Challenge, Answer)>(data);
    let _ = serde_json::from_slice::<JoinTokenRecord>(data);
    let _ = verify_jwt_svid(&text, bundle, None, NOW);
    let _ = verify_wit_svid(&text, bundle, NOW);
    let _ = verify_x509_svid(&[data], bundle, NOW);
    let _ = verify_x509_svid(&[&world.certificate, data, data], bundle, NOW);
    let _ = oidc().verify(&text, NOW).map(|token| selectors(&token));
    let expected = Expectation { targets: &["t"], access_token: None, transaction_token: None, others: &[], now: NOW };
    let proved = verify_wit_svid(&world.wit, bundle, NOW).unwrap().prove(&text, &expected);
    assert!(proved.is_err(), "nobody has the key");
}

fn oidc() -> OidcVerifier {
    let keys = IssuerKeys::read(WORLD.jwks.as_bytes()).unwrap();
    let issuer = "https://marque.example.org".parse().unwrap();
    OidcVerifier::new(issuer, vec!["db".into()], Ttl::from_seconds(0), keys).unwrap()
}

/// Changes at a few places: replaced, removed, put in, doubled.
fn mutated(original: &'static [u8]) -> impl Strategy<Value = Vec<u8>> {
    let change = (any::<prop::sample::Index>(), any::<u8>(), 0..4u8);
    prop::collection::vec(change, 1..4).prop_map(move |changes| {
        let mut bytes = original.to_vec();
        for (index, byte, kind) in changes {
            let at = index.index(bytes.len());
            match kind {
                0 => bytes[at] = byte,
                1 if bytes.len() > 1 => drop(bytes.remove(at)),
                2 => bytes.insert(at, byte),
                _ => bytes.extend_from_within(at..),
            }
        }
        bytes
    })
}

/// JSON of the shapes that the parsers look for, with members that they know.
fn documents() -> impl Strategy<Value = Value> {
    let name = prop::sample::select(vec![
        "keys",
        "kty",
        "use",
        "kid",
        "crv",
        "x",
        "y",
        "n",
        "e",
        "x5c",
        "spiffe_sequence",
        "spiffe_refresh_hint",
        "trust_domains",
        "example.org",
        "issuer",
        "jwks_uri",
        "version",
        "alg",
        "d",
    ]);
    let text = prop::sample::select(vec![
        "EC",
        "RSA",
        "P-256",
        "x509-svid",
        "jwt-svid",
        "wit-svid",
        "sig",
        "ES256",
        "",
        "AAAA",
        "https://marque.example.org",
    ]);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        text.prop_map(Value::from),
        ".{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 5, move |inner| {
        let members = prop::collection::vec((name.clone(), inner.clone()), 0..6);
        prop_oneof![
            prop::collection::vec(inner, 0..4).prop_map(Value::from),
            members.prop_map(|members| members
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value))
                .collect::<Map<_, _>>()
                .into()),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_input_panics(data in prop::collection::vec(any::<u8>(), 0..512)) {
        all_parsers(&data);
    }

    #[test]
    fn no_document_panics(document in documents()) {
        all_parsers(document.to_string().as_bytes());
    }

    #[test]
    fn no_altered_token_passes(data in mutated(WORLD.token.as_bytes())) {
        all_parsers(&data);
        let text = String::from_utf8_lossy(&data);
        prop_assert!(verify_jwt_svid(&text, WORLD.set.bundle(), None, NOW).is_err() || *text == WORLD.token);
        prop_assert!(oidc().verify(&text, NOW).is_err() || *text == WORLD.token);
    }

    #[test]
    fn no_altered_wit_passes(data in mutated(WORLD.wit.as_bytes())) {
        all_parsers(&data);
        let text = String::from_utf8_lossy(&data);
        prop_assert!(verify_wit_svid(&text, WORLD.set.bundle(), NOW).is_err() || *text == WORLD.wit);
    }

    #[test]
    fn no_altered_certificate_passes(data in mutated(&WORLD.certificate)) {
        all_parsers(&data);
        prop_assert!(verify_x509_svid(&[&data], WORLD.set.bundle(), NOW).is_err() || data == WORLD.certificate);
    }

    /// What is read from an altered document is written and read again as it is.
    #[test]
    fn altered_bundles_are_refused_or_stable(data in mutated(WORLD.bundle.as_bytes())) {
        all_parsers(&data);
        if let Ok(bundle) = Bundle::from_spiffe_json("example.org".parse().unwrap(), &data)
            && let Ok(json) = bundle.to_spiffe_json()
        {
            prop_assert_eq!(Bundle::from_spiffe_json("example.org".parse().unwrap(), json.as_bytes()).unwrap(), bundle);
        }
    }

    #[test]
    fn altered_maps_and_key_sets_do_not_panic(map in mutated(WORLD.map.as_bytes()), jwks in mutated(WORLD.jwks.as_bytes())) {
        all_parsers(&map);
        all_parsers(&jwks);
    }

    /// Of arbitrary claims that were rightly signed, each selector is whole and of the attestor `oidc`.
    #[test]
    fn selectors_of_any_claims(claims in documents(), name in ".{0,12}") {
        let forge = crate::fixtures::Forge::new();
        let mut all = crate::fixtures::Forge::claims();
        all["iss"] = "https://marque.example.org".into();
        all["iat"] = NOW.seconds().into();
        all[name] = claims;
        let token = forge.sign(&crate::fixtures::Forge::header("JWT"), &all);
        let keys = IssuerKeys::read(forge.bundle.oauth_jwks_json().unwrap().as_bytes()).unwrap();
        let issuer = "https://marque.example.org".parse().unwrap();
        let verifier = OidcVerifier::new(issuer, vec!["db".into()], Ttl::from_seconds(0), keys).unwrap();
        if let Ok(token) = verifier.verify(&token, NOW)
            && let Ok(found) = selectors(&token)
        {
            prop_assert!(found.iter().all(|selector| selector.as_str().starts_with("oidc:")));
            prop_assert!(found.len() <= 257);
        }
    }

    #[test]
    fn join_tokens_admit_their_own_text_only(one in any::<[u8; 32]>(), other in any::<[u8; 32]>(), after in 0..120u64) {
        let (token, wrong) = (JoinToken::new(one), JoinToken::new(other));
        let record = token.record(NOW, Ttl::from_seconds(60));
        let now = NOW.plus(Ttl::from_seconds(after));
        prop_assert_eq!(record.redeem(token.danger_expose(), now).is_ok(), after < 60);
        prop_assert_eq!(record.redeem(wrong.danger_expose(), NOW).is_ok(), one == other);
    }
}

/// One thing that may happen to a set.
#[derive(Clone, Debug)]
enum Act {
    Wait(u64),
    Advance,
    Prepare(KeyKind),
    Activate(prop::sample::Index),
    Forget(prop::sample::Index),
    Taint(prop::sample::Index),
    Revoke(prop::sample::Index),
    Restart,
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let kind = prop::sample::select(vec![KeyKind::X509, KeyKind::Jwt, KeyKind::Wit]);
    let act = prop_oneof![
        3 => (0..40_000u64).prop_map(Act::Wait),
        3 => Just(Act::Advance),
        1 => kind.prop_map(Act::Prepare),
        1 => any::<prop::sample::Index>().prop_map(Act::Activate),
        1 => any::<prop::sample::Index>().prop_map(Act::Forget),
        1 => any::<prop::sample::Index>().prop_map(Act::Taint),
        1 => any::<prop::sample::Index>().prop_map(Act::Revoke),
        1 => Just(Act::Restart),
    ];
    prop::collection::vec(act, 1..24)
}

struct Issued {
    kind: KeyKind,
    authority: marque_svid::AuthorityId,
    ends: Timestamp,
    credential: Vec<u8>,
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever is done and in which order: one key of each kind is active, the sequence grows with each change, and what was
    /// issued verifies until its end exactly if its key was not revoked.
    #[test]
    fn rotation(acts in acts()) {
        let policy = RotationPolicy {
            x509_lifetime: Ttl::from_seconds(86_400),
            token_lifetime: Ttl::from_seconds(43_200),
            wit: true,
            ..RotationPolicy::default()
        };
        let (mut now, mut revoked, mut issued) = (NOW, Vec::new(), Vec::<Issued>::new());
        let rotation = |now| Rotation { now, policy: &policy, keys: &SoftwareKeys, upstream: None };
        let mut set = AuthoritySet::new(&"example.org".parse().unwrap(), &rotation(now)).unwrap();
        for act in acts {
            let all = set.authorities();
            let pick = |index: prop::sample::Index| { let one = index.get(&all); (one.kind, one.id.clone()) };
            let step = match act {
                Act::Wait(seconds) => { now = now.plus(Ttl::from_seconds(seconds)); continue }
                Act::Advance => None,
                Act::Restart => {
                    let json = serde_json::to_vec(&set.to_stored()).unwrap();
                    let again = AuthoritySet::from_json(&json, &SoftwareKeys, &policy).unwrap();
                    prop_assert_eq!(again.authorities(), set.authorities());
                    prop_assert_eq!(again.bundle(), set.bundle());
                    set = again;
                    continue;
                }
                Act::Prepare(kind) => Some(Step::Prepare { kind }),
                Act::Activate(index) => { let (kind, id) = pick(index); Some(Step::Activate { kind, id }) }
                Act::Forget(index) => { let (kind, id) = pick(index); Some(Step::Forget { kind, id }) }
                Act::Taint(index) => { let (kind, id) = pick(index); Some(Step::Taint { kind, id }) }
                Act::Revoke(index) => { let (kind, id) = pick(index); Some(Step::Revoke { kind, id }) }
            };
            let next = match &step {
                None => set.advance(&[KeyKind::X509, KeyKind::Jwt, KeyKind::Wit], &rotation(now)).set,
                Some(step) => match set.apply(step, &rotation(now)) {
                    Ok(next) => next,
                    // Too early to forget, or not prepared.
                    Err(_) => {
                        let may_fail = matches!(step, Step::Activate { .. } | Step::Forget { .. });
                        prop_assert!(may_fail);
                        continue;
                    }
                },
            };
            let same = Bundle { sequence: set.bundle().sequence, ..next.bundle().clone() } == *set.bundle();
            prop_assert_eq!(same, next.bundle().sequence == set.bundle().sequence);
            prop_assert!(next.bundle().sequence >= set.bundle().sequence);
            if let Some(Step::Revoke { id, .. }) = step {
                revoked.push(id);
            }
            set = next;
            for kind in [KeyKind::X509, KeyKind::Jwt, KeyKind::Wit] {
                let active = set.authorities().into_iter().filter(|one| one.kind == kind && one.phase == Phase::Active).collect::<Vec<_>>();
                prop_assert_eq!(active.len(), 1);
                prop_assert!(active[0].tainted.is_none());
            }
            issue(&set, now, &mut issued);
            check(&set, now, &issued, &revoked)?;
        }
    }
}

fn issue(set: &AuthoritySet, now: Timestamp, issued: &mut Vec<Issued>) {
    use marque_svid::{JwtSvidRequest, X509Request};
    let (id, day, audience) = (agent(), Ttl::from_seconds(86_400), ["db".to_owned()]);
    if let Ok(svid) = set.issue_x509(X509Request { id: &id, dns: &[], ips: &[], ttl: day, now, serial: [1; 16] }) {
        let (authority, ends) = (svid.authority.clone(), svid.not_after);
        issued.push(Issued { kind: KeyKind::X509, authority, ends, credential: svid.chain[0].clone() });
    }
    if let Ok(token) = set.issue_jwt_svid(JwtSvidRequest { id: &id, audience: &audience, issuer: None, jti: "j", now, ttl: day })
    {
        let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap()).unwrap();
        let ends = Timestamp::from_seconds(claims["exp"].as_i64().unwrap());
        let authority = set.active(KeyKind::Jwt).unwrap();
        issued.push(Issued { kind: KeyKind::Jwt, authority, ends, credential: token.into_bytes() });
    }
}

fn check(
    set: &AuthoritySet,
    now: Timestamp,
    issued: &[Issued],
    revoked: &[marque_svid::AuthorityId],
) -> Result<(), TestCaseError> {
    for one in issued.iter().filter(|one| now < one.ends) {
        let verified = match one.kind {
            KeyKind::X509 => verify_x509_svid(&[&one.credential], set.bundle(), now).is_ok(),
            _ => verify_jwt_svid(std::str::from_utf8(&one.credential).unwrap(), set.bundle(), None, now).is_ok(),
        };
        let is_revoked = revoked.contains(&one.authority);
        prop_assert_eq!(verified, !is_revoked, "{:?} of {} at {}", one.kind, one.authority, now);
        prop_assert_eq!(set.standing(one.kind, &one.authority) == Standing::Gone, is_revoked);
    }
    Ok(())
}
