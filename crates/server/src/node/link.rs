//! A node's connection to its server: HTTP/2 over TLS on which both sides show an X.509-SVID.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use axum::http::{Request, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use marque_core::spiffe::SpiffeId;
use marque_engine::{BundleSet, Clock, describe};
use rustls::ClientConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use zeroize::Zeroizing;

use crate::tls_client::known_by_svid;

/// Why a server did not answer, or what it answered.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The address makes no sense.
    #[error("`{0}` is not an address as `https://host:8443`")]
    Address(String),
    /// The server cannot be reached, or is not the trust domain's.
    #[error("the server at `{server}` cannot be reached: {why}")]
    Unreachable {
        /// Where it should be.
        server: String,
        /// Why not.
        why: String,
    },
    /// The server says no.
    #[error("{message}")]
    Refused {
        /// Which sort of no.
        code: String,
        /// In words.
        message: String,
    },
}

/// The node's own X.509-SVID.
#[derive(Clone)]
pub(super) struct Shown {
    pub(super) chain: Vec<Vec<u8>>,
    pub(super) key: Zeroizing<Vec<u8>>,
}

/// One kept connection.
pub(super) struct Link {
    /// `host:port`.
    server: String,
    host: String,
    trust: Arc<Trust>,
    shown: RwLock<Option<Shown>>,
    sender: tokio::sync::Mutex<Option<SendRequest<Full<Bytes>>>>,
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Link({})", self.server)
    }
}

/// By what the server is known: its SPIFFE ID, and the newest bundle of its trust domain.
#[derive(Debug)]
pub(super) struct Trust {
    pub(super) server: SpiffeId,
    pub(super) bundles: RwLock<BundleSet>,
    pub(super) clock: Arc<dyn Clock>,
}

impl Link {
    /// To `https://host:port`; with an X.509-SVID once there is one.
    pub(super) fn new(url: &str, trust: Arc<Trust>, shown: Option<Shown>) -> Result<Self, LinkError> {
        let bad = || LinkError::Address(url.to_owned());
        let uri: Uri = url.parse().map_err(|_| bad())?;
        let host = uri.host().filter(|_| uri.scheme_str() == Some("https")).ok_or_else(bad)?;
        let host = host.trim_matches(['[', ']']).to_owned();
        let server = format!("{}:{}", uri.host().unwrap_or_default(), uri.port_u16().unwrap_or(443));
        Ok(Self { server, host, trust, shown: RwLock::new(shown), sender: tokio::sync::Mutex::default() })
    }

    /// Shows another X.509-SVID, on a new connection.
    pub(super) async fn show(&self, shown: Shown) {
        *self.shown.write().unwrap_or_else(PoisonError::into_inner) = Some(shown);
        *self.sender.lock().await = None;
    }

    /// Takes in the newest bundle of the server's trust domain.
    pub(super) fn trust(&self, bundles: BundleSet) {
        *self.trust.bundles.write().unwrap_or_else(PoisonError::into_inner) = bundles;
    }

    /// Asks, and waits so long for the answer; nothing where the server has nothing new.
    pub(super) async fn ask<T: DeserializeOwned>(
        &self,
        path: &str,
        question: &impl Serialize,
        patience: Duration,
    ) -> Result<Option<T>, LinkError> {
        let body = serde_json::to_vec(question).map_err(|e| self.unreachable(&e))?;
        let late = std::io::Error::new(std::io::ErrorKind::TimedOut, "it does not answer in time");
        let answered = match tokio::time::timeout(patience, self.exchange(path, body)).await {
            Ok(answered) => answered,
            Err(_) => Err(self.unreachable(&late)),
        };
        if matches!(answered, Err(LinkError::Unreachable { .. })) {
            // Whoever comes next tries anew. If it is locked, somebody does already.
            if let Ok(mut kept) = self.sender.try_lock() {
                *kept = None;
            }
        }
        let (status, body) = answered?;
        if status == StatusCode::NO_CONTENT {
            return Ok(None);
        }
        if status.is_success() {
            return serde_json::from_slice(&body).map(Some).map_err(|e| self.unreachable(&e));
        }
        let told: Value = serde_json::from_slice(&body).unwrap_or_default();
        let text = |field: &str| told.get(field).and_then(Value::as_str).map(str::to_owned);
        let message = text("message").unwrap_or_else(|| format!("the server answered {status}"));
        Err(LinkError::Refused { code: text("error").unwrap_or_default(), message })
    }

    async fn exchange(&self, path: &str, body: Vec<u8>) -> Result<(StatusCode, Bytes), LinkError> {
        let request = Request::post(format!("https://{}{path}", self.server))
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(body)))
            .map_err(|e| self.unreachable(&e))?;
        let mut sender = self.sender().await?;
        let response = sender.send_request(request).await.map_err(|e| self.unreachable(&e))?;
        let status = response.status();
        let body = Limited::new(response.into_body(), MOST).collect().await;
        let body = body.map_err(|e| self.unreachable(&*e))?.to_bytes();
        Ok((status, body))
    }

    async fn sender(&self) -> Result<SendRequest<Full<Bytes>>, LinkError> {
        let mut kept = self.sender.lock().await;
        if let Some(sender) = kept.as_ref().filter(|sender| !sender.is_closed()) {
            return Ok(sender.clone());
        }
        let late = std::io::Error::new(std::io::ErrorKind::TimedOut, "no connection comes about");
        let sender = match tokio::time::timeout(CONNECT, self.connect()).await {
            Ok(connected) => connected?,
            Err(_) => return Err(self.unreachable(&late)),
        };
        *kept = Some(sender.clone());
        Ok(sender)
    }

    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>, LinkError> {
        let tls = self.tls().map_err(|e| self.unreachable(&e))?;
        let name = ServerName::try_from(self.host.clone()).map_err(|e| self.unreachable(&e))?;
        let tcp = TcpStream::connect(self.server.as_str()).await.map_err(|e| self.unreachable(&e))?;
        let _ = tcp.set_nodelay(true);
        let tls = TlsConnector::from(Arc::new(tls)).connect(name, tcp).await.map_err(|e| self.unreachable(&e))?;
        let connected = handshake(TokioExecutor::new(), TokioIo::new(tls)).await;
        let (sender, connection) = connected.map_err(|e| self.unreachable(&e))?;
        tokio::spawn(connection);
        Ok(sender)
    }

    fn tls(&self) -> Result<ClientConfig, rustls::Error> {
        let trust = Arc::clone(&self.trust);
        let config = known_by_svid(move |chain| {
            let bundles = trust.bundles.read().unwrap_or_else(PoisonError::into_inner);
            bundles.verify_x509_svid(chain, trust.clock.now()).is_ok_and(|verified| verified.id == trust.server)
        })?;
        let mut config = match self.shown.read().unwrap_or_else(PoisonError::into_inner).as_ref() {
            None => config.with_no_client_auth(),
            Some(Shown { chain, key }) => {
                let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.to_vec()));
                config.with_client_auth_cert(chain.iter().cloned().map(CertificateDer::from).collect(), key)?
            }
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(config)
    }

    fn unreachable(&self, error: &dyn std::error::Error) -> LinkError {
        LinkError::Unreachable { server: self.server.clone(), why: describe(error) }
    }
}

const MOST: usize = 16 << 20;
const CONNECT: Duration = Duration::from_secs(3);
