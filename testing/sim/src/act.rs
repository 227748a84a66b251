//! Steps of agents at work: pinned tools, decisions, and how actions end.

use marque_core::decision::Effect;
use marque_core::id::{ElevationId, RecordId};
use marque_core::record::{Decided, Ending as Ended, Outcome};
use marque_core::resource::{Action, ResourceId, ResourceKind};
use marque_engine::{Verdict, sha256};

use crate::journal::{Checked, broken, must};
use crate::model::{Attempt, Credential, Ending, Expected};
use crate::sim::Sim;
use crate::words;

impl Sim<'_> {
    /// The definitions of some tools are seen; what is pinned already stays.
    pub async fn pin(&mut self) -> Checked<String> {
        let tools: Vec<ResourceId> =
            words::RESOURCES.iter().filter(|name| name.starts_with("tool:")).map(|name| words::resource(name)).collect();
        let version = self.rng.below(3);
        let seen: Vec<_> = tools
            .into_iter()
            .chain([words::resource(words::GHOST)])
            .map(|tool| (tool.clone(), words::definition(&tool, version)))
            .collect();
        must("sim", "pinning tools", self.engine()?.pin_tools(&seen).await)?;
        let mut pinned = 0;
        for (tool, definition) in seen {
            if let Some(resource) = self.model.resources.get_mut(&tool).filter(|r| r.definition.is_none()) {
                resource.definition = Some(definition);
                pinned += 1;
            }
        }
        if pinned > 0 {
            self.acknowledged()?;
        }
        Ok(format!("version {version}: {pinned} pinned"))
    }

    /// An agent tries something.
    pub async fn authorize(&mut self) -> Checked<String> {
        let Some(credential) = self.some_credential() else { return Ok("no credential".into()) };
        let attempt = self.attempt(&credential);
        self.ask(attempt).await
    }

    /// A call that was held is tried again, mostly the very same.
    pub async fn repeat(&mut self) -> Checked<String> {
        let approved: Vec<ElevationId> = self.model.held.iter().filter(|(_, h)| h.started.is_some()).map(|(id, _)| *id).collect();
        let any: Vec<ElevationId> = self.model.held.keys().copied().collect();
        let recent = if self.rng.chance(80) && !approved.is_empty() { self.rng.recent(&approved) } else { self.rng.recent(&any) };
        let Some(held) = recent.and_then(|id| self.model.held.get(&id).cloned()) else { return Ok("nothing was held".into()) };
        let mut attempt = held.attempt;
        let same_task = |c: &&Credential| c.lease.task == Some(held.task);
        let leases: Vec<_> = self.model.credentials.values().filter(same_task).map(|c| c.lease.id).collect();
        if let Some(lease) = self.rng.recent(&leases) {
            attempt.lease = lease;
        }
        match self.rng.below(10) {
            0 => attempt.arguments = words::arguments(&mut self.rng),
            1 => attempt.definition = self.definition(&attempt.resource),
            _ => {}
        }
        self.ask(attempt).await
    }

    async fn ask(&mut self, attempt: Attempt) -> Checked<String> {
        let verdict = match self.engine()?.authorize(attempt.request()).await {
            Ok(verdict) => verdict,
            Err(error) => return Ok(format!("{attempt}: {error}")),
        };
        let dead = self.model.dead.contains(&attempt.lease);
        self.check("I4", !dead, || format!("{attempt}: it has ended and was decided for: {verdict:?}"))?;
        self.acknowledged()?;
        match verdict {
            Verdict::Proceed(permit) => {
                let decided = self.newest(permit.record(), Effect::Allow)?;
                self.permitted(&attempt, &decided)?;
                let alive = permit.alive();
                self.check("I4", alive, || format!("{attempt}: a fresh permit is not alive"))?;
                self.permits.push(permit);
                self.journal.count("permits");
                Ok(format!("{attempt}: proceed as {}", decided.record))
            }
            Verdict::Hold { record, elevation, .. } => {
                self.newest(record, Effect::Hold)?;
                self.was_held(&attempt, elevation)?;
                self.journal.count("holds");
                Ok(format!("{attempt}: held as {elevation}"))
            }
            Verdict::Deny { record, reasons } => {
                self.newest(record, Effect::Deny)?;
                self.journal.count("denials");
                let reason = reasons.first().map(|r| r.policy.clone()).unwrap_or_default();
                self.check("I7", !reasons.is_empty(), || format!("{attempt}: denied without a reason"))?;
                Ok(format!("{attempt}: denied, {reason}"))
            }
        }
    }

    /// I3: the decision is in the log before its answer is.
    fn newest(&mut self, record: RecordId, effect: Effect) -> Checked<Decided> {
        let rows = must("I3", "reading the newest record", self.engine()?.records(None, None, 1))?;
        let Some(row) = rows.into_iter().next() else { return broken("I3", format!("record `{record}` is not in the log")) };
        let decided = row.decided;
        let same = decided.record == record && decided.effect == effect && row.settled.is_none();
        self.check("I3", same, || format!("record `{record}` is {effect:?}, the log says {decided:?}"))?;
        let expected = Expected { effect, task: decided.task, ending: Ending::Open };
        let known = self.model.records.insert(record, expected).is_some();
        self.check("I3", !known, || format!("record `{record}` was given out twice"))?;
        Ok(decided)
    }

    /// I1, I2, I4, I7 at the moment of acting; I5 where it went by an approval.
    fn permitted(&mut self, attempt: &Attempt, decided: &Decided) -> Checked {
        let Some(credential) = self.model.credentials.get(&attempt.lease).cloned() else {
            return broken("I6", format!("{attempt}: by an unknown credential"));
        };
        let Some(held) = credential.lease.task.and_then(|id| self.model.tasks.get(&id).cloned()) else {
            return broken("I2", format!("{attempt}: by a credential without a task"));
        };
        let sensitivity = self.model.sensitivity(&attempt.resource);
        let ceiling = self.model.identities.get(&held.actor).map(|i| i.ceiling.clone()).unwrap_or_default();
        let bounds = [("I1", "task", &held.scope), ("I2", "lease", &credential.lease.scope), ("I1", "ceiling", &ceiling)];
        for (invariant, name, scope) in bounds {
            let within = scope.allows(attempt.action, &attempt.resource, sensitivity);
            self.check(invariant, within, || format!("{attempt}: beyond the {name} `{scope}`"))?;
        }
        let dead = self.model.dead_tasks.contains(&decided.task) || self.model.dead_tasks.contains(&held.id);
        self.check("I4", !dead, || format!("{attempt}: under `{}`, which has ended", decided.task))?;
        let used = self.by_approval(attempt, decided, held.id)?;
        self.is_known(attempt, used)?;
        self.within_budget(decided)
    }

    /// I7: a tool that is not registered, not classified or not seen never goes; one that has changed, only by an approval.
    fn is_known(&self, attempt: &Attempt, approval: Option<ElevationId>) -> Checked {
        if attempt.resource.kind() != ResourceKind::Tool {
            return Ok(());
        }
        let Some(tool) = self.model.resources.get(&attempt.resource) else {
            return broken("I7", format!("{attempt}: the tool is not registered"));
        };
        self.check("I7", tool.risk.is_some(), || format!("{attempt}: the tool is not classified"))?;
        let seen = tool.definition.is_some() && attempt.definition.is_some();
        self.check("I7", seen, || format!("{attempt}: the tool's definition has not been seen"))?;
        let discharged =
            approval.and_then(|id| self.model.held.get(&id)).is_some_and(|h| h.names.iter().any(|n| n == "tool-changed"));
        let same = tool.definition == attempt.definition;
        self.check("I7", same || discharged, || format!("{attempt}: the tool has changed and nobody approved"))
    }

    /// A budget bounds a task and all below it, across restarts.
    fn within_budget(&mut self, decided: &Decided) -> Checked {
        let chain: Vec<_> = self.model.chain(decided.task).into_iter().map(|t| (t.id, t.budget.calls)).collect();
        for (task, bound) in chain {
            let used = self.model.used.entry(task).or_default();
            *used += 1;
            let used = *used;
            self.check("I1", bound.is_none_or(|bound| used <= bound), || {
                format!("`{task}` may call {bound:?} times, this is {used}")
            })?;
        }
        Ok(())
    }

    /// Some action ends, or its permit is dropped.
    pub async fn settle(&mut self) -> Checked<String> {
        if self.permits.is_empty() {
            return Ok("no permit".into());
        }
        let at = self.rng.below(self.permits.len() as u64) as usize;
        let permit = self.permits.swap_remove(at);
        let record = permit.record();
        if self.rng.chance(25) {
            drop(permit);
            self.ended(record, Ending::Settled(Outcome::abandoned()));
            return Ok(format!("{record} dropped"));
        }
        let ending = self.rng.one([Ended::Answered, Ended::Truncated, Ended::Cut, Ended::Failed]);
        let bytes = self.rng.below(10_000);
        let outcome =
            Outcome { ending, status: 200, response: Some(sha256(&bytes.to_le_bytes()).into()), bytes, contents: Vec::new() };
        must("I3", "settling a permit", permit.settle(outcome.clone()))?;
        self.ended(record, Ending::Settled(outcome));
        Ok(format!("{record} {ending:?}"))
    }

    /// What the ledger must say from here on.
    pub fn ended(&mut self, record: RecordId, ending: Ending) {
        if let Some(expected) = self.model.records.get_mut(&record) {
            expected.ending = ending;
        }
    }

    fn some_credential(&mut self) -> Option<Credential> {
        let acting: Vec<Credential> = self.model.credentials.values().filter(|c| c.lease.task.is_some()).cloned().collect();
        let live: Vec<Credential> = acting.iter().filter(|c| !self.model.dead.contains(&c.lease.id)).cloned().collect();
        if self.rng.chance(90) { self.rng.recent(&live) } else { self.rng.pick(&acting) }
    }

    fn attempt(&mut self, credential: &Credential) -> Attempt {
        let (action, name) = match self.rng.below(12) {
            0..=7 => (Action::Invoke, self.rng.one(["tool:crm/find", "tool:crm/find", "tool:crm/update", "tool:mail/send"])),
            8 => (Action::Invoke, words::GHOST),
            9 => (Action::Read, self.rng.one(["dataset:crm/people", "dataset:crm/orders"])),
            10 => (self.rng.one([Action::Write, Action::Export]), "dataset:crm/people"),
            _ => (self.rng.one(ANY), self.rng.one(words::RESOURCES)),
        };
        let resource = words::resource(name);
        let definition = self.definition(&resource);
        Attempt { lease: credential.lease.id, action, resource, arguments: words::arguments(&mut self.rng), definition }
    }

    /// A tool's definition as its server has it now: mostly the registered one.
    fn definition(&mut self, resource: &ResourceId) -> Option<marque_core::Digest> {
        if resource.kind() != ResourceKind::Tool {
            return None;
        }
        let registered = self.model.resources.get(resource).and_then(|r| r.definition);
        match self.rng.below(10) {
            0 => None,
            1 => Some(words::definition(resource, 7)),
            _ => registered.or_else(|| Some(words::definition(resource, 0))),
        }
    }
}

/// Verbs for calls that make little sense.
const ANY: [Action; 4] = [Action::Infer, Action::Retrain, Action::Publish, Action::Issue];
