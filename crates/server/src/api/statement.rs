//! A signed statement of where a file came from.

use axum::body::Bytes;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse as _, Response};
use marque_engine::EngineError;
use serde::Deserialize;

use super::{Api, ApiError, Asked, Person, blocking};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Named {
    /// What the statement calls the file.
    name: Option<String>,
}

/// The body is the file; the answer is an envelope (DSSE 1.0).
pub async fn statement(
    State(api): State<Api>,
    Person(by): Person,
    Asked(named): Asked<Named>,
    file: Bytes,
) -> Result<Response, ApiError> {
    if named.name.as_ref().is_some_and(|name| name.len() > MAX_NAME) {
        return Err(EngineError::Invalid(format!("a file's name has at most {MAX_NAME} bytes")).into());
    }
    let digest = marque_engine::sha256(&file);
    let envelope = blocking(&api.engine, move |engine| engine.statement(named.name.as_deref(), &file)).await?;
    api.engine.record_read(&by, &format!("a statement of {digest}"), 1).await?;
    Ok(([(CONTENT_TYPE, "application/vnd.dsse.envelope.v1+json")], envelope).into_response())
}

const MAX_NAME: usize = 255;
