//! A small world to decide in: one agent, one task, one tool.

use std::collections::BTreeSet;

use marque_core::Digest;
use marque_core::attestation::Selector;
use marque_core::decision::Decision;
use marque_core::event::{Body, By, Event};
use marque_core::id::{EventId, TaskId};
use marque_core::identity::{Identity, Kind, Lifecycle};
use marque_core::resource::{Action, Resource, Risk, Sensitivity};
use marque_core::revocation::Epoch;
use marque_core::state::State;
use marque_core::task::{Budget, Task};
use marque_core::time::Timestamp;
use marque_policy::{PolicyError, PolicyFile, Request, Snapshot};
use serde_json::Value;

/// Permits everything.
pub(crate) const MAY: &str = r#"@id("may") @reason("it may happen") permit (principal, action, resource);"#;

pub(crate) fn load(files: &[(&str, &str)]) -> Result<Snapshot, PolicyError> {
    let files: Vec<PolicyFile> =
        files.iter().map(|(name, text)| PolicyFile { name: (*name).to_owned(), text: (*text).to_owned() }).collect();
    Snapshot::load(&files, Digest::from_bytes([1; 32]))
}

/// The baseline and these policies, a line each, in the file `a.cedar`.
pub(crate) fn policies(lines: &[&str]) -> Snapshot {
    load(&[("a.cedar", lines.join("\n").as_str())]).unwrap()
}

/// A request with everything that it borrows.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    pub(crate) identity: Identity,
    pub(crate) seen: BTreeSet<Selector>,
    pub(crate) task: Task,
    pub(crate) action: Action,
    pub(crate) resource: Resource,
    pub(crate) changed: bool,
    pub(crate) arguments: Value,
    pub(crate) approved: BTreeSet<String>,
    pub(crate) calls_left: Option<u64>,
}

impl Ask {
    /// The agent asks to do `action` on `resource`, under a task of its whole ceiling.
    pub(crate) fn new(identity: Identity, action: Action, resource: Resource) -> Self {
        let task = task(&identity);
        let (seen, approved) = (BTreeSet::new(), BTreeSet::new());
        Self { identity, seen, task, action, resource, changed: false, arguments: Value::Null, approved, calls_left: None }
    }

    /// The agent invokes the tool `mail/send`, and every grant is there.
    pub(crate) fn invoke() -> Self {
        Self::new(identity("agent/a", "invoke:tool:*"), Action::Invoke, resource("tool:mail/send"))
    }

    pub(crate) fn approving(names: &[&str]) -> Self {
        Self { approved: names.iter().map(|n| (*n).to_owned()).collect(), ..Self::invoke() }
    }

    pub(crate) fn with(arguments: Value) -> Self {
        Self { arguments, ..Self::invoke() }
    }

    pub(crate) fn of(&self, policies: &Snapshot) -> Decision {
        policies.decide(&Request {
            identity: &self.identity,
            seen: &self.seen,
            task: &self.task,
            chain: std::slice::from_ref(&self.identity.id),
            action: self.action,
            resource: &self.resource,
            delegate_to: None,
            changed: self.changed,
            arguments: &self.arguments,
            approved: &self.approved,
            calls_left: self.calls_left,
        })
    }
}

pub(crate) fn identity(name: &str, ceiling: &str) -> Identity {
    Identity {
        id: format!("spiffe://example.org/{name}").parse().unwrap(),
        kind: Kind::Agent,
        owner: Some("owner@example.com".parse().unwrap()),
        purpose: "test".into(),
        selectors: BTreeSet::from(["unix:uid:1".parse().unwrap()]),
        hint: None,
        nodes: BTreeSet::new(),
        ceiling: ceiling.parse().unwrap(),
        state: Lifecycle::Active,
        epoch: Epoch(0),
    }
}

/// A root task that holds all that its actor may ever hold.
pub(crate) fn task(actor: &Identity) -> Task {
    Task {
        id: TaskId::from_bytes([1; 16]),
        parent: None,
        lineage: Vec::new(),
        actor: actor.id.clone(),
        principal: "alice@example.com".parse().unwrap(),
        purpose: "test".into(),
        scope: actor.ceiling.clone(),
        started: Timestamp::from_seconds(0),
        expires: Timestamp::from_seconds(60),
        depth: 0,
        budget: Budget::default(),
        elevation: None,
        epoch: Epoch(0),
    }
}

/// A classified resource of low sensitivity.
pub(crate) fn resource(id: &str) -> Resource {
    Resource {
        id: id.parse().unwrap(),
        description: "test".into(),
        sensitivity: Sensitivity::Public,
        personal: false,
        risk: Some(Risk::Low),
        egress: false,
        touches: BTreeSet::new(),
        owner: None,
        upstream: None,
        definition: None,
    }
}

/// The fold of the events that register these.
pub(crate) fn state(identities: &[Identity], resources: &[Resource]) -> State {
    let identities = identities.iter().map(|identity| Body::IdentityApplied { identity: identity.clone() });
    let resources = resources.iter().map(|resource| Body::ResourceApplied { resource: resource.clone() });
    let mut state = State::default();
    for what in identities.chain(resources) {
        let id = EventId::from_bytes([1; 16]);
        state.apply(&Event {
            id,
            v: marque_core::event::SCHEMA,
            ts: Timestamp::from_seconds(0),
            obs: None,
            iseq: 0,
            by: By::System,
            what,
        });
    }
    state
}
