//! Questions: who can, what happened, where did this come from.

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::Uri;
use marque_core::Digest;
use marque_core::elevation::Elevation;
use marque_core::id::{RecordId, TaskId};
use marque_core::record::{Decided, Outcome};
use marque_core::resource::{Action, ResourceId};
use marque_core::task::Task;
use marque_core::time::Timestamp;
use marque_engine::{Access, Chain, Engine, EngineError, ExportStatus, Trace, WitnessStatus};
use serde::{Deserialize, Serialize};

use super::{Answer, Api, Asked, Person, blocking, ledger, statement};

/// What is running.
#[derive(Serialize)]
pub struct Status {
    version: &'static str,
    trust_domain: String,
    issuer: String,
    gateway: String,
    entries: u64,
    policy: Option<String>,
    identities: usize,
    resources: usize,
    tasks: usize,
    epoch: u64,
    /// How far the exports are, where there are any.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    exports: Vec<ExportStatus>,
    /// How many entries the newest checkpoint has that a quorum of witnesses cosigned.
    #[serde(skip_serializing_if = "Option::is_none")]
    witnessed: Option<u64>,
    /// How each witness is doing, where there are any.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    witnesses: Vec<WitnessStatus>,
}

pub async fn status(State(api): State<Api>, _: Person) -> Answer<Status> {
    let exports = blocking(&api.engine, Engine::export_status).await?;
    let entries = api.engine.log_size();
    let state = api.engine.state();
    Ok(Json(Status {
        version: env!("CARGO_PKG_VERSION"),
        trust_domain: api.engine.trust_domain().to_string(),
        issuer: api.engine.issuer().to_owned(),
        gateway: api.engine.gateway().to_owned(),
        entries,
        policy: state.policy.as_ref().map(|(_, digest)| digest.to_string()),
        identities: state.identities.len(),
        resources: state.resources.len(),
        tasks: state.tasks.len(),
        epoch: state.epoch.0,
        exports,
        witnessed: api.engine.witnessed(),
        witnesses: api.engine.witnesses(),
    }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WhoCan {
    action: Action,
    resource: ResourceId,
}

pub async fn who_can(State(api): State<Api>, _: Person, Asked(asked): Asked<WhoCan>) -> Answer<Vec<Access>> {
    Ok(Json(blocking(&api.engine, move |e| e.who_can(asked.action, &asked.resource)).await?))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Can {
    identity: String,
}

pub async fn can(State(api): State<Api>, _: Person, Asked(asked): Asked<Can>) -> Answer<Vec<Access>> {
    Ok(Json(blocking(&api.engine, move |e| e.can(&asked.identity)).await?))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limit {
    limit: Option<u32>,
}

/// A task with how it stands.
#[derive(Serialize)]
pub struct TaskLine {
    #[serde(flatten)]
    task: Task,
    /// `live`, or why not.
    status: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    ended: Option<Timestamp>,
}

pub async fn tasks(State(api): State<Api>, _: Person, Asked(limit): Asked<Limit>) -> Answer<Vec<TaskLine>> {
    let rows = {
        let limit = bounded(limit.limit)?;
        blocking(&api.engine, move |e| e.tasks(limit)).await?
    };
    let now = api.engine.now();
    let state = api.engine.state();
    let status = |task: &Task| state.check_task(task.id, now).map_or_else(|dead| dead.to_string(), |_| "live".to_owned());
    Ok(Json(rows.into_iter().map(|row| TaskLine { status: status(&row.task), ended: row.ended, task: row.task }).collect()))
}

/// An elevation with how it stands.
#[derive(Serialize)]
pub struct ElevationLine {
    #[serde(flatten)]
    elevation: Elevation,
    /// `pending`, `approved`, `refused` or `expired`.
    standing: String,
}

pub async fn elevations(State(api): State<Api>, _: Person, Asked(limit): Asked<Limit>) -> Answer<Vec<ElevationLine>> {
    let rows = blocking(&api.engine, move |e| e.elevations(bounded(limit.limit)?)).await?;
    Ok(Json(rows.into_iter().map(|row| ElevationLine { elevation: row.elevation, standing: row.status }).collect()))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Records {
    task: Option<TaskId>,
    identity: Option<String>,
    limit: Option<u32>,
}

/// A record as it is listed.
#[derive(Serialize)]
pub struct RecordLine {
    index: u64,
    at: Timestamp,
    #[serde(flatten)]
    decided: Decided,
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<Outcome>,
}

pub async fn records(
    State(api): State<Api>,
    Person(by): Person,
    uri: Uri,
    Asked(asked): Asked<Records>,
) -> Answer<Vec<RecordLine>> {
    let limit = bounded(asked.limit)?;
    let rows = blocking(&api.engine, move |e| e.records(asked.task, asked.identity.as_deref(), limit)).await?;
    api.engine.record_read(&by, &ledger::asked(&uri), rows.len() as u64).await?;
    let line = |row: marque_engine::RecordRow| RecordLine {
        index: row.seq,
        at: row.at,
        decided: row.decided,
        outcome: row.settled.map(|(_, o)| o),
    };
    Ok(Json(rows.into_iter().map(line).collect()))
}

pub async fn record(State(api): State<Api>, Person(by): Person, uri: Uri, Path(id): Path<String>) -> Answer<Chain> {
    let id: RecordId = id.parse()?;
    let mut chain = blocking(&api.engine, move |e| e.trace_record(id)).await?;
    if chain.proof.is_none() {
        until_published().await;
        chain = blocking(&api.engine, move |e| e.trace_record(id)).await?;
    }
    api.engine.record_read(&by, &ledger::asked(&uri), 1).await?;
    Ok(Json(chain))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Traced {
    /// SHA-256 of a file that is not sent: only that is looked up.
    digest: Option<Digest>,
}

/// The body is the file, unless its digest stands for it.
pub async fn trace(
    State(api): State<Api>,
    Person(by): Person,
    uri: Uri,
    Asked(asked): Asked<Traced>,
    file: Bytes,
) -> Answer<Trace> {
    statement::one_of(asked.digest.as_ref(), &file)?;
    let look = move |engine: &Engine| match &asked.digest {
        Some(digest) => engine.trace_digest(digest),
        None => engine.trace(&file),
    };
    let mut found = blocking(&api.engine, look.clone()).await?;
    if found.chains.iter().chain(&found.input_of).any(|c| c.proof.is_none()) {
        until_published().await;
        found = blocking(&api.engine, look).await?;
    }
    let asked = format!("{} of {}", uri.path(), found.digest);
    let rows = found.chains.len() + found.hints.len() + found.input_of.len();
    api.engine.record_read(&by, &asked, rows as u64).await?;
    Ok(Json(found))
}

/// A checkpoint is signed at most once a second: what is younger gets its proof with the next one.
async fn until_published() {
    tokio::time::sleep(std::time::Duration::from_millis(1050)).await;
}

/// How many to list. There is no paging yet, so that asking for more than there will be is an error.
fn bounded(asked: Option<u32>) -> Result<u32, EngineError> {
    match asked.unwrap_or(DEFAULT_LIMIT) {
        limit if limit <= MAX_LIMIT => Ok(limit),
        limit => Err(EngineError::Invalid(format!("`limit` is at most {MAX_LIMIT}, not {limit}"))),
    }
}

const DEFAULT_LIMIT: u32 = 100;
const MAX_LIMIT: u32 = 1000;
