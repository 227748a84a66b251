//! Lines 29 to 32: what the X.509-SVID and JWT-SVID profiles hand out.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use marque_engine::UpstreamCa;
use marque_engine::desired::IdentitySpec;
use marque_server::pb::sds::data_source::Specifier;
use marque_server::pb::sds::secret::Type;
use marque_server::pb::sds::{DiscoveryRequest, DiscoveryResponse, Secret};
use marque_server::pb::workload::{
    JwtBundlesRequest, JwtBundlesResponse, JwtsvidRequest, JwtsvidResponse, X509BundlesRequest, X509BundlesResponse,
    X509svidRequest, X509svidResponse,
};
use marque_svid::{P256Key, SigningBackend, verify_jwt_svid, verify_x509_svid};
use prost::Message as _;
use rcgen::{BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, KeyPair, KeyUsagePurpose};
use serde_json::Value;
use zeroize::Zeroizing;

use super::{FOREIGN, GOOD, OTHER, OWN, elements, federate, keys, refused, twofold};
use crate::grpc::Socket;
use crate::workload::{AUDIENCE, INVALID_ARGUMENT, PERMISSION_DENIED, jwt_for};
use crate::world::{LEAD, ME, World, me, spiffe};

/// A CA above ours, and its certificate.
fn upstream() -> (UpstreamCa, Vec<u8>) {
    let pair = KeyPair::generate().unwrap();
    let mut root = CertificateParams::default();
    root.distinguished_name = DistinguishedName::new();
    root.distinguished_name.push(DnType::CommonName, "root");
    root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    root.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let root = root.self_signed(&pair).unwrap();
    let ca = UpstreamCa::from_pem(&root.pem(), &pair.serialize_pem(), None).unwrap();
    (ca, root.der().to_vec())
}

#[tokio::test]
async fn line_29_every_field_of_an_svid_is_there_and_is_der() {
    let (ca, root) = upstream();
    let world = World::start_as(|options| options.upstream = Some(Arc::new(ca))).await;
    world.register(me(ME)).await.unwrap();
    let socket = Socket::open(&world.engine).await;
    let shown: X509svidResponse = socket.ask("FetchX509SVID", &X509svidRequest {}).await.unwrap();
    let [svid] = shown.svids.as_slice() else { panic!("one SVID") };
    assert_eq!(svid.spiffe_id, spiffe(ME).to_string());
    assert_eq!(elements(&svid.bundle), [root.as_slice()]);
    let chain = elements(&svid.x509_svid);
    let (bundle, now) = (world.engine.authorities().bundle().clone(), world.engine.now());
    assert_eq!(chain.len(), 2, "an intermediate comes with it");
    assert_eq!(verify_x509_svid(&chain, &bundle, now).unwrap().id, spiffe(ME), "the leaf is the first");
    assert!(verify_x509_svid(&chain[..1], &bundle, now).is_err(), "and does not do alone");
    let [key] = elements(&svid.x509_svid_key)[..] else { panic!("one key") };
    let key = P256Key::from_pkcs8(Zeroizing::new(key.to_vec())).unwrap();
    let point = key.public_point();
    assert!(chain[0].windows(point.len()).any(|window| window == point), "the leaf's own key");
}

#[tokio::test]
async fn line_29_the_first_svid_is_the_default_one() {
    let world = twofold().await;
    let socket = Socket::open(&world.engine).await;
    let shown: X509svidResponse = socket.ask("FetchX509SVID", &X509svidRequest {}).await.unwrap();
    let ids: Vec<&str> = shown.svids.iter().map(|svid| svid.spiffe_id.as_str()).collect();
    assert_eq!(ids, [spiffe(ME).to_string(), spiffe(OTHER).to_string()]);
    for svid in &shown.svids {
        assert!(!svid.x509_svid.is_empty() && !svid.x509_svid_key.is_empty() && !svid.bundle.is_empty());
    }
    let again: X509svidResponse = socket.ask("FetchX509SVID", &X509svidRequest {}).await.unwrap();
    assert!(again.svids == shown.svids, "in the same order");
    // Envoy asks for it by name.
    let path = "/envoy.service.secret.v3.SecretDiscoveryService/FetchSecrets";
    let asked = DiscoveryRequest { resource_names: vec!["default".into()], ..DiscoveryRequest::default() };
    let answer: DiscoveryResponse = socket.send(path, &asked, &[]).await.next().await.unwrap();
    let secret = Secret::decode(answer.resources[0].value.as_slice()).unwrap();
    let Some(Type::TlsCertificate(certificate)) = secret.r#type else { panic!("a certificate") };
    let Some(Specifier::InlineBytes(pem)) = certificate.certificate_chain.unwrap().specifier else { panic!("inline") };
    let pem = String::from_utf8(pem).unwrap();
    let body: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
    assert_eq!(body, STANDARD.encode(&shown.svids[0].x509_svid));
}

