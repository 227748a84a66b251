//! The small vocabulary of the simulated world: few words, so that they meet often.

use std::collections::BTreeSet;

use marque_core::attestation::Selector;
use marque_core::identity::{Kind, Lifecycle};
use marque_core::resource::{Action, Resource, ResourceId, Risk, Sensitivity};
use marque_core::scope::Scope;
use marque_core::spiffe::SpiffeId;
use marque_core::{Digest, PersonId};
use marque_engine::desired::{Desired, IdentitySpec, PolicyText};
use marque_engine::sha256;
use serde_json::{Value, json};

use crate::rng::Rng;

/// The trust domain.
pub const TRUST_DOMAIN: &str = "sim.example";

/// The issuer, which is also the audience of every JWT-SVID here.
pub const ISSUER: &str = "https://marque.sim.example";

/// The people; the first is the administrator, the last may never become known.
pub const PEOPLE: [&str; 5] = ["alice", "bob", "carol", "dave", "erin"];

/// The identities.
pub const IDENTITIES: [&str; 5] = ["agent/one", "agent/two", "agent/three", "model/four", "service/five"];

/// What may be granted.
pub const GRANTS: [&str; 13] = [
    "invoke:tool:*",
    "invoke:tool:crm/*",
    "invoke:tool:crm/find",
    "invoke:tool:mail/send;sensitivity=internal",
    "invoke:tool:crm/update;sensitivity=confidential",
    "read:dataset:*;sensitivity=internal",
    "read,write:dataset:crm/*",
    "read,export:dataset:crm/people",
    "delegate:identity:*",
    "delegate:identity:agent/*",
    "delegate:identity:agent/two",
    "infer,retrain:model:*",
    "publish:output:reports/*",
];

/// What is registered at the beginning.
pub const RESOURCES: [&str; 8] = [
    "tool:crm/find",
    "tool:crm/update",
    "tool:mail/send",
    "dataset:crm/people",
    "dataset:crm/orders",
    "service:crm",
    "model:gpt",
    "output:reports/weekly",
];

/// A tool that nobody ever registers.
pub const GHOST: &str = "tool:ghost/none";

/// A person; the names are plain words.
pub fn person(name: &str) -> PersonId {
    name.parse().unwrap_or_else(|error| unreachable!("{error}"))
}

/// An identity by its path.
pub fn identity(name: &str) -> SpiffeId {
    format!("spiffe://{TRUST_DOMAIN}/{name}").parse().unwrap_or_else(|error| unreachable!("{error}"))
}

/// A resource.
pub fn resource(name: &str) -> ResourceId {
    name.parse().unwrap_or_else(|error| unreachable!("{error}"))
}

/// The scope of these grants.
pub fn scope(text: &str) -> Scope {
    text.parse().unwrap_or_else(|error| unreachable!("{error}"))
}

/// Up to three grants.
pub fn some_scope(rng: &mut Rng) -> Scope {
    let words: Vec<&str> = (0..=rng.below(2)).map(|_| rng.one(GRANTS)).collect();
    scope(&words.join(" "))
}

/// All verbs on all things that are ever acted on, for comparing scopes point by point.
pub fn points() -> Vec<(Action, ResourceId)> {
    let identities = IDENTITIES.iter().map(|name| format!("identity:{name}"));
    let things: Vec<ResourceId> = RESOURCES
        .iter()
        .map(ToString::to_string)
        .chain(identities)
        .map(|name| resource(&name))
        .chain([resource(GHOST)])
        .collect();
    Action::ALL.iter().flat_map(|action| things.iter().map(move |thing| (*action, thing.clone()))).collect()
}

/// The selector that a process has in order to be a copy of the identity.
pub fn selector(name: &str) -> Selector {
    Selector::new("unix", "path", format_args!("/{name}")).unwrap_or_else(|error| unreachable!("{error}"))
}

/// The arguments of a call, so few that the same call comes again.
pub fn arguments(rng: &mut Rng) -> Value {
    match rng.below(3) {
        0 => json!({}),
        1 => json!({ "amount": "small" }),
        _ => json!({ "amount": "big", "to": { "name": "eve" } }),
    }
}

/// The definition of a tool, in one of its versions.
pub fn definition(tool: &ResourceId, version: u64) -> Digest {
    sha256(format!("{tool} version {version}").as_bytes())
}

/// The first manifest: everything, with wide ceilings.
pub fn first_manifest(rng: &mut Rng) -> Desired {
    let mut desired = Desired { policies: policies(0), ..Desired::default() };
    for name in IDENTITIES {
        let ceiling = scope(WIDE);
        desired.identities.push(IdentitySpec { ceiling, state: Lifecycle::Active, ..identity_spec(rng, name) });
    }
    for name in RESOURCES {
        desired.resources.push(resource_spec(rng, name));
    }
    desired
}

/// A later manifest: some of it, changed; the policies are always all of them.
pub fn manifest(rng: &mut Rng) -> Desired {
    let mut desired = Desired { policies: policies(rng.below(SETS + 2)), ..Desired::default() };
    for name in IDENTITIES {
        if rng.chance(30) {
            desired.identities.push(identity_spec(rng, name));
        }
    }
    for name in RESOURCES {
        if rng.chance(20) {
            desired.resources.push(resource_spec(rng, name));
        }
    }
    desired
}

