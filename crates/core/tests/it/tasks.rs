//! I1, I2, I4 and I5 over random chains.

use std::collections::BTreeSet;

use marque_core::PersonId;
use marque_core::attestation::{Attestation, Instance, Selector};
use marque_core::decision::Needs;
use marque_core::elevation::{Call, Elevation, Status, Voted};
use marque_core::event::{Body, By, Event};
use marque_core::id::{ElevationId, EventId, InstanceId};
use marque_core::identity::{Identity, Kind, Lifecycle};
use marque_core::lease::CredentialClass;
use marque_core::resource::{Action, Sensitivity};
use marque_core::revocation::{Epoch, Target};
use marque_core::scope::Scope;
use marque_core::spiffe::SpiffeId;
use marque_core::state::{Dead, State};
use marque_core::task::{Budget, MAX_DEPTH, Task, Want};
use marque_core::time::{Cx, Timestamp, Ttl};
use proptest::prelude::*;

use super::laws::scope;

pub(crate) fn identity(n: usize, ceiling: Scope) -> Identity {
    Identity {
        id: format!("spiffe://example.org/agent/a{n}").parse().unwrap(),
        kind: Kind::Agent,
        owner: Some(person("owner@example.com")),
        purpose: "test".into(),
        selectors: selectors(),
        hint: None,
        nodes: BTreeSet::new(),
        ceiling,
        state: Lifecycle::Active,
        epoch: Epoch(0),
    }
}

/// What every identity here asks for, and every copy has.
fn selectors() -> BTreeSet<Selector> {
    BTreeSet::from(["unix:uid:1".parse().unwrap()])
}

fn person(name: &str) -> PersonId {
    name.parse().unwrap()
}

fn want(scope: Option<Scope>, seconds: u64) -> Want {
    Want { purpose: "p".into(), scope, ttl: Ttl::from_seconds(seconds), budget: Budget::default() }
}

pub(crate) struct World {
    pub(crate) state: State,
    counter: u128,
    pub(crate) now: Timestamp,
}

impl World {
    pub(crate) fn new() -> Self {
        Self { state: State::default(), counter: 0, now: Timestamp::from_seconds(1_700_000_000) }
    }