#[tokio::test]
async fn line_30_hints_tell_svids_apart() {
    let world = twofold().await;
    let socket = Socket::open(&world.engine).await;
    let x509: X509svidResponse = socket.ask("FetchX509SVID", &X509svidRequest {}).await.unwrap();
    let jwt: JwtsvidResponse = socket.ask("FetchJWTSVID", &jwt_for(&[AUDIENCE])).await.unwrap();
    assert_eq!(x509.svids.iter().map(|svid| svid.hint.as_str()).collect::<Vec<_>>(), ["inside", "outside"]);
    assert_eq!(jwt.svids.iter().map(|svid| svid.hint.as_str()).collect::<Vec<_>>(), ["inside", "outside"]);
    for hint in [Some("inside".to_owned()), None] {
        world.register(IdentitySpec { hint: hint.clone(), ..me(OTHER) }).await.unwrap();
        assert_eq!(refused(&socket, "FetchX509SVID", &X509svidRequest {}, GOOD).await, Some(PERMISSION_DENIED), "{hint:?}");
        assert_eq!(refused(&socket, "FetchJWTSVID", &jwt_for(&[AUDIENCE]), GOOD).await, Some(PERMISSION_DENIED), "{hint:?}");
    }
}

#[tokio::test]
async fn line_30_hints_have_at_most_1024_bytes() {
    let world = World::with_me().await;
    let socket = Socket::open(&world.engine).await;
    for long in ["x".repeat(1025), "é".repeat(513)] {
        assert!(world.register(IdentitySpec { hint: Some(long), ..me(ME) }).await.is_err());
    }
    let longest = "é".repeat(512);
    world.register(IdentitySpec { hint: Some(longest.clone()), ..me(ME) }).await.unwrap();
    let shown: X509svidResponse = socket.ask("FetchX509SVID", &X509svidRequest {}).await.unwrap();
    assert_eq!(shown.svids[0].hint, longest);
}

#[tokio::test]
async fn line_30_federated_bundles_are_under_the_ids_of_their_trust_domains() {
    let world = World::with_me().await;
    let (one, two) = (federate(&world, "other.example"), federate(&world, "third.example"));
    let socket = Socket::open(&world.engine).await;
    let shown: X509svidResponse = socket.ask("FetchX509SVID", &X509svidRequest {}).await.unwrap();
    assert_eq!(keys(&shown.federated_bundles), BTreeSet::from([FOREIGN, "spiffe://third.example"]));
    for (name, set) in [(FOREIGN, &one), ("spiffe://third.example", &two)] {
        assert_eq!(elements(&shown.federated_bundles[name]), [set.bundle().x509_authorities[0].as_slice()]);
    }
}

