//! TLS with the server's own X.509-SVID, or under some names with a certificate of a public CA; clients may show theirs.

use std::sync::Arc;

use marque_engine::{Engine, EngineError, NodePeer, Workload};
use rustls::RootCertStore;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::{ClientHello, ResolvesServerCert, ServerConfig, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::web::Web;

/// Accepts TLS connections for an engine.
#[derive(Clone)]
pub struct Tls {
    engine: Arc<Engine>,
    acceptor: Arc<std::sync::RwLock<TlsAcceptor>>,
    names: Arc<[String]>,
    web: Option<Arc<Web>>,
}

/// What a TLS client showed.
#[derive(Clone, Debug, Default)]
pub struct Client {
    /// The thumbprint of its certificate, whose key it has (RFC 8705 `x5t#S256`).
    pub thumbprint: Option<String>,
    /// The workload, if the certificate counts.
    pub workload: Option<Workload>,
    /// The node, if the certificate is one's; whether it still counts, every call asks.
    pub node: Option<NodePeer>,
}

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// No certificate could be issued.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The library does not take it.
    #[error("TLS cannot be set up")]
    Rustls(#[from] rustls::Error),
    /// The trust domain's certificates are not usable as roots.
    #[error("the trust domain's certificates cannot be used")]
    Verifier(#[from] rustls::server::VerifierBuilderError),
}

impl Tls {
    /// TLS 1.2 and 1.3 under `names` (host names), with a fresh certificate.
    pub fn new(engine: Arc<Engine>, names: &[String]) -> Result<Self, TlsError> {
        Self::showing(engine, names.into(), None)
    }

    /// The same for another listener, where who asks for a name of `web`'s is shown that certificate. It is renewed apart.
    pub fn with_web(&self, web: Web) -> Result<Self, TlsError> {
        Self::showing(Arc::clone(&self.engine), Arc::clone(&self.names), Some(Arc::new(web)))
    }

    fn showing(engine: Arc<Engine>, names: Arc<[String]>, web: Option<Arc<Web>>) -> Result<Self, TlsError> {
        let acceptor = Arc::new(std::sync::RwLock::new(acceptor(&engine, &names, web.clone())?));
        Ok(Self { engine, acceptor, names, web })
    }

    /// Looks whether the web certificate's files have changed, if there is one; to be called often.
    pub fn refresh_web(&self) {
        if let Some(web) = &self.web {
            web.refresh();
        }
    }

    /// Shows a fresh certificate from now on, and knows the authorities as they are now: to be called well within a
    /// certificate's hour, and whenever the trust domain's keys change. Connections that are open stay open.
    pub fn renew(&self) -> Result<(), TlsError> {
        let fresh = acceptor(&self.engine, &self.names, self.web.clone())?;
        if let Ok(mut current) = self.acceptor.write() {
            *current = fresh;
        }
        Ok(())
    }

    /// Takes a connection. A client that shows no certificate, or one that no longer counts, is nobody, and is told so
    /// by whoever answers its requests.
    pub async fn accept(&self, stream: TcpStream) -> std::io::Result<(TlsStream<TcpStream>, Client)> {
        let _ = stream.set_nodelay(true);
        self.accept_on(stream).await
    }

    /// As [`Tls::accept`], on a stream of any sort.
    pub async fn accept_on<S>(&self, stream: S) -> std::io::Result<(TlsStream<S>, Client)>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let late = |_| std::io::Error::new(std::io::ErrorKind::TimedOut, "the TLS handshake took too long");
        let acceptor = self.acceptor.read().map(|a| a.clone()).map_err(|_| std::io::Error::other("TLS is not set up"))?;
        let stream = tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await.map_err(late)??;
        let client = match stream.get_ref().1.peer_certificates() {
            None => Client::default(),
            Some(chain) => {
                let chain: Vec<&[u8]> = chain.iter().map(AsRef::as_ref).collect();
                let thumbprint = chain.first().map(|leaf| marque_engine::certificate_thumbprint(leaf));
                let node = self.engine.authenticate_node(&chain).ok();
                let workload = if node.is_some() {
                    None
                } else {
                    let workload = self.engine.authenticate_certificate(&chain);
                    workload.inspect_err(|e| tracing::warn!("a certificate was refused: {e}")).ok()
                };
                Client { thumbprint, workload, node }
            }
        };
        Ok((stream, client))
    }
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Tls({})", self.names.join(", "))
    }
}

/// What clients are shown: by the name that they ask for.
#[derive(Debug)]
struct Shown {
    own: Arc<CertifiedKey>,
    web: Option<Arc<Web>>,
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let web = self.web.as_ref().zip(hello.server_name()).and_then(|(web, name)| web.shown(name));
        Some(web.unwrap_or_else(|| Arc::clone(&self.own)))
    }
}

fn acceptor(engine: &Engine, names: &[String], web: Option<Arc<Web>>) -> Result<TlsAcceptor, TlsError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut roots = RootCertStore::empty();
    for der in &engine.authorities().bundle().x509_authorities {
        roots.add(CertificateDer::from(der.clone()))?;
    }
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider)).allow_unauthenticated().build()?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(Arc::new(Shown { own: Arc::new(certified(engine, names)?), web }));
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

fn certified(engine: &Engine, names: &[String]) -> Result<CertifiedKey, TlsError> {
    let ips = names.iter().filter_map(|n| n.parse().ok()).collect::<Vec<_>>();
    let dns: Vec<String> = names.iter().filter(|n| n.parse::<std::net::IpAddr>().is_err()).cloned().collect();
    let svid = engine.server_svid(&dns, &ips)?;
    let chain = svid.chain.iter().cloned().map(CertificateDer::from).collect();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(svid.key_pkcs8.to_vec()));
    let key = rustls::crypto::aws_lc_rs::sign::any_supported_type(&key)?;
    Ok(CertifiedKey::new(chain, key))
}

const HANDSHAKE_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(10);
