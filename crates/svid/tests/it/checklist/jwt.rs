//! Lines 12 to 15: JWT-SVID; 46 and 47: what real relying parties ask of it.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use marque_core::time::{Timestamp, Ttl};
use marque_svid::oidc::{IssuerKeys, OidcVerifier, OwnDiscovery};
use marque_svid::{Bundle, JwtKey, SvidError, verify_jwt_svid};
use serde_json::{Value, json};

use crate::fixtures::{AGENT, Forge, NOW, agent, json, jwt, part, set};

#[test]
fn line_12_headers_of_jwt_svids() {
    let set = set("example.org");
    let token = jwt(&set, &agent());
    assert_eq!(part(&token, 0), json!({ "alg": "ES256", "kid": set.bundle().jwt_keys[0].kid, "typ": "JWT" }));
    let forge = Forge::new();
    let verify = |token: &str| verify_jwt_svid(token, &forge.bundle, Some("db"), NOW);
    let with = |name: &str, value: Value| {
        let mut header = Forge::header("JWT");
        header[name] = value;
        verify(&forge.sign(&header, &Forge::claims())).is_ok()
    };
    assert!(with("typ", json!("JWT")) && with("typ", json!("JOSE")));
    for typ in ["jwt", "at+jwt", "wit+jwt", ""] {
        assert!(!with("typ", json!(typ)), "{typ}");
    }
    for name in ["jku", "jwk", "x5u", "x5c", "cty", "crit", "b64", "other"] {
        assert!(!with(name, json!(["x"])), "{name}");
    }
    // JWS JSON serialization, flattened and general.
    let good = forge.sign(&Forge::header("JWT"), &Forge::claims());
    let parts: Vec<&str> = good.split('.').collect();
    let flattened = json!({ "protected": parts[0], "payload": parts[1], "signature": parts[2] });
    let general = json!({ "payload": parts[1], "signatures": [{ "protected": parts[0], "signature": parts[2] }] });
    assert!(verify(&good).is_ok() && verify(&flattened.to_string()).is_err() && verify(&general.to_string()).is_err());
}

