//! Files with the trust domain's own keys, and with those of a CA above them.

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use marque_core::spiffe::SpiffeId;
use marque_core::time::{Timestamp, Ttl};
use marque_svid::{
    AuthoritySet, KeyKind, Phase, Rotation, RotationPolicy, SoftwareKeys, UpstreamCa, X509Request, verify_x509_svid,
};

use crate::mutate::edited;
use crate::svid::{BUNDLE, NOW, WORKLOAD};

/// [`AuthoritySet::from_json`]: bytes as they come, and the good file with some bytes changed. What is read is written, and
/// read as the same, it publishes no CA that does not stand in the file, and no key passes for that of another certificate.
#[expect(clippy::expect_used, reason = "a target panics when a property breaks")]
pub fn svid_authorities(data: &[u8]) {
    let changed = edited(GOOD, data);
    for file in [data, changed.as_slice()] {
        let Some(set) = read(file) else { continue };
        let written = serde_json::to_string(&set.to_stored()).expect("what was read can be written");
        let again = read(written.as_bytes()).expect("what was written can be read");
        assert_eq!(serde_json::to_string(&again.to_stored()).ok().as_deref(), Some(written.as_str()));
        assert_eq!(again.bundle(), set.bundle());
        for authority in &set.bundle().x509_authorities {
            assert!(written.contains(&STANDARD.encode(authority)), "an authority that nobody named");
        }
        // What the certificate itself says may have changed, and others refuse it then.
        if file == changed && set.bundle().x509_authorities == KNOWN.bundle().x509_authorities {
            issues(&set);
        }
    }
}

/// [`UpstreamCa::from_pem`], of three texts with an empty line between: the chain, the key and the roots. Below what is taken
/// a CA can be made whose SVIDs lead to the roots, and to nothing else; or it is said that it cannot.
pub fn svid_upstream(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let mut parts = text.splitn(3, "\n\n");
    let (chain, key, roots) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default(), parts.next());
    let Ok(upstream) = UpstreamCa::from_pem(chain, key, roots) else { return };
    let policy = RotationPolicy::default();
    let rotation = Rotation { now: NOW, policy: &policy, keys: &SoftwareKeys, upstream: Some(&upstream) };
    let Ok(set) = AuthoritySet::new(&BUNDLE.trust_domain, &rotation) else { return };
    let pem: String = roots.unwrap_or(chain).split_whitespace().collect();
    for root in &set.bundle().x509_authorities {
        assert!(pem.contains(&STANDARD.encode(root)), "a root that nobody named");
    }
    issued(&set, NOW);
}

/// The set in a file.
fn read(file: &[u8]) -> Option<AuthoritySet> {
    AuthoritySet::from_json(file, &SoftwareKeys, &RotationPolicy::default()).ok()
}

/// Whether a set that was read says, in its own time, who its workloads are.
fn issues(set: &AuthoritySet) {
    let active = set.authorities().into_iter().find(|one| one.kind == KeyKind::X509 && one.phase == Phase::Active);
    if let Some(active) = active {
        issued(set, active.not_before.plus(Ttl::from_seconds(60)));
    }
}

/// An SVID, if one can be issued, verifies against the set's own bundle.
fn issued(set: &AuthoritySet, now: Timestamp) {
    let ttl = Ttl::from_seconds(600);
    let request = X509Request { id: &AGENT, dns: &[], ips: &[], ttl, now, serial: [7; 16] };
    let Ok(svid) = set.issue_x509(request) else { return };
    let chain: Vec<&[u8]> = svid.chain.iter().map(Vec::as_slice).collect();
    let verified = verify_x509_svid(&chain, set.bundle(), now);
    assert!(verified.as_ref().is_ok_and(|verified| verified.id == *AGENT), "{:?}", verified.err());
}

static AGENT: LazyLock<SpiffeId> = LazyLock::new(agent);

#[expect(clippy::expect_used, reason = "the name stands in another file")]
fn agent() -> SpiffeId {
    WORKLOAD.parse().expect("a SPIFFE ID")
}

static KNOWN: LazyLock<AuthoritySet> = LazyLock::new(known);

#[expect(clippy::expect_used, reason = "the file stands in this folder")]
fn known() -> AuthoritySet {
    read(GOOD).expect("a set")
}

/// The keys of a trust domain that nobody has.
const GOOD: &[u8] = include_bytes!("../corpus/svid_authorities/good");
