//! The administration API: JSON over HTTP on a Unix socket. The CLI and the console speak nothing else.

mod authorities;
mod control;
mod evidence;
mod export;
mod inventory;
mod ledger;
mod nodes;
mod query;
mod statement;

use std::sync::Arc;

use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{FromRequest, FromRequestParts, Query, Request};
use axum::http::StatusCode;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post, put};
use axum::{Json, Router};
use marque_engine::{Caller, Engine, EngineError, SvidError};
use serde::de::DeserializeOwned;
use serde_json::json;

use crate::launch::Launches;
use crate::serve::Peer;

pub use ledger::question;

/// What every handler works with.
#[derive(Clone, Debug)]
pub struct Api {
    /// The engine.
    pub engine: Arc<Engine>,
    /// Where launches are opened; not every process that has an engine can.
    pub launches: Option<Arc<Launches>>,
}

/// The routes, for a connection from `peer`.
pub fn router(api: Api, peer: Option<Peer>) -> Router {
    Router::new()
        .route("/v1/status", get(query::status))
        .route("/v1/plan", post(inventory::plan))
        .route("/v1/apply", post(inventory::apply))
        .route("/v1/identities", get(inventory::identities))
        .route("/v1/identities/state", post(inventory::move_identity))
        .route("/v1/resources", get(inventory::resources))
        .route("/v1/tools/accept", post(inventory::accept_tool))
        .route("/v1/instances", get(inventory::instances))
        .route("/v1/authorities", get(authorities::list).post(authorities::change))
        .route("/v1/nodes", get(nodes::list))
        .route("/v1/nodes/{name}/token", post(nodes::token))
        .route("/v1/nodes/{name}/ban", post(nodes::ban))
        .route("/v1/people", get(inventory::people).post(inventory::add_person))
        .route("/v1/people/{person}", delete(evidence::erase_person))
        .route("/v1/findings", get(inventory::findings))
        .route("/v1/secrets/{name}", put(inventory::store_secret))
        .route("/v1/tasks", get(query::tasks).post(control::start_task))
        .route("/v1/tasks/{id}/finish", post(control::finish_task))
        .route("/v1/launches", post(control::launch))
        .route("/v1/elevations", get(query::elevations))
        .route("/v1/elevations/{id}/approve", post(control::approve))
        .route("/v1/elevations/{id}/refuse", post(control::refuse))
        .route("/v1/revocations", post(control::revoke))
        .route("/v1/who-can", get(query::who_can))
        .route("/v1/can", get(query::can))
        .route("/v1/records", get(query::records))
        .route("/v1/records/{id}", get(query::record))
        .route("/v1/trace", post(query::trace))
        .route("/v1/trace/statement", post(statement::statement))
        .route("/v1/receipts/{id}", get(evidence::receipt))
        .route("/v1/artifacts", post(evidence::attest))
        .route("/v1/ledger/prune", post(evidence::prune))
        .route("/v1/exports", get(export::exports))
        .route("/v1/ledger/export", get(export::export))
        .route("/v1/ledger/events", get(ledger::events))
        .route("/v1/ledger/stream", get(ledger::stream))
        .route("/v1/ledger/credentials/{id}", get(ledger::credential))
        .route("/v1/ledger/tasks/{id}/credentials", get(ledger::credentials))
        .route("/v1/ledger/access", get(ledger::access))
        .route("/v1/views/rebuild", post(control::rebuild_views))
        .layer(axum::extract::DefaultBodyLimit::max(16 << 20))
        .layer(axum::Extension(peer))
        .with_state(api)
}

/// A person who proved who they are: `Authorization: Bearer <bootstrap credential>`.
pub struct Person(pub Caller);

impl FromRequestParts<Api> for Person {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, ApiError> {
        let missing = || EngineError::Unauthenticated("send a person's credential as `Authorization: Bearer …`".into());
        let value = parts.headers.get(AUTHORIZATION).and_then(|v| v.to_str().ok()).ok_or_else(missing)?;
        let credential = value.strip_prefix("Bearer ").ok_or_else(missing)?;
        Ok(Self(api.engine.authenticate_person(credential)?))
    }
}

/// A JSON body that must parse: what is wrong with it is told as any other error.
pub struct Body<T>(pub T);

