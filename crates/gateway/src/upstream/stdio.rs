//! MCP servers that the gateway starts: newline-delimited JSON-RPC on their standard streams (MCP, stdio transport).

use std::collections::HashMap;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode};
use marque_core::resource::ResourceId;
use marque_engine::InjectedSecret;
use serde_json::value::RawValue;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::{Mutex as AsyncMutex, oneshot};

use super::{UpstreamError, UpstreamResponse};
use crate::json::{Envelope, Returned};
use crate::reply::body;

/// A started MCP server. Dropping it kills the process.
#[derive(Debug)]
pub struct Process {
    service: ResourceId,
    input: AsyncMutex<ChildStdin>,
    waiting: Arc<Waiting>,
    next: AtomicU64,
    _child: Child,
}

#[derive(Debug, Default)]
struct Waiting {
    ended: AtomicBool,
    answers: Mutex<HashMap<u64, oneshot::Sender<Vec<u8>>>>,
}

impl Process {
    /// Starts the server with an environment that holds `PATH`, `HOME` and its own secrets, and nothing of ours.
    pub fn start(
        service: &ResourceId,
        command: &str,
        args: &[String],
        variables: &[(String, InjectedSecret)],
    ) -> Result<Self, UpstreamError> {
        let fail = |why: String| UpstreamError::Unreachable { service: service.clone(), why };
        let mut builder = Command::new(command);
        builder.args(args).env_clear().stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
        builder.envs(std::env::vars_os().filter(|(name, _)| name == "PATH" || name == "HOME"));
        builder.envs(variables.iter().map(|(name, secret)| (name.clone(), secret.expose().to_owned())));
        let mut child = builder.spawn().map_err(|e| fail(format!("`{command}` does not start: {e}")))?;
        let no_stream = || fail("its standard streams are closed".into());
        let input = child.stdin.take().ok_or_else(no_stream)?;
        let output = child.stdout.take().ok_or_else(no_stream)?;
        let waiting = Arc::new(Waiting::default());
        tokio::spawn(listen(service.clone(), output, Arc::clone(&waiting)));
        Ok(Self { service: service.clone(), input: AsyncMutex::new(input), waiting, next: AtomicU64::new(1), _child: child })
    }

    /// Whether it still answers.
    pub fn running(&self) -> bool {
        !self.waiting.ended.load(Ordering::Acquire)
    }

    /// Sends a message and waits for its answer; a notification is answered with 202 at once.
    pub async fn exchange(&self, message: Bytes) -> Result<UpstreamResponse, UpstreamError> {
        let protocol = |why: &str| UpstreamError::Protocol { service: self.service.clone(), why: why.to_owned() };
        let envelope: Envelope<'_> = serde_json::from_slice(&message).map_err(|_| protocol("the message is not JSON-RPC"))?;
        let Some(id) = envelope.id else {
            self.write(line(&message)).await?;
            return Ok(response(StatusCode::ACCEPTED, Vec::new()));
        };
        // Identifiers of different callers may be the same: on this side each message has its own.
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let renamed = splice(&message, id, &number.to_string()).ok_or_else(|| protocol("the message has no identifier"))?;
        let (tx, rx) = oneshot::channel();
        self.waiting.answers.lock().unwrap_or_else(PoisonError::into_inner).insert(number, tx);
        let forget = Forget { waiting: &self.waiting, number };
        self.write(line(&renamed)).await?;
        let ended = |_| UpstreamError::Unreachable { service: self.service.clone(), why: "it ended before it answered".into() };
        let answer = rx.await.map_err(ended)?;
        drop(forget);
        let theirs: Returned<'_> = serde_json::from_slice(&answer).map_err(|_| protocol("its answer is not JSON-RPC"))?;
        let answer_id = theirs.id.ok_or_else(|| protocol("its answer has no identifier"))?;
        let restored = splice(&answer, answer_id, id.get()).ok_or_else(|| protocol("its answer has no identifier"))?;
        Ok(response(StatusCode::OK, restored))
    }

    async fn write(&self, line: Vec<u8>) -> Result<(), UpstreamError> {
        let mut input = self.input.lock().await;
        let written = async {
            input.write_all(&line).await?;
            input.flush().await
        };
        written.await.map_err(|e| UpstreamError::Unreachable { service: self.service.clone(), why: e.to_string() })
    }
}

