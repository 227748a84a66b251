//! The wire: one JSON-RPC message in, one reply out, in both eras of MCP.
//!
//! A request that names its protocol version in `_meta` is of the stateless era (2026-07-28);
//! any other belongs to a session that `initialize` began (2025-06-18 and 2025-11-25).

use axum::http::{HeaderMap, StatusCode};
use serde_json::{Map, Value, json};

use super::wire::{
    Fault, HEADER_MISMATCH, INTERNAL_ERROR, INVALID_PARAMS, INVALID_REQUEST, METHOD_NOT_FOUND, PARSE_ERROR, Reply, ReplyBody,
    SESSION_HEADER, UNSUPPORTED_VERSION, single,
};
use super::{Answer, Tools};

/// Answers one body that came by POST.
pub fn handle(tools: &Tools, headers: &HeaderMap, body: &[u8]) -> Reply {
    let message = match Message::parse(body) {
        Ok(message) => message,
        Err(fault) => return fault.reply(None),
    };
    let answered = match message.params.get("_meta").and_then(|meta| meta.get(VERSION_KEY)) {
        Some(version) => message.modern(tools, headers, version),
        None => message.legacy(tools, headers),
    };
    answered.unwrap_or_else(|fault| fault.reply(message.id.as_ref()))
}

/// A request, or a notification when it has no id.
struct Message {
    id: Option<Value>,
    method: String,
    params: Map<String, Value>,
}

impl Message {
    fn parse(body: &[u8]) -> Result<Self, Fault> {
        let bad = |text| Fault::new(StatusCode::BAD_REQUEST, INVALID_REQUEST, text);
        let value: Value =
            serde_json::from_slice(body).map_err(|_| Fault::new(StatusCode::BAD_REQUEST, PARSE_ERROR, "the body is not JSON"))?;
        let Value::Object(mut map) = value else {
            return Err(bad("the body is not one JSON-RPC message"));
        };
        if map.get("jsonrpc").and_then(Value::as_str) != Some("2.0") {
            return Err(bad("`jsonrpc` is not `2.0`"));
        }
        let id = map.remove("id");
        if !matches!(id, None | Some(Value::String(_) | Value::Number(_))) {
            return Err(bad("`id` is neither a string nor a number"));
        }
        let Some(Value::String(method)) = map.remove("method") else {
            return Err(bad("`method` is not a string"));
        };
        let params = match map.remove("params") {
            None => Map::new(),
            Some(Value::Object(params)) => params,
            Some(_) => return Err(bad("`params` is not an object")),
        };
        Ok(Self { id, method, params })
    }

    fn modern(&self, tools: &Tools, headers: &HeaderMap, version: &Value) -> Result<Reply, Fault> {
        if self.id.is_none() {
            return Ok(Reply::accepted());
        }
        self.check_headers(headers, version)?;
        if version != MODERN {
            let text = "this protocol version is not served";
            let mut fault = Fault::new(StatusCode::BAD_REQUEST, UNSUPPORTED_VERSION, text);
            fault.data = Some(json!({ "supported": [MODERN], "requested": version }));
            return Err(fault);
        }
        match self.method.as_str() {
            "server/discover" => Ok(self.result(Era::Modern.cacheable(json!({
                "supportedVersions": [MODERN],
                "capabilities": { "tools": {} },
                "serverInfo": server_info(),
            })))),
            "tools/list" => Ok(self.result(Era::Modern.cacheable(json!({ "tools": tools.definitions() })))),
            "tools/call" => self.call(tools, Era::Modern),
            _ => Err(Fault::new(StatusCode::NOT_FOUND, METHOD_NOT_FOUND, "unknown method")),
        }
    }

    /// What the headers claim must be what the body says, or whoever filters by header is fooled.
    fn check_headers(&self, headers: &HeaderMap, version: &Value) -> Result<(), Fault> {
        let name = self.params.get("name").and_then(Value::as_str);
        let version = version.as_str();
        let claims = [
            ("mcp-protocol-version", version, true),
            ("mcp-method", Some(self.method.as_str()), true),
            ("mcp-name", name, self.method == "tools/call"),
        ];
        for (header, said, required) in claims {
            if required && (said.is_none() || single(headers, header) != said) {
                let text = format!("the header `{header}` and the body do not agree");
                return Err(Fault::new(StatusCode::BAD_REQUEST, HEADER_MISMATCH, &text));
            }
        }
        Ok(())
    }

