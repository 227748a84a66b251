use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_RSA_SHA256, SignatureAlgorithm,
};

use super::*;

const NOW: Timestamp = Timestamp::from_seconds(1_800_000_000);

struct Node {
    root: String,
    root_der: Vec<u8>,
    chain: Vec<Vec<u8>>,
    key: PopKey,
}

impl Node {
    fn new(algorithm: &'static SignatureAlgorithm, change: impl FnOnce(&mut CertificateParams)) -> Self {
        let ca = |name: &str| {
            let mut params = named(name);
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
            params
        };
        let root = CertifiedIssuer::self_signed(ca("root"), KeyPair::generate().unwrap()).unwrap();
        let issuer: &Issuer<'_, KeyPair> = &root;
        let middle = CertifiedIssuer::signed_by(ca("middle"), KeyPair::generate().unwrap(), issuer).unwrap();
        let issuer: &Issuer<'_, KeyPair> = &middle;
        let pair = KeyPair::generate_for(algorithm).unwrap();
        let mut params = named("node-1");
        params.serial_number = Some(vec![0x0a, 0xff].into());
        change(&mut params);
        let leaf = params.signed_by(&pair, issuer).unwrap();
        Self {
            root: root.pem(),
            root_der: root.der().to_vec(),
            chain: vec![leaf.der().to_vec(), middle.der().to_vec()],
            key: PopKey::from_pkcs8(pair.serialized_der()).unwrap(),
        }
    }

    fn answer(&self, challenge: &Challenge) -> Answer {
        self.key.answer(challenge, &self.chain[0], [2; 32]).unwrap()
    }

    fn join(&self) -> Result<PopNode> {
        let challenge = challenge([1; 32]);
        let answer = self.answer(&challenge);
        PopVerifier::from_pem(&self.root).unwrap().verify(&slices(&self.chain), challenge, &answer, NOW)
    }
}

fn named(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

fn challenge(random: [u8; 32]) -> Challenge {
    Challenge::new(&"example.org".parse().unwrap(), random, NOW)
}

fn slices(chain: &[Vec<u8>]) -> Vec<&[u8]> {
    chain.iter().map(Vec::as_slice).collect()
}

#[test]
fn nodes_join_with_keys_of_each_kind() {
    for algorithm in [&PKCS_ECDSA_P256_SHA256, &PKCS_ECDSA_P384_SHA384, &PKCS_RSA_SHA256] {
        let node = Node::new(algorithm, |_| {});
        let joined = node.join().unwrap();
        let fingerprint = |der: &[u8]| format!("x509pop:ca:fingerprint:{}", hex::encode(thumbprint(der)));
        let expected: BTreeSet<Selector> = [
            "x509pop:subject:cn:node-1".to_owned(),
            "x509pop:serialnumber:0aff".to_owned(),
            fingerprint(&node.chain[1]),
            fingerprint(&node.root_der),
        ]
        .map(|selector| selector.parse().unwrap())
        .into_iter()
        .collect();
        assert_eq!(joined.selectors, expected);
        assert_eq!(joined.thumbprint, thumbprint(&node.chain[0]));
    }
}

/// A CA that stands in the chain but not on the path says nothing of the node.
#[test]
fn only_cas_on_the_path_become_selectors() {
    let (mut node, other) = (Node::new(&PKCS_ECDSA_P256_SHA256, |_| {}), Node::new(&PKCS_ECDSA_P256_SHA256, |_| {}));
    let expected = node.join().unwrap();
    node.chain.push(other.chain[1].clone());
    assert_eq!(node.join().unwrap(), expected);
}

#[test]
fn an_answer_is_good_for_its_challenge_and_certificate() {
    let (node, other) = (Node::new(&PKCS_ECDSA_P256_SHA256, |_| {}), Node::new(&PKCS_ECDSA_P256_SHA256, |_| {}));
    let verifier = PopVerifier::from_pem(&format!("{}{}", node.root, other.root)).unwrap();
    let verify =
        |chain: &[Vec<u8>], challenge: Challenge, answer: &Answer, now| verifier.verify(&slices(chain), challenge, answer, now);
    let first = challenge([1; 32]);
    let answer = node.answer(&first);
    assert!(verify(&node.chain, first.clone(), &answer, NOW).is_ok());
    assert!(matches!(verify(&node.chain, challenge([3; 32]), &answer, NOW), Err(SvidError::Signature)));
    assert!(matches!(verify(&other.chain, first.clone(), &answer, NOW), Err(SvidError::Signature)));
    let elsewhere = Challenge { trust_domain: "other.org".parse().unwrap(), ..first.clone() };
    assert!(matches!(verify(&node.chain, elsewhere, &answer, NOW), Err(SvidError::Signature)));
    let changed = Answer { nonce: Nonce([9; 32]), ..answer.clone() };
    assert!(matches!(verify(&node.chain, first.clone(), &changed, NOW), Err(SvidError::Signature)));
    let late = NOW.plus(CHALLENGE_TTL);
    assert!(matches!(verify(&node.chain, first.clone(), &answer, late), Err(SvidError::Proof(_))));
    assert!(verify(&[], first.clone(), &answer, NOW).is_err());
    assert!(verify(&node.chain[..1], first.clone(), &answer, NOW).is_err());
    let stranger = PopVerifier::from_pem(&other.root).unwrap();
    assert!(stranger.verify(&slices(&node.chain), first.clone(), &answer, NOW).is_err());
    let json = serde_json::to_string(&(&first, &answer)).unwrap();
    assert_eq!(serde_json::from_str::<(Challenge, Answer)>(&json).unwrap(), (first, answer));
    assert!(serde_json::from_str::<Answer>(r#"{"nonce":"AA","signature":""}"#).is_err());
}

#[test]
fn certificates_that_are_no_nodes_are_refused() {
    let refused = |change: fn(&mut CertificateParams)| Node::new(&PKCS_ECDSA_P256_SHA256, change).join().is_err();
    assert!(!refused(|params| params.key_usages = vec![KeyUsagePurpose::DigitalSignature]));
    assert!(!refused(|params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth]));
    assert!(refused(|params| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained)));
    assert!(refused(|params| params.key_usages = vec![KeyUsagePurpose::KeyEncipherment]));
    assert!(refused(|params| params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyCertSign]));
    assert!(refused(|params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::CodeSigning]));
    assert!(refused(|params| params.not_after = rcgen::date_time_ymd(2001, 1, 1)));
    assert!(PopVerifier::from_pem("").is_err());
    assert!(PopKey::from_pkcs8(b"").is_err());
}
