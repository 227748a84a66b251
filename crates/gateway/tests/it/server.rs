//! An MCP server that does as it is told and remembers what it was asked.

use std::convert::Infallible;
use std::fmt;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response};
use http_body::{Body, Frame};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::{Notify, mpsc};
use tokio::task::{JoinHandle, JoinSet};

/// What comes at once of an answer that is held open, and what comes when it is released.
pub(crate) const FIRST: &str =
    "event: message\ndata: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/progress\",\"params\":{\"progress\":1}}\n\n";
pub(crate) const LAST: &str = "event: message\ndata: {\"jsonrpc\":\"2.0\",\"id\":7,\"result\":{\"content\":[]}}\n\n";

/// How calls are answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// With JSON.
    Json,
    /// With a megabyte of JSON.
    Long,
    /// With an event stream.
    Events,
    /// With an event stream that stays open until it is released.
    Open,
    /// The same, but it breaks off then.
    Dies,
    /// With an event stream that has the whole result, and breaks off behind it when it is released.
    Torn,
    /// Not at all until it is released.
    Stalls,
}

/// One request.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) http: Method,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) rpc: String,
    pub(crate) tool: String,
}

type Look = Box<dyn Fn(&[u8]) + Send + Sync>;
type Piece = Result<Frame<Bytes>, Broken>;
type Answer = Response<BoxBody<Bytes, Broken>>;

pub(crate) struct Server {
    shared: Arc<Shared>,
    address: SocketAddr,
    accepting: JoinHandle<()>,
}

struct Shared {
    seen: Mutex<Vec<Seen>>,
    tools: Mutex<Vec<Value>>,
    mode: Mutex<Mode>,
    text: Mutex<String>,
    legacy: AtomicBool,
    sessions: AtomicUsize,
    left: AtomicUsize,
    release: Notify,
    look: OnceLock<Look>,
}

/// What a server says of a tool.
pub(crate) fn tool(name: &str, description: &str) -> Value {
    let schema = json!({ "type": "object" });
    json!({ "name": name, "description": description, "inputSchema": schema, "x-unknown": { "kept": true }, "_meta": { "n": 1 } })
}

