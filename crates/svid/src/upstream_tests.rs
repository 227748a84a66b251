use marque_core::time::Ttl;
use rcgen::{
    BasicConstraints, CertifiedIssuer, DnType, IsCa, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384,
    PKCS_RSA_SHA256, SanType, SignatureAlgorithm,
};

use super::*;
use crate::ca::X509Request;
use crate::keys::{P256Key, SoftwareKeys};
use crate::set::{AuthoritySet, KeyKind, Rotation, RotationPolicy, Step};
use crate::x509::verify_x509_svid;

const NOW: Timestamp = Timestamp::from_seconds(1_800_000_000);

fn ca(name: &str, uri: Option<&str>, path: BasicConstraints) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, "Example, Inc.");
    params.distinguished_name.push(DnType::CommonName, name);
    params.subject_alt_names = uri.map(|uri| SanType::URI(uri.try_into().unwrap())).into_iter().collect();
    params.is_ca = IsCa::Ca(path);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params
}

fn key(algorithm: &'static SignatureAlgorithm) -> KeyPair {
    KeyPair::generate_for(algorithm).unwrap()
}

/// A root and a CA below it.
struct Pki {
    root: String,
    chain: String,
    key: String,
}

fn pki(algorithm: &'static SignatureAlgorithm, params: CertificateParams) -> Pki {
    let root_params = ca("root", None, BasicConstraints::Unconstrained);
    let root = CertifiedIssuer::self_signed(root_params, key(&PKCS_ECDSA_P384_SHA384)).unwrap();
    let middle_key = key(algorithm);
    let text = middle_key.serialize_pem();
    let issuer: &Issuer<'_, KeyPair> = &root;
    let middle = params.signed_by(&middle_key, issuer).unwrap();
    Pki { root: root.pem(), chain: middle.pem(), key: text }
}

fn set(upstream: &UpstreamCa) -> Result<AuthoritySet> {
    let policy = RotationPolicy::default();
    let rotation = Rotation { now: NOW, policy: &policy, keys: &SoftwareKeys, upstream: Some(upstream) };
    AuthoritySet::new(&"example.org".parse().unwrap(), &rotation)
}

fn issue(set: &AuthoritySet) -> crate::ca::X509Svid {
    let id = "spiffe://example.org/agent".parse().unwrap();
    set.issue_x509(X509Request { id: &id, dns: &[], ips: &[], ttl: Ttl::from_seconds(60), now: NOW, serial: [1; 16] }).unwrap()
}

fn chain(svid: &crate::ca::X509Svid) -> Vec<&[u8]> {
    svid.chain.iter().map(Vec::as_slice).collect()
}

/// The chain is served with its intermediates, the bundle holds the root alone, and a store brings all of it back.
#[test]
fn svids_lead_to_the_upstream_root() {
    for algorithm in [&PKCS_ECDSA_P256_SHA256, &PKCS_ECDSA_P384_SHA384, &PKCS_RSA_SHA256] {
        let pki = pki(algorithm, ca("middle", Some("spiffe://example.org"), BasicConstraints::Constrained(1)));
        let upstream = UpstreamCa::from_pem(&format!("{}{}", pki.chain, pki.root), &pki.key, None).unwrap();
        let set = set(&upstream).unwrap();
        let svid = issue(&set);
        assert_eq!(svid.chain.len(), 3, "leaf, our CA, the upstream CA");
        assert_eq!(set.bundle().x509_authorities, certificates(&pki.root).unwrap());
        assert_eq!(verify_x509_svid(&chain(&svid), set.bundle(), NOW).unwrap().id, svid.id);
        assert!(verify_x509_svid(&chain(&svid)[..2], set.bundle(), NOW).is_err());
        let stored = serde_json::to_vec(&set.to_stored()).unwrap();
        let again = AuthoritySet::from_json(&stored, &SoftwareKeys, &RotationPolicy::default()).unwrap();
        assert_eq!(again.bundle(), set.bundle());
        assert!(verify_x509_svid(&chain(&issue(&again)), set.bundle(), NOW).is_ok());
        let apart = UpstreamCa::from_pem(&pki.chain, &pki.key, Some(&pki.root)).unwrap();
        assert_eq!(apart.above(), upstream.above());
    }
}

/// The root itself may be upstream: then nothing stands between.
#[test]
fn a_root_as_upstream() {
    let pair = key(&PKCS_ECDSA_P256_SHA256);
    let text = pair.serialize_pem();
    let root = ca("root", None, BasicConstraints::Constrained(1)).self_signed(&pair).unwrap();
    let set = set(&UpstreamCa::from_pem(&root.pem(), &text, None).unwrap()).unwrap();
    let svid = issue(&set);
    assert_eq!(svid.chain.len(), 2);
    assert!(verify_x509_svid(&chain(&svid), set.bundle(), NOW).is_ok());
    assert!(verify_x509_svid(&chain(&svid)[..1], set.bundle(), NOW).is_err());
}

