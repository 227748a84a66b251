//! What agents send to the gateway.

use http::HeaderMap;
use serde_json::Value;

/// A JSON-RPC message: what is taken names one method and has no key twice, so that no other reader can see another call.
#[expect(clippy::expect_used, reason = "a target panics when a property breaks")]
pub fn gateway_message(data: &[u8]) {
    let Some(method) = marque_gateway::method_of(data, &HeaderMap::new()) else { return };
    let value: Value = serde_json::from_slice(data).expect("what the gateway takes is JSON");
    assert_eq!(value.get("method").and_then(Value::as_str), Some(method.as_str()), "another reader sees another method");
    assert_eq!(value.get("jsonrpc").and_then(Value::as_str), Some("2.0"));
    assert!(!value.get("id").is_some_and(|id| id.is_object() || id.is_array() || id.is_boolean()), "an identifier of no kind");
}
