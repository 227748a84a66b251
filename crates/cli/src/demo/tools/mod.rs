//! The demo's tool server: a small, real MCP server with customers, mail and reports behind it.
//!
//! It runs as a process of its own behind the gateway. It knows one caller, by a shared API key,
//! and no policy: what an agent may do is decided before a request gets here.

mod crm;
mod mail;
mod mcp;
mod reports;
mod wire;

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::header::{ALLOW, AUTHORIZATION, ORIGIN, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use axum::{Json, Router};
use secrecy::{ExposeSecret, SecretString};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use time::OffsetDateTime;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

/// What the tool server needs to run.
#[derive(Debug)]
pub struct ToolServerOptions {
    /// Where the customer database, the outbox, the exports and the reports live.
    pub dir: PathBuf,
    /// The address to listen on; port 0 takes any free port.
    pub listen: SocketAddr,
    /// The key every request must carry as a bearer token.
    pub api_key: SecretString,
}

/// Why the tool server, or one tool call, failed.
#[derive(Debug, thiserror::Error)]
pub enum ToolServerError {
    /// An empty key would admit everybody.
    #[error("the api key is empty")]
    EmptyKey,
    /// The address is taken or not ours.
    #[error("cannot listen on `{address}`")]
    Listen {
        /// The address asked for.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The stop signal cannot be caught.
    #[error("cannot catch the stop signal")]
    Signal(#[source] io::Error),
    /// The accept loop ended.
    #[error("the tool server stopped serving")]
    Serve(#[source] io::Error),
    /// A file or folder cannot be used.
    #[error("cannot use `{}`", .path.display())]
    File {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// SQLite refused.
    #[error("the customer database failed")]
    Database(#[from] rusqlite::Error),
    /// The date cannot be written out.
    #[error("cannot write the date of the mail")]
    Date(#[from] time::error::Format),
    /// The arguments of a call do not fit the tool's schema.
    #[error("the arguments do not fit the tool")]
    Arguments(#[source] serde_json::Error),
    /// A file name that could leave its folder, or hide in it.
    #[error("`{0}` is not a file name of 1 to 64 letters, digits, `.`, `_` or `-` without a leading dot")]
    FileName(String),
    /// A header field with control characters in it, or empty.
    #[error("`{}` is not one line of text fit for a mail header", .0.escape_debug())]
    HeaderField(String),
    /// An argument that is of the right shape and still makes no sense.
    #[error("`{0}` must not be empty or zero")]
    Empty(&'static str),
}

/// Serves MCP at `POST /mcp` until SIGTERM or ctrl-c; `ready` hears the bound address.
///
/// # Errors
///
/// When the state folder, the address or the stop signal cannot be had, or serving breaks off.
pub async fn serve(options: ToolServerOptions, ready: impl FnOnce(SocketAddr)) -> Result<(), ToolServerError> {
    let server = Server::open(&options)?;
    let listen_error = |source| ToolServerError::Listen { address: options.listen, source };
    let listener = TcpListener::bind(options.listen).await.map_err(listen_error)?;
    let address = listener.local_addr().map_err(listen_error)?;
    let (stop, deadline) = (stop_signal()?, stop_signal()?);
    let router = Router::new().route("/mcp", any(endpoint)).with_state(Arc::new(server));
    ready(address);
    tracing::info!(%address, "the tool server listens");
    tokio::select! {
        served = axum::serve(listener, router).with_graceful_shutdown(stop).into_future() => {
            served.map_err(ToolServerError::Serve)
        }
        () = async { deadline.await; tokio::time::sleep(GRACE).await } => Ok(()),
    }
}

/// The tools and what they work on.
pub struct Tools {
    crm: crm::Crm,
    mail: mail::Mail,
    reports: reports::Reports,
    sessions: wire::Sessions,
}

/// What a tool answered.
pub enum Answer {
    /// One JSON object.
    Done(Value),
    /// A stream of events over this long, then one JSON object.
    Watch(mail::Watch),
}

impl Tools {
    /// Opens the state under `dir`, and makes it on first use.
    ///
    /// # Errors
    ///
    /// When a folder or the database cannot be made.
    pub fn open(dir: &Path, clock: fn() -> OffsetDateTime) -> Result<Self, ToolServerError> {
        Ok(Self {
            crm: crm::Crm::open(&folder(dir.to_owned())?, folder(dir.join("exports"))?)?,
            mail: mail::Mail::open(folder(dir.join("outbox"))?, clock)?,
            reports: reports::Reports::open(folder(dir.join("reports"))?),
            sessions: wire::Sessions::default(),
        })
    }

    /// Every tool's definition, always in the same order.
    pub fn definitions(&self) -> Vec<Value> {
        let mut all = crm::definitions();
        all.extend(mail::definitions());
        all.push(reports::definition());
        all
    }

    /// Runs the named tool; `None` when there is no such tool.
    pub fn call(&self, name: &str, arguments: Value) -> Option<Result<Answer, ToolServerError>> {
        let done = match name {
            "find_customer" => parse(arguments).and_then(|a| self.crm.find(a)),
            "customer_statistics" => parse(arguments).and_then(|a| self.crm.statistics(a)),
            "export_customers" => parse(arguments).and_then(|a| self.crm.export(a)),
            "send_mail" => parse(arguments).and_then(|a| self.mail.send(a)),
            "write_report" => parse(arguments).and_then(|a| self.reports.write(a)),
            "watch_mail" => {
                let watch = parse(arguments).and_then(|a| self.mail.watch(a));
                return Some(watch.map(Answer::Watch));
            }
            _ => return None,
        };
        Some(done.map(Answer::Done))
    }
}

/// The tools behind their key.
struct Server {
    tools: Tools,
    key: Vec<u8>,
}

impl Server {
    fn open(options: &ToolServerOptions) -> Result<Self, ToolServerError> {
        let key = options.api_key.expose_secret();
        if key.is_empty() {
            return Err(ToolServerError::EmptyKey);
        }
        let tools = Tools::open(&options.dir, OffsetDateTime::now_utc)?;
        Ok(Self { tools, key: digest(key) })
    }

    /// Compares digests in constant time, so that timing tells nothing about the key.
    fn admits(&self, headers: &HeaderMap) -> bool {
        let shown = wire::single(headers, AUTHORIZATION.as_str()).and_then(|v| v.split_once(' '));
        let Some((scheme, token)) = shown else { return false };
        let token = digest(token);
        let difference = self.key.iter().zip(&token).fold(0_u8, |all, (a, b)| all | (a ^ b));
        scheme.eq_ignore_ascii_case("bearer") && difference == 0
    }

    fn end_session(&self, headers: &HeaderMap) -> Response {
        match wire::single(headers, wire::SESSION_HEADER) {
            Some(id) if self.tools.sessions.end(id) => StatusCode::NO_CONTENT.into_response(),
            Some(_) => refusal(StatusCode::NOT_FOUND, "there is no such session"),
            None => not_allowed(),
        }
    }
}

async fn endpoint(State(server): State<Arc<Server>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    if !server.admits(&parts.headers) {
        let body = refusal(StatusCode::UNAUTHORIZED, "the api key is missing or wrong");
        return ([(WWW_AUTHENTICATE, "Bearer")], body).into_response();
    }
    if !origin_is_local(&parts.headers) {
        return refusal(StatusCode::FORBIDDEN, "this server is not for web pages");
    }
    match parts.method {
        Method::POST => post(server, parts.headers, body).await,
        Method::DELETE => server.end_session(&parts.headers),
        _ => not_allowed(),
    }
}

async fn post(server: Arc<Server>, headers: HeaderMap, body: Body) -> Response {
    let Ok(body) = to_bytes(body, BODY_LIMIT).await else {
        return refusal(StatusCode::PAYLOAD_TOO_LARGE, "the body is broken or over 1 MiB");
    };
    let work = move || mcp::handle(&server.tools, &headers, &body);
    match tokio::task::spawn_blocking(work).await {
        Ok(reply) => reply.into_response(),
        Err(error) => {
            tracing::error!(%error, "a tool call did not finish");
            refusal(StatusCode::INTERNAL_SERVER_ERROR, "the call did not finish")
        }
    }
}

fn not_allowed() -> Response {
    let body = refusal(StatusCode::METHOD_NOT_ALLOWED, "only POST is served here");
    ([(ALLOW, "POST")], body).into_response()
}

fn refusal(status: StatusCode, message: &str) -> Response {
    (status, Json(json!({ "error": message }))).into_response()
}

fn origin_is_local(headers: &HeaderMap) -> bool {
    if !headers.contains_key(ORIGIN) {
        return true;
    }
    let origin = wire::single(headers, ORIGIN.as_str()).unwrap_or_default();
    let host = origin.split_once("://").map_or(origin, |(_, host)| host);
    ["localhost", "127.0.0.1", "[::1]"]
        .into_iter()
        .any(|local| host.strip_prefix(local).is_some_and(|port| port.is_empty() || port.starts_with(':')))
}

fn digest(text: &str) -> Vec<u8> {
    Sha256::digest(text.as_bytes()).to_vec()
}

fn stop_signal() -> Result<impl Future<Output = ()> + Send + 'static, ToolServerError> {
    let mut terminate = signal(SignalKind::terminate()).map_err(ToolServerError::Signal)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(ToolServerError::Signal)?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

fn folder(path: PathBuf) -> Result<PathBuf, ToolServerError> {
    match std::fs::create_dir_all(&path) {
        Ok(()) => Ok(path),
        Err(source) => Err(ToolServerError::File { path, source }),
    }
}

fn parse<T: DeserializeOwned>(arguments: Value) -> Result<T, ToolServerError> {
    serde_json::from_value(arguments).map_err(ToolServerError::Arguments)
}

const BODY_LIMIT: usize = 1024 * 1024;
/// How long open streams may outlive the stop signal.
const GRACE: Duration = Duration::from_secs(2);
