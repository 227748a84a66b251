//! What entries say about the log itself, gathered while they are hashed.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use marque_core::PersonId;
use marque_core::decision::Effect;
use marque_core::event::{Body, Event};
use marque_core::id::{ObserverId, RecordId, TaskId};

/// The facts of one log.
#[derive(Debug, Default)]
pub struct Facts {
    /// Entries of before observers numbered what they see.
    pub unnumbered: u64,
    /// The last number of each observer.
    pub observers: BTreeMap<ObserverId, u64>,
    /// Numbers that were not followed by the next.
    pub holes: Vec<Hole>,
    /// Numbers that the log itself says never came: observer, first, last.
    pub gaps: Vec<(ObserverId, u64, u64)>,
    /// Below which entry contents were let go, by which rule.
    pub pruned: Vec<(u64, String)>,
    /// Whose data was erased, as the log names them.
    pub erased: BTreeSet<PersonId>,
    /// Allowed calls of which no outcome stands here.
    pub open: BTreeSet<RecordId>,
    /// The entries with commitments that name a person, by that name.
    named: HashMap<String, Vec<u64>>,
    /// Whose each task is: what was measured of a process that was launched for it is theirs too.
    principals: HashMap<TaskId, PersonId>,
}

/// A place where an observer's numbers do not go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hole {
    pub observer: ObserverId,
    /// The number that was expected.
    pub expected: u64,
    /// The number that came.
    pub found: u64,
    /// In which entry.
    pub entry: u64,
    /// Whether it was the observer's first.
    pub is_first: bool,
}

impl Facts {
    /// Takes an entry in; an entry that is no event is a fault.
    pub fn add(&mut self, index: u64, entry: &[u8]) -> Result<(), String> {
        let event = Event::from_bytes(entry).map_err(|e| format!("it is not an event: {e}"))?;
        match event.obs {
            Some(observer) => self.count(observer, event.iseq, index),
            None => self.unnumbered += 1,
        }
        let text = std::str::from_utf8(entry).unwrap_or_default();
        if text.contains(COMMITMENT) {
            let names: BTreeSet<&str> = text.match_indices(PSEUDONYM).filter_map(|(at, _)| text.get(at..at + LENGTH)).collect();
            for name in names {
                self.named.entry(name.to_owned()).or_default().push(index);
            }
        }
        match event.what {
            Body::TaskStarted { task } | Body::ElevationApproved { task, .. } => {
                self.principals.insert(task.id, task.principal);
            }
            Body::InstanceAttested { instance } if text.contains(COMMITMENT) => {
                if let Some(principal) = instance.task.and_then(|task| self.principals.get(&task)) {
                    self.named.entry(principal.to_string()).or_default().push(index);
                }
            }
            Body::Gap { observer, from, to } => self.gaps.push((observer, from, to)),
            Body::Pruned { below, policy } => self.pruned.push((below, policy)),
            Body::Erased { pseudonym, .. } => {
                self.erased.insert(pseudonym);
            }
            Body::Decided(decided) if decided.effect == Effect::Allow => {
                self.open.insert(decided.record);
            }
            Body::Settled { record, .. } => {
                self.open.remove(&record);
            }
            _ => {}
        }
        Ok(())
    }

    /// How many entries hold commitments and name somebody who was erased.
    pub fn entries_of_erased(&self) -> usize {
        let entries = self.erased.iter().filter_map(|person| self.named.get(&person.to_string()));
        entries.flatten().collect::<BTreeSet<_>>().len()
    }

    /// The holes that no event admits. Where entries were let go, the first number that is left is any.
    pub fn unadmitted(&self, is_pruned: bool) -> Vec<Hole> {
        let admitted = |hole: &&Hole| {
            let covers = |(observer, from, to): &(ObserverId, u64, u64)| {
                *observer == hole.observer && *from <= hole.expected && hole.found <= to.saturating_add(1)
            };
            hole.found > hole.expected && self.gaps.iter().any(covers)
        };
        self.holes.iter().filter(|hole| !(admitted(hole) || (hole.is_first && is_pruned))).copied().collect()
    }

    fn count(&mut self, observer: ObserverId, found: u64, entry: u64) {
        let last = self.observers.insert(observer, found);
        let expected = last.unwrap_or(0).saturating_add(1);
        if found != expected {
            self.holes.push(Hole { observer, expected, found, entry, is_first: last.is_none() });
        }
    }
}

/// How a commitment begins in an entry.
const COMMITMENT: &str = "\"commit:";
/// How a pseudonym begins: 32 hex digits follow.
const PSEUDONYM: &str = "user:~";
const LENGTH: usize = PSEUDONYM.len() + 32;

#[cfg(test)]
mod tests {
    use marque_core::Digest;
    use marque_core::event::{By, SCHEMA};
    use marque_core::id::{EventId, InstanceId, LeaseId, TaskId};
    use marque_core::record::{Consent, Decided, Outcome, Posture};
    use marque_core::resource::{Action, Sensitivity};
    use marque_core::revocation::{Epoch, Target};
    use marque_core::time::Timestamp;

