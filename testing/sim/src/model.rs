//! What the simulator believes: its own lists of what the engine acknowledged, and of what has ended for good.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use marque_core::attestation::Instance;
use marque_core::decision::Effect;
use marque_core::id::{ElevationId, InstanceId, LeaseId, RecordId, TaskId};
use marque_core::identity::Lifecycle;
use marque_core::lease::Lease;
use marque_core::record::Outcome;
use marque_core::resource::{Action, Resource, ResourceId, Sensitivity};
use marque_core::revocation::{Epoch, Target};
use marque_core::scope::Scope;
use marque_core::spiffe::SpiffeId;
use marque_core::task::Task;
use marque_core::time::Timestamp;
use marque_core::{Digest, PersonId};
use marque_engine::ActionRequest;
use marque_engine::desired::Desired;
use serde_json::Value;

use crate::words;

/// Everything acknowledged so far.
#[derive(Debug, Default)]
pub struct Model {
    /// People who are known.
    pub people: BTreeSet<PersonId>,
    /// Identities as last applied, moved or suspended.
    pub identities: BTreeMap<SpiffeId, Known>,
    /// Resources as last applied or pinned.
    pub resources: BTreeMap<ResourceId, Resource>,
    /// The digest of the policies in force.
    pub policy: Option<Digest>,
    /// Every task that ever started.
    pub tasks: BTreeMap<TaskId, Task>,
    /// Tasks that were finished.
    pub finished: BTreeSet<TaskId>,
    /// Every process that was ever attested.
    pub instances: BTreeMap<InstanceId, Instance>,
    /// Every credential that was ever issued.
    pub credentials: BTreeMap<LeaseId, Credential>,
    /// Every request that was ever held.
    pub held: BTreeMap<ElevationId, Held>,
    /// Every decision.
    pub records: BTreeMap<RecordId, Expected>,
    /// Calls that were allowed, counted for each task and all above it.
    pub used: BTreeMap<TaskId, u64>,
    /// Every revocation, with the last epoch of each target.
    pub revocations: BTreeMap<Target, Epoch>,
    /// The last epoch.
    pub epoch: Epoch,
    /// The latest moment at which something was acknowledged.
    pub latest: Timestamp,
    /// Tasks that have ended for good.
    pub dead_tasks: BTreeSet<TaskId>,
    /// Processes that hold nothing any more, for good.
    pub dead_instances: BTreeSet<InstanceId>,
    /// Credentials that are never accepted again.
    pub dead: BTreeSet<LeaseId>,
}

/// An identity.
#[derive(Clone, Debug)]
pub struct Known {
    pub owner: PersonId,
    pub ceiling: Scope,
    pub state: Lifecycle,
}

/// A credential, and what is presented of it.
#[derive(Clone, Debug)]
pub struct Credential {
    pub lease: Lease,
    pub form: Form,
}

/// What is presented of a credential.
#[derive(Clone, Debug)]
pub enum Form {
    /// An X.509-SVID: its chain.
    Certificate(Vec<Vec<u8>>),
    /// A JWT-SVID.
    Jwt(String),
    /// A task token, and the thumbprint of the certificate that it is bound to.
    Token(String, String),
    /// A session of the gateway: nothing but its lease.
    Session,
}

/// A call that an agent tries.
#[derive(Clone, Debug, PartialEq)]
pub struct Attempt {
    pub lease: LeaseId,
    pub action: Action,
    pub resource: ResourceId,
    pub arguments: Value,
    pub definition: Option<Digest>,
}

/// A held request.
#[derive(Clone, Debug)]
pub struct Held {
    /// The call that was held.
    pub attempt: Attempt,
    /// The task that it was held under.
    pub task: TaskId,
    /// The people of that task's chain when it was held.
    pub barred: BTreeSet<PersonId>,
    /// Who approved.
    pub voters: BTreeSet<PersonId>,
    /// How many must.
    pub approvals: u32,
    /// The names that an approval discharges.
    pub names: Vec<String>,
    /// When it expires undecided.
    pub decide_by: Timestamp,
    /// Refused or revoked: no approval counts any more.
    pub over: bool,
    /// The task that its approval started.
    pub started: Option<TaskId>,
    /// How many calls were allowed by it.
    pub used: u64,
}

/// What the ledger must say of a decision.
#[derive(Clone, Debug)]
pub struct Expected {
    pub effect: Effect,
    pub task: TaskId,
    pub ending: Ending,
}

/// What the ledger must say of how an action ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Ending {
    /// Nothing yet.
    Open,
    /// This.
    Settled(Outcome),
}

impl Attempt {
    /// Whether it is the same call, whatever credential it comes with.
    pub fn same_call(&self, other: &Self) -> bool {
        (self.action, &self.resource, &self.arguments, self.definition)
            == (other.action, &other.resource, &other.arguments, other.definition)
    }

    /// The request to the engine.
    pub fn request(&self) -> ActionRequest {
        let bytes = self.arguments.to_string();
        ActionRequest {
            lease: self.lease,
            action: self.action,
            resource: self.resource.clone(),
            arguments: self.arguments.clone(),
            request: marque_engine::sha256(bytes.as_bytes()),
            contents: vec![marque_engine::content("/arguments", bytes.as_bytes())],
            protocol: "simulated".into(),
            definition: self.definition,
            correlation: None,
            causes: Vec::new(),
        }
    }
}

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {} with {}", self.action, self.resource, self.arguments, self.lease)
    }
}

