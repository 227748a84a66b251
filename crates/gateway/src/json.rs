//! JSON that means one thing only: an object with the same key twice is refused, because two readers could see two
//! different calls in it. Keys that differ in case alone count as the same: some readers take them for one.

use std::collections::HashSet;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

/// A value without duplicate keys at any depth.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Strict(pub Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StrictVisitor)
    }
}

struct StrictVisitor;

impl<'de> Visitor<'de> for StrictVisitor {
    type Value = Strict;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value without duplicate keys")
    }

    fn visit_bool<E>(self, v: bool) -> Result<Strict, E> {
        Ok(Strict(v.into()))
    }

    fn visit_i64<E>(self, v: i64) -> Result<Strict, E> {
        Ok(Strict(v.into()))
    }

    fn visit_u64<E>(self, v: u64) -> Result<Strict, E> {
        Ok(Strict(v.into()))
    }

    fn visit_f64<E>(self, v: f64) -> Result<Strict, E> {
        Ok(Strict(v.into()))
    }

    fn visit_str<E>(self, v: &str) -> Result<Strict, E> {
        Ok(Strict(v.into()))
    }

    fn visit_unit<E>(self) -> Result<Strict, E> {
        Ok(Strict(Value::Null))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Strict, A::Error> {
        let mut list = Vec::new();
        while let Some(Strict(value)) = seq.next_element()? {
            list.push(value);
        }
        Ok(Strict(Value::Array(list)))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Strict, A::Error> {
        let mut map = Map::new();
        let mut seen = HashSet::new();
        while let Some(key) = access.next_key::<String>()? {
            let Strict(value) = access.next_value()?;
            if !seen.insert(folded(&key)) {
                return Err(A::Error::custom(format!("the key `{key}` stands twice")));
            }
            map.insert(key, value);
        }
        Ok(Strict(Value::Object(map)))
    }
}

/// A key without its case, as readers fold it that compare keys without case.
fn folded(key: &str) -> String {
    key.chars().flat_map(char::to_uppercase).flat_map(char::to_lowercase).collect()
}

/// What comes back from a server: only whose answer it is, is of interest.
#[derive(Debug, Deserialize)]
pub struct Returned<'a> {
    /// The identifier of the request that it answers.
    #[serde(borrow, default)]
    pub id: Option<&'a RawValue>,
    /// There, if it is no answer but a message of the server's own.
    #[serde(default)]
    pub method: Option<serde::de::IgnoredAny>,
}

/// A JSON-RPC 2.0 message of a client, with its identifier as the sender wrote it, and nothing that the standard does not
/// have.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Envelope<'a> {
    /// Always `2.0`.
    pub jsonrpc: String,
    /// The request's identifier; absent in notifications.
    #[serde(borrow, default)]
    pub id: Option<&'a RawValue>,
    /// The method; absent in responses.
    #[serde(default)]
    pub method: Option<String>,
    /// The parameters.
    #[serde(default)]
    pub params: Strict,
    #[serde(default, rename = "result", borrow)]
    pub _result: Option<&'a RawValue>,
    #[serde(default, rename = "error", borrow)]
    pub _error: Option<&'a RawValue>,
}

/// Whether a byte string is one JSON object rather than a batch: MCP has no batches since 2025-06-18.
pub fn is_batch(body: &[u8]) -> bool {
    body.iter().find(|b| !b.is_ascii_whitespace()) == Some(&b'[')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn duplicate_keys_are_refused_at_any_depth() {
        assert!(serde_json::from_str::<Strict>(r#"{"a":1,"b":{"a":2}}"#).is_ok());
        let kelvin = r#"{"k":1,"\u212a":2}"#;
        for bad in [r#"{"a":1,"a":2}"#, r#"{"b":[{"a":1,"a":1}]}"#, r#"{"a":1,"\u0061":2}"#, r#"{"to":1,"To":2}"#, kelvin] {
            assert!(serde_json::from_str::<Strict>(bad).is_err(), "{bad}");
        }
        for bad in [r#"{"jsonrpc":"2.0","method":"a","method":"b"}"#, r#"{"jsonrpc":"2.0","method":"a","Method":"b"}"#] {
            assert!(serde_json::from_str::<Envelope<'_>>(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn identifiers_keep_their_bytes() {
        let envelope: Envelope<'_> = serde_json::from_str(r#"{"jsonrpc":"2.0","id": 1e2 ,"method":"ping"}"#).unwrap();
        assert_eq!(envelope.id.unwrap().get(), "1e2");
    }
}
