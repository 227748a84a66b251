//! MCP over streamable HTTP, revisions 2025-11-25 (sessions) and 2026-07-28 (stateless).

mod catalog;
mod list;
mod message;
mod sessions;

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode, request};
use marque_core::Digest;
use marque_core::id::{LeaseId, RecordId};
use marque_core::record::{Ending, Outcome};
use marque_core::resource::{Action, ResourceId, ResourceKind};
use marque_engine::{ActionRequest, Engine, EngineError, Passage, Verdict};
use serde_json::{Value, json};

use crate::contents;
use crate::forward::{Right, carry};
use crate::reply::{self, Answer, Refusal, code};
use crate::upstream::{Message, Upstreams};

pub use catalog::Catalog;
pub use message::Parsed;
pub use sessions::Sessions;

/// The MCP side of the gateway.
#[derive(Debug, Default)]
pub struct Mcp {
    upstreams: Upstreams,
    catalog: Catalog,
    sessions: Sessions,
}

/// One request with what is known of it.
pub struct Asked {
    pub engine: Arc<Engine>,
    pub lease: LeaseId,
    pub service: ResourceId,
    pub parts: request::Parts,
    pub body: Bytes,
}

/// What is done with a method.
enum Class {
    /// The protocol's own: opening a session, asking what there is. No action.
    Housekeeping,
    /// The list of tools: filtered.
    ToolsList,
    /// A tool call.
    ToolsCall,
    /// Data of the service.
    Read,
    /// Anything else: refused.
    Unknown,
}

fn classify(method: &str) -> Class {
    match method {
        "initialize" | "ping" | "server/discover" | "logging/setLevel" => Class::Housekeeping,
        "notifications/initialized"
        | "notifications/cancelled"
        | "notifications/progress"
        | "notifications/roots/list_changed" => Class::Housekeeping,
        "tools/list" => Class::ToolsList,
        "tools/call" => Class::ToolsCall,
        "resources/list"
        | "resources/templates/list"
        | "resources/read"
        | "prompts/list"
        | "prompts/get"
        | "completion/complete" => Class::Read,
        _ => Class::Unknown,
    }
}

impl Mcp {
    /// Ends what was started for callers that have ended.
    pub async fn sweep(&self, engine: &Engine) {
        self.upstreams.sweep(engine).await;
    }

    /// Answers one HTTP request to a service's MCP endpoint.
    pub async fn handle(&self, asked: Asked) -> Answer {
        let passage = match asked.engine.passage(asked.lease, &asked.service) {
            Ok(passage) => passage,
            Err(EngineError::Forbidden(why)) => {
                return reply::json(StatusCode::FORBIDDEN, &json!({ "error": "insufficient_scope", "error_description": why }));
            }
            Err(error) => return reply::unauthorized(&error),
        };
        if !self.sessions.allows(&asked.service, &asked.parts.headers, passage.holder()) {
            return reply::empty(StatusCode::NOT_FOUND);
        }
        match asked.parts.method {
            Method::POST => self.post(asked, passage).await,
            // A session's stream from server to client, and a session's end.
            Method::GET | Method::DELETE => self.pass(&asked, Right::Passage(passage)).await,
            _ => reply::empty(StatusCode::METHOD_NOT_ALLOWED),
        }
    }

    async fn post(&self, asked: Asked, passage: Passage) -> Answer {
        let parsed = match Parsed::read(&asked.body, &asked.parts.headers) {
            Ok(parsed) => parsed,
            Err(answer) => return *answer,
        };
        match classify(&parsed.method) {
            Class::Housekeeping => {
                let answer = self.pass(&asked, Right::Passage(passage)).await;
                self.sessions.opened(&asked.service, answer.headers(), passage.holder());
                answer
            }
            Class::ToolsList => {
                let right = Right::Passage(passage);
                let response = self.upstreams.send(&asked.engine, asked.message(Some(&passage)), &right).await;
                match response {
                    Ok(response) => list::filtered(&asked, response, parsed.modern).await,
                    Err(error) => {
                        reply::error(StatusCode::BAD_GATEWAY, parsed.id(), code::UPSTREAM, &error.to_string(), Value::Null)
                    }
                }
            }
            Class::ToolsCall => self.call(&asked, passage, &parsed).await,
            Class::Read => self.read(&asked, passage, &parsed).await,
            Class::Unknown => {
                let message = format!("the gateway does not know the method `{}`", parsed.method);
                let status = if parsed.modern { StatusCode::NOT_FOUND } else { StatusCode::OK };
                reply::error(status, parsed.id(), code::METHOD_NOT_FOUND, &message, Value::Null)
            }
        }
    }

