//! Lines 16 to 20 and 34: WIT-SVID and its proof, experimental.

use std::collections::BTreeSet;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use marque_core::time::Ttl;
use marque_svid::wit::{
    Expectation, Presentation, ProofRequest, ProofsSeen, WIT_SVID_REVISION, WitRequest, WitSvid, prove, verify_wit_svid,
};
use marque_svid::{AuthoritySet, Bundle, P256Key, verify_jwt_svid};
use serde_json::{Value, json};

use crate::fixtures::{AGENT, Forge, NOW, agent, json, part, set};

fn wit(set: &AuthoritySet, jti: &str) -> WitSvid {
    set.issue_wit_svid(WitRequest { id: &agent(), jti, now: NOW, ttl: Ttl::from_seconds(600) }).unwrap()
}

fn forged_wit(forge: &Forge, header: &Value, change: impl FnOnce(&mut Value)) -> bool {
    let mut claims = part(&wit(&set("example.org"), "j").token, 1);
    change(&mut claims);
    verify_wit_svid(&forge.sign(header, &claims), &forge.bundle, NOW).is_ok()
}

#[test]
fn line_16_headers_of_wit_svids() {
    assert_eq!(WIT_SVID_REVISION, "665a28f3");
    let set = set("example.org");
    let token = wit(&set, "j").token;
    assert_eq!(part(&token, 0), json!({ "alg": "ES256", "kid": set.bundle().wit_keys[0].kid, "typ": "wit+jwt" }));
    let forge = Forge::new();
    assert!(forged_wit(&forge, &Forge::header("wit+jwt"), |_| {}));
    for typ in ["JWT", "wit", "application/wit+jwt", ""] {
        assert!(!forged_wit(&forge, &Forge::header(typ), |_| {}), "{typ}");
    }
    for name in ["alg", "kid", "typ"] {
        let mut header = Forge::header("wit+jwt");
        header.as_object_mut().unwrap().remove(name);
        assert!(!forged_wit(&forge, &header, |_| {}), "{name}");
    }
    let mut header = Forge::header("wit+jwt");
    header["x"] = json!(1);
    assert!(forged_wit(&forge, &header, |_| {}), "an unknown parameter");
    header["crit"] = json!(["x"]);
    assert!(!forged_wit(&forge, &header, |_| {}), "a critical one");
}

#[test]
fn line_17_claims_of_wit_svids() {
    let set = set("example.org");
    let (one, two) = (wit(&set, "lease-1"), wit(&set, "lease-2"));
    let claims = part(&one.token, 1);
    assert_eq!((&claims["sub"], &claims["jti"]), (&json!(AGENT), &json!("lease-1")));
    assert_eq!(claims["cnf"]["jwk"]["alg"], "ES256");
    assert!(claims["exp"].is_i64() && claims.get("aud").is_none());
    assert_ne!(claims["cnf"], part(&two.token, 1)["cnf"], "two instances share no key");
    let (forge, header, now) = (Forge::new(), Forge::header("wit+jwt"), NOW.seconds());
    let with = |name: &str, value: Value| forged_wit(&forge, &header, |claims| claims[name] = value);
    assert!(!with("aud", json!("db")) && !with("nbf", json!(now + 1)) && !with("exp", json!(now)));
    assert!(with("iat", json!(now + 1_000_000)), "it is never used for validity");
    assert!(!with("sub", json!("agent")) && !with("cnf", json!({})));
    for alg in ["none", "HS256", "EdDSA", "RS256"] {
        assert!(!forged_wit(&forge, &header, |claims| claims["cnf"]["jwk"]["alg"] = json!(alg)), "{alg}");
    }
}

fn proof(svid: &WitSvid, target: &str, jti: &str, access_token: Option<&str>) -> String {
    let key = P256Key::from_pkcs8(svid.key_pkcs8.clone()).unwrap();
    let request = ProofRequest {
        wit: &svid.token,
        target,
        jti,
        now: NOW,
        ttl: Ttl::from_seconds(30),
        access_token,
        transaction_token: None,
        others: &[],
    };
    prove(&key, request).unwrap()
}

const EXPECTED: Expectation<'static> = Expectation {
    targets: &["https://tools.example.org/call"],
    access_token: None,
    transaction_token: None,
    others: &[],
    now: NOW,
};

