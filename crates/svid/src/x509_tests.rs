use marque_core::time::Ttl;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, SanType, SigningKey,
};

use super::*;
use crate::authority::Authority;
use crate::ca::{X509Request, X509Svid};

const NOW: Timestamp = Timestamp::from_seconds(1_800_000_000);
const AGENT: &str = "spiffe://example.org/agent";

fn authority(trust_domain: &str) -> Authority {
    Authority::generate(&trust_domain.parse().unwrap(), NOW, Ttl::from_seconds(3600)).unwrap()
}

fn issue(authority: &Authority) -> X509Svid {
    let id = format!("{}/agent", authority.trust_domain().id()).parse().unwrap();
    let request = X509Request { id: &id, dns: &[], ips: &[], ttl: Ttl::from_seconds(60), now: NOW, serial: [7; 16] };
    authority.issue_x509(request).unwrap()
}

fn leaf(uris: &[&str]) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.subject_alt_names = uris.iter().map(|uri| SanType::URI((*uri).try_into().unwrap())).collect();
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params
}

fn signer(name: &str, uri: &str, constraints: BasicConstraints) -> CertificateParams {
    let mut params = leaf(&[uri]);
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(constraints);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params
}

fn sign(params: &CertificateParams, issuer: &Issuer<'_, impl SigningKey>) -> Vec<u8> {
    params.signed_by(&KeyPair::generate().unwrap(), issuer).unwrap().der().to_vec()
}

#[test]
fn issued_svids_verify() {
    let authority = authority("example.org");
    let svid = issue(&authority);
    let bundle = Bundle::of(&[&authority], 1).unwrap();
    let verified = verify_x509_svid(&[&svid.chain[0]], &bundle, NOW).unwrap();
    assert_eq!(verified.id.to_string(), AGENT);
    assert_eq!(verified.thumbprint, svid.thumbprint);
    assert_eq!(verified.serial, svid.serial);
    assert_eq!(verified.not_after, svid.not_after);
    assert_eq!(thumbprint_b64url(&verified.thumbprint).len(), 43);
}

/// Rotation: the bundle holds the old and the new authority, and either's leaf verifies.
#[test]
fn any_authority_of_the_bundle_will_do() {
    let (old, new) = (authority("example.org"), authority("example.org"));
    let bundle = Bundle::of(&[&old, &new], 1).unwrap();
    for authority in [&old, &new] {
        assert!(verify_x509_svid(&[&issue(authority).chain[0]], &bundle, NOW).is_ok());
    }
}

#[test]
fn time_is_checked_at_both_ends() {
    let authority = authority("example.org");
    let svid = issue(&authority);
    let bundle = Bundle::of(&[&authority], 1).unwrap();
    let at = |micros: i64| verify_x509_svid(&[&svid.chain[0]], &bundle, Timestamp::from_micros(micros));
    assert!(at(svid.not_before.micros()).is_ok());
    assert!(at(svid.not_after.micros()).is_ok());
    assert!(matches!(at(svid.not_before.micros() - 1), Err(SvidError::NotYetValid)));
    assert!(matches!(at(svid.not_after.micros() + 1), Err(SvidError::Expired)));
}

/// X509-SVID §5.1, Workload API §4.6: only the bundle of the leaf's own trust domain, and only keys that are in it.
#[test]
fn foreign_issuers_are_refused() {
    let (ours, other, stranger) = (authority("example.org"), authority("other.org"), authority("example.org"));
    let bundle = Bundle::of(&[&ours], 1).unwrap();
    assert!(matches!(verify_x509_svid(&[&issue(&other).chain[0]], &bundle, NOW), Err(SvidError::TrustDomain(_))));
    let unknown = issue(&stranger).chain.remove(0);
    assert!(matches!(verify_x509_svid(&[&unknown], &bundle, NOW), Err(SvidError::Chain(_))));
    assert!(verify_x509_svid(&[&unknown, stranger.certificate()], &bundle, NOW).is_err());
    let empty = Bundle::empty("example.org".parse().unwrap(), 2);
    assert!(matches!(verify_x509_svid(&[&issue(&ours).chain[0]], &empty, NOW), Err(SvidError::Chain(_))));
}

