//! OCSF objects made of our values.

use marque_core::PersonId;
use marque_core::decision::{Effect, Reason};
use marque_core::event::By;
use marque_core::id::{InstanceId, LeaseId, TaskId};
use marque_core::resource::{ResourceId, Sensitivity};
use marque_core::scope::Scope;
use marque_core::spiffe::SpiffeId;
use marque_core::task::Task;
use marque_core::time::Timestamp;
use serde_json::{Value, json};

use crate::object::Put;
use crate::{PRODUCT, Source};

pub(super) fn person(person: &PersonId) -> Value {
    json!({ "uid": person, "name": person.name(), "type_id": 1, "type": "User" })
}

pub(super) fn service_account(identity: &SpiffeId) -> Value {
    json!({ "uid": identity, "name": identity.short(), "type_id": 4, "type": "Service" })
}

/// A user of which only an identifier is known.
pub(super) fn bare_user(uid: &str) -> Value {
    json!({ "uid": uid, "type_id": 0, "type": "Unknown" })
}

/// On whose word, as the actor.
pub(super) fn actor(by: &By) -> Value {
    let user = match by {
        By::Person(who) => person(who),
        By::Instance(instance) => json!({ "uid": instance, "type_id": 4, "type": "Service" }),
        By::System => json!({ "uid": "system", "name": PRODUCT, "type_id": 3, "type": "System" }),
    };
    json!({ "user": user })
}

/// For whom, with which credential: the agent that acts stands in `ai_agent`.
pub(super) fn principal(who: &PersonId, lease: Option<LeaseId>) -> Value {
    let mut actor = json!({ "user": person(who) });
    if let Some(lease) = lease {
        actor.put("session", json!({ "uid": lease }));
    }
    actor
}

pub(super) fn ai_agent(identity: &SpiffeId, instance: Option<InstanceId>) -> Value {
    let mut agent = json!({ "uid": identity, "name": identity.short() });
    if let Some(instance) = instance {
        agent.put("instance_uid", json!(instance));
    }
    agent
}

/// The authority of which only the task is known.
pub(super) fn delegation_of(source: &Source<'_>, task: TaskId) -> Value {
    json!({ "uid": task, "issuer_uid": source.origin })
}

pub(super) fn delegation(source: &Source<'_>, task: &Task) -> Value {
    let mut delegation = delegation_of(source, task.id);
    delegation.put("created_time", millis(task.started));
    delegation.put("expiration_time", millis(task.expires));
    delegation.put("scopes", grants(&task.scope));
    // The task of an approval has no parent, but hangs from the task that was held.
    if let Some(parent) = task.parent.or(task.lineage.last().copied()) {
        delegation.put("parent_uid", json!(parent));
    }
    delegation
}

pub(super) fn resource(id: &ResourceId, sensitivity: Sensitivity) -> Value {
    json!({
        "uid": id,
        "name": id.name(),
        "type": id.kind().as_str(),
        "labels": [format!("sensitivity:{}", sensitivity.as_str())],
    })
}

pub(super) fn authorization(effect: Effect, reason: &Reason) -> Value {
    let mut policy = json!({ "name": reason.policy, "desc": reason.text });
    if let Some(at) = &reason.at {
        policy.put("data", json!({ "at": at }));
    }
    json!({ "decision": effect.as_str(), "policy": policy })
}

pub(super) fn grants(scope: &Scope) -> Value {
    scope.grants().map(ToString::to_string).collect()
}

pub(super) fn millis(moment: Timestamp) -> Value {
    json!(moment.micros().div_euclid(1000))
}

/// Marque as the service that somebody authenticates to.
pub(super) fn service(source: &Source<'_>) -> Value {
    json!({ "name": PRODUCT, "uid": source.origin, "version": source.version })
}

/// An entity of the inventory for which OCSF has no type of its own.
pub(super) fn entity(kind: &str, uid: &str, data: Option<Value>) -> Value {
    let mut entity = json!({ "uid": uid, "type_id": 99, "type": kind });
    if let Some(data) = data {
        entity.put("data", data);
    }
    entity
}
