//! The one way to change anything: check, append, apply, wait.

use std::sync::atomic::Ordering;

use marque_core::PersonId;
use marque_core::event::{Body, By, Event, SCHEMA};
use marque_core::id::{EventId, TaskId};
use marque_core::state::State;
use marque_core::time::{Cx, Timestamp};
use marque_store::log::Pending;

use crate::error::Result;
use crate::open::Engine;

/// What a change produces: a value, and the events that make it so.
pub(crate) type Moves<T> = (T, Vec<Body>);

impl Engine {
    /// Checks and changes in one critical section, then waits until the events are durable.
    ///
    /// INVARIANT (I6 the ledger is the history): the state changes only by events that were appended in the same order.
    /// The state is ahead of the disk for the length of one fsync; nobody is answered in that time, and if the write
    /// fails, the log has stopped and nothing is answered any more.
    pub(crate) async fn commit<T>(&self, by: By, change: impl FnOnce(&State, &mut Cx<'_>) -> Result<Moves<T>>) -> Result<T> {
        let (value, pending) = self.enqueue(by, change)?;
        if let Some(pending) = pending {
            pending.await?;
        }
        Ok(value)
    }

    /// As [`Engine::commit`], without waiting: for outcomes, which must not fail what has already happened.
    pub(crate) fn enqueue<T>(
        &self,
        by: By,
        change: impl FnOnce(&State, &mut Cx<'_>) -> Result<Moves<T>>,
    ) -> Result<(T, Option<Pending>)> {
        let entropy = &self.env.entropy;
        let mut fresh = || {
            let mut bytes = [0; 16];
            entropy.fill(&mut bytes);
            u128::from_le_bytes(bytes)
        };
        let mut live = self.live_mut();
        if let By::Person(person) = &by {
            // Whoever proved who they are a moment before they were erased is nobody now.
            self.not_erased(&live.state, person)?;
        }
        let now = self.now();
        self.moment.fetch_max(now.micros(), Ordering::AcqRel);
        let mut cx = Cx::new(now, &mut fresh);
        let (value, bodies) = change(&live.state, &mut cx)?;
        if bodies.is_empty() {
            return Ok((value, None));
        }
        let first = live.iseq.saturating_add(1);
        let events: Vec<Event> = (first..)
            .zip(bodies)
            .map(|(iseq, what)| {
                let (id, obs, by) = (EventId::fresh(&mut cx), Some(self.observer_id), by.clone());
                Event { id, v: SCHEMA, ts: now, obs, iseq, by, what }
            })
            .collect();
        let fill = |bytes: &mut [u8]| self.env.entropy.fill(bytes);
        let veiled = |event| Ok(self.vault.veil(event, subject(&live.state, event), &fill)?.encode());
        let entries = events.iter().map(veiled).collect::<Result<Vec<_>>>()?;
        let pending = self.log().append(entries)?;
        live.iseq = live.iseq.saturating_add(events.len() as u64);
        for event in &events {
            live.state.apply(event);
        }
        Ok((value, Some(pending)))
    }

    /// The engine's time: the clock's, but never earlier than before.
    pub fn now(&self) -> Timestamp {
        self.env.clock.now().max(Timestamp::from_micros(self.moment.load(Ordering::Acquire)))
    }
}

/// The fold of all events so far.
#[derive(Debug)]
pub(crate) struct Live {
    pub state: State,
    /// The number of this observer's last event.
    pub iseq: u64,
}

/// Whose data an event carries: under that person's key its private fields are sealed.
fn subject<'a>(state: &'a State, event: &'a Event) -> Option<&'a PersonId> {
    let asked_for = |task: &TaskId| state.tasks.get(task).map(|t| &t.principal);
    let said_by = match &event.by {
        By::Person(person) => Some(person),
        By::Instance(_) | By::System => None,
    };
    match &event.what {
        Body::TaskStarted { task } | Body::ElevationApproved { task, .. } => Some(&task.principal),
        Body::InstanceAttested { instance } => instance.task.as_ref().and_then(asked_for),
        Body::AttestationRefused { why } => launched_for(why).as_ref().and_then(asked_for),
        Body::Decided(decided) => Some(&decided.principal),
        Body::Settled { principal, .. } => principal.as_ref(),
        Body::ElevationRequested { elevation } => asked_for(&elevation.call.task),
        Body::ArtifactAttested { artifact } => asked_for(&artifact.task).or(said_by),
        _ => said_by,
    }
}

/// The task for which the process of a refusal was launched, as the selectors that were seen have it.
fn launched_for(why: &str) -> Option<TaskId> {
    why.split_whitespace().find_map(|seen| seen.strip_prefix("launched:task:")?.parse().ok())
}
