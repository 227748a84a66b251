use std::collections::BTreeSet;

use aws_lc_rs::signature::KeyPair as _;
use jsonwebtoken::{Algorithm as Alg, EncodingKey, Header};
use marque_core::attestation::Selector;
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256, SignatureAlgorithm};
use serde_json::json;

use super::*;
use crate::jwk::Jwk;

const NOW: Timestamp = Timestamp::from_seconds(1_800_000_000);
const GITHUB: &str = "https://token.actions.githubusercontent.com";

/// An issuer whose tokens another library signs.
struct Issuer {
    key: EncodingKey,
    jwk: Jwk,
    algorithm: Alg,
}

impl Issuer {
    fn new(algorithm: Alg) -> Self {
        let rsa = !matches!(algorithm, Alg::ES256);
        let kind: &'static SignatureAlgorithm = if rsa { &PKCS_RSA_SHA256 } else { &PKCS_ECDSA_P256_SHA256 };
        let pair = KeyPair::generate_for(kind).unwrap();
        let jwk = if rsa {
            let key = aws_lc_rs::rsa::KeyPair::from_pkcs8(pair.serialized_der()).unwrap();
            let (n, e) = (key.public_key().modulus(), key.public_key().exponent());
            Jwk::from_rsa(n.big_endian_without_leading_zero(), e.big_endian_without_leading_zero())
        } else {
            Jwk::from_point(pair.public_key_raw()).unwrap()
        };
        // PKCS#8 of a key of 2048 bits is PKCS#1 behind 26 octets.
        let der = pair.serialized_der();
        let key = if rsa { EncodingKey::from_rsa_der(&der[26..]) } else { EncodingKey::from_ec_der(der) };
        Self { key, jwk, algorithm }
    }

    fn entry(&self, kid: &str) -> Value {
        let mut entry = serde_json::to_value(&self.jwk).unwrap();
        entry["kid"] = json!(kid);
        entry["use"] = json!("sig");
        entry
    }

    fn sign(&self, kid: Option<&str>, claims: &Value) -> String {
        let mut header = Header::new(self.algorithm);
        header.kid = kid.map(str::to_owned);
        header.x5t = Some("as GitHub has it".to_owned());
        jsonwebtoken::encode(&header, claims, &self.key).unwrap()
    }
}

fn verifier(keys: &[Value]) -> OidcVerifier {
    let keys = IssuerKeys::read(json!({ "keys": keys }).to_string().as_bytes()).unwrap();
    OidcVerifier::new(GITHUB.parse().unwrap(), vec!["marque".into(), "other".into()], Ttl::from_seconds(30), keys).unwrap()
}

fn claims() -> Value {
    let now = NOW.seconds();
    json!({ "iss": GITHUB, "sub": "repo:acme/app:ref:refs/heads/main", "aud": "marque", "iat": now, "nbf": now - 600, "exp": now + 300 })
}

#[test]
fn tokens_of_each_kind_of_key_verify() {
    for algorithm in [Alg::RS256, Alg::RS512, Alg::PS256, Alg::ES256] {
        let issuer = Issuer::new(algorithm);
        let verifier = verifier(&[Issuer::new(Alg::ES256).entry("other"), issuer.entry("one")]);
        let token = issuer.sign(Some("one"), &claims());
        let verified = verifier.verify(&token, NOW).unwrap();
        assert_eq!(verified.subject, "repo:acme/app:ref:refs/heads/main");
        assert_eq!((verified.issuer.as_str(), verified.issued), (GITHUB, NOW));
        assert_eq!(verified.expires.seconds(), NOW.seconds() + 300);
        assert_eq!(verified.digest, token_hash(&token));
    }
}

#[test]
fn keys_are_chosen_by_name_and_kind() {
    let (one, two) = (Issuer::new(Alg::ES256), Issuer::new(Alg::ES256));
    let token = |issuer: &Issuer, kid| issuer.sign(kid, &claims());
    assert!(matches!(verifier(&[two.entry("two")]).verify(&token(&one, Some("one")), NOW), Err(SvidError::UnknownKey(_))));
    assert!(matches!(verifier(&[two.entry("one")]).verify(&token(&one, Some("one")), NOW), Err(SvidError::Signature)));
    assert!(verifier(&[two.entry("one"), one.entry("one")]).verify(&token(&one, Some("one")), NOW).is_ok());
    assert!(verifier(&[one.entry("x")]).verify(&token(&one, None), NOW).is_ok(), "the only key");
    assert!(matches!(verifier(&[one.entry("x"), two.entry("y")]).verify(&token(&one, None), NOW), Err(SvidError::UnknownKey(_))));
    for (member, value) in
        [("use", json!("enc")), ("alg", json!("ES384")), ("kty", json!("oct")), ("kid", json!(1)), ("d", json!("AA"))]
    {
        let mut entry = one.entry("one");
        entry[member] = value;
        assert!(matches!(verifier(&[entry]).verify(&token(&one, Some("one")), NOW), Err(SvidError::UnknownKey(_))), "{member}");
    }
    let mut entry = one.entry("one");
    entry["alg"] = json!("ES256");
    entry.as_object_mut().unwrap().remove("use");
    assert!(verifier(&[entry]).verify(&token(&one, Some("one")), NOW).is_ok());
}

