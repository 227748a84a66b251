//! The fold of the events: what Marque knows now.
//!
//! INVARIANT (I6 the ledger is the history): [`State::apply`] is the only way in, it is pure, and replaying the log
//! from its first event gives the same state again.

use std::collections::{BTreeMap, BTreeSet};

use crate::attestation::{Attestation, Instance, Selector};
use crate::decision::Effect;
use crate::elevation::{Call, Elevation, Status};
use crate::event::{Body, Event};
use crate::id::{ElevationId, InstanceId, LeaseId, TaskId};
use crate::identity::{Identity, Lifecycle};
use crate::lease::Lease;
use crate::lookup::Lookup;
use crate::node::{JoinToken, Node, NodeName};
use crate::resource::{Resource, ResourceId};
use crate::revocation::{Epoch, Target};
use crate::spiffe::{SpiffeId, TrustDomain};
use crate::task::Task;
use crate::time::Timestamp;
use crate::{Digest, PersonId};

/// Everything that authority depends on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// The trust domain, once the log has begun.
    pub trust_domain: Option<TrustDomain>,
    /// People and the digests of their bootstrap credentials.
    pub people: BTreeMap<PersonId, Digest>,
    /// The pseudonyms of people whose data was erased: nobody is ever known by their name again.
    pub erased: BTreeSet<PersonId>,
    /// Registered identities, retired ones too: a name is never used again.
    pub identities: BTreeMap<SpiffeId, Identity>,
    /// Registered resources.
    pub resources: BTreeMap<ResourceId, Resource>,
    /// Policy files by name.
    pub policy_files: BTreeMap<String, String>,
    /// The names in force and the digest over them.
    pub policy: Option<(Vec<String>, Digest)>,
    /// Other hosts on which the Workload API is served, banned ones too: a banned name is never used again.
    pub nodes: BTreeMap<NodeName, Node>,
    /// Processes that have not ended.
    pub instances: BTreeMap<InstanceId, Instance>,
    /// Tasks that have not ended.
    pub tasks: BTreeMap<TaskId, Task>,
    /// Credentials that have not expired.
    pub leases: BTreeMap<LeaseId, Lease>,
    /// Held requests that still matter.
    pub elevations: BTreeMap<ElevationId, Elevation>,
    /// Elevations that wait or may be used, by the exact call.
    pub calls: BTreeMap<Call, ElevationId>,
    /// Calls allowed so far, by task, each counted for the task and for all above it.
    pub usage: BTreeMap<TaskId, u64>,
    /// The last revocation of each target.
    pub revocations: BTreeMap<Target, Epoch>,
    /// The last epoch.
    pub epoch: Epoch,
    /// Where to look in `identities` and `instances`; kept by [`State::apply`] alone.
    lookup: Lookup,
}

/// Why something no longer counts.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Dead {
    /// Revoked itself, or something that it hangs from was.
    #[error("`{0}` was revoked")]
    Revoked(Target),
    /// Not known here, or forgotten after it ended.
    #[error("`{0}` is not known or has ended")]
    Unknown(String),
    /// Its time is over.
    #[error("`{0}` has expired")]
    Expired(String),
    /// The identity is not active.
    #[error("`{0}` is {1}")]
    NotActive(SpiffeId, Lifecycle),
    /// The node was banned.
    #[error("node `{0}` is banned")]
    Banned(NodeName),
    /// The identity is not for the host on which it was attested.
    #[error("`{0}` is not for {1}")]
    NotThere(SpiffeId, String),
}

