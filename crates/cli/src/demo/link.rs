//! An agent's HTTP connections: mutual TLS with its SVID, or the plain loopback address that `marque run` gave it.

use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use marque_server::pb::workload::X509svid;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::failure::{Failure, Result};

/// TLS with an SVID on this side and the trust domain's roots for the other.
pub fn mutual_tls(svid: &X509svid) -> Result<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(svid.bundle.clone()))?;
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(svid.x509_svid_key.clone()));
    let chain = vec![CertificateDer::from(svid.x509_svid.clone())];
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, key)?;
    Ok(Arc::new(config))
}

/// One kept connection to one server.
pub struct Link {
    address: String,
    tls: Option<Arc<ClientConfig>>,
    sender: Option<SendRequest<Full<Bytes>>>,
}

impl Link {
    /// To `http://host:port` or, with TLS, `https://host:port`.
    pub fn new(url: &str, tls: Option<Arc<ClientConfig>>) -> Self {
        let address = url.split_once("://").map_or(url, |(_, rest)| rest).trim_end_matches('/').to_owned();
        Self { address, tls, sender: None }
    }

    pub async fn send(&mut self, mut request: Request<Full<Bytes>>) -> Result<Response<Incoming>> {
        request.headers_mut().insert(http::header::HOST, self.address.parse()?);
        let mut sender = match self.sender.take().filter(|s| !s.is_closed()) {
            Some(sender) => sender,
            None => self.connect().await?,
        };
        sender.ready().await?;
        let response = sender.send_request(request).await?;
        self.sender = Some(sender);
        Ok(response)
    }

    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>> {
        let failed = |e: std::io::Error| Failure::failed(format!("cannot connect to `{}`: {e}", self.address));
        let stream = TcpStream::connect(&self.address).await.map_err(failed)?;
        stream.set_nodelay(true)?;
        let sender = match &self.tls {
            None => {
                let (sender, connection) = handshake(TokioIo::new(stream)).await?;
                tokio::spawn(connection);
                sender
            }
            Some(config) => {
                let host = self.address.rsplit_once(':').map_or(self.address.as_str(), |(host, _)| host);
                let name = ServerName::try_from(host.to_owned())?;
                let stream = TlsConnector::from(Arc::clone(config)).connect(name, stream).await.map_err(failed)?;
                let (sender, connection) = handshake(TokioIo::new(stream)).await?;
                tokio::spawn(connection);
                sender
            }
        };
        Ok(sender)
    }
}