/// A revoked CA of ours counts no longer here, though the root above it stays.
#[test]
fn a_revoked_ca_below_a_shared_root() {
    let pki = pki(&PKCS_ECDSA_P256_SHA256, ca("middle", None, BasicConstraints::Unconstrained));
    let upstream = UpstreamCa::from_pem(&pki.chain, &pki.key, Some(&pki.root)).unwrap();
    let before = set(&upstream).unwrap();
    let svid = issue(&before);
    let policy = RotationPolicy::default();
    let rotation = Rotation { now: NOW, policy: &policy, keys: &SoftwareKeys, upstream: Some(&upstream) };
    let step = Step::Revoke { kind: KeyKind::X509, id: svid.authority.clone() };
    let after = before.apply(&step, &rotation).unwrap();
    assert_eq!(after.bundle().x509_authorities, before.bundle().x509_authorities);
    assert!(verify_x509_svid(&chain(&svid), after.bundle(), NOW).is_err());
    assert!(verify_x509_svid(&chain(&issue(&after)), after.bundle(), NOW).is_ok());
}

/// A key on P-384 that a device keeps, which may not answer.
#[derive(Debug)]
struct Device {
    pair: aws_lc_rs::signature::EcdsaKeyPair,
    answers: bool,
}

impl UpstreamKey for Device {
    fn curve(&self) -> Curve {
        Curve::P384
    }

    fn point(&self) -> &[u8] {
        use aws_lc_rs::signature::KeyPair as _;
        self.pair.public_key().as_ref()
    }

    fn sign_raw(&self, message: &[u8]) -> Result<Vec<u8>> {
        if !self.answers {
            return Err(SvidError::Backend("the token is gone".into()));
        }
        let random = aws_lc_rs::rand::SystemRandom::new();
        Ok(self.pair.sign(&random, message).map_err(|_| SvidError::Key)?.as_ref().to_vec())
    }
}

/// The device signs as a key on disk would; while it does not answer, no CA is made, and the cause is told.
#[test]
fn a_device_keeps_the_key() {
    let pki = pki(&PKCS_ECDSA_P384_SHA384, ca("middle", None, BasicConstraints::Unconstrained));
    let der = Pem::iter_from_buffer(pki.key.as_bytes()).next().unwrap().unwrap().contents;
    let algorithm = &aws_lc_rs::signature::ECDSA_P384_SHA384_FIXED_SIGNING;
    let device = |answers| {
        let pair = aws_lc_rs::signature::EcdsaKeyPair::from_pkcs8(algorithm, &der).unwrap();
        UpstreamCa::with_key(&pki.chain, Arc::new(Device { pair, answers }), Some(&pki.root)).unwrap()
    };
    let good = set(&device(true)).unwrap();
    let svid = issue(&good);
    assert_eq!(svid.chain.len(), 3);
    assert_eq!(verify_x509_svid(&chain(&svid), good.bundle(), NOW).unwrap().id, svid.id);
    assert!(matches!(set(&device(false)), Err(SvidError::Backend(cause)) if cause.to_string() == "the token is gone"));
    let other = UpstreamCa::with_key(&pki.chain, Arc::new(P256Key::generate().unwrap()), Some(&pki.root));
    assert!(matches!(other, Err(SvidError::Upstream("its certificate is of another key"))));
}

/// `DC=example, DC=org`: two attributes of one kind in the name of the upstream CA.
#[test]
fn names_are_kept_byte_for_byte() {
    let backend = Arc::new(P256Key::generate().unwrap());
    let mut params = ca("middle", None, BasicConstraints::Unconstrained);
    let dc = DnType::CustomDnType(vec![0, 9, 2342, 19200300, 100, 1, 25]);
    params.distinguished_name.push(dc.clone(), "example");
    params.distinguished_name.push(DnType::CustomDnType(vec![0, 9, 2342, 19200300, 100, 1, 26]), "orgxxxx");
    let signer = Signer::new(&*backend);
    let der = params.self_signed(&signer).unwrap().der().to_vec();
    // The two names become attributes of one kind, and the certificate is signed again.
    let (other, same) =
        (b"\x06\x0a\x09\x92\x26\x89\x93\xf2\x2c\x64\x01\x1a", b"\x06\x0a\x09\x92\x26\x89\x93\xf2\x2c\x64\x01\x19");
    let parsed = parse(&der).unwrap();
    let mut signed = parsed.tbs_certificate.as_ref().to_vec();
    while let Some(at) = signed.windows(other.len()).position(|window| window == other) {
        signed[at..at + same.len()].copy_from_slice(same);
    }
    let signature = SigningKey::sign(&signer, &signed).unwrap();
    let algorithm = SignatureScheme::of(&parsed).unwrap().encoding;
    let bits = [&[3, u8::try_from(signature.len() + 1).unwrap(), 0], signature.as_slice()].concat();
    let pem = x509_parser_pem(&sequence(&[&signed, algorithm, &bits]));
    let upstream = UpstreamCa::with_key(&pem, backend, None).unwrap();
    let svid = issue(&set(&upstream).unwrap());
    let ours = parse(&svid.chain[1]).unwrap();
    assert_eq!(ours.issuer().iter_by_oid(&x509_parser::oid_registry::OID_DOMAIN_COMPONENT).count(), 2);
    assert!(verify_x509_svid(&chain(&svid), set(&upstream).unwrap().bundle(), NOW).is_ok());
}

