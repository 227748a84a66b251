//! Connections: HTTP/1.1 and HTTP/2 over any stream.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use http::{Method, Request, StatusCode, request};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use marque_core::id::RecordId;
use marque_core::resource::{ResourceId, ResourceKind};
use marque_engine::{Engine, EngineError};
use serde_json::json;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::authn::Peer;
use crate::contents::media_type;
use crate::mcp::{Asked, Mcp, foreign_origin};
use crate::reply::{self, Answer};

/// The gateway, shared by all its connections.
#[derive(Clone, Debug)]
pub struct Gateway {
    engine: Arc<Engine>,
    mcp: Arc<Mcp>,
}

impl Gateway {
    /// A gateway in front of an engine's registered services.
    pub fn new(engine: Arc<Engine>) -> Self {
        Self { engine, mcp: Arc::default() }
    }

    /// Ends what was started for callers that have ended: to be called about once a second.
    pub async fn sweep(&self) {
        self.mcp.sweep(&self.engine).await;
    }

    /// Serves one connection until it ends.
    pub async fn serve(&self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, peer: Peer) {
        let gateway = self.clone();
        let service = service_fn(move |request| {
            let (gateway, peer) = (gateway.clone(), peer.clone());
            async move { Ok::<_, Infallible>(gateway.answer(request, &peer).await) }
        });
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder.http1().timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT).max_buf_size(MAX_HEAD);
        builder.http2().timer(TokioTimer::new()).max_concurrent_streams(256).max_header_list_size(MAX_HEAD as u32);
        if let Err(error) = builder.serve_connection(TokioIo::new(stream), service).await {
            tracing::debug!("a connection ended: {error}");
        }
    }

    /// Answers one request.
    pub async fn answer(&self, request: Request<Incoming>, peer: &Peer) -> Answer {
        let (parts, stream) = request.into_parts();
        if parts.uri.path() == RECORD_PATH {
            return self.newest(&parts, peer).await;
        }
        let Some(service) = service_of(parts.uri.path()) else {
            return reply::json(StatusCode::NOT_FOUND, &json!({ "error": "the gateway serves `/mcp/<service>`" }));
        };
        if foreign_origin(&parts.headers) {
            return reply::json(StatusCode::FORBIDDEN, &json!({ "error": "the request comes from a page of another site" }));
        }
        let lease = match peer.lease(&self.engine, &parts.headers) {
            Ok(lease) => lease,
            Err(error) => return reply::unauthorized(&error),
        };
        let body = match tokio::time::timeout(BODY_TIMEOUT, Limited::new(stream, MAX_BODY).collect()).await {
            Ok(Ok(body)) => body.to_bytes(),
            Ok(Err(error)) if error.is::<LengthLimitError>() => {
                return reply::json(
                    StatusCode::PAYLOAD_TOO_LARGE,
                    &json!({ "error": format!("a request has at most {MAX_BODY} bytes") }),
                );
            }
            Ok(Err(_)) => return reply::empty(StatusCode::BAD_REQUEST),
            Err(_) => return reply::empty(StatusCode::REQUEST_TIMEOUT),
        };
        if parts.method == Method::POST && media_type(&parts.headers) != "application/json" {
            return reply::json(StatusCode::UNSUPPORTED_MEDIA_TYPE, &json!({ "error": "send `Content-Type: application/json`" }));
        }
        let wants_receipt = reply::prefers_receipt(&parts.headers);
        let answer = self.mcp.handle(Asked { engine: Arc::clone(&self.engine), lease, service, parts, body }).await;
        if wants_receipt { self.with_receipt(answer).await } else { answer }
    }
}

impl Gateway {
    /// The answer with the proof that its record is in the log. What was decided is durable either way: where no proof can be
    /// made in time, the preference was not applied, and that is all.
    async fn with_receipt(&self, answer: Answer) -> Answer {
        let Some(record) = reply::record_of(&answer) else { return answer };
        attached(answer, record, self.engine.proof_now(record), RECEIPT_TIMEOUT).await
    }

    /// `GET /marque/record`: the newest action that was allowed under the caller's own task, for naming it in what was made.
    async fn newest(&self, parts: &request::Parts, peer: &Peer) -> Answer {
        if foreign_origin(&parts.headers) {
            return reply::empty(StatusCode::FORBIDDEN);
        }
        if parts.method != Method::GET {
            return reply::empty(StatusCode::METHOD_NOT_ALLOWED);
        }
        let task = match peer.lease(&self.engine, &parts.headers).and_then(|lease| self.engine.task_of(lease)) {
            Ok(task) => task,
            Err(error) => return reply::unauthorized(&error),
        };
        let engine = Arc::clone(&self.engine);
        match tokio::task::spawn_blocking(move || engine.newest_record(task)).await {
            Ok(Ok(record)) => reply::json(StatusCode::OK, &json!({ "task": task, "record": record })),
            Ok(Err(error)) => {
                tracing::error!("the newest record of `{task}` cannot be told: {}", error.chain());
                reply::empty(StatusCode::SERVICE_UNAVAILABLE)
            }
            Err(_) => reply::empty(StatusCode::SERVICE_UNAVAILABLE),
        }
    }
}

/// The answer with its proof, if there is one in time.
async fn attached(
    answer: Answer,
    record: RecordId,
    proof: impl Future<Output = Result<String, EngineError>>,
    patience: Duration,
) -> Answer {
    match tokio::time::timeout(patience, proof).await {
        Ok(Ok(proof)) => return reply::attach_receipt(answer, &proof),
        Ok(Err(error)) => tracing::warn!(%record, "no receipt: {}", error.chain()),
        Err(_) => tracing::warn!(%record, "no receipt within {} s", patience.as_secs()),
    }
    answer
}

/// `/mcp/<service>`.
fn service_of(path: &str) -> Option<ResourceId> {
    let name = path.strip_prefix("/mcp/")?;
    ResourceId::new(ResourceKind::Service, name.strip_suffix('/').unwrap_or(name)).ok()
}

const RECORD_PATH: &str = "/marque/record";
/// The largest request: what policy sees must fit into memory.
const MAX_BODY: usize = 4 << 20;
const MAX_HEAD: usize = 64 << 10;
const HEADER_TIMEOUT: Duration = Duration::from_secs(15);
const BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// How long an answer waits for its proof.
const RECEIPT_TIMEOUT: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_answer_waits_for_its_proof_no_longer_than_it_may() {
        let record = RecordId::from_bytes([7; 16]);
        let answer = || reply::empty(StatusCode::OK);
        let applied = |answer: &Answer| answer.headers().contains_key("preference-applied");
        let never = attached(answer(), record, std::future::pending(), Duration::ZERO).await;
        assert!(!applied(&never));
        let at_once = attached(answer(), record, std::future::ready(Ok("a proof".into())), Duration::ZERO).await;
        assert!(applied(&at_once));
    }
}
