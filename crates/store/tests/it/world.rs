//! A factory of events: random steps, each of which could have happened after those before it.

use std::collections::BTreeSet;

use marque_core::attestation::{Attestation, Instance};
use marque_core::decision::{Effect, Needs, Reason};
use marque_core::elevation::{Call, Elevation, Status};
use marque_core::event::{Body, By, Event, SCHEMA};
use marque_core::id::{ElevationId, EventId, InstanceId, LeaseId, RecordId, TaskId};
use marque_core::identity::{Identity, Kind, Lifecycle};
use marque_core::lease::{CredentialClass, Lease};
use marque_core::record::{Consent, Content, Decided, Ending, Outcome, Posture};
use marque_core::resource::{Action, Sensitivity};
use marque_core::revocation::{Epoch, Target};
use marque_core::spiffe::SpiffeId;
use marque_core::task::{Budget, Task};
use marque_core::time::{Cx, Timestamp, Ttl};
use marque_core::{Digest, PersonId, Prints};

/// All that happened, and what of it is still there.
pub(crate) struct World {
    pub(crate) events: Vec<Event>,
    instances: Vec<Instance>,
    tasks: Vec<Task>,
    leases: Vec<Lease>,
    unsettled: Vec<RecordId>,
    held: Vec<Elevation>,
    epoch: Epoch,
    now: Timestamp,
    counter: u128,
}

impl World {
    /// Two identities, a running copy of one, and a task.
    pub(crate) fn new() -> Self {
        let now = Timestamp::from_seconds(1_700_000_000);
        let (events, instances, tasks, leases) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let (unsettled, held) = (Vec::new(), Vec::new());
        let mut world = Self { events, instances, tasks, leases, unsettled, held, epoch: Epoch(0), now, counter: 0 };
        for n in 0..2 {
            let identity = Identity {
                id: actor(n),
                kind: Kind::Agent,
                owner: Some(person("owner")),
                purpose: "test".into(),
                selectors: BTreeSet::from(["unix:uid:1".parse().unwrap()]),
                hint: None,
                nodes: BTreeSet::new(),
                ceiling: "invoke:tool:*".parse().unwrap(),
                state: Lifecycle::Active,
                epoch: Epoch(0),
            };
            world.push(Body::IdentityApplied { identity });
        }
        world.attest(0);
        world.start(0, 0);
        world
    }

    /// The world after these steps.
    pub(crate) fn after(steps: &[(u8, u16, u8)]) -> Self {
        let mut world = Self::new();
        for (kind, pick, extra) in steps {
            world.step(*kind, usize::from(*pick), *extra);
        }
        world
    }

    /// One step of 16 kinds; nothing where there is nothing to step on.
    pub(crate) fn step(&mut self, kind: u8, pick: usize, extra: u8) {
        match kind {
            0 => self.attest(extra),
            1 => {
                if let Some(instance) = take(&mut self.instances, pick) {
                    self.push(Body::InstanceEnded { instance: instance.id });
                }
            }
            2 | 3 => self.start(pick, extra),
            4 => {
                if let Some(task) = take(&mut self.tasks, pick) {
                    self.push(Body::TaskFinished { task: task.id });
                }
            }
            5 | 6 => self.lease(pick, extra),
            7..=9 => self.decide(pick, extra),
            10 | 11 => self.settle(pick, extra),
            12 => self.hold(pick, extra),
            13 => self.end_elevation(pick, extra),
            14 => self.revoke(pick, extra),
            _ => self.push(Body::AttestationRefused { why: format!("ungültig {extra} \"\\\u{1}") }),
        }
    }

    pub(crate) fn push(&mut self, what: Body) {
        self.now = Timestamp::from_micros(self.now.micros() + 1_234_567);
        let by = match self.events.len() % 3 {
            0 => By::System,
            1 => By::Person(person("alice")),
            _ => self.instances.first().map_or(By::System, |instance| By::Instance(instance.id)),
        };
        let event = Event { id: self.fresh(EventId::fresh), v: SCHEMA, ts: self.now, obs: None, iseq: 0, by, what };
        self.events.push(event);
    }

