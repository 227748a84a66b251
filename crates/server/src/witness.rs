//! A witness over HTTP (C2SP tlog-witness v1.0.0), and what a root log adds to one.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use marque_engine::{EngineError, MAX_ADD_CHECKPOINT_SIZE, RootLog, Witness};

/// The routes of a witness: `POST /add-checkpoint`, and `GET /<hex SHA-256 of an origin>/checkpoint` for monitors.
pub fn router(witness: Arc<Witness>) -> Router {
    Router::new()
        .route("/add-checkpoint", post(add_checkpoint))
        .route("/{origin}/checkpoint", get(latest))
        .layer(DefaultBodyLimit::max(MAX_ADD_CHECKPOINT_SIZE))
        .with_state(witness)
}

/// The routes of a root log, beside those of its witness and of its published files: `GET /anchor/<hex SHA-256 of an origin>`.
pub fn root_router(root: Arc<RootLog>) -> Router {
    Router::new().route("/anchor/{origin}", get(anchor)).with_state(root)
}

async fn add_checkpoint(State(witness): State<Arc<Witness>>, body: Bytes) -> Response {
    let reply = match witness.add_checkpoint(&body).await {
        Ok(reply) => reply,
        Err(error) => return failed(&error),
    };
    if let Some(alarm) = &reply.alarm {
        tracing::warn!("a signed checkpoint does not continue what was cosigned: {alarm}");
    }
    let status = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (status, [(header::CONTENT_TYPE, reply.content_type)], reply.body).into_response()
}

async fn latest(State(witness): State<Arc<Witness>>, Path(origin): Path<String>) -> Response {
    match witness.latest(&origin).await {
        Some(note) => {
            ([(header::CONTENT_TYPE, "text/plain; charset=utf-8"), (header::CACHE_CONTROL, "no-cache")], note).into_response()
        }
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

async fn anchor(State(root): State<Arc<RootLog>>, Path(origin): Path<String>) -> Response {
    match tokio::task::spawn_blocking(move || root.anchor(&origin)).await {
        Ok(Ok(Some(anchor))) => ([(header::CACHE_CONTROL, "no-cache")], Json(anchor)).into_response(),
        Ok(Ok(None)) => StatusCode::NOT_FOUND.into_response(),
        Ok(Err(error)) => failed(&error),
        Err(error) => failed(&EngineError::Invalid(error.to_string())),
    }
}

fn failed(error: &EngineError) -> Response {
    tracing::error!("a request failed: {}", error.chain());
    StatusCode::INTERNAL_SERVER_ERROR.into_response()
}
