//! What hangs from what: the chain of a task, and what ends with a revocation.

use std::collections::BTreeSet;

use super::State;
use crate::PersonId;
use crate::identity::Identity;
use crate::lease::Lease;
use crate::revocation::Target;
use crate::spiffe::SpiffeId;
use crate::task::Task;

impl State {
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
}
