//! Which class and activity each kind of event is, and what goes into which slot.

use marque_core::PersonId;
use marque_core::attestation::Instance;
use marque_core::decision::Effect;
use marque_core::elevation::Elevation;
use marque_core::event::{Body, Event};
use marque_core::identity::Lifecycle;
use marque_core::lease::Lease;
use marque_core::record::{Decided, Ending, Outcome};
use marque_core::resource::Action;
use marque_core::revocation::Target;
use marque_core::task::Task;
use serde_json::{Map, Value, json};

use super::classes::{
    API_ACTIVITY, APPLICATION_ERROR, APPLICATION_LIFECYCLE, AUTHENTICATION, AUTHORIZE_SESSION, Class, ENTITY_MANAGEMENT, Status,
    USER_ACCESS,
};
use super::objects::{
    actor, ai_agent, authorization, bare_user, delegation, delegation_of, entity, grants, millis, person, principal, resource,
    service, service_account,
};
use super::{inventory, nodes};
use crate::facts::ending_word;
use crate::object::Put;
use crate::{PRODUCT, Source};

/// What differs from kind to kind.
pub(super) struct Shape {
    pub(super) class: Class,
    pub(super) activity: u64,
    pub(super) activity_name: &'static str,
    pub(super) status: Status,
    pub(super) detail: Option<String>,
    pub(super) fields: Map<String, Value>,
    /// What need not be repeated under `unmapped`, as pointers from `what`.
    pub(super) mapped: &'static [&'static str],
}

impl Shape {
    pub(super) fn new(class: Class, (activity, activity_name): (u64, &'static str), fields: Value) -> Self {
        let fields = match fields {
            Value::Object(fields) => fields,
            _ => Map::new(),
        };
        Self { class, activity, activity_name, status: Status::Success, detail: None, fields, mapped: &[] }
    }

    pub(super) fn mapped(mut self, mapped: &'static [&'static str]) -> Self {
        self.mapped = mapped;
        self
    }

    pub(super) fn status(mut self, status: Status) -> Self {
        self.status = status;
        self
    }

    pub(super) fn detail(mut self, detail: &str) -> Self {
        self.detail = Some(detail.to_owned());
        self
    }

    pub(super) fn with(mut self, key: &str, value: Value) -> Self {
        self.fields.insert(key.to_owned(), value);
        self
    }
}

