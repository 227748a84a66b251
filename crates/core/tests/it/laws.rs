//! Scope is a lattice: `covers` is a partial order and `meet` the greatest lower bound.

use marque_core::resource::{ResourceId, Sensitivity};
use marque_core::scope::{Grant, Scope};
use proptest::prelude::*;

pub fn scope() -> impl Strategy<Value = Scope> {
    prop::collection::vec(grant(), 0..5).prop_map(Scope::new)
}

fn grant() -> impl Strategy<Value = Grant> {
    let actions = prop::sample::subsequence(vec!["invoke", "read", "export", "delegate"], 1..=3);
    let pattern = prop::sample::select(vec![
        "tool:*",
        "tool:crm/*",
        "tool:crm/find",
        "tool:mail/send",
        "dataset:*",
        "dataset:crm",
        "identity:agent/*",
    ]);
    let bound = prop::sample::select(vec!["", ";sensitivity=public", ";sensitivity=internal", ";sensitivity=confidential"]);
    (actions, pattern, bound).prop_map(|(a, p, b)| format!("{}:{p}{b}", a.join(",")).parse().unwrap())
}

proptest! {
    #[test]
    fn covers_is_reflexive_and_transitive(a in scope(), b in scope(), c in scope()) {
        prop_assert!(a.covers(&a));
        if a.covers(&b) && b.covers(&c) {
            prop_assert!(a.covers(&c));
        }
    }

    #[test]
    fn meet_is_the_greatest_lower_bound(a in scope(), b in scope(), c in scope()) {
        let meet = a.meet(&b);
        prop_assert!(a.covers(&meet) && b.covers(&meet));
        if a.covers(&c) && b.covers(&c) {
            prop_assert!(meet.covers(&c), "{a} ⊓ {b} = {meet} does not cover {c}");
        }
        let other = b.meet(&a);
        prop_assert!(meet.covers(&other) && other.covers(&meet));
    }

    #[test]
    fn what_is_covered_is_allowed(a in scope(), b in scope()) {
        let things: Vec<ResourceId> = ["tool:crm/find", "tool:mail/send", "dataset:crm", "identity:agent/a", "tool:x"].iter().map(|s| s.parse().unwrap()).collect();
        if a.covers(&b) {
            for thing in &things {
                for action in marque_core::resource::Action::ALL {
                    for level in [Sensitivity::Public, Sensitivity::Internal, Sensitivity::Confidential, Sensitivity::Restricted] {
                        prop_assert!(!b.allows(action, thing, level) || a.allows(action, thing, level));
                    }
                }
            }
        }
    }

    #[test]
    fn text_round_trips(a in scope()) {
        let again: Scope = a.to_string().parse().unwrap();
        prop_assert_eq!(&again, &a);
        let json = serde_json::to_string(&a).unwrap();
        prop_assert_eq!(serde_json::from_str::<Scope>(&json).unwrap(), a);
    }
}
