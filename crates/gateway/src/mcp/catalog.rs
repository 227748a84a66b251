//! What tools a server has now, by the digests of their definitions.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use http_body_util::{BodyExt as _, Limited};
use marque_core::Digest;
use marque_core::resource::{ResourceId, ResourceKind};
use marque_core::time::{Timestamp, Ttl};
use marque_engine::{Engine, canonical};
use serde_json::{Value, json};

use super::list::single_message;
use crate::upstream::{Message, UpstreamError, Upstreams};

/// How old a sight of a server's tools may be when a call relies on it.
const MAX_AGE: Ttl = Ttl::from_seconds(10);

/// The definitions that servers gave, and when.
#[derive(Debug, Default)]
pub struct Catalog {
    seen: Mutex<HashMap<ResourceId, Seen>>,
    asking: tokio::sync::Mutex<()>,
}

#[derive(Debug)]
struct Seen {
    at: Timestamp,
    tools: HashMap<ResourceId, Digest>,
}

impl Catalog {
    /// The digest of a tool's definition as its server has it now. `None` when the server does not have it or cannot
    /// be asked: then the call is refused (INVARIANT (I7 unknown is No)).
    pub async fn definition(
        &self,
        engine: &Arc<Engine>,
        upstreams: &Upstreams,
        service: &ResourceId,
        tool: &ResourceId,
    ) -> Option<Digest> {
        if let Some(known) = self.fresh(engine, service, tool) {
            return known;
        }
        let _one_at_a_time = self.asking.lock().await;
        if let Some(known) = self.fresh(engine, service, tool) {
            return known;
        }
        match ask(engine, upstreams, service).await {
            Ok(tools) => self.take(engine, service, &tools).await,
            Err(error) => tracing::warn!(%service, "its tools cannot be listed: {error}"),
        }
        self.fresh(engine, service, tool).flatten()
    }

    /// What a sight that is young enough says of a tool; `None` when there is no such sight.
    fn fresh(&self, engine: &Engine, service: &ResourceId, tool: &ResourceId) -> Option<Option<Digest>> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let seen = seen.get(service).filter(|s| engine.now() < s.at.plus(MAX_AGE))?;
        Some(seen.tools.get(tool).copied())
    }

    /// Takes in a whole list of tools, and registers the definitions of tools that had none.
    async fn take(&self, engine: &Engine, service: &ResourceId, tools: &[Value]) {
        let named = |tool: &Value| {
            let name = tool.get("name")?.as_str()?;
            let id = ResourceId::new(ResourceKind::Tool, &format!("{}/{name}", service.name())).ok()?;
            Some((id, definition_digest(tool)))
        };
        let named: Vec<(ResourceId, Digest)> = tools.iter().filter_map(named).collect();
        // A name that stands twice means two tools, and nobody knows which one would be called.
        let once = |id: &ResourceId| named.iter().filter(|(other, _)| other == id).count() == 1;
        let list: Vec<(ResourceId, Digest)> = named.iter().filter(|(id, _)| once(id)).cloned().collect();
        if let Err(error) = engine.pin_tools(&list).await {
            tracing::error!(%service, "tool definitions were not registered: {}", error.chain());
        }
        let seen = Seen { at: engine.now(), tools: list.into_iter().collect() };
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).insert(service.clone(), seen);
    }
}

/// The digest over everything that a server says of a tool but what changes with each answer.
fn definition_digest(tool: &Value) -> Digest {
    let mut tool = tool.clone();
    if let Some(map) = tool.as_object_mut() {
        map.remove("_meta");
    }
    canonical(&tool)
}

/// Asks a server for all its tools: first as revision 2026-07-28, then with a session of revision 2025-11-25.
async fn ask(engine: &Arc<Engine>, upstreams: &Upstreams, service: &ResourceId) -> Result<Vec<Value>, UpstreamError> {
    let asker = Asker { engine, upstreams, service };
    match asker.all(MODERN, None).await {
        Ok(tools) => Ok(tools),
        Err(error @ (UpstreamError::Missing(_) | UpstreamError::Credential { .. } | UpstreamError::Unreachable { .. })) => {
            Err(error)
        }
        Err(UpstreamError::Protocol { .. }) => {
            let session = asker.initialize().await?;
            asker.all(LEGACY, session).await
        }
    }
}

struct Asker<'a> {
    engine: &'a Arc<Engine>,
    upstreams: &'a Upstreams,
    service: &'a ResourceId,
}

