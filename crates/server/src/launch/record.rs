//! The one question that every process of a launch may ask at the gateway's address, whichever program it runs: what the
//! task did last. A hook of git asks it, so that a commit can name its record. The answer is an identifier and no secret.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use axum::{Json, Router};
use marque_core::id::TaskId;
use marque_engine::Engine;
use serde_json::json;
use tokio::net::TcpStream;

use crate::serve::http;

/// Whether a connection begins with that question. Nothing is taken from it.
pub(super) async fn is_asked(stream: &TcpStream) -> bool {
    let mut head = [0; QUESTION.len()];
    let seen = tokio::time::timeout(PATIENCE, stream.peek(&mut head)).await;
    // What comes in smaller pieces is asked as anything else is.
    matches!(seen, Ok(Ok(count)) if count == QUESTION.len()) && head == *QUESTION
}

/// Answers it until the connection ends.
pub(super) async fn serve(stream: TcpStream, engine: Arc<Engine>, task: TaskId) {
    http(stream, Router::new().route("/marque/record", get(newest)).with_state((engine, task))).await;
}

async fn newest(State((engine, task)): State<(Arc<Engine>, TaskId)>) -> Response {
    match tokio::task::spawn_blocking(move || engine.newest_record(task)).await {
        Ok(Ok(record)) => Json(json!({ "task": task, "record": record })).into_response(),
        Ok(Err(error)) => {
            tracing::error!("the newest record of `{task}` cannot be told: {}", error.chain());
            StatusCode::SERVICE_UNAVAILABLE.into_response()
        }
        Err(_) => StatusCode::SERVICE_UNAVAILABLE.into_response(),
    }
}

const QUESTION: &[u8; 19] = b"GET /marque/record ";
const PATIENCE: Duration = Duration::from_secs(5);
