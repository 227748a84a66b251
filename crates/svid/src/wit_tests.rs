use marque_core::time::Ttl;

use super::*;
use crate::jws::{self, TokenHeader, decode, token_hash};
use crate::keys::SoftwareKeys;
use crate::set::{AuthoritySet, Rotation, RotationPolicy};

const NOW: Timestamp = Timestamp::from_seconds(1_800_000_000);
const TARGET: &str = "https://workload.example.org/path";

fn set() -> AuthoritySet {
    let policy = RotationPolicy { wit: true, ..RotationPolicy::default() };
    let rotation = Rotation { now: NOW, policy: &policy, keys: &SoftwareKeys, upstream: None };
    AuthoritySet::new(&"example.org".parse().unwrap(), &rotation).unwrap()
}

fn issue(set: &AuthoritySet) -> WitSvid {
    let id = "spiffe://example.org/agent".parse().unwrap();
    set.issue_wit_svid(WitRequest { id: &id, jti: "lease-1", now: NOW, ttl: Ttl::from_seconds(600) }).unwrap()
}

fn key(svid: &WitSvid) -> P256Key {
    P256Key::from_pkcs8(svid.key_pkcs8.clone()).unwrap()
}

fn request<'a>(wit: &'a str) -> ProofRequest<'a> {
    ProofRequest {
        wit,
        target: TARGET,
        jti: "proof-1",
        now: NOW,
        ttl: Ttl::from_seconds(60),
        access_token: None,
        transaction_token: None,
        others: &[],
    }
}

fn expectation() -> Expectation<'static> {
    Expectation { targets: &[TARGET], access_token: None, transaction_token: None, others: &[], now: NOW }
}

fn header(token: &str) -> Value {
    serde_json::from_slice(&decode(token.split('.').next().unwrap()).unwrap()).unwrap()
}

#[test]
fn a_token_and_its_proof() {
    let set = set();
    let svid = issue(&set);
    assert_eq!(header(&svid.token), json!({ "alg": "ES256", "kid": set.bundle().wit_keys[0].kid, "typ": "wit+jwt" }));
    let proof = prove(&key(&svid), request(&svid.token)).unwrap();
    assert_eq!(header(&proof), json!({ "alg": "ES256", "typ": "wpt+jwt" }));
    let unproven = verify_wit_svid(&svid.token, set.bundle(), NOW).unwrap();
    let verified = unproven.prove(&proof, &expectation()).unwrap();
    assert_eq!((verified.id, verified.expires), (svid.id.clone(), svid.expires));
    assert_eq!(verified.claims["jti"], "lease-1");
    assert!(!verified.claims.contains_key("aud") && !verified.claims.contains_key("iss"));
    assert_eq!(verified.claims["cnf"]["jwk"]["alg"], "ES256");
    assert_eq!(verified.proof_expires, NOW.plus(Ttl::from_seconds(60)));
    assert!(verify_wit_svid(&svid.token, set.bundle(), svid.expires).is_err());
}

/// The private key is the one that the token confirms, in both its forms.
#[test]
fn the_key_belongs_to_the_token() {
    let svid = issue(&set());
    let jwk: Value = serde_json::from_str(svid.key_jwk.danger_expose()).unwrap();
    let d = URL_SAFE_NO_PAD.decode(jwk["d"].as_str().unwrap()).unwrap();
    assert_eq!(d, key(&svid).scalar().unwrap().as_slice());
    let claims = UnverifiedToken::parse(&svid.token).unwrap().unverified_claims().unwrap();
    for member in ["kty", "crv", "x", "y", "alg"] {
        assert_eq!(jwk[member], claims["cnf"]["jwk"][member]);
    }
    assert!(!format!("{svid:?}").contains(jwk["d"].as_str().unwrap()));
}

/// A token with other claims or header, rightly signed.
fn forged(set: &AuthoritySet, header: Value, change: impl FnOnce(&mut Map<String, Value>)) -> Result<UnprovenWit> {
    let signer = Forge::of(set);
    let mut claims = UnverifiedToken::parse(&issue(set).token).unwrap().unverified_claims().unwrap();
    change(&mut claims);
    verify_wit_svid(&signer.sign(header, &claims), set.bundle(), NOW)
}

struct Forge(std::sync::Arc<dyn SigningBackend>, String);

