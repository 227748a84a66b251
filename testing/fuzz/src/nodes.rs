//! Nodes that join by a certificate of another CA.

use std::sync::LazyLock;

use marque_ledger::decode_bundle;
use marque_svid::thumbprint;
use marque_svid::x509pop::{Answer, Challenge, PopVerifier};

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
