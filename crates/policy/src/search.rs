//! Who can, and what can an identity: the same decisions, asked for every candidate.

use std::collections::BTreeSet;

use marque_core::decision::{Effect, Reason};
use marque_core::id::TaskId;
use marque_core::identity::{Identity, Lifecycle};
use marque_core::resource::{Action, Resource, ResourceId};
use marque_core::spiffe::SpiffeId;
use marque_core::state::State;
use marque_core::task::{Budget, Task};
use marque_core::time::{Cx, Timestamp};
use serde::Serialize;
use serde_json::Value;

use crate::decide::Request;
use crate::load::Snapshot;

/// One answer: what an identity may do at most, under a task of its own that holds its whole ceiling.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Access {
    /// Who.
    pub identity: SpiffeId,
    /// The verb.
    pub action: Action,
    /// On what.
    pub resource: ResourceId,
    /// Allow, or hold where a person must approve.
    pub effect: Effect,
    /// Why.
    pub reasons: Vec<Reason>,
    /// Policies that forbid it for some arguments of the call.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub depends_on: Vec<Reason>,
}

impl Snapshot {
    /// The identities that may `action` on `resource`, at once or with approval, when nothing in the call's arguments
    /// stands in the way.
    pub fn who_can(&self, state: &State, action: Action, resource: &ResourceId) -> Vec<Access> {
        let identities = state.identities.values();
        identities.filter_map(|identity| self.access(state, identity, action, resource)).collect()
    }

    /// Everything that an identity may do, at once or with approval.
    pub fn can(&self, state: &State, identity: &Identity) -> Vec<Access> {
        let actions: BTreeSet<Action> = identity.ceiling.grants().flat_map(|g| g.actions().iter().copied()).collect();
        let identities = state.identities.values().filter_map(Identity::resource);
        let resources: Vec<ResourceId> = state.resources.keys().cloned().chain(identities).collect();
        let pairs = actions.iter().flat_map(|a| resources.iter().map(|r| (*a, r)));
        pairs.filter_map(|(action, resource)| self.access(state, identity, action, resource)).collect()
    }

    fn access(&self, state: &State, identity: &Identity, action: Action, resource: &ResourceId) -> Option<Access> {
        let (registered, delegate_to) = registered(state, resource)?;
        if identity.state != Lifecycle::Active {
            return None;
        }
        let task = whole_ceiling(identity)?;
        let request = Request {
            identity,
            seen: &BTreeSet::new(),
            task: &task,
            chain: std::slice::from_ref(&identity.id),
            action,
            resource: &registered,
            delegate_to: delegate_to.as_ref(),
            changed: false,
            arguments: &Value::Null,
            approved: &BTreeSet::new(),
            calls_left: None,
        };
        let (decision, depends_on) = self.decide_before_call(&request);
        let reasons = decision.reasons().to_vec();
        let access = Access {
            identity: identity.id.clone(),
            action,
            resource: resource.clone(),
            effect: decision.effect(),
            reasons,
            depends_on,
        };
        (access.effect != Effect::Deny).then_some(access)
    }
}

/// A resource as policy sees it: as registered, or the identity of that name.
fn registered(state: &State, id: &ResourceId) -> Option<(Resource, Option<Identity>)> {
    if let Some(resource) = state.resources.get(id) {
        return Some((resource.clone(), None));
    }
    let identity = state.identities.values().find(|i| i.resource().as_ref() == Some(id))?;
    Some((Resource::bare(id.clone()), Some(identity.clone())))
}

/// A root task of the identity's owner that holds all it may ever hold.
fn whole_ceiling(identity: &Identity) -> Option<Task> {
    let mut zero = || 0_u128;
    let id = TaskId::fresh(&mut Cx::new(Timestamp::default(), &mut zero));
    Some(Task {
        id,
        parent: None,
        lineage: Vec::new(),
        actor: identity.id.clone(),
        principal: identity.owner.clone().or_else(|| "nobody".parse().ok())?,
        purpose: "what it may do at most".into(),
        scope: identity.ceiling.clone(),
        started: Timestamp::default(),
        expires: Timestamp::default(),
        depth: 0,
        budget: Budget::default(),
        elevation: None,
        epoch: identity.epoch,
    })
}