impl Asker<'_> {
    async fn all(&self, version: &str, session: Option<HeaderValue>) -> Result<Vec<Value>, UpstreamError> {
        let mut tools = Vec::new();
        let mut cursor: Option<String> = None;
        for _ in 0..MAX_PAGES {
            let mut params = json!({});
            if let Some(map) = params.as_object_mut() {
                if version == MODERN {
                    map.insert("_meta".into(), json!({ VERSION_KEY: version, CAPABILITIES_KEY: {} }));
                }
                if let Some(cursor) = &cursor {
                    map.insert("cursor".into(), cursor.as_str().into());
                }
            }
            let (_, result) = self.call("tools/list", params, version, session.as_ref()).await?;
            let page =
                result.get("tools").and_then(Value::as_array).ok_or_else(|| self.protocol("`tools/list` gave no tools"))?;
            tools.extend(page.iter().cloned());
            cursor = result.get("nextCursor").and_then(Value::as_str).map(str::to_owned);
            if cursor.is_none() {
                return Ok(tools);
            }
        }
        Err(self.protocol("its list of tools does not end"))
    }

    async fn initialize(&self) -> Result<Option<HeaderValue>, UpstreamError> {
        let client = json!({ "name": "marque", "version": env!("CARGO_PKG_VERSION") });
        let params = json!({ "protocolVersion": LEGACY, "capabilities": {}, "clientInfo": client });
        let (headers, _) = self.call("initialize", params, LEGACY, None).await?;
        let session = headers.get("mcp-session-id").cloned();
        let body = json!({ "jsonrpc": "2.0", "method": "notifications/initialized" });
        self.send(&body, "notifications/initialized", LEGACY, session.as_ref()).await?;
        Ok(session)
    }

    async fn call(
        &self,
        method: &str,
        params: Value,
        version: &str,
        session: Option<&HeaderValue>,
    ) -> Result<(HeaderMap, Value), UpstreamError> {
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        let (headers, bytes) = self.send(&body, method, version, session).await?;
        let message = single_message(&headers, &bytes).ok_or_else(|| self.protocol("its answer is not one JSON-RPC message"))?;
        match message.get("result") {
            Some(result) => Ok((headers, result.clone())),
            None => Err(self.protocol(&format!("`{method}` was answered with an error"))),
        }
    }

    async fn send(
        &self,
        body: &Value,
        method: &str,
        version: &str,
        session: Option<&HeaderValue>,
    ) -> Result<(HeaderMap, Bytes), UpstreamError> {
        let mut headers = HeaderMap::new();
        let mut set = |name: &'static str, value: &str| {
            if let Ok(value) = HeaderValue::try_from(value) {
                headers.insert(HeaderName::from_static(name), value);
            }
        };
        set("content-type", "application/json");
        set("accept", "application/json, text/event-stream");
        set("mcp-protocol-version", version);
        if version == MODERN {
            set("mcp-method", method);
        }
        if let Some(session) = session {
            headers.insert("mcp-session-id", session.clone());
        }
        let message = Message {
            service: self.service,
            method: Method::POST,
            headers: &headers,
            body: Bytes::from(body.to_string()),
            holder: None,
        };
        let asked = async {
            let response = self.upstreams.ask(self.engine, message).await?;
            let (parts, body) = response.into_parts();
            let collected = Limited::new(body, MAX_LIST).collect().await;
            let bytes = collected.map_err(|e| self.protocol(&format!("its list of tools cannot be read: {e}")))?.to_bytes();
            Ok((parts.headers, bytes))
        };
        let late = |_| UpstreamError::Unreachable { service: self.service.clone(), why: "it does not answer".into() };
        tokio::time::timeout(ASK_TIMEOUT, asked).await.map_err(late)?
    }

    fn protocol(&self, why: &str) -> UpstreamError {
        UpstreamError::Protocol { service: self.service.clone(), why: why.to_owned() }
    }
}

const MODERN: &str = "2026-07-28";
const LEGACY: &str = "2025-11-25";
const VERSION_KEY: &str = "io.modelcontextprotocol/protocolVersion";
const CAPABILITIES_KEY: &str = "io.modelcontextprotocol/clientCapabilities";
const MAX_PAGES: usize = 100;
pub const MAX_LIST: usize = 8 << 20;
const ASK_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(10);
