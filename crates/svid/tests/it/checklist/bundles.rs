//! Lines 35 to 41: SPIFFE Trust Domain and Bundle, SPIFFE Federation.

use marque_core::spiffe::SpiffeId;
use marque_core::time::Ttl;
use marque_svid::{
    AuthoritySet, Bundle, BundleSet, EndpointUrl, KeyKind, Profile, Relationship, Rotation, RotationPolicy, SoftwareKeys, Step,
    verify_jwt_svid, verify_x509_svid,
};
use serde_json::{Value, json};

use crate::fixtures::{AGENT, NOW, agent, json, jwt, set, x509};

#[test]
fn line_35_sequence_and_refresh_hint() {
    let policy = RotationPolicy { wit: true, ..RotationPolicy::default() };
    let rotation = Rotation { now: NOW, policy: &policy, keys: &SoftwareKeys, upstream: None };
    let mut set = set("example.org");
    let document = json(&set.bundle().to_spiffe_json().unwrap());
    assert!(document["spiffe_sequence"].is_u64() && document["spiffe_refresh_hint"].is_u64());
    for kind in [KeyKind::X509, KeyKind::Jwt, KeyKind::Wit] {
        let next = set.apply(&Step::Prepare { kind }, &rotation).unwrap();
        assert_eq!(next.bundle().sequence, set.bundle().sequence + 1);
        set = next;
    }
    let large = br#"{"keys":[],"spiffe_sequence":18446744073709551615}"#;
    assert_eq!(Bundle::from_spiffe_json("a".parse().unwrap(), large).unwrap().sequence, u64::MAX);
}

#[test]
fn line_36_empty_and_unknown_keys() {
    let set = set("example.org");
    let svid = x509(&set, &agent());
    let read = |document: Value| Bundle::from_spiffe_json("example.org".parse().unwrap(), document.to_string().as_bytes());
    assert!(read(json!({})).is_err());
    let revoked = read(json!({ "keys": [] })).unwrap();
    assert!(revoked.is_empty());
    assert!(verify_x509_svid(&[&svid.chain[0]], &revoked, NOW).is_err());
    assert!(verify_jwt_svid(&jwt(&set, &agent()), &revoked, None, NOW).is_err());
    let good = json(&set.bundle().to_spiffe_json().unwrap())["keys"][1].clone();
    for (name, value) in [("kty", json!("OKP")), ("use", json!("tls-svid")), ("use", Value::Null)] {
        let mut unknown = good.clone();
        unknown[name] = value;
        let bundle = read(json!({ "keys": [unknown, good] })).unwrap();
        assert_eq!(bundle.jwt_keys, set.bundle().jwt_keys, "the other entry counts");
        assert!(read(json!({ "keys": [unknown] })).unwrap().is_empty());
    }
}

#[test]
fn line_37_bundle_maps() {
    let bundles: BundleSet = ["a.example", "b.example"].map(|name| set(name).bundle().clone()).into_iter().collect();
    let map = bundles.to_map_json().unwrap();
    assert!(json(&map)["trust_domains"]["b.example"]["keys"].is_array());
    assert_eq!(BundleSet::from_map_json(map.as_bytes()).unwrap(), bundles);
    let hint = br#"{"trust_domains":{"a":{"keys":[],"spiffe_refresh_hint":5}}}"#;
    assert_eq!(BundleSet::from_map_json(hint).unwrap().iter().next().unwrap().refresh_hint_seconds, 300);
    for bad in [
        r#"{"domains":{}}"#,
        r#"{"trust_domains":{"a":{"keys":[]},"a":{"keys":[]}}}"#,
        r#"{"trust_domains":{"a":{"keys":[],"keys":[]}}}"#,
        r#"{"trust_domains":{},"trust_domains":{}}"#,
    ] {
        assert!(BundleSet::from_map_json(bad.as_bytes()).is_err(), "{bad}");
    }
}

fn relationship(profile: Profile) -> Relationship {
    let url = "https://bundles.example.org/bundle".parse().unwrap();
    Relationship { trust_domain: "example.org".parse().unwrap(), url, profile }
}

#[test]
fn line_38_profiles() {
    let web = json!({ "trust_domain": "a", "url": "https://a/b", "profile": { "profile": "https_web" } });
    assert_eq!(serde_json::from_value::<Relationship>(web).unwrap().profile, Profile::HttpsWeb);
    let profile = json!({ "profile": "https_spiffe", "endpoint_id": AGENT });
    let spiffe = json!({ "trust_domain": "example.org", "url": "https://a/b", "profile": profile });
    assert!(serde_json::from_value::<Relationship>(spiffe).unwrap().is_self_serving());
    for bad in [
        json!({ "profile": "https_spiffe" }),
        json!({ "profile": "http" }),
        json!({ "profile": "https_web", "x": 1 }),
        json!({ "profile": "https_web", "endpoint_id": AGENT }),
    ] {
        assert!(serde_json::from_value::<Profile>(bad.clone()).is_err(), "{bad}");
    }
}

