//! The hosts and the keys of the trust domain: nodes that join and are banned, authorities that rotate.

use marque_core::event::AuthorityStep;
use marque_core::node::{Admission, NodeName};
use marque_core::time::Timestamp;
use serde_json::{Value, json};

use super::classes::{AUTHENTICATION, AUTHORIZE_SESSION, ENTITY_MANAGEMENT};
use super::map::{CREATE, DELETE, LOGON, Shape};
use super::objects::{entity, millis, service};
use crate::Source;
use crate::object::Put;

pub(super) fn token_made(node: &NodeName, expires: Timestamp) -> Shape {
    let entity = entity("Node", node.as_str(), Some(json!({ "token_expires": millis(expires) })));
    Shape::new(ENTITY_MANAGEMENT, CREATE, json!({ "entity": entity })).mapped(&["/node"])
}

/// A node proves which it is, as a process does.
pub(super) fn joined(source: &Source<'_>, node: &NodeName, how: Admission, certificate: &str, expires: Timestamp) -> Shape {
    let fields = json!({
        "user": host(node),
        "session": { "uid": certificate, "expiration_time": millis(expires), "issuer": source.origin },
        "service": service(source),
        "auth_protocol_id": 99,
        "auth_protocol": how,
    });
    Shape::new(AUTHENTICATION, LOGON, fields).mapped(&["/node", "/certificate", "/how"])
}

pub(super) fn banned(node: &NodeName, why: &str) -> Shape {
    let fields = json!({ "user": host(node), "privileges": [] });
    Shape::new(AUTHORIZE_SESSION, (99, "Revoke"), fields).detail(why).mapped(&["/node", "/why"])
}

/// Which key it is may not be known yet: then what it signs names it.
pub(super) fn stepped(step: AuthorityStep, signs: &str, authority: &str, why: &str) -> Shape {
    let activity = match step {
        AuthorityStep::Prepared => CREATE,
        AuthorityStep::Activated => (10, "Activate"),
        AuthorityStep::Tainted => (9, "Disable"),
        AuthorityStep::Revoked => (11, "Deactivate"),
        AuthorityStep::Forgotten => DELETE,
    };
    let mut entity = entity("Signing key", if authority.is_empty() { signs } else { authority }, None);
    entity.put("name", json!(signs));
    let shape = Shape::new(ENTITY_MANAGEMENT, activity, json!({ "entity": entity, "comment": why }));
    shape.mapped(&["/signs", "/authority", "/why"])
}

fn host(node: &NodeName) -> Value {
    json!({ "uid": node, "name": node, "type_id": 4, "type": "Service" })
}
