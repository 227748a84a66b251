//! The bundles of several trust domains, never mixed.

use std::collections::BTreeMap;

use marque_core::spiffe::{SpiffeId, TrustDomain};
use marque_core::time::Timestamp;
use serde::Serialize;
use serde_json::Value;

use super::{Bundle, Document, document};
use crate::error::{Result, SvidError};
use crate::jws::{UnverifiedToken, text_claim};
use crate::jwt::{VerifiedJwtSvid, verify_jwt_svid};
use crate::x509::{VerifiedX509Svid, unverified_id, verify_x509_svid};
use crate::{json, wit};

/// Bundles by trust domain. What is presented is held against the bundle of its own trust domain and no other (SPIFFE
/// Federation §7.3).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BundleSet(BTreeMap<TrustDomain, Bundle>);

/// What became of a bundle that was offered (SPIFFE Federation §4.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offered {
    /// It is the one that counts from now on.
    Taken,
    /// It says what is known already.
    Known,
}

impl BundleSet {
    /// Takes a bundle that its trust domain publishes, unless an older one than is known (SPIFFE Federation §4.2).
    ///
    /// A bundle without a sequence counts as the newest.
    pub fn offer(&mut self, bundle: Bundle) -> Result<Offered> {
        if let Some(known) = self.0.get(&bundle.trust_domain) {
            if *known == bundle {
                return Ok(Offered::Known);
            }
            if bundle.sequence != 0 && bundle.sequence < known.sequence {
                return Err(SvidError::Stale(bundle.trust_domain.to_string()));
            }
        }
        self.put(bundle);
        Ok(Offered::Taken)
    }

    /// Puts a bundle in place of what is known, as an operator may (SPIFFE Federation §4.2).
    pub fn put(&mut self, bundle: Bundle) {
        self.0.insert(bundle.trust_domain.clone(), bundle);
    }

    /// Forgets a trust domain: nothing of it is trusted any longer (SPIFFE Federation §6.3).
    pub fn remove(&mut self, trust_domain: &TrustDomain) -> Option<Bundle> {
        self.0.remove(trust_domain)
    }

    /// The bundle of a trust domain (SPIFFE Trust Domain and Bundle §3).
    pub fn get(&self, trust_domain: &TrustDomain) -> Option<&Bundle> {
        self.0.get(trust_domain)
    }

    /// All bundles, by trust domain (SPIFFE Trust Domain and Bundle §5).
    pub fn iter(&self) -> impl Iterator<Item = &Bundle> {
        self.0.values()
    }

    /// Verifies an X.509-SVID against the bundle of its own trust domain (X509-SVID §5, SPIFFE Federation §7.3).
    pub fn verify_x509_svid(&self, chain: &[&[u8]], now: Timestamp) -> Result<VerifiedX509Svid> {
        let leaf = chain.first().ok_or(SvidError::Certificate("there is none"))?;
        verify_x509_svid(chain, self.bundle(unverified_id(leaf)?.trust_domain())?, now)
    }

    /// Verifies a JWT-SVID against the bundle of its own trust domain (JWT-SVID §4, Workload API §6.2.3).
    pub fn verify_jwt_svid(&self, token: &str, audience: Option<&str>, now: Timestamp) -> Result<VerifiedJwtSvid> {
        verify_jwt_svid(token, self.of_subject(token)?, audience, now)
    }

    /// Verifies a WIT-SVID, which proves nothing by itself, against the bundle of its own trust domain (WIT-SVID §4).
    pub fn verify_wit_svid(&self, token: &str, now: Timestamp) -> Result<wit::UnprovenWit> {
        wit::verify_wit_svid(token, self.of_subject(token)?, now)
    }

