//! Steps of people: manifests, people, tasks, lifecycles, revocations.

use marque_core::id::{ElevationId, InstanceId, LeaseId, TaskId};
use marque_core::identity::Lifecycle;
use marque_core::resource::Sensitivity;
use marque_core::revocation::Target;
use marque_core::scope::Scope;
use marque_core::spiffe::SpiffeId;
use marque_core::task::Task;
use marque_core::time::Ttl;
use marque_engine::desired::Desired;
use marque_engine::{Caller, TaskRequest};

use crate::journal::{Checked, broken, must};
use crate::sim::Sim;
use crate::words;

impl Sim<'_> {
    /// Everything, with wide ceilings.
    pub async fn first_manifest(&mut self) -> Checked<String> {
        let desired = words::first_manifest(&mut self.rng);
        self.apply_this(desired).await
    }

    /// Some of it, changed.
    pub async fn apply(&mut self) -> Checked<String> {
        let desired = words::manifest(&mut self.rng);
        self.apply_this(desired).await
    }

    async fn apply_this(&mut self, desired: Desired) -> Checked<String> {
        let engine = self.engine()?;
        let by = self.somebody();
        let before = engine.state().clone();
        let is_retired =
            |name: &str| self.model.identities.get(&words::identity(name)).is_some_and(|i| i.state == Lifecycle::Retired);
        let wrong = words::is_refused(&desired) || desired.identities.iter().any(|spec| is_retired(&spec.name));
        let text = format!("{} identities, {} resources", desired.identities.len(), desired.resources.len());
        match engine.apply(&by, &desired).await {
            Ok(applied) => {
                self.check("I6", !wrong, || "a manifest was applied that had to be refused".into())?;
                self.model.applied(&desired, applied.policy);
                self.acknowledged()?;
                Ok(format!("{text}: {} changes", applied.changes.len()))
            }
            Err(error) => {
                self.check("I6", wrong, || format!("a good manifest was refused: {}", error.chain()))?;
                self.check("I6", *engine.state() == before, || "a manifest that was refused changed something".into())?;
                Ok(format!("{text}: refused, {error}"))
            }
        }
    }

    /// A person becomes known, and their credential is theirs.
    pub async fn add_person(&mut self) -> Checked<String> {
        let engine = self.engine()?;
        let person = words::person(self.rng.one(words::PEOPLE));
        let known = self.model.people.contains(&person);
        let by = self.somebody().by();
        match engine.add_person(by, &person).await {
            Ok(path) => {
                self.check("I6", !known, || format!("`{person}` was added twice"))?;
                let credential = must("sim", "reading a credential", std::fs::read_to_string(path))?;
                let caller = must("I6", "authenticating a person", engine.authenticate_person(&credential))?;
                self.check("I6", caller == Caller::Person(person.clone()), || format!("`{person}` is taken for another"))?;
                self.model.people.insert(person.clone());
                self.acknowledged()?;
                Ok(person.to_string())
            }
            Err(_) if known => Ok(format!("{person} is known")),
            Err(error) => broken("sim", format!("`{person}` could not be added: {}", error.chain())),
        }
    }

    /// A person starts a task for some identity.
    pub async fn start_task(&mut self) -> Checked<String> {
        let engine = self.engine()?;
        let by = self.somebody();
        let name = self.rng.one(words::IDENTITIES);
        let scope = if self.rng.chance(70) { None } else { Some(words::some_scope(&mut self.rng)) };
        let calls = if self.rng.chance(30) { Some(self.rng.below(4)) } else { None };
        let ttl = Ttl::from_seconds(60 + self.rng.below(4 * 3600));
        let request =
            TaskRequest { identity: name.into(), purpose: "to be simulated".into(), scope: scope.clone(), ttl: Some(ttl), calls };
        let id = words::identity(name);
        match engine.start_task(&by, request).await {
            Ok(task) => {
                let known = self.model.identities.get(&id);
                let active = known.is_some_and(|i| i.state == Lifecycle::Active);
                self.check("I7", active && task.actor == id, || format!("a task started for `{id}`, which is not active"))?;
                let ceiling = known.map(|i| i.ceiling.clone()).unwrap_or_default();
                self.narrower("the task", &task.scope, &[("the ceiling", &ceiling)])?;
                let asked = scope.is_none_or(|want| want == task.scope);
                let as_asked = asked && task.depth == 0 && task.parent.is_none() && task.lineage.is_empty();
                self.check("I1", as_asked && task.budget.calls == calls, || {
                    format!("the task is not what was asked for: {task:?}")
                })?;
                let principal = Caller::Person(task.principal.clone()) == by;
                self.check("I1", principal, || format!("the principal is not who asked: {task:?}"))?;
                let text = format!("{} for {name} by {}: {}", task.id, task.principal, task.scope);
                self.started(task)?;
                Ok(text)
            }
            Err(error) => Ok(format!("for {name}: refused, {error}")),
        }
    }

    /// A task that the engine acknowledged.
    pub fn started(&mut self, task: Task) -> Checked {
        self.check("I6", !self.model.tasks.contains_key(&task.id), || format!("task `{}` started twice", task.id))?;
        let dead = task.lineage.iter().find(|above| self.model.dead_tasks.contains(above));
        self.check("I4", dead.is_none(), || format!("task `{}` hangs from one that has ended: {dead:?}", task.id))?;
        self.check("I4", task.epoch >= self.model.epoch, || format!("task `{}` carries an old epoch", task.id))?;
        self.model.tasks.insert(task.id, task);
        self.journal.count("tasks");
        self.acknowledged()
    }

    /// A person finishes a task.
    pub async fn finish_task(&mut self) -> Checked<String> {
        let tasks: Vec<TaskId> = self.model.tasks.keys().copied().collect();
        let Some(task) = self.rng.recent(&tasks) else { return Ok("nothing to finish".into()) };
        let by = self.somebody();
        match self.engine()?.finish_task(&by, task).await {
            Ok(()) => {
                self.model.finished(task);
                self.acknowledged()?;
                self.none_is_accepted(8)?;
                Ok(task.to_string())
            }
            Err(error) => Ok(format!("{task}: {error}")),
        }
    }

    /// An identity takes a step of its life; mostly what is suspended is active again.
    pub async fn move_identity(&mut self) -> Checked<String> {
        let suspended = self.model.identities.iter().find(|(_, i)| i.state == Lifecycle::Suspended).map(|(id, _)| id.clone());
        let (id, to) = match suspended {
            Some(id) if self.rng.chance(80) => (id, Lifecycle::Active),
            _ => {
                let to =
                    if self.rng.chance(6) { Lifecycle::Retired } else { self.rng.one([Lifecycle::Active, Lifecycle::Suspended]) };
                (words::identity(self.rng.one(words::IDENTITIES)), to)
            }
        };
        let by = self.somebody();
        let from = self.model.identities.get(&id).map(|i| i.state);
        let allowed = from.is_some_and(|from| from.may_become(to));
        let moved = self.engine()?.move_identity(&by, &id.to_string(), to, "chance").await;
        self.check("I6", moved.is_ok() == allowed, || format!("`{id}` from {from:?} to {to}: {moved:?}"))?;
        if moved.is_ok() {
            self.model.moved(&id, to);
            self.acknowledged()?;
            self.none_is_accepted(4)?;
        }
        Ok(format!("{id} to {to}{}", if moved.is_ok() { "" } else { ": refused" }))
    }

    /// A person revokes something.
    pub async fn revoke(&mut self) -> Checked<String> {
        let Some(target) = self.target() else { return Ok("nothing to revoke".into()) };
        let by = self.somebody();
        match self.engine()?.revoke(&by, target.clone(), "chance").await {
            Ok(revoked) => {
                let grown = revoked.epoch > self.model.epoch;
                self.check("I4", grown, || format!("epoch {:?} after {:?}", revoked.epoch, self.model.epoch))?;
                let before = self.model.dead.len();
                self.model.revoked(&target, revoked.epoch);
                self.acknowledged()?;
                self.journal.count("revocations");
                self.none_is_accepted(12)?;
                Ok(format!("{target}: {} credentials end", self.model.dead.len() - before))
            }
            Err(error) => Ok(format!("{target}: {error}")),
        }
    }

    fn target(&mut self) -> Option<Target> {
        let leases: Vec<LeaseId> = self.model.credentials.keys().copied().collect();
        let tasks: Vec<TaskId> = self.model.tasks.keys().copied().collect();
        let instances: Vec<InstanceId> = self.model.instances.keys().copied().collect();
        let held: Vec<ElevationId> = self.model.held.keys().copied().collect();
        let identities: Vec<SpiffeId> = self.model.identities.keys().cloned().collect();
        match self.rng.below(12) {
            0..=2 => self.rng.recent(&leases).map(Target::Lease),
            3..=5 => self.rng.recent(&tasks).map(Target::Task),
            6 => self.rng.recent(&instances).map(Target::Instance),
            7 | 8 => self.rng.recent(&held).map(Target::Elevation),
            9 | 10 => self.rng.pick(&identities).map(Target::Identity),
            _ => Some(Target::Owner(words::person(self.rng.one(words::PEOPLE)))),
        }
    }

    /// INVARIANT (I1 narrowing), looked at in two ways: as the lattice says, and point by point.
    pub fn narrower(&self, what: &str, scope: &Scope, bounds: &[(&str, &Scope)]) -> Checked {
        for (name, bound) in bounds {
            self.check("I1", bound.covers(scope), || format!("{what} has `{scope}`, which is wider than {name}: `{bound}`"))?;
            let beyond = self.points.iter().find(|(action, thing)| {
                let differ = |s: Sensitivity| scope.allows(*action, thing, s) && !bound.allows(*action, thing, s);
                differ(Sensitivity::Public) || differ(Sensitivity::Restricted)
            });
            self.check("I1", beyond.is_none(), || format!("{what} allows {beyond:?}, and {name} does not: `{bound}`"))?;
        }
        Ok(())
    }
}