#[test]
fn line_39_documents_and_urls() {
    let set = set("example.org");
    let document = set.bundle().to_spiffe_json().unwrap();
    assert_eq!(relationship(Profile::HttpsWeb).read(document.as_bytes()).unwrap(), *set.bundle());
    assert!(relationship(Profile::HttpsWeb).read(&[document.as_bytes(), b"\xff"].concat()).is_err());
    for bad in ["http://a.example/", "https://user@a.example/", "https://user:pass@a.example/", "https://", "a.example"] {
        assert!(bad.parse::<EndpointUrl>().is_err(), "{bad}");
    }
    assert!("https://a.example:8443/any/path?query".parse::<EndpointUrl>().is_ok());
}

#[test]
fn line_40_endpoints_with_svids() {
    let (old, new) = (set("example.org"), set("example.org"));
    let endpoint: SpiffeId = "spiffe://example.org/bundles".parse().unwrap();
    let relationship = relationship(Profile::HttpsSpiffe { endpoint_id: endpoint.clone() });
    assert!(relationship.is_self_serving());
    let check = |set: &AuthoritySet, id: &SpiffeId, latest: &BundleSet| {
        relationship.check_server(&[&x509(set, id).chain[0]], latest, NOW)
    };
    let mut latest: BundleSet = [old.bundle().clone()].into_iter().collect();
    assert!(check(&old, &endpoint, &latest).is_ok());
    assert!(check(&old, &agent(), &latest).is_err(), "another workload");
    assert!(check(&new, &endpoint, &latest).is_err(), "not in the latest bundle");
    let mut newer = new.bundle().clone();
    newer.sequence = old.bundle().sequence + 1;
    latest.offer(newer).unwrap();
    assert!(check(&new, &endpoint, &latest).is_ok() && check(&old, &endpoint, &latest).is_err());
    assert!(check(&new, &endpoint, &BundleSet::default()).is_err());
}

#[test]
fn line_41_redirects_polls_and_publication() {
    let relationship = relationship(Profile::HttpsWeb);
    let target = relationship.redirect(&relationship.url, "https://cdn.example.org/bundle").unwrap();
    assert_eq!(target.as_str(), "https://cdn.example.org/bundle");
    assert!(relationship.redirect(&relationship.url, "http://cdn.example.org/bundle").is_err());
    assert!(relationship.redirect(&relationship.url, "https://x@cdn.example.org/bundle").is_err());
    assert_eq!(relationship.url.as_str(), "https://bundles.example.org/bundle", "the target is not kept");
    let unhinted = relationship.read(br#"{"keys":[]}"#).unwrap();
    assert_eq!(unhinted.poll_interval(), Ttl::from_minutes(5));
    let hinted = relationship.read(br#"{"keys":[],"spiffe_refresh_hint":3600}"#).unwrap();
    assert_eq!(hinted.poll_interval(), Ttl::from_minutes(60));
    // A key is published for five refreshes before it is used.
    let policy = RotationPolicy::default();
    let bundle = set("example.org").bundle().clone();
    assert!(policy.publish_ahead.seconds() >= 3 * bundle.refresh_hint_seconds);
    // Bundles stay apart: what one trust domain signs is not of another.
    let (a, b) = (set("a.example"), set("b.example"));
    let both: BundleSet = [a.bundle().clone(), b.bundle().clone()].into_iter().collect();
    let id = "spiffe://a.example/agent".parse().unwrap();
    let (svid, token) = (x509(&a, &id), jwt(&a, &id));
    assert!(both.verify_x509_svid(&[&svid.chain[0]], NOW).is_ok() && both.verify_jwt_svid(&token, None, NOW).is_ok());
    let mut swapped = [a.bundle().clone(), b.bundle().clone()];
    swapped[0].trust_domain = b.trust_domain().clone();
    swapped[1].trust_domain = a.trust_domain().clone();
    let swapped: BundleSet = swapped.into_iter().collect();
    assert!(swapped.verify_x509_svid(&[&svid.chain[0]], NOW).is_err() && swapped.verify_jwt_svid(&token, None, NOW).is_err());
}
