//! Nodes: other hosts on which the Workload API is served.

use axum::Json;
use axum::extract::{Path, State};
use marque_core::time::Ttl;
use marque_engine::{NodeToken, NodeView};
use serde::Deserialize;

use super::{Answer, Api, Body, Person};

pub async fn list(State(api): State<Api>, _: Person) -> Answer<Vec<NodeView>> {
    Ok(Json(api.engine.node_list()))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Invitation {
    /// In seconds.
    ttl: Ttl,
}

/// Lets a node join once.
pub async fn token(
    State(api): State<Api>,
    Person(by): Person,
    Path(name): Path<String>,
    Body(invitation): Body<Invitation>,
) -> Answer<NodeToken> {
    Ok(Json(api.engine.make_node_token(&by, &name, invitation.ttl).await?))
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Why {
    #[serde(default)]
    why: String,
}

pub async fn ban(State(api): State<Api>, Person(by): Person, Path(name): Path<String>, Body(why): Body<Why>) -> Answer<NodeView> {
    Ok(Json(api.engine.ban_node(&by, &name, &why.why).await?))
}
