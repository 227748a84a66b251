//! Fetching small documents over HTTPS: keys of issuers, bundles of other trust domains.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::http::{Request, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// What an endpoint answered.
#[derive(Debug)]
pub enum Fetched {
    /// A document.
    Document(Vec<u8>),
    /// It is elsewhere (`Location`).
    Moved(String),
}

/// Why nothing was fetched.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The address makes no sense, or is plain HTTP beyond this host.
    #[error("`{0}` cannot be fetched: an https URL, or http on a loopback address")]
    Url(String),
    /// The endpoint cannot be reached, or its certificate is refused.
    #[error("`{url}` cannot be reached")]
    Connect {
        /// What was asked for.
        url: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The endpoint does not speak HTTP as it should.
    #[error("`{0}` did not answer as it should")]
    Answer(String),
}

/// Fetches a document of at most 1 MiB within 10 seconds. Redirects are the caller's business.
pub async fn fetch(url: &str, tls: &Arc<ClientConfig>) -> Result<Fetched, FetchError> {
    let late = |_| FetchError::Answer(url.to_owned());
    tokio::time::timeout(PATIENCE, fetch_at_leisure(url, tls)).await.map_err(late)?
}

async fn fetch_at_leisure(url: &str, tls: &Arc<ClientConfig>) -> Result<Fetched, FetchError> {
    let bad = || FetchError::Url(url.to_owned());
    let uri: Uri = url.parse().map_err(|_| bad())?;
    let host = uri.host().ok_or_else(bad)?.trim_matches(['[', ']']).to_owned();
    let connect = |source| FetchError::Connect { url: url.to_owned(), source };
    match uri.scheme_str() {
        Some("https") => {
            let tcp = TcpStream::connect((host.as_str(), uri.port_u16().unwrap_or(443))).await.map_err(connect)?;
            let name = ServerName::try_from(host).map_err(|_| bad())?;
            get(url, &uri, TlsConnector::from(Arc::clone(tls)).connect(name, tcp).await.map_err(connect)?).await
        }
        // A loopback issuer or endpoint is this very host.
        Some("http") if matches!(host.as_str(), "127.0.0.1" | "::1" | "localhost") => {
            let tcp = TcpStream::connect((host.as_str(), uri.port_u16().unwrap_or(80))).await.map_err(connect)?;
            get(url, &uri, tcp).await
        }
        _ => Err(bad()),
    }
}

async fn get(url: &str, uri: &Uri, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Result<Fetched, FetchError> {
    let wrong = || FetchError::Answer(url.to_owned());
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|_| wrong())?;
    tokio::spawn(connection);
    let path = uri.path_and_query().map_or("/", |p| p.as_str());
    let authority = uri.authority().map_or("", |a| a.as_str());
    let request = Request::get(path).header(header::HOST, authority).header(header::ACCEPT, "application/json");
    let request = request.body(Empty::<Bytes>::new()).map_err(|_| wrong())?;
    let response = sender.send_request(request).await.map_err(|_| wrong())?;
    if response.status().is_redirection() {
        let to = response.headers().get(header::LOCATION).and_then(|v| v.to_str().ok());
        return to.map(|to| Fetched::Moved(to.to_owned())).ok_or_else(wrong);
    }
    if response.status() != StatusCode::OK {
        return Err(wrong());
    }
    let body = Limited::new(response.into_body(), MOST).collect().await.map_err(|_| wrong())?;
    Ok(Fetched::Document(body.to_bytes().to_vec()))
}

/// Whether the host of a URL is this one, by name or address: there plain HTTP passes no network.
pub fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// TLS with the roots of this system.
pub fn system_tls() -> Result<Arc<ClientConfig>, rustls::Error> {
    let mut roots = rustls::RootCertStore::empty();
    // What cannot be read is no root: then nothing that needs it is trusted.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(Arc::new(config.with_root_certificates(roots).with_no_client_auth()))
}

const MOST: usize = 1 << 20;
const PATIENCE: Duration = Duration::from_secs(10);
