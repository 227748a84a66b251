//! Line 33: ValidateJWTSVID.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use marque_core::time::Ttl;
use marque_engine::Bundle;
use marque_server::pb::workload::{ValidateJwtsvidRequest, ValidateJwtsvidResponse};
use marque_svid::{Curve, Jwk, JwtKey, JwtSvidRequest, P256Key, SigningBackend, verify_jwt_svid};
use prost_types::value::Kind;
use prost_types::{ListValue, Struct};
use serde_json::{Value, json};

use super::{GOOD, federate, refused, token};
use crate::grpc::Socket;
use crate::workload::{AUDIENCE, INVALID_ARGUMENT, validate};
use crate::world::{ME, World, spiffe};

/// The key of another trust domain, by which the tests sign anything.
struct Forge(P256Key);

impl Forge {
    /// Its bundle is known here from now on.
    fn new(world: &World) -> Self {
        let key = P256Key::generate().unwrap();
        let (x, y) = key.public_point()[1..].split_at(32);
        let jwk = Jwk::Ec { crv: Curve::P256, x: URL_SAFE_NO_PAD.encode(x), y: URL_SAFE_NO_PAD.encode(y) };
        let mut bundle = Bundle::empty("forge.example".parse().unwrap(), 1);
        bundle.jwt_keys.push(JwtKey { kid: "forge".into(), jwk });
        world.engine.offer_bundle(bundle).unwrap();
        Self(key)
    }

    fn header() -> Value {
        json!({ "alg": "ES256", "kid": "forge", "typ": "JWT" })
    }

    fn claims(world: &World) -> Value {
        let now = world.engine.now().seconds();
        json!({ "sub": "spiffe://forge.example/agent", "aud": [AUDIENCE, "db"], "exp": now + 600, "x": { "y": [1, true, null] } })
    }

    fn sign(&self, header: &Value, claims: &Value) -> String {
        let [header, claims] = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string()));
        let message = format!("{header}.{claims}");
        let signature = self.0.sign(message.as_bytes()).unwrap();
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

/// What `ValidateJWTSVID` says of a token; the only status that it refuses one with is `InvalidArgument`.
async fn valid(socket: &Socket, token: &str) -> Option<ValidateJwtsvidResponse> {
    let answer: Result<ValidateJwtsvidResponse, u16> = socket.ask("ValidateJWTSVID", &validate(AUDIENCE, token)).await;
    answer.map_err(|code| assert_eq!(code, INVALID_ARGUMENT)).ok()
}

/// A JSON value of protobuf as JSON.
fn json_of(value: &prost_types::Value) -> Value {
    match value.kind.as_ref().unwrap() {
        Kind::NullValue(_) => Value::Null,
        Kind::BoolValue(yes) => json!(yes),
        Kind::NumberValue(number) => json!(number),
        Kind::StringValue(text) => json!(text),
        Kind::ListValue(ListValue { values }) => values.iter().map(json_of).collect(),
        Kind::StructValue(Struct { fields }) => fields.iter().map(|(name, value)| (name.clone(), json_of(value))).collect(),
    }
}

/// As protobuf has it: every number is a floating one.
fn floating(value: &Value) -> Value {
    match value {
        Value::Number(number) => json!(number.as_f64().unwrap()),
        Value::Array(values) => values.iter().map(floating).collect(),
        Value::Object(map) => map.iter().map(|(name, value)| (name.clone(), floating(value))).collect(),
        other => other.clone(),
    }
}

#[tokio::test]
async fn line_33_an_own_jwt_svid_comes_back_with_its_id_and_claims() {
    let world = World::with_me().await;
    let socket = Socket::open(&world.engine).await;
    let token = token(&socket).await;
    let set = world.engine.authorities();
    let verified = verify_jwt_svid(&token, set.bundle(), Some(AUDIENCE), world.engine.now()).unwrap();
    let answer = valid(&socket, &token).await.unwrap();
    assert_eq!(answer.spiffe_id, spiffe(ME).to_string());
    let fields = answer.claims.unwrap().fields;
    assert_eq!(json_of(&fields["sub"]), json!(spiffe(ME).to_string()));
    assert_eq!(json_of(&fields["aud"]), json!([AUDIENCE]));
    assert_eq!(json_of(&fields["exp"]), floating(&verified.claims["exp"]));
}