/// The shape of an event.
pub(super) fn shape(source: &Source<'_>, event: &Event) -> Shape {
    let by = actor(&event.by);
    match &event.what {
        Body::LogStarted { trust_domain } => {
            let app = json!({ "name": PRODUCT, "vendor_name": PRODUCT, "uid": trust_domain, "version": source.version });
            Shape::new(APPLICATION_LIFECYCLE, START, json!({ "app": app })).mapped(&["/trust_domain"])
        }
        Body::PersonAdded { person: who, .. } => inventory::person_added(who).with("actor", by),
        Body::IdentityApplied { identity } => {
            let mut entity = entity("Identity", &identity.id.to_string(), Some(json!(identity)));
            entity.put("name", json!(identity.id.short()));
            inventory::applied(entity, "/identity").with("actor", by)
        }
        Body::IdentityMoved { identity, to, why } => {
            let entity = entity("Identity", &identity.to_string(), None);
            let shape = Shape::new(ENTITY_MANAGEMENT, step(*to), json!({ "entity": entity, "comment": why }));
            shape.mapped(&["/identity", "/why"]).with("actor", by)
        }
        Body::NodeTokenMade { node, expires, .. } => nodes::token_made(node, *expires).with("actor", by),
        Body::NodeJoined { node, how, certificate, expires, .. } => nodes::joined(source, node, *how, certificate, *expires),
        Body::NodeBanned { node, why } => nodes::banned(node, why).with("actor", by),
        Body::AuthorityStepped { step, signs, authority, why, .. } => {
            nodes::stepped(*step, signs, authority, why).with("actor", by)
        }
        Body::ResourceApplied { resource } => {
            let mut entity = entity("Resource", &resource.id.to_string(), Some(json!(resource)));
            entity.put("name", json!(resource.id.name()));
            inventory::applied(entity, "/resource").with("actor", by)
        }
        Body::ToolPinned { tool, definition } => {
            let mut entity = entity("Tool", &tool.to_string(), None);
            entity.put("version", json!(definition));
            let shape = Shape::new(ENTITY_MANAGEMENT, UPDATE, json!({ "entity": entity }));
            shape.mapped(&["/tool", "/definition"]).with("actor", by)
        }
        Body::PolicyFile { name, text } => inventory::policy_file(name, text).with("actor", by),
        Body::PolicyActivated { files, digest } => inventory::policy_activated(files, *digest).with("actor", by),
        Body::InstanceAttested { instance } => attested(source, instance),
        Body::InstanceEnded { instance } => {
            let session = json!({ "uid": instance });
            let user = bare_user(&instance.to_string());
            let fields = json!({ "user": user, "session": session, "service": service(source) });
            Shape::new(AUTHENTICATION, LOGOFF, fields).mapped(&["/instance"])
        }
        Body::AttestationRefused { why } => {
            let fields = json!({ "user": bare_user("unknown"), "service": service(source) });
            Shape::new(AUTHENTICATION, LOGON, fields).status(Status::Failure).detail(why).mapped(&["/why"])
        }
        Body::TaskStarted { task } => started(source, task, ASSIGN),
        Body::TaskFinished { task } => {
            let fields = json!({
                "user": bare_user(&event.by.to_string()),
                "privileges": [],
                "delegation": delegation_of(source, *task),
                "actor": by,
            });
            Shape::new(USER_ACCESS, REVOKE, fields).mapped(&["/task"])
        }
        Body::LeaseIssued { lease } => lease_issued(source, lease).with("actor", by),
        Body::IssueRefused { identity, why } => {
            let fields = json!({
                "user": service_account(identity),
                "privileges": [],
                "ai_agent": ai_agent(identity, None),
                "actor": by,
            });
            Shape::new(AUTHORIZE_SESSION, ASSIGN, fields).status(Status::Failure).detail(why).mapped(&["/identity", "/why"])
        }
        Body::Decided(decided) => decision(source, decided),
        Body::Settled { record, principal, outcome } => {
            let api = json!({ "operation": "settle", "request": { "uid": record }, "response": { "code": outcome.status } });
            settled(source, principal.as_ref(), outcome).with("api", api)
        }
        Body::ElevationRequested { elevation } => requested(source, elevation),
        Body::ElevationVoted { elevation, by: who } => {
            vote((99, "Vote"), &elevation.to_string(), who).status(Status::Success).mapped(&["/elevation", "/by"])
        }
        Body::ElevationApproved { by: who, task, .. } => {
            started(source, task, ASSIGN).with("actor", principal(who, None)).mapped(APPROVED)
        }
        Body::ElevationRefused { elevation, by: who, why } => {
            let shape = vote((99, "Refuse"), &elevation.to_string(), who).status(Status::Failure);
            shape.detail(why).mapped(&["/elevation", "/by", "/why"])
        }
        Body::ElevationExpired { elevation } => {
            let fields = json!({ "user": bare_user(&elevation.to_string()), "privileges": [], "actor": by });
            Shape::new(USER_ACCESS, (99, "Expire"), fields).status(Status::Failure).mapped(&["/elevation"])
        }
        Body::ArtifactAttested { artifact } => inventory::artifact_attested(source, artifact).with("actor", by),
        Body::LedgerRead { .. } => own_call(source, READ, "ledger.read", by),
        Body::Gap { .. } => Shape::new(APPLICATION_ERROR, (1, "General Error"), json!({})).status(Status::Failure),
        Body::Erased { pseudonym, .. } => {
            let mut entity = entity("User", &pseudonym.to_string(), None);
            entity.put("type_id", json!(2));
            entity.put("user", person(pseudonym));
            Shape::new(ENTITY_MANAGEMENT, DELETE, json!({ "entity": entity, "actor": by })).mapped(&["/pseudonym"])
        }
        Body::Pruned { .. } => own_call(source, DELETE, "ledger.prune", by),
        Body::Revoked { target, why, .. } => revoked(source, target).detail(why).with("actor", by),
    }
}

fn attested(source: &Source<'_>, instance: &Instance) -> Shape {
    let fields = json!({
        "user": service_account(&instance.identity),
        "session": { "uid": instance.id, "created_time": millis(instance.since) },
        "service": service(source),
        "auth_protocol_id": 99,
        "auth_protocol": instance.attestation.method,
        "actor": { "process": { "pid": instance.attestation.pid } },
        "ai_agent": ai_agent(&instance.identity, Some(instance.id)),
    });
    let shape = Shape::new(AUTHENTICATION, LOGON, fields).mapped(ATTESTED);
    match instance.task {
        Some(task) => shape.with("delegation", delegation_of(source, task)),
        None => shape,
    }
}

