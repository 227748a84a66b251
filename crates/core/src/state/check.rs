//! Whether something still counts: a lease, an instance, a node, an identity, a task.

use super::State;
use crate::attestation::{Instance, Selector};
use crate::id::{InstanceId, LeaseId, TaskId};
use crate::identity::{Identity, Lifecycle};
use crate::lease::Lease;
use crate::node::{Node, NodeName};
use crate::revocation::{Epoch, Target};
use crate::spiffe::SpiffeId;
use crate::task::Task;
use crate::time::Timestamp;

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
    /// The identity asks for other selectors now than were seen of the copy.
    #[error("what was seen of this copy no longer matches `{0}`")]
    NoMatch(SpiffeId),
}

impl State {
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

    /// Whether a running copy still counts: nothing of it was revoked, and its identity is still for what was seen of it.
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
        if !identity.matches(&instance.attestation.selectors) {
            return Err(Dead::NoMatch(identity.id.clone()));
        }
        // INVARIANT (I7 unknown is No): what was erased of a copy may be what a policy forbids.
        if instance.attestation.selectors.iter().any(Selector::is_closed) {
            return Err(Dead::Unknown(format!("what was seen of {id}")));
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

    fn not_revoked(&self, target: Target, carried: Epoch) -> Result<(), Dead> {
        match self.revocations.get(&target) {
            Some(revoked) if *revoked > carried => Err(Dead::Revoked(target)),
            _ => Ok(()),
        }
    }
}