/// An authority that claims our name but signs with its own key.
#[test]
fn the_name_of_an_issuer_is_not_enough() {
    let ours = authority("example.org");
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    let stolen = AuthorityFacts::read(ours.certificate()).unwrap();
    params.distinguished_name.push(DnType::OrganizationName, stolen.organization);
    params.distinguished_name.push(DnType::CommonName, stolen.common_name);
    let forged = sign(&leaf(&[AGENT]), &Issuer::new(params, KeyPair::generate().unwrap()));
    let bundle = Bundle::of(&[&ours], 1).unwrap();
    assert!(matches!(verify_x509_svid(&[&forged], &bundle, NOW), Err(SvidError::Chain(_))));
}

/// X509-SVID §3.2: a signing certificate authenticates no one.
#[test]
fn a_signing_certificate_is_not_an_svid() {
    let authority = authority("example.org");
    let bundle = Bundle::of(&[&authority], 1).unwrap();
    assert!(matches!(verify_x509_svid(&[authority.certificate()], &bundle, NOW), Err(SvidError::Certificate(_))));
}

#[test]
fn no_flipped_byte_verifies() {
    let authority = authority("example.org");
    let bundle = Bundle::of(&[&authority], 1).unwrap();
    let good = issue(&authority).chain.remove(0);
    for position in 0..good.len() {
        let mut bad = good.clone();
        bad[position] ^= 1;
        assert!(verify_x509_svid(&[&bad], &bundle, NOW).is_err(), "byte {position} of {}", hex::encode(&bad));
    }
    let mut longer = good.clone();
    longer.push(0);
    assert!(verify_x509_svid(&[&longer], &bundle, NOW).is_err());
    assert!(verify_x509_svid(&[&good[..good.len() - 1]], &bundle, NOW).is_err());
    assert!(verify_x509_svid(&[], &bundle, NOW).is_err());
}

/// X509-SVID §2, §4, §5.2, conformance lines 6, 7 and 10.
#[test]
fn leaves_that_break_the_profile_are_refused() {
    let authority = authority("example.org");
    let bundle = Bundle::of(&[&authority], 1).unwrap();
    let verify = |params: &CertificateParams| verify_x509_svid(&[&sign(params, &authority.ca().issuer())], &bundle, NOW);
    assert!(verify(&leaf(&[AGENT])).is_ok());
    let none: &[&str] = &[];
    let mixed: &[&str] = &[AGENT, "https://example.org"];
    for uris in [none, &[AGENT, AGENT], mixed, &["https://example.org/agent"], &["spiffe://example.org"]] {
        assert!(verify(&leaf(uris)).is_err(), "{uris:?}");
    }
    for usages in [
        vec![],
        vec![KeyUsagePurpose::KeyAgreement],
        vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyCertSign],
        vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::CrlSign],
    ] {
        let mut params = leaf(&[AGENT]);
        params.key_usages = usages;
        assert!(verify(&params).is_err(), "{:?}", params.key_usages);
    }
    let mut params = leaf(&[AGENT]);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    assert!(verify(&params).is_err());
    let mut params = leaf(&[AGENT]);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    assert!(verify(&params).is_err());
    let mut params = leaf(&[AGENT]);
    let mut unknown = rcgen::CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 99_999, 1], vec![5, 0]);
    params.custom_extensions = vec![unknown.clone()];
    assert!(verify(&params).is_ok());
    unknown.set_criticality(true);
    params.custom_extensions = vec![unknown];
    assert!(verify(&params).is_err());
}

