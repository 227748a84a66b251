//! The list of tools that a caller sees: only those that it may call, at once or with approval.

use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use marque_core::resource::{ResourceId, ResourceKind};
use serde_json::{Value, json};

use super::Asked;
use super::catalog::MAX_LIST;
use crate::contents::{is_stream, messages};
use crate::reply::{self, Answer, body};
use crate::upstream::UpstreamResponse;

/// The upstream's list without the tools that the caller may not call. A filtered list is the caller's own
/// (`cacheScope: private`, MCP 2026-07-28).
pub async fn filtered(asked: &Asked, response: UpstreamResponse, modern: bool) -> Answer {
    let (mut parts, stream) = response.into_parts();
    let failed = |why: String| reply::json(StatusCode::BAD_GATEWAY, &json!({ "error": why }));
    let bytes = match Limited::new(stream, MAX_LIST).collect().await {
        Ok(collected) => collected.to_bytes(),
        Err(error) => return failed(format!("the list of tools cannot be read: {error}")),
    };
    let Some(mut message) = single_message(&parts.headers, &bytes) else {
        return failed("the list of tools is not one JSON-RPC message".into());
    };
    if let Some(result) = message.get_mut("result").and_then(Value::as_object_mut) {
        if let Some(tools) = result.get_mut("tools").and_then(Value::as_array_mut) {
            tools.retain(|tool| shown(asked, tool));
        }
        if modern {
            result.insert("cacheScope".into(), "private".into());
        }
    }
    parts.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Answer::from_parts(parts, body(message.to_string()))
}

fn shown(asked: &Asked, tool: &Value) -> bool {
    let name = tool.get("name").and_then(Value::as_str).unwrap_or_default();
    ResourceId::new(ResourceKind::Tool, &format!("{}/{name}", asked.service.name()))
        .is_ok_and(|id| asked.engine.would_show(asked.lease, &id))
}

/// The one answer in a response, whether it came as JSON or as an event stream.
pub fn single_message(headers: &HeaderMap, bytes: &[u8]) -> Option<Value> {
    let is_answer = |m: &Value| !is_stream(headers) || (m.get("id").is_some() && m.get("method").is_none());
    messages(headers, bytes).into_iter().find(is_answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_found_in_a_stream() {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
        let stream = b": hi\r\n\r\ndata: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/message\"}\r\n\r\nevent: message\r\ndata: {\"jsonrpc\":\"2.0\",\r\ndata: \"id\":1,\"result\":{}}\r\n\r\n";
        assert_eq!(single_message(&headers, stream).unwrap()["id"], 1);
        assert_eq!(single_message(&HeaderMap::new(), b"{\"id\":2}").unwrap()["id"], 2);
    }
}
