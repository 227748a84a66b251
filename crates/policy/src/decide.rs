//! One request, one answer.

use std::collections::BTreeSet;

use cedar_policy::{
    Authorizer, Context, Decision as Verdict, Entities, Entity, EntityId, EntityTypeName, EntityUid, PolicyId, Response,
    RestrictedExpression,
};
use marque_core::PersonId;
use marque_core::attestation::Selector;
use marque_core::decision::{Decision, Needs, Reason};
use marque_core::identity::Identity;
use marque_core::resource::{Action, Resource, ResourceId, ResourceKind};
use marque_core::spiffe::SpiffeId;
use marque_core::task::Task;
use marque_core::time::Ttl;
use serde_json::Value;

use crate::arguments;
use crate::load::{Snapshot, Tiers};

/// Everything that a decision may depend on.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Who acts.
    pub identity: &'a Identity,
    /// What was seen of its running copy; nothing where a question is asked before there is one.
    pub seen: &'a BTreeSet<Selector>,
    /// Under which task.
    pub task: &'a Task,
    /// The identities between the person and this call, the actor among them.
    pub chain: &'a [SpiffeId],
    /// The verb.
    pub action: Action,
    /// On what. An identity is acted on as [`Request::delegate_to`] says.
    pub resource: &'a Resource,
    /// The identity to delegate to, where that is the action.
    pub delegate_to: Option<&'a Identity>,
    /// Whether a tool's definition is another than the registered one.
    pub changed: bool,
    /// The call's arguments.
    pub arguments: &'a Value,
    /// The elevations that a live approval of exactly this call discharges.
    pub approved: &'a BTreeSet<String>,
    /// The calls left in the task's budget.
    pub calls_left: Option<u64>,
}

impl Snapshot {
    /// Decides. Pure: the same request and the same policies always give the same answer.
    pub fn decide(&self, request: &Request<'_>) -> Decision {
        if let Some(denial) = built_in(request) {
            return denial;
        }
        self.evaluate(request, &self.whole).unwrap_or_else(|what| Decision::deny("request", what))
    }

    /// The decision if the call had arguments that no forbid objects to, and the forbids that look at them: for
    /// questions asked before there is a call. The request's arguments are not looked at.
    pub fn decide_before_call(&self, request: &Request<'_>) -> (Decision, Vec<Reason>) {
        if let Some(denial) = built_in(request) {
            return (denial, Vec::new());
        }
        let answer = |tiers| self.evaluate(request, tiers).unwrap_or_else(|what| Decision::deny("request", what));
        let bare = answer(&self.whole);
        let open = answer(&self.before_call);
        let lifted = bare.reasons().iter().filter(|r| !open.reasons().contains(r) && self.looks_at_call(&r.policy));
        let lifted = lifted.cloned().collect();
        (open, lifted)
    }

    fn evaluate(&self, request: &Request<'_>, tiers: &Tiers) -> Result<Decision, String> {
        let (cedar, entities) = translate(request, self.looks_at_instance)?;
        let authorizer = Authorizer::new();
        let response = authorizer.is_authorized(&cedar, &tiers.all, &entities);
        // A forbid that errs is skipped by Cedar, which would allow: any error is a denial.
        if let Some(error) = response.diagnostics().errors().next() {
            return Ok(Decision::deny("policy-error", format!("a policy could not be evaluated: {error}")));
        }
        if response.decision() == Verdict::Allow {
            return Ok(Decision::Allow { by: self.reasons(&response) });
        }
        let decisive: Vec<&PolicyId> = response.diagnostics().reason().collect();
        let soft: Vec<_> = decisive.iter().filter_map(|id| self.rules.get(id)?.soft.as_ref()).collect();
        if decisive.is_empty() {
            return Ok(Decision::deny("no-permit", "no policy permits it"));
        }
        if soft.len() < decisive.len() {
            // What a person could discharge is beside the point here.
            let by = self.reasons(&response).into_iter().filter(|r| !self.is_soft(&r.policy)).collect();
            return Ok(Decision::Deny { by });
        }
        // Only soft forbids stand in the way: would it be permitted without them?
        let without = authorizer.is_authorized(&cedar, &tiers.hard, &entities);
        if without.decision() != Verdict::Allow || without.diagnostics().errors().next().is_some() {
            return Ok(Decision::deny("no-permit", "no policy permits it"));
        }
        let elevations: BTreeSet<String> = soft.iter().map(|s| s.elevation.clone()).collect();
        let needs = Needs {
            elevations: elevations.into_iter().collect(),
            approvals: soft.iter().map(|s| s.approvals).max().unwrap_or(1),
            ttl: soft.iter().map(|s| s.ttl).min().unwrap_or(Ttl::from_seconds(0)),
        };
        Ok(Decision::Hold { by: self.reasons(&response), needs })
    }