    pub(crate) fn with<T>(&mut self, act: impl FnOnce(&mut Cx<'_>) -> T) -> T {
        let counter = &mut self.counter;
        let mut fresh = || {
            *counter += 1;
            *counter
        };
        act(&mut Cx::new(self.now, &mut fresh))
    }

    pub(crate) fn apply(&mut self, what: Body) {
        let id = self.with(EventId::fresh);
        let event = Event { id, v: 1, ts: self.now, obs: None, iseq: 0, by: By::System, what };
        let bytes = event.to_bytes().unwrap();
        assert_eq!(Event::from_bytes(&bytes).unwrap(), event, "an event reads back as it was written");
        self.state.apply(&event);
    }

    pub(crate) fn instance(&mut self, of: &SpiffeId) -> Instance {
        let id = self.with(InstanceId::fresh);
        let attestation =
            Attestation { method: "unix".into(), pid: 1, started: 1, selectors: selectors(), until: None, node: None };
        let instance = Instance { id, identity: of.clone(), attestation, task: None, since: self.now, epoch: self.state.epoch };
        self.apply(Body::InstanceAttested { instance: instance.clone() });
        instance
    }
}

proptest! {
    /// INVARIANTS I1 and I2 over chains of random scopes and deadlines.
    #[test]
    fn chains_only_narrow(steps in prop::collection::vec((scope(), prop::option::of(scope()), 1_u64..10_000), 1..9)) {
        let mut world = World::new();
        let mut parent: Option<Task> = None;
        for (n, (ceiling, scope, seconds)) in steps.into_iter().enumerate() {
            let actor = identity(n, ceiling);
            world.apply(Body::IdentityApplied { identity: actor.clone() });
            let wanted = want(scope, seconds);
            let started = world.with(|cx| match &parent {
                None => Task::start(cx, person("alice@example.com"), &actor, wanted, Epoch(0)),
                Some(parent) => parent.delegate(cx, &actor, wanted, Epoch(0)),
            });
            let Ok((task, event)) = started else { continue };
            prop_assert!(actor.ceiling.covers(&task.scope));
            prop_assert!(task.depth <= MAX_DEPTH);
            if let Some(parent) = &parent {
                prop_assert!(parent.scope.covers(&task.scope));
                prop_assert!(task.expires <= parent.expires);
                prop_assert_eq!(&task.principal, &parent.principal);
                prop_assert_eq!(task.lineage.last(), Some(&parent.id));
            }
            world.apply(event);
            let instance = world.instance(&actor.id);
            let lease = world.with(|cx| task.lease(cx, &instance, None, CredentialClass::TaskToken, Ttl::from_seconds(100_000), Epoch(0)));
            let (lease, _) = lease.unwrap();
            prop_assert!(task.scope.covers(&lease.scope));
            prop_assert!(lease.expires <= task.expires);
            prop_assert!(lease.expires <= lease.issued.plus(CredentialClass::TaskToken.max_ttl()));
            parent = Some(task);
        }
    }

    /// INVARIANT I4: once dead, always dead, whatever is revoked or started afterwards.
    #[test]
    fn revocation_is_monotone(order in prop::collection::vec(0_usize..6, 1..12)) {
        let mut world = World::new();
        let ceiling: Scope = "invoke:tool:*".parse().unwrap();
        let actor = identity(0, ceiling);
        world.apply(Body::IdentityApplied { identity: actor.clone() });
        let (root, event) = world.with(|cx| Task::start(cx, person("alice@example.com"), &actor, want(None, 1000), Epoch(0))).unwrap();
        world.apply(event);
        let (child, event) = world.with(|cx| root.delegate(cx, &actor, want(None, 1000), Epoch(0))).unwrap();
        world.apply(event);
        let instance = world.instance(&actor.id);
        let (lease, event) = world.with(|cx| child.lease(cx, &instance, None, CredentialClass::TaskToken, Ttl::from_seconds(60), Epoch(0))).unwrap();
        world.apply(event);
        prop_assert!(world.state.check_lease(lease.id, world.now).is_ok());
        let targets = [
            Target::Lease(lease.id), Target::Task(root.id), Target::Instance(instance.id),
            Target::Identity(actor.id.clone()), Target::Owner(person("owner@example.com")), Target::Owner(person("alice@example.com")),
        ];
        for n in order {
            let epoch = world.state.epoch.next();
            world.apply(Body::Revoked { target: targets[n].clone(), epoch, why: String::new() });
            prop_assert_eq!(world.state.epoch, epoch);
            prop_assert!(world.state.check_lease(lease.id, world.now).is_err());
            // Bringing the identity back does not bring back what was revoked with it.
            world.apply(Body::IdentityMoved { identity: actor.id.clone(), to: Lifecycle::Active, why: String::new() });
            prop_assert!(world.state.check_lease(lease.id, world.now).is_err());
        }
    }
}

/// INVARIANT I5: another person, the exact call, a task of its own that dies with the held one.
#[test]
fn approval_starts_a_task_and_never_widens() {
    let mut world = World::new();
    let actor = identity(0, "invoke:tool:*".parse().unwrap());
    world.apply(Body::IdentityApplied { identity: actor.clone() });
    let (held, event) = world.with(|cx| Task::start(cx, person("alice@example.com"), &actor, want(None, 600), Epoch(0))).unwrap();
    world.apply(event);
    let instance = world.instance(&actor.id);
    let elevation = Elevation {
        id: world.with(ElevationId::fresh),
        call: Call {
            identity: actor.id.clone(),
            task: held.id,
            action: Action::Invoke,
            resource: "tool:mail/send".parse().unwrap(),
            sensitivity: Sensitivity::Internal,
            arguments: marque_core::Digest::from_bytes([7; 32]).into(),
            definition: None,
        },
        instance: instance.id,
        needs: Needs { elevations: vec!["pii".into()], approvals: 2, ttl: Ttl::from_seconds(60) },
        reasons: vec![],
        sight: String::new(),
        barred: world.state.chain_people(&held),
        votes: BTreeSet::new(),
        requested: world.now,
        decide_by: world.now.plus(Ttl::from_seconds(100)),
        status: Status::Pending,
        epoch: Epoch(0),
    };
    let id = elevation.id;
    world.apply(Body::ElevationRequested { elevation: Box::new(elevation) });
    for barred in ["alice@example.com", "owner@example.com"] {
        let held_request = world.state.elevations[&id].clone();
        assert!(world.with(|cx| held_request.approve(cx, &person(barred), &held, Epoch(0))).is_err());
    }
    let first = world.state.elevations[&id].clone();
    let Ok(Voted::Waiting(vote)) = world.with(|cx| first.approve(cx, &person("bob@example.com"), &held, Epoch(0))) else {
        unreachable!()
    };
    world.apply(*vote);
    let second = world.state.elevations[&id].clone();
    assert!(world.with(|cx| second.approve(cx, &person("bob@example.com"), &held, Epoch(0))).is_err(), "one approver, one vote");
    let Ok(Voted::Approved(task, events)) = world.with(|cx| second.approve(cx, &person("carol@example.com"), &held, Epoch(0)))
    else {
        unreachable!()
    };
    for event in events {
        world.apply(event);
    }
    assert_eq!(world.state.tasks[&held.id], held, "the held task is as it was");
    assert_eq!(task.principal, person("carol@example.com"));
    assert!(held.scope.covers(&task.scope) && task.lineage.contains(&held.id) && task.expires <= held.expires);
    assert!(task.scope.allows(Action::Invoke, &"tool:mail/send".parse().unwrap(), Sensitivity::Internal));
    assert!(!task.scope.allows(Action::Invoke, &"tool:mail/read".parse().unwrap(), Sensitivity::Internal));
    assert!(world.state.check_task(task.id, world.now).is_ok());
    let third = world.state.elevations[&id].clone();
    assert!(third.refuse(world.now, &person("dave@example.com"), "late").is_err(), "one terminal transition");
    let epoch = world.state.epoch.next();
    world.apply(Body::Revoked { target: Target::Task(held.id), epoch, why: String::new() });
    assert_eq!(world.state.check_task(task.id, world.now), Err(Dead::Revoked(Target::Task(held.id))));
}

/// INVARIANT I5: expiry beats approval.
#[test]
fn expiry_beats_approval() {
    let mut world = World::new();
    let actor = identity(0, "invoke:tool:*".parse().unwrap());
    let (held, _) = world.with(|cx| Task::start(cx, person("alice@example.com"), &actor, want(None, 600), Epoch(0))).unwrap();
    let elevation = Elevation {
        id: world.with(ElevationId::fresh),
        call: Call {
            identity: actor.id.clone(),
            task: held.id,
            action: Action::Invoke,
            resource: "tool:x".parse().unwrap(),
            sensitivity: Sensitivity::Public,
            arguments: marque_core::Digest::from_bytes([0; 32]).into(),
            definition: None,
        },
        instance: world.with(InstanceId::fresh),
        needs: Needs { elevations: vec![], approvals: 1, ttl: Ttl::from_seconds(60) },
        reasons: vec![],
        sight: String::new(),
        barred: BTreeSet::new(),
        votes: BTreeSet::new(),
        requested: world.now,
        decide_by: world.now.plus(Ttl::from_seconds(1)),
        status: Status::Pending,
        epoch: Epoch(0),
    };
    world.now = world.now.plus(Ttl::from_seconds(1));
    assert!(world.with(|cx| elevation.approve(cx, &person("bob@example.com"), &held, Epoch(0))).is_err());
}

/// INVARIANT I8: an identity whose owner is not known is a finding until the owner is.
#[test]
fn an_identity_without_a_live_owner_is_a_finding() {
    let mut world = World::new();
    world.apply(Body::IdentityApplied { identity: identity(0, Scope::default()) });
    let problems = |w: &World| {
        marque_core::finding::findings(&w.state)
            .into_iter()
            .filter(|f| f.problem == marque_core::finding::Problem::NoOwner)
            .count()
    };
    assert_eq!(problems(&world), 1);
    world.apply(Body::PersonAdded { person: person("owner@example.com"), credential: marque_core::Digest::from_bytes([1; 32]) });
    assert_eq!(problems(&world), 0);
}
