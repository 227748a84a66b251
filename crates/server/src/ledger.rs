//! The published log over HTTP, for whoever wants to verify it (C2SP tlog-tiles v0.1.0, "APIs").
//!
//! Nobody has to say who they are: what is published names people by pseudonyms and content by commitments.

use axum::Router;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use marque_engine::{Published, Served, describe, sha256};

/// The routes: `/ledger/` and a path of tlog-tiles v0.1.0, `verifier` or `checkpoint.witnessed`.
pub fn router(published: Published) -> Router {
    Router::new().route("/ledger/{*path}", get(file)).with_state(published)
}

async fn file(State(published): State<Published>, Path(path): Path<String>, headers: HeaderMap) -> Response {
    match tokio::task::spawn_blocking(move || published.file(&path)).await {
        Ok(Ok(Some(served))) => answer(served, &headers),
        Ok(Ok(None)) => (StatusCode::NOT_FOUND, no_store(), "the log has no such file\n").into_response(),
        Ok(Err(error)) => failed(&error),
        Err(error) => failed(&error),
    }
}

/// The file, or no more than that it is the one that the client has (RFC 9110 §13.1.2).
fn answer(served: Served, headers: &HeaderMap) -> Response {
    let Served { bytes, content_type, cache_control } = served;
    let tag = format!("\"{}\"", sha256(&bytes).to_string().trim_start_matches("sha256:"));
    let known = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    let is_known = known.flat_map(|list| list.split(',')).any(|known| matches!(known.trim(), "*") || weakly(known) == tag);
    let caching = [(header::CACHE_CONTROL, cache_control.to_owned()), (header::ETAG, tag)];
    if is_known {
        return (StatusCode::NOT_MODIFIED, caching).into_response();
    }
    let safe = [(header::CONTENT_TYPE, content_type), (header::X_CONTENT_TYPE_OPTIONS, "nosniff")];
    (caching, safe, bytes).into_response()
}

/// A tag for the weak comparison (RFC 9110 §8.8.3.2).
fn weakly(tag: &str) -> &str {
    let tag = tag.trim();
    tag.strip_prefix("W/").unwrap_or(tag)
}

/// What is not there yet may be there in a second.
fn no_store() -> HeaderMap {
    HeaderMap::from_iter([(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))])
}

fn failed(error: &dyn std::error::Error) -> Response {
    tracing::error!("the published log cannot be read: {}", describe(error));
    (StatusCode::INTERNAL_SERVER_ERROR, no_store()).into_response()
}
