//! Nodes: other hosts on which the Workload API is served. A node holds no identity but those that name it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::attestation::Selector;
use crate::spiffe::{SpiffeId, TrustDomain};
use crate::time::Timestamp;
use crate::words::as_text;
use crate::{Digest, ParseError};

/// The name of a node: 1 to 63 lower-case letters, digits, `-` and `.`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct NodeName(String);

impl NodeName {
    /// The name as written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this is the server's own host, which never joins.
    pub fn is_server(&self) -> bool {
        self.0 == SERVER
    }

    /// The node's SPIFFE ID: `spiffe://<trust domain>/marque/node/<name>` (SPIFFE-ID §2).
    pub fn id(&self, trust_domain: &TrustDomain) -> Result<SpiffeId, ParseError> {
        trust_domain.join(&format!("{PATH}{self}"))
    }

    /// The node whose SPIFFE ID this is.
    pub fn of(id: &SpiffeId) -> Option<Self> {
        id.path().strip_prefix(PATH)?.parse().ok()
    }
}

impl fmt::Display for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for NodeName {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        let good = text.bytes().all(|b| plain(b) || matches!(b, b'-' | b'.')) && text.bytes().next().is_some_and(plain);
        if !good || text.len() > MAX_NAME {
            return Err(ParseError::new("the name of a node, as `web-1`", text));
        }
        Ok(Self(text.to_owned()))
    }
}

as_text!(NodeName);

/// How a node proved that it is the one of its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Admission {
    /// By a join token, which admits once.
    JoinToken,
    /// By a certificate of a configured CA, and its key.
    X509Pop,
    /// By the SVID that it had.
    Renewal,
}

/// A secret that admits a node once, of which only the digest is known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinToken {
    /// SHA-256 of the token; 256 random bits, so that the digest gives nothing away.
    pub digest: Digest,
    /// Until when it admits.
    pub expires: Timestamp,
}

/// What is known of a node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// The token that it may join by.
    pub token: Option<JoinToken>,
    /// How it was admitted.
    pub how: Option<Admission>,
    /// When it joined last; nothing while it has not.
    pub joined: Option<Timestamp>,
    /// What is known of it by the way in which it was admitted.
    pub selectors: BTreeSet<Selector>,
    /// The serial numbers of its X.509-SVIDs that count, and until when.
    pub certificates: BTreeMap<String, Timestamp>,
    /// When it was banned. Nothing lifts a ban, and the name is never used again.
    pub banned: Option<Timestamp>,
}

impl Node {
    /// It was admitted at `now`. One that joins anew is another host, or the same one from its start: what the one before
    /// had no longer counts.
    pub(crate) fn admit(&mut self, how: Admission, selectors: &BTreeSet<Selector>, now: Timestamp, svid: (&str, Timestamp)) {
        if how == Admission::Renewal {
            self.certificates.retain(|_, until| now < *until);
        } else {
            self.certificates.clear();
            self.token = None;
            self.how = Some(how);
            self.joined = Some(now);
            self.selectors.clone_from(selectors);
        }
        self.certificates.insert(svid.0.to_owned(), svid.1);
    }

    /// It was banned at `now`.
    pub(crate) fn ban(&mut self, now: Timestamp) {
        self.token = None;
        self.certificates.clear();
        self.banned = Some(now);
    }
}

/// How a manifest names the server's own host.
const SERVER: &str = "server";
const PATH: &str = "/marque/node/";
/// The path of the server's own SPIFFE ID, `spiffe://<trust domain>/marque`.
pub const SERVER_PATH: &str = "/marque";
const MAX_NAME: usize = 63;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_plain_word_and_its_id_leads_back_to_it() {
        let trust_domain: TrustDomain = "example.org".parse().unwrap();
        for good in ["a", "web-1", "10.0.0.7", "server"] {
            let name: NodeName = good.parse().unwrap();
            let id = name.id(&trust_domain).unwrap();
            assert_eq!(id.to_string(), format!("spiffe://example.org/marque/node/{good}"));
            assert_eq!(NodeName::of(&id), Some(name));
        }
        let long = "a".repeat(64);
        for bad in ["", "-a", ".", "..", "A", "a/b", "a b", "ä", long.as_str()] {
            assert!(bad.parse::<NodeName>().is_err(), "{bad}");
        }
        for other in ["/marque", "/marque/node", "/agent/a", "/marque/node/a/b"] {
            assert_eq!(NodeName::of(&trust_domain.join(other).unwrap()), None, "{other}");
        }
    }

    #[test]
    fn whoever_joins_anew_ends_the_one_before_and_whoever_renews_does_not() {
        let at = Timestamp::from_seconds;
        let mut node = Node::default();
        node.admit(Admission::JoinToken, &BTreeSet::new(), at(0), ("a", at(60)));
        node.admit(Admission::Renewal, &BTreeSet::new(), at(30), ("b", at(90)));
        assert_eq!(node.certificates.keys().collect::<Vec<_>>(), ["a", "b"]);
        node.admit(Admission::Renewal, &BTreeSet::new(), at(60), ("c", at(120)));
        assert_eq!(node.certificates.keys().collect::<Vec<_>>(), ["b", "c"]);
        assert_eq!((node.how, node.joined), (Some(Admission::JoinToken), Some(at(0))));
        node.admit(Admission::X509Pop, &BTreeSet::new(), at(61), ("d", at(121)));
        assert_eq!(node.certificates.keys().collect::<Vec<_>>(), ["d"]);
        node.ban(at(62));
        assert!(node.certificates.is_empty());
    }
}