/// RFC 5280 §6.1: intermediates in order, each allowed to sign, path lengths kept.
#[test]
fn chains_with_intermediates() {
    let domain = "spiffe://example.org";
    let chain = |root: BasicConstraints, middle: CertificateParams| {
        let root = CertifiedIssuer::self_signed(signer("root", domain, root), KeyPair::generate().unwrap()).unwrap();
        let root_issuer: &Issuer<'_, KeyPair> = &root;
        let middle = CertifiedIssuer::signed_by(middle, KeyPair::generate().unwrap(), root_issuer).unwrap();
        let middle_issuer: &Issuer<'_, KeyPair> = &middle;
        let mut bundle = Bundle::empty("example.org".parse().unwrap(), 1);
        bundle.x509_authorities.push(root.der().to_vec());
        (sign(&leaf(&[AGENT]), middle_issuer), middle.der().to_vec(), bundle)
    };
    let good = || signer("middle", domain, BasicConstraints::Constrained(0));
    let (leaf_der, middle, bundle) = chain(BasicConstraints::Constrained(1), good());
    assert!(verify_x509_svid(&[&leaf_der, &middle], &bundle, NOW).is_ok());
    assert!(verify_x509_svid(&[&leaf_der], &bundle, NOW).is_err());
    assert!(verify_x509_svid(&[&leaf_der, &middle, &middle, &middle, &middle, &middle], &bundle, NOW).is_err());
    let (leaf_der, middle, bundle) = chain(BasicConstraints::Constrained(0), good());
    assert!(verify_x509_svid(&[&leaf_der, &middle], &bundle, NOW).is_err(), "path length");
    let foreign = signer("middle", "spiffe://other.org", BasicConstraints::Constrained(0));
    let (leaf_der, middle, bundle) = chain(BasicConstraints::Unconstrained, foreign);
    assert!(verify_x509_svid(&[&leaf_der, &middle], &bundle, NOW).is_err(), "trust domain");
    let mut plain = good();
    plain.is_ca = IsCa::ExplicitNoCa;
    let (leaf_der, middle, bundle) = chain(BasicConstraints::Unconstrained, plain);
    assert!(verify_x509_svid(&[&leaf_der, &middle], &bundle, NOW).is_err(), "not a CA");
    let mut ended = good();
    ended.not_after = rcgen::date_time_ymd(2001, 1, 1);
    let (leaf_der, middle, bundle) = chain(BasicConstraints::Unconstrained, ended);
    assert!(verify_x509_svid(&[&leaf_der, &middle], &bundle, NOW).is_err(), "ended");
}

/// RFC 5758 §3.2, RFC 4055 §5: authorities of other trust domains sign with what they have.
#[test]
fn authorities_of_each_kind_of_key() {
    for algorithm in [
        &rcgen::PKCS_ECDSA_P256_SHA256,
        &rcgen::PKCS_ECDSA_P384_SHA384,
        &rcgen::PKCS_ECDSA_P521_SHA512,
        &rcgen::PKCS_RSA_SHA256,
        &rcgen::PKCS_RSA_SHA384,
        &rcgen::PKCS_RSA_SHA512,
    ] {
        let params = signer("root", "spiffe://example.org", BasicConstraints::Unconstrained);
        let root = CertifiedIssuer::self_signed(params, KeyPair::generate_for(algorithm).unwrap()).unwrap();
        let issuer: &Issuer<'_, KeyPair> = &root;
        let mut bundle = Bundle::empty("example.org".parse().unwrap(), 1);
        bundle.x509_authorities.push(root.der().to_vec());
        let good = sign(&leaf(&[AGENT]), issuer);
        assert!(verify_x509_svid(&[&good], &bundle, NOW).is_ok(), "{algorithm:?}");
        let mut bad = good.clone();
        let last = bad.len() - 1;
        bad[last] ^= 1;
        assert!(verify_x509_svid(&[&bad], &bundle, NOW).is_err(), "{algorithm:?}");
        let published = bundle.to_spiffe_json().unwrap();
        assert_eq!(Bundle::from_spiffe_json(bundle.trust_domain.clone(), published.as_bytes()).unwrap(), bundle);
    }
    let unknown = KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let params = signer("root", "spiffe://example.org", BasicConstraints::Unconstrained);
    let root = CertifiedIssuer::self_signed(params, unknown).unwrap();
    let issuer: &Issuer<'_, KeyPair> = &root;
    let mut bundle = Bundle::empty("example.org".parse().unwrap(), 1);
    bundle.x509_authorities.push(root.der().to_vec());
    assert!(matches!(verify_x509_svid(&[&sign(&leaf(&[AGENT]), issuer)], &bundle, NOW), Err(SvidError::Chain(_))));
}