    /// Reads a bundle map, all of it or none (SPIFFE Trust Domain and Bundle §5, appendix B.1).
    ///
    /// Trust domains may be written as names or as SPIFFE IDs; the bundles' own refresh hints do not count.
    pub fn from_map_json(document: &[u8]) -> Result<Self> {
        let document = json::object(document, MAX_MAP_BYTES)?;
        let Some(Value::Object(map)) = document.get("trust_domains") else {
            return Err(SvidError::Document("it has no trust domains"));
        };
        let mut set = Self::default();
        for (name, bundle) in map {
            let trust_domain = trust_domain(name)?;
            if set.0.contains_key(&trust_domain) {
                return Err(SvidError::Document("a trust domain stands twice"));
            }
            let Value::Object(bundle) = bundle else {
                return Err(SvidError::Document("a bundle is not an object"));
            };
            let mut bundle = document::read_object(trust_domain.clone(), bundle)?;
            bundle.refresh_hint_seconds = super::REFRESH_HINT_SECONDS;
            set.put(bundle);
        }
        Ok(set)
    }

    /// The bundle map, without refresh hints (SPIFFE Trust Domain and Bundle §5.1.1).
    pub fn to_map_json(&self) -> Result<String> {
        let documents = self.iter().map(|bundle| Ok((bundle.trust_domain.as_str(), bundle.document(None)?)));
        let trust_domains = documents.collect::<Result<_>>()?;
        Ok(serde_json::to_string(&BundleMap { trust_domains })?)
    }

    pub(crate) fn bundle(&self, trust_domain: &TrustDomain) -> Result<&Bundle> {
        self.get(trust_domain).ok_or_else(|| SvidError::NoBundle(trust_domain.to_string()))
    }

    /// The bundle of the trust domain that a token claims to be of; whether it is, its signature tells.
    fn of_subject(&self, token: &str) -> Result<&Bundle> {
        let claims = UnverifiedToken::parse(token)?.unverified_claims()?;
        let id: SpiffeId = text_claim(&claims, "sub")?.parse().map_err(|_| SvidError::Claim("sub"))?;
        self.bundle(id.trust_domain())
    }
}

impl FromIterator<Bundle> for BundleSet {
    fn from_iter<I: IntoIterator<Item = Bundle>>(bundles: I) -> Self {
        Self(bundles.into_iter().map(|bundle| (bundle.trust_domain.clone(), bundle)).collect())
    }
}

#[derive(Serialize)]
struct BundleMap<'a> {
    trust_domains: BTreeMap<&'a str, Document<'a>>,
}

fn trust_domain(name: &str) -> Result<TrustDomain> {
    let malformed = || SvidError::Document("a trust domain has no valid name");
    if name.contains("://") {
        let id: SpiffeId = name.parse().map_err(|_| malformed())?;
        return Some(id).filter(|id| id.path().is_empty()).map(|id| id.trust_domain().clone()).ok_or_else(malformed);
    }
    name.parse().map_err(|_| malformed())
}

/// Room for many trust domains.
const MAX_MAP_BYTES: usize = 64 << 20;

#[cfg(test)]
mod tests {
    use marque_core::time::Ttl;
    use serde_json::json;

    use super::*;
    use crate::authority::Authority;
    use crate::ca::X509Request;
    use crate::token_key::JwtSvidRequest;

    const NOW: Timestamp = Timestamp::from_seconds(1_800_000_000);
    const HOUR: Ttl = Ttl::from_seconds(3600);

    fn authority(trust_domain: &str) -> Authority {
        Authority::generate(&trust_domain.parse().unwrap(), NOW, HOUR).unwrap()
    }

    fn svids(authority: &Authority) -> (Vec<u8>, String) {
        let id = authority.trust_domain().join("/agent").unwrap();
        let request = X509Request { id: &id, dns: &[], ips: &[], ttl: HOUR, now: NOW, serial: [1; 16] };
        let certificate = authority.issue_x509(request).unwrap().chain.remove(0);
        let audience = ["db".to_owned()];
        let request = JwtSvidRequest { id: &id, audience: &audience, issuer: None, jti: "j", now: NOW, ttl: HOUR };
        (certificate, authority.issue_jwt_svid(request).unwrap())
    }

