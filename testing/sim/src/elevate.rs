//! Steps of approvers, and I5: elevation never widens.

use std::collections::BTreeSet;

use marque_core::elevation::Status;
use marque_core::id::{ElevationId, TaskId};
use marque_core::record::Decided;
use marque_core::scope::{Grant, Scope};
use marque_core::task::Task;
use marque_engine::Caller;

use crate::journal::{Checked, broken};
use crate::model::{Attempt, Held};
use crate::sim::Sim;

impl Sim<'_> {
    /// A request was held: the elevation is for exactly it, and bars who is in its chain.
    pub fn was_held(&mut self, attempt: &Attempt, id: ElevationId) -> Checked {
        let engine = self.engine()?;
        let Some(elevation) = engine.state().elevations.get(&id).cloned() else {
            return broken("I6", format!("elevation `{id}` is not there"));
        };
        let Some(credential) = self.model.credentials.get(&attempt.lease) else {
            return broken("I6", format!("{attempt}: held for an unknown credential"));
        };
        let call = &elevation.call;
        let exact = call.action == attempt.action
            && call.resource == attempt.resource
            && call.definition == attempt.definition
            && call.arguments == marque_engine::canonical(&attempt.arguments)
            && call.identity == credential.lease.identity
            && Some(call.task) == credential.lease.task;
        self.check("I5", exact, || format!("{attempt}: held as {call:?}"))?;
        self.check("I5", elevation.status == Status::Pending, || format!("{attempt}: held as `{id}`, which is decided"))?;
        if let Some(held) = self.model.held.get(&id) {
            return self
                .check("I5", held.attempt.same_call(attempt), || format!("{attempt}: held as another call, {}", held.attempt));
        }
        let barred = self.model.people_of(call.task);
        let missing = barred.iter().find(|person| !elevation.barred.contains(person));
        self.check("I5", missing.is_none(), || format!("{attempt}: {missing:?} is in the chain and not barred"))?;
        let held = Held {
            attempt: attempt.clone(),
            task: call.task,
            barred,
            voters: BTreeSet::new(),
            approvals: elevation.needs.approvals,
            names: elevation.needs.elevations.clone(),
            decide_by: elevation.decide_by,
            over: false,
            started: None,
            used: 0,
        };
        self.model.held.insert(id, held);
        Ok(())
    }

    /// A person approves, one who may not among them.
    pub async fn approve(&mut self) -> Checked<String> {
        let Some(id) = self.some_held() else { return Ok("nothing is held".into()) };
        let by = self.somebody();
        let engine = self.engine()?;
        let view = match engine.approve(&by, id).await {
            Ok(view) => view,
            Err(error) => return Ok(format!("{id}: {error}")),
        };
        let Caller::Person(person) = by else { return broken("sim", "an approver is a person") };
        let Some(held) = self.model.held.get_mut(&id) else { return broken("I5", format!("`{id}` was never held")) };
        let fresh = held.voters.insert(person.clone());
        let held = held.clone();
        let may = fresh && !held.over && held.started.is_none() && !held.barred.contains(&person);
        self.check("I5", may, || format!("`{person}` approved `{id}`, which must not be: {held:?}"))?;
        let now = engine.now();
        self.check("I5", now < held.decide_by, || format!("`{id}` expired at {} and was approved at {now}", held.decide_by))?;
        let ended = self.model.dead_tasks.contains(&held.task);
        self.check("I4", !ended, || format!("`{id}` was approved for `{}`, which has ended", held.task))?;
        let enough = held.voters.len() >= held.approvals as usize;
        self.check("I5", view.task.is_some() == enough, || {
            format!("{} of {} approved `{id}`", held.voters.len(), held.approvals)
        })?;
        self.acknowledged()?;
        let Some(task) = view.task else { return Ok(format!("{id} by {person}: more must")) };
        let text = format!("{id} by {person}: {}", task.id);
        self.elevated(&held, &task, &person)?;
        if let Some(held) = self.model.held.get_mut(&id) {
            held.started = Some(task.id);
        }
        self.started(task)?;
        self.journal.count("approvals");
        Ok(text)
    }

    /// I5: what starts is the approver's own task, for one grant and one call; the held task is as it was.
    fn elevated(&self, held: &Held, task: &Task, approver: &marque_core::PersonId) -> Checked {
        let Some(below) = self.model.tasks.get(&held.task) else { return broken("I6", "the held task is not known") };
        self.check("I5", task.principal == *approver, || format!("`{}` is for `{}`", task.id, task.principal))?;
        let lineage: Vec<TaskId> = below.lineage.iter().copied().chain([below.id]).collect();
        self.check("I5", task.parent.is_none() && task.lineage == lineage, || {
            format!("`{}` hangs from {:?}", task.id, task.lineage)
        })?;
        let exact = task.budget.calls == Some(1) && task.actor == below.actor && task.expires <= below.expires;
        self.check("I5", exact, || format!("an approval started {task:?}"))?;
        let sensitivities = task.scope.grants().map(Grant::sensitivity).collect::<Vec<_>>();
        let one = sensitivities.first().map(|s| Scope::new([Grant::exactly(held.attempt.action, &held.attempt.resource, *s)]));
        self.check("I5", one.as_ref() == Some(&task.scope), || {
            format!("an approval of {} grants `{}`", held.attempt, task.scope)
        })?;
        self.check("I5", below.scope.covers(&task.scope), || {
            format!("an approval widens `{}` to `{}`", below.scope, task.scope)
        })?;
        let engine = self.engine()?;
        let same = engine.state().tasks.get(&held.task) == Some(below);
        self.check("I5", same, || format!("the held task `{}` has changed", held.task))
    }

    /// A person refuses: final.
    pub async fn refuse(&mut self) -> Checked<String> {
        let Some(id) = self.some_held() else { return Ok("nothing is held".into()) };
        let by = self.somebody();
        match self.engine()?.refuse(&by, id, "chance").await {
            Ok(_) => {
                let Some(held) = self.model.held.get_mut(&id) else { return broken("I5", format!("`{id}` was never held")) };
                let open = !held.over && held.started.is_none();
                held.over = true;
                self.check("I5", open, || format!("`{id}` was decided and is refused"))?;
                self.acknowledged()?;
                Ok(id.to_string())
            }
            Err(error) => Ok(format!("{id}: {error}")),
        }
    }

    /// I5 of a call that was allowed: whatever hangs from an approval is the approved call, for whom it was approved, once.
    /// Returns the approval that it used.
    pub fn by_approval(&mut self, attempt: &Attempt, decided: &Decided, held_task: TaskId) -> Checked<Option<ElevationId>> {
        let Some(task) = self.model.tasks.get(&decided.task) else {
            return broken("I6", format!("{attempt}: under the unknown task `{}`", decided.task));
        };
        let principal = decided.principal == task.principal;
        self.check("I5", principal, || format!("{attempt}: for `{}`, the task is for `{}`", decided.principal, task.principal))?;
        let chain = self.model.chain(decided.task);
        let approvals: Vec<ElevationId> = chain.into_iter().filter_map(|task| self.model.held_of(task.id)).collect();
        for id in approvals {
            let Some(held) = self.model.held.get_mut(&id) else { continue };
            held.used += 1;
            let held = held.clone();
            self.check("I5", held.attempt.same_call(attempt), || {
                format!("{attempt}: by the approval `{id}` of {}", held.attempt)
            })?;
            self.check("I5", held.used == 1, || format!("{attempt}: the approval `{id}` was used {} times", held.used))?;
            self.check("I5", !held.over, || format!("{attempt}: by `{id}`, which is over"))?;
        }
        if decided.task == held_task {
            self.check("I5", decided.elevation.is_none(), || format!("{attempt}: an approval, and not its task"))?;
            return Ok(None);
        }
        let Some(id) = self.model.held_of(decided.task) else {
            return broken("I5", format!("{attempt}: under `{}`, whose lease it is not", decided.task));
        };
        let Some(held) = self.model.held.get(&id) else { return broken("I5", format!("`{id}` was never held")) };
        let bound = held.task == held_task && decided.elevation == Some(id);
        self.check("I5", bound, || format!("{attempt}: by `{id}`, held under `{}`: {:?}", held.task, decided.elevation))?;
        let outsiders = !held.voters.is_empty() && held.voters.is_disjoint(&held.barred);
        self.check("I5", outsiders, || format!("{attempt}: approved by {:?}, barred are {:?}", held.voters, held.barred))?;
        self.journal.count("approved calls");
        Ok(Some(id))
    }

    /// A held request, mostly one that waits.
    fn some_held(&mut self) -> Option<ElevationId> {
        let waits = |h: &Held| !h.over && h.started.is_none();
        let waiting: Vec<ElevationId> = self.model.held.iter().filter(|(_, h)| waits(h)).map(|(id, _)| *id).collect();
        let all: Vec<ElevationId> = self.model.held.keys().copied().collect();
        if self.rng.chance(85) { self.rng.recent(&waiting) } else { self.rng.recent(&all) }
    }
}