#[test]
fn claims_are_checked() {
    let issuer = Issuer::new(Alg::ES256);
    let verifier = verifier(&[issuer.entry("one")]);
    let with = |name: &str, value: Value| {
        let mut claims = claims();
        claims[name] = value;
        claims.as_object_mut().unwrap().retain(|_, value| !value.is_null());
        verifier.verify(&issuer.sign(Some("one"), &claims), NOW)
    };
    let now = NOW.seconds();
    assert!(matches!(with("iss", json!(format!("{GITHUB}/"))), Err(SvidError::Issuer(_))));
    assert!(matches!(with("aud", json!(["x", "Marque"])), Err(SvidError::Audience(_))));
    assert!(with("aud", json!(["x", "other"])).is_ok());
    for name in ["iss", "sub", "aud", "exp", "iat"] {
        assert!(matches!(with(name, Value::Null), Err(SvidError::Claim(_))), "{name}");
    }
    assert!(matches!(with("sub", json!("")), Err(SvidError::Claim("sub"))));
    assert!(with("exp", json!(now - 29)).is_ok(), "within the leeway");
    assert!(matches!(with("exp", json!(now - 30)), Err(SvidError::Expired)));
    assert!(with("nbf", json!(now + 30)).is_ok());
    assert!(matches!(with("nbf", json!(now + 31)), Err(SvidError::NotYetValid)));
    assert!(with("nbf", Value::Null).is_ok());
    assert!(matches!(with("iat", json!(now + 61)), Err(SvidError::NotYetValid)));
}

#[test]
fn other_algorithms_and_classes_are_refused() {
    let issuer = Issuer::new(Alg::ES256);
    let verifier = verifier(&[issuer.entry("one")]);
    let secret = EncodingKey::from_secret(b"public");
    let mut header = Header::new(Alg::HS256);
    header.kid = Some("one".into());
    let token = jsonwebtoken::encode(&header, &claims(), &secret).unwrap();
    assert!(matches!(verifier.verify(&token, NOW), Err(SvidError::Algorithm(_))));
    let mut header = Header::new(Alg::ES256);
    header.kid = Some("one".into());
    header.typ = Some("at+jwt".into());
    let token = jsonwebtoken::encode(&header, &claims(), &issuer.key).unwrap();
    assert!(matches!(verifier.verify(&token, NOW), Err(SvidError::TokenType(_))));
    let good = issuer.sign(Some("one"), &claims());
    let mut parts: Vec<&str> = good.split('.').collect();
    parts[2] = "";
    assert!(verifier.verify(&parts.join("."), NOW).is_err());
    let nobody = OidcVerifier::new(GITHUB.parse().unwrap(), vec![], Ttl::from_seconds(0), IssuerKeys::default());
    assert!(matches!(nobody, Err(SvidError::NoAudience)));
}

#[test]
fn discovery_documents_name_their_issuer() {
    let issuer: IssuerUrl = GITHUB.parse().unwrap();
    assert_eq!(issuer.discovery_url(), format!("{GITHUB}/.well-known/openid-configuration"));
    let read = |issuer: &str, document: Value| Discovery::read(&issuer.parse().unwrap(), document.to_string().as_bytes());
    let uri = format!("{GITHUB}/.well-known/jwks");
    assert_eq!(read(GITHUB, json!({ "issuer": GITHUB, "jwks_uri": uri })).unwrap().jwks_uri, uri);
    for bad in [
        json!({ "issuer": format!("{GITHUB}/"), "jwks_uri": uri }),
        json!({ "jwks_uri": uri }),
        json!({ "issuer": GITHUB }),
        json!({ "issuer": GITHUB, "jwks_uri": "http://token.actions.githubusercontent.com/jwks" }),
        json!({ "issuer": GITHUB, "jwks_uri": "http://127.0.0.1/jwks" }),
        json!({ "issuer": GITHUB, "jwks_uri": "file:///etc/passwd" }),
        json!({ "issuer": GITHUB, "jwks_uri": "https://user@a.example/jwks" }),
    ] {
        assert!(read(GITHUB, bad.clone()).is_err(), "{bad}");
    }
    let local = "http://127.0.0.1:8080";
    assert!(read(local, json!({ "issuer": local, "jwks_uri": "http://127.0.0.1:8080/jwks" })).is_ok());
    assert!(read(local, json!({ "issuer": local, "jwks_uri": "http://a.example/jwks" })).is_err());
    for bad in
        ["", "http://a.example", "http://127.0.0.1.example", "https://a.example?b", "https://a.example#b", "HTTPS://a", "ftp://a"]
    {
        assert!(bad.parse::<IssuerUrl>().is_err(), "{bad}");
    }
}