    /// SPIFFE Federation §7.3.
    #[test]
    fn each_svid_meets_the_bundle_of_its_own_trust_domain() {
        let (a, b, c) = (authority("a.example"), authority("b.example"), authority("c.example"));
        let of = |authority: &Authority| Bundle::of(&[authority], 1).unwrap();
        let set: BundleSet = [of(&a), of(&b)].into_iter().collect();
        for authority in [&a, &b] {
            let (certificate, token) = svids(authority);
            let id = authority.trust_domain().join("/agent").unwrap();
            assert_eq!(set.verify_x509_svid(&[&certificate], NOW).unwrap().id, id);
            assert_eq!(set.verify_jwt_svid(&token, Some("db"), NOW).unwrap().id, id);
        }
        let (certificate, token) = svids(&c);
        assert!(matches!(set.verify_x509_svid(&[&certificate], NOW), Err(SvidError::NoBundle(_))));
        assert!(matches!(set.verify_jwt_svid(&token, None, NOW), Err(SvidError::NoBundle(_))));
        // The keys of `a` under the name of `b`: what `a` issued is not of `b`, and what `b` issued is of another key.
        let mut renamed = of(&a);
        renamed.trust_domain = b.trust_domain().clone();
        let set: BundleSet = [renamed].into_iter().collect();
        for authority in [&a, &b] {
            let (certificate, token) = svids(authority);
            assert!(set.verify_x509_svid(&[&certificate], NOW).is_err());
            assert!(set.verify_jwt_svid(&token, None, NOW).is_err());
        }
    }

    /// SPIFFE Federation §4.2.
    #[test]
    fn an_older_bundle_does_not_replace_a_newer_one() {
        let authority = authority("a.example");
        let bundle = |sequence| Bundle::of(&[&authority], sequence).unwrap();
        let revoked = |sequence| Bundle::empty(authority.trust_domain().clone(), sequence);
        let mut set = BundleSet::default();
        assert_eq!(set.offer(bundle(5)).unwrap(), Offered::Taken);
        assert_eq!(set.offer(bundle(5)).unwrap(), Offered::Known);
        assert_eq!(set.offer(revoked(6)).unwrap(), Offered::Taken);
        assert!(matches!(set.offer(bundle(5)), Err(SvidError::Stale(_))));
        assert!(set.get(authority.trust_domain()).unwrap().is_empty());
        assert_eq!(set.offer(bundle(0)).unwrap(), Offered::Taken);
        set.put(bundle(2));
        assert_eq!(set.iter().count(), 1);
        assert!(set.remove(authority.trust_domain()).is_some());
        assert!(set.get(authority.trust_domain()).is_none());
    }

    /// SPIFFE Trust Domain and Bundle §5.
    #[test]
    fn bundle_maps() {
        let set: BundleSet =
            ["a.example", "b.example"].map(|name| Bundle::of(&[&authority(name)], 3).unwrap()).into_iter().collect();
        let json = set.to_map_json().unwrap();
        assert_eq!(BundleSet::from_map_json(json.as_bytes()).unwrap(), set);
        let value: Value = serde_json::from_str(&json).unwrap();
        assert_eq!(value["trust_domains"]["a.example"]["spiffe_sequence"], 3);
        assert!(value["trust_domains"]["a.example"].get("spiffe_refresh_hint").is_none());
        assert!(BundleSet::from_map_json(br#"{"trust_domains":{}}"#).unwrap().iter().next().is_none());
        let bundle = json!({ "keys": [], "spiffe_refresh_hint": 1 });
        let both = json!({ "trust_domains": { "spiffe://a.example": bundle } }).to_string();
        let read = BundleSet::from_map_json(both.as_bytes()).unwrap();
        assert_eq!(read.iter().next().unwrap().refresh_hint_seconds, 300);
        for bad in [
            r#"{}"#,
            r#"{"trust_domains":[]}"#,
            r#"{"trust_domains":{"a":{"keys":[]},"a":{"keys":[]}}}"#,
            r#"{"trust_domains":{"a":{"keys":[]},"A":{"keys":[]}}}"#,
            r#"{"trust_domains":{"a":{"keys":[]},"spiffe://a":{"keys":[]}}}"#,
            r#"{"trust_domains":{"spiffe://a/b":{"keys":[]}}}"#,
            r#"{"trust_domains":{"a b":{"keys":[]}}}"#,
            r#"{"trust_domains":{"a":{"keys":[]},"b":{}}}"#,
            r#"{"trust_domains":{"a":[]}}"#,
        ] {
            assert!(BundleSet::from_map_json(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
