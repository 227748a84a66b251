//! What runs inside `marque run`: this test binary again. Outside of it, the one test here does nothing.

use std::ffi::OsString;
use std::io::Read as _;

use serde_json::{Value, json};

use crate::containment;
use crate::git;
use crate::wire::{Link, Reply};

#[test]
fn probe() {
    match variable("PROBE").as_deref() {
        None => {}
        Some("door") => door(),
        Some("wait") => wait(),
        Some("secrets") => containment::look(),
        Some("escape") => {
            works();
            containment::escape();
            works();
        }
        Some("commit") => git::commit(),
        Some(other) => panic!("there is no probe `{other}`"),
    }
}

/// A variable of the environment.
pub fn variable(name: &str) -> Option<String> {
    std::env::var_os(name).map(OsString::into_string).map(Result::unwrap)
}

/// Says where the gateway is, waits until it is told to go on, and works.
fn wait() {
    println!("\nGATEWAY {}", gateway());
    std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
    works();
}

/// Everything that the gateway has to withstand, and that it works before and after.
fn door() {
    works();
    for (what, request, status, code) in bad_requests() {
        let reply = ask(&request).unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!(reply.status, status, "{what}: {}", String::from_utf8_lossy(&reply.body));
        if code != 0 {
            assert_eq!(reply.json()["error"]["code"], code, "{what}: {}", reply.json());
        }
    }
    works();
}

fn works() {
    let body = message("tools/list", json!({}));
    let reply = ask(&post("/mcp/office", &modern("tools/list", ""), body.as_bytes())).unwrap();
    assert_eq!(reply.status, 200, "{reply:?}");
    let tools = reply.json()["result"]["tools"].as_array().unwrap().clone();
    let names: Vec<&Value> = tools.iter().map(|tool| &tool["name"]).collect();
    assert_eq!(names, ["customer_statistics"], "only what may be called is listed");
    let body = message("tools/call", json!({ "name": "customer_statistics", "arguments": {} }));
    let reply = ask(&post("/mcp/office", &modern("tools/call", "customer_statistics"), body.as_bytes())).unwrap();
    assert_eq!(reply.status, 200, "{reply:?}");
    let text = String::from_utf8_lossy(&reply.body);
    assert!(text.contains("average_balance_cents"), "{text}");
}

/// Calls a tool of the office.
pub fn called(tool: &str, arguments: Value) -> Value {
    let body = message("tools/call", json!({ "name": tool, "arguments": arguments }));
    let reply = ask(&post("/mcp/office", &modern("tools/call", tool), body.as_bytes())).unwrap();
    assert_eq!(reply.status, 200, "{reply:?}");
    reply.json()["result"].clone()
}

