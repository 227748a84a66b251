//! JSON in which no member stands twice (SPIFFE Trust Domain and Bundle §6.3, RFC 7515 §4).

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use crate::error::{Result, SvidError};

/// The one object that `bytes` hold, of at most `limit` bytes.
pub(crate) fn object(bytes: &[u8], limit: usize) -> Result<Map<String, Value>> {
    if bytes.len() > limit {
        return Err(SvidError::DocumentSize);
    }
    match serde_json::from_slice::<Unique>(bytes)?.0 {
        Value::Object(map) => Ok(map),
        _ => Err(SvidError::Document("it is not a JSON object")),
    }
}

/// A value in which no member stands twice, however deep.
struct Unique(Value);

impl<'de> Deserialize<'de> for Unique {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(UniqueVisitor).map(Self)
    }
}

struct UniqueVisitor;

impl<'de> Visitor<'de> for UniqueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(Unique(value)) = seq.next_element()? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(name) = access.next_key::<String>()? {
            if map.contains_key(&name) {
                return Err(A::Error::custom("a member stands twice"));
            }
            let Unique(value) = access.next_value()?;
            map.insert(name, value);
        }
        Ok(Value::Object(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_that_stand_twice_are_refused_at_any_depth() {
        for good in [r#"{}"#, r#"{"a":1,"b":[{"a":null},{"a":-1.5}],"c":true,"d":18446744073709551615}"#] {
            assert_eq!(Value::Object(object(good.as_bytes(), 100).unwrap()), serde_json::from_str::<Value>(good).unwrap());
        }
        for bad in
            [r#"{"a":1,"a":1}"#, r#"{"a":1,"\u0061":2}"#, r#"{"x":[{"a":{"b":0,"b":0}}]}"#, "[]", "1", "{} {}", "", "\u{feff}{}"]
        {
            assert!(object(bad.as_bytes(), 100).is_err(), "{bad}");
        }
        assert!(matches!(object(b"{    }", 5), Err(SvidError::DocumentSize)));
        let deep = "[".repeat(100_000);
        assert!(object(deep.as_bytes(), 1 << 20).is_err());
    }
}
