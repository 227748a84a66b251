//! Authorize and settle: decided, recorded, and only then permitted.
//!
//! INVARIANT (I3 no act without a record): a [`Permit`] exists only after its decision is durable, whatever forwards a
//! call takes the permit as an argument, and one that is dropped unsettled, or ends with its process, is recorded as
//! abandoned.

mod abandoned;
mod record;

use std::collections::BTreeSet;
use std::sync::Arc;

use marque_core::attestation::Selector;
use marque_core::decision::{Decision, Reason};
use marque_core::elevation::{Call, Status};
use marque_core::event::{Body, By};
use marque_core::id::{ElevationId, InstanceId, LeaseId, RecordId, TaskId};
use marque_core::identity::Identity;
use marque_core::record::{Content, Outcome, Posture};
use marque_core::resource::{Action, Resource, ResourceId, ResourceKind};
use marque_core::spiffe::SpiffeId;
use marque_core::state::State;
use marque_core::task::Task;
use marque_core::time::{Cx, Timestamp};
use marque_core::{Digest, PersonId};
use marque_policy::{Request, Snapshot};
use serde_json::Value;

use self::record::{Recorded, record};
use crate::digest::canonical;
use crate::error::{EngineError, Result};
use crate::open::Engine;

/// A request to act, with everything that a decision and its record need.
#[derive(Clone, Debug)]
pub struct ActionRequest {
    /// The credential that it came with.
    pub lease: LeaseId,
    /// The verb.
    pub action: Action,
    /// On what.
    pub resource: ResourceId,
    /// The call's arguments.
    pub arguments: Value,
    /// SHA-256 of the request's exact bytes.
    pub request: Digest,
    /// The texts that the request carries.
    pub contents: Vec<Content>,
    /// How it was asked, as `mcp tools/call`.
    pub protocol: String,
    /// The digest of the tool's definition as its server has it now; tools only.
    pub definition: Option<Digest>,
    /// What the caller's own trace calls this request.
    pub correlation: Option<String>,
    /// The records whose outputs it carries on.
    pub causes: Vec<RecordId>,
}

/// The answer. It has been recorded.
#[derive(Debug)]
pub enum Verdict {
    /// No.
    Deny {
        /// The record.
        record: RecordId,
        /// Why.
        reasons: Vec<Reason>,
    },
    /// A person may say yes.
    Hold {
        /// The record.
        record: RecordId,
        /// The elevation to approve.
        elevation: ElevationId,
        /// Why.
        reasons: Vec<Reason>,
    },
    /// Yes.
    Proceed(Permit),
}

/// The right to carry out one action. Whoever holds it must [`Permit::settle`] it.
#[must_use = "a permit that is dropped is recorded as abandoned"]
pub struct Permit {
    record: RecordId,
    lease: LeaseId,
    task: TaskId,
    instance: InstanceId,
    principal: PersonId,
    entry: u64,
    engine: Option<Arc<Engine>>,
}

impl std::fmt::Debug for Permit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Permit({})", self.record)
    }
}

impl Permit {
    /// The record that permits it.
    pub fn record(&self) -> RecordId {
        self.record
    }

    /// The index of its entry in the log: see [`Engine::receipt_now`].
    pub fn entry(&self) -> u64 {
        self.entry
    }

    /// Whether nothing that it hangs from has been revoked since.
    pub fn alive(&self) -> bool {
        self.engine.as_ref().is_some_and(|engine| {
            let now = engine.now();
            let state = engine.state();
            state.check_lease(self.lease, now).is_ok() && state.check_task(self.task, now).is_ok()
        })
    }

    /// Records how the action ended. The record joins the next batch: what has happened is not failed by it.
    pub fn settle(mut self, outcome: Outcome) -> Result<()> {
        self.close(outcome)
    }

    fn close(&mut self, outcome: Outcome) -> Result<()> {
        let Some(engine) = self.engine.take() else { return Ok(()) };
        let (record, principal) = (self.record, Some(self.principal.clone()));
        engine.enqueue(By::Instance(self.instance), |_, _| Ok(((), vec![Body::Settled { record, principal, outcome }])))?;
        Ok(())
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Err(error) = self.close(Outcome::abandoned()) {
            tracing::error!(record = %self.record, "the outcome was not recorded: {}", error.chain());
        }
    }
}

