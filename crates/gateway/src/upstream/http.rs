//! MCP servers over streamable HTTP.

use bytes::Bytes;
use http::header::{self, HeaderName};
use http::{HeaderMap, HeaderValue, Request, Uri};
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use marque_core::resource::{InjectedHeader, ResourceId};
use marque_engine::Engine;

use crate::reply::BodyError;

use super::{Message, UpstreamError, UpstreamResponse};

/// The client for all HTTP upstreams, with kept connections.
#[derive(Debug)]
pub struct HttpClient(Client<HttpConnector, Full<Bytes>>);

impl Default for HttpClient {
    fn default() -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(std::time::Duration::from_secs(5)));
        Self(Client::builder(TokioExecutor::new()).pool_max_idle_per_host(256).build(connector))
    }
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
        if uri.scheme_str() != Some("http") {
            return Err(unreachable(&service, "only `http://` upstreams are supported yet".into()));
        }
        let mut headers = forwarded(message.headers);
        if let Some(injected) = credential {
            inject(engine, &service, injected, &mut headers)?;
        }
        let mut request = Request::new(Full::new(message.body));
        *request.method_mut() = message.method;
        *request.uri_mut() = uri;
        *request.headers_mut() = headers;
        let response = self.0.request(request).await.map_err(|e| unreachable(&service, describe(&e)))?;
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

fn describe(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(e) = source {
        text = format!("{text}: {e}");
        source = e.source();
    }
    text
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
