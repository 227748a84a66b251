//! Requests to witnesses (C2SP tlog-witness v1.0.0, "add-checkpoint"), off the path of everything else: HTTPS anywhere, plain HTTP on
//! loopback only, no redirect followed.

use std::sync::Arc;
use std::time::Duration;

use axum::http::{Method, Request, Uri, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use marque_engine::{EngineError, WitnessAnswer, WitnessRequest, Witnesses, describe};
use tokio::task::JoinSet;

use crate::fetch::{is_loopback, system_tls};

/// Sends the requests for one log.
#[derive(Clone, Debug)]
pub struct Witnessing {
    witnesses: Arc<Witnesses>,
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
}

/// Why witnesses cannot be asked.
#[derive(Debug, thiserror::Error)]
pub enum WitnessingError {
    /// An address makes no sense, or is plain HTTP beyond this host.
    #[error("witness `{name}` cannot be asked at `{url}`: use an https URL, or http on a loopback address")]
    Url {
        /// The policy's name of it.
        name: String,
        /// Where it is said to be.
        url: String,
    },
    /// There is no TLS.
    #[error("TLS cannot be set up")]
    Tls(#[from] rustls::Error),
}

impl Witnessing {
    /// With the roots of this system. Every address is checked before anything is sent.
    pub fn new(witnesses: Arc<Witnesses>) -> Result<Self, WitnessingError> {
        if let Some(bad) = witnesses.status().into_iter().find(|witness| !is_allowed(&witness.url)) {
            return Err(WitnessingError::Url { name: bad.name, url: bad.url });
        }
        let mut http = HttpConnector::new();
        http.enforce_http(false);
        http.set_nodelay(true);
        http.set_connect_timeout(Some(PATIENCE));
        let tls = Arc::unwrap_or_clone(system_tls()?);
        let connector = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().wrap_connector(http);
        Ok(Self { witnesses, client: Client::builder(TokioExecutor::new()).build(connector) })
    }

    /// Asks the witnesses for good: whenever a checkpoint is published, and again where one did not answer.
    pub async fn run(self) {
        let mut heads = self.witnesses.heads();
        let mut under_way: JoinSet<(usize, WitnessAnswer)> = JoinSet::new();
        let mut is_well = true;
        loop {
            let requests = self.blocking(|witnesses| witnesses.requests()).await;
            said_once(&mut is_well, requests.as_ref().err());
            for request in requests.unwrap_or_default() {
                let client = self.clone();
                under_way.spawn(async move { (request.witness, client.send(request).await) });
            }
            tokio::select! {
                Some(Ok((witness, answer))) = under_way.join_next() => self.answered(witness, answer).await,
                Ok(()) = heads.changed() => {}
                () = tokio::time::sleep(PAUSE) => {}
            }
        }
    }

    /// Hands an answer on, one at a time, and says it once when a witness fails and once when it is back.
    async fn answered(&self, witness: usize, answer: WitnessAnswer) {
        match self.blocking(move |witnesses| witnesses.answered(witness, answer)).await {
            Ok(None) => {}
            Ok(Some(change)) => match change.trouble {
                Some(trouble) => tracing::warn!(witness = change.name, "a witness does not cosign: {trouble}"),
                None => tracing::info!(witness = change.name, "a witness cosigns again"),
            },
            Err(error) => tracing::error!("a cosignature was not published: {}", error.chain()),
        }
    }

    /// Runs what reads and writes files off the threads that serve.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Witnesses) -> Result<T, EngineError> + Send + 'static,
    ) -> Result<T, EngineError> {
        let witnesses = Arc::clone(&self.witnesses);
        let done = tokio::task::spawn_blocking(move || work(&witnesses)).await;
        done.map_err(|_| EngineError::Invalid("the work ended early".into()))?
    }

    async fn send(&self, request: WitnessRequest) -> WitnessAnswer {
        match tokio::time::timeout(PATIENCE, self.post(request)).await {
            Ok(Ok((status, body))) => WitnessAnswer::Answered { status, body },
            Ok(Err(why)) => WitnessAnswer::Failed(why),
            Err(_) => WitnessAnswer::Failed(format!("there was no answer within {} seconds", PATIENCE.as_secs())),
        }
    }

    async fn post(&self, WitnessRequest { url, body, .. }: WitnessRequest) -> Result<(u16, String), String> {
        let request = Request::builder().method(Method::POST).uri(url).header(header::CONTENT_TYPE, "text/plain; charset=utf-8");
        let request = request.body(Full::new(Bytes::from(body))).map_err(|e| e.to_string())?;
        let response = self.client.request(request).await.map_err(|e| describe(&e))?;
        let status = response.status().as_u16();
        let body = Limited::new(response.into_body(), MOST).collect().await.map_err(|e| e.to_string())?.to_bytes();
        let body = String::from_utf8(body.to_vec()).map_err(|_| "the answer is not text".to_owned())?;
        Ok((status, body))
    }
}

/// Says that nothing can be asked when that begins.
fn said_once(is_well: &mut bool, error: Option<&EngineError>) {
    if let Some(error) = error.filter(|_| *is_well) {
        tracing::error!("the witnesses cannot be asked: {}", error.chain());
    }
    *is_well = error.is_none();
}

/// Answers are signed, so that plain HTTP could forge none; but it could keep them back, so it stays on this host.
fn is_allowed(url: &str) -> bool {
    let Ok(uri) = url.parse::<Uri>() else { return false };
    let (Some(scheme), Some(host)) = (uri.scheme_str(), uri.host()) else { return false };
    // A password in an address would end up in the status, and a query has no place before the path that is added.
    let is_plain = uri.query().is_none() && uri.authority().is_none_or(|authority| !authority.as_str().contains('@'));
    is_plain && (scheme == "https" || (scheme == "http" && is_loopback(host)))
}

/// How long one request may take: a witness that hangs is a witness that is down.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often it is looked whether something is due, though nothing was published.
const PAUSE: Duration = Duration::from_millis(250);
/// The longest answer that is read.
const MOST: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_http_stays_on_this_host() {
        let good = [
            "https://w.example",
            "https://w.example:8443/a/b/",
            "http://127.0.0.1:8446",
            "http://[::1]:1/w",
            "http://localhost:9",
        ];
        let bad = [
            "http://w.example",
            "http://10.0.0.1:8446",
            "http://127.0.0.1.w.example",
            "ftp://127.0.0.1",
            "w.example",
            "",
            "https://me:secret@w.example",
            "https://w.example/?a=b",
        ];
        assert!(good.iter().all(|url| is_allowed(url)));
        assert_eq!(bad.iter().find(|url| is_allowed(url)), None);
    }
}
