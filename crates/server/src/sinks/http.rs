//! Requests to a receiver over one kept connection, HTTP/1.1: TLS anywhere, plain on loopback only, no redirect followed.

use std::sync::Arc;

use axum::http::{HeaderMap, Method, Request, Uri, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;

use super::SinkError;
use crate::fetch::{is_loopback, system_tls};

/// Posts to one address.
pub(super) struct Poster {
    uri: Uri,
    host: String,
    /// With TLS, unless the address is of this host.
    tls: Option<Arc<ClientConfig>>,
    /// The connection, as long as it is good.
    link: Option<Link>,
}

impl Poster {
    /// For an address, which is checked.
    pub fn new(url: &str) -> Result<Self, SinkError> {
        let bad =
            || SinkError::Invalid(format!("`{url}` is not where an export can go: an https URL, or http on a loopback address"));
        let uri: Uri = url.parse().map_err(|_| bad())?;
        let authority = uri.authority().ok_or_else(bad)?;
        let host = authority.host().trim_matches(['[', ']']).to_owned();
        // A password in an address would end up in logs.
        if authority.as_str().contains('@') || host.is_empty() {
            return Err(bad());
        }
        let tls = match uri.scheme_str() {
            Some("https") => Some(system_tls()?),
            Some("http") if is_loopback(&host) => None,
            _ => return Err(bad()),
        };
        Ok(Self { uri, host, tls, link: None })
    }

    /// Posts a body; what the receiver says is good only with a 2xx. Returns the answer's body, as far as it is small.
    pub async fn post(&mut self, mut headers: HeaderMap, body: Bytes) -> Result<Bytes, SinkError> {
        // Taken out, so that a request that is given up takes its connection with it.
        let kept = match self.link.take() {
            Some(mut link) => link.sender.ready().await.is_ok().then_some(link),
            None => None,
        };
        let mut link = match kept {
            Some(link) => link,
            None => self.connect().await?,
        };
        let authority = self.uri.authority().map_or("", |a| a.as_str());
        let host = authority.parse().map_err(|_| SinkError::Invalid(format!("`{authority}` is not a host")))?;
        headers.insert(header::HOST, host);
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = path(&self.uri);
        *request.headers_mut() = headers;
        let response = link.sender.send_request(request).await?;
        let status = response.status();
        let answer = Limited::new(response.into_body(), MOST).collect().await;
        if !status.is_success() {
            return Err(SinkError::Refused(status));
        }
        // A long answer is of no interest, and the rest of it is in the way of the next request.
        let Ok(answer) = answer else { return Ok(Bytes::new()) };
        self.link = Some(link);
        Ok(answer.to_bytes())
    }

    async fn connect(&self) -> Result<Link, SinkError> {
        let failed = || format!("connect to `{}`", self.host);
        let default = if self.tls.is_some() { 443 } else { 80 };
        let port = self.uri.port_u16().unwrap_or(default);
        let tcp = TcpStream::connect((self.host.as_str(), port)).await.map_err(SinkError::io(failed()))?;
        if self.tls.is_none() && !tcp.peer_addr().is_ok_and(|peer| peer.ip().is_loopback()) {
            return Err(SinkError::Invalid(format!("`{}` is not this host, and plain HTTP stays on it", self.host)));
        }
        match &self.tls {
            Some(tls) => {
                let name = ServerName::try_from(self.host.clone());
                let name = name.map_err(|_| SinkError::Invalid(format!("`{}` is not a host name", self.host)))?;
                let connected = TlsConnector::from(Arc::clone(tls)).connect(name, tcp).await;
                Link::open(connected.map_err(SinkError::io(failed()))?).await
            }
            None => Link::open(tcp).await,
        }
    }
}

/// A connection, which ends with this.
struct Link {
    sender: SendRequest<Full<Bytes>>,
    task: JoinHandle<()>,
}

impl Link {
    async fn open(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Result<Self, SinkError> {
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        let task = tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!("the connection of an export ended: {error}");
            }
        });
        Ok(Self { sender, task })
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The request's target in origin form (RFC 9112 §3.2.1).
fn path(uri: &Uri) -> Uri {
    uri.path_and_query().map_or_else(|| Uri::from_static("/"), |path| Uri::from(path.clone()))
}

const MOST: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_http_stays_on_this_host() {
        for good in ["https://siem.example.com/in", "http://127.0.0.1:4318/v1/logs", "http://localhost/x", "http://[::1]:1/"] {
            assert!(Poster::new(good).is_ok(), "{good}");
        }
        for bad in [
            "http://siem.example.com/in",
            "ftp://127.0.0.1/",
            "https://",
            "/in",
            "https://u:p@example.com/",
            "http://127.0.0.1.example.com/",
        ] {
            assert!(Poster::new(bad).is_err(), "{bad}");
        }
    }
}