impl Forge {
    fn of(set: &AuthoritySet) -> Self {
        use crate::keys::KeyStore;
        let stored = serde_json::to_value(set.to_stored()).unwrap();
        let key = serde_json::from_value(stored["wit"][0]["key"].clone()).unwrap();
        Self(SoftwareKeys.open(&key).unwrap(), set.bundle().wit_keys[0].kid.clone())
    }

    fn header(&self) -> Value {
        json!({ "alg": "ES256", "kid": self.1, "typ": "wit+jwt" })
    }

    fn sign(&self, header: Value, claims: &Map<String, Value>) -> String {
        let part = |value: String| URL_SAFE_NO_PAD.encode(value);
        let message = format!("{}.{}", part(header.to_string()), part(serde_json::to_string(claims).unwrap()));
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(self.0.sign(message.as_bytes()).unwrap()))
    }
}

/// WIT-SVID §2 and §3.
#[test]
fn tokens_that_break_the_profile_are_refused() {
    let set = set();
    let good = Forge::of(&set).header();
    assert!(forged(&set, good.clone(), |_| {}).is_ok());
    for name in ["alg", "kid", "typ"] {
        let mut header = good.clone();
        header.as_object_mut().unwrap().remove(name);
        assert!(forged(&set, header, |_| {}).is_err(), "without {name}");
    }
    for (name, value) in
        [("typ", "JWT"), ("typ", "application/wit+jwt"), ("typ", "WIT+JWT"), ("alg", "none"), ("alg", "EdDSA"), ("kid", "x")]
    {
        let mut header = good.clone();
        header[name] = json!(value);
        assert!(forged(&set, header, |_| {}).is_err(), "{name} {value}");
    }
    let mut header = good.clone();
    header["unknown"] = json!(1);
    assert!(forged(&set, header.clone(), |_| {}).is_ok());
    header["crit"] = json!(["unknown"]);
    assert!(forged(&set, header, |_| {}).is_err());
    for name in ["sub", "exp", "cnf"] {
        assert!(forged(&set, good.clone(), |claims| drop(claims.remove(name))).is_err(), "without {name}");
    }
    let now = NOW.seconds();
    for (name, value) in [
        ("aud", json!("db")),
        ("aud", json!([])),
        ("exp", json!(now)),
        ("nbf", json!(now + 1)),
        ("sub", json!("spiffe://other.org/agent")),
        ("sub", json!("spiffe://example.org")),
        ("cnf", json!({ "kid": "x" })),
        ("cnf", json!({ "jwk": { "kty": "oct", "k": "AA", "alg": "HS256" } })),
    ] {
        assert!(forged(&set, good.clone(), |claims| drop(claims.insert(name.into(), value.clone()))).is_err(), "{name} {value}");
    }
    assert!(forged(&set, good.clone(), |claims| drop(claims.insert("iat".into(), json!(now + 9999)))).is_ok());
    for (member, value) in
        [("alg", Value::Null), ("alg", json!("RS256")), ("alg", json!("HS256")), ("d", json!("AA")), ("x", json!("AA"))]
    {
        assert!(forged(&set, good.clone(), |claims| claims["cnf"]["jwk"][member] = value.clone()).is_err(), "{member} {value}");
    }
    let of_jwt_keys = Bundle { jwt_keys: set.bundle().wit_keys.clone(), wit_keys: Vec::new(), ..set.bundle().clone() };
    assert!(matches!(verify_wit_svid(&issue(&set).token, &of_jwt_keys, NOW), Err(SvidError::UnknownKey(_))));
    assert!(crate::jwt::verify_jwt_svid(&issue(&set).token, &of_jwt_keys, None, NOW).is_err(), "no bearer token");
}