    async fn call(&self, asked: &Asked, passage: Passage, parsed: &Parsed<'_>) -> Answer {
        let unknown = |name: &str| {
            reply::error(StatusCode::OK, parsed.id(), code::INVALID_PARAMS, &format!("Unknown tool: {name}"), Value::Null)
        };
        let Some(name) = parsed.params.get("name").and_then(Value::as_str) else {
            return reply::error(
                StatusCode::BAD_REQUEST,
                parsed.id(),
                code::INVALID_PARAMS,
                "`params.name` is missing",
                Value::Null,
            );
        };
        let Ok(tool) = ResourceId::new(ResourceKind::Tool, &format!("{}/{name}", asked.service.name())) else {
            return unknown(name);
        };
        let definition = self.catalog.definition(&asked.engine, &self.upstreams, &asked.service, &tool).await;
        let request = asked.request(Action::Invoke, tool, parsed, definition).await;
        match asked.engine.authorize(request).await {
            Ok(Verdict::Deny { record, reasons }) => {
                Refusal { record, elevation: None, reasons: &reasons }.tool_result(parsed.id(), parsed.modern)
            }
            Ok(Verdict::Hold { record, elevation, reasons }) => {
                Refusal { record, elevation: Some(elevation), reasons: &reasons }.tool_result(parsed.id(), parsed.modern)
            }
            Ok(Verdict::Proceed(permit)) => self.go_on(asked, &passage, parsed, Right::Permit(permit)).await,
            Err(error) => refused(&error, parsed),
        }
    }

    async fn read(&self, asked: &Asked, passage: Passage, parsed: &Parsed<'_>) -> Answer {
        let request = asked.request(Action::Read, asked.service.clone(), parsed, None).await;
        let (record, elevation, reasons) = match asked.engine.authorize(request).await {
            Ok(Verdict::Proceed(permit)) => return self.go_on(asked, &passage, parsed, Right::Permit(permit)).await,
            Ok(Verdict::Deny { record, reasons }) => (record, None, reasons),
            Ok(Verdict::Hold { record, elevation, reasons }) => (record, Some(elevation), reasons),
            Err(error) => return refused(&error, parsed),
        };
        let refusal = Refusal { record, elevation, reasons: &reasons };
        reply::mark(reply::error(StatusCode::OK, parsed.id(), code::DENIED, &refusal.text(), refusal.data()), record)
    }

    /// Forwards what has been permitted and carries the answer back.
    async fn go_on(&self, asked: &Asked, passage: &Passage, parsed: &Parsed<'_>, right: Right) -> Answer {
        let record = right.record();
        let marked = |answer: Answer| match record {
            Some(record) => reply::mark(answer, record),
            None => answer,
        };
        let sent = tokio::select! {
            sent = self.upstreams.send(&asked.engine, asked.message(Some(passage)), &right) => sent,
            () = right.ended(&asked.engine) => {
                right.settle(Outcome { ending: Ending::Cut, status: 0, response: None, bytes: 0, contents: Vec::new() });
                let why = "the authority for this call was revoked while the upstream was silent";
                return marked(reply::error(StatusCode::FORBIDDEN, parsed.id(), code::DENIED, why, Value::Null));
            }
        };
        match sent {
            Ok(response) => carry(&asked.engine, response, right),
            Err(error) => {
                right.settle(Outcome {
                    ending: Ending::Failed,
                    status: StatusCode::BAD_GATEWAY.as_u16(),
                    response: None,
                    bytes: 0,
                    contents: Vec::new(),
                });
                marked(reply::error(StatusCode::BAD_GATEWAY, parsed.id(), code::UPSTREAM, &error.to_string(), Value::Null))
            }
        }
    }

