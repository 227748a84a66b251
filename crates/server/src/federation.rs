//! Keeping foreign documents fresh: the bundles of other trust domains (SPIFFE Federation §4, §5) and the keys of issuers
//! whose tokens attest workloads.

use std::sync::Arc;
use std::time::Duration;

use marque_engine::{EndpointUrl, Engine, EngineError, Profile, Relationship, TrustedIssuer, describe};
use rustls::ClientConfig;

use crate::fetch::{FetchError, Fetched, fetch, system_tls};
use crate::tls_client::known_by_svid;

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
                    tracing::warn!(trust_domain = %relationship.trust_domain, "the bundle was not fetched: {}", describe(&error));
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
                tracing::warn!(issuer = %trusted.issuer, "the keys were not fetched: {}", describe(&error));
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
/// server's own trust domain.
fn spiffe_tls(engine: &Arc<Engine>, relationship: &Relationship) -> Result<Arc<ClientConfig>, rustls::Error> {
    let (engine, relationship) = (Arc::clone(engine), relationship.clone());
    let is_it = move |chain: &[&[u8]]| {
        let mut latest = engine.foreign_bundles();
        latest.put(engine.authorities().bundle().clone());
        relationship.check_server(chain, &latest, engine.now()).is_ok()
    };
    Ok(Arc::new(known_by_svid(is_it)?.with_no_client_auth()))
}

const MAX_REDIRECTS: usize = 5;
const RETRY: Duration = Duration::from_secs(30);
const REFRESH: Duration = Duration::from_secs(300);