#[test]
fn our_own_document_has_what_relying_parties_need() {
    let json = OwnDiscovery::new("https://marque.example", "https://marque.example/oauth/jwks").to_json().unwrap();
    let document: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(document["issuer"], "https://marque.example");
    assert_eq!(document["response_types_supported"], json!(["id_token"]));
    assert_eq!(document["subject_types_supported"], json!(["public"]));
    assert_eq!(document["id_token_signing_alg_values_supported"], json!(["ES256"]));
    let read = Discovery::read(&"https://marque.example".parse().unwrap(), json.as_bytes()).unwrap();
    assert_eq!(read.jwks_uri, "https://marque.example/oauth/jwks");
}

fn selectors_of(more: Value) -> Result<BTreeSet<Selector>> {
    let mut claims = claims();
    claims.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let issuer = Issuer::new(Alg::ES256);
    let verified = verifier(&[issuer.entry("one")]).verify(&issuer.sign(Some("one"), &claims), NOW).unwrap();
    selectors(&verified)
}

fn texts(selectors: &BTreeSet<Selector>) -> Vec<&str> {
    selectors.iter().map(Selector::as_str).collect()
}

#[test]
fn claims_become_selectors() {
    let found = selectors_of(json!({
        "repository": "acme/app",
        "run_attempt": 2,
        "ref_protected": true,
        "groups": ["a", "b", ["c"], { "d": 1 }, null],
        "kubernetes.io": { "namespace": "prod", "serviceaccount": { "name": "agent" } },
        "https://acme.example/role": "x",
        "Name": "y",
        "jti": "z",
        "nothing": null,
        "empty": "",
        "line": "a\nb",
    }))
    .unwrap();
    assert_eq!(
        texts(&found),
        [
            "oidc:aud:marque",
            "oidc:claim:Name:y",
            "oidc:claim:https%3A//acme.example/role:x",
            "oidc:claim:kubernetes.io.namespace:prod",
            "oidc:claim:kubernetes.io.serviceaccount.name:agent",
            "oidc:claim_groups:a",
            "oidc:claim_groups:b",
            "oidc:claim_ref_protected:true",
            "oidc:claim_repository:acme/app",
            "oidc:claim_run_attempt:2",
            "oidc:iss:https://token.actions.githubusercontent.com",
            "oidc:sub:repo:acme/app:ref:refs/heads/main",
        ]
    );
}

/// No claim passes for another, and none for a part of another.
#[test]
fn selectors_are_not_to_be_forged_by_names_or_values() {
    let found = selectors_of(json!({ "a:b": "c", "a": "b:c", "claim_x": "y", "x": "y", "long": "v".repeat(1025) })).unwrap();
    let found = texts(&found);
    for expected in ["oidc:claim:a%3Ab:c", "oidc:claim_a:b:c", "oidc:claim_claim_x:y", "oidc:claim_x:y"] {
        assert!(found.contains(&expected), "{found:?}");
    }
    assert_eq!(found.len(), 4 + 3, "what is too long is not there at all: {found:?}");
    assert!(matches!(selectors_of(json!({ "a": { "b": 1 }, "a.b": 1 })), Err(SvidError::Selectors(_))));
    let many: Vec<u32> = (0..300).collect();
    assert!(matches!(selectors_of(json!({ "many": many })), Err(SvidError::Selectors(_))));
    let deep = json!({ "a": { "b": { "c": { "d": { "e": 1, "f": { "g": 1 } } } } } });
    assert_eq!(texts(&selectors_of(deep).unwrap())[1], "oidc:claim:a.b.c.d.e:1");
}
