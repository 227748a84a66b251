//! An agent's connection to the gateway, and the messages that it sends.

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use marque_core::id::{ElevationId, RecordId};
use marque_gateway::{Gateway, Peer};
use serde_json::{Value, json};
use tokio::task::AbortHandle;

use crate::world::within;

pub(crate) const VERSION: &str = "2026-07-28";

pub(crate) type Asked = Request<Full<Bytes>>;

/// One connection.
pub(crate) struct Client {
    sender: SendRequest<Full<Bytes>>,
    connection: AbortHandle,
}

/// A whole answer.
#[derive(Debug)]
pub(crate) struct Got {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Client {
    pub(crate) async fn connect(gateway: &Gateway, peer: Peer) -> Self {
        let (ours, theirs) = tokio::io::duplex(1 << 16);
        let gateway = gateway.clone();
        tokio::spawn(async move { gateway.serve(theirs, peer).await });
        let (sender, connection) = within(handshake(TokioIo::new(ours))).await.unwrap();
        let connection = tokio::spawn(async move {
            let _ = connection.await;
        });
        Self { sender, connection: connection.abort_handle() }
    }

    /// The head of an answer.
    pub(crate) async fn send(&mut self, request: Asked) -> Response<Incoming> {
        within(async {
            self.sender.ready().await.unwrap();
            self.sender.send_request(request).await.unwrap()
        })
        .await
    }

    pub(crate) async fn ask(&mut self, request: Asked) -> Got {
        let (parts, body) = self.send(request).await.into_parts();
        let body = within(body.collect()).await.unwrap().to_bytes();
        Got { status: parts.status, headers: parts.headers, body }
    }

    /// Ends the connection without a word.
    pub(crate) fn hang_up(&self) {
        self.connection.abort();
    }
}

impl Got {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub(crate) fn result(&self) -> Value {
        self.json()["result"].clone()
    }

    /// `allow`, `deny` or `hold`.
    pub(crate) fn decision(&self) -> String {
        assert_eq!(self.status, StatusCode::OK, "{self:?}");
        let result = self.result();
        assert!(result.is_object(), "{self:?}");
        if result["isError"] == true { self.marque()["decision"].as_str().unwrap().to_owned() } else { "allow".to_owned() }
    }

    /// What the gateway says of its refusal.
    pub(crate) fn marque(&self) -> Value {
        self.result()["structuredContent"]["marque"].clone()
    }

    /// The first rule that refused.
    pub(crate) fn rule(&self) -> String {
        self.marque()["reasons"][0]["policy"].as_str().unwrap().to_owned()
    }

    pub(crate) fn elevation(&self) -> ElevationId {
        self.marque()["elevation"].as_str().unwrap().parse().unwrap()
    }

    pub(crate) fn record(&self) -> RecordId {
        record_of(&self.headers)
    }

    pub(crate) fn tools(&self) -> Vec<String> {
        self.result()["tools"].as_array().unwrap().iter().map(|t| t["name"].as_str().unwrap().to_owned()).collect()
    }
}

pub(crate) fn record_of(headers: &HeaderMap) -> RecordId {
    values(headers, "marque-record")[0].parse().unwrap()
}

pub(crate) fn values(headers: &HeaderMap, name: &str) -> Vec<String> {
    headers.get_all(name).iter().map(|v| v.to_str().unwrap().to_owned()).collect()
}

/// The next bytes of an answer, at least so many.
pub(crate) async fn read(response: &mut Response<Incoming>, count: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while bytes.len() < count {
        let frame = within(response.body_mut().frame()).await.unwrap().unwrap();
        bytes.extend_from_slice(frame.data_ref().unwrap());
    }
    bytes
}

/// A body under these headers, to the service `crm`.
pub(crate) fn post(body: &str, headers: &[(&str, &str)]) -> Asked {
    let mut builder = Request::post("/mcp/crm")
        .header("host", "gateway")
        .header("content-type", "application/json")
        .header("accept", "application/json, text/event-stream");
    for (name, value) in headers {
        builder = builder.header(*name, *value);
    }
    builder.body(Full::new(Bytes::from(body.to_owned()))).unwrap()
}

/// A request of revision 2026-07-28.
pub(crate) fn modern(method: &str, mut params: Value) -> Asked {
    let name = params["name"].as_str().map(str::to_owned);
    params["_meta"] =
        json!({ "io.modelcontextprotocol/protocolVersion": VERSION, "io.modelcontextprotocol/clientCapabilities": {} });
    let body = json!({ "jsonrpc": "2.0", "id": 7, "method": method, "params": params }).to_string();
    let mut headers = vec![("mcp-protocol-version", VERSION), ("mcp-method", method)];
    if let Some(name) = &name {
        headers.push(("mcp-name", name.as_str()));
    }
    post(&body, &headers)
}

/// A tool call of revision 2026-07-28.
pub(crate) fn call(tool: &str, arguments: Value) -> Asked {
    modern("tools/call", json!({ "name": tool, "arguments": arguments }))
}

/// A request of revision 2025-11-25.
pub(crate) fn legacy(method: &str, params: Value, session: Option<&str>) -> Asked {
    let body = json!({ "jsonrpc": "2.0", "id": 7, "method": method, "params": params }).to_string();
    let mut headers = vec![("mcp-protocol-version", "2025-11-25")];
    headers.extend(session.map(|id| ("mcp-session-id", id)));
    post(&body, &headers)
}

/// A request without a body.
pub(crate) fn bare(method: &str, path: &str, headers: &[(&str, &str)]) -> Asked {
    let mut builder = Request::builder().method(method).uri(path).header("host", "gateway").header("accept", "text/event-stream");
    for (name, value) in headers {
        builder = builder.header(*name, *value);
    }
    builder.body(Full::default()).unwrap()
}
