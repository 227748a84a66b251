//! Questions to the log, as query strings.

use marque_core::time::Ttl;
use marque_engine::{Order, Query};
use marque_server::api::question;

use crate::svid::{BUNDLE, NOW};

/// [`question`]: what is taken can be asked again in the one way in which it is written here, on every page and of every
/// reader. Nothing is followed that has an end.
pub fn server_query(data: &[u8]) {
    let Some((query, follow)) = std::str::from_utf8(data).ok().and_then(|raw| question(raw).ok()) else { return };
    assert_ne!(query.limit, Some(0));
    let has_an_end = query.order == Some(Order::Desc) || query.before.is_some() || query.until.is_some();
    assert!(!follow || !has_an_end, "{query:?}");
    let fixed = query.clone().fixed(NOW);
    assert_eq!(fixed.clone().fixed(NOW.plus(Ttl::from_seconds(60))), fixed, "a moment moves from page to page");
    // Moments have a target of their own, and are printed with less than they have.
    let query = Query { since: None, until: None, ..query };
    let text = format!("{}&follow={follow}", written(&query));
    if text.len() < LONGEST {
        assert_eq!(question(&text).ok().as_ref(), Some(&(query.clone(), follow)), "{text}");
    }
    identity(&query);
}

/// An identity is meant by its name or by its path, and a path is of the own trust domain.
fn identity(query: &Query) {
    let (name, own) = (query.identity.as_deref().unwrap_or_default(), &BUNDLE.trust_domain);
    let Ok(Some(id)) = query.identity_in(own) else { return };
    assert!(name.starts_with("spiffe://") || id.trust_domain() == own, "`{name}` is taken for `{id}`");
    let again = Query { identity: Some(id.to_string()), ..Query::default() };
    assert_eq!(again.identity_in(own).ok().flatten().as_ref(), Some(&id), "`{name}`");
}

/// The question as a query string, everything in it that is given.
fn written(query: &Query) -> String {
    let mut pairs = vec![("below", query.below.to_string())];
    let mut say = |name: &'static str, value: Option<String>| pairs.extend(value.map(|value| (name, encoded(&value))));
    say("identity", query.identity.clone());
    say("instance", query.instance.map(|id| id.to_string()));
    say("task", query.task.map(|id| id.to_string()));
    say("person", query.person.as_ref().map(ToString::to_string));
    say("resource", query.resource.as_ref().map(ToString::to_string));
    say("credential", query.credential.map(|id| id.to_string()));
    say("record", query.record.map(|id| id.to_string()));
    say("decision", query.decision.map(|effect| effect.as_str().to_owned()));
    say("kind", query.kind.clone());
    say("digest", query.digest.map(|digest| digest.to_string()));
    say("from", query.from.map(|index| index.to_string()));
    say("before", query.before.map(|index| index.to_string()));
    say("order", query.order.map(|order| format!("{order:?}").to_lowercase()));
    say("limit", query.limit.map(|limit| limit.to_string()));
    pairs.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&")
}

/// RFC 3986 §2.1.
fn encoded(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

/// Below the longest request line that is read.
const LONGEST: usize = 60_000;
