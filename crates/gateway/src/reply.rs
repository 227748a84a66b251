//! Answers that the gateway gives itself.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, WWW_AUTHENTICATE};
use http::{HeaderValue, Response, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full};
use marque_core::decision::Reason;
use marque_core::id::{ElevationId, RecordId};
use marque_engine::EngineError;
use serde_json::value::RawValue;
use serde_json::{Value, json};

/// The error of a response body that broke off or was cut.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct BodyError(pub String);

/// Every response of the gateway.
pub type Answer = Response<BoxBody<Bytes, BodyError>>;

/// Names the record of a call in a response header, so that what it produced can be traced.
pub const RECORD_HEADER: &str = "marque-record";
/// The header with the proof that the record is in the log: a file as of C2SP tlog-proof, in base64.
pub const RECEIPT_HEADER: &str = "marque-receipt";
const RECEIPT: &str = "receipt";

/// JSON-RPC error codes (JSON-RPC 2.0 §5.1, MCP 2026-07-28).
pub mod code {
    pub const PARSE: i32 = -32700;
    pub const INVALID_REQUEST: i32 = -32600;
    pub const METHOD_NOT_FOUND: i32 = -32601;
    pub const INVALID_PARAMS: i32 = -32602;
    pub const INTERNAL: i32 = -32603;
    pub const HEADER_MISMATCH: i32 = -32020;
    /// Outside the range that JSON-RPC and MCP reserve.
    pub const UPSTREAM: i32 = -31001;
    pub const DENIED: i32 = -31003;
}

/// A whole body.
pub fn body(bytes: impl Into<Bytes>) -> BoxBody<Bytes, BodyError> {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed()
}

/// A response without a body.
pub fn empty(status: StatusCode) -> Answer {
    let mut response = Response::new(body(Bytes::new()));
    *response.status_mut() = status;
    response
}

/// A JSON response.
pub fn json(status: StatusCode, value: &Value) -> Answer {
    let mut response = Response::new(body(value.to_string()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// A JSON-RPC error.
pub fn error(status: StatusCode, id: Option<&RawValue>, code: i32, message: &str, data: Value) -> Answer {
    let mut error = json!({ "code": code, "message": message });
    if !data.is_null()
        && let Some(map) = error.as_object_mut()
    {
        map.insert("data".into(), data);
    }
    json(status, &json!({ "jsonrpc": "2.0", "id": raw(id), "error": error }))
}

/// The answer with the record that it is of.
pub fn mark(mut answer: Answer, record: RecordId) -> Answer {
    if let Ok(value) = HeaderValue::try_from(record.to_string()) {
        answer.headers_mut().insert(RECORD_HEADER, value);
    }
    answer
}

/// The record that an answer is of, where it is of one.
pub fn record_of(answer: &Answer) -> Option<RecordId> {
    answer.headers().get(RECORD_HEADER)?.to_str().ok()?.parse().ok()
}

/// Whether a request says `Prefer: receipt` (RFC 7240 §2).
pub fn prefers_receipt(headers: &http::HeaderMap) -> bool {
    let said = headers.get_all("prefer").into_iter().filter_map(|value| value.to_str().ok());
    said.flat_map(|value| value.split(',')).any(|one| one.trim().eq_ignore_ascii_case(RECEIPT))
}

/// The answer with the proof of its record, in base64 (RFC 7240 §3).
pub fn attach_receipt(mut answer: Answer, proof: &str) -> Answer {
    if let Ok(value) = HeaderValue::try_from(BASE64_STANDARD.encode(proof)) {
        answer.headers_mut().insert(RECEIPT_HEADER, value);
        answer.headers_mut().insert("preference-applied", HeaderValue::from_static(RECEIPT));
    }
    answer
}

/// The answer to a credential that is missing or no longer counts (RFC 6750 §3.1).
pub fn unauthorized(reason: &EngineError) -> Answer {
    let mut response =
        json(StatusCode::UNAUTHORIZED, &json!({ "error": "invalid_token", "error_description": reason.to_string() }));
    response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer error=\"invalid_token\""));
    response
}

/// What was decided on a call that does not go on.
pub struct Refusal<'a> {
    pub record: RecordId,
    pub elevation: Option<ElevationId>,
    pub reasons: &'a [Reason],
}

impl Refusal<'_> {
    /// For agents: what was refused, by which policy, and what would help.
    pub fn data(&self) -> Value {
        let reasons: Vec<Value> =
            self.reasons.iter().map(|r| json!({ "policy": r.policy, "text": r.text, "at": r.at })).collect();
        let decision = if self.elevation.is_some() { "hold" } else { "deny" };
        json!({ "decision": decision, "reasons": reasons, "record": self.record.to_string(), "elevation": self.elevation.map(|e| e.to_string()) })
    }

    pub fn text(&self) -> String {
        let why: Vec<&str> = self.reasons.iter().map(|r| r.text.as_str()).collect();
        let why = why.join("; ");
        match self.elevation {
            Some(id) => format!(
                "Held for approval: {why}. A person can approve it with `marque elevation approve {id}`; then call again with the same arguments."
            ),
            None => format!("Denied: {why}."),
        }
    }

    /// A tool result with `isError`, which models read and plan by (MCP, tools/call).
    pub fn tool_result(&self, id: Option<&RawValue>, modern: bool) -> Answer {
        let mut result = json!({
            "content": [{ "type": "text", "text": self.text() }],
            "structuredContent": { "marque": self.data() },
            "isError": true,
            "_meta": { "dev.marque/record": self.record.to_string() },
        });
        if modern && let Some(map) = result.as_object_mut() {
            map.insert("resultType".into(), "complete".into());
        }
        mark(json(StatusCode::OK, &json!({ "jsonrpc": "2.0", "id": raw(id), "result": result })), self.record)
    }
}

fn raw(id: Option<&RawValue>) -> Value {
    id.and_then(|id| serde_json::from_str(id.get()).ok()).unwrap_or(Value::Null)
}