#[test]
fn line_18_a_wit_svid_proves_nothing_alone() {
    let set = set("example.org");
    let svid = wit(&set, "j");
    // There is no way from the token to an identity but by the proof.
    let proof = proof(&svid, EXPECTED.targets[0], "p", None);
    let verified = verify_wit_svid(&svid.token, set.bundle(), NOW).unwrap().prove(&proof, &EXPECTED).unwrap();
    assert_eq!(verified.id, agent());
    let thief = P256Key::generate().unwrap();
    let request = ProofRequest {
        wit: &svid.token,
        target: EXPECTED.targets[0],
        jti: "p",
        now: NOW,
        ttl: Ttl::from_seconds(30),
        access_token: None,
        transaction_token: None,
        others: &[],
    };
    let stolen = prove(&thief, request).unwrap();
    assert!(verify_wit_svid(&svid.token, set.bundle(), NOW).unwrap().prove(&stolen, &EXPECTED).is_err());
    // Nobody who expects a bearer token takes it: it has no issuer, and it is no JWT-SVID.
    assert!(part(&svid.token, 1).get("iss").is_none());
    let mut confused = set.bundle().clone();
    confused.jwt_keys.clone_from(&confused.wit_keys);
    assert!(verify_jwt_svid(&svid.token, &confused, None, NOW).is_err());
}

#[test]
fn line_19_wit_entries_of_the_bundle() {
    let set = set("example.org");
    let document = json(&set.bundle().to_spiffe_json().unwrap());
    let keys = document["keys"].as_array().unwrap();
    let wit: Vec<&Value> = keys.iter().filter(|key| key["use"] == "wit-svid").collect();
    assert_eq!(wit.len(), 1);
    let kids: Vec<&str> = keys.iter().filter_map(|key| key["kid"].as_str()).collect();
    assert_eq!(kids.len(), kids.iter().collect::<BTreeSet<_>>().len());
    let mut twice = document.clone();
    let jwt = keys.iter().position(|key| key["use"] == "jwt-svid").unwrap();
    twice["keys"][jwt]["kid"] = wit[0]["kid"].clone();
    let read = |document: &Value| Bundle::from_spiffe_json("example.org".parse().unwrap(), document.to_string().as_bytes());
    assert!(read(&document).is_ok() && read(&twice).is_err());
}

#[test]
fn line_20_workload_proof_tokens() {
    let set = set("example.org");
    let svid = wit(&set, "j");
    let target = EXPECTED.targets[0];
    let check =
        |proof: &str, expected: &Expectation<'_>| verify_wit_svid(&svid.token, set.bundle(), NOW).unwrap().prove(proof, expected);
    let good = proof(&svid, &format!("{target}?q=1"), "p", None);
    assert_eq!(part(&good, 0), json!({ "alg": "ES256", "typ": "wpt+jwt" }));
    assert_eq!(part(&good, 1)["aud"], target);
    let verified = check(&good, &EXPECTED).unwrap();
    assert!(Presentation::from_fields(&[&svid.token], &[&good]).is_ok());
    assert!(Presentation::from_fields(&[&svid.token], &[&good, &good]).is_err());
    assert!(check(&proof(&svid, "https://other.example.org/call", "p", None), &EXPECTED).is_err());
    assert!(check(&good, &Expectation { now: NOW.plus(Ttl::from_seconds(30)), ..EXPECTED }).is_err());
    let with_token = Expectation { access_token: Some("at"), ..EXPECTED };
    assert!(check(&good, &with_token).is_err(), "`ath` is missing");
    assert!(check(&proof(&svid, target, "p", Some("at")), &with_token).is_ok());
    assert!(check(&proof(&wit(&set, "other"), target, "p", None), &EXPECTED).is_err(), "`wth` is of another");
    let mut seen = ProofsSeen::new(10);
    assert!(seen.admit(&verified, NOW).is_ok() && seen.admit(&verified, NOW).is_err());
}

#[test]
fn line_34_forms_of_wit_svids() {
    let set = set("example.org");
    let svid = wit(&set, "j");
    assert_eq!(svid.token.split('.').count(), 3);
    let key = json(svid.key_jwk.danger_expose());
    assert_eq!((&key["kty"], &key["crv"], &key["alg"]), (&json!("EC"), &json!("P-256"), &json!("ES256")));
    assert_eq!(URL_SAFE_NO_PAD.decode(key["d"].as_str().unwrap()).unwrap().len(), 32);
    assert_eq!((&key["x"], &key["y"]), (&part(&svid.token, 1)["cnf"]["jwk"]["x"], &part(&svid.token, 1)["cnf"]["jwk"]["y"]));
    let bundle = json(&set.bundle().wit_jwks_json().unwrap());
    assert_eq!(bundle["keys"].as_array().unwrap().len(), 1);
    assert_eq!((&bundle["keys"][0]["use"], &bundle["keys"][0]["kid"]), (&json!("wit-svid"), &part(&svid.token, 0)["kid"]));
}
