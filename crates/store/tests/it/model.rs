//! What the views should answer: found by looking through all events, one question at a time.

use std::collections::BTreeMap;

use marque_core::Digest;
use marque_core::attestation::Instance;
use marque_core::decision::Effect;
use marque_core::elevation::Elevation;
use marque_core::event::{Body, Event};
use marque_core::id::{ElevationId, InstanceId, LeaseId, RecordId, TaskId};
use marque_core::lease::Lease;
use marque_core::record::{Content, Decided, Outcome};
use marque_core::task::Task;
use marque_core::time::Timestamp;

/// All events, from the first.
pub(crate) struct Model<'a>(pub(crate) &'a [Event]);

/// Index, time, decision, and the outcome with its index.
pub(crate) type Record = (u64, Timestamp, Decided, Option<(u64, Outcome)>);

/// Index, task, when it was finished, and the elevation that started it.
pub(crate) type Started = (u64, Task, Option<Timestamp>, Option<ElevationId>);

impl Model<'_> {
    /// The newest events first: views answer in this order.
    fn newest(&self) -> impl Iterator<Item = (u64, &Event)> {
        self.0.iter().enumerate().rev().map(|(seq, event)| (seq as u64, event))
    }

    pub(crate) fn replayed(&self) -> Vec<Event> {
        self.0.iter().filter(|event| event.what.is_replayed()).cloned().collect()
    }

    pub(crate) fn records(&self) -> Vec<Record> {
        let record = |(seq, event): (u64, &Event)| match &event.what {
            Body::Decided(decided) => Some((seq, event.ts, (**decided).clone(), self.settled(decided.record))),
            _ => None,
        };
        self.newest().filter_map(record).collect()
    }

    /// The allowed calls without an outcome, the oldest first.
    pub(crate) fn unsettled(&self) -> Vec<(u64, RecordId)> {
        let open = self
            .records()
            .into_iter()
            .rev()
            .filter(|(_, _, decided, settled)| decided.effect == Effect::Allow && settled.is_none());
        open.map(|(seq, _, decided, _)| (seq, decided.record)).collect()
    }

    fn settled(&self, id: RecordId) -> Option<(u64, Outcome)> {
        self.newest().find_map(|(seq, event)| match &event.what {
            Body::Settled { record, outcome, .. } if *record == id => Some((seq, outcome.clone())),
            _ => None,
        })
    }

    pub(crate) fn tasks(&self) -> Vec<Started> {
        let started = |(seq, event): (u64, &Event)| match &event.what {
            Body::TaskStarted { task } => Some((seq, task.clone(), self.finished(task.id), None)),
            Body::ElevationApproved { task, elevation, .. } => {
                Some((seq, task.clone(), self.finished(task.id), Some(*elevation)))
            }
            _ => None,
        };
        self.newest().filter_map(started).collect()
    }

    fn finished(&self, id: TaskId) -> Option<Timestamp> {
        self.newest().find_map(|(_, event)| match event.what {
            Body::TaskFinished { task } if task == id => Some(event.ts),
            _ => None,
        })
    }

    pub(crate) fn leases(&self) -> BTreeMap<LeaseId, (u64, Lease)> {
        let issued = |(seq, event): (u64, &Event)| match &event.what {
            Body::LeaseIssued { lease } => Some((lease.id, (seq, lease.clone()))),
            _ => None,
        };
        self.newest().filter_map(issued).collect()
    }

    pub(crate) fn instances(&self) -> BTreeMap<InstanceId, Instance> {
        let attested = |(_, event): (u64, &Event)| match &event.what {
            Body::InstanceAttested { instance } => Some((instance.id, instance.clone())),
            _ => None,
        };
        self.newest().filter_map(attested).collect()
    }

    pub(crate) fn elevations(&self) -> Vec<(Elevation, &'static str)> {
        let requested = |(_, event): (u64, &Event)| match &event.what {
            Body::ElevationRequested { elevation } => Some(((**elevation).clone(), self.status(elevation.id))),
            _ => None,
        };
        self.newest().filter_map(requested).collect()
    }

    fn status(&self, id: ElevationId) -> &'static str {
        let status = self.newest().find_map(|(_, event)| match &event.what {
            Body::ElevationApproved { elevation, .. } if *elevation == id => Some("approved"),
            Body::ElevationRefused { elevation, .. } if *elevation == id => Some("refused"),
            Body::ElevationExpired { elevation } if *elevation == id => Some("expired"),
            _ => None,
        });
        status.unwrap_or("pending")
    }

    /// The indices of the records with exactly this text, and of those whose text has this normalised form; the newest first.
    pub(crate) fn with_content(&self, digest: Digest) -> (Vec<u64>, Vec<u64>) {
        let those = |carries: &dyn Fn(&Content) -> bool| {
            let records = self.records().into_iter().filter(|(_, _, decided, _)| decided.contents.iter().any(carries));
            records.map(|(seq, ..)| seq).collect()
        };
        (those(&|c| c.exact == digest), those(&|c| c.normalised == digest))
    }

    pub(crate) fn usage(&self) -> BTreeMap<TaskId, u64> {
        let mut usage = BTreeMap::new();
        for (_, _, decided, _) in self.records() {
            if decided.effect == Effect::Allow {
                *usage.entry(decided.task).or_default() += 1;
            }
        }
        usage
    }
}