    fn legacy(&self, tools: &Tools, headers: &HeaderMap) -> Result<Reply, Fault> {
        if self.method == "initialize" && self.id.is_some() {
            return self.initialize(tools);
        }
        let version = single(headers, "mcp-protocol-version");
        if headers.contains_key("mcp-protocol-version") && !version.is_some_and(is_legacy) {
            let text = format!("`_meta` lacks `{VERSION_KEY}`, or the version is not served");
            return Err(Fault::new(StatusCode::BAD_REQUEST, INVALID_PARAMS, &text));
        }
        let Some(session) = single(headers, SESSION_HEADER) else {
            let text = "the header `Mcp-Session-Id` is missing";
            return Err(Fault::new(StatusCode::BAD_REQUEST, INVALID_REQUEST, text));
        };
        if !tools.sessions.knows(session) {
            return Err(Fault::new(StatusCode::NOT_FOUND, INVALID_REQUEST, "no such session"));
        }
        if self.id.is_none() {
            return Ok(Reply::accepted());
        }
        match self.method.as_str() {
            "ping" => Ok(self.result(json!({}))),
            "tools/list" => Ok(self.result(json!({ "tools": tools.definitions() }))),
            "tools/call" => self.call(tools, Era::Legacy),
            _ => Err(Fault::new(StatusCode::OK, METHOD_NOT_FOUND, "unknown method")),
        }
    }

    fn initialize(&self, tools: &Tools) -> Result<Reply, Fault> {
        let asked = self.params.get("protocolVersion").and_then(Value::as_str);
        let version = asked.filter(|version| is_legacy(version)).unwrap_or(LEGACY_NEWEST);
        let session = tools.sessions.begin().map_err(|error| {
            tracing::error!(%error, "cannot draw a session id");
            Fault::new(StatusCode::INTERNAL_SERVER_ERROR, INTERNAL_ERROR, "no session to be had")
        })?;
        let mut reply = self.result(json!({
            "protocolVersion": version,
            "capabilities": { "tools": {} },
            "serverInfo": server_info(),
        }));
        reply.session = Some(session);
        Ok(reply)
    }

    fn call(&self, tools: &Tools, era: Era) -> Result<Reply, Fault> {
        let unknown = |text| Fault::new(StatusCode::OK, INVALID_PARAMS, text);
        let Some(name) = self.params.get("name").and_then(Value::as_str) else {
            return Err(unknown("`name` is not a string"));
        };
        let arguments = self.params.get("arguments").cloned().unwrap_or_else(|| json!({}));
        let Some(answer) = tools.call(name, arguments) else {
            return Err(unknown("unknown tool"));
        };
        Ok(match answer {
            Ok(Answer::Done(done)) => self.result(era.complete(tool_result(done))),
            Ok(Answer::Watch(watch)) => {
                let response = self.response(era.complete(tool_result(watch.summary())));
                Reply::new(StatusCode::OK, ReplyBody::Watch { watch, response })
            }
            Err(error) => {
                let text = marque_engine::describe(&error);
                tracing::warn!(tool = name, error = %text, "a tool call failed");
                let content = json!([{ "type": "text", "text": text }]);
                self.result(era.complete(json!({ "content": content, "isError": true })))
            }
        })
    }

    fn result(&self, result: Value) -> Reply {
        Reply::new(StatusCode::OK, ReplyBody::Json(self.response(result)))
    }

    fn response(&self, result: Value) -> Value {
        json!({ "jsonrpc": "2.0", "id": self.id, "result": result })
    }
}

#[derive(Clone, Copy)]
enum Era {
    Modern,
    Legacy,
}

impl Era {
    fn complete(self, mut result: Value) -> Value {
        if let (Self::Modern, Value::Object(map)) = (self, &mut result) {
            map.insert("resultType".to_owned(), json!("complete"));
            let mut meta = Map::new();
            meta.insert(SERVER_INFO_KEY.to_owned(), server_info());
            map.insert("_meta".to_owned(), Value::Object(meta));
        }
        result
    }

    fn cacheable(self, result: Value) -> Value {
        let mut result = self.complete(result);
        if let (Self::Modern, Value::Object(map)) = (self, &mut result) {
            map.insert("ttlMs".to_owned(), json!(300_000));
            map.insert("cacheScope".to_owned(), json!("public"));
        }
        result
    }
}

