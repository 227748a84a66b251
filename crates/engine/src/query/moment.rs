//! Who had access then: the state and the policies of a moment that has passed.

use std::collections::BTreeSet;

use marque_core::decision::{Decision, Effect, Reason};
use marque_core::id::{ElevationId, InstanceId, LeaseId, TaskId};
use marque_core::identity::Identity;
use marque_core::lease::{CredentialClass, Lease};
use marque_core::resource::{Action, Resource, ResourceId, ResourceKind};
use marque_core::spiffe::SpiffeId;
use marque_core::state::State;
use marque_core::task::Task;
use marque_core::time::Timestamp;
use marque_core::{Digest, PersonId};
use marque_policy::{Access, Request, Snapshot};
use marque_store::index::{Field, Term};
use marque_store::views::Views;
use serde::Serialize;
use serde_json::Value;

use super::credentials::AT_ONCE;
use super::reader::Reader;
use crate::apply::snapshot_of;
use crate::error::{EngineError, Result};
use crate::open::Engine;

/// Who had access to something at a moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AccessAt {
    /// The moment.
    pub at: Timestamp,
    /// How many entries of the log had been written then: the answer is from these.
    pub entries: u64,
    /// How many of these were let go since: credentials that nothing else tells of are not known any more.
    pub pruned: u64,
    /// The digest of the policies in force then.
    pub policy: Option<Digest>,
    /// Whether the rules that came with the server were the same as they are now. Where they were not, the answer is by the
    /// policy files of then and the rules of now.
    pub same_rules: bool,
    /// Whether the resource was known then.
    pub registered: bool,
    /// The identities that could, at once or with approval, if a task of theirs had granted it.
    pub could: Vec<Access>,
    /// The tasks that did grant it, with the credentials that carried it.
    pub had: Vec<Holder>,
}

/// A task that granted access.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Holder {
    /// Who acted.
    pub identity: SpiffeId,
    /// Under which task.
    pub task: TaskId,
    /// For whom.
    pub principal: PersonId,
    /// Why.
    pub purpose: String,
    /// Until when at most.
    pub expires: Timestamp,
    /// Allow, or hold where a person had to approve.
    pub effect: Effect,
    /// By which rules.
    pub reasons: Vec<Reason>,
    /// Rules that forbade it for some arguments of the call.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub depends_on: Vec<Reason>,
    /// The calls that were left; without a bound, none is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub calls_left: Option<u64>,
    /// The approval that it rested on: for exactly one call.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub elevation: Option<ElevationId>,
    /// The credentials that carried it; without any, nobody could use it yet.
    pub leases: Vec<HeldLease>,
}

/// A credential that carried access.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HeldLease {
    /// Which.
    pub lease: LeaseId,
    /// What sort.
    pub class: CredentialClass,
    /// Whose.
    pub instance: InstanceId,
    /// Until when at most.
    pub expires: Timestamp,
}

impl Engine {
    /// Who had access to `resource` at `moment`: by the policies in force then, and by the tasks and credentials that were
    /// alive then (blocking).
    pub fn access_at(&self, action: Action, resource: &ResourceId, moment: Timestamp) -> Result<AccessAt> {
        if moment > self.now() {
            return Err(EngineError::Invalid(format!("`{moment}` is yet to come")));
        }
        let covers = self.catch_up()?;
        let views = &self.views;
        self.must_be_named(views, resource, covers)?;
        // What happened at that very moment counts.
        let behind = Timestamp::from_micros(moment.micros().saturating_add(1));
        let mut reader = Reader::new(self, views, 0)?;
        let entries = reader.first_at(behind, covers, true)?;
        let mut state = fold(views, entries, moment)?;
        count_calls(views, &mut state, entries, moment)?;
        let policy = snapshot_of(&state)?;
        let digest = state.policy.as_ref().map(|(_, digest)| *digest);
        let question = registered(&state, resource);
        let had = question.as_ref().map(|(r, to)| holders(&policy, &state, action, r, to.as_ref(), moment));
        Ok(AccessAt {
            at: moment,
            entries,
            pruned: reader.let_go(&(0..entries)),
            policy: digest,
            same_rules: digest.is_none_or(|digest| digest == policy.digest()),
            registered: question.is_some(),
            could: policy.who_can(&state, action, resource),
            had: had.unwrap_or_default(),
        })
    }

