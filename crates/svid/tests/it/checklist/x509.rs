//! Lines 6 to 11: X509-SVID.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use marque_core::spiffe::SpiffeId;
use marque_core::time::Ttl;
use marque_svid::{
    AuthoritySet, Bundle, BundleSet, Rotation, RotationPolicy, SoftwareKeys, SvidError, UpstreamCa, X509Request, verify_x509_svid,
};
use rcgen::{BasicConstraints, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose, SanType};
use serde_json::{Value, json};
use x509_parser::prelude::*;

use crate::fixtures::{AGENT, NOW, Rogue, agent, json, set, x509};

pub(super) fn uris(der: &[u8]) -> Vec<String> {
    let (_, certificate) = X509Certificate::from_der(der).unwrap();
    let names = certificate.subject_alternative_name().unwrap().unwrap().value.general_names.clone();
    let uri = |name: &GeneralName<'_>| match name {
        GeneralName::URI(uri) => Some((*uri).to_owned()),
        _ => None,
    };
    names.iter().filter_map(uri).collect()
}

#[test]
fn line_06_exactly_one_uri() {
    let set = set("example.org");
    assert_eq!(uris(&x509(&set, &agent()).chain[0]), [AGENT]);
    let rogue = Rogue::new(|_| {});
    let with = |uris: &[&str]| rogue.accepts(|params| params.subject_alt_names = Rogue::params(uris).subject_alt_names);
    assert!(with(&[AGENT]));
    let refused: [&[&str]; 4] = [&[], &[AGENT, AGENT], &[AGENT, "https://example.org"], &["https://example.org/agent"]];
    for uris in refused {
        assert!(!with(uris), "{uris:?}");
    }
    assert!(rogue.accepts(|params| {
        params.subject_alt_names.push(SanType::DnsName("a.example".try_into().unwrap()));
        params.subject_alt_names.push(SanType::IpAddress("10.0.0.1".parse().unwrap()));
        params.subject_alt_names.push(SanType::Rfc822Name("a@example.org".try_into().unwrap()));
    }));
}

#[test]
fn line_07_the_profile_of_leaves() {
    let set = set("example.org");
    let svid = x509(&set, &agent());
    let (_, leaf) = X509Certificate::from_der(&svid.chain[0]).unwrap();
    let constraints = leaf.basic_constraints().unwrap().unwrap();
    assert!(!constraints.value.ca);
    let usage = leaf.key_usage().unwrap().unwrap();
    assert!(usage.critical && usage.value.digital_signature());
    assert!(!usage.value.key_cert_sign() && !usage.value.crl_sign());
    let extended = leaf.extended_key_usage().unwrap().unwrap();
    assert!(extended.value.server_auth && extended.value.client_auth);
    let root: SpiffeId = "spiffe://example.org".parse().unwrap();
    let request = X509Request { id: &root, dns: &[], ips: &[], ttl: Ttl::from_seconds(60), now: NOW, serial: [1; 16] };
    assert!(matches!(set.issue_x509(request), Err(SvidError::NoPath(_))));
    let rogue = Rogue::new(|_| {});
    use ExtendedKeyUsagePurpose::{ClientAuth, ServerAuth};
    use KeyUsagePurpose::{CrlSign, DigitalSignature, KeyAgreement, KeyCertSign};
    let usages = |usages: &[KeyUsagePurpose]| rogue.accepts(|params| params.key_usages = usages.to_vec());
    assert!(usages(&[DigitalSignature]) && usages(&[DigitalSignature, KeyAgreement]));
    assert!(!usages(&[]) && !usages(&[KeyAgreement]));
    assert!(!usages(&[DigitalSignature, KeyCertSign]) && !usages(&[DigitalSignature, CrlSign]));
    let extended = |usages: &[ExtendedKeyUsagePurpose]| rogue.accepts(|params| params.extended_key_usages = usages.to_vec());
    assert!(extended(&[]) && extended(&[ServerAuth, ClientAuth]));
    assert!(!extended(&[ServerAuth]) && !extended(&[ClientAuth]));
}