fn x509_parser_pem(der: &[u8]) -> String {
    use base64::Engine;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let lines: Vec<&str> = text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"))
}

#[test]
fn what_cannot_sign_for_us_is_refused() {
    let good = || ca("middle", None, BasicConstraints::Unconstrained);
    let one = pki(&PKCS_ECDSA_P256_SHA256, good());
    let two = pki(&PKCS_ECDSA_P256_SHA256, good());
    let load = |chain: &str, key: &str, roots: Option<&str>| UpstreamCa::from_pem(chain, key, roots);
    assert!(matches!(load("", &one.key, None), Err(SvidError::Upstream("it has no certificate"))));
    assert!(matches!(load(&one.chain, &one.key, None), Err(SvidError::Upstream("it has no root"))));
    assert!(matches!(load(&one.chain, &two.key, None), Err(SvidError::Upstream("its certificate is of another key"))));
    assert!(matches!(load(&one.chain, "", None), Err(SvidError::Upstream("its private key cannot be read"))));
    assert!(load("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", &one.key, None).is_err());
    let refused = |params: CertificateParams, root: Option<&str>| {
        let pki = pki(&PKCS_ECDSA_P256_SHA256, params);
        let upstream = load(&pki.chain, &pki.key, Some(root.unwrap_or(&pki.root))).unwrap();
        matches!(set(&upstream), Err(SvidError::Upstream(_)))
    };
    assert!(refused(good(), Some(&two.root)), "another root");
    assert!(refused(ca("middle", None, BasicConstraints::Constrained(0)), None), "no room for a CA below it");
    assert!(refused(ca("middle", Some("spiffe://other.org"), BasicConstraints::Unconstrained), None), "another trust domain");
    assert!(refused(ca("middle", Some("spiffe://example.org/ca"), BasicConstraints::Unconstrained), None), "a path");
    let mut leaf = good();
    leaf.is_ca = IsCa::ExplicitNoCa;
    let pki = pki(&PKCS_ECDSA_P256_SHA256, leaf);
    assert!(load(&pki.chain, &pki.key, Some(&pki.root)).is_err(), "not a CA");
}

/// One that has ended, or has not begun, is refused by its file and its dates.
#[test]
fn an_upstream_at_another_time_says_when_it_is_valid() {
    let dates = [
        ("2001-01-01T00:00:00.000Z", "2002-01-01T00:00:00.000Z", 2001),
        ("2999-01-01T00:00:00.000Z", "3000-01-01T00:00:00.000Z", 2999),
    ];
    for (from, until, year) in dates {
        let mut params = ca("middle", None, BasicConstraints::Unconstrained);
        params.not_before = rcgen::date_time_ymd(year, 1, 1);
        params.not_after = rcgen::date_time_ymd(year + 1, 1, 1);
        let pki = pki(&PKCS_ECDSA_P256_SHA256, params);
        let upstream = UpstreamCa::from_pem(&pki.chain, &pki.key, Some(&pki.root)).unwrap();
        let when = format!("is valid from {from} until {until}, and not now");
        assert_eq!(set(&upstream).unwrap_err().to_string(), format!("the upstream authority {when}"));
        let upstream = upstream.in_file(Path::new("/etc/marque/ca.pem"));
        let error = set(&upstream).unwrap_err().to_string();
        assert_eq!(error, format!("the upstream authority in `/etc/marque/ca.pem` {when}"));
    }
}

/// What is issued ends with what stands above it.
#[test]
fn nothing_outlives_the_upstream() {
    let mut params = ca("middle", None, BasicConstraints::Unconstrained);
    let end = NOW.plus(Ttl::from_seconds(30));
    params.not_after = crate::validity::date(end).unwrap();
    let pki = pki(&PKCS_ECDSA_P256_SHA256, params);
    let upstream = UpstreamCa::from_pem(&pki.chain, &pki.key, Some(&pki.root)).unwrap();
    assert_eq!(issue(&set(&upstream).unwrap()).not_after, end);
}
