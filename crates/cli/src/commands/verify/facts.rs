//! What entries say about the log itself, gathered while they are hashed.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use marque_core::PersonId;
use marque_core::decision::Effect;
use marque_core::event::{Body, Event};
use marque_core::id::{ObserverId, RecordId, TaskId};

/// The facts of a log, or of some entries of it that follow one another.
#[derive(Debug, Default, PartialEq)]
pub struct Facts {
    /// Entries of before observers numbered what they see.
    pub unnumbered: u64,
    /// The numbers of each observer.
    pub observers: BTreeMap<ObserverId, Numbers>,
    /// Numbers that were not followed by the next, in the order of the entries.
    holes: Vec<Hole>,
    /// Numbers that the log itself says never came: observer, first, last.
    pub gaps: Vec<(ObserverId, u64, u64)>,
    /// Below which entry contents were let go, by which rule.
    pub pruned: Vec<(u64, String)>,
    /// Whose data was erased, as the log names them.
    pub erased: BTreeSet<PersonId>,
    /// Allowed calls of which no outcome stands here.
    pub open: BTreeSet<RecordId>,
    /// Outcomes of calls that were decided before these entries.
    settled: BTreeSet<RecordId>,
    /// The entries with commitments that name a person, by that name.
    named: HashMap<String, Vec<u64>>,
    /// Whose each task is: what was measured of a process that was launched for it is theirs too.
    principals: HashMap<TaskId, PersonId>,
    /// The entries with such commitments, by the task.
    launched: Vec<(TaskId, u64)>,
}

/// The numbers of one observer: the first, in which entry it came, and the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Numbers {
    pub(super) first: u64,
    pub(super) entry: u64,
    pub(super) last: u64,
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
}

impl Facts {
    /// Takes an entry in; an entry that is no event is a fault.
    pub fn add(&mut self, index: u64, entry: &[u8]) -> Result<(), String> {
        let event = Event::from_bytes(entry).map_err(|e| format!("it is not an event: {e}"))?;
        match event.obs {
            Some(observer) => self.count(observer, Numbers { first: event.iseq, entry: index, last: event.iseq }),
            None => self.unnumbered += 1,
        }
        let text = std::str::from_utf8(entry).unwrap_or_default();
        // Almost every entry has a commitment near its beginning, so that looking for one costs little.
        if text.contains(COMMITMENT) {
            let mut names: Vec<&str> = pseudonyms(text).collect();
            names.sort_unstable();
            names.dedup();
            names.into_iter().for_each(|name| self.names(name).push(index));
        }
        match event.what {
            Body::TaskStarted { task } | Body::ElevationApproved { task, .. } => {
                self.principals.insert(task.id, task.principal);
            }
            Body::InstanceAttested { instance } if text.contains(COMMITMENT) => {
                self.launched.extend(instance.task.map(|task| (task, index)));
            }
            Body::Gap { observer, from, to } => self.gaps.push((observer, from, to)),
            Body::Pruned { below, policy } => self.pruned.push((below, policy)),
            Body::Erased { pseudonym, .. } => {
                self.erased.insert(pseudonym);
            }
            Body::Decided(decided) if decided.effect == Effect::Allow => {
                self.open.insert(decided.record);
            }
            Body::Settled { record, .. } => self.settle(record),
            _ => {}
        }
        Ok(())
    }

    /// Takes in the facts of the entries that follow: the outcome is as if one had read them all.
    pub fn merge(&mut self, next: Self) {
        self.unnumbered += next.unnumbered;
        let known = self.holes.len();
        next.observers.into_iter().for_each(|(observer, numbers)| self.count(observer, numbers));
        self.holes.extend(next.holes);
        if let Some(holes) = self.holes.get_mut(known..) {
            holes.sort_by_key(|hole| hole.entry);
        }
        self.gaps.extend(next.gaps);
        self.pruned.extend(next.pruned);
        self.erased.extend(next.erased);
        next.settled.into_iter().for_each(|record| self.settle(record));
        self.open.extend(next.open);
        self.principals.extend(next.principals);
        self.launched.extend(next.launched);
        next.named.into_iter().for_each(|(name, entries)| self.names(&name).extend(entries));
    }

    /// How many entries hold commitments and name somebody who was erased.
    pub fn entries_of_erased(&self) -> usize {
        let named = self.erased.iter().filter_map(|person| self.named.get(&person.to_string())).flatten();
        let is_theirs = |task: &TaskId| self.principals.get(task).is_some_and(|person| self.erased.contains(person));
        let launched = self.launched.iter().filter(|(task, _)| is_theirs(task)).map(|(_, entry)| entry);
        named.chain(launched).collect::<BTreeSet<_>>().len()
    }

