//! Laws of every decision, over random policies and requests.

use marque_core::decision::{Decision, Effect};
use marque_core::resource::{Action, Resource, Risk, Sensitivity};
use marque_policy::Snapshot;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use serde_json::json;

use crate::world::{Ask, identity, policies, resource};

static PERMITS: [&str; 4] = [
    r#"@id("p0") permit (principal, action == Marque::Action::"invoke", resource is Marque::Tool) when { resource.risk <= 1 };"#,
    r#"@id("p1") permit (principal, action, resource) when { context.task.depth == 0 };"#,
    r#"@id("p2") permit (principal, action == Marque::Action::"invoke", resource) when { context.call.hasTag("to") && context.call.getTag("to") like "*@example.com" };"#,
    r#"@id("p3") permit (principal, action in [Marque::Action::"invoke", Marque::Action::"read"], resource);"#,
];

static FORBIDS: [&str; 6] = [
    r#"@id("f0") forbid (principal, action == Marque::Action::"invoke", resource is Marque::Tool) when { resource.personal };"#,
    r#"@id("f1") forbid (principal, action == Marque::Action::"invoke", resource is Marque::Tool) when { resource.egress && resource.sensitivity >= 2 };"#,
    r#"@id("f2") forbid (principal, action, resource) when { context.task.depth + 9223372036854775806 < 0 };"#,
    r#"@id("f3") @elevation("e0") @approvals("2") forbid (principal, action == Marque::Action::"invoke", resource is Marque::Tool) when { resource.risk >= 2 } unless { context.approved.contains("e0") };"#,
    r#"@id("f4") @elevation("e1") @ttl("5m") forbid (principal, action, resource) unless { context.approved.contains("e1") };"#,
    r#"@id("f5") @elevation("e1") forbid (principal, action == Marque::Action::"invoke", resource) when { context.call.hasTag("to") } unless { context.approved.contains("e1") };"#,
];

/// How much an answer lets happen.
fn rank(decision: &Decision) -> u8 {
    match decision.effect() {
        Effect::Deny => 0,
        Effect::Hold => 1,
        Effect::Allow => 2,
    }
}

fn some_of(all: &'static [&'static str]) -> impl Strategy<Value = Vec<&'static str>> {
    subsequence(all.to_vec(), 0..=all.len())
}

fn loaded(permits: &[&str], forbids: &[&str]) -> Snapshot {
    policies(&[permits, forbids].concat())
}

prop_compose! {
    fn ask()(
        risk in select(vec![None, Some(Risk::Low), Some(Risk::Medium), Some(Risk::High)]),
        sensitivity in select(vec![Sensitivity::Public, Sensitivity::Internal, Sensitivity::Confidential, Sensitivity::Restricted]),
        facts in any::<[bool; 4]>(),
        depth in 0..3_u8,
        approved in subsequence(vec!["e0", "e1", "tool-changed"], 0..=3),
        to in select(vec!["bob@example.com", "bob@evil.example"]),
        calls_left in select(vec![None, None, Some(1), Some(0)]),
        scope in select(vec!["invoke:tool:*", "invoke:tool:*", "invoke:tool:*;sensitivity=internal", "invoke:tool:crm/*"]),
    ) -> Ask {
        let [personal, egress, changed, argued] = facts;
        let tool = Resource { risk, sensitivity, personal, egress, ..resource("tool:mail/send") };
        let mut ask = Ask::new(identity("agent/a", "invoke:tool:*"), Action::Invoke, tool);
        ask.task.depth = depth;
        ask.task.scope = scope.parse().unwrap();
        ask.changed = changed;
        ask.approved = approved.into_iter().map(str::to_owned).collect();
        ask.calls_left = calls_left;
        ask.arguments = if argued { json!({ "to": to }) } else { json!({ "n": 1 }) };
        ask
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_decision_is_always_the_same(permits in some_of(&PERMITS), forbids in some_of(&FORBIDS), ask in ask()) {
        let snapshot = loaded(&permits, &forbids);
        let decision = ask.of(&snapshot);
        prop_assert_eq!(&ask.of(&snapshot), &decision);
        prop_assert_eq!(&ask.of(&loaded(&permits, &forbids)), &decision);
        prop_assert!(!decision.reasons().is_empty());
    }

    /// INVARIANT (I7 unknown is No): fewer permits and more forbids never let more happen.
    #[test]
    fn stricter_policies_never_allow_more(
        permits in some_of(&PERMITS), forbids in some_of(&FORBIDS), fewer in any::<u8>(), more in any::<u8>(), ask in ask(),
    ) {
        let kept: Vec<&str> = permits.iter().enumerate().filter(|(n, _)| (fewer >> n) & 1 == 0).map(|(_, p)| *p).collect();
        let added = FORBIDS.iter().enumerate().filter(|(n, f)| (more >> n) & 1 == 1 || forbids.contains(*f)).map(|(_, f)| *f);
        let before = ask.of(&loaded(&permits, &forbids));
        let after = ask.of(&loaded(&kept, &added.collect::<Vec<_>>()));
        prop_assert!(rank(&after) <= rank(&before), "{:?} after {:?}", after, before);
    }

    /// Fewer approvals never let more happen.
    #[test]
    fn an_approval_only_discharges(permits in some_of(&PERMITS), forbids in some_of(&FORBIDS), ask in ask()) {
        let snapshot = loaded(&permits, &forbids);
        let without = Ask { approved: Default::default(), ..ask.clone() };
        prop_assert!(rank(&without.of(&snapshot)) <= rank(&ask.of(&snapshot)));
    }
}
