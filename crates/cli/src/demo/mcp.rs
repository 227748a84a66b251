//! An ordinary MCP client, revision 2026-07-28.

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use serde_json::{Value, json};

use super::link::Link;
use crate::failure::{Failure, Result};

const VERSION: &str = "2026-07-28";

/// A request for one method of a service behind the gateway.
pub fn request(service: &str, token: Option<&str>, method: &str, mut params: Value) -> Result<Request<Full<Bytes>>> {
    let name = params.get("name").and_then(Value::as_str).map(str::to_owned);
    if let Some(map) = params.as_object_mut() {
        let meta =
            json!({ "io.modelcontextprotocol/protocolVersion": VERSION, "io.modelcontextprotocol/clientCapabilities": {} });
        map.insert("_meta".into(), meta);
    }
    let body = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
    let mut builder = Request::post(format!("/mcp/{service}"))
        .header("content-type", "application/json")
        .header("accept", "application/json, text/event-stream")
        .header("mcp-protocol-version", VERSION)
        .header("mcp-method", method);
    if let Some(name) = name {
        builder = builder.header("mcp-name", name);
    }
    if let Some(token) = token {
        builder = builder.header("authorization", format!("Bearer {token}"));
    }
    Ok(builder.body(Full::new(Bytes::from(body.to_string())))?)
}

/// Calls a method and gives its result.
pub async fn call(link: &mut Link, service: &str, token: Option<&str>, method: &str, params: Value) -> Result<Value> {
    let response = link.send(request(service, token, method, params)?).await?;
    result(response).await
}

/// The result of a JSON answer.
pub async fn result(response: Response<Incoming>) -> Result<Value> {
    let status = response.status();
    let bytes = response.into_body().collect().await?.to_bytes();
    let message: Value = serde_json::from_slice(&bytes).unwrap_or_default();
    if let Some(result) = message.get("result") {
        return Ok(result.clone());
    }
    let error = message.pointer("/error/message").or_else(|| message.get("error_description")).or_else(|| message.get("error"));
    Err(Failure::failed(format!(
        "{status}: {}",
        error.map_or_else(|| String::from_utf8_lossy(&bytes).into_owned(), Value::to_string)
    )))
}