/// Forgets a question whose asker went away.
struct Forget<'a> {
    waiting: &'a Waiting,
    number: u64,
}

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        self.waiting.answers.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.number);
    }
}

/// Reads answers until the server ends. What is not an answer to a question is let go: a server without a caller's
/// stream has nobody to notify.
async fn listen(service: ResourceId, output: ChildStdout, waiting: Arc<Waiting>) {
    let mut reader = BufReader::new(output);
    let mut buffer = Vec::new();
    loop {
        buffer.clear();
        let mut limited = (&mut reader).take(MAX_LINE);
        match limited.read_until(b'\n', &mut buffer).await {
            Ok(0) | Err(_) => break,
            Ok(_) if !buffer.ends_with(b"\n") => break,
            Ok(_) => {}
        }
        let Ok(envelope) = serde_json::from_slice::<Returned<'_>>(&buffer) else { continue };
        let number = envelope.id.and_then(|id| id.get().parse::<u64>().ok()).filter(|_| envelope.method.is_none());
        let Some(number) = number else { continue };
        let asker = waiting.answers.lock().unwrap_or_else(PoisonError::into_inner).remove(&number);
        if let Some(asker) = asker {
            let _ = asker.send(buffer.trim_ascii_end().to_vec());
        }
    }
    tracing::info!(%service, "a started tool server has ended");
    waiting.ended.store(true, Ordering::Release);
    waiting.answers.lock().unwrap_or_else(PoisonError::into_inner).clear();
}

/// The message with another identifier, and every other byte as it was.
fn splice(message: &[u8], id: &RawValue, with: &str) -> Option<Vec<u8>> {
    let start = (id.get().as_ptr() as usize).checked_sub(message.as_ptr() as usize)?;
    let (before, rest) = message.split_at_checked(start)?;
    let (_, after) = rest.split_at_checked(id.get().len())?;
    Some([before, with.as_bytes(), after].concat())
}

/// One line: line breaks can stand only between a JSON text's tokens, where a space means the same.
fn line(message: &[u8]) -> Vec<u8> {
    let mut line: Vec<u8> = message.iter().map(|b| if matches!(b, b'\n' | b'\r') { b' ' } else { *b }).collect();
    line.push(b'\n');
    line
}

fn response(status: StatusCode, bytes: Vec<u8>) -> UpstreamResponse {
    let mut response = Response::new(body(bytes));
    *response.status_mut() = status;
    response.headers_mut().insert(http::header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

const MAX_LINE: u64 = 8 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_identifier_changes() {
        let message = br#"{ "params":{"id":7}, "id" : "a\"b" ,"jsonrpc":"2.0","method":"x"}"#;
        let envelope: Envelope<'_> = serde_json::from_slice(message).unwrap();
        let renamed = splice(message, envelope.id.unwrap(), "42").unwrap();
        assert_eq!(renamed, br#"{ "params":{"id":7}, "id" : 42 ,"jsonrpc":"2.0","method":"x"}"#);
    }

    #[tokio::test]
    async fn speaks_to_a_started_server() {
        let service: ResourceId = "service:cat".parse().unwrap();
        // A server that answers every line with a result under the same identifier.
        let script = r#"while read -r l; do id=$(printf '%s' "$l" | sed 's/.*"id":\([0-9]*\).*/\1/'); printf '{"jsonrpc":"2.0","id":%s,"result":{}}\n' "$id"; done"#;
        let process = Process::start(&service, "sh", &["-c".into(), script.into()], &[]).unwrap();
        let answer = process.exchange(Bytes::from_static(br#"{"jsonrpc":"2.0","id":"mine","method":"ping"}"#)).await.unwrap();
        let bytes = http_body_util::BodyExt::collect(answer.into_body()).await.unwrap().to_bytes();
        assert_eq!(bytes, &br#"{"jsonrpc":"2.0","id":"mine","result":{}}"#[..]);
        let none = Process::start(&service, "/nonexistent/program", &[], &[]);
        assert!(matches!(none, Err(UpstreamError::Unreachable { .. })));
    }
}
