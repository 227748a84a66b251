//! The fold of the events: what Marque knows now.
//!
//! INVARIANT (I6 the ledger is the history): [`State::apply`] is the only way in, it is pure, and replaying the log
//! from its first event gives the same state again.

mod check;
mod lineage;

pub use check::Dead;

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
