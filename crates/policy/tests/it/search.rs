//! Who can, and what can an identity.

use std::collections::BTreeSet;

use marque_core::decision::Effect;
use marque_core::identity::{Identity, Lifecycle};
use marque_core::resource::{Action, Resource, ResourceId, Risk, Sensitivity};
use marque_core::spiffe::SpiffeId;
use marque_core::state::State;
use marque_policy::{Access, Snapshot};
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use crate::world::{Ask, MAY, identity, policies, resource, state};

const RISKY: &str = r#"@id("risky") @elevation("risk") @reason("it is risky") forbid (principal, action == Marque::Action::"invoke", resource is Marque::Tool) when { resource.risk >= 2 } unless { context.approved.contains("risk") };"#;
const NOT_CRM: &str = r#"@id("not-crm") forbid (principal, action == Marque::Action::"read", resource is Marque::Dataset) when { resource.sensitivity >= 2 };"#;

fn small() -> (State, Snapshot) {
    let suspended = Identity { state: Lifecycle::Suspended, ..identity("agent/c", "invoke:tool:*") };
    let identities = [
        identity("agent/a", "invoke:tool:* read:dataset:* delegate:identity:agent/b"),
        identity("agent/b", "invoke:tool:mail/read"),
        suspended,
        identity("agent/d", "read:tool:*"),
    ];
    let resources = [
        Resource { risk: Some(Risk::High), ..resource("tool:mail/send") },
        resource("tool:mail/read"),
        Resource { risk: None, ..resource("tool:raw") },
        Resource { sensitivity: Sensitivity::Confidential, ..resource("dataset:crm") },
        resource("dataset:public"),
    ];
    (state(&identities, &resources), policies(&[MAY, RISKY, NOT_CRM]))
}

fn id(resource: &str) -> ResourceId {
    resource.parse().unwrap()
}

fn who(action: Action, resource: &str) -> Vec<(String, Effect)> {
    let (state, policies) = small();
    let found = policies.who_can(&state, action, &id(resource));
    found.into_iter().map(|a| (a.identity.short().to_owned(), a.effect)).collect()
}

#[test]
fn who_can_names_those_who_may_at_once_or_with_approval() {
    let [a, b] = ["agent/a", "agent/b"].map(str::to_owned);
    assert_eq!(who(Action::Invoke, "tool:mail/read"), [(a.clone(), Effect::Allow), (b, Effect::Allow)]);
    assert_eq!(who(Action::Invoke, "tool:mail/send"), [(a.clone(), Effect::Hold)]);
    assert_eq!(who(Action::Read, "dataset:public"), [(a.clone(), Effect::Allow)]);
    assert_eq!(who(Action::Delegate, "identity:agent/b"), [(a, Effect::Allow)]);
}

#[test]
fn who_can_names_nobody_where_nobody_may() {
    let nobody: [(String, Effect); 0] = [];
    assert_eq!(who(Action::Invoke, "tool:raw"), nobody, "unclassified");
    assert_eq!(who(Action::Read, "dataset:crm"), nobody, "forbidden");
    assert_eq!(who(Action::Write, "dataset:public"), nobody, "above every ceiling");
    assert_eq!(who(Action::Invoke, "tool:unknown"), nobody, "unknown");
    assert_eq!(who(Action::Delegate, "identity:agent/z"), nobody, "unknown");
    assert_eq!(who(Action::Read, "tool:mail/read"), nobody, "not a verb for tools");
}

#[test]
fn can_lists_everything_that_an_identity_may_do() {
    let (state, policies) = small();
    let of = |name: &str| {
        let found = policies.can(&state, &state.identities[&format!("spiffe://example.org/{name}").parse::<SpiffeId>().unwrap()]);
        found.into_iter().map(|a| (a.action, a.resource.to_string(), a.effect)).collect::<BTreeSet<_>>()
    };
    let expected = [
        (Action::Invoke, "tool:mail/read", Effect::Allow),
        (Action::Invoke, "tool:mail/send", Effect::Hold),
        (Action::Read, "dataset:public", Effect::Allow),
        (Action::Delegate, "identity:agent/b", Effect::Allow),
    ];
    assert_eq!(of("agent/a"), BTreeSet::from(expected.map(|(action, resource, effect)| (action, resource.to_owned(), effect))));
    assert_eq!(of("agent/b"), BTreeSet::from([(Action::Invoke, "tool:mail/read".to_owned(), Effect::Allow)]));
    assert!(of("agent/c").is_empty(), "suspended");
    assert!(of("agent/d").is_empty(), "not a verb for tools");
}

#[test]
fn an_answer_says_why() {
    let (state, policies) = small();
    let found: Vec<Access> = policies.who_can(&state, Action::Invoke, &id("tool:mail/send"));
    assert_eq!(found[0].reasons.len(), 1);
    assert_eq!((found[0].reasons[0].policy.as_str(), found[0].reasons[0].text.as_str()), ("risky", "it is risky"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// The search is the decision itself, asked for a task of the whole ceiling.
    #[test]
    fn who_can_agrees_with_decide(
        lines in subsequence(vec![MAY, RISKY, NOT_CRM], 0..=3),
        ceilings in prop::collection::vec(
            subsequence(vec!["invoke:tool:*", "invoke:tool:mail/send", "read:dataset:*;sensitivity=internal", "read,write:dataset:crm"], 0..=4), 1..4),
        risk in select(vec![None, Some(Risk::Low), Some(Risk::High)]),
        sensitivity in select(vec![Sensitivity::Public, Sensitivity::Confidential]),
    ) {
        let policies = policies(&lines);
        let identities: Vec<Identity> =
            ceilings.iter().enumerate().map(|(n, c)| identity(&format!("agent/a{n}"), &c.join(" "))).collect();
        let resources = [
            Resource { risk, sensitivity, ..resource("tool:mail/send") },
            resource("tool:crm/find"),
            Resource { sensitivity, ..resource("dataset:crm") },
        ];
        let state = state(&identities, &resources);
        let pairs = [(Action::Invoke, 0), (Action::Invoke, 1), (Action::Read, 2), (Action::Write, 2)];
        let mut all: Vec<(String, Action, ResourceId)> = Vec::new();
        for (action, n) in pairs {
            let resource: &Resource = &resources[n];
            let found = policies.who_can(&state, action, &resource.id);
            for identity in &identities {
                let decision = Ask::new(identity.clone(), action, resource.clone()).of(&policies);
                let listed = found.iter().find(|a| a.identity == identity.id);
                prop_assert_eq!(listed.map_or(Effect::Deny, |a| a.effect), decision.effect());
                if let Some(listed) = listed {
                    prop_assert_eq!(listed.reasons.as_slice(), decision.reasons());
                    all.push((identity.id.to_string(), action, resource.id.clone()));
                }
            }
        }
        let listed = identities.iter().flat_map(|i| policies.can(&state, i));
        let listed: BTreeSet<_> = listed.map(|a| (a.identity.to_string(), a.action, a.resource)).collect();
        prop_assert_eq!(listed, all.into_iter().collect::<BTreeSet<_>>());
    }
}
