//! The record of a decision: what is written down, and what follows from it.

use std::collections::BTreeSet;

use marque_core::decision::{Decision, Needs, Reason};
use marque_core::elevation::{Elevation, Status, TIME_TO_DECIDE};
use marque_core::event::Body;
use marque_core::id::{ElevationId, RecordId, TaskId};
use marque_core::record::{Consent, Decided};
use marque_core::state::State;
use marque_core::time::Cx;
use marque_core::{Digest, PersonId};

use super::{ActionRequest, Facts};
use crate::commit::Moves;
use crate::error::Result;

pub(super) enum Recorded {
    Deny(Vec<Reason>),
    Hold(ElevationId, Vec<Reason>),
    Allow,
}

/// A record, whose it is, and what became of it.
type Filed = (RecordId, (TaskId, PersonId), Recorded);

/// Writes the decision down, and what follows from it.
pub(super) fn record(
    state: &State,
    cx: &mut Cx<'_>,
    request: &ActionRequest,
    facts: &Facts,
    decision: Decision,
    policy: Digest,
) -> Result<Moves<Filed>> {
    let record = RecordId::fresh(cx);
    // What an approval allowed happens under the approver's task.
    let used = facts.approval.as_ref().filter(|_| matches!(decision, Decision::Allow { .. }));
    let task = used.map_or(&facts.held, |(_, _, task)| task);
    let mut bodies = Vec::new();
    let mut elevation = used.map(|(id, _, _)| *id);
    if let Decision::Hold { by, needs } = &decision {
        let pending = state.calls.get(&facts.call).and_then(|id| state.elevations.get(id));
        // Identical requests are one.
        let waiting = pending.filter(|e| e.status == Status::Pending && cx.now < e.decide_by).map(|e| e.id);
        elevation = Some(waiting.unwrap_or_else(|| {
            let held = hold(state, cx, request, facts, by.clone(), needs.clone());
            let id = held.id;
            bodies.push(Body::ElevationRequested { elevation: Box::new(held) });
            id
        }));
    }
    bodies.push(Body::Decided(Box::new(Decided {
        record,
        identity: facts.identity.id.clone(),
        instance: facts.instance,
        lease: request.lease,
        task: task.id,
        principal: task.principal.clone(),
        action: request.action,
        resource: request.resource.clone(),
        sensitivity: facts.resource.sensitivity,
        protocol: request.protocol.clone(),
        effect: decision.effect(),
        reasons: decision.reasons().to_vec(),
        policy,
        request: request.request.into(),
        arguments: facts.call.arguments,
        intent: task.purpose.clone(),
        posture: facts.posture.clone(),
        consent: consent(facts, &decision),
        obligations: vec![RECORD_OUTCOME.to_owned()],
        correlation: request.correlation.clone(),
        causes: request.causes.clone(),
        contents: request.contents.clone(),
        elevation,
    })));
    let outcome = match (decision, elevation) {
        (Decision::Allow { .. }, _) => Recorded::Allow,
        (Decision::Hold { by, .. }, Some(id)) => Recorded::Hold(id, by),
        (decision, _) => Recorded::Deny(decision.reasons().to_vec()),
    };
    Ok(((record, (task.id, task.principal.clone()), outcome), bodies))
}

/// Whether people had to agree to it, and did.
fn consent(facts: &Facts, decision: &Decision) -> Consent {
    match decision {
        Decision::Hold { .. } => Consent::Pending,
        Decision::Allow { .. } if facts.approval.is_some() => Consent::Approved,
        Decision::Deny { .. } if facts.refused => Consent::Refused,
        _ => Consent::NotNeeded,
    }
}

fn hold(state: &State, cx: &mut Cx<'_>, request: &ActionRequest, facts: &Facts, reasons: Vec<Reason>, needs: Needs) -> Elevation {
    Elevation {
        id: ElevationId::fresh(cx),
        call: facts.call.clone(),
        instance: facts.instance,
        needs,
        reasons,
        sight: serde_json::to_string(&request.arguments).unwrap_or_default().chars().take(2000).collect(),
        barred: state.chain_people(&facts.held),
        votes: BTreeSet::new(),
        requested: cx.now,
        decide_by: cx.now.plus(TIME_TO_DECIDE).min(facts.held.expires),
        status: Status::Pending,
        epoch: state.epoch,
    }
}

/// What every decision demands: that what came of it is recorded too.
const RECORD_OUTCOME: &str = "record-outcome";