impl Server {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let tools = ["find", "drop", "send", "extra"].into_iter().map(|name| tool(name, "as it was")).collect();
        let shared = Arc::new(Shared {
            seen: Mutex::default(),
            tools: Mutex::new(tools),
            mode: Mutex::new(Mode::Json),
            text: Mutex::new("found".to_owned()),
            legacy: AtomicBool::new(false),
            sessions: AtomicUsize::new(0),
            left: AtomicUsize::new(0),
            release: Notify::new(),
            look: OnceLock::new(),
        });
        let accepting = tokio::spawn(accept(listener, Arc::clone(&shared)));
        Self { shared, address, accepting }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/mcp", self.address)
    }

    /// Ends the server with all its connections.
    pub(crate) async fn stop(&mut self) {
        self.accepting.abort();
        let _ = (&mut self.accepting).await;
    }

    pub(crate) fn mode(&self, mode: Mode) {
        *self.shared.mode.lock().unwrap() = mode;
    }

    /// What its tools answer from now on.
    pub(crate) fn says(&self, text: &str) {
        text.clone_into(&mut self.shared.text.lock().unwrap());
    }

    /// Whether it wants sessions, as servers did before 2026-07-28.
    pub(crate) fn legacy(&self) {
        self.shared.legacy.store(true, Ordering::SeqCst);
    }

    /// Changes what it says of a tool.
    pub(crate) fn describe(&self, name: &str, description: &str) {
        let mut tools = self.shared.tools.lock().unwrap();
        *tools.iter_mut().find(|t| t["name"] == name).unwrap() = tool(name, description);
    }

    /// Looks at the body of every call at the moment that it arrives.
    pub(crate) fn look(&self, look: impl Fn(&[u8]) + Send + Sync + 'static) {
        assert!(self.shared.look.set(Box::new(look)).is_ok(), "one look is enough");
    }

    /// Lets one open answer go on.
    pub(crate) fn release(&self) {
        self.shared.release.notify_one();
    }

    /// How many open answers were left by their reader.
    pub(crate) fn left(&self) -> usize {
        self.shared.left.load(Ordering::SeqCst)
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.shared.seen.lock().unwrap().clone()
    }

    /// How often a tool was called.
    pub(crate) fn calls(&self, tool: &str) -> usize {
        self.seen().iter().filter(|s| s.rpc == "tools/call" && s.tool == tool).count()
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let shared = Arc::clone(&shared);
        connections.spawn(async move {
            let service = service_fn(move |request| {
                let shared = Arc::clone(&shared);
                async move { Ok::<_, Infallible>(shared.answer(request).await) }
            });
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

impl Shared {
    async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Answer {
        let (parts, body) = request.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let message: Value = serde_json::from_slice(&body).unwrap_or_default();
        let rpc = message["method"].as_str().unwrap_or_default().to_owned();
        let tool = message["params"]["name"].as_str().unwrap_or_default().to_owned();
        if rpc == "tools/call"
            && let Some(look) = self.look.get()
        {
            look(&body);
        }
        let in_session = parts.headers.contains_key("mcp-session-id");
        let http = parts.method.clone();
        self.seen.lock().unwrap().push(Seen { http: parts.method, headers: parts.headers, body, rpc: rpc.clone(), tool });
        if http == Method::GET {
            return self.open(FIRST.to_owned(), false);
        }
        let Some(id) = message.get("id") else { return json_answer(202, String::new()) };
        let mode = *self.mode.lock().unwrap();
        let text = self.text.lock().unwrap().clone();
        match rpc.as_str() {
            "initialize" => {
                let session = format!("session-{}", self.sessions.fetch_add(1, Ordering::SeqCst));
                let mut answer = result(mode, id, &json!({ "protocolVersion": "2025-11-25", "capabilities": {} }));
                answer.headers_mut().insert("mcp-session-id", session.parse().unwrap());
                answer
            }
            _ if self.legacy.load(Ordering::SeqCst) && !in_session => json_answer(400, r#"{"error":"no session"}"#.to_owned()),
            "tools/list" => {
                let tools = self.tools.lock().unwrap().clone();
                let unknown = json!({ "kept": true });
                let list = json!({ "tools": tools, "ttlMs": 1000, "cacheScope": "public", "x-unknown": unknown });
                result(mode, id, &list)
            }
            "tools/call" => match mode {
                Mode::Open => self.open(FIRST.to_owned(), false),
                Mode::Dies => self.open(FIRST.to_owned(), true),
                Mode::Torn => self.open(format!("data: {}\n\n", text_of(id, &found(&text))), true),
                Mode::Stalls => {
                    self.release.notified().await;
                    result(Mode::Json, id, &found(&text))
                }
                Mode::Long => result(mode, id, &found(&"x".repeat(1 << 20))),
                Mode::Json | Mode::Events => result(mode, id, &found(&text)),
            },
            _ => result(mode, id, &json!({})),
        }
    }

    /// An event stream of two pieces, the second when it is released.
    fn open(self: &Arc<Self>, first: String, dies: bool) -> Answer {
        let (tx, rx) = mpsc::channel::<Piece>(4);
        let shared = Arc::clone(self);
        tokio::spawn(async move {
            let _ = tx.send(Ok(Frame::data(Bytes::from(first)))).await;
            tokio::select! {
                () = shared.release.notified() => {}
                () = tx.closed() => {
                    shared.left.fetch_add(1, Ordering::SeqCst);
                    return;
                }
            }
            let last = Frame::data(Bytes::from_static(LAST.as_bytes()));
            let _ = tx.send(if dies { Err(Broken) } else { Ok(last) }).await;
        });
        answer(200, "text/event-stream", Pieces(rx).boxed())
    }
}

fn found(text: &str) -> Value {
    json!({ "content": [{ "type": "text", "text": text }], "resultType": "complete" })
}

fn text_of(id: &Value, result: &Value) -> String {
    json!({ "jsonrpc": "2.0", "id": id, "result": result }).to_string()
}

fn result(mode: Mode, id: &Value, result: &Value) -> Answer {
    let message = text_of(id, result);
    if mode == Mode::Events {
        let events = format!(": hello\n\n{FIRST}event: message\ndata: {message}\n\n");
        return answer(200, "text/event-stream", whole(events));
    }
    json_answer(200, message)
}

fn json_answer(status: u16, text: String) -> Answer {
    answer(status, "application/json", whole(text))
}

fn whole(text: String) -> BoxBody<Bytes, Broken> {
    Full::new(Bytes::from(text)).map_err(|never| match never {}).boxed()
}

/// Every answer also tries to leave something with the agent.
fn answer(status: u16, kind: &str, body: BoxBody<Bytes, Broken>) -> Answer {
    let builder = Response::builder().status(status).header("content-type", kind);
    builder.header("set-cookie", "a=b").header("www-authenticate", "Basic").header("x-upstream", "kept").body(body).unwrap()
}

struct Pieces(mpsc::Receiver<Piece>);

impl Body for Pieces {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Piece>> {
        self.0.poll_recv(cx)
    }
}

#[derive(Debug)]
struct Broken;

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("it broke off")
    }
}

impl std::error::Error for Broken {}