impl Model {
    /// Takes in a manifest that was applied.
    pub fn applied(&mut self, desired: &Desired, policy: Digest) {
        for spec in &desired.identities {
            let id = words::identity(&spec.name);
            // A manifest neither lifts a suspension nor takes an activation back.
            let state = match self.identities.get(&id).map(|known| known.state) {
                Some(old @ (Lifecycle::Active | Lifecycle::Suspended | Lifecycle::Retired)) => old,
                _ => spec.state,
            };
            self.identities.insert(id, Known { owner: spec.owner.clone(), ceiling: spec.ceiling.clone(), state });
        }
        for resource in &desired.resources {
            let pinned = self.resources.get(&resource.id).and_then(|old| old.definition);
            let definition = resource.definition.or(pinned);
            self.resources.insert(resource.id.clone(), Resource { definition, ..resource.clone() });
        }
        self.policy = Some(policy);
    }

    /// The sensitivity that a call on a resource touches.
    pub fn sensitivity(&self, id: &ResourceId) -> Sensitivity {
        self.resources.get(id).map(|r| r.sensitivity).unwrap_or_default()
    }

    /// The task and all it hangs from, the root first.
    pub fn chain(&self, id: TaskId) -> Vec<&Task> {
        let Some(task) = self.tasks.get(&id) else { return Vec::new() };
        task.lineage.iter().filter_map(|above| self.tasks.get(above)).chain([task]).collect()
    }

    /// Whoever asked for a task of the chain, or owns an identity in it.
    pub fn people_of(&self, id: TaskId) -> BTreeSet<PersonId> {
        let owner = |t: &Task| self.identities.get(&t.actor).map(|i| i.owner.clone());
        self.chain(id).into_iter().flat_map(|t| [Some(t.principal.clone()), owner(t)]).flatten().collect()
    }

    /// The held request whose approval started this task.
    pub fn held_of(&self, task: TaskId) -> Option<ElevationId> {
        self.held.iter().find(|(_, held)| held.started == Some(task)).map(|(id, _)| *id)
    }

    /// Ends for good everything that hangs from a target now, and suspends what it suspends.
    pub fn revoked(&mut self, target: &Target, epoch: Epoch) {
        self.bury(target);
        self.epoch = self.epoch.max(epoch);
        self.revocations.insert(target.clone(), epoch);
        if let Target::Elevation(id) = target
            && let Some(held) = self.held.get_mut(id)
        {
            held.over = true;
        }
        if let Target::Owner(person) = target {
            // A vote that still waited for others is taken back with its person.
            self.held.values_mut().filter(|held| held.started.is_none()).for_each(|held| _ = held.voters.remove(person));
        }
        for (id, known) in &mut self.identities {
            let hit = matches!(target, Target::Identity(i) if i == id) || matches!(target, Target::Owner(p) if *p == known.owner);
            if hit && known.state == Lifecycle::Active {
                known.state = Lifecycle::Suspended;
            }
        }
    }

    /// A task was finished: it ends as if it had been revoked.
    pub fn finished(&mut self, task: TaskId) {
        self.finished.insert(task);
        self.bury(&Target::Task(task));
    }

    /// An identity took a step of its life; retiring it is for good.
    pub fn moved(&mut self, id: &SpiffeId, to: Lifecycle) {
        if to == Lifecycle::Retired {
            self.bury(&Target::Identity(id.clone()));
        }
        if let Some(known) = self.identities.get_mut(id) {
            known.state = to;
        }
    }

    fn bury(&mut self, target: &Target) {
        let ends = |task: &&TaskId| self.chain(**task).into_iter().any(|t| self.is_hit(t, target));
        let tasks: Vec<TaskId> = self.tasks.keys().filter(ends).copied().collect();
        self.dead_tasks.extend(tasks);
        let of = |identity: &SpiffeId| match target {
            Target::Identity(id) => id == identity,
            Target::Owner(person) => self.identities.get(identity).is_some_and(|i| i.owner == *person),
            _ => false,
        };
        let ends = |i: &&Instance| *target == Target::Instance(i.id) || of(&i.identity);
        let instances: Vec<InstanceId> = self.instances.values().filter(ends).map(|i| i.id).collect();
        let ends = |c: &&Credential| {
            let lease = &c.lease;
            *target == Target::Lease(lease.id)
                || of(&lease.identity)
                || self.dead_instances.contains(&lease.instance)
                || instances.contains(&lease.instance)
                || lease.task.is_some_and(|task| self.dead_tasks.contains(&task))
        };
        let leases: Vec<LeaseId> = self.credentials.values().filter(ends).map(|c| c.lease.id).collect();
        self.dead.extend(leases);
        self.dead_instances.extend(instances);
    }

    /// Whether a target hits this very task.
    fn is_hit(&self, task: &Task, target: &Target) -> bool {
        let held = || self.held_of(task.id).and_then(|id| self.held.get(&id));
        match target {
            Target::Task(id) => task.id == *id,
            Target::Identity(id) => task.actor == *id,
            // What a person asked for, owns or approved.
            Target::Owner(person) => {
                task.principal == *person
                    || self.identities.get(&task.actor).is_some_and(|i| i.owner == *person)
                    || held().is_some_and(|held| held.voters.contains(person))
            }
            Target::Elevation(id) => self.held_of(task.id) == Some(*id),
            Target::Lease(_) | Target::Instance(_) => false,
        }
    }
}
