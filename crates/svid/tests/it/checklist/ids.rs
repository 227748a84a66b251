//! Lines 1 to 5: SPIFFE-ID.

use marque_core::spiffe::SpiffeId;
use marque_svid::{verify_jwt_svid, verify_x509_svid};

use super::x509::uris;
use crate::fixtures::{AGENT, NOW, Rogue, jwt, set, x509};

fn is_id(text: &str) -> bool {
    text.parse::<SpiffeId>().is_ok()
}

#[test]
fn line_01_scheme_trust_domain_and_case() {
    for bad in ["https://example.org/a", "spiffe://", "spiffe:///a", "spiffe://a/b?c", "spiffe://a/b#c", "example.org/a", ""] {
        assert!(!is_id(bad), "{bad}");
    }
    let id: SpiffeId = "SPIFFE://Example.ORG/Agent".parse().unwrap();
    assert_eq!(id.to_string(), "spiffe://example.org/Agent");
    assert_ne!(id, "spiffe://example.org/agent".parse().unwrap());
    // What comes in upper case is accepted, and what goes out is in lower case.
    let rogue = Rogue::new(|_| {});
    let leaf = rogue.leaf(|params| params.subject_alt_names = Rogue::params(&["SPIFFE://EXAMPLE.org/agent"]).subject_alt_names);
    assert_eq!(verify_x509_svid(&[&leaf], &rogue.bundle, NOW).unwrap().id.to_string(), AGENT);
}

#[test]
fn line_02_trust_domain_characters() {
    for good in ["a", "example.org", "1.2.3.4", "a_b-c.d", &"a".repeat(255)] {
        assert!(is_id(&format!("spiffe://{good}/x")), "{good}");
    }
    for bad in ["u@a", "a:1", "%61", "a b", "ä", "[::1]", "a*", &"a".repeat(256)] {
        assert!(!is_id(&format!("spiffe://{bad}/x")), "{bad}");
    }
}

#[test]
fn line_03_paths() {
    for good in ["/a", "/a/b", "/A-z_0.9", "/...", "/.a"] {
        assert!(is_id(&format!("spiffe://a{good}")), "{good}");
    }
    for bad in ["/", "/a/", "//a", "/a//b", "/.", "/..", "/a/./b", "/%41", "/a:b", "/a@b", "/ä"] {
        assert!(!is_id(&format!("spiffe://a{bad}")), "{bad}");
    }
}

#[test]
fn line_04_lengths() {
    let longest = format!("spiffe://example.org/{}", "a".repeat(2048 - 21));
    assert_eq!(longest.len(), 2048);
    assert!(!is_id(&format!("{longest}a")));
    let (set, id) = (set("example.org"), longest.parse().unwrap());
    let svid = x509(&set, &id);
    assert_eq!(verify_x509_svid(&[&svid.chain[0]], set.bundle(), NOW).unwrap().id, id);
    assert_eq!(verify_jwt_svid(&jwt(&set, &id), set.bundle(), None, NOW).unwrap().id, id);
}

#[test]
fn line_05_the_authority_is_named_without_a_path() {
    let set = set("example.org");
    assert_eq!(uris(&set.bundle().x509_authorities[0]), ["spiffe://example.org"]);
    let path = Rogue::new(|params| params.subject_alt_names = Rogue::params(&["spiffe://example.org/ca"]).subject_alt_names);
    assert!(!path.accepts(|_| {}));
    assert!(Rogue::new(|_| {}).accepts(|_| {}));
}