fn identity_spec(rng: &mut Rng, name: &str) -> IdentitySpec {
    let kind = if name.starts_with("model/") { Kind::Model } else { Kind::Agent };
    let ceiling = if rng.chance(60) { scope(WIDE) } else { some_scope(rng) };
    IdentitySpec {
        name: name.to_owned(),
        kind,
        owner: person(rng.one(PEOPLE)),
        purpose: "to be simulated".into(),
        selectors: BTreeSet::from([selector(name)]),
        hint: None,
        nodes: BTreeSet::new(),
        ceiling,
        state: if rng.chance(85) { Lifecycle::Active } else { Lifecycle::Proposed },
    }
}

fn resource_spec(rng: &mut Rng, name: &str) -> Resource {
    let id = resource(name);
    let sensitivities = [Sensitivity::Public, Sensitivity::Internal, Sensitivity::Confidential, Sensitivity::Restricted];
    let definition = rng.chance(15).then(|| definition(&id, rng.below(2)));
    Resource {
        description: if rng.chance(70) { "a thing of the simulation".into() } else { String::new() },
        sensitivity: rng.one(sensitivities),
        personal: rng.chance(30),
        risk: rng.one([None, Some(Risk::Low), Some(Risk::Low), Some(Risk::Medium), Some(Risk::High)]),
        egress: rng.chance(20),
        touches: BTreeSet::new(),
        owner: None,
        upstream: None,
        definition,
        id,
    }
}

/// Whether a manifest holds a policy that must be refused.
pub fn is_refused(desired: &Desired) -> bool {
    desired.policies.iter().any(|p| p.text == NOT_DISCHARGED)
}

/// One of the sets of policies: the usual ones, fewer, or one that is wrong.
fn policies(set: u64) -> Vec<PolicyText> {
    let file = |name: &str, text: &str| PolicyText { name: name.to_owned(), text: text.to_owned() };
    match set {
        1 => vec![file("work.cedar", WORK), file("strict.cedar", STRICT)],
        2 => vec![file("work.cedar", WORK)],
        3 => vec![file("work.cedar", WORK), file("held.cedar", NOT_DISCHARGED)],
        _ => vec![file("work.cedar", WORK), file("held.cedar", HELD)],
    }
}

/// How many sets of policies there are.
const SETS: u64 = 4;

/// A ceiling under which most things may happen.
const WIDE: &str = "invoke:tool:* read,write,export:dataset:* delegate:identity:* infer:model:* publish:output:*";

const WORK: &str = r#"
@id("work")
permit (principal, action, resource);
"#;

const HELD: &str = r#"
@id("risky-call")
@elevation("risky-call")
@approvals("1")
@ttl("10m")
@reason("a tool of high risk waits for a person")
forbid (principal, action == Marque::Action::"invoke", resource is Marque::Tool)
when { resource.risk >= 2 }
unless { context.approved.contains("risky-call") };

@id("big-amount")
@elevation("big-amount")
@approvals("2")
@ttl("20m")
@reason("a big amount waits for two people")
forbid (principal, action == Marque::Action::"invoke", resource is Marque::Tool)
when { context.call.hasTag("amount") && context.call.getTag("amount") == "big" }
unless { context.approved.contains("big-amount") };

@id("confidential-read")
@elevation("confidential-read")
@ttl("5m")
@reason("confidential data waits for a person")
forbid (principal, action == Marque::Action::"read", resource is Marque::Dataset)
when { resource.sensitivity >= 2 }
unless { context.approved.contains("confidential-read") };
"#;

const STRICT: &str = r#"
@id("no-risky-call")
@reason("no tool of high risk")
forbid (principal, action == Marque::Action::"invoke", resource is Marque::Tool)
when { resource.risk >= 2 };

@id("any-write")
@elevation("any-write")
@approvals("1")
@ttl("15m")
@reason("writing waits for a person")
forbid (principal, action == Marque::Action::"write", resource is Marque::Dataset)
unless { context.approved.contains("any-write") };

@id("update")
@elevation("update")
@approvals("2")
@ttl("15m")
@reason("an update waits for two people")
forbid (principal, action == Marque::Action::"invoke", resource == Marque::Tool::"crm/update")
unless { context.approved.contains("update") };
"#;

/// A soft forbid that no approval would lift: never to be taken.
const NOT_DISCHARGED: &str = r#"
@id("for-ever")
@elevation("for-ever")
forbid (principal, action == Marque::Action::"write", resource is Marque::Dataset);
"#;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_parse() {
        GRANTS.iter().for_each(|grant| assert!(!scope(grant).is_empty()));
        assert!(PEOPLE.iter().all(|name| person(name).name() == *name));
        assert_eq!(points().len(), 9 * (RESOURCES.len() + IDENTITIES.len() + 1));
        assert!(scope(WIDE).covers(&scope("invoke:tool:crm/find")));
    }
}
