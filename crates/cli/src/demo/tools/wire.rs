//! The parts of the wire that know HTTP: replies, faults and sessions.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read};
use std::sync::{Mutex, PoisonError};

use axum::Json;
use axum::body::Body;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Value, json};

use super::mail::Watch;

/// The header that carries the session of the older era.
pub const SESSION_HEADER: &str = "mcp-session-id";

/// The body is not JSON.
pub const PARSE_ERROR: i32 = -32700;
/// The body is not a JSON-RPC request, or lacks its session.
pub const INVALID_REQUEST: i32 = -32600;
/// No such method.
pub const METHOD_NOT_FOUND: i32 = -32601;
/// No such tool, or parameters that do not fit.
pub const INVALID_PARAMS: i32 = -32602;
/// The server is at fault.
pub const INTERNAL_ERROR: i32 = -32603;
/// The headers and the body do not agree.
pub const HEADER_MISMATCH: i32 = -32020;
/// The protocol version is not served.
pub const UNSUPPORTED_VERSION: i32 = -32022;

/// The value of a header that is there exactly once, and readable.
pub fn single<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let first = values.next()?;
    if values.next().is_some() { None } else { first.to_str().ok() }
}

/// What goes back over HTTP.
pub struct Reply {
    /// The HTTP status.
    pub status: StatusCode,
    /// The session that just began, for the header.
    pub session: Option<String>,
    /// The body.
    pub body: ReplyBody,
}

/// The body of a reply.
pub enum ReplyBody {
    /// Nothing.
    Empty,
    /// One JSON-RPC message.
    Json(Value),
    /// A stream of events that ends with the response.
    Watch {
        /// What to watch.
        watch: Watch,
        /// The last event.
        response: Value,
    },
}

impl Reply {
    /// A reply that begins no session.
    pub fn new(status: StatusCode, body: ReplyBody) -> Self {
        Self { status, session: None, body }
    }

    /// The answer to a notification.
    pub fn accepted() -> Self {
        Self::new(StatusCode::ACCEPTED, ReplyBody::Empty)
    }
}

impl IntoResponse for Reply {
    fn into_response(self) -> Response {
        let mut response = match self.body {
            ReplyBody::Empty => self.status.into_response(),
            ReplyBody::Json(value) => (self.status, Json(value)).into_response(),
            ReplyBody::Watch { watch, response } => {
                let headers = [
                    (CONTENT_TYPE, "text/event-stream"),
                    (CACHE_CONTROL, "no-cache"),
                    (HeaderName::from_static("x-accel-buffering"), "no"),
                ];
                (self.status, headers, Body::new(watch.start(response))).into_response()
            }
        };
        if let Some(Ok(id)) = self.session.map(HeaderValue::try_from) {
            response.headers_mut().insert(SESSION_HEADER, id);
        }
        response
    }
}

/// The sessions of the older era; the oldest goes when there are too many.
#[derive(Default)]
pub struct Sessions(Mutex<VecDeque<String>>);

impl Sessions {
    /// Begins a session under a random id.
    ///
    /// # Errors
    ///
    /// When the system has no randomness to give.
    pub fn begin(&self) -> io::Result<String> {
        let mut bytes = [0_u8; 16];
        File::open("/dev/urandom")?.read_exact(&mut bytes)?;
        let id = hex::encode(bytes);
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if open.len() >= MOST_SESSIONS {
            open.pop_front();
        }
        open.push_back(id.clone());
        Ok(id)
    }

    /// Whether the session is open.
    pub fn knows(&self, id: &str) -> bool {
        let open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        open.iter().any(|known| known == id)
    }

    /// Ends a session; false when there is none of that id.
    pub fn end(&self, id: &str) -> bool {
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let before = open.len();
        open.retain(|known| known != id);
        open.len() < before
    }
}

/// A JSON-RPC error and the HTTP status it travels with.
#[derive(Serialize)]
pub struct Fault {
    #[serde(skip)]
    status: StatusCode,
    code: i32,
    message: String,
    /// More about it, for machines.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<Value>,
}

impl Fault {
    /// A fault without data.
    pub fn new(status: StatusCode, code: i32, message: &str) -> Self {
        Self { status, code, message: message.to_owned(), data: None }
    }

    /// The reply to the request of that id.
    pub fn reply(self, id: Option<&Value>) -> Reply {
        let body = json!({ "jsonrpc": "2.0", "id": id, "error": self });
        Reply::new(self.status, ReplyBody::Json(body))
    }
}

const MOST_SESSIONS: usize = 1024;