#[tokio::test]
async fn line_33_a_foreign_jwt_svid_is_held_against_the_bundle_of_its_trust_domain() {
    let world = World::with_me().await;
    let (forge, other) = (Forge::new(&world), federate(&world, "other.example"));
    let socket = Socket::open(&world.engine).await;
    let claims = Forge::claims(&world);
    let answer = valid(&socket, &forge.sign(&Forge::header(), &claims)).await.unwrap();
    assert_eq!(answer.spiffe_id, "spiffe://forge.example/agent");
    let back: Value = answer.claims.unwrap().fields.iter().map(|(name, value)| (name.clone(), json_of(value))).collect();
    assert_eq!(back, floating(&claims), "all of them, private ones too");

    let (id, audience) = ("spiffe://other.example/agent".parse().unwrap(), [AUDIENCE.to_owned()]);
    let (now, ttl) = (world.engine.now(), Ttl::from_seconds(60));
    let request = JwtSvidRequest { id: &id, audience: &audience, issuer: None, jti: "1", now, ttl };
    assert!(valid(&socket, &other.issue_jwt_svid(request).unwrap()).await.is_some());

    // A key counts for its own trust domain, and without a bundle nothing does.
    for trust_domain in ["other.example", "example.org", "unknown.example"] {
        let mut claims = claims.clone();
        claims["sub"] = json!(format!("spiffe://{trust_domain}/agent/me"));
        assert!(valid(&socket, &forge.sign(&Forge::header(), &claims)).await.is_none(), "{trust_domain}");
    }
}

#[tokio::test]
async fn line_33_the_rules_for_headers() {
    let world = World::with_me().await;
    let forge = Forge::new(&world);
    let socket = Socket::open(&world.engine).await;
    let claims = Forge::claims(&world);
    let with = async |name: &str, value: Value| {
        let mut header = Forge::header();
        header[name] = value;
        valid(&socket, &forge.sign(&header, &claims)).await.is_some()
    };
    assert!(with("typ", json!("JWT")).await && with("typ", json!("JOSE")).await);
    for typ in ["jwt", "at+jwt", "wit+jwt", ""] {
        assert!(!with("typ", json!(typ)).await, "{typ}");
    }
    for alg in ["none", "HS256", "EdDSA", "ES256K", "ES384", "RS256", "es256", ""] {
        assert!(!with("alg", json!(alg)).await, "{alg}");
    }
    for name in ["jku", "jwk", "x5u", "x5c", "cty", "crit", "other"] {
        assert!(!with(name, json!(["x"])).await, "{name}");
    }
    assert!(!with("kid", json!("another")).await);
}

#[tokio::test]
async fn line_33_the_rules_for_claims() {
    let world = World::with_me().await;
    let forge = Forge::new(&world);
    let socket = Socket::open(&world.engine).await;
    let claims = Forge::claims(&world);
    let now = world.engine.now().seconds();
    let with = async |name: &str, value: Option<Value>| {
        let mut claims = claims.clone();
        match value {
            Some(value) => claims[name] = value,
            None => drop(claims.as_object_mut().unwrap().remove(name)),
        }
        valid(&socket, &forge.sign(&Forge::header(), &claims)).await.is_some()
    };
    assert!(with("aud", Some(json!(AUDIENCE))).await && with("nbf", Some(json!(now - 60))).await);
    for name in ["sub", "aud", "exp"] {
        assert!(!with(name, None).await, "{name} is missing");
    }
    for sub in ["agent", "https://forge.example/agent", "spiffe://forge.example", "spiffe://forge.example/", ""] {
        assert!(!with("sub", Some(json!(sub))).await, "{sub}");
    }
    for aud in [json!([]), json!(""), json!("db"), json!(["db"]), json!([AUDIENCE, ""]), json!(1)] {
        assert!(!with("aud", Some(aud.clone())).await, "{aud}");
    }
    for exp in [json!(now), json!(now - 1), json!("soon"), Value::Null] {
        assert!(!with("exp", Some(exp.clone())).await, "{exp}");
    }
    assert!(!with("nbf", Some(json!(now + 600))).await);
}

#[tokio::test]
async fn line_33_the_rules_for_forms_and_requests() {
    let world = World::with_me().await;
    let forge = Forge::new(&world);
    let socket = Socket::open(&world.engine).await;
    let good = forge.sign(&Forge::header(), &Forge::claims(&world));
    assert!(valid(&socket, &good).await.is_some());
    let parts: Vec<&str> = good.split('.').collect();
    let flattened = json!({ "protected": parts[0], "payload": parts[1], "signature": parts[2] }).to_string();
    let unsigned = format!("{}.{}.", parts[0], parts[1]);
    let by_another = Forge(P256Key::generate().unwrap()).sign(&Forge::header(), &Forge::claims(&world));
    for bad in [&flattened, &unsigned, &by_another, &format!("{good}.x"), &good[1..].to_owned(), &"x".to_owned()] {
        assert!(valid(&socket, bad).await.is_none(), "{bad}");
    }
    for (audience, svid) in [("", good.as_str()), (AUDIENCE, ""), ("https://other.example.org", good.as_str())] {
        let asked: ValidateJwtsvidRequest = validate(audience, svid);
        assert_eq!(refused(&socket, "ValidateJWTSVID", &asked, GOOD).await, Some(INVALID_ARGUMENT), "{audience:?}");
    }
}
