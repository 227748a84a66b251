//! Nodes that join by a certificate of another CA, what they are answered, and what they keep.

use std::sync::LazyLock;

use marque_core::time::Timestamp;
use marque_ledger::decode_bundle;
use marque_server::node::{Home, HomeError, Joined, received};
use marque_svid::thumbprint;
use marque_svid::x509pop::{Answer, Challenge, PopVerifier};

use crate::documents::same_json;
use crate::svid::NOW;

/// [`PopVerifier::verify`]: an answer on the first line, and behind it the chain, as a bundle of entries holds it. Whatever
/// passes is the one node that was ever certified, and answered this one challenge in time.
pub fn svid_node(data: &[u8]) {
    let end = data.iter().position(|byte| *byte == b'\n').unwrap_or(data.len());
    let (answer, chain) = data.split_at_checked(end).unwrap_or_default();
    let Ok(answer) = serde_json::from_slice::<Answer>(answer) else { return };
    let Ok(chain) = decode_bundle(chain.get(1..).unwrap_or_default()) else { return };
    let Ok(node) = KNOWN.verifier.verify(&chain, KNOWN.challenge.clone(), &answer, NOW) else { return };
    assert_eq!(Some(node.thumbprint), chain.first().map(|leaf| thumbprint(leaf)));
    assert!(node.not_after >= NOW, "an expired certificate passes");
    for selector in [NODE_NAME, NODE_CA] {
        assert!(node.selectors.iter().any(|found| found.as_str() == selector), "{:?}", node.selectors);
    }
    assert!(node.selectors.len() <= 2 + chain.len(), "{:?}", node.selectors);
    for challenge in [&KNOWN.other, &KNOWN.late] {
        let again = KNOWN.verifier.verify(&chain, challenge.clone(), &answer, NOW);
        assert!(again.is_err(), "an answer passes for {challenge:?}");
    }
}

/// [`Home`]: what a node left is found again as it was, or is said to be of no use.
#[expect(clippy::expect_used, reason = "a target panics when a property breaks")]
pub fn node_joined(data: &[u8]) {
    same_json::<Joined>(data);
    let dir = tempfile::tempdir().expect("a directory");
    std::fs::write(dir.path().join("node.json"), data).expect("a file");
    let home = Home::open(dir.path()).expect("the directory is there");
    match home.load() {
        Ok(joined) => {
            let joined = joined.expect("the file is there");
            home.save(&joined).expect("what was read can be written");
            let again = home.load().ok().flatten().expect("what was written can be read");
            assert_eq!(serde_json::to_string(&again).ok(), serde_json::to_string(&joined).ok());
        }
        Err(error) => assert!(matches!(error, HomeError::Damaged(_)), "{error}"),
    }
}

/// [`received`]: an X.509-SVID that a node may show has a certificate and a key's bytes as they were sent, and times that do not
/// turn round.
pub fn node_received(data: &[u8]) {
    let Some((svid, ends)) = received(data, NOW) else { return };
    assert!(!svid.chain.is_empty(), "an SVID without a certificate");
    let lengths = svid.chain.iter().map(Vec::len).sum::<usize>() + svid.key_pkcs8.len();
    assert!(lengths <= data.len(), "{lengths} bytes out of {}", data.len());
    let Some((later, ends_later)) = received(data, Timestamp::from_seconds(NOW.seconds() + 60)) else { return };
    assert!(later.due >= svid.due && ends_later >= ends, "what is received later is due before");
}

/// The CA, and what nodes are asked.
struct Known {
    verifier: PopVerifier,
    challenge: Challenge,
    /// The same of another number, and the same when its time is up.
    other: Challenge,
    late: Challenge,
}

static KNOWN: LazyLock<Known> = LazyLock::new(known);

#[expect(clippy::expect_used, reason = "the CA and the challenge stand in this folder")]
fn known() -> Known {
    let challenge = |text: &str| serde_json::from_str(text).expect("a challenge");
    Known {
        verifier: PopVerifier::from_pem(NODE_ROOT).expect("a CA"),
        challenge: challenge(CHALLENGE),
        other: challenge(&CHALLENGE.replacen('B', "C", 1)),
        late: challenge(&CHALLENGE.replace("1795476979", "1795476919")),
    }
}

/// A CA of which nobody holds the private key any more; what it certified is in the corpus.
pub const NODE_ROOT: &str = include_str!("node-root.pem");
/// What the nodes in the corpus were asked.
pub const CHALLENGE: &str = r#"{"trust_domain":"example.org","nonce":"BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc",
    "expires":1795476979000000}"#;
/// What is known of every node in the corpus: its name, and that the CA stands above it.
const NODE_NAME: &str = "x509pop:subject:cn:node-1";
const NODE_CA: &str = "x509pop:ca:fingerprint:6e92e06e4b45f8b5f14e19a084e21aead66551ee0574d058f61c7c0cd2c998c1";