    fn looks_at_call(&self, policy: &str) -> bool {
        self.rules.get(&PolicyId::new(policy)).is_some_and(|rule| rule.looks_at_call)
    }

    fn is_soft(&self, policy: &str) -> bool {
        self.rules.get(&PolicyId::new(policy)).is_some_and(|rule| rule.soft.is_some())
    }

    fn reasons(&self, response: &Response) -> Vec<Reason> {
        let rules = response.diagnostics().reason().filter_map(|id| self.rules.get(id));
        let mut reasons: Vec<Reason> =
            rules.map(|r| Reason { policy: r.id.clone(), text: r.reason.clone(), at: Some(r.at.clone()) }).collect();
        reasons.sort();
        reasons
    }
}

/// What no policy can permit. INVARIANT (I7 unknown is No), and I1: a task's scope bounds every call.
fn built_in(request: &Request<'_>) -> Option<Decision> {
    let resource = request.resource;
    if !request.task.scope.allows(request.action, &resource.id, resource.sensitivity) {
        return Some(Decision::deny("task-scope", format!("the task does not grant `{}` on `{}`", request.action, resource.id)));
    }
    if !request.identity.ceiling.allows(request.action, &resource.id, resource.sensitivity) {
        return Some(Decision::deny(
            "ceiling",
            format!("`{}` may never `{}` on `{}`", request.identity.id, request.action, resource.id),
        ));
    }
    if !applies(request.action, resource.id.kind()) {
        return Some(Decision::deny("schema", format!("`{}` means nothing for `{}`", request.action, resource.id)));
    }
    if resource.id.kind() == ResourceKind::Tool && resource.risk.is_none() {
        return Some(Decision::deny("unclassified", format!("`{}` has no risk yet: classify it in its manifest", resource.id)));
    }
    if request.calls_left == Some(0) {
        return Some(Decision::deny("budget", "the task's budget of calls is used up"));
    }
    None
}

/// Whether the schema knows the verb for this kind of resource.
fn applies(action: Action, kind: ResourceKind) -> bool {
    match action {
        Action::Read | Action::Write | Action::Export => {
            matches!(kind, ResourceKind::Dataset | ResourceKind::Service | ResourceKind::Output)
        }
        Action::Invoke => matches!(kind, ResourceKind::Tool | ResourceKind::Service),
        Action::Infer | Action::Retrain => kind == ResourceKind::Model,
        Action::Publish => kind == ResourceKind::Output,
        Action::Delegate => kind == ResourceKind::Identity,
        Action::Issue => kind == ResourceKind::Credential,
    }
}

/// The request in Cedar's terms. What was seen of the instance is spelled out only for policies that look at it.
fn translate(request: &Request<'_>, with_instance: bool) -> Result<(cedar_policy::Request, Entities), String> {
    let principal = identity_uid(&request.identity.id)?;
    let call = uid("Call", "this")?;
    let resource = match request.delegate_to {
        Some(to) => identity_uid(&to.id)?,
        None => resource_uid(&request.resource.id)?,
    };
    let chain = request.chain.iter().map(|id| Ok(RestrictedExpression::new_entity_uid(identity_uid(id)?)));
    let task = record([
        ("purpose", RestrictedExpression::new_string(request.task.purpose.clone())),
        ("principal", RestrictedExpression::new_entity_uid(person_uid(&request.task.principal)?)),
        ("depth", RestrictedExpression::new_long(i64::from(request.task.depth))),
        ("chain", RestrictedExpression::new_set(chain.collect::<Result<Vec<_>, String>>()?)),
    ])?;
    let approved = request.approved.iter().map(|a| RestrictedExpression::new_string(a.clone()));
    let context = Context::from_pairs([
        ("task".to_owned(), task),
        ("instance".to_owned(), instance(request.seen.iter().filter(|_| with_instance))?),
        ("call".to_owned(), RestrictedExpression::new_entity_uid(call.clone())),
        ("approved".to_owned(), RestrictedExpression::new_set(approved)),
    ]);
    let context = context.map_err(|e| e.to_string())?;
    let action = uid("Action", request.action.as_str())?;
    let cedar = cedar_policy::Request::new(principal, action, resource.clone(), context, None).map_err(|e| e.to_string())?;

    let mut entities = vec![identity_entity(request.identity)?];
    match request.delegate_to {
        Some(to) if to.id != request.identity.id => entities.push(identity_entity(to)?),
        Some(_) => {}
        None => entities.push(resource_entity(resource, request)?),
    }
    let tags = arguments::tags(request.arguments)?;
    entities.push(Entity::new_with_tags(call, [], [], tags).map_err(|e| e.to_string())?);
    Ok((cedar, Entities::from_entities(entities, None).map_err(|e| e.to_string())?))
}

