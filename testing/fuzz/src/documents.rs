//! Documents that are fetched from others, and tokens and answers that others sign.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::sync::LazyLock;

use marque_core::attestation::Selector;
use marque_core::time::{Timestamp, Ttl};
use marque_ledger::decode_bundle;
use marque_svid::oidc::{Discovery, IssuerKeys, IssuerUrl, OidcVerifier, VerifiedOidcToken, selectors};
use marque_svid::x509pop::{Answer, Challenge};
use marque_svid::{Bundle, BundleSet, EndpointUrl, Profile, Relationship, wit};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::svid::{BUNDLE, ISSUER, KEY, NOW, OIDC_KEY, WORKLOAD};

/// [`Bundle`]: what is read of somebody's document is written as a document that is read as the same.
#[expect(clippy::expect_used, reason = "a target panics when a property breaks")]
pub fn svid_bundle(data: &[u8]) {
    let name = &BUNDLE.trust_domain;
    if let Ok(bundle) = Bundle::from_spiffe_json(name.clone(), data) {
        let document = bundle.to_spiffe_json().expect("what was read can be written");
        assert_eq!(Bundle::from_spiffe_json(name.clone(), document.as_bytes()).expect("it is read again"), bundle);
        let seconds = bundle.poll_interval().seconds();
        assert!((10..=86_400).contains(&seconds), "nobody looks again for {seconds} seconds");
    }
}

/// [`BundleSet`]: as of one bundle; and no bundle is of another trust domain than its own.
#[expect(clippy::expect_used, reason = "a target panics when a property breaks")]
pub fn svid_bundle_map(data: &[u8]) {
    if let Ok(set) = BundleSet::from_map_json(data) {
        let document = set.to_map_json().expect("what was read can be written");
        assert_eq!(BundleSet::from_map_json(document.as_bytes()).expect("it is read again"), set);
        for bundle in set.iter() {
            assert_eq!(set.get(&bundle.trust_domain), Some(bundle));
        }
    }
}

/// [`EndpointUrl`] and [`IssuerUrl`]: one way of being written, a host that others see too, and redirects that stay within.
pub fn svid_url(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(url) = text.parse::<EndpointUrl>() {
        assert_eq!(url.as_str().parse::<EndpointUrl>().as_ref().map(EndpointUrl::as_str).ok(), Some(url.as_str()));
        let host = url.host();
        assert!(!host.is_empty() && !host.contains(['@', '/', '\\', '?', '#', ' ']), "{host:?}");
        assert!(url.as_str().starts_with("https://"), "{url}");
        if let Ok(elsewhere) = url.join("/elsewhere") {
            assert_eq!(elsewhere.authority(), url.authority());
        }
        assert!(url.join("http://elsewhere.example/").is_err() && url.join("file:///etc/passwd").is_err());
    }
    if let Ok(issuer) = text.parse::<IssuerUrl>() {
        assert_eq!(issuer.as_str(), text);
        assert!(issuer.discovery_url().starts_with(text.trim_end_matches('/')));
    }
}

/// [`Discovery`] and [`IssuerKeys`]: what a document leads to is an address for keys, and no key is counted twice.
pub fn svid_discovery(data: &[u8]) {
    let discovery = ISSUER.parse::<IssuerUrl>().and_then(|issuer| Discovery::read(&issuer, data));
    if let Ok(Discovery { jwks_uri }) = discovery {
        assert!(jwks_uri.to_ascii_lowercase().starts_with("https://"), "{jwks_uri}");
        assert!(!jwks_uri.contains(char::is_whitespace), "{jwks_uri:?}");
    }
    if let Ok(keys) = IssuerKeys::read(data) {
        assert!(keys.len() <= data.len() / 8, "{} keys", keys.len());
    }
}

/// [`Relationship`]: what is read is written, and read as the same; no redirect leads away from `https`. A chain, one
/// certificate or several as a bundle of entries holds them, is of the configured server or of nobody.
pub fn svid_relationship(data: &[u8]) {
    same_json::<Relationship>(data);
    if let Ok(read) = serde_json::from_slice::<Relationship>(data) {
        if let Profile::HttpsSpiffe { endpoint_id } = &read.profile {
            assert!(!endpoint_id.path().is_empty(), "{endpoint_id}");
            assert_eq!(read.is_self_serving(), *endpoint_id.trust_domain() == read.trust_domain);
        } else {
            assert!(read.server_trust_domain().is_none() && !read.is_self_serving(), "{read:?}");
        }
        assert!(read.redirect(&read.url, "http://elsewhere.example/").is_err(), "{}", read.url);
    }
    let latest: BundleSet = [BUNDLE.clone()].into_iter().collect();
    let several = decode_bundle(data).unwrap_or_default();
    for chain in [[data].as_slice(), several.as_slice()] {
        let Ok(server) = served_by(WORKLOAD).check_server(chain, &latest, NOW) else { continue };
        assert_eq!(server.id.to_string(), WORKLOAD);
        let other = served_by("spiffe://example.org/agent/writer");
        assert!(other.check_server(chain, &latest, NOW).is_err(), "one server passes for another");
    }
}

