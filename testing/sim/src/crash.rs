//! The crash: the engine is gone, its directory is damaged as a crash would, and what comes back must be the same.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;

use marque_core::decision::Effect;
use marque_core::id::RecordId;
use marque_core::record::Outcome;
use marque_core::time::Timestamp;
use marque_engine::{EngineError, State};
use marque_store::StoreError;

use crate::journal::{Checked, broken, must};
use crate::model::Ending;
use crate::sim::Sim;

impl Sim<'_> {
    /// Everything that was acknowledged survives; what was not, may.
    pub async fn crash(&mut self) -> Checked<String> {
        self.flush().await?;
        let (before, then, floor) = self.as_it_is()?;
        let open = std::mem::take(&mut self.permits);
        let dropped = open.len();
        for permit in open {
            // Nobody waits for it: where the crash takes this, the next start says it again.
            self.ended(permit.record(), Ending::Settled(Outcome::abandoned()));
        }
        let gone = self.engine.take().is_some_and(|engine| Arc::into_inner(engine).is_some());
        self.check("sim", gone, || "something still holds the engine".into())?;
        let damage = self.damage(floor)?;
        self.engine = Some(must("I6", &format!("starting after a crash ({damage})"), self.start_engine().await)?);
        self.journal.count("crashes");
        self.same_as_before(before, then)?;
        self.log_is_the_history(floor)?;
        self.records_are_there()?;
        self.some_trace()?;
        self.none_is_accepted(usize::MAX)?;
        Ok(format!("{damage}; {dropped} permits were open"))
    }

    /// A second engine on the same directory must not come up.
    pub async fn open_twice(&mut self) -> Checked<String> {
        let twice = self.start_engine().await;
        let refused = matches!(twice, Err(EngineError::Store(StoreError::InUse { .. })));
        self.check("I6", refused, || match &twice {
            Ok(_) => "a second engine came up on the same directory".into(),
            Err(error) => format!("a second engine was refused for another reason: {}", error.chain()),
        })?;
        Ok("refused".into())
    }

    /// The state, the engine's time and the number of durable entries.
    fn as_it_is(&self) -> Checked<(State, Timestamp, u64)> {
        let engine = self.engine()?;
        let state = engine.state().clone();
        Ok((state, engine.now(), engine.log_size()))
    }

    /// I6: the state is the one before the crash, and I4: neither epochs nor time went back.
    fn same_as_before(&mut self, mut before: State, then: Timestamp) -> Checked {
        let (mut after, now, _) = self.as_it_is()?;
        self.check("I4", after.epoch >= before.epoch, || format!("epoch {:?} after {:?}", after.epoch, before.epoch))?;
        let latest = self.model.latest;
        self.check("I6", now >= latest, || {
            format!("the engine's time was {latest} when it last answered, and is {now} after a restart")
        })?;
        before.forget(now.max(then));
        after.forget(now.max(then));
        let difference = difference(&before, &after);
        self.check("I6", difference.is_none(), || {
            format!("the state is another after a restart: {}", difference.unwrap_or_default())
        })
    }

    /// I6: the published log verifies, holds all that is durable, and folds to the engine's state.
    fn log_is_the_history(&mut self, floor: u64) -> Checked {
        let head = must("I6", "publishing", self.engine()?.publish())?;
        let root = self.root().to_owned();
        self.ledger.observe(&root, self.journal)?;
        let size = self.ledger.verify(&root, self.journal)?;
        let (mut state, now, durable) = self.as_it_is()?;
        let whole = size == head.size && size == durable && size >= floor;
        self.check("I6", whole, || format!("{floor} acknowledged, {durable} durable, {} published, {size} verified", head.size))?;
        let mut fold = self.ledger.state();
        fold.forget(now);
        state.forget(now);
        let difference = difference(&fold, &state);
        self.check("I6", difference.is_none(), || format!("the log folds to another state: {}", difference.unwrap_or_default()))
    }

    /// I3: each decision that was answered is in the views and in the log, with the end that it had.
    fn records_are_there(&mut self) -> Checked {
        let rows = must("I3", "reading the records", self.engine()?.records(None, None, 1000))?;
        let (found, known) = (rows.len(), self.model.records.len());
        self.check("I3", found == known, || format!("{known} decisions were answered, {found} are recorded"))?;
        for row in rows {
            let record = row.decided.record;
            let outcome = row.settled.map(|(_, outcome)| outcome);
            let Some(expected) = self.model.records.get(&record).cloned() else {
                return broken("I3", format!("record `{record}` was never given out"));
            };
            let same =
                expected.effect == row.decided.effect && expected.task == row.decided.task && self.ledger.has_decided(record);
            self.check("I3", same, || format!("record `{record}` is {:?}, answered was {expected:?}", row.decided))?;
            let logged = self.ledger.settled(record);
            self.check("I6", logged == outcome.as_ref(), || format!("record `{record}`: views {outcome:?}, log {logged:?}"))?;
            let ended = match (&expected.ending, &outcome) {
                // What was allowed has an end, once there is an engine again.
                (Ending::Open, None) => expected.effect != Effect::Allow,
                (Ending::Settled(end), Some(outcome)) => end == outcome,
                _ => false,
            };
            self.check("I3", ended, || format!("record `{record}` ended {outcome:?}, it should be {:?}", expected.ending))?;
            self.ended(record, outcome.map_or(Ending::Open, Ending::Settled));
        }
        Ok(())
    }

    /// I3: a record is proved to be in the log, and leads to the person who asked.
    fn some_trace(&mut self) -> Checked {
        let allowed: Vec<RecordId> =
            self.model.records.iter().filter(|(_, r)| r.effect == Effect::Allow).map(|(id, _)| *id).collect();
        let Some(record) = self.rng.pick(&allowed) else { return Ok(()) };
        let chain = must("I3", "tracing a record", self.engine()?.trace_record(record))?;
        let proved = chain.proof.as_ref().is_some_and(|proof| proof.verified);
        self.check("I6", proved, || format!("record `{record}` is not proved: {:?}", chain.proof))?;
        let root = chain.tasks.last().map(|step| &step.task);
        let rooted = root.is_some_and(|task| task.lineage.is_empty() && self.model.tasks.get(&task.id) == Some(task));
        self.check("I3", rooted, || format!("record `{record}` leads to {root:?}"))
    }
}

/// The first thing in which two states differ.
fn difference(a: &State, b: &State) -> Option<String> {
    let maps = [
        entries("people", &a.people, &b.people),
        entries("identities", &a.identities, &b.identities),
        entries("resources", &a.resources, &b.resources),
        entries("policy files", &a.policy_files, &b.policy_files),
        entries("instances", &a.instances, &b.instances),
        entries("tasks", &a.tasks, &b.tasks),
        entries("leases", &a.leases, &b.leases),
        entries("elevations", &a.elevations, &b.elevations),
        entries("calls", &a.calls, &b.calls),
        entries("usage", &a.usage, &b.usage),
        entries("revocations", &a.revocations, &b.revocations),
    ];
    let other = || (a != b).then(|| "another field".to_owned());
    maps.into_iter().flatten().next().or_else(other)
}

/// The first entry in which two maps differ.
fn entries<K: Ord + Debug, V: PartialEq + Debug>(name: &str, a: &BTreeMap<K, V>, b: &BTreeMap<K, V>) -> Option<String> {
    let key = a.keys().chain(b.keys()).find(|key| a.get(*key) != b.get(*key))?;
    Some(format!("{name}, {key:?}: {:?} and {:?}", a.get(key), b.get(key)))
}
