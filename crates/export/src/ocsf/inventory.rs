//! Changes of the inventory: people, identities, resources, policies, artifacts.

use marque_core::artifact::Artifact;
use marque_core::{Digest, PersonId};
use serde_json::{Value, json};

use super::classes::ENTITY_MANAGEMENT;
use super::map::{CREATE, Shape};
use super::objects::{ai_agent, delegation_of, entity, person};
use crate::Source;
use crate::object::Put;

pub(super) fn person_added(who: &PersonId) -> Shape {
    let entity = json!({ "uid": who, "name": who.name(), "type_id": 2, "type": "User", "user": person(who) });
    Shape::new(ENTITY_MANAGEMENT, CREATE, json!({ "entity": entity })).mapped(&["/person"])
}

/// The log does not say whether something was there before.
pub(super) fn applied(entity: Value, data: &'static str) -> Shape {
    let shape = Shape::new(ENTITY_MANAGEMENT, (99, "Apply"), json!({ "entity": entity }));
    shape.mapped(if data == "/identity" { &["/identity"] } else { &["/resource"] })
}

pub(super) fn policy_file(name: &str, text: &str) -> Shape {
    let policy = json!({ "name": name, "data": { "text": text }, "is_applied": false });
    let entity = json!({ "name": name, "type_id": 5, "type": "Policy", "policy": policy });
    Shape::new(ENTITY_MANAGEMENT, (99, "Apply"), json!({ "entity": entity })).mapped(&["/name", "/text"])
}

pub(super) fn policy_activated(files: &[String], digest: Digest) -> Shape {
    let policy = json!({ "uid": digest, "data": { "files": files }, "is_applied": true });
    let entity = json!({ "uid": digest, "type_id": 5, "type": "Policy", "policy": policy });
    let shape = Shape::new(ENTITY_MANAGEMENT, (10, "Activate"), json!({ "entity": entity }));
    shape.mapped(&["/digest", "/files"])
}

pub(super) fn artifact_attested(source: &Source<'_>, artifact: &Artifact) -> Shape {
    let mut entity = entity("Artifact", &artifact.content.to_string(), Some(json!(artifact)));
    entity.put("name", json!(artifact.name));
    let fields = json!({
        "entity": entity,
        "ai_agent": ai_agent(&artifact.identity, artifact.instance),
        "delegation": delegation_of(source, artifact.task),
    });
    Shape::new(ENTITY_MANAGEMENT, (6, "Enroll"), fields).mapped(&["/artifact"])
}