/// [`OidcVerifier`] and [`wit::verify_wit_svid`]: whatever passes says what the issuer's key ever signed, and no WIT-SVID was.
pub fn svid_oidc(data: &[u8]) {
    let Ok(token) = std::str::from_utf8(data) else { return };
    if let Ok(verified) = OIDC.verify(token, NOW) {
        assert_eq!((verified.issuer.as_str(), verified.subject.as_str()), (ISSUER, WORKLOAD));
        assert!(verified.audience.iter().any(|audience| audience == ISSUER), "any audience passes");
        assert!(verified.expires > Timestamp::from_seconds(NOW.seconds() - 60), "an expired token passes");
        let late = verified.expires.plus(Ttl::from_seconds(60));
        assert!(OIDC.verify(token, late).is_err(), "a token outlives its end");
        assert!(selectors(&verified).is_ok_and(|found| found.len() >= 3), "{verified:?}");
    }
    assert!(wit::verify_wit_svid(token, &BUNDLE, NOW).is_err(), "a WIT-SVID that nobody signed");
}

/// The [`selectors`] of a token's claims: they are few and of this attestor, no claim passes for who issued the token, whom it
/// names or for whom it is, and a claim more takes nothing away.
#[expect(clippy::expect_used, reason = "a target panics when a property breaks")]
pub fn svid_selectors(data: &[u8]) {
    let of = |claims: &Map<String, Value>| selectors(&token(claims.clone()));
    let Ok(claims) = serde_json::from_slice::<Map<String, Value>>(data) else { return };
    let Ok(found) = of(&claims) else { return };
    assert!(found.len() <= 256, "{} selectors", found.len());
    let own: BTreeSet<Selector> = of(&Map::new()).expect("a token without more claims has selectors");
    assert_eq!(own.len(), 3);
    for selector in &found {
        let text = selector.as_str();
        assert_eq!(text.parse::<Selector>().as_ref(), Ok(selector));
        let is_claim = text.starts_with("oidc:claim:") || text.starts_with("oidc:claim_");
        assert!(is_claim || own.contains(selector), "a claim passes for `{text}`");
    }
    for name in claims.keys().take(8) {
        let mut fewer = claims.clone();
        fewer.remove(name);
        assert!(of(&fewer).expect("fewer claims are no more").is_subset(&found), "`{name}` takes something away");
    }
}

/// A [`Challenge`] and its [`Answer`]: what is read is written, and read as the same.
pub fn svid_pop(data: &[u8]) {
    same_json::<Answer>(data);
    same_json::<Challenge>(data);
}

/// What is read of JSON is written as JSON that is read as the same.
#[expect(clippy::expect_used, reason = "a target panics when a property breaks")]
pub(crate) fn same_json<T: DeserializeOwned + Serialize + Debug>(data: &[u8]) {
    let Ok(value) = serde_json::from_slice::<T>(data) else { return };
    let written = serde_json::to_string(&value).expect("what was read can be written");
    let again = serde_json::from_str::<T>(&written).expect("what was written can be read");
    assert_eq!(serde_json::to_string(&again).ok().as_deref(), Some(written.as_str()), "{value:?}");
}

/// The endpoint of the own trust domain, with its one server.
#[expect(clippy::expect_used, reason = "the relationship is fixed")]
fn served_by(id: &str) -> Relationship {
    Relationship {
        trust_domain: BUNDLE.trust_domain.clone(),
        url: "https://example.org/bundle".parse().expect("a URL"),
        profile: Profile::HttpsSpiffe { endpoint_id: id.parse().expect("a SPIFFE ID") },
    }
}

/// A token that was verified, with these claims.
fn token(claims: Map<String, Value>) -> VerifiedOidcToken {
    VerifiedOidcToken {
        issuer: ISSUER.to_owned(),
        subject: WORKLOAD.to_owned(),
        audience: vec![ISSUER.to_owned()],
        issued: NOW,
        expires: NOW.plus(Ttl::from_seconds(60)),
        digest: String::new(),
        claims,
    }
}

static OIDC: LazyLock<OidcVerifier> = LazyLock::new(oidc);

#[expect(clippy::expect_used, reason = "the issuer is fixed")]
fn oidc() -> OidcVerifier {
    let keys = IssuerKeys::read(format!(r#"{{"keys":[{KEY},{OIDC_KEY}]}}"#).as_bytes()).expect("a key set");
    let issuer = ISSUER.parse().expect("an issuer");
    OidcVerifier::new(issuer, vec![ISSUER.to_owned()], Ttl::from_seconds(60), keys).expect("a verifier")
}
