//! The trust domain's signing keys.

use axum::Json;
use axum::extract::State;
use marque_engine::{AuthorityVerb, AuthorityView, KeyKind};
use serde::Deserialize;

use super::{Answer, Api, Body, Person};

pub async fn list(State(api): State<Api>, _: Person) -> Answer<Vec<AuthorityView>> {
    Ok(Json(api.engine.authority_list()))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Change {
    verb: AuthorityVerb,
    kind: KeyKind,
    #[serde(default)]
    id: Option<String>,
    #[serde(default)]
    why: String,
}

pub async fn change(State(api): State<Api>, Person(by): Person, Body(change): Body<Change>) -> Answer<Vec<AuthorityView>> {
    let Change { verb, kind, id, why } = change;
    Ok(Json(api.engine.change_authority(&by, verb, kind, id.as_deref(), &why).await?))
}