#[tokio::test]
async fn line_31_bundles_have_our_own_trust_domain_and_keys_of_one_use() {
    let world = World::start_as(|options| options.rotation.wit = true).await;
    world.register(me(ME)).await.unwrap();
    let socket = Socket::open(&world.engine).await;
    let alone: X509BundlesResponse = socket.ask("FetchX509Bundles", &X509BundlesRequest {}).await.unwrap();
    assert_eq!(keys(&alone.bundles), BTreeSet::from([OWN]));
    let other = federate(&world, "other.example");
    let set = world.engine.authorities();
    let known = HashMap::from([(OWN, set.bundle()), (FOREIGN, other.bundle())]);
    let x509: X509BundlesResponse = socket.ask("FetchX509Bundles", &X509BundlesRequest {}).await.unwrap();
    let jwt: JwtBundlesResponse = socket.ask("FetchJWTBundles", &JwtBundlesRequest {}).await.unwrap();
    assert!(x509.bundles.len() == known.len() && jwt.bundles.len() == known.len());
    for (name, bundle) in known {
        assert_eq!(elements(&x509.bundles[name]), [bundle.x509_authorities[0].as_slice()], "{name}");
        assert_eq!(bundle.wit_keys.len(), 1, "there are keys of other uses");
        let jwks: Value = serde_json::from_slice(&jwt.bundles[name]).unwrap();
        let entries = jwks["keys"].as_array().unwrap();
        assert!(entries.iter().all(|key| key["use"] == "jwt-svid"), "{name}: {jwks}");
        let kids: Vec<&str> = entries.iter().map(|key| key["kid"].as_str().unwrap()).collect();
        assert_eq!(kids, [bundle.jwt_keys[0].kid.as_str()], "{name}");
    }
}

#[tokio::test]
async fn line_32_a_jwt_svid_for_each_identity_and_for_the_audience_asked() {
    let world = twofold().await;
    let socket = Socket::open(&world.engine).await;
    let audience = [AUDIENCE, "db"];
    let all: JwtsvidResponse = socket.ask("FetchJWTSVID", &jwt_for(&audience)).await.unwrap();
    let ids: Vec<&str> = all.svids.iter().map(|svid| svid.spiffe_id.as_str()).collect();
    assert_eq!(ids, [spiffe(ME).to_string(), spiffe(OTHER).to_string()]);
    for svid in &all.svids {
        let set = world.engine.authorities();
        let verified = verify_jwt_svid(&svid.svid, set.bundle(), Some("db"), world.engine.now()).unwrap();
        assert_eq!((verified.id.to_string(), verified.audience), (svid.spiffe_id.clone(), audience.map(str::to_owned).to_vec()));
    }
    let wanted = JwtsvidRequest { spiffe_id: spiffe(OTHER).to_string(), ..jwt_for(&audience) };
    let one: JwtsvidResponse = socket.ask("FetchJWTSVID", &wanted).await.unwrap();
    assert_eq!(one.svids.iter().map(|svid| svid.spiffe_id.as_str()).collect::<Vec<_>>(), [wanted.spiffe_id.as_str()]);
}

#[tokio::test]
async fn line_32_no_audience_is_invalid_and_another_identity_is_denied() {
    let world = twofold().await;
    let socket = Socket::open(&world.engine).await;
    let _: JwtsvidResponse = socket.ask("FetchJWTSVID", &jwt_for(&[AUDIENCE])).await.unwrap();
    let size = world.engine.log_size();
    for audience in [&[] as &[&str], &[""], &[AUDIENCE, ""]] {
        let asked = jwt_for(audience);
        assert_eq!(refused(&socket, "FetchJWTSVID", &asked, GOOD).await, Some(INVALID_ARGUMENT), "{audience:?}");
    }
    let of = |spiffe_id: &str| JwtsvidRequest { spiffe_id: spiffe_id.to_owned(), ..jwt_for(&[AUDIENCE]) };
    let lead = spiffe(LEAD).to_string();
    for other in
        [lead.as_str(), "spiffe://example.org/agent/ME", "spiffe://example.org/agent", OWN, "spiffe://other.example/agent/me"]
    {
        assert_eq!(refused(&socket, "FetchJWTSVID", &of(other), GOOD).await, Some(PERMISSION_DENIED), "{other}");
    }
    for bad in [ME, "https://example.org/agent/me", "spiffe://"] {
        assert_eq!(refused(&socket, "FetchJWTSVID", &of(bad), GOOD).await, Some(INVALID_ARGUMENT), "{bad}");
    }
    assert_eq!(world.engine.log_size(), size, "nothing was issued");
}
