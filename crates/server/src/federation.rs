//! Keeping foreign documents fresh: the bundles of other trust domains (SPIFFE Federation §4, §5) and the keys of issuers
//! whose tokens attest workloads.

use std::sync::Arc;
use std::time::Duration;

use marque_engine::{EndpointUrl, Engine, EngineError, Profile, Relationship, TrustedIssuer};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, SignatureScheme};

use crate::fetch::{FetchError, Fetched, fetch, system_tls};

/// Why a foreign document is not there.
#[derive(Debug, thiserror::Error)]
pub enum FederationError {
    /// It could not be fetched.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// It is not what it should be.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// TLS cannot be set up.
    #[error("TLS cannot be set up")]
    Tls(#[from] rustls::Error),
    /// The endpoint sends from one place to the next.
    #[error("`{0}` redirects too often")]
    Redirects(String),
}

/// Polls the bundle of another trust domain for good: as often as it asks for, or every five minutes; after a failure
/// again at the next turn (SPIFFE Federation §4.1, §5.1.2).
pub async fn follow(engine: Arc<Engine>, relationship: Relationship) {
    let mut failing = false;
    loop {
        let pause = match poll(&engine, &relationship).await {
            Ok(pause) => {
                failing = false;
                pause
            }
            Err(error) => {
                if !failing {
                    tracing::warn!(trust_domain = %relationship.trust_domain, "the bundle was not fetched: {}", chain(&error));
                }
                failing = true;
                RETRY
            }
        };
        tokio::time::sleep(pause).await;
    }
}

/// Fetches the bundle once; the answer is when to look again.
pub async fn poll(engine: &Arc<Engine>, relationship: &Relationship) -> Result<Duration, FederationError> {
    let tls = match &relationship.profile {
        Profile::HttpsWeb => system_tls()?,
        Profile::HttpsSpiffe { .. } => spiffe_tls(engine, relationship)?,
    };
    let mut url: EndpointUrl = relationship.url.clone();
    for _ in 0..MAX_REDIRECTS {
        match fetch(url.as_str(), &tls).await? {
            // For this fetch only: the next one begins at the configured address again (SPIFFE Federation §5.2.1.4).
            Fetched::Moved(to) => url = relationship.redirect(&url, &to).map_err(EngineError::from)?,
            Fetched::Document(body) => {
                let bundle = relationship.read(&body).map_err(EngineError::from)?;
                let pause = bundle.poll_interval().seconds().clamp(5, 3600);
                engine.offer_bundle(bundle)?;
                return Ok(Duration::from_secs(pause));
            }
        }
    }
    Err(FederationError::Redirects(relationship.url.as_str().to_owned()))
}

/// Keeps the keys of an issuer fresh for good.
pub async fn follow_issuer(engine: Arc<Engine>, trusted: TrustedIssuer) {
    loop {
        let pause = match fetch_issuer(&engine, &trusted).await {
            Ok(()) => REFRESH,
            Err(error) => {
                tracing::warn!(issuer = %trusted.issuer, "the keys were not fetched: {}", chain(&error));
                RETRY
            }
        };
        tokio::time::sleep(pause).await;
    }
}

/// Fetches an issuer's keys once, by way of its discovery document.
pub async fn fetch_issuer(engine: &Arc<Engine>, trusted: &TrustedIssuer) -> Result<(), FederationError> {
    let tls = system_tls()?;
    let document = |fetched| match fetched {
        Fetched::Document(bytes) => Ok(bytes),
        Fetched::Moved(to) => Err(FetchError::Url(to)),
    };
    let discovery = document(fetch(&trusted.issuer.discovery_url(), &tls).await?)?;
    let jwks_uri = engine.keys_of(&trusted.issuer, &discovery)?;
    let jwks = document(fetch(&jwks_uri, &tls).await?)?;
    Ok(engine.trust_issuer(trusted, &jwks)?)
}

/// TLS to an endpoint that shows an X.509-SVID (SPIFFE Federation §5.2.2): checked against the newest bundle of the
/// server's own trust domain, and never by its host name.
fn spiffe_tls(engine: &Arc<Engine>, relationship: &Relationship) -> Result<Arc<ClientConfig>, rustls::Error> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier =
        SpiffeServer { engine: Arc::clone(engine), relationship: relationship.clone(), provider: Arc::clone(&provider) };
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(Arc::new(config.dangerous().with_custom_certificate_verifier(Arc::new(verifier)).with_no_client_auth()))
}

#[derive(Debug)]
struct SpiffeServer {
    engine: Arc<Engine>,
    relationship: Relationship,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for SpiffeServer {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let chain: Vec<&[u8]> = [leaf].into_iter().chain(intermediates).map(AsRef::as_ref).collect();
        let mut latest = self.engine.foreign_bundles();
        latest.put(self.engine.authorities().bundle().clone());
        let checked = self.relationship.check_server(&chain, &latest, self.engine.now());
        let refused = |_| rustls::Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure);
        checked.map(|_| ServerCertVerified::assertion()).map_err(refused)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// The whole chain of an error in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(e) = source {
        text = format!("{text}: {e}");
        source = e.source();
    }
    text
}

const MAX_REDIRECTS: usize = 5;
const RETRY: Duration = Duration::from_secs(30);
const REFRESH: Duration = Duration::from_secs(300);