fn started(source: &Source<'_>, task: &Task, activity: (u64, &'static str)) -> Shape {
    let fields = json!({
        "user": service_account(&task.actor),
        "privileges": grants(&task.scope),
        "actor": principal(&task.principal, None),
        "ai_agent": ai_agent(&task.actor, None),
        "delegation": delegation(source, task),
    });
    Shape::new(USER_ACCESS, activity, fields).mapped(STARTED)
}

fn lease_issued(source: &Source<'_>, lease: &Lease) -> Shape {
    let mut session = json!({
        "uid": lease.id,
        "created_time": millis(lease.issued),
        "expiration_time": millis(lease.expires),
        "issuer": source.origin,
    });
    if !lease.handle.is_empty() {
        session.put("credential_uid", json!(lease.handle));
    }
    let fields = json!({
        "user": service_account(&lease.identity),
        "privileges": grants(&lease.scope),
        "session": session,
        "ai_agent": ai_agent(&lease.identity, Some(lease.instance)),
    });
    let shape = Shape::new(AUTHORIZE_SESSION, ASSIGN, fields).mapped(LEASED);
    match lease.task {
        Some(task) => shape.with("delegation", delegation_of(source, task)),
        None => shape,
    }
}

/// An allowed call has not happened yet: what became of it says the event of its end.
fn decision(source: &Source<'_>, decided: &Decided) -> Shape {
    let (action, disposition, status) = match decided.effect {
        Effect::Allow => ((1, "Allowed"), (1, "Allowed"), Status::Unknown),
        Effect::Deny => ((2, "Denied"), (2, "Blocked"), Status::Failure),
        Effect::Hold => ((99, "Held"), (14, "Delayed"), Status::Other("Held")),
    };
    let authorizations: Vec<Value> = decided.reasons.iter().map(|reason| authorization(decided.effect, reason)).collect();
    let fields = json!({
        "actor": principal(&decided.principal, Some(decided.lease)),
        "ai_agent": ai_agent(&decided.identity, Some(decided.instance)),
        "delegation": delegation_of(source, decided.task),
        "api": { "operation": decided.protocol, "request": { "uid": decided.record } },
        "src_endpoint": { "instance_uid": decided.instance, "svc_name": decided.identity },
        "resources": [resource(&decided.resource, decided.sensitivity)],
        "action_id": action.0,
        "action": action.1,
        "disposition_id": disposition.0,
        "disposition": disposition.1,
        "policy": { "uid": decided.policy, "is_applied": true },
        "authorizations": authorizations,
    });
    let shape = Shape::new(API_ACTIVITY, verb(decided.action), fields).status(status).mapped(DECIDED);
    match decided.reasons.first() {
        Some(reason) => shape.detail(&reason.text),
        None => shape,
    }
}

fn settled(source: &Source<'_>, who: Option<&PersonId>, outcome: &Outcome) -> Shape {
    let status = match outcome.ending {
        Ending::Answered if outcome.status < 400 => Status::Success,
        Ending::Abandoned => Status::Unknown,
        Ending::Answered | Ending::Truncated | Ending::Cut | Ending::Failed => Status::Failure,
    };
    let fields = json!({
        "actor": who.map_or_else(|| json!({ "user": bare_user("unknown") }), |who| principal(who, None)),
        "src_endpoint": { "svc_name": source.origin },
        "http_response": { "code": outcome.status, "body_length": outcome.bytes },
        "status_code": outcome.status.to_string(),
    });
    let shape = Shape::new(API_ACTIVITY, (99, "Settle"), fields).status(status).detail(ending_word(outcome.ending));
    shape.mapped(&["/record", "/principal", "/outcome/status", "/outcome/bytes", "/outcome/ending"])
}

