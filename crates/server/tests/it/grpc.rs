//! A Workload API client of the test's own: gRPC over HTTP/2 on one end of a pair of Unix sockets, or on any other stream.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Request};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use marque_engine::{Engine, Process};
use marque_server::source::{Local, Source};
use marque_server::{AnyAuthority, Peer, agent, peer_of};
use prost::Message;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::UnixStream;

use crate::world::within;

/// The security header, as every client sends it.
pub(crate) const MARK: Option<&str> = Some("true");
/// Its name.
pub(crate) const HEADER: &str = "workload.spiffe.io";

/// A connection to the Workload API, by this process.
pub(crate) struct Socket(Sender);

/// A call under way.
pub(crate) struct Call {
    body: Incoming,
    buffer: Vec<u8>,
    code: Option<u16>,
    /// What came with the status.
    told: HeaderMap,
}

/// Something that takes requests.
pub(crate) type Sender = SendRequest<Full<Bytes>>;

pub(crate) async fn connected(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Sender {
    let (sender, connection) = within(handshake(TokioExecutor::new(), TokioIo::new(stream))).await.unwrap();
    tokio::spawn(connection);
    sender
}

/// A call of one message.
pub(crate) fn framed<'a>(
    path: &str,
    metadata: impl IntoIterator<Item = (&'a str, &'a str)>,
    message: &impl Message,
) -> Request<Full<Bytes>> {
    let bytes = message.encode_to_vec();
    let length = u32::try_from(bytes.len()).unwrap().to_be_bytes();
    let frame = [&[0_u8][..], &length[..], &bytes[..]].concat();
    let mut builder =
        Request::post(format!("http://localhost/{path}")).header("content-type", "application/grpc").header("te", "trailers");
    for (name, value) in metadata {
        builder = builder.header(name, value);
    }
    builder.body(Full::new(Bytes::from(frame))).unwrap()
}

/// Calls `package.Service/Method`.
pub(crate) async fn call(sender: &Sender, request: Request<Full<Bytes>>) -> Call {
    let mut sender = sender.clone();
    let response = within(async {
        sender.ready().await.unwrap();
        sender.send_request(request).await.unwrap()
    })
    .await;
    assert_eq!(response.status(), 200);
    let told = response.headers().clone();
    Call { code: status(&told), body: response.into_body(), buffer: Vec::new(), told }
}

impl Socket {
    pub(crate) async fn open(engine: &Arc<Engine>) -> Self {
        Self::over(Local::of(Arc::clone(engine), None)).await
    }

    pub(crate) async fn over(source: Arc<dyn Source>) -> Self {
        Self::of(source, std::process::id()).await
    }

    /// As if the kernel had named another process.
    pub(crate) async fn of(source: Arc<dyn Source>, pid: u32) -> Self {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let peer = peer_of(&theirs).unwrap();
        assert_eq!(peer.process.pid(), std::process::id());
        let peer = Peer { process: Process::open(pid).unwrap(), ..peer };
        tokio::spawn(marque_server::http(AnyAuthority::new(theirs), agent::over(source, peer)));
        Self(connected(ours).await)
    }

    /// A connection to a socket that is a file.
    pub(crate) async fn connect(path: &Path) -> Self {
        Self(connected(within(UnixStream::connect(path)).await.unwrap()).await)
    }

    /// Calls a method, with this value of the security header.
    pub(crate) async fn call(&self, method: &str, message: &impl Message, mark: Option<&str>) -> Call {
        let metadata: Vec<(&str, &str)> = mark.into_iter().map(|mark| (HEADER, mark)).collect();
        self.send(&format!("/SpiffeWorkloadAPI/{method}"), message, &metadata).await
    }

    /// Calls any method of any service, with this metadata.
    pub(crate) async fn send(&self, path: &str, message: &impl Message, metadata: &[(&str, &str)]) -> Call {
        call(&self.0, framed(path.trim_start_matches('/'), metadata.iter().copied(), message)).await
    }

    /// The one answer of a method, or the status that it was refused with.
    pub(crate) async fn ask<T: Message + Default>(&self, method: &str, message: &impl Message) -> Result<T, u16> {
        self.call(method, message, MARK).await.next().await
    }

    /// The status that a method ends with at once.
    pub(crate) async fn refused(&self, method: &str, message: &impl Message, mark: Option<&str>) -> Option<u16> {
        self.call(method, message, mark).await.refusal().await
    }
}

impl Call {
    /// The next message, or the status that ended the call.
    pub(crate) async fn next<T: Message + Default>(&mut self) -> Result<T, u16> {
        self.raw().await.map(|message| T::decode(message.as_slice()).unwrap())
    }

    /// The status that the call ends with, if not with another message.
    pub(crate) async fn refusal(&mut self) -> Option<u16> {
        self.raw().await.err()
    }

    /// A header that came with the status.
    pub(crate) fn told(&self, name: &str) -> Option<&[u8]> {
        self.told.get(name).map(http::HeaderValue::as_bytes)
    }

    pub(crate) async fn raw(&mut self) -> Result<Vec<u8>, u16> {
        within(async {
            loop {
                if let Some(message) = self.whole() {
                    return Ok(message);
                }
                if let Some(code) = self.code {
                    return Err(code);
                }
                let frame = self.body.frame().await.expect("a call ends with a status").unwrap();
                match frame.into_data() {
                    Ok(data) => self.buffer.extend_from_slice(&data),
                    Err(frame) => {
                        self.told = frame.trailers_ref().cloned().unwrap_or_default();
                        self.code = status(&self.told);
                    }
                }
            }
        })
        .await
    }

    /// A flag byte and a length stand before each message.
    fn whole(&mut self) -> Option<Vec<u8>> {
        let length = u32::from_be_bytes(self.buffer.get(1..5)?.try_into().unwrap()) as usize;
        let message = self.buffer.get(5..5 + length)?.to_vec();
        self.buffer.drain(..5 + length);
        Some(message)
    }
}

fn status(headers: &HeaderMap) -> Option<u16> {
    headers.get("grpc-status").map(|code| code.to_str().unwrap().parse().unwrap())
}
