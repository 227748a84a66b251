//! The one answer that everyone gets whom a launch does not serve: that it is so, and no more. Why stands in the log.

use std::time::Duration;

use axum::extract::Request;
use axum::http::header::CONNECTION;
use axum::http::{HeaderValue, StatusCode, Version};
use axum::response::{IntoResponse as _, Response};
use axum::{Json, Router};
use serde_json::json;
use tokio::net::TcpStream;

use crate::serve::http;

/// Answers a connection, and closes it.
pub(super) async fn answer(stream: TcpStream) {
    let router: Router = Router::new().fallback(refused);
    // Whoever sends nothing, or keeps the connection open, has it no longer than this.
    let _ = tokio::time::timeout(PATIENCE, http(stream, router)).await;
}

async fn refused(request: Request) -> Response {
    let closes = request.version() < Version::HTTP_2;
    // What was sent is taken first: to close on unread bytes is a reset, which may overtake the answer.
    let _ = axum::body::to_bytes(request.into_body(), MAX_BODY).await;
    let mut response = (StatusCode::FORBIDDEN, Json(json!({ "error": REFUSED }))).into_response();
    if closes {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

const REFUSED: &str = "the gateway of a launch serves the processes of that launch, and this is none that it may serve";
const PATIENCE: Duration = Duration::from_secs(10);
const MAX_BODY: usize = 4 << 20;