fn requested(source: &Source<'_>, elevation: &Elevation) -> Shape {
    let call = &elevation.call;
    let authorizations: Vec<Value> = elevation.reasons.iter().map(|reason| authorization(Effect::Hold, reason)).collect();
    let fields = json!({
        "user": service_account(&call.identity),
        "privileges": [],
        "resources": [resource(&call.resource, call.sensitivity)],
        "ai_agent": ai_agent(&call.identity, Some(elevation.instance)),
        "delegation": delegation_of(source, call.task),
        "action_id": 99,
        "action": "Held",
        "disposition_id": 14,
        "disposition": "Delayed",
        "authorizations": authorizations,
    });
    let shape = Shape::new(USER_ACCESS, (99, "Request"), fields).status(Status::Other("Pending"));
    shape.mapped(&["/elevation/call/identity", "/elevation/instance", "/elevation/call/task", "/elevation/reasons"])
}

fn vote(activity: (u64, &'static str), elevation: &str, who: &PersonId) -> Shape {
    let fields = json!({ "user": bare_user(elevation), "privileges": [], "actor": principal(who, None) });
    Shape::new(USER_ACCESS, activity, fields)
}

/// Something that Marque itself was asked.
fn own_call(source: &Source<'_>, activity: (u64, &'static str), operation: &str, by: Value) -> Shape {
    let fields = json!({
        "actor": by,
        "api": { "operation": operation, "service": service(source) },
        "src_endpoint": { "svc_name": source.origin },
        "resources": [{ "uid": source.origin, "type": "ledger" }],
    });
    Shape::new(API_ACTIVITY, activity, fields)
}

/// The class has no activity for taking away; what is revoked need not be a session.
fn revoked(source: &Source<'_>, target: &Target) -> Shape {
    let user = match target {
        Target::Identity(identity) => service_account(identity),
        Target::Owner(who) => person(who),
        other => bare_user(&other.to_string()),
    };
    let shape = Shape::new(AUTHORIZE_SESSION, (99, "Revoke"), json!({ "user": user, "privileges": [] }));
    let shape = shape.mapped(&["/target", "/why"]);
    match target {
        Target::Lease(lease) => shape.with("session", json!({ "uid": lease })),
        Target::Task(task) => shape.with("delegation", delegation_of(source, *task)),
        Target::Identity(identity) => shape.with("ai_agent", ai_agent(identity, None)),
        Target::Instance(_) | Target::Owner(_) | Target::Elevation(_) => shape,
    }
}

/// OCSF's API activities are create, read, update and delete.
const fn verb(action: Action) -> (u64, &'static str) {
    match action {
        Action::Read => READ,
        Action::Write => UPDATE,
        Action::Export => (99, "Export"),
        Action::Invoke => (99, "Invoke"),
        Action::Infer => (99, "Infer"),
        Action::Retrain => (99, "Retrain"),
        Action::Publish => (99, "Publish"),
        Action::Delegate => (99, "Delegate"),
        Action::Issue => (99, "Issue"),
    }
}

const fn step(to: Lifecycle) -> (u64, &'static str) {
    match to {
        Lifecycle::Proposed => CREATE,
        Lifecycle::Active => (8, "Enable"),
        Lifecycle::Suspended => (12, "Suspend"),
        Lifecycle::Retired => (7, "Unenroll"),
    }
}

pub(super) const CREATE: (u64, &str) = (1, "Create");
const READ: (u64, &str) = (2, "Read");
const UPDATE: (u64, &str) = (3, "Update");
pub(super) const DELETE: (u64, &str) = (4, "Delete");
const START: (u64, &str) = (3, "Start");
pub(super) const LOGON: (u64, &str) = (1, "Logon");
const LOGOFF: (u64, &str) = (2, "Logoff");
const ASSIGN: (u64, &str) = (1, "Assign Privileges");
const REVOKE: (u64, &str) = (2, "Revoke Privileges");

const ATTESTED: &[&str] =
    &["/instance/id", "/instance/identity", "/instance/task", "/instance/attestation/method", "/instance/attestation/pid"];
const STARTED: &[&str] = &["/task/id", "/task/parent", "/task/actor", "/task/principal", "/task/scope"];
const APPROVED: &[&str] = &["/by", "/task/id", "/task/parent", "/task/actor", "/task/scope"];
const LEASED: &[&str] = &["/lease/id", "/lease/identity", "/lease/instance", "/lease/task", "/lease/scope", "/lease/handle"];
const DECIDED: &[&str] = &[
    "/record",
    "/identity",
    "/instance",
    "/lease",
    "/task",
    "/principal",
    "/resource",
    "/protocol",
    "/effect",
    "/reasons",
    "/policy",
];