impl State {
    /// Takes in the next event of the log.
    pub fn apply(&mut self, event: &Event) {
        match &event.what {
            Body::LogStarted { trust_domain } => self.trust_domain = Some(trust_domain.clone()),
            Body::PersonAdded { person, credential } => {
                self.people.insert(person.clone(), *credential);
            }
            Body::IdentityApplied { identity } => {
                self.lookup.identity(identity);
                self.identities.insert(identity.id.clone(), identity.clone());
            }
            Body::IdentityMoved { identity, to, .. } => self.move_identity(identity, *to),
            Body::ResourceApplied { resource } => {
                self.resources.insert(resource.id.clone(), resource.clone());
            }
            Body::ToolPinned { tool, definition } => {
                if let Some(tool) = self.resources.get_mut(tool) {
                    tool.definition = Some(*definition);
                }
            }
            Body::PolicyFile { name, text } => {
                self.policy_files.insert(name.clone(), text.clone());
            }
            Body::PolicyActivated { files, digest } => {
                self.policy_files.retain(|name, _| files.contains(name));
                self.policy = Some((files.clone(), *digest));
            }
            Body::InstanceAttested { instance } => {
                self.lookup.begun(instance);
                self.instances.insert(instance.id, instance.clone());
            }
            Body::InstanceEnded { instance } => {
                if let Some(ended) = self.instances.remove(instance) {
                    self.lookup.ended(&ended);
                }
            }
            Body::NodeTokenMade { node, token, expires } => {
                let token = JoinToken { digest: *token, expires: *expires };
                self.nodes.entry(node.clone()).or_default().token = Some(token);
            }
            Body::NodeJoined { node, how, selectors, certificate, expires } => {
                let node = self.nodes.entry(node.clone()).or_default();
                node.admit(*how, selectors, event.ts, (certificate.as_str(), *expires));
            }
            Body::NodeBanned { node, .. } => self.nodes.entry(node.clone()).or_default().ban(event.ts),
            Body::TaskStarted { task } => {
                self.tasks.insert(task.id, task.clone());
            }
            Body::TaskFinished { task } => {
                self.tasks.remove(task);
            }
            Body::LeaseIssued { lease } => {
                self.lookup.issued(lease);
                self.leases.insert(lease.id, lease.clone());
            }
            Body::Decided(decided) => {
                if decided.effect == Effect::Allow
                    && let Some(task) = self.tasks.get(&decided.task).cloned()
                {
                    self.count(&task, 1);
                }
            }
            Body::ElevationRequested { elevation } => {
                self.calls.insert(elevation.call.clone(), elevation.id);
                self.elevations.insert(elevation.id, (**elevation).clone());
            }
            Body::ElevationVoted { elevation, by } => {
                if let Some(held) = self.elevations.get_mut(elevation) {
                    held.votes.insert(by.clone());
                }
            }
            Body::ElevationApproved { elevation, task, .. } => {
                self.tasks.insert(task.id, task.clone());
                self.close(*elevation, Status::Approved { task: task.id });
            }
            Body::ElevationRefused { elevation, by, .. } => self.close(*elevation, Status::Refused { by: by.clone() }),
            Body::ElevationExpired { elevation } => self.close(*elevation, Status::Expired),
            Body::Revoked { target, epoch, .. } => self.revoke(target, *epoch),
            Body::Erased { person, pseudonym } => self.rename(person, pseudonym),
            Body::AttestationRefused { .. }
            | Body::IssueRefused { .. }
            | Body::Settled { .. }
            | Body::ArtifactAttested { .. }
            | Body::LedgerRead { .. }
            | Body::Gap { .. }
            | Body::AuthorityStepped { .. }
            | Body::Pruned { .. } => {}
        }
    }

    /// Puts a pseudonym in the place of a person, everywhere, and forgets their credential.
    fn rename(&mut self, person: &PersonId, pseudonym: &PersonId) {
        let swap = |at: &mut PersonId| {
            if at == person {
                *at = pseudonym.clone();
            }
        };
        let swap_all = |set: &mut BTreeSet<PersonId>| {
            if set.remove(person) {
                set.insert(pseudonym.clone());
            }
        };
        self.people.remove(person);
        self.erased.insert(pseudonym.clone());
        // What was held for them can no longer be matched with a call: its arguments are erased too.
        let theirs = |e: &Elevation| self.tasks.get(&e.call.task).is_none_or(|t| t.principal == *person);
        self.elevations.retain(|_, e| !theirs(e));
        self.calls.retain(|_, id| self.elevations.contains_key(id));
        // Their tasks have ended, and with them goes what they were for.
        self.tasks.retain(|_, t| t.principal != *person);
        self.usage.retain(|task, _| self.tasks.contains_key(task));
        self.identities.values_mut().filter_map(|i| i.owner.as_mut()).for_each(swap);
        self.resources.values_mut().filter_map(|r| r.owner.as_mut()).for_each(swap);
        for elevation in self.elevations.values_mut() {
            swap_all(&mut elevation.barred);
            swap_all(&mut elevation.votes);
            if let Status::Refused { by } = &mut elevation.status {
                swap(by);
            }
        }
        if let Some(epoch) = self.revocations.remove(&Target::Owner(person.clone())) {
            self.revocations.insert(Target::Owner(pseudonym.clone()), epoch);
        }
    }

