//! The upstream: an MCP server in a process of its own that answers as fast as it can and does nothing else.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Body, Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Interval;

use crate::Result;
use crate::report::say;

/// The argument that makes this program the upstream.
pub const ROLE: &str = "child-upstream";

/// How many events the tool `stream` sends.
pub const EVENTS: u32 = 1000;

/// The answer of the tool `echo`.
pub const ECHO: &str = concat!(
    r#"{"jsonrpc":"2.0","id":1,"result":{"resultType":"complete","content":[{"type":"text","text":"Ada Holm lives in Kiel, "#,
    r#"is a customer since 2019 and has a balance of 1204.50 euros; her last order was a lamp."}],"structuredContent":"#,
    r#"{"name":"Ada Holm","email":"ada@example.com","city":"Kiel","since":2019,"balance":"1204.50"}}}"#
);

const TOOLS: &str = concat!(
    r#"{"jsonrpc":"2.0","id":1,"result":{"resultType":"complete","ttlMs":60000,"cacheScope":"public","tools":["#,
    r#"{"name":"echo","description":"Answers","inputSchema":{"type":"object"}},"#,
    r#"{"name":"stream","description":"Streams a thousand events","inputSchema":{"type":"object"}},"#,
    r#"{"name":"watch","description":"Streams until nobody reads","inputSchema":{"type":"object"}}]}}"#
);

const UNKNOWN: &str = r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32601,"message":"Method not found"}}"#;

const EVENT: &str =
    concat!(r#"data: {"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":"ok"}}"#, "\n\n");

const LAST: &str = concat!(r#"data: {"jsonrpc":"2.0","id":1,"result":{"resultType":"complete","content":[]}}"#, "\n\n");

/// The process: prints its address, and ends when its parent lets go of it.
pub fn child() -> Result<()> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(serve())
}

async fn serve() -> Result<()> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    say(&listener.local_addr()?.to_string())?;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(connection(stream));
        }
    });
    let mut parent = BufReader::new(tokio::io::stdin()).lines();
    while parent.next_line().await?.is_some() {}
    Ok(())
}

async fn connection(stream: TcpStream) {
    let _ = stream.set_nodelay(true);
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(answer)).await;
}

type Answer = Response<UnsyncBoxBody<Bytes, Infallible>>;

/// Every client here calls its requests 1, so nothing needs to be parsed.
async fn answer(request: Request<Incoming>) -> std::result::Result<Answer, Infallible> {
    let (parts, body) = request.into_parts();
    let _ = body.collect().await;
    let header = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    Ok(match (header("mcp-method"), header("mcp-name")) {
        ("tools/call", "echo") => json(ECHO),
        ("tools/call", "stream") => events(Events { left: EVENTS, pace: None }),
        ("tools/call", "watch") => {
            events(Events { left: u32::MAX, pace: Some(tokio::time::interval(Duration::from_millis(20))) })
        }
        ("tools/list", _) => json(TOOLS),
        _ => json(UNKNOWN),
    })
}

fn json(text: &'static str) -> Answer {
    typed("application/json", Full::new(Bytes::from_static(text.as_bytes())).boxed_unsync())
}

fn events(events: Events) -> Answer {
    typed("text/event-stream", events.boxed_unsync())
}

fn typed(content_type: &'static str, body: UnsyncBoxBody<Bytes, Infallible>) -> Answer {
    let mut response = Response::new(body);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// A stream of events: as fast as they are taken, or at a pace.
struct Events {
    left: u32,
    pace: Option<Interval>,
}

impl Body for Events {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<std::result::Result<Frame<Bytes>, Infallible>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        if let Some(pace) = &mut self.pace
            && pace.poll_tick(cx).is_pending()
        {
            return Poll::Pending;
        }
        self.left -= 1;
        let text = if self.left == 0 { LAST } else { EVENT };
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(text.as_bytes())))))
    }
}
