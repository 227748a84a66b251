//! What the state finds by looking in few places is what a look at everything gives.

use std::collections::BTreeSet;

use marque_core::attestation::{Attestation, Instance, Selector};
use marque_core::event::Body;
use marque_core::id::LeaseId;
use marque_core::identity::{Identity, Lifecycle};
use marque_core::lease::{CredentialClass, Lease};
use marque_core::scope::Scope;
use marque_core::state::State;
use marque_core::time::{Timestamp, Ttl};
use proptest::prelude::*;

use super::tasks::{World, identity};

#[derive(Clone, Debug)]
enum Step {
    Apply(usize, BTreeSet<Selector>),
    Move(usize, Lifecycle),
    Begin(usize, u32),
    End(usize),
}

fn selectors(least: usize) -> impl Strategy<Value = BTreeSet<Selector>> {
    let all: Vec<Selector> = (0..5).map(|n| format!("unix:uid:{n}").parse().unwrap()).collect();
    prop::sample::subsequence(all, least..=5).prop_map(BTreeSet::from_iter)
}

fn step() -> impl Strategy<Value = Step> {
    let lives = [Lifecycle::Proposed, Lifecycle::Active, Lifecycle::Suspended, Lifecycle::Retired];
    prop_oneof![
        3 => (0_usize..6, selectors(0)).prop_map(|(n, s)| Step::Apply(n, s)),
        1 => (0_usize..6, prop::sample::select(lives.to_vec())).prop_map(|(n, to)| Step::Move(n, to)),
        3 => (0_usize..6, 0_u32..3).prop_map(|(n, pid)| Step::Begin(n, pid)),
        1 => (0_usize..20).prop_map(Step::End),
    ]
}

fn seen(pid: u32, selectors: BTreeSet<Selector>) -> Attestation {
    Attestation { method: "unix".into(), pid, started: 1, selectors, until: None, node: None }
}

fn lease(id: LeaseId, of: &Instance, expires: Timestamp) -> Lease {
    Lease {
        id,
        class: CredentialClass::JwtSvid,
        identity: of.identity.clone(),
        instance: of.id,
        holder: None,
        task: None,
        scope: Scope::default(),
        issued: of.since,
        expires,
        handle: String::new(),
        binding: None,
        epoch: of.epoch,
    }
}

fn everything<'a>(state: &'a State, seen: &BTreeSet<Selector>) -> Vec<&'a Identity> {
    state.identities.values().filter(|i| i.state == Lifecycle::Active && i.matches(seen)).collect()
}

proptest! {
    #[test]
    fn what_has_expired_is_forgotten_and_nothing_else(lives in prop::collection::vec(1_u64..100, 0..20), later in 0_u64..120) {
        let mut world = World::new();
        let actor = identity(0, Scope::default());
        world.apply(Body::IdentityApplied { identity: actor.clone() });
        let instance = world.instance(&actor.id);
        for life in lives {
            let id = world.with(LeaseId::fresh);
            world.apply(Body::LeaseIssued { lease: lease(id, &instance, world.now.plus(Ttl::from_seconds(life))) });
        }
        let now = world.now.plus(Ttl::from_seconds(later));
        let kept: Vec<_> = world.state.leases.values().filter(|l| now < l.expires).cloned().collect();
        world.state.forget(now);
        prop_assert_eq!(world.state.leases.values().cloned().collect::<Vec<_>>(), kept);
    }

    #[test]
    fn nothing_is_missed_and_nothing_is_added(steps in prop::collection::vec(step(), 0..40), asked in selectors(0)) {
        let mut world = World::new();
        for step in steps {
            match step {
                Step::Apply(n, selectors) => {
                    let identity = Identity { selectors, ..identity(n, Scope::default()) };
                    world.apply(Body::IdentityApplied { identity });
                }
                Step::Move(n, to) => {
                    let identity = identity(n, Scope::default()).id;
                    world.apply(Body::IdentityMoved { identity, to, why: String::new() });
                }
                Step::Begin(n, pid) => {
                    let mut instance = world.instance(&identity(n, Scope::default()).id);
                    world.apply(Body::InstanceEnded { instance: instance.id });
                    instance.attestation.pid = pid;
                    world.apply(Body::InstanceAttested { instance });
                }
                Step::End(n) => {
                    if let Some(instance) = world.state.instances.keys().nth(n).copied() {
                        world.apply(Body::InstanceEnded { instance });
                    }
                }
            }
            prop_assert_eq!(world.state.identities_matching(&asked), everything(&world.state, &asked));
            for pid in 0..3 {
                let found: Vec<&Instance> = world.state.instances_of(&seen(pid, BTreeSet::new())).collect();
                let all: Vec<&Instance> = world.state.instances.values().filter(|i| i.attestation.pid == pid).collect();
                prop_assert_eq!(found, all);
            }
        }
    }
}