/// RFC 5480 §2.1.1.1: the curve is the one that the key names, and not any whose points are as long.
#[test]
fn a_key_on_another_curve_is_of_an_unknown_kind() {
    for (algorithm, curve) in [
        (&rcgen::PKCS_ECDSA_P256_SHA256, Curve::P256),
        (&rcgen::PKCS_ECDSA_P384_SHA384, Curve::P384),
        (&rcgen::PKCS_ECDSA_P521_SHA512, Curve::P521),
    ] {
        let params = signer("root", "spiffe://example.org", BasicConstraints::Unconstrained);
        let root = CertifiedIssuer::self_signed(params, KeyPair::generate_for(algorithm).unwrap()).unwrap();
        assert!(matches!(public_jwk(root.der()), Ok(Jwk::Ec { crv, .. }) if crv == curve), "{algorithm:?}");
    }
    let der = base64::engine::general_purpose::STANDARD.decode(SECP256K1).unwrap();
    assert!(parse(&der).is_ok(), "there is nothing else wrong with it");
    let is_refused =
        |der: &[u8]| matches!(public_jwk(der), Err(SvidError::Certificate(why)) if why == "its key is of an unknown kind");
    assert!(is_refused(&der));
    let mut bundle = Bundle::empty("example.org".parse().unwrap(), 1);
    bundle.x509_authorities.push(der);
    assert!(bundle.to_spiffe_json().is_err(), "it is not handed on under another name");

    // X9.62's prime239v1 has a name as long as that of P-256.
    let mut other = authority("example.org").certificate().to_vec();
    assert!(public_jwk(&other).is_ok());
    let place = other.windows(P256_NAME.len()).position(|window| window == P256_NAME).unwrap();
    other[place + P256_NAME.len() - 1] = 4;
    assert!(is_refused(&other));
}

/// The object identifier of P-256 in DER (RFC 5480 §2.1.1.1).
const P256_NAME: &[u8] = b"\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07";
/// A CA of openssl's with a key on secp256k1.
const SECP256K1: &str = "\
    MIIBoTCCAUegAwIBAgIUS6ZOfM3hGFZsJx6GWJA3nEVx7PswCgYIKoZIzj0EAwIwDTELMAkGA1UEAwwCQ0EwIBcNMjYxMTI2MjIzNzU3WhgPMj\
    EyNjExMDIyMjM3NTdaMA0xCzAJBgNVBAMMAkNBMFYwEAYHKoZIzj0CAQYFK4EEAAoDQgAE/1aBq9oCg7BCB9m7h5RqsDi2dWORcZyMOF7ORT6S\
    qfgQlWvdbOjvWhoQ84rPss7iul66c0DpdxYxrgk37LsI4aOBhTCBgjAdBgNVHQ4EFgQUVvwSPkf0F9pD7I7jGZZLImJn6vEwHwYDVR0jBBgwFo\
    AUVvwSPkf0F9pD7I7jGZZLImJn6vEwDwYDVR0TAQH/BAUwAwEB/zAOBgNVHQ8BAf8EBAMCAgQwHwYDVR0RBBgwFoYUc3BpZmZlOi8vZXhhbXBs\
    ZS5vcmcwCgYIKoZIzj0EAwIDSAAwRQIgKumrgoI8bGu3Op1vG239YjhLb2kNTuyg6WirVsfitnICIQClvPnwAP9IZK2EDh84AR3dVHtiOPJRrS\
    bUyLDHjqmVVg==";
