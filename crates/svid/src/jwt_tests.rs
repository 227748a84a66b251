use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm as Alg, DecodingKey, EncodingKey, Validation};
use marque_core::time::Ttl;
use serde_json::json;

use super::*;
use crate::authority::Authority;
use crate::jwk::Jwk;
use crate::jws::decode;
use crate::token::AT_JWT_TYP;
use crate::token_key::JwtSvidRequest;

const NOW: Timestamp = Timestamp::from_seconds(1_800_000_000);
const AGENT: &str = "spiffe://example.org/agent";
const ISSUER: &str = "https://marque.example.org";

struct Fixture {
    authority: Authority,
    bundle: Bundle,
}

impl Fixture {
    fn new() -> Self {
        let authority = Authority::generate(&"example.org".parse().unwrap(), NOW, Ttl::from_seconds(3600)).unwrap();
        let bundle = Bundle::of(&[&authority], 1).unwrap();
        Self { authority, bundle }
    }

    fn issue(&self) -> String {
        let audience = ["db".to_owned(), "queue".to_owned()];
        let id = AGENT.parse().unwrap();
        let request = JwtSvidRequest {
            id: &id,
            audience: &audience,
            issuer: Some(ISSUER),
            jti: "lease-1",
            now: NOW,
            ttl: Ttl::from_seconds(300),
        };
        self.authority.issue_jwt_svid(request).unwrap()
    }

    fn header(&self) -> Value {
        json!({ "alg": "ES256", "kid": self.authority.kid(), "typ": "JWT" })
    }