    fn fresh<T>(&mut self, make: fn(&mut Cx<'_>) -> T) -> T {
        let counter = &mut self.counter;
        let mut entropy = || {
            *counter += 1;
            *counter
        };
        make(&mut Cx::new(self.now, &mut entropy))
    }

    fn attest(&mut self, extra: u8) {
        let attestation = Attestation {
            method: "unix".into(),
            pid: u32::from(extra),
            started: 1,
            selectors: BTreeSet::new(),
            until: None,
            node: None,
        };
        let (id, identity) = (self.fresh(InstanceId::fresh), actor(extra % 2));
        let task = self.tasks.last().filter(|_| extra > 127).map(|task| task.id);
        let instance = Instance { id, identity, attestation, task, since: self.now, epoch: self.epoch };
        self.instances.push(instance.clone());
        self.push(Body::InstanceAttested { instance });
    }

    /// A task of its own, or below one that is there.
    fn task(&mut self, pick: usize, extra: u8, principal: &str) -> Task {
        let parent = self.tasks.get(pick % (self.tasks.len() + 1)).cloned();
        Task {
            id: self.fresh(TaskId::fresh),
            parent: parent.as_ref().map(|task| task.id),
            lineage: parent.iter().flat_map(|task| task.lineage.iter().copied().chain([task.id])).collect(),
            actor: actor(extra % 2),
            principal: person(principal),
            purpose: format!("purpose {extra}"),
            scope: "invoke:tool:*".parse().unwrap(),
            started: self.now,
            expires: self.now.plus(Ttl::from_minutes(30)),
            depth: parent.map_or(0, |task| task.depth.saturating_add(1)),
            budget: Budget { calls: Some(u64::from(extra)).filter(|calls| *calls > 100) },
            elevation: None,
            epoch: self.epoch,
        }
    }

    fn start(&mut self, pick: usize, extra: u8) {
        let task = self.task(pick, extra, "alice");
        self.tasks.push(task.clone());
        self.push(Body::TaskStarted { task });
    }

    fn lease(&mut self, pick: usize, extra: u8) {
        let (Some(instance), Some(task)) = (one(&self.instances, pick), one(&self.tasks, usize::from(extra))) else { return };
        let classes = [CredentialClass::X509Svid, CredentialClass::JwtSvid, CredentialClass::WitSvid, CredentialClass::TaskToken];
        let lease = Lease {
            id: self.fresh(LeaseId::fresh),
            class: classes[pick % 4],
            identity: instance.identity,
            instance: instance.id,
            holder: None,
            task: Some(task.id).filter(|_| extra < 200),
            scope: task.scope,
            issued: self.now,
            expires: self.now.plus(Ttl::from_minutes(5)),
            handle: format!("{pick}"),
            binding: Some("key".to_owned()).filter(|_| extra > 100),
            epoch: self.epoch,
        };
        self.leases.push(lease.clone());
        self.push(Body::LeaseIssued { lease });
    }

    fn decide(&mut self, pick: usize, extra: u8) {
        let (Some(lease), Some(task)) = (one(&self.leases, usize::from(extra)), one(&self.tasks, pick)) else { return };
        let content = |n: usize| Content {
            at: format!("/params/{n}"),
            exact: digest((pick + n) % 5).into(),
            normalised: digest((pick + 3 * n) % 4).into(),
            prints: Prints::new(vec![n as u64; n]),
            bytes: n as u64,
        };
        let decided = Decided {
            record: self.fresh(RecordId::fresh),
            identity: lease.identity,
            instance: lease.instance,
            lease: lease.id,
            task: task.id,
            principal: task.principal,
            action: Action::Invoke,
            resource: "tool:mail/send".parse().unwrap(),
            sensitivity: Sensitivity::Internal,
            protocol: "mcp tools/call".into(),
            effect: [Effect::Allow, Effect::Allow, Effect::Deny, Effect::Hold][usize::from(extra % 4)],
            reasons: vec![Reason::built_in("test", "because of 'it'; --")],
            policy: digest(9),
            request: digest(10).into(),
            arguments: digest(11).into(),
            intent: "an intent".into(),
            posture: Posture { method: "unix".into(), age: 3 },
            consent: Consent::NotNeeded,
            obligations: vec!["record-outcome".into()],
            correlation: Some("jsonrpc:1".into()).filter(|_| extra > 100),
            causes: Vec::new(),
            contents: (0..usize::from(extra % 3)).map(content).collect(),
            elevation: self.held.first().map(|elevation| elevation.id).filter(|_| extra > 200),
        };
        self.unsettled.push(decided.record);
        self.push(Body::Decided(Box::new(decided)));
    }

    fn settle(&mut self, pick: usize, extra: u8) {
        let Some(record) = take(&mut self.unsettled, pick) else { return };
        let ending = [Ending::Answered, Ending::Truncated, Ending::Cut, Ending::Failed][usize::from(extra % 4)];
        let response = Some(digest(usize::from(extra)).into()).filter(|_| extra > 50);
        let outcome = Outcome { ending, status: 200, response, bytes: u64::from(extra), contents: Vec::new() };
        self.push(Body::Settled { record, principal: None, outcome: if extra == 0 { Outcome::abandoned() } else { outcome } });
    }

    fn hold(&mut self, pick: usize, extra: u8) {
        let (Some(instance), Some(task)) = (one(&self.instances, usize::from(extra)), one(&self.tasks, pick)) else { return };
        let call = Call {
            identity: task.actor,
            task: task.id,
            action: Action::Invoke,
            resource: "tool:mail/send".parse().unwrap(),
            sensitivity: Sensitivity::Confidential,
            arguments: digest(usize::from(extra % 4)).into(),
            definition: Some(digest(3)).filter(|_| extra > 100),
        };
        let elevation = Elevation {
            id: self.fresh(ElevationId::fresh),
            call,
            instance: instance.id,
            needs: Needs { elevations: vec!["pii".into()], approvals: 2, ttl: Ttl::from_minutes(15) },
            reasons: vec![Reason { policy: "p".into(), text: "t".into(), at: Some("baseline.cedar:12".into()) }],
            sight: "{}".into(),
            barred: BTreeSet::from([task.principal]),
            votes: BTreeSet::new(),
            requested: self.now,
            decide_by: self.now.plus(Ttl::from_minutes(60)),
            status: Status::Pending,
            epoch: self.epoch,
        };
        self.held.push(elevation.clone());
        self.push(Body::ElevationRequested { elevation: Box::new(elevation) });
    }

    fn end_elevation(&mut self, pick: usize, extra: u8) {
        let Some(Elevation { id: elevation, .. }) = take(&mut self.held, pick) else { return };
        match extra % 3 {
            0 => self.push(Body::ElevationRefused { elevation, by: person("bob"), why: "no".into() }),
            1 => self.push(Body::ElevationExpired { elevation }),
            _ => {
                let task = self.task(pick, extra, "bob");
                self.tasks.push(task.clone());
                self.push(Body::ElevationVoted { elevation, by: person("carol") });
                self.push(Body::ElevationApproved { elevation, by: person("bob"), task });
            }
        }
    }

    fn revoke(&mut self, pick: usize, extra: u8) {
        let target = match extra % 5 {
            0 => one(&self.leases, pick).map(|lease| Target::Lease(lease.id)),
            1 => one(&self.tasks, pick).map(|task| Target::Task(task.id)),
            2 => one(&self.instances, pick).map(|instance| Target::Instance(instance.id)),
            3 => Some(Target::Identity(actor(extra % 2))),
            _ => Some(Target::Owner(person("owner"))),
        };
        let Some(target) = target else { return };
        self.epoch = self.epoch.next();
        self.push(Body::Revoked { target, epoch: self.epoch, why: "test".into() });
    }
}

fn one<T: Clone>(of: &[T], pick: usize) -> Option<T> {
    of.get(pick.checked_rem(of.len())?).cloned()
}

fn take<T>(of: &mut Vec<T>, pick: usize) -> Option<T> {
    let at = pick.checked_rem(of.len())?;
    Some(of.remove(at))
}

fn actor(n: u8) -> SpiffeId {
    format!("spiffe://example.org/agent/a{n}").parse().unwrap()
}

fn person(name: &str) -> PersonId {
    format!("{name}@example.com").parse().unwrap()
}

pub(crate) fn digest(n: usize) -> Digest {
    Digest::from_bytes([n as u8; 32])
}