#[test]
fn line_08_names_are_critical_where_there_is_no_subject() {
    let svid = x509(&set("example.org"), &agent());
    let (_, leaf) = X509Certificate::from_der(&svid.chain[0]).unwrap();
    let critical = leaf.subject_alternative_name().unwrap().unwrap().critical;
    assert!(critical || leaf.subject().iter_attributes().count() > 0);
    let rogue = Rogue::new(|_| {});
    let der = rogue.leaf(|_| {});
    let (_, leaf) = X509Certificate::from_der(&der).unwrap();
    assert!(leaf.subject_alternative_name().unwrap().unwrap().critical && leaf.subject().iter_attributes().count() == 0);
    assert!(verify_x509_svid(&[&der], &rogue.bundle, NOW).is_ok());
}

#[test]
fn line_09_signing_certificates() {
    let pair = KeyPair::generate().unwrap();
    let mut root = Rogue::params(&[]);
    root.distinguished_name.push(DnType::CommonName, "root");
    root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    root.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let root = root.self_signed(&pair).unwrap();
    let upstream = UpstreamCa::from_pem(&root.pem(), &pair.serialize_pem(), None).unwrap();
    let policy = RotationPolicy::default();
    let rotation = Rotation { now: NOW, policy: &policy, keys: &SoftwareKeys, upstream: Some(&upstream) };
    let below = AuthoritySet::new(&"example.org".parse().unwrap(), &rotation).unwrap();
    let alone = set("example.org");
    let ours = [x509(&below, &agent()).chain[1].clone(), alone.bundle().x509_authorities[0].clone()];
    for (der, bundle) in ours.iter().zip([below.bundle(), alone.bundle()]) {
        let (_, certificate) = X509Certificate::from_der(der).unwrap();
        assert!(certificate.basic_constraints().unwrap().unwrap().value.ca);
        let usage = certificate.key_usage().unwrap().unwrap();
        assert!(usage.critical && usage.value.key_cert_sign());
        assert_eq!(uris(der), ["spiffe://example.org"]);
        assert!(verify_x509_svid(&[der], bundle, NOW).is_err(), "it authenticates no one");
    }
    let chain = x509(&below, &agent()).chain;
    let chain: Vec<&[u8]> = chain.iter().map(Vec::as_slice).collect();
    assert!(verify_x509_svid(&chain, below.bundle(), NOW).is_ok());
    assert_eq!(below.bundle().x509_authorities, [root.der().to_vec()]);
}

#[test]
fn line_10_validation() {
    let rogue = Rogue::new(|_| {});
    assert!(rogue.accepts(|_| {}));
    assert!(!rogue.accepts(|params| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained)));
    assert!(!rogue.accepts(|params| params.not_after = rcgen::date_time_ymd(2001, 1, 1)));
    let uri = |uri: &str| rogue.accepts(|params| params.subject_alt_names = Rogue::params(&[uri]).subject_alt_names);
    assert!(!uri("spiffe://example.org") && !uri("spiffe://other.org/agent") && !uri("http://example.org/agent"));
    let other = Rogue::new(|_| {});
    assert!(verify_x509_svid(&[&other.leaf(|_| {})], &rogue.bundle, NOW).is_err());
    // One CA under two names: only the bundle of the leaf's own trust domain counts.
    let mut shared = rogue.bundle.clone();
    shared.trust_domain = "other.org".parse().unwrap();
    let both: BundleSet = [shared, Bundle::empty("example.org".parse().unwrap(), 1)].into_iter().collect();
    assert!(both.verify_x509_svid(&[&rogue.leaf(|_| {})], NOW).is_err());
}

#[test]
fn line_11_x509_entries_of_the_bundle() {
    let set = set("example.org");
    let document = json(&set.bundle().to_spiffe_json().unwrap());
    let entry = document["keys"].as_array().unwrap().iter().find(|key| key["use"] == "x509-svid").unwrap().clone();
    assert!(entry.get("kid").is_none());
    assert_eq!(entry["x5c"], json!([STANDARD.encode(&set.bundle().x509_authorities[0])]));
    let read = |entry: &Value| {
        let document = json!({ "keys": [entry] }).to_string();
        Bundle::from_spiffe_json("example.org".parse().unwrap(), document.as_bytes()).unwrap().x509_authorities
    };
    let mut two = entry.clone();
    two["x5c"] = json!([entry["x5c"][0], "anything"]);
    assert_eq!(read(&two), set.bundle().x509_authorities);
    for x5c in [Value::Null, json!([])] {
        let mut none = entry.clone();
        none["x5c"] = x5c;
        assert!(read(&none).is_empty());
    }
}