impl<T: DeserializeOwned> FromRequest<Api> for Body<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, api: &Api) -> Result<Self, ApiError> {
        let invalid = |e: JsonRejection| EngineError::Invalid(phrased(&e.body_text()).to_owned());
        Ok(Json::from_request(request, api).await.map(|Json(value)| Self(value)).map_err(invalid)?)
    }
}

/// A query string that must parse.
pub struct Asked<T>(pub T);

impl<T: DeserializeOwned> FromRequestParts<Api> for Asked<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, ApiError> {
        let invalid = |e: QueryRejection| EngineError::Invalid(phrased(&e.body_text()).to_owned());
        Ok(Query::from_request_parts(parts, api).await.map(|Query(value)| Self(value)).map_err(invalid)?)
    }
}

/// What is wrong with a value, as `task: expected …`: without the library's own words before it, and without its place in
/// a line of JSON that nobody wrote by hand.
fn phrased(text: &str) -> &str {
    let Some(said) = NOT_THAT_SHAPE.iter().find_map(|words| text.strip_prefix(*words)) else { return text };
    let is_place = |place: &str| {
        let numbers = place.split_once(" column ");
        numbers.is_some_and(|(line, column)| line.parse::<u64>().is_ok() && column.parse::<u64>().is_ok())
    };
    said.rsplit_once(" at line ").filter(|(_, place)| is_place(place)).map_or(said, |(said, _)| said)
}

/// How axum begins to say that JSON or a query string is not of the type that was asked for.
const NOT_THAT_SHAPE: [&str; 2] =
    ["Failed to deserialize the JSON body into the target type: ", "Failed to deserialize query string: "];

/// An error as JSON: `{"error": "<code>", "message": "…"}`.
pub struct ApiError(EngineError);

impl<E: Into<EngineError>> From<E> for ApiError {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let (status, code) = match &self.0 {
            EngineError::Parse(_) | EngineError::Invalid(_) | EngineError::Policy(_) => (StatusCode::BAD_REQUEST, "invalid"),
            EngineError::NotFound { .. } => (StatusCode::NOT_FOUND, "not_found"),
            // It is known, or the engine had said that it is not: its phase allows no such step.
            EngineError::Svid(SvidError::NoSuchAuthority(_)) => (StatusCode::CONFLICT, "refused"),
            EngineError::Unauthenticated(_) => (StatusCode::UNAUTHORIZED, "unauthenticated"),
            EngineError::Forbidden(_) | EngineError::Denied(_) | EngineError::Elevation(_) => {
                (StatusCode::FORBIDDEN, "forbidden")
            }
            EngineError::Task(_) | EngineError::Dead(_) => (StatusCode::CONFLICT, "refused"),
            _ => (StatusCode::INTERNAL_SERVER_ERROR, "failed"),
        };
        if status == StatusCode::INTERNAL_SERVER_ERROR {
            tracing::error!("a request failed: {}", self.0.chain());
        }
        (status, Json(json!({ "error": code, "message": self.0.chain() }))).into_response()
    }
}

/// What every handler gives.
pub type Answer<T> = Result<Json<T>, ApiError>;

/// Runs what blocks (SQLite, tiles) off the async threads.
async fn blocking<T: Send + 'static>(
    engine: &Arc<Engine>,
    work: impl FnOnce(&Engine) -> Result<T, EngineError> + Send + 'static,
) -> Result<T, ApiError> {
    let engine = Arc::clone(engine);
    let done = tokio::task::spawn_blocking(move || work(&engine)).await;
    Ok(done.map_err(|_| EngineError::Invalid("the query ended early".into()))??)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_parse_is_told_without_the_librarys_words() {
        let json = "Failed to deserialize the JSON body into the target type: task: expected a task, found `at line 3` at line 1 column 40";
        assert_eq!(phrased(json), "task: expected a task, found `at line 3`");
        assert_eq!(phrased("Failed to deserialize query string: limit: invalid digit"), "limit: invalid digit");
        for whole in ["Failed to parse the request body as JSON: EOF at line 1 column 1", "", "x at line 1 column 1"] {
            assert_eq!(phrased(whole), whole);
        }
    }
}
