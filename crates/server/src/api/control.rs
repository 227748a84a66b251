//! Tasks, launches, elevations, revocations.

use std::collections::BTreeSet;

use axum::extract::{Path, State};
use axum::{Extension, Json};
use marque_core::Digest;
use marque_core::id::{ElevationId, TaskId};
use marque_core::revocation::Target;
use marque_core::task::Task;
use marque_engine::{ElevationView, EngineError, Revoked, TaskRequest, Told};
use serde::{Deserialize, Serialize};

use super::{Answer, Api, Body, Person, blocking};
use crate::launch::Doorway;
use crate::serve::Peer;

pub async fn start_task(State(api): State<Api>, Person(by): Person, Body(request): Body<TaskRequest>) -> Answer<Task> {
    Ok(Json(api.engine.start_task(&by, request).await?))
}

pub async fn finish_task(State(api): State<Api>, Person(by): Person, Path(id): Path<String>) -> Answer<()> {
    let id: TaskId = id.parse()?;
    Ok(Json(api.engine.finish_task(&by, id).await?))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LaunchRequest {
    identity: String,
    task: TaskId,
    #[serde(default)]
    isolated: bool,
    #[serde(default)]
    argv_sha256: Option<Digest>,
    #[serde(default)]
    artifacts: BTreeSet<Digest>,
}

/// Opens the sockets of a launch. The launcher is the caller's own process, as the kernel names it, and what it has
/// measured is taken from it alone.
pub async fn launch(
    State(api): State<Api>,
    Person(by): Person,
    Extension(peer): Extension<Option<Peer>>,
    Body(request): Body<LaunchRequest>,
) -> Answer<Doorway> {
    let needs_server = || EngineError::Invalid("a launch needs a running server: start `marque serve`".into());
    let (launches, peer) = (api.launches.ok_or_else(needs_server)?, peer.ok_or_else(needs_server)?);
    let identity = api.engine.identity_named(&request.identity)?;
    let told = Told { uid: Some(peer.uid), argv: request.argv_sha256, artifacts: request.artifacts };
    let launch = api.engine.launch(&by, &identity, request.task, peer.process.pid())?.told(&told)?;
    Ok(Json(launches.open(launch, request.isolated).await?))
}

pub async fn approve(State(api): State<Api>, Person(by): Person, Path(id): Path<String>) -> Answer<ElevationView> {
    let id: ElevationId = id.parse()?;
    Ok(Json(api.engine.approve(&by, id).await?))
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Why {
    #[serde(default)]
    why: String,
}

pub async fn refuse(
    State(api): State<Api>,
    Person(by): Person,
    Path(id): Path<String>,
    Body(why): Body<Why>,
) -> Answer<ElevationView> {
    let id: ElevationId = id.parse()?;
    Ok(Json(api.engine.refuse(&by, id, &why.why).await?))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Revocation {
    target: Target,
    #[serde(default)]
    why: String,
}

pub async fn revoke(State(api): State<Api>, Person(by): Person, Body(request): Body<Revocation>) -> Answer<Revoked> {
    Ok(Json(api.engine.revoke(&by, request.target, &request.why).await?))
}

/// How far rebuilt views cover.
#[derive(Serialize)]
pub struct Rebuilt {
    covers: u64,
}

pub async fn rebuild_views(State(api): State<Api>, _: Person) -> Answer<Rebuilt> {
    Ok(Json(Rebuilt { covers: blocking(&api.engine, |e| e.rebuild_views()).await? }))
}