/// draft-ietf-wimse-wpt §2.
#[test]
fn proofs_that_do_not_fit_are_refused() {
    let set = set();
    let (svid, other) = (issue(&set), issue(&set));
    let check =
        |proof: &str, expected: &Expectation<'_>| verify_wit_svid(&svid.token, set.bundle(), NOW).unwrap().prove(proof, expected);
    let proof = prove(&key(&svid), request(&svid.token)).unwrap();
    assert!(check(&proof, &expectation()).is_ok());
    let foreign_key = prove(&key(&other), request(&svid.token)).unwrap();
    assert!(matches!(check(&foreign_key, &expectation()), Err(SvidError::Signature)));
    let foreign_token = prove(&key(&svid), request(&other.token)).unwrap();
    assert!(matches!(check(&foreign_token, &expectation()), Err(SvidError::Proof(_))));
    for target in ["https://workload.example.org/other", "https://other.example.org/path", ""] {
        assert!(check(&proof, &Expectation { targets: &[target], ..expectation() }).is_err(), "{target}");
    }
    for target in ["https://workload.example.org/path?q=1", "https://workload.example.org/path#f"] {
        assert!(check(&proof, &Expectation { targets: &["x", target], ..expectation() }).is_ok(), "{target}");
    }
    let late = NOW.plus(Ttl::from_seconds(60));
    assert!(matches!(check(&proof, &Expectation { now: late, ..expectation() }), Err(SvidError::Expired)));
    let early = Timestamp::from_seconds(NOW.seconds() - 300);
    assert!(matches!(check(&proof, &Expectation { now: early, ..expectation() }), Err(SvidError::Proof(_))));
    let jwt = jws::sign(&key(&svid), &TokenHeader::new(None, "JWT"), &json!({ "aud": TARGET })).unwrap();
    assert!(matches!(check(&jwt, &expectation()), Err(SvidError::TokenType(_))));
    for claims in [
        json!({ "aud": TARGET, "exp": NOW.seconds() + 60, "jti": "j" }),
        json!({ "aud": TARGET, "exp": NOW.seconds() + 60, "wth": token_hash(&svid.token) }),
        json!({ "aud": TARGET, "jti": "j", "wth": token_hash(&svid.token) }),
        json!({ "exp": NOW.seconds() + 60, "jti": "j", "wth": token_hash(&svid.token) }),
    ] {
        let proof = jws::sign(&key(&svid), &TokenHeader::new(None, "wpt+jwt"), &claims).unwrap();
        assert!(check(&proof, &expectation()).is_err(), "{claims}");
    }
}

/// The tokens of the message are covered, and no others are.
#[test]
fn proofs_cover_the_tokens_of_the_message() {
    let set = set();
    let svid = issue(&set);
    let others: &[(&str, &str)] = &[("x-token", " abc ")];
    let all = ProofRequest { access_token: Some("at"), transaction_token: Some("tt"), others, ..request(&svid.token) };
    let proof = prove(&key(&svid), all).unwrap();
    let bare = prove(&key(&svid), request(&svid.token)).unwrap();
    let expected =
        Expectation { access_token: Some("at"), transaction_token: Some("tt"), others: &[("x-token", "abc")], ..expectation() };
    let check =
        |proof: &str, expected: Expectation<'_>| verify_wit_svid(&svid.token, set.bundle(), NOW).unwrap().prove(proof, &expected);
    assert!(check(&proof, expected).is_ok());
    for wrong in [
        Expectation { access_token: None, ..expected },
        Expectation { access_token: Some("other"), ..expected },
        Expectation { transaction_token: None, ..expected },
        Expectation { others: &[], ..expected },
        Expectation { others: &[("x-token", "abd")], ..expected },
        Expectation { others: &[("x-token", "abc"), ("y-token", "d")], ..expected },
        expectation(),
    ] {
        assert!(check(&proof, wrong).is_err(), "{wrong:?}");
        assert!(wrong == expectation() || check(&bare, wrong).is_err(), "{wrong:?}");
    }
}

#[test]
fn a_proof_is_admitted_once() {
    let set = set();
    let svid = issue(&set);
    let verified = |jti: &str| {
        let proof = prove(&key(&svid), ProofRequest { jti, ..request(&svid.token) }).unwrap();
        verify_wit_svid(&svid.token, set.bundle(), NOW).unwrap().prove(&proof, &expectation()).unwrap()
    };
    let mut seen = ProofsSeen::new(2);
    assert!(seen.admit(&verified("a"), NOW).is_ok());
    assert!(matches!(seen.admit(&verified("a"), NOW), Err(SvidError::Proof("it was used before"))));
    assert!(seen.admit(&verified("b"), NOW).is_ok());
    assert!(matches!(seen.admit(&verified("c"), NOW), Err(SvidError::Proof("too many proofs are in use"))));
    assert!(seen.admit(&verified("c"), NOW.plus(Ttl::from_seconds(60))).is_ok(), "the others have ended");
}

#[test]
fn there_is_exactly_one_of_each_field() {
    assert!(Presentation::from_fields(&[" w "], &["p"]).is_ok_and(|one| (one.wit, one.proof) == ("w", "p")));
    let fields: [(&[&str], &[&str]); 4] = [(&[], &["p"]), (&["w"], &[]), (&["w", "w"], &["p"]), (&["w"], &["p", "p"])];
    for (wits, proofs) in fields {
        assert!(Presentation::from_fields(wits, proofs).is_err());
    }
}
