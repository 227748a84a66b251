//! Reading one message, and holding its headers against its body.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::{HeaderMap, StatusCode};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::json::{Envelope, is_batch};
use crate::reply::{self, Answer, code};

/// A request or a notification.
#[derive(Debug)]
pub struct Parsed<'a> {
    id: Option<&'a RawValue>,
    /// The method.
    pub method: String,
    /// The parameters, without duplicate keys.
    pub params: Value,
    /// Whether it is of revision 2026-07-28 or later: it says its version itself.
    pub modern: bool,
}

impl<'a> Parsed<'a> {
    /// The identifier as the sender wrote it.
    pub fn id(&self) -> Option<&'a RawValue> {
        self.id
    }

    /// Reads a body, or answers what is wrong with it.
    pub fn read(body: &'a [u8], headers: &HeaderMap) -> Result<Self, Box<Answer>> {
        if is_batch(body) {
            return Err(bad(None, code::INVALID_REQUEST, "batches are not supported: send one message"));
        }
        let text = std::str::from_utf8(body).map_err(|e| bad(None, code::PARSE, &format!("the body is not UTF-8: {e}")))?;
        let envelope: Envelope<'a> = serde_json::from_str(text).map_err(|e| {
            let code = if e.is_data() { code::INVALID_REQUEST } else { code::PARSE };
            bad(None, code, &format!("the body is not a JSON-RPC message: {e}"))
        })?;
        let id = envelope.id;
        if envelope.jsonrpc != "2.0" {
            return Err(bad(id, code::INVALID_REQUEST, "`jsonrpc` must be \"2.0\""));
        }
        if id.is_some_and(|id| id.get().starts_with(['{', '[', 't', 'f'])) {
            return Err(bad(None, code::INVALID_REQUEST, "`id` must be a string or a number"));
        }
        let Some(method) = envelope.method else {
            return Err(bad(id, code::INVALID_REQUEST, "`method` is missing: responses are not accepted here"));
        };
        let params = envelope.params.0;
        let version =
            params.pointer("/_meta/io.modelcontextprotocol~1protocolVersion").and_then(Value::as_str).map(str::to_owned);
        let parsed = Self { id, method, params, modern: version.is_some() };
        parsed.compare(headers, version.as_deref())?;
        Ok(parsed)
    }

    /// What is enforced on the body must be what the headers say (MCP 2026-07-28: else 400 and -32020).
    fn compare(&self, headers: &HeaderMap, version: Option<&str>) -> Result<(), Box<Answer>> {
        let name = match self.method.as_str() {
            "tools/call" | "prompts/get" => self.params.get("name"),
            "resources/read" => self.params.get("uri"),
            _ => None,
        };
        let expected = [
            ("mcp-method", Some(self.method.as_str()), self.modern),
            ("mcp-name", name.and_then(Value::as_str), self.modern && name.is_some()),
            ("mcp-protocol-version", version, self.modern),
        ];
        for (header, expected, required) in expected {
            let mut values = headers.get_all(header).iter();
            let found = values.next().map(|v| decoded(v.as_bytes()));
            let mismatch = |what: &str| bad(self.id, code::HEADER_MISMATCH, &format!("header `{header}` {what}"));
            if values.next().is_some() {
                return Err(mismatch("stands more than once"));
            }
            match (found, expected) {
                (None, _) if required => return Err(mismatch("is missing")),
                (Some(found), Some(expected)) if found.as_deref() != Some(expected) => {
                    return Err(mismatch("differs from the body"));
                }
                _ => {}
            }
        }
        self.compare_parameters(headers)
    }

    /// A copied parameter must be one of the call's values: an upstream may act on the header.
    fn compare_parameters(&self, headers: &HeaderMap) -> Result<(), Box<Answer>> {
        for (name, value) in headers.iter().filter(|(name, _)| name.as_str().starts_with("mcp-param-")) {
            let value = decoded(value.as_bytes());
            if !value.is_some_and(|v| has_value(&self.params, &v)) {
                return Err(bad(self.id, code::HEADER_MISMATCH, &format!("header `{name}` differs from the body")));
            }
        }
        Ok(())
    }
}

fn has_value(tree: &Value, wanted: &str) -> bool {
    match tree {
        Value::Object(map) => map.values().any(|v| has_value(v, wanted)),
        Value::Array(list) => list.iter().any(|v| has_value(v, wanted)),
        Value::String(text) => text == wanted,
        Value::Null => false,
        Value::Bool(value) => value.to_string().as_str() == wanted,
        Value::Number(number) => number.to_string().as_str() == wanted,
    }
}

/// A header's value; `=?base64?…?=` stands for text that a header cannot hold.
fn decoded(value: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(value).ok()?.trim();
    match text.strip_prefix("=?base64?").and_then(|t| t.strip_suffix("?=")) {
        Some(inner) => String::from_utf8(BASE64_STANDARD.decode(inner).ok()?).ok(),
        None => Some(text.to_owned()),
    }
}

fn bad(id: Option<&RawValue>, code: i32, message: &str) -> Box<Answer> {
    Box::new(reply::error(StatusCode::BAD_REQUEST, id, code, message, Value::Null))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in pairs {
            map.append(*name, value.parse().unwrap());
        }
        map
    }

    const CALL: &[u8] = br#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"find","_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}}"#;

    #[test]
    fn headers_must_say_what_the_body_says() {
        let good = [("mcp-method", "tools/call"), ("mcp-name", "=?base64?ZmluZA==?="), ("mcp-protocol-version", "2026-07-28")];
        assert!(Parsed::read(CALL, &headers(&good)).unwrap().modern);
        for missing in 0..3 {
            let fewer: Vec<_> = good.iter().enumerate().filter(|(n, _)| *n != missing).map(|(_, p)| *p).collect();
            assert_eq!(Parsed::read(CALL, &headers(&fewer)).unwrap_err().status(), 400, "without {missing}");
        }
        for wrong in [("mcp-method", "tools/list"), ("mcp-name", "send"), ("mcp-protocol-version", "2025-11-25")] {
            let mut pairs = good.to_vec();
            pairs.retain(|(n, _)| *n != wrong.0);
            pairs.push(wrong);
            assert!(Parsed::read(CALL, &headers(&pairs)).is_err(), "{wrong:?}");
            let mut twice = good.to_vec();
            twice.push(wrong);
            assert!(Parsed::read(CALL, &headers(&twice)).is_err(), "twice {wrong:?}");
        }
    }

    #[test]
    fn what_is_not_one_message_is_refused() {
        let none = HeaderMap::new();
        for body in [
            "",
            "[]",
            "{",
            "1",
            r#"{"jsonrpc":"1.0","method":"a"}"#,
            r#"{"jsonrpc":"2.0","id":{},"method":"a"}"#,
            r#"{"jsonrpc":"2.0","id":1,"result":{}}"#,
        ] {
            assert_eq!(Parsed::read(body.as_bytes(), &none).unwrap_err().status(), 400, "{body}");
        }
        let deep = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"a","params":{}{}}}"#, "[".repeat(5000), "]".repeat(5000));
        assert!(Parsed::read(deep.as_bytes(), &none).is_err());
        assert!(!Parsed::read(br#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#, &none).unwrap().modern);
    }
}
