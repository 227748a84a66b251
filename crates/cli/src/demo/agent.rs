//! An agent of the demo: an MCP client that does what it is told, one JSON command a line, and answers in JSON lines.
//!
//! It gets its identity from the Workload API, its authority by token exchange, and its tools through the gateway. It
//! holds no API key.

use std::sync::Arc;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Full};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};

use super::link::{Link, mutual_tls};
use super::mcp;
use crate::failure::Result;
use crate::workload;

/// What an agent can be told.
#[derive(Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
enum Order {
    /// Fetch an X.509-SVID and a JWT-SVID.
    Attest,
    /// Fetch an X.509-SVID alone.
    Fetch,
    /// Get a token of the task that this agent was given.
    OwnToken { task: String },
    /// Get a child task from another agent's token, narrower where a scope is given.
    ChildToken { subject: String, scope: Option<String>, purpose: String },
    /// List the tools.
    List,
    /// Call a tool.
    Call { tool: String, arguments: Value },
    /// Call a tool that streams, and say when the stream ends.
    Watch { tool: String, arguments: Value },
    /// Ask the Workload API about this agent's own JWT-SVID: its own, or the one of another server.
    Validate {
        #[serde(default)]
        at: Option<String>,
    },
}

struct Agent {
    socket: String,
    issuer: String,
    gateway: String,
    tls: Option<Arc<rustls::ClientConfig>>,
    jwt: String,
    token: Option<String>,
    link: Option<Link>,
}

/// The agent's process: until standard input ends.
pub async fn agent() -> Result<()> {
    let variable = |name: &str| std::env::var_os(name).and_then(|v| v.into_string().ok()).unwrap_or_default();
    let mut agent = Agent {
        socket: variable("SPIFFE_ENDPOINT_SOCKET"),
        issuer: variable("MARQUE_ISSUER"),
        gateway: variable("MARQUE_GATEWAY"),
        tls: None,
        jwt: String::new(),
        token: None,
        link: None,
    };
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Some(line) = lines.next_line().await? {
        let order: Order = serde_json::from_str(&line)?;
        let watch = matches!(order, Order::Watch { .. });
        let answer = agent.obey(order).await.unwrap_or_else(|f| json!({ "ok": false, "error": f.message }));
        say(&answer);
        if watch {
            agent.link = None;
        }
    }
    Ok(())
}

#[expect(clippy::print_stdout, reason = "an agent answers on standard output")]
fn say(answer: &Value) {
    println!("{answer}");
}

impl Agent {
    async fn obey(&mut self, order: Order) -> Result<Value> {
        match order {
            Order::Attest => {
                let svid = workload::x509_svid(&self.socket).await?;
                self.jwt = workload::jwt_svid(&self.socket, &self.issuer).await?;
                self.tls = Some(mutual_tls(&svid)?);
                Ok(json!({ "ok": true, "spiffe_id": svid.spiffe_id }))
            }
            Order::Fetch => Ok(json!({ "ok": true, "spiffe_id": workload::x509_svid(&self.socket).await?.spiffe_id })),
            Order::OwnToken { task } => {
                let subject = self.jwt.clone();
                self.exchange(&[("subject_token", &subject), ("subject_token_type", JWT), ("task", &task)]).await
            }
            Order::ChildToken { subject, scope, purpose } => {
                let actor = self.jwt.clone();
                let mut form = vec![
                    ("subject_token", subject.as_str()),
                    ("subject_token_type", ACCESS_TOKEN),
                    ("actor_token", actor.as_str()),
                    ("actor_token_type", JWT),
                    ("purpose", purpose.as_str()),
                ];
                form.extend(scope.as_deref().map(|s| ("scope", s)));
                self.exchange(&form).await
            }
            Order::List => {
                let result = self.mcp("tools/list", json!({})).await?;
                let names: Vec<Value> = result
                    .get("tools")
                    .and_then(Value::as_array)
                    .into_iter()
                    .flatten()
                    .filter_map(|t| t.get("name").cloned())
                    .collect();
                Ok(json!({ "ok": true, "tools": names }))
            }
            Order::Call { tool, arguments } => {
                let result = self.mcp("tools/call", json!({ "name": tool, "arguments": arguments })).await?;
                Ok(json!({ "ok": true, "result": result }))
            }
            Order::Watch { tool, arguments } => self.watch(&tool, arguments).await,
            Order::Validate { at } => {
                let socket = at.as_deref().unwrap_or(&self.socket);
                Ok(json!({ "ok": true, "spiffe_id": workload::validate(socket, &self.issuer, &self.jwt).await? }))
            }
        }
    }

    /// RFC 8693 at the token endpoint, over mutual TLS. A token that is given is kept for the gateway.
    async fn exchange(&mut self, form: &[(&str, &str)]) -> Result<Value> {
        let encode = crate::commands::encoded;
        let mut body = format!("grant_type={}", encode("urn:ietf:params:oauth:grant-type:token-exchange"));
        for (name, value) in form {
            body = format!("{body}&{name}={}", encode(value));
        }
        let request = Request::post("/oauth/token")
            .header("content-type", "application/x-www-form-urlencoded")
            .body(Full::new(Bytes::from(body)))?;
        let response = Link::new(&self.issuer, self.tls.clone()).send(request).await?;
        let status = response.status();
        let answer: Value = serde_json::from_slice(&response.into_body().collect().await?.to_bytes())?;
        if !status.is_success() {
            let field = |name: &str| answer.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
            return Ok(json!({ "ok": false, "error": field("error"), "description": field("error_description") }));
        }
        self.token = answer.get("access_token").and_then(Value::as_str).map(str::to_owned);
        Ok(json!({ "ok": true, "token": answer.get("access_token"), "task": answer.get("task"), "scope": answer.get("scope") }))
    }

    async fn mcp(&mut self, method: &str, params: Value) -> Result<Value> {
        let token = self.token.clone().filter(|_| self.is_tls());
        let link = self.gateway_link();
        mcp::call(link, SERVICE, token.as_deref(), method, params).await
    }

    /// Reads a stream to its end, and says how it ended and when.
    async fn watch(&mut self, tool: &str, arguments: Value) -> Result<Value> {
        let token = self.token.clone().filter(|_| self.is_tls());
        let request = mcp::request(SERVICE, token.as_deref(), "tools/call", json!({ "name": tool, "arguments": arguments }))?;
        let link = self.gateway_link();
        let response = link.send(request).await?;
        let mut body = response.into_body();
        let mut bytes = 0;
        let mut started = false;
        let ended = loop {
            match body.frame().await {
                None => break "complete".to_owned(),
                Some(Err(error)) => break format!("cut: {error}"),
                Some(Ok(frame)) => bytes += frame.data_ref().map_or(0, Bytes::len),
            }
            if !started {
                started = true;
                say(&json!({ "ok": true, "streaming": true }));
            }
        };
        Ok(json!({ "ok": true, "ended": ended, "bytes": bytes, "at": now() }))
    }

    fn is_tls(&self) -> bool {
        self.gateway.starts_with("https://")
    }

    fn gateway_link(&mut self) -> &mut Link {
        let tls = self.tls.clone().filter(|_| self.is_tls());
        self.link.get_or_insert_with(|| Link::new(&self.gateway, tls))
    }
}

/// The time in microseconds, for measures across processes of one machine.
pub fn now() -> i64 {
    marque_engine::Env::system().clock.now().micros()
}

pub const SERVICE: &str = "office";
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";