/// The decision on what is known.
fn decide(policy: &Snapshot, facts: &Facts, request: &ActionRequest) -> Decision {
    if let Some(denial) = unregistered(facts, request) {
        return denial;
    }
    let approved = facts.approval.as_ref().map(|(_, names, _)| names.clone()).unwrap_or_default();
    let decision = policy.decide(&Request {
        identity: &facts.identity,
        seen: &facts.seen,
        task: &facts.held,
        chain: &facts.chain,
        action: request.action,
        resource: &facts.resource,
        delegate_to: None,
        changed: facts.resource.definition.is_some() && facts.resource.definition != request.definition,
        arguments: &request.arguments,
        approved: &approved,
        calls_left: facts.calls_left,
    });
    match decision {
        Decision::Hold { .. } if facts.refused => Decision::deny("refused", "a person refused exactly this call"),
        decision => decision,
    }
}

/// What a decision rests on, taken from the state at one moment.
#[derive(PartialEq)]
struct Facts {
    identity: Identity,
    instance: InstanceId,
    posture: Posture,
    /// What was seen of the instance.
    seen: BTreeSet<Selector>,
    held: Task,
    chain: Vec<SpiffeId>,
    resource: Resource,
    registered: bool,
    calls_left: Option<u64>,
    call: Call,
    /// A person refused exactly this call.
    refused: bool,
    /// A live approval of exactly this call: the elevation, what it discharges, and its task.
    approval: Option<(ElevationId, BTreeSet<String>, Task)>,
}

impl Engine {
    /// Decides and records; only then answers.
    ///
    /// An error means that the caller could not be told apart from a stranger, or that nothing could be recorded: then
    /// nothing may happen.
    pub async fn authorize(self: &Arc<Self>, request: ActionRequest) -> Result<Verdict> {
        let arguments = canonical(&request.arguments);
        loop {
            let policy = self.policy.load_full();
            // Before the guard: whoever reads the lock twice may wait for ever behind a writer.
            let now = self.now();
            let facts = facts(&self.state(), &request, arguments, now)?;
            let decision = decide(&policy, &facts, &request);
            let by = By::Instance(facts.instance);
            let write = |state: &State, cx: &mut Cx<'_>| {
                let Some(decision) = still(state, cx.now, &request, &facts, &policy, decision) else {
                    return Ok((None, Vec::new()));
                };
                let (recorded, bodies) = record(state, cx, &request, &facts, decision, policy.digest())?;
                Ok((Some(recorded), bodies))
            };
            let (recorded, pending) = self.enqueue(by, write)?;
            let (Some((record, (task, principal), outcome)), Some(pending)) = (recorded, pending) else { continue };
            // The permit exists from here on, so that a caller who goes away while the disk is written leaves an
            // abandoned record; it is handed out only when its decision is durable.
            let mut verdict = match outcome {
                Recorded::Deny(reasons) => Verdict::Deny { record, reasons },
                Recorded::Hold(elevation, reasons) => Verdict::Hold { record, elevation, reasons },
                Recorded::Allow => Verdict::Proceed(Permit {
                    record,
                    lease: request.lease,
                    task,
                    instance: facts.instance,
                    principal,
                    entry: 0,
                    engine: Some(Arc::clone(self)),
                }),
            };
            let first = pending.await?;
            if let Verdict::Proceed(permit) = &mut verdict {
                // What is allowed is one event.
                permit.entry = first;
            }
            return Ok(verdict);
        }
    }

    /// Whether a call of a tool would be allowed or held, with arguments that no policy objects to: for filtering lists.
    /// Nothing is recorded, because nothing happens.
    pub fn would_show(&self, lease: LeaseId, tool: &ResourceId) -> bool {
        let now = self.now();
        let state = self.state();
        let Ok(lease) = state.check_lease(lease, now) else { return false };
        let Some(task) = lease.task.and_then(|t| state.check_task(t, now).ok()) else { return false };
        let (Some(identity), Some(resource)) = (state.identities.get(&lease.identity), state.resources.get(tool)) else {
            return false;
        };
        let Ok(instance) = state.check_instance(lease.instance) else { return false };
        let (decision, _) = self.policy.load().decide_before_call(&Request {
            identity,
            seen: &instance.attestation.selectors,
            task,
            chain: &state.chain(task),
            action: Action::Invoke,
            resource,
            delegate_to: None,
            changed: false,
            arguments: &Value::Null,
            approved: &BTreeSet::new(),
            calls_left: state.calls_left(task),
        });
        lease.scope.allows(Action::Invoke, tool, resource.sensitivity) && !matches!(decision, Decision::Deny { .. })
    }
}