    /// Counts allowed calls for a task and every task above it.
    pub fn count(&mut self, task: &Task, calls: u64) {
        for id in task.lineage.iter().chain([&task.id]) {
            let used = self.usage.entry(*id).or_default();
            *used = used.saturating_add(calls);
        }
    }

    /// Forgets what ended before `now`: expired leases and tasks, and elevations that nobody can use any more.
    ///
    /// Nothing that is forgotten could have been used: what is unknown is refused (INVARIANT (I7 unknown is No)).
    pub fn forget(&mut self, now: Timestamp) {
        for id in self.lookup.expired(now) {
            if self.leases.get(&id).is_some_and(|lease| lease.expires <= now) {
                self.leases.remove(&id);
            }
        }
        self.tasks.retain(|_, task| now < task.expires);
        self.usage.retain(|task, _| self.tasks.contains_key(task));
        self.elevations.retain(|_, e| self.tasks.contains_key(&e.call.task));
        self.calls.retain(|_, id| self.elevations.contains_key(id));
    }

    /// The active identities whose selectors were all seen, in the order of their names.
    pub fn identities_matching(&self, seen: &BTreeSet<Selector>) -> Vec<&Identity> {
        let candidates = self.lookup.identities_of(seen).filter_map(|id| self.identities.get(id));
        let mut found: Vec<_> = candidates.filter(|i| i.state == Lifecycle::Active && i.matches(seen)).collect();
        found.sort_by(|a, b| a.id.cmp(&b.id));
        found
    }

    /// The instances of the process of an attestation that have not ended, revoked ones too.
    pub fn instances_of(&self, seen: &Attestation) -> impl Iterator<Item = &Instance> {
        self.lookup.instances_of(seen).filter_map(|id| self.instances.get(id))
    }

    /// Whether a credential still counts at `now`, with its task, its instance and its identity, and with whoever has it.
    pub fn check_lease(&self, id: LeaseId, now: Timestamp) -> Result<&Lease, Dead> {
        let lease = self.leases.get(&id).ok_or_else(|| Dead::Unknown(id.to_string()))?;
        if now >= lease.expires {
            return Err(Dead::Expired(id.to_string()));
        }
        self.not_revoked(Target::Lease(id), lease.epoch)?;
        self.check_instance(lease.instance)?;
        if let Some(holder) = lease.holder {
            self.check_instance(holder)?;
        }
        self.check_identity(&lease.identity, lease.epoch)?;
        if let Some(task) = lease.task {
            self.check_task(task, now)?;
        }
        Ok(lease)
    }

    /// Whether a running copy still counts.
    pub fn check_instance(&self, id: InstanceId) -> Result<&Instance, Dead> {
        let instance = self.instances.get(&id).ok_or_else(|| Dead::Unknown(id.to_string()))?;
        self.not_revoked(Target::Instance(id), instance.epoch)?;
        let identity = self.check_identity(&instance.identity, instance.epoch)?;
        let node = instance.attestation.node.as_ref();
        if let Some(name) = node {
            self.check_node(name)?;
        }
        if !identity.runs_on(node) {
            let place = node.map_or_else(|| "the server's own host".to_owned(), |name| format!("node `{name}`"));
            return Err(Dead::NotThere(identity.id.clone(), place));
        }
        Ok(instance)
    }

