//! What a token of another issuer says, as selectors.

use std::collections::BTreeSet;

use marque_core::attestation::Selector;
use serde_json::{Map, Value};

use super::VerifiedOidcToken;
use crate::error::{Result, SvidError};

/// The claims of a token as selectors of the attestor `oidc` (OpenID Connect Core §2):
///
/// - `oidc:iss:…`, `oidc:sub:…`, and `oidc:aud:…` for each audience;
/// - `oidc:claim_<name>:<value>` for each other claim that is a text, a number, a boolean or a list of these;
/// - `oidc:claim:<name>:<value>` where the name has characters that the key of a selector cannot have, and for members of
///   objects, whose names are joined by dots: `oidc:claim:kubernetes.io.namespace:prod`. `%`, `:` and what is not visible
///   ASCII are percent-encoded in such a name.
///
/// Times and the token's own name are left out, and so are values that are empty, long, or have control characters: a selector
/// is the whole value or it is not there. Two claims that would read alike refuse the token.
pub fn selectors(token: &VerifiedOidcToken) -> Result<BTreeSet<Selector>> {
    let mut found = Found::default();
    found.add("iss", &token.issuer)?;
    found.add("sub", &token.subject)?;
    for audience in &token.audience {
        found.add("aud", audience)?;
    }
    let others = token.claims.iter().filter(|(name, _)| !LEFT_OUT.contains(&name.as_str()));
    for (name, value) in others {
        found.claim(name, value, 0)?;
    }
    Ok(found.selectors)
}

#[derive(Default)]
struct Found {
    selectors: BTreeSet<Selector>,
    names: BTreeSet<String>,
}

impl Found {
    fn claim(&mut self, name: &str, value: &Value, depth: usize) -> Result<()> {
        match value {
            Value::Object(members) => self.members(name, members, depth),
            _ => {
                if !self.names.insert(name.to_owned()) {
                    return Err(SvidError::Selectors("two claims read alike"));
                }
                let values = value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice);
                values.iter().filter_map(text).try_for_each(|value| self.named(name, &value))
            }
        }
    }

    fn members(&mut self, name: &str, members: &Map<String, Value>, depth: usize) -> Result<()> {
        if depth == MAX_DEPTH {
            return Ok(());
        }
        members.iter().try_for_each(|(member, value)| self.claim(&format!("{name}.{member}"), value, depth + 1))
    }

    fn named(&mut self, name: &str, value: &str) -> Result<()> {
        if name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'_' | b'-')) && !name.is_empty() {
            return self.add(&format!("claim_{name}"), value);
        }
        self.add("claim", &format!("{}:{value}", encoded(name)))
    }

    fn add(&mut self, key: &str, value: &str) -> Result<()> {
        if value.is_empty() || value.len() > MAX_VALUE_BYTES || value.chars().any(char::is_control) {
            return Ok(());
        }
        // What the grammar of selectors does not take for another reason is left out as well.
        if let Ok(selector) = Selector::new("oidc", key, value) {
            self.selectors.insert(selector);
        }
        if self.selectors.len() > MAX_SELECTORS {
            return Err(SvidError::Selectors("the token has too many claims"));
        }
        Ok(())
    }
}

/// A value that is not made of others.
fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(truth) => Some(truth.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// RFC 3986 §2.1.
fn encoded(name: &str) -> String {
    let mut text = String::with_capacity(name.len());
    for b in name.bytes() {
        if b.is_ascii_graphic() && !matches!(b, b'%' | b':') {
            text.push(char::from(b));
        } else {
            text.push_str(&format!("%{b:02X}"));
        }
    }
    text
}

const LEFT_OUT: [&str; 7] = ["iss", "sub", "aud", "exp", "iat", "nbf", "jti"];
const MAX_SELECTORS: usize = 256;
const MAX_VALUE_BYTES: usize = 1024;
const MAX_DEPTH: usize = 4;