    use super::*;

    fn observer(n: u8) -> ObserverId {
        ObserverId::from_bytes([n; 16])
    }

    fn entry(obs: Option<u8>, iseq: u64, what: Body) -> Vec<u8> {
        let (id, ts) = (EventId::from_bytes([1; 16]), Timestamp::from_seconds(1));
        Event { id, v: SCHEMA, ts, obs: obs.map(observer), iseq, by: By::System, what }.to_bytes().unwrap()
    }

    fn plain() -> Body {
        Body::Pruned { below: 0, policy: "test".into() }
    }

    fn facts(entries: &[Vec<u8>]) -> Facts {
        let mut facts = Facts::default();
        (0..).zip(entries).for_each(|(index, entry)| facts.add(index, entry).unwrap());
        facts
    }

    #[test]
    fn observers_number_from_one_without_gaps() {
        let whole = facts(&[entry(Some(1), 1, plain()), entry(Some(2), 1, plain()), entry(Some(1), 2, plain())]);
        assert!(whole.unadmitted(false).is_empty());
        let late = facts(&[entry(Some(1), 4, plain()), entry(Some(1), 5, plain())]);
        assert_eq!(late.unadmitted(false).len(), 1);
        assert!(late.unadmitted(true).is_empty(), "what came before may have been let go");
        let back = facts(&[entry(Some(1), 1, plain()), entry(Some(1), 1, plain())]);
        assert_eq!(back.unadmitted(true)[0].found, 1, "twice the same number");
        let old = facts(&[entry(None, 0, plain())]);
        assert_eq!((old.unnumbered, old.unadmitted(false).len()), (1, 0));
        assert!(Facts::default().add(0, b"{}").is_err());
    }

    #[test]
    fn a_gap_is_admitted_by_an_event_that_covers_it() {
        let with = |from, to| {
            let gap = Body::Gap { observer: observer(1), from, to };
            facts(&[entry(Some(1), 1, plain()), entry(Some(1), 5, plain()), entry(Some(1), 6, gap)])
        };
        assert!(with(2, 4).unadmitted(false).is_empty());
        for (from, to) in [(2, 3), (3, 4), (5, 9)] {
            assert_eq!(with(from, to).unadmitted(false).len(), 1, "{from} to {to}");
        }
    }

    fn decided(n: u8, effect: Effect) -> Body {
        let digest = Digest::from_bytes([n; 32]);
        Body::Decided(Box::new(Decided {
            record: RecordId::from_bytes([n; 16]),
            identity: "spiffe://example.org/agent/a".parse().unwrap(),
            instance: InstanceId::from_bytes([n; 16]),
            lease: LeaseId::from_bytes([n; 16]),
            task: TaskId::from_bytes([n; 16]),
            principal: PersonId::pseudonym([n; 16]),
            action: Action::Invoke,
            resource: "tool:crm/find".parse().unwrap(),
            sensitivity: Sensitivity::Public,
            protocol: "mcp tools/call".into(),
            effect,
            reasons: Vec::new(),
            policy: digest,
            request: digest.into(),
            arguments: digest.into(),
            intent: "an intent".into(),
            posture: Posture { method: "unix".into(), age: 3 },
            consent: Consent::NotNeeded,
            obligations: Vec::new(),
            correlation: None,
            causes: Vec::new(),
            contents: Vec::new(),
            elevation: None,
        }))
    }

    #[test]
    fn an_allowed_call_is_open_until_its_outcome() {
        let settled = |n| Body::Settled { record: RecordId::from_bytes([n; 16]), principal: None, outcome: Outcome::abandoned() };
        let bodies = [
            decided(1, Effect::Allow),
            decided(2, Effect::Deny),
            decided(3, Effect::Hold),
            decided(4, Effect::Allow),
            settled(1),
            settled(5),
        ];
        let entries: Vec<_> = (1..).zip(bodies).map(|(n, body)| entry(Some(1), n, body)).collect();
        assert_eq!(facts(&entries).open, BTreeSet::from([RecordId::from_bytes([4; 16])]));
    }

    #[test]
    fn entries_of_the_erased_are_counted_once() {
        let [alice, bob, carol] = [1, 2, 3].map(|n| PersonId::pseudonym([n; 16]));
        let revoked = |person: &PersonId, why: String| {
            let (target, epoch) = (Target::Owner(person.clone()), Epoch(1));
            entry(Some(1), 1, Body::Revoked { target, epoch, why })
        };
        let commitment = format!("commit:{}", "0".repeat(64));
        let mut facts = facts(&[
            revoked(&alice, commitment.clone()),
            revoked(&bob, commitment.clone()),
            revoked(&alice, "nothing was kept back".into()),
            revoked(&carol, commitment),
            entry(Some(1), 2, Body::Erased { person: alice.clone(), pseudonym: alice }),
        ]);
        assert_eq!(facts.entries_of_erased(), 1);
        facts.erased.insert(bob.clone());
        facts.named.entry(bob.to_string()).or_default().push(0);
        assert_eq!(facts.entries_of_erased(), 2, "an entry that names both counts once");
    }
}