    /// Whether a node has joined and is not banned.
    pub fn check_node(&self, name: &NodeName) -> Result<&Node, Dead> {
        let node = self.nodes.get(name).ok_or_else(|| Dead::Unknown(format!("node {name}")))?;
        if node.banned.is_some() {
            return Err(Dead::Banned(name.clone()));
        }
        node.joined.map(|_| node).ok_or_else(|| Dead::Unknown(format!("node {name}")))
    }

    /// Whether an identity is active, and nothing that carries `epoch` of it has been revoked.
    pub fn check_identity(&self, id: &SpiffeId, epoch: Epoch) -> Result<&Identity, Dead> {
        let identity = self.identities.get(id).ok_or_else(|| Dead::Unknown(id.to_string()))?;
        if identity.state != Lifecycle::Active {
            return Err(Dead::NotActive(id.clone(), identity.state));
        }
        self.not_revoked(Target::Identity(id.clone()), epoch)?;
        if let Some(owner) = &identity.owner {
            self.not_revoked(Target::Owner(owner.clone()), epoch)?;
        }
        Ok(identity)
    }

    /// Whether a task still counts at `now`: itself, everything it hangs from, its actor and its person.
    pub fn check_task(&self, id: TaskId, now: Timestamp) -> Result<&Task, Dead> {
        let task = self.one_task(id, now)?;
        for above in &task.lineage {
            self.one_task(*above, now)?;
        }
        Ok(task)
    }

    fn one_task(&self, id: TaskId, now: Timestamp) -> Result<&Task, Dead> {
        let Some(task) = self.tasks.get(&id) else {
            let revoked = self.revocations.contains_key(&Target::Task(id));
            return Err(if revoked { Dead::Revoked(Target::Task(id)) } else { Dead::Unknown(id.to_string()) });
        };
        if now >= task.expires {
            return Err(Dead::Expired(id.to_string()));
        }
        self.not_revoked(Target::Task(id), task.epoch)?;
        self.not_revoked(Target::Owner(task.principal.clone()), task.epoch)?;
        self.check_identity(&task.actor, task.epoch)?;
        Ok(task)
    }

    /// The calls that a task may still make; `None` is without bound.
    pub fn calls_left(&self, task: &Task) -> Option<u64> {
        let left = |t: &Task| t.budget.calls.map(|bound| bound.saturating_sub(self.usage.get(&t.id).copied().unwrap_or(0)));
        let above = task.lineage.iter().filter_map(|id| self.tasks.get(id));
        above.chain([task]).filter_map(left).min()
    }

    /// The owners and the persons in a task's chain: none of them may approve for it (I5).
    pub fn chain_people(&self, task: &Task) -> BTreeSet<PersonId> {
        let tasks = task.lineage.iter().filter_map(|id| self.tasks.get(id)).chain([task]);
        tasks
            .flat_map(|t| [Some(t.principal.clone()), self.identities.get(&t.actor).and_then(|i| i.owner.clone())])
            .flatten()
            .collect()
    }

    /// The identities in a task's chain, the root first.
    pub fn chain(&self, task: &Task) -> Vec<SpiffeId> {
        let above = task.lineage.iter().filter_map(|id| self.tasks.get(id));
        above.chain([task]).map(|t| t.actor.clone()).collect()
    }

    /// The identities that a revocation of `target` suspends.
    pub fn hit_identities<'a>(&'a self, target: &'a Target) -> impl Iterator<Item = &'a Identity> {
        self.identities.values().filter(move |identity| match target {
            Target::Identity(id) => identity.id == *id,
            Target::Owner(person) => identity.owner.as_ref() == Some(person),
            _ => false,
        })
    }

    /// Whether a task ends with `target`: by itself, by what it hangs from, by its actor or its person.
    pub fn task_hangs_from(&self, task: &Task, target: &Target) -> bool {
        let above = || task.lineage.iter().filter_map(|id| self.tasks.get(id)).chain([task]);
        match target {
            Target::Task(id) => task.id == *id || task.lineage.contains(id),
            Target::Elevation(id) => above().any(|t| t.elevation == Some(*id)),
            Target::Owner(person) => above().any(|t| t.principal == *person || self.owner_of(&t.actor) == Some(person)),
            Target::Identity(id) => above().any(|t| t.actor == *id),
            Target::Lease(_) | Target::Instance(_) => false,
        }
    }

