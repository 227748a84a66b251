//! MCP servers over streamable HTTP.

use std::sync::OnceLock;

use bytes::Bytes;
use http::header::{self, HeaderName};
use http::{HeaderMap, HeaderValue, Request, Uri};
use http_body_util::{BodyExt as _, Full};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use marque_core::resource::{InjectedHeader, ResourceId};
use marque_engine::{Engine, describe};

use crate::reply::BodyError;

use super::{Message, UpstreamError, UpstreamResponse};

/// The client for all HTTP upstreams, with kept connections.
#[derive(Debug)]
pub struct HttpClient(OnceLock<Result<Pool, String>>);

type Pool = Client<HttpsConnector<HttpConnector>, Full<Bytes>>;

impl Default for HttpClient {
    fn default() -> Self {
        Self(OnceLock::new())
    }
}

impl HttpClient {
    /// The pool, made at first use: reading the system's roots takes a while.
    fn pool(&self) -> Result<&Pool, String> {
        self.0.get_or_init(pool).as_ref().map_err(Clone::clone)
    }
}

/// Plain HTTP, and HTTPS with the system's roots.
fn pool() -> Result<Pool, String> {
    let mut http = HttpConnector::new();
    http.enforce_http(false);
    http.set_nodelay(true);
    http.set_connect_timeout(Some(std::time::Duration::from_secs(5)));
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let tls = match HttpsConnectorBuilder::new().with_provider_and_native_roots(provider) {
        Ok(tls) => tls,
        // Without roots no `https://` upstream is trusted; plain ones still work.
        Err(error) => {
            tracing::warn!("the system's root certificates cannot be read: {error}");
            let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
            let config = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
            let config = config.map_err(|e| e.to_string())?;
            HttpsConnectorBuilder::new()
                .with_tls_config(config.with_root_certificates(rustls::RootCertStore::empty()).with_no_client_auth())
        }
    };
    let connector = tls.https_or_http().enable_http1().enable_http2().wrap_connector(http);
    Ok(Client::builder(TokioExecutor::new()).pool_max_idle_per_host(256).build(connector))
}

impl HttpClient {
    pub(super) async fn send(
        &self,
        engine: &Engine,
        url: &str,
        credential: Option<&InjectedHeader>,
        message: Message<'_>,
    ) -> Result<UpstreamResponse, UpstreamError> {
        let service = message.service.clone();
        let uri: Uri = url.parse().map_err(|_| unreachable(&service, format!("`{url}` is not an address")))?;
        if !matches!(uri.scheme_str(), Some("http" | "https")) {
            return Err(unreachable(&service, format!("`{url}` is neither `http://` nor `https://`")));
        }
        let mut headers = forwarded(message.headers);
        if let Some(injected) = credential {
            inject(engine, &service, injected, &mut headers)?;
        }
        let mut request = Request::new(Full::new(message.body));
        *request.method_mut() = message.method;
        *request.uri_mut() = uri;
        *request.headers_mut() = headers;
        let pool = self.pool().map_err(|why| unreachable(&service, why))?;
        let response = pool.request(request).await.map_err(|e| unreachable(&service, describe(&e)))?;
        let (mut parts, body) = response.into_parts();
        parts.headers = returned(&parts.headers);
        Ok(UpstreamResponse::from_parts(parts, body.map_err(|e| BodyError(describe(&e))).boxed()))
    }
}

/// Sets the upstream's credential, in place of whatever the caller sent under that name.
fn inject(
    engine: &Engine,
    service: &ResourceId,
    injected: &InjectedHeader,
    headers: &mut HeaderMap,
) -> Result<(), UpstreamError> {
    let why = |why: String| UpstreamError::Credential { service: service.clone(), why };
    let name = HeaderName::try_from(&injected.header).map_err(|_| why(format!("`{}` is not a header", injected.header)))?;
    let secret = engine.secret(&injected.secret).map_err(|e| why(e.to_string()))?;
    let text = format!("{}{}", injected.prefix, secret.expose());
    let mut value = HeaderValue::try_from(text).map_err(|_| why("it does not fit into a header".into()))?;
    value.set_sensitive(true);
    headers.insert(name, value);
    Ok(())
}

/// The caller's headers that go on: an allow-list, so that no credential of the caller ever reaches an upstream.
fn forwarded(from: &HeaderMap) -> HeaderMap {
    let passes = |name: &HeaderName| {
        let name = name.as_str();
        name.starts_with("mcp-")
            || matches!(
                name,
                "accept" | "accept-language" | "content-type" | "user-agent" | "last-event-id" | "traceparent" | "tracestate"
            )
    };
    from.iter().filter(|(name, _)| passes(name)).map(|(n, v)| (n.clone(), v.clone())).collect()
}

/// The upstream's headers that come back: all but those of the connection and those that set credentials.
fn returned(from: &HeaderMap) -> HeaderMap {
    let stays = [
        header::CONNECTION,
        header::TRANSFER_ENCODING,
        header::CONTENT_LENGTH,
        header::UPGRADE,
        header::TE,
        header::TRAILER,
        header::SET_COOKIE,
        header::WWW_AUTHENTICATE,
        header::PROXY_AUTHENTICATE,
        HeaderName::from_static("keep-alive"),
    ];
    from.iter().filter(|(name, _)| !stays.contains(name)).map(|(n, v)| (n.clone(), v.clone())).collect()
}

fn unreachable(service: &ResourceId, why: String) -> UpstreamError {
    UpstreamError::Unreachable { service: service.clone(), why }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_credential_of_the_caller_goes_on() {
        let mut headers = HeaderMap::new();
        for name in ["authorization", "cookie", "x-api-key", "proxy-authorization", "host", "connection", "forwarded"] {
            headers.insert(HeaderName::from_static(name), HeaderValue::from_static("secret"));
        }
        headers.insert("mcp-session-id", HeaderValue::from_static("s"));
        let kept = forwarded(&headers);
        assert_eq!(kept.keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["mcp-session-id"]);
    }
}