    async fn pass(&self, asked: &Asked, right: Right) -> Answer {
        let Right::Passage(passage) = &right else { return reply::empty(StatusCode::FORBIDDEN) };
        let message = asked.message(Some(passage));
        match self.upstreams.send(&asked.engine, message, &right).await {
            Ok(response) => carry(&asked.engine, response, right),
            Err(error) => reply::json(StatusCode::BAD_GATEWAY, &json!({ "error": error.to_string() })),
        }
    }
}

impl Asked {
    fn message(&self, passage: Option<&Passage>) -> Message<'_> {
        Message {
            service: &self.service,
            method: self.parts.method.clone(),
            headers: &self.parts.headers,
            body: self.body.clone(),
            holder: passage.map(Passage::holder),
        }
    }

    async fn request(
        &self,
        action: Action,
        resource: ResourceId,
        parsed: &Parsed<'_>,
        definition: Option<Digest>,
    ) -> ActionRequest {
        let (arguments, at) = match action {
            Action::Invoke => (parsed.params.get("arguments").cloned().unwrap_or(Value::Null), "/params/arguments"),
            _ => (parsed.params.clone(), "/params"),
        };
        let (arguments, request, contents) = contents::requested(arguments, at, self.body.clone()).await;
        ActionRequest {
            lease: self.lease,
            action,
            resource,
            arguments,
            request,
            contents,
            protocol: format!("mcp {}", parsed.method),
            definition,
            correlation: correlation(&self.parts.headers, parsed),
            causes: causes(&self.parts.headers),
        }
    }
}

/// The records that a caller says its request carries on: `marque-cause: rec_…, rec_…`. What is no identifier is passed over.
fn causes(headers: &HeaderMap) -> Vec<RecordId> {
    let lines = headers.get_all(CAUSE_HEADER).iter().filter_map(|value| value.to_str().ok());
    let mut causes: Vec<RecordId> = Vec::new();
    for cause in lines.flat_map(|line| line.split(',')).filter_map(|id| id.trim().parse().ok()) {
        if causes.len() < MAX_CAUSES && !causes.contains(&cause) {
            causes.push(cause);
        }
    }
    causes
}

/// What the caller's own trace calls a request: its W3C `traceparent`, or else the JSON-RPC identifier. Both are words of the
/// caller: the log has a commitment to what is neither a trace context nor a number.
fn correlation(headers: &HeaderMap, parsed: &Parsed<'_>) -> Option<String> {
    let parent = headers.get("traceparent").and_then(|v| v.to_str().ok()).filter(|v| v.len() <= MAX_CORRELATION);
    let id = || parsed.id().map(|id| format!("jsonrpc:{}", id.get())).filter(|id| id.len() <= MAX_CORRELATION);
    parent.map(str::to_owned).or_else(id)
}

/// The engine could not tell who asks, or could not record: nothing happens.
fn refused(error: &EngineError, parsed: &Parsed<'_>) -> Answer {
    match error {
        EngineError::Dead(_) | EngineError::Unauthenticated(_) => reply::unauthorized(error),
        EngineError::Forbidden(why) => reply::error(StatusCode::FORBIDDEN, parsed.id(), code::DENIED, why, Value::Null),
        _ => {
            tracing::error!("a call was refused because it could not be recorded: {}", error.chain());
            reply::error(
                StatusCode::SERVICE_UNAVAILABLE,
                parsed.id(),
                code::INTERNAL,
                "the call could not be recorded and was not made",
                Value::Null,
            )
        }
    }
}

/// Whether a request comes from a page of another site (MCP, security: DNS rebinding).
pub fn foreign_origin(headers: &HeaderMap) -> bool {
    let local = |origin: &str| {
        let host = origin.split_once("://").map_or(origin, |(_, rest)| rest);
        let host =
            host.rsplit_once(':').map_or(host, |(h, port)| if port.bytes().all(|b| b.is_ascii_digit()) { h } else { host });
        matches!(host, "localhost" | "127.0.0.1" | "[::1]")
    };
    headers.get_all(http::header::ORIGIN).iter().any(|o| !o.to_str().is_ok_and(local))
}

const MAX_CORRELATION: usize = 128;
const CAUSE_HEADER: &str = "marque-cause";
const MAX_CAUSES: usize = 8;