    /// A token with any header and claims, rightly signed.
    fn forge(&self, header: &Value, claims: &Value) -> String {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let message = format!("{}.{}", part(header), part(claims));
        let signature = self.authority.token_key().key.sign(message.as_bytes()).unwrap();
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    fn verify(&self, token: &str) -> Result<VerifiedJwtSvid> {
        verify_jwt_svid(token, &self.bundle, Some("db"), NOW)
    }

    fn with_header(&self, header: &Value) -> Result<VerifiedJwtSvid> {
        self.verify(&self.forge(header, &claims()))
    }

    /// With one claim replaced, or removed when `null`.
    fn with_claim(&self, name: &str, value: Value) -> Result<VerifiedJwtSvid> {
        let mut claims = claims();
        claims[name] = value;
        claims.as_object_mut().unwrap().retain(|_, value| !value.is_null());
        self.verify(&self.forge(&self.header(), &claims))
    }
}

fn claims() -> Value {
    json!({ "sub": AGENT, "aud": ["db"], "exp": NOW.seconds() + 60, "iat": NOW.seconds(), "nbf": NOW.seconds() })
}

/// JWT-SVID §2 and §3, conformance lines 12, 14, 46 and 47.
#[test]
fn issued_svids_verify() {
    let fixture = Fixture::new();
    let token = fixture.issue();
    let verified = fixture.verify(&token).unwrap();
    assert_eq!(verified.id.to_string(), AGENT);
    assert_eq!(verified.audience, ["db", "queue"]);
    assert_eq!(verified.expires.seconds(), NOW.seconds() + 300);
    assert_eq!(verified.claims["iss"], ISSUER);
    assert_eq!(verified.claims["jti"], "lease-1");
    assert_eq!(verified.claims["iat"], NOW.seconds());
    let header: Value = serde_json::from_slice(&decode(token.split('.').next().unwrap()).unwrap()).unwrap();
    assert_eq!(header, fixture.header());
    assert!(verify_jwt_svid(&token, &fixture.bundle, None, NOW).is_ok());
}

/// Another library agrees.
#[test]
fn issued_svids_verify_elsewhere() {
    let fixture = Fixture::new();
    let Jwk::Ec { x, y, .. } = fixture.authority.jwt_key().jwk else { panic!("an RSA key") };
    let mut validation = Validation::new(Alg::ES256);
    validation.set_audience(&["db"]);
    validation.validate_exp = false;
    let key = DecodingKey::from_ec_components(&x, &y).unwrap();
    let read = jsonwebtoken::decode::<Value>(&fixture.issue(), &key, &validation).unwrap();
    assert_eq!(read.claims["sub"], AGENT);
    assert_eq!(read.header.kid.as_deref(), Some(fixture.authority.kid()));
}

/// JWT-SVID §2.1, conformance line 13.
#[test]
fn only_listed_algorithms_that_fit_the_key() {
    let fixture = Fixture::new();
    for alg in ["none", "HS256", "HS512", "EdDSA", "ES512", "es256", "", "RS256", "ES384", "PS256"] {
        let mut header = fixture.header();
        header["alg"] = json!(alg);
        assert!(matches!(fixture.with_header(&header), Err(SvidError::Algorithm(_))), "{alg}");
    }
    let unsigned = fixture.issue();
    let unsigned = unsigned.rsplit_once('.').unwrap().0;
    assert!(fixture.verify(&format!("{unsigned}.")).is_err());
    assert!(fixture.verify(unsigned).is_err());
    let none = URL_SAFE_NO_PAD.encode(r#"{"alg":"none"}"#);
    assert!(fixture.verify(&format!("{none}.{}.", URL_SAFE_NO_PAD.encode(claims().to_string()))).is_err());
}

/// The public key is no HMAC secret.
#[test]
fn the_public_key_is_not_a_shared_secret() {
    let fixture = Fixture::new();
    let secret = EncodingKey::from_secret(fixture.authority.certificate());
    let mut header = jsonwebtoken::Header::new(Alg::HS256);
    header.kid = Some(fixture.authority.kid().to_owned());
    let token = jsonwebtoken::encode(&header, &claims(), &secret).unwrap();
    assert!(matches!(fixture.verify(&token), Err(SvidError::Algorithm(_))));
}

/// JWT-SVID §2, conformance line 12.
#[test]
fn headers_have_three_parameters_at_most() {
    let fixture = Fixture::new();
    let good = fixture.header();
    assert!(fixture.with_header(&good).is_ok());
    for (name, value) in
        [("jku", json!("https://x")), ("jwk", json!({})), ("crit", json!([])), ("cty", json!("JWT")), ("b64", json!(false))]
    {
        let mut header = good.clone();
        header[name] = value;
        assert!(matches!(fixture.with_header(&header), Err(SvidError::TokenForm(_))), "{name}");
    }
    let twice = r#"{"alg":"ES256","alg":"ES256","typ":"JWT"}"#;
    assert!(matches!(fixture.verify(&format!("{}.e30.AA", URL_SAFE_NO_PAD.encode(twice))), Err(SvidError::TokenForm(_))));
    for typ in ["JOSE", "JWT"] {
        let mut header = good.clone();
        header["typ"] = json!(typ);
        assert!(fixture.with_header(&header).is_ok());
    }
    for typ in ["at+jwt", "wit+jwt", "jwt", ""] {
        let mut header = good.clone();
        header["typ"] = json!(typ);
        assert!(matches!(fixture.with_header(&header), Err(SvidError::TokenType(_))), "{typ}");
    }
    assert!(fixture.with_header(&json!({ "alg": "ES256", "kid": fixture.authority.kid() })).is_ok());
    assert!(matches!(fixture.with_header(&json!({ "alg": "ES256" })), Err(SvidError::TokenForm(_))));
    assert!(matches!(fixture.with_header(&json!({ "alg": "ES256", "kid": "x" })), Err(SvidError::UnknownKey(_))));
}

/// JWT-SVID §3.3, conformance lines 14 and 47.
#[test]
fn times_are_checked() {
    let fixture = Fixture::new();
    let now = NOW.seconds();
    for exp in [json!(now), json!(now - 1), json!(0), json!(-1), json!(now as f64)] {
        assert!(matches!(fixture.with_claim("exp", exp.clone()), Err(SvidError::Expired)), "{exp}");
    }
    assert!(fixture.with_claim("exp", json!(now as f64 + 0.5)).is_ok());
    assert!(fixture.with_claim("exp", json!(u64::MAX)).is_ok());
    for exp in [Value::Null, json!("soon"), json!(true)] {
        assert!(matches!(fixture.with_claim("exp", exp.clone()), Err(SvidError::Claim("exp"))), "{exp}");
    }
    assert!(matches!(fixture.with_claim("nbf", json!(now + 1)), Err(SvidError::NotYetValid)));
    assert!(matches!(fixture.with_claim("iat", json!(now + 61)), Err(SvidError::NotYetValid)));
    assert!(fixture.with_claim("iat", json!(now + 60)).is_ok());
    assert!(fixture.with_claim("nbf", Value::Null).is_ok());
}

/// JWT-SVID §3.1 and §3.2.
#[test]
fn subject_and_audience_are_checked() {
    let fixture = Fixture::new();
    assert!(matches!(fixture.with_claim("sub", json!("spiffe://other.org/agent")), Err(SvidError::TrustDomain(_))));
    assert!(matches!(fixture.with_claim("sub", json!("spiffe://example.org")), Err(SvidError::NoPath(_))));
    for sub in [Value::Null, json!("agent"), json!(7)] {
        assert!(matches!(fixture.with_claim("sub", sub), Err(SvidError::Claim("sub"))));
    }
    assert!(matches!(fixture.with_claim("aud", json!(["queue"])), Err(SvidError::Audience(_))));
    assert!(fixture.with_claim("aud", json!("db")).is_ok());
    for aud in [Value::Null, json!([]), json!(""), json!(["db", ""]), json!(["db", 1])] {
        assert!(matches!(fixture.with_claim("aud", aud.clone()), Err(SvidError::Claim("aud"))), "{aud}");
    }
}

#[test]
fn no_altered_character_verifies() {
    let fixture = Fixture::new();
    let good = fixture.issue();
    for position in 0..good.len() {
        let mut bytes = good.clone().into_bytes();
        bytes[position] = if bytes[position] == b'A' { b'B' } else { b'A' };
        assert!(fixture.verify(&String::from_utf8(bytes).unwrap()).is_err(), "character {position}");
    }
    assert!(matches!(fixture.verify(&"a".repeat(16 * 1024 + 1)), Err(SvidError::TokenSize)));
    let twice = format!(r#"{{"sub":"{AGENT}","sub":"{AGENT}","aud":"db","exp":{}}}"#, NOW.seconds() + 60);
    let message = format!("{}.{}", good.split('.').next().unwrap(), URL_SAFE_NO_PAD.encode(twice));
    let signature = fixture.authority.token_key().key.sign(message.as_bytes()).unwrap();
    let token = format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature));
    assert!(matches!(fixture.verify(&token), Err(SvidError::TokenForm(_))), "a claim stands twice");
    for bad in ["", ".", "..", "...", &format!("{good}."), &format!("{good}="), &format!("{good}.x")] {
        assert!(fixture.verify(bad).is_err(), "{bad}");
    }
}

#[test]
fn keys_outside_the_bundle_do_not_count() {
    let (ours, theirs) = (Fixture::new(), Fixture::new());
    assert!(matches!(ours.verify(&theirs.issue()), Err(SvidError::UnknownKey(_))));
    let stolen_name = theirs.forge(&ours.header(), &claims());
    assert!(matches!(ours.verify(&stolen_name), Err(SvidError::Signature)));
    let empty = Bundle::empty("example.org".parse().unwrap(), 2);
    assert!(matches!(verify_jwt_svid(&ours.issue(), &empty, None, NOW), Err(SvidError::UnknownKey(_))));
}

/// RFC 9068 §4.
#[test]
fn typed_tokens_are_of_one_class_issuer_and_audience() {
    let fixture = Fixture::new();
    let claims = json!({ "iss": ISSUER, "sub": "user:ada", "aud": "tools", "exp": NOW.seconds() + 60 });
    let verify = |token: &str, issuer: &str, audience: &str, now: Timestamp| {
        verify_typed::<Value>(token, AT_JWT_TYP, &fixture.bundle, issuer, audience, now)
    };
    for typ in ["at+jwt", "AT+JWT", "application/at+jwt"] {
        let token = fixture.authority.sign(typ, &claims).unwrap();
        assert_eq!(verify(&token, ISSUER, "tools", NOW).unwrap(), claims);
    }
    for typ in ["JWT", "jwt", "application/", "application/application/at+jwt", "wit+jwt", ""] {
        let token = fixture.authority.sign(typ, &claims).unwrap();
        assert!(matches!(verify(&token, ISSUER, "tools", NOW), Err(SvidError::TokenType(_))), "{typ}");
    }
    let token = fixture.authority.sign(AT_JWT_TYP, &claims).unwrap();
    assert!(matches!(verify(&token, "https://other", "tools", NOW), Err(SvidError::Issuer(_))));
    assert!(matches!(verify(&token, ISSUER, "other", NOW), Err(SvidError::Audience(_))));
    assert!(matches!(verify(&token, ISSUER, "tools", NOW.plus(Ttl::from_seconds(60))), Err(SvidError::Expired)));
    assert!(matches!(fixture.verify(&token), Err(SvidError::TokenType(_))), "an access token is no JWT-SVID");
    assert!(matches!(verify(&fixture.issue(), ISSUER, "db", NOW), Err(SvidError::TokenType(_))), "a JWT-SVID is no access token");
    let header = json!({ "alg": "ES384", "kid": fixture.authority.kid(), "typ": AT_JWT_TYP });
    assert!(matches!(verify(&fixture.forge(&header, &claims), ISSUER, "tools", NOW), Err(SvidError::Algorithm(_))));
}