fn facts(state: &State, request: &ActionRequest, arguments: Digest, now: Timestamp) -> Result<Facts> {
    let lease = state.check_lease(request.lease, now)?;
    let no_task = || EngineError::Forbidden("this credential is of no task and allows nothing".into());
    let mut held = state.check_task(lease.task.ok_or_else(no_task)?, now)?.clone();
    // INVARIANT (I2 leases die first): a lease may be narrower than its task.
    held.scope = held.scope.meet(&lease.scope);
    let identity = state.check_identity(&lease.identity, lease.epoch)?.clone();
    let registered = state.resources.get(&request.resource);
    let resource = registered.cloned().unwrap_or_else(|| Resource::bare(request.resource.clone()));
    let registered = registered.is_some();
    let call = Call {
        identity: identity.id.clone(),
        task: held.id,
        action: request.action,
        resource: request.resource.clone(),
        sensitivity: resource.sensitivity,
        arguments: arguments.into(),
        definition: request.definition,
    };
    let approval = approval(state, &call, now);
    let asked = state.calls.get(&call).and_then(|id| state.elevations.get(id));
    let refused = asked.is_some_and(|e| matches!(e.status, Status::Refused { .. }));
    let calls_left = state.calls_left(&held);
    let instance = state.check_instance(lease.instance)?;
    let age = now.micros().saturating_sub(instance.since.micros()) / 1_000_000;
    Ok(Facts {
        instance: lease.instance,
        posture: Posture { method: instance.attestation.method.clone(), age: u64::try_from(age).unwrap_or(0) },
        seen: instance.attestation.selectors.clone(),
        chain: state.chain(&held),
        identity,
        held,
        resource,
        registered,
        calls_left,
        call,
        refused,
        approval,
    })
}

/// INVARIANT (I5 elevation never widens): an approval counts for exactly the call that was held, once, while its own
/// task lives.
fn approval(state: &State, call: &Call, now: Timestamp) -> Option<(ElevationId, BTreeSet<String>, Task)> {
    let elevation = state.elevations.get(state.calls.get(call)?)?;
    let Status::Approved { task } = elevation.status else { return None };
    let task = state.check_task(task, now).ok()?;
    (state.calls_left(task) != Some(0))
        .then(|| (elevation.id, elevation.needs.elevations.iter().cloned().collect(), task.clone()))
}

/// INVARIANT (I7 unknown is No): a resource that nobody registered, or a tool whose definition nobody has seen.
fn unregistered(facts: &Facts, request: &ActionRequest) -> Option<Decision> {
    let id = &request.resource;
    if !facts.registered {
        return Some(Decision::deny("unregistered", format!("`{id}` is not registered")));
    }
    if id.kind() == ResourceKind::Tool && (request.definition.is_none() || facts.resource.definition.is_none()) {
        return Some(Decision::deny("definition-unknown", format!("the definition of `{id}` has not been seen")));
    }
    None
}

/// The decision, if it rests on what is so at its place in the log. `None` when it must be made again; a denial when
/// the credential ended meanwhile.
fn still(
    state: &State,
    now: Timestamp,
    request: &ActionRequest,
    before: &Facts,
    policy: &Snapshot,
    decision: Decision,
) -> Option<Decision> {
    let arguments = before.call.arguments.digest()?;
    match facts(state, request, arguments, now) {
        Err(ended) => Some(Decision::deny("revoked", ended.to_string())),
        Ok(after) => {
            // That time has passed meanwhile changes nothing.
            let after = Facts { posture: before.posture.clone(), ..after };
            let in_force = state.policy.as_ref().is_some_and(|(_, digest)| *digest == policy.digest());
            (after == *before && in_force).then_some(decision)
        }
    }
}
