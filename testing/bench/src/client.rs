//! Small HTTP/1.1 clients over kept connections: of an MCP server, and of the administration API.

use std::path::Path;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::{TcpStream, UnixStream};

use crate::{Result, office, upstream};

const VERSION: &str = "2026-07-28";

/// A tool call, made up once and sent many times.
pub struct Call {
    path: String,
    tool: &'static str,
    body: Bytes,
}

impl Call {
    /// A call of `tool` at the endpoint `path`, revision 2026-07-28.
    pub fn new(path: &str, tool: &'static str) -> Self {
        let meta =
            json!({ "io.modelcontextprotocol/protocolVersion": VERSION, "io.modelcontextprotocol/clientCapabilities": {} });
        let arguments = json!({ "text": "a text that is long enough to be traced" });
        let params = json!({ "name": tool, "arguments": arguments, "_meta": meta });
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params });
        Self { path: path.to_owned(), tool, body: Bytes::from(body.to_string()) }
    }

    fn request(&self, host: &str) -> Result<Request<Full<Bytes>>> {
        let request = Request::post(self.path.as_str())
            .header("host", host)
            .header("content-type", "application/json")
            .header("accept", "application/json, text/event-stream")
            .header("mcp-protocol-version", VERSION)
            .header("mcp-method", "tools/call")
            .header("mcp-name", self.tool);
        Ok(request.body(Full::new(self.body.clone()))?)
    }
}

/// One kept connection to an MCP endpoint.
pub struct Link {
    host: String,
    sender: SendRequest<Full<Bytes>>,
}

impl Link {
    /// Connects to `http://host:port`.
    pub async fn open(url: &str) -> Result<Self> {
        let host = url.split_once("://").map_or(url, |(_, rest)| rest).trim_end_matches('/').to_owned();
        let stream = TcpStream::connect(host.as_str()).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(Self { host, sender })
    }

    /// Sends a call.
    pub async fn send(&mut self, call: &Call) -> Result<Response<Incoming>> {
        self.sender.ready().await?;
        Ok(self.sender.send_request(call.request(&self.host)?).await?)
    }

    /// Calls `echo`; whether its answer came, byte for byte.
    pub async fn echo(&mut self, call: &Call) -> Result<bool> {
        let response = self.send(call).await?;
        let status = response.status();
        let body = response.into_body().collect().await?.to_bytes();
        Ok(status == StatusCode::OK && body == upstream::ECHO.as_bytes())
    }
}

/// One connection to the administration API as its first person.
pub struct Admin {
    sender: SendRequest<Full<Bytes>>,
    credential: String,
}

impl Admin {
    /// Connects to the server that runs on a state directory.
    pub async fn connect(state: &Path) -> Result<Self> {
        let file = state.join("people").join(format!("{}.token", office::ADMINISTRATOR));
        let credential = std::fs::read_to_string(file)?.trim().to_owned();
        let stream = UnixStream::connect(state.join("marque.sock")).await?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(Self { sender, credential })
    }

    /// Posts JSON and gives the answer.
    pub async fn post(&mut self, path: &str, body: &Value) -> Result<Value> {
        self.ask(Request::post(path).header("content-type", "application/json"), path, Bytes::from(body.to_string())).await
    }

    /// Gets JSON.
    pub async fn get(&mut self, path: &str) -> Result<Value> {
        self.ask(Request::get(path), path, Bytes::new()).await
    }

    async fn ask(&mut self, request: http::request::Builder, path: &str, body: Bytes) -> Result<Value> {
        let request = request
            .header("host", "marque")
            .header("authorization", format!("Bearer {}", self.credential))
            .body(Full::new(body))?;
        self.sender.ready().await?;
        let response = self.sender.send_request(request).await?;
        let status = response.status();
        let bytes = response.into_body().collect().await?.to_bytes();
        if !status.is_success() {
            return Err(format!("`{path}` was answered with {status}: {}", String::from_utf8_lossy(&bytes)).into());
        }
        Ok(serde_json::from_slice(&bytes)?)
    }
}