fn tool_result(done: Value) -> Value {
    let content = json!([{ "type": "text", "text": done.to_string() }]);
    json!({ "content": content, "structuredContent": done, "isError": false })
}

fn server_info() -> Value {
    json!({ "name": "marque-demo-tools", "version": env!("CARGO_PKG_VERSION") })
}

fn is_legacy(version: &str) -> bool {
    matches!(version, LEGACY_NEWEST | LEGACY_OLDEST)
}

const MODERN: &str = "2026-07-28";
const LEGACY_NEWEST: &str = "2025-11-25";
const LEGACY_OLDEST: &str = "2025-06-18";
const VERSION_KEY: &str = "io.modelcontextprotocol/protocolVersion";
const SERVER_INFO_KEY: &str = "io.modelcontextprotocol/serverInfo";

#[cfg(test)]
mod tests {
    use axum::http::{HeaderName, HeaderValue};

    use super::*;

    fn opened(name: &str) -> Tools {
        let folder = format!("marque-tools-{}-{name}", std::process::id());
        let epoch = || time::OffsetDateTime::UNIX_EPOCH;
        Tools::open(&std::env::temp_dir().join(folder), epoch).unwrap()
    }

    fn ask(tools: &Tools, headers: &[(&'static str, &str)], body: &Value) -> (u16, Value, String) {
        let pairs = headers.iter().map(|&(name, value)| (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap()));
        let reply = handle(tools, &pairs.collect(), body.to_string().as_bytes());
        let json = if let ReplyBody::Json(json) = reply.body { json } else { Value::Null };
        (reply.status.as_u16(), json, reply.session.unwrap_or_default())
    }

    fn modern(method: &str, name: &str) -> Value {
        let params = json!({ "name": name, "_meta": { VERSION_KEY: MODERN } });
        json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params })
    }

    #[test]
    fn the_stateless_era_needs_headers_that_agree() {
        let tools = opened("modern");
        let discover = modern("server/discover", "");
        let mut headers = vec![("mcp-protocol-version", MODERN), ("mcp-method", "server/discover")];
        let (status, answer, _) = ask(&tools, &headers, &discover);
        assert_eq!((status, &answer["result"]["resultType"]), (200, &json!("complete")));
        assert_eq!(answer["result"]["supportedVersions"], json!([MODERN]));
        headers[1].1 = "tools/call";
        assert_eq!(ask(&tools, &headers, &discover).1["error"]["code"], HEADER_MISMATCH);
        headers.push(("mcp-name", "find_customer"));
        let (status, answer, _) = ask(&tools, &headers, &modern("tools/call", "send_mail"));
        assert_eq!((status, &answer["error"]["code"]), (400, &json!(HEADER_MISMATCH)));
        let mut call = modern("tools/call", "find_customer");
        call["params"]["arguments"] = json!({ "name": "ada" });
        let (_, answer, _) = ask(&tools, &headers, &call);
        let found = &answer["result"]["structuredContent"]["customers"][0];
        assert_eq!(found["email"], "ada.holm@example.com");
        headers[1].1 = "ping";
        assert_eq!(ask(&tools, &headers, &modern("ping", "")).0, 404);
    }

    #[test]
    fn the_older_era_needs_a_session() {
        let tools = opened("legacy");
        let params = json!({ "protocolVersion": LEGACY_OLDEST });
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params });
        let (status, answer, session) = ask(&tools, &[], &body);
        assert_eq!((status, session.len()), (200, 32));
        assert_eq!(answer["result"]["protocolVersion"], LEGACY_OLDEST);
        let list = json!({ "jsonrpc": "2.0", "id": 2, "method": "tools/list" });
        assert_eq!(ask(&tools, &[], &list).0, 400);
        assert_eq!(ask(&tools, &[(SESSION_HEADER, "unknown")], &list).0, 404);
        let (_, answer, _) = ask(&tools, &[(SESSION_HEADER, session.as_str())], &list);
        assert_eq!(answer["result"]["tools"].as_array().map(Vec::len), Some(6));
        assert_eq!(ask(&tools, &[], &json!([list])).1["error"]["code"], INVALID_REQUEST);
    }
}
