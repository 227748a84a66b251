//! Identities, resources, policies, people, secrets.

use axum::Json;
use axum::extract::{Path, State};
use marque_core::identity::{Identity, Lifecycle};
use marque_core::resource::{Resource, ResourceId};
use marque_core::{Digest, PersonId, finding::Finding};
use marque_engine::desired::Desired;
use marque_engine::{Applied, Change, EngineError, Holding};
use serde::{Deserialize, Serialize};

use super::{Answer, Api, Asked, Body, Person};

pub async fn plan(State(api): State<Api>, _: Person, Body(desired): Body<Desired>) -> Answer<Vec<Change>> {
    Ok(Json(api.engine.plan(&desired)?))
}

pub async fn apply(State(api): State<Api>, Person(by): Person, Body(desired): Body<Desired>) -> Answer<Applied> {
    Ok(Json(api.engine.apply(&by, &desired).await?))
}

pub async fn identities(State(api): State<Api>, _: Person) -> Answer<Vec<Identity>> {
    Ok(Json(api.engine.state().identities.values().cloned().collect()))
}

/// A step of an identity's life. Why it is taken must be said.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Move {
    identity: String,
    to: Lifecycle,
    #[serde(default)]
    why: String,
}

pub async fn move_identity(State(api): State<Api>, Person(by): Person, Body(step): Body<Move>) -> Answer<Identity> {
    Ok(Json(api.engine.move_identity(&by, &step.identity, step.to, &step.why).await?))
}

pub async fn resources(State(api): State<Api>, _: Person) -> Answer<Vec<Resource>> {
    Ok(Json(api.engine.state().resources.values().cloned().collect()))
}

/// A tool's definition, as a held call names it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Definition {
    tool: ResourceId,
    definition: Digest,
}

pub async fn accept_tool(State(api): State<Api>, Person(by): Person, Body(seen): Body<Definition>) -> Answer<()> {
    Ok(Json(api.engine.accept_tool(&by, &seen.tool, seen.definition).await?))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OfIdentity {
    identity: Option<String>,
}

/// The live instances, of one identity where given, and their live leases.
pub async fn instances(State(api): State<Api>, _: Person, Asked(of): Asked<OfIdentity>) -> Answer<Vec<Holding>> {
    let id = of.identity.map(|name| api.engine.identity_named(&name)).transpose()?;
    Ok(Json(api.engine.holdings(id.as_ref())))
}

pub async fn people(State(api): State<Api>, _: Person) -> Answer<Vec<PersonId>> {
    Ok(Json(api.engine.state().people.keys().cloned().collect()))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewPerson {
    person: PersonId,
}

/// Where a person's bootstrap credential was written.
#[derive(Serialize)]
pub struct Added {
    person: PersonId,
    credential_file: String,
}

pub async fn add_person(State(api): State<Api>, Person(by): Person, Body(new): Body<NewPerson>) -> Answer<Added> {
    let file = api.engine.add_person(by.by(), &new.person).await?;
    Ok(Json(Added { person: new.person, credential_file: file.display().to_string() }))
}

pub async fn findings(State(api): State<Api>, _: Person) -> Answer<Vec<Finding>> {
    Ok(Json(api.engine.findings()))
}

/// The body is the secret itself, as text.
pub async fn store_secret(State(api): State<Api>, _: Person, Path(name): Path<String>, value: String) -> Answer<()> {
    let value = zeroize::Zeroizing::new(value);
    if value.len() > 16 << 10 {
        return Err(EngineError::Invalid("a secret has at most 16 KiB".into()).into());
    }
    Ok(Json(api.engine.store_secret(&name, &value)?))
}