    /// Fails for what nobody registered and no entry names: that is a slip, and not something that nobody had access to.
    fn must_be_named(&self, views: &Views, resource: &ResourceId, covers: u64) -> Result<()> {
        let is_known = registered(&self.state(), resource).is_some();
        // Classes of credentials are not registered.
        if is_known || resource.kind() == ResourceKind::Credential {
            return Ok(());
        }
        let named = [vec![term(Field::Resource, resource.to_string())]];
        match views.index().find(&named, 0, covers, 1)?.is_empty() {
            true => Err(EngineError::not_found("resource", resource)),
            false => Ok(()),
        }
    }
}

/// INVARIANT (I6 the ledger is the history): what was known then is the fold of the events until then.
fn fold(views: &Views, below: u64, moment: Timestamp) -> Result<State> {
    let mut state = State::default();
    let mut from = 0;
    loop {
        let events = views.replayed(from, below, AT_ONCE)?;
        let Some((last, _)) = events.last() else { return Ok(state) };
        from = last.saturating_add(1);
        events.iter().filter(|(_, event)| event.ts <= moment).for_each(|(_, event)| state.apply(event));
    }
}

/// Counts the calls that tasks with a budget had been allowed by then. Decisions are not replayed: the index has them.
fn count_calls(views: &Views, state: &mut State, below: u64, moment: Timestamp) -> Result<()> {
    let bounded = |task: &&Task| task.budget.calls.is_some() && task.expires > moment;
    let bounded: Vec<TaskId> = state.tasks.values().filter(bounded).map(|task| task.id).collect();
    for task in bounded {
        let tasks = views.descendants(task)?.iter().map(|id| term(Field::Task, id.to_string())).collect();
        let groups = [tasks, vec![term(Field::Decision, Effect::Allow.as_str().to_owned())]];
        let calls = views.index().find(&groups, 0, below, usize::MAX)?.len() as u64;
        state.usage.insert(task, calls);
    }
    Ok(())
}

fn term(field: Field, value: String) -> Term {
    Term { field, value }
}

/// A resource as it was registered, or the identity of that name as the object of `delegate`.
fn registered(state: &State, id: &ResourceId) -> Option<(Resource, Option<Identity>)> {
    if let Some(resource) = state.resources.get(id) {
        return Some((resource.clone(), None));
    }
    let identity = state.identities.values().find(|identity| identity.resource().as_ref() == Some(id))?;
    Some((Resource::bare(id.clone()), Some(identity.clone())))
}

/// The tasks that were alive and granted it.
fn holders(
    policy: &Snapshot,
    state: &State,
    action: Action,
    resource: &Resource,
    delegate_to: Option<&Identity>,
    moment: Timestamp,
) -> Vec<Holder> {
    let alive = state.tasks.values().filter(|task| state.check_task(task.id, moment).is_ok());
    let holder = |task: &Task| {
        let approved = approved(state, task);
        let calls_left = state.calls_left(task);
        let (decision, depends_on) = policy.decide_before_call(&Request {
            identity: state.identities.get(&task.actor)?,
            seen: &BTreeSet::new(),
            task,
            chain: &state.chain(task),
            action,
            resource,
            delegate_to,
            changed: false,
            arguments: &Value::Null,
            approved: &approved,
            calls_left,
        });
        if matches!(decision, Decision::Deny { .. }) {
            return None;
        }
        Some(Holder {
            identity: task.actor.clone(),
            task: task.id,
            principal: task.principal.clone(),
            purpose: task.purpose.clone(),
            expires: task.expires,
            effect: decision.effect(),
            reasons: decision.reasons().to_vec(),
            depends_on,
            calls_left,
            elevation: task.elevation,
            leases: leases(state, task, action, resource, moment),
        })
    };
    alive.filter_map(holder).collect()
}

/// What the approval that started a task discharges.
fn approved(state: &State, task: &Task) -> BTreeSet<String> {
    let elevation = task.elevation.and_then(|id| state.elevations.get(&id));
    elevation.map(|e| e.needs.elevations.iter().cloned().collect()).unwrap_or_default()
}

/// The credentials that carried what a task granted. What was approved is called with the credential of the held task.
fn leases(state: &State, task: &Task, action: Action, resource: &Resource, moment: Timestamp) -> Vec<HeldLease> {
    let holds = if task.elevation.is_some() { task.lineage.last().copied() } else { Some(task.id) };
    let carries = |lease: &&Lease| {
        lease.task.is_some()
            && lease.task == holds
            && lease.scope.allows(action, &resource.id, resource.sensitivity)
            && state.check_lease(lease.id, moment).is_ok()
    };
    let held =
        |lease: &Lease| HeldLease { lease: lease.id, class: lease.class, instance: lease.instance, expires: lease.expires };
    state.leases.values().filter(carries).map(held).collect()
}