    /// The holes that no event admits. Where entries were let go, the first number that is left is any.
    pub fn unadmitted(&self, is_pruned: bool) -> Vec<Hole> {
        let admitted = |hole: &Hole| {
            let covers = |(observer, from, to): &(ObserverId, u64, u64)| {
                *observer == hole.observer && *from <= hole.expected && hole.found <= to.saturating_add(1)
            };
            hole.found > hole.expected && self.gaps.iter().any(covers)
        };
        let firsts = self.observers.iter().filter(|(_, numbers)| !is_pruned && numbers.first != 1);
        let firsts = firsts.map(|(observer, n)| Hole { observer: *observer, expected: 1, found: n.first, entry: n.entry });
        let mut holes: Vec<Hole> = firsts.chain(self.holes.iter().copied()).filter(|hole| !admitted(hole)).collect();
        holes.sort_by_key(|hole| hole.entry);
        holes
    }

    /// Takes in numbers of an observer that have no hole among themselves, or whose holes are known.
    fn count(&mut self, observer: ObserverId, numbers: Numbers) {
        match self.observers.entry(observer) {
            Entry::Vacant(place) => {
                place.insert(numbers);
            }
            Entry::Occupied(mut known) => {
                let expected = known.get().last.saturating_add(1);
                if numbers.first != expected {
                    self.holes.push(Hole { observer, expected, found: numbers.first, entry: numbers.entry });
                }
                known.get_mut().last = numbers.last;
            }
        }
    }

    /// Takes in an outcome.
    fn settle(&mut self, record: RecordId) {
        if !self.open.remove(&record) {
            self.settled.insert(record);
        }
    }

    /// The entries that name this person.
    fn names(&mut self, name: &str) -> &mut Vec<u64> {
        self.named.entry(name.to_owned()).or_default()
    }
}

/// The pseudonyms in a text. Its tildes are looked for: hardly anything else in an entry has one.
fn pseudonyms(text: &str) -> impl Iterator<Item = &str> {
    text.match_indices('~').filter_map(|(at, tilde)| {
        let start = (at + tilde.len()).checked_sub(PSEUDONYM.len())?;
        text.get(start..start + LENGTH).filter(|name| name.starts_with(PSEUDONYM))
    })
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

    /// An entry of one of three observers, whose numbers go on, jump, or go back.
    fn any_entry(index: u8, below: &mut dyn FnMut(u64) -> u64, numbers: &mut [u64; 3]) -> Vec<u8> {
        let who = below(3) as usize;
        numbers[who] = match below(8) {
            0 => below(20),
            1 => numbers[who] + 3,
            _ => numbers[who] + 1,
        };
        let person = PersonId::pseudonym([below(3) as u8; 16]);
        let what = match below(8) {
            6 => decided(index, Effect::Allow),
            7 => Body::Settled {
                record: RecordId::from_bytes([below(40) as u8; 16]),
                principal: None,
                outcome: Outcome::abandoned(),
            },
            0 => Body::Gap { observer: observer(who as u8), from: numbers[who].saturating_sub(2), to: numbers[who] },
            1 => plain(),
            2 => Body::Erased { person: person.clone(), pseudonym: person },
            _ => Body::Revoked { target: Target::Owner(person), epoch: Epoch(1), why: format!("commit:{:064}", 0) },
        };
        let obs = (below(9) > 0).then_some(who as u8);
        entry(obs, numbers[who], what)
    }

    #[test]
    fn facts_of_parts_are_the_facts_of_the_whole() {
        let mut state: u64 = 1;
        let mut below = |bound: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % bound
        };
        let mut with_holes = 0;
        for round in 0..500 {
            let mut numbers = [0; 3];
            let entries: Vec<Vec<u8>> = (0..below(40)).map(|index| any_entry(index as u8, &mut below, &mut numbers)).collect();
            let whole = facts(&entries);
            with_holes += usize::from(!whole.unadmitted(false).is_empty());
            let mut parts = Facts::default();
            let mut first = 0;
            while first < entries.len() {
                let end = (first + 1 + below(6) as usize).min(entries.len());
                let mut part = Facts::default();
                (first as u64..).zip(&entries[first..end]).for_each(|(index, entry)| part.add(index, entry).unwrap());
                parts.merge(part);
                first = end;
            }
            assert_eq!(parts, whole, "round {round}");
        }
        assert!(with_holes > 100, "{with_holes}");
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