#[test]
fn line_13_algorithms() {
    let forge = Forge::new();
    for alg in ["none", "None", "HS256", "HS384", "HS512", "EdDSA", "ES256K", "RSA-OAEP", "es256", ""] {
        let mut header = Forge::header("JWT");
        header["alg"] = json!(alg);
        let token = forge.sign(&header, &Forge::claims());
        assert!(matches!(verify_jwt_svid(&token, &forge.bundle, None, NOW), Err(SvidError::Algorithm(_))), "{alg}");
        let unsigned = format!("{}.", token.rsplit_once('.').unwrap().0);
        assert!(verify_jwt_svid(&unsigned, &forge.bundle, None, NOW).is_err(), "{alg}");
    }
    use aws_lc_rs::signature::{self as sig, KeyPair};
    let random = aws_lc_rs::rand::SystemRandom::new();
    let rsa = sig::RsaKeyPair::generate(aws_lc_rs::rsa::KeySize::Rsa2048).unwrap();
    let public = rsa.public_key();
    let rsa_jwk = json!({ "kty": "RSA",
        "n": URL_SAFE_NO_PAD.encode(public.modulus().big_endian_without_leading_zero()),
        "e": URL_SAFE_NO_PAD.encode(public.exponent().big_endian_without_leading_zero()) });
    let rsa_sign = |padding: &'static dyn sig::RsaEncoding, message: &[u8]| {
        let mut signature = vec![0; rsa.public_modulus_len()];
        rsa.sign(padding, &random, message, &mut signature).unwrap();
        signature
    };
    let ec_sign = |algorithm: &'static sig::EcdsaSigningAlgorithm, crv: &str, message: &[u8]| {
        let key = sig::EcdsaKeyPair::generate(algorithm).unwrap();
        let point = &key.public_key().as_ref()[1..];
        let (x, y) = point.split_at(point.len() / 2);
        let jwk = json!({ "kty": "EC", "crv": crv, "x": URL_SAFE_NO_PAD.encode(x), "y": URL_SAFE_NO_PAD.encode(y) });
        (jwk, key.sign(&random, message).unwrap().as_ref().to_vec())
    };
    let verify = |alg: &str, jwk: &Value, message: &str, signature: &[u8]| {
        let mut bundle = Bundle::empty("example.org".parse().unwrap(), 1);
        bundle.jwt_keys.push(JwtKey { kid: "k".into(), jwk: serde_json::from_value(jwk.clone()).unwrap() });
        let token = format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature));
        assert!(verify_jwt_svid(&token, &bundle, Some("db"), NOW).is_ok(), "{alg}");
    };
    let message = |alg: &str| {
        let header = json!({ "alg": alg, "kid": "k", "typ": "JWT" }).to_string();
        format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(Forge::claims().to_string()))
    };
    let paddings: [(&str, &'static dyn sig::RsaEncoding); 6] = [
        ("RS256", &sig::RSA_PKCS1_SHA256),
        ("RS384", &sig::RSA_PKCS1_SHA384),
        ("RS512", &sig::RSA_PKCS1_SHA512),
        ("PS256", &sig::RSA_PSS_SHA256),
        ("PS384", &sig::RSA_PSS_SHA384),
        ("PS512", &sig::RSA_PSS_SHA512),
    ];
    for (alg, padding) in paddings {
        let message = message(alg);
        verify(alg, &rsa_jwk, &message, &rsa_sign(padding, message.as_bytes()));
    }
    let curves: [(&str, &str, &'static sig::EcdsaSigningAlgorithm); 3] = [
        ("ES256", "P-256", &sig::ECDSA_P256_SHA256_FIXED_SIGNING),
        ("ES384", "P-384", &sig::ECDSA_P384_SHA384_FIXED_SIGNING),
        ("ES512", "P-521", &sig::ECDSA_P521_SHA512_FIXED_SIGNING),
    ];
    for (alg, crv, algorithm) in curves {
        let message = message(alg);
        let (jwk, signature) = ec_sign(algorithm, crv, message.as_bytes());
        verify(alg, &jwk, &message, &signature);
    }
}

/// A forged JWT-SVID with one claim replaced, or removed when `null`.
fn with_claim(forge: &Forge, name: &str, value: Value) -> Result<(), SvidError> {
    let mut claims = Forge::claims();
    claims[name] = value;
    claims.as_object_mut().unwrap().retain(|_, value| !value.is_null());
    let token = forge.sign(&Forge::header("JWT"), &claims);
    verify_jwt_svid(&token, &forge.bundle, Some("db"), NOW).map(drop)
}

#[test]
fn line_14_claims_of_jwt_svids() {
    let set = set("example.org");
    let token = jwt(&set, &agent());
    assert!(part(&token, 0)["kid"].is_string());
    let claims = part(&token, 1);
    assert_eq!((&claims["sub"], &claims["aud"]), (&json!(AGENT), &json!(["db"])));
    assert!(claims["exp"].is_i64());
    let forge = Forge::new();
    let with = |name: &str, value: Value| with_claim(&forge, name, value);
    assert!(with("iat", json!(NOW.seconds())).is_ok());
    for sub in [Value::Null, json!("agent"), json!("spiffe://example.org"), json!("spiffe://other.org/agent")] {
        assert!(with("sub", sub.clone()).is_err(), "{sub}");
    }
    for aud in [Value::Null, json!([]), json!(""), json!("other"), json!(["other"])] {
        assert!(with("aud", aud.clone()).is_err(), "{aud}");
    }
    assert!(with("aud", json!("db")).is_ok() && with("aud", json!(["other", "db"])).is_ok());
    for exp in [Value::Null, json!("soon"), json!(NOW.seconds() - 1)] {
        assert!(with("exp", exp.clone()).is_err(), "{exp}");
    }
    let mut header = Forge::header("JWT");
    header.as_object_mut().unwrap().remove("kid");
    assert!(verify_jwt_svid(&forge.sign(&header, &Forge::claims()), &forge.bundle, None, NOW).is_err());
}

#[test]
fn line_15_jwt_entries_of_the_bundle() {
    let set = set("example.org");
    let document = json(&set.bundle().to_spiffe_json().unwrap());
    let entries: Vec<&Value> = document["keys"].as_array().unwrap().iter().filter(|key| key["use"] == "jwt-svid").collect();
    assert_eq!(entries.len(), 1);
    assert_eq!(entries[0]["kid"], set.bundle().jwt_keys[0].kid.as_str());
    let read = Bundle::from_spiffe_json("example.org".parse().unwrap(), document.to_string().as_bytes()).unwrap();
    assert!(verify_jwt_svid(&jwt(&set, &agent()), &read, Some("db"), NOW).is_ok());
    assert!(with_claim(&Forge::new(), "https://example.org/private", json!({ "any": ["thing"] })).is_ok());
}

#[test]
fn line_46_what_federations_of_workload_identity_ask() {
    let set = set("example.org");
    let token = jwt(&set, &agent());
    let claims = part(&token, 1);
    assert_eq!(claims["iss"], "https://marque.example.org");
    for name in ["iat", "nbf", "exp"] {
        assert!(claims[name].is_i64(), "{name}");
    }
    assert_eq!(claims["jti"], "lease-1");
    let jwks = json(&set.bundle().oauth_jwks_json().unwrap());
    let key = &jwks["keys"][0];
    assert_eq!((&key["kid"], &key["alg"], &key["use"]), (&part(&token, 0)["kid"], &json!("ES256"), &json!("sig")));
    assert_eq!(jwks["keys"].as_array().unwrap().len(), 1, "WIT keys are not among them");
    let discovery = json(&OwnDiscovery::new("https://marque.example.org", "https://marque.example.org/jwks").to_json().unwrap());
    assert_eq!(discovery["issuer"], claims["iss"]);
    for name in ["jwks_uri", "response_types_supported", "subject_types_supported", "id_token_signing_alg_values_supported"] {
        assert!(discovery.get(name).is_some(), "{name}");
    }
    // A relying party that knows nothing of SPIFFE takes the token.
    let keys = IssuerKeys::read(jwks.to_string().as_bytes()).unwrap();
    let issuer = "https://marque.example.org".parse().unwrap();
    let verifier = OidcVerifier::new(issuer, vec!["db".into()], Ttl::from_seconds(0), keys).unwrap();
    assert_eq!(verifier.verify(&token, NOW).unwrap().subject, AGENT);
}

#[test]
fn line_47_strict_readers() {
    let token = jwt(&set("example.org"), &agent());
    let header = URL_SAFE_NO_PAD.decode(token.split('.').next().unwrap()).unwrap();
    let header = String::from_utf8(header).unwrap();
    for name in ["alg", "kid", "typ"] {
        assert_eq!(header.matches(&format!("\"{name}\":")).count(), 1, "{header}");
    }
    assert_eq!(part(&token, 0).as_object().unwrap().len(), 3);
    assert!(!part(&token, 1)["aud"].as_array().unwrap().is_empty());
    let forge = Forge::new();
    let now = NOW.seconds();
    assert!(with_claim(&forge, "nbf", json!(now)).is_ok() && with_claim(&forge, "nbf", json!(now + 1)).is_err());
    assert!(with_claim(&forge, "exp", json!(now)).is_err() && with_claim(&forge, "exp", json!(now + 1)).is_ok());
    let twice = format!(r#"{{"sub":"{AGENT}","aud":"db","exp":{0},"exp":{0}}}"#, now + 60);
    let token = forge.sign_text(&Forge::header("JWT").to_string(), &twice);
    assert!(verify_jwt_svid(&token, &forge.bundle, None, NOW).is_err());
    let token = forge.sign_text(r#"{"alg":"ES256","kid":"forge","kid":"forge","typ":"JWT"}"#, &Forge::claims().to_string());
    assert!(verify_jwt_svid(&token, &forge.bundle, None, NOW).is_err());
    // An RSA key of 1024 bits, and what it signed.
    let mut bundle = Bundle::empty("example.org".parse().unwrap(), 1);
    let jwk = json!({ "kty": "RSA", "n": SMALL_MODULUS, "e": "AQAB" });
    bundle.jwt_keys.push(JwtKey { kid: "small".into(), jwk: serde_json::from_value(jwk).unwrap() });
    assert!(matches!(verify_jwt_svid(SMALL_TOKEN, &bundle, Some("db"), Timestamp::from_seconds(0)), Err(SvidError::Signature)));
}

const SMALL_MODULUS: &str = concat!(
    "47TvLHSdPhVGZTgwOd3ifERVzhgTJEvR6_MIZP09lBRYi7amjZ917qrsk7IgY8QSCfC3j4z3GI5ZOuMHIGHQGbIkkXchIjYhH2n6E0qhT7vYuwetI13rbHTm",
    "HH9MLF5BiH_20tZkwg5rKz5oHIadAFXgtYdVdMO_JJwLPonIgsE"
);
const SMALL_TOKEN: &str = concat!(
    "eyJhbGciOiJSUzI1NiIsImtpZCI6InNtYWxsIiwidHlwIjoiSldUIn0.",
    "eyJzdWIiOiJzcGlmZmU6Ly9leGFtcGxlLm9yZy9hZ2VudCIsImF1ZCI6ImRiIiwiZXhwIjo0MDAwMDAwMDAwfQ.",
    "DarkWRBCz9W2g_pIdLHTfD9I_ZHvNkd85xfWbEMzD6QpGcFwpbBV-p_JfRYLiggZer90R0uwaT94ZNsphVW_VzFxtzRbepy-j1XRpu85I2DOpM_lL-eo-Gkzd",
    "Xc5XGBfENFqM2wsThj7CayQTEFIaHaE0qSlTGk8HAs5gphnGq4"
);
