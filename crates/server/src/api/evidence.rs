//! Receipts, artifacts, and what is let go: erased people and old entries.

use std::future::Future;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use marque_core::PersonId;
use marque_engine::{ArtifactRequest, Attested, Engine, EngineError, Erasure, PruneRequest, Pruning, Receipt, ReceiptOf};
use serde::Deserialize;

use super::{Answer, Api, ApiError, Asked, Body, Person, blocking};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AskedReceipt {
    /// With what opens the commitments of the entry.
    #[serde(default)]
    openings: bool,
}

/// A receipt of the entry of this index, or of the decision of this record.
pub async fn receipt(
    State(api): State<Api>,
    Person(by): Person,
    Path(id): Path<String>,
    Asked(asked): Asked<AskedReceipt>,
) -> Answer<Receipt> {
    let of: ReceiptOf = id.parse()?;
    Ok(Json(api.engine.receipt(&by, of, asked.openings).await?))
}

pub async fn attest(State(api): State<Api>, Person(by): Person, Body(request): Body<ArtifactRequest>) -> Answer<Attested> {
    Ok(Json(api.engine.attest_artifact(&by, request).await?))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AskedErasure {
    /// Only say what would go.
    #[serde(default)]
    dry_run: bool,
}

pub async fn erase_person(
    State(api): State<Api>,
    Person(by): Person,
    Path(person): Path<String>,
    Asked(asked): Asked<AskedErasure>,
) -> Answer<Erasure> {
    let person: PersonId = person.parse()?;
    if asked.dry_run {
        return Ok(Json(blocking(&api.engine, move |e| e.erasure(&person)).await?));
    }
    Ok(Json(slow(&api.engine, move |e| async move { e.erase_person(&by, &person).await }).await?))
}

pub async fn prune(State(api): State<Api>, Person(by): Person, Body(request): Body<PruneRequest>) -> Answer<Pruning> {
    Ok(Json(slow(&api.engine, move |e| async move { e.prune(&by, request).await }).await?))
}

/// Runs a change that reads and writes many files off the threads that serve.
async fn slow<T, F>(engine: &Arc<Engine>, change: impl FnOnce(Arc<Engine>) -> F + Send + 'static) -> Result<T, ApiError>
where
    T: Send + 'static,
    F: Future<Output = Result<T, EngineError>>,
{
    let engine = Arc::clone(engine);
    let runtime = tokio::runtime::Handle::current();
    let done = tokio::task::spawn_blocking(move || runtime.block_on(change(engine))).await;
    Ok(done.map_err(|_| EngineError::Invalid("the change ended early".into()))??)
}