type Bad = (&'static str, Vec<u8>, u16, i64);

/// What is sent, and the status and JSON-RPC code of its answer; 0 where there is none.
fn bad_requests() -> Vec<Bad> {
    let old = |body: &str| post("/mcp/office", JSON, body.as_bytes());
    let ping = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;
    let list = message("tools/list", json!({}));
    let call = message("tools/call", json!({ "name": "customer_statistics", "arguments": {} }));
    let unknown = message("tools/frobnicate", json!({}));
    let nested = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"ping","params":{}{}}}"#, "[".repeat(5_000), "]".repeat(5_000));
    let twice = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","arguments":{"to":"x","to":"y"}}}"#;
    // One byte more than is read: the answer comes after all of it is sent.
    let large = format!(r#"{{"x":"{}"}}"#, "x".repeat((4 << 20) + 1 - 8));
    let head = "POST /mcp/office HTTP/1.1\r\nhost: x\r\nconnection: close\r\n";
    let raw = |rest: &str| format!("{head}{rest}").into_bytes();
    vec![
        ("an oversized body", old(&large), 413, 0),
        ("a batch", old(&format!("[{ping}]")), 400, -32600),
        ("an empty batch", old(" []"), 400, -32600),
        ("no JSON", old(r#"{"jsonrpc":"#), 400, -32700),
        ("nothing", old(""), 400, -32700),
        ("bytes that are not text", post("/mcp/office", JSON, b"{\"jsonrpc\":\"2.0\",\"method\":\"\xff\"}"), 400, -32700),
        ("the same key twice", old(r#"{"jsonrpc":"2.0","id":1,"method":"ping","method":"tools/list"}"#), 400, -32600),
        ("the same key twice, deeper", old(twice), 400, -32600),
        ("deep nesting", old(&nested), 400, -32700),
        ("another version", old(r#"{"jsonrpc":"1.0","id":1,"method":"ping"}"#), 400, -32600),
        ("an object as identifier", old(r#"{"jsonrpc":"2.0","id":{},"method":"ping"}"#), 400, -32600),
        ("a response", old(r#"{"jsonrpc":"2.0","id":1,"result":{}}"#), 400, -32600),
        ("another content type", post("/mcp/office", "content-type: text/plain\r\n", ping.as_bytes()), 415, 0),
        ("no content type", post("/mcp/office", "", ping.as_bytes()), 415, 0),
        ("headers of another method", post("/mcp/office", &modern("tools/call", ""), list.as_bytes()), 400, -32020),
        ("headers of another tool", post("/mcp/office", &modern("tools/call", "other"), call.as_bytes()), 400, -32020),
        ("headers that are missing", post("/mcp/office", JSON, list.as_bytes()), 400, -32020),
        ("an unknown method", post("/mcp/office", &modern("tools/frobnicate", ""), unknown.as_bytes()), 404, -32601),
        ("an unknown method, as it was", old(r#"{"jsonrpc":"2.0","id":1,"method":"tools/frobnicate"}"#), 200, -32601),
        // The task grants nothing on it; whether it exists is nobody's business.
        ("an unknown service", post("/mcp/nothing", JSON, ping.as_bytes()), 403, 0),
        ("a path that leads up", post("/mcp/../v1/status", JSON, ping.as_bytes()), 404, 0),
        ("a path of the API", post("/v1/status", JSON, ping.as_bytes()), 404, 0),
        ("a foreign page", post("/mcp/office", &format!("{JSON}origin: https://evil.example\r\n"), ping.as_bytes()), 403, 0),
        ("another verb", b"PUT /mcp/office HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n".to_vec(), 405, 0),
        ("chunks that are none", raw(&format!("{JSON}transfer-encoding: chunked\r\n\r\nZZ\r\nno chunk\r\n0\r\n\r\n")), 400, 0),
        ("two lengths", raw("content-length: 3\r\ncontent-length: 4\r\n\r\nabcd"), 400, 0),
        ("no HTTP", b"\0\x01\x02 nonsense\r\n\r\n".to_vec(), 400, 0),
        ("a header without end", raw(&format!("a: {}\r\n\r\n", "b".repeat(70_000))), 431, 0),
    ]
}

fn ask(request: &[u8]) -> std::io::Result<Reply> {
    let mut link = Link::tcp(&gateway())?;
    // It may answer and close before it has read everything.
    let _ = link.send(request);
    link.reply()
}

fn gateway() -> String {
    variable("MARQUE_GATEWAY").expect("a launched process is told where the gateway is")
}

fn post(path: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head = format!("POST {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{headers}content-length: {length}\r\n\r\n");
    [head.as_bytes(), body].concat()
}

/// A message of revision 2026-07-28.
fn message(method: &str, mut params: Value) -> String {
    let key = |name: &str| format!("io.modelcontextprotocol/{name}");
    params["_meta"] = json!({ key("protocolVersion"): VERSION, key("clientCapabilities"): {} });
    json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params }).to_string()
}

/// The headers of such a message.
fn modern(method: &str, name: &str) -> String {
    let name = if name.is_empty() { String::new() } else { format!("mcp-name: {name}\r\n") };
    format!("{JSON}mcp-protocol-version: {VERSION}\r\nmcp-method: {method}\r\n{name}")
}

const JSON: &str = "content-type: application/json\r\naccept: application/json, text/event-stream\r\n";
const VERSION: &str = "2026-07-28";
