//! A signed statement of where a file came from.

use axum::body::Bytes;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse as _, Response};
use marque_core::Digest;
use marque_engine::EngineError;
use serde::Deserialize;

use super::{Api, ApiError, Asked, Person, blocking};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Named {
    /// What the statement calls the file.
    name: Option<String>,
    /// SHA-256 of a file that is not sent.
    digest: Option<Digest>,
}

/// The body is the file, unless its digest stands for it; the answer is an envelope (DSSE 1.0).
pub async fn statement(
    State(api): State<Api>,
    Person(by): Person,
    Asked(named): Asked<Named>,
    file: Bytes,
) -> Result<Response, ApiError> {
    if named.name.as_ref().is_some_and(|name| name.len() > MAX_NAME) {
        return Err(EngineError::Invalid(format!("a file's name has at most {MAX_NAME} bytes")).into());
    }
    one_of(named.digest.as_ref(), &file)?;
    let digest = named.digest.unwrap_or_else(|| marque_engine::sha256(&file));
    let envelope = blocking(&api.engine, move |engine| engine.statement_of(named.name.as_deref(), &digest)).await?;
    api.engine.record_read(&by, &format!("a statement of {digest}"), 1).await?;
    Ok(([(CONTENT_TYPE, "application/vnd.dsse.envelope.v1+json")], envelope).into_response())
}

/// A file or its digest, not both: which of them is meant would be a guess.
pub(super) fn one_of(digest: Option<&Digest>, file: &Bytes) -> Result<(), EngineError> {
    if digest.is_some() && !file.is_empty() {
        return Err(EngineError::Invalid("send a file or its `digest`, not both".into()));
    }
    Ok(())
}

const MAX_NAME: usize = 255;