fn instance<'a>(seen: impl Iterator<Item = &'a Selector> + Clone) -> Result<RestrictedExpression, String> {
    let text = |text: &str| RestrictedExpression::new_string(text.to_owned());
    let selectors = RestrictedExpression::new_set(seen.clone().map(|selector| text(selector.as_str())));
    let artifacts = seen.filter_map(|selector| selector.as_str().strip_prefix(ARTIFACT)).map(text);
    record([("selectors", selectors), ("artifacts", RestrictedExpression::new_set(artifacts))])
}

fn identity_entity(identity: &Identity) -> Result<Entity, String> {
    let mut attrs = vec![
        ("name".to_owned(), RestrictedExpression::new_string(identity.id.short().to_owned())),
        ("kind".to_owned(), RestrictedExpression::new_string(identity.kind.as_str().to_owned())),
    ];
    if let Some(owner) = &identity.owner {
        attrs.push(("owner".to_owned(), RestrictedExpression::new_entity_uid(person_uid(owner)?)));
    }
    entity(identity_uid(&identity.id)?, attrs)
}

fn resource_entity(uid: EntityUid, request: &Request<'_>) -> Result<Entity, String> {
    let resource = request.resource;
    let mut attrs = vec![
        ("name".to_owned(), RestrictedExpression::new_string(resource.id.name().to_owned())),
        ("sensitivity".to_owned(), RestrictedExpression::new_long(resource.sensitivity.level())),
        ("personal".to_owned(), RestrictedExpression::new_bool(resource.personal)),
        ("risk".to_owned(), RestrictedExpression::new_long(resource.risk.map_or(2, |r| r.level()))),
        ("egress".to_owned(), RestrictedExpression::new_bool(resource.egress)),
        ("changed".to_owned(), RestrictedExpression::new_bool(request.changed)),
    ];
    if let Some(owner) = &resource.owner {
        attrs.push(("owner".to_owned(), RestrictedExpression::new_entity_uid(person_uid(owner)?)));
    }
    entity(uid, attrs)
}

fn entity(uid: EntityUid, attrs: Vec<(String, RestrictedExpression)>) -> Result<Entity, String> {
    Entity::new_with_tags(uid, attrs, [], []).map_err(|e| e.to_string())
}

fn record<const N: usize>(fields: [(&str, RestrictedExpression); N]) -> Result<RestrictedExpression, String> {
    RestrictedExpression::new_record(fields.map(|(k, v)| (k.to_owned(), v))).map_err(|e| e.to_string())
}

fn resource_uid(id: &ResourceId) -> Result<EntityUid, String> {
    let kind = match id.kind() {
        ResourceKind::Dataset => "Dataset",
        ResourceKind::Tool => "Tool",
        ResourceKind::Model => "Model",
        ResourceKind::Service => "Service",
        ResourceKind::Output => "Output",
        ResourceKind::Identity => "Identity",
        ResourceKind::Credential => "Credential",
    };
    uid(kind, id.name())
}

fn identity_uid(id: &SpiffeId) -> Result<EntityUid, String> {
    uid("Identity", id.short())
}

fn person_uid(person: &PersonId) -> Result<EntityUid, String> {
    uid("Person", person.name())
}

fn uid(kind: &str, id: &str) -> Result<EntityUid, String> {
    let kind: EntityTypeName = format!("Marque::{kind}").parse().map_err(|e: cedar_policy::ParseErrors| e.to_string())?;
    Ok(EntityUid::from_type_name_and_id(kind, EntityId::new(id)))
}

/// How a selector of a measured file begins.
const ARTIFACT: &str = "launched:artifact_sha256:";