    /// Whether a credential ends with `target`.
    pub fn lease_hangs_from(&self, lease: &Lease, target: &Target) -> bool {
        let holder = || lease.holder.and_then(|id| self.instances.get(&id)).map(|instance| &instance.identity);
        let own = match target {
            Target::Lease(id) => lease.id == *id,
            Target::Instance(id) => lease.instance == *id || lease.holder == Some(*id),
            Target::Identity(id) => lease.identity == *id || holder() == Some(id),
            Target::Owner(person) => {
                [Some(&lease.identity), holder()].into_iter().flatten().any(|id| self.owner_of(id) == Some(person))
            }
            Target::Task(_) | Target::Elevation(_) => false,
        };
        own || lease.task.and_then(|id| self.tasks.get(&id)).is_some_and(|task| self.task_hangs_from(task, target))
    }

    fn owner_of(&self, identity: &SpiffeId) -> Option<&PersonId> {
        self.identities.get(identity)?.owner.as_ref()
    }

    fn not_revoked(&self, target: Target, carried: Epoch) -> Result<(), Dead> {
        match self.revocations.get(&target) {
            Some(revoked) if *revoked > carried => Err(Dead::Revoked(target)),
            _ => Ok(()),
        }
    }

    /// INVARIANT (I4 revocation is monotone): neither the last epoch nor a target's ever goes back.
    fn revoke(&mut self, target: &Target, epoch: Epoch) {
        self.epoch = self.epoch.max(epoch);
        let last = self.revocations.entry(target.clone()).or_default();
        *last = epoch.max(*last);
        match target {
            Target::Identity(id) => self.suspend(id),
            Target::Owner(person) => {
                let owned = self.identities.values().filter(|i| i.owner.as_ref() == Some(person)).map(|i| i.id.clone());
                for id in owned.collect::<Vec<_>>() {
                    // On the identity too: another owner later does not bring back what was revoked with this one.
                    self.revocations.insert(Target::Identity(id.clone()), epoch);
                    self.suspend(&id);
                }
                self.withdraw_votes(person, epoch);
            }
            Target::Elevation(id) => match self.elevations.get(id).map(|e| e.status.clone()) {
                Some(Status::Approved { task }) => {
                    self.revocations.insert(Target::Task(task), epoch);
                    self.close(*id, Status::Expired);
                }
                Some(Status::Pending) => self.close(*id, Status::Expired),
                Some(Status::Refused { .. } | Status::Expired) | None => {}
            },
            Target::Lease(_) | Target::Task(_) | Target::Instance(_) => {}
        }
    }

    /// What a person approved, alone or with others, ends with them; where they approved and others are still to, they
    /// did not.
    fn withdraw_votes(&mut self, person: &PersonId, epoch: Epoch) {
        for elevation in self.elevations.values_mut().filter(|e| e.votes.contains(person)) {
            match elevation.status {
                Status::Approved { task } => {
                    self.revocations.insert(Target::Task(task), epoch);
                }
                _ => {
                    elevation.votes.remove(person);
                }
            }
        }
    }

    fn suspend(&mut self, id: &SpiffeId) {
        if self.identities.get(id).is_some_and(|i| i.state == Lifecycle::Active) {
            self.move_identity(id, Lifecycle::Suspended);
        }
    }

    fn move_identity(&mut self, id: &SpiffeId, to: Lifecycle) {
        if let Some(identity) = self.identities.get_mut(id) {
            identity.state = to;
        }
    }

    fn close(&mut self, id: ElevationId, status: Status) {
        if let Some(elevation) = self.elevations.get_mut(&id) {
            // A refusal stays with its call, so that asking again is no way to wear people down.
            if status == Status::Expired && self.calls.get(&elevation.call) == Some(&id) {
                self.calls.remove(&elevation.call);
            }
            elevation.status = status;
        }
    }
}
