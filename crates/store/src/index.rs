//! The index: which entries of the log name an identity, a task, a person, a credential, or carry a text.
//!
//! A projection of the log, as the views are. Terms are kept for each stretch of 65,536 entries apart, so that a question
//! reads only the stretches that it asks about; digests and fingerprints are kept over the whole log. Every key goes
//! through the vault: without the log's own key nobody can look a guess up in the files.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use marque_core::event::{Body, By, Event};
use marque_core::record::Content;
use marque_core::{Committed, Digest, PersonId};

use crate::error::Result;
use crate::runs::{Found, Reader, Runs, Stats};
use crate::vault::Vault;

/// One fact that an entry may have: a field and its value, as `("identity", "spiffe://…")`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Term {
    /// The field.
    pub field: Field,
    /// Its value, as it is written in events.
    pub value: String,
}

/// What entries can be found by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Field {
    /// The identity that acts, or that the event is about.
    Identity,
    /// The running copy.
    Instance,
    /// The task.
    Task,
    /// The person for whom it was, or who said so.
    Person,
    /// What was acted on.
    Resource,
    /// The credential.
    Credential,
    /// The decision.
    Decision,
    /// The kind of event.
    Kind,
    /// The record: its decision and its outcome.
    Record,
}

impl Field {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Instance => "instance",
            Self::Task => "task",
            Self::Person => "person",
            Self::Resource => "resource",
            Self::Credential => "credential",
            Self::Decision => "decision",
            Self::Kind => "kind",
            Self::Record => "record",
        }
    }
}

/// The index of one log.
#[derive(Debug)]
pub struct Index {
    dir: PathBuf,
    vault: Arc<Vault>,
    runs: Mutex<Runs>,
    reader: Reader,
}

impl Index {
    /// Opens the index in `dir`; one that is damaged is begun anew.
    pub fn open(dir: &Path, vault: Arc<Vault>) -> Result<Self> {
        let runs = Runs::open(dir).or_else(|_| Runs::reset(dir))?;
        Ok(Self { dir: dir.to_owned(), vault, reader: runs.reader(), runs: Mutex::new(runs) })
    }

    /// The next entry to feed.
    pub fn covers(&self) -> u64 {
        self.reader.snapshot().covers()
    }

    /// Feeds entries in order, and says that all below `covers` have been.
    pub fn feed<'a>(&self, entries: impl Iterator<Item = (u64, &'a Event)>, covers: u64) -> Result<()> {
        let mut runs = self.lock();
        // Neighbours have most of their terms in common, and a key costs more than a look.
        let mut known: HashMap<(Field, u64, String), u64> = HashMap::new();
        for (seq, event) in entries {
            let stretch = seq / STRETCH;
            terms(event, &mut |field, value| {
                let key = match field {
                    // Each has one of its own.
                    Field::Record => self.term(field, value, stretch),
                    _ => *known
                        .entry((field, stretch, value.to_owned()))
                        .or_insert_with_key(|(field, stretch, value)| self.term(*field, value, *stretch)),
                };
                runs.add(key, seq);
            });
            contents(event, &mut |content| {
                if let Some(digest) = content.exact.digest() {
                    runs.add(self.vault.index_key(&digest), seq);
                }
                if let Some(digest) = content.normalised.digest() {
                    runs.add(self.vault.normalised_key(&digest), seq);
                }
                content.prints.as_slice().iter().for_each(|print| runs.add(self.vault.print_key(*print), seq));
            });
            if let Body::ArtifactAttested { artifact } = &event.what {
                if let Some(digest) = artifact.content.digest() {
                    runs.add(self.vault.index_key(&digest), seq);
                }
                // What a file was made from is not the file.
                for input in artifact.inputs.iter().filter_map(Committed::digest) {
                    runs.add(self.vault.input_key(&input), seq);
                }
            }
        }
        runs.advance(covers)
    }

    /// Writes what waits, when it is much, so that little must be fed again after a crash; and merges a step.
    pub fn tidy(&self) -> Result<()> {
        let mut runs = self.lock();
        if runs.stats().waiting > WAITING {
            runs.flush()?;
        }
        runs.merge_step()?;
        Ok(())
    }

    /// Forgets everything.
    pub fn clear(&self) -> Result<()> {
        let mut runs = self.lock();
        if runs.clear().is_err() {
            *runs = Runs::reset(&self.dir)?;
        }
        Ok(())
    }

    /// Forgets what some entries carried.
    pub fn remove(&self, seqs: &dyn Fn(u64) -> bool) -> Result<u64> {
        self.lock().remove(seqs)
    }

    /// How large it is.
    pub fn stats(&self) -> Stats {
        self.reader.snapshot().stats()
    }

    /// The entries that carry exactly the bytes of this digest, or are of a file with them, the newest first.
    pub fn with_digest(&self, digest: &Digest, most: usize) -> Result<Vec<u64>> {
        self.one(self.vault.index_key(digest), most)
    }

    /// The entries of files that were made from the file of this digest, the newest first.
    pub fn with_input(&self, digest: &Digest, most: usize) -> Result<Vec<u64>> {
        self.one(self.vault.input_key(digest), most)
    }

    /// The entries that carry a text whose normalised form has this digest, the newest first.
    pub fn with_normalised(&self, digest: &Digest, most: usize) -> Result<Vec<u64>> {
        self.one(self.vault.normalised_key(digest), most)
    }

    fn one(&self, key: u64, most: usize) -> Result<Vec<u64>> {
        Ok(self.reader.snapshot().find(&[key], most)?.into_iter().next().map(|f| f.seqs).unwrap_or_default())
    }

    /// For each fingerprint, the entries that carry a text with it: the newest `most`, and whether there are more.
    pub fn with_prints(&self, prints: &[u64], most: usize) -> Result<Vec<Found>> {
        let mut keys: Vec<(u64, u64)> = prints.iter().map(|print| (self.vault.print_key(*print), *print)).collect();
        keys.sort_unstable();
        let found = self.reader.snapshot().find(&keys.iter().map(|(key, _)| *key).collect::<Vec<_>>(), most)?;
        let back = |f: Found| {
            let at = keys.binary_search_by_key(&f.key, |(key, _)| *key).ok()?;
            Some(Found { key: keys.get(at)?.1, ..f })
        };
        Ok(found.into_iter().filter_map(back).collect())
    }

    /// Entries below `below` and from `from` on that have, of every group, at least one term: the newest `most`.
    pub fn find(&self, groups: &[Vec<Term>], from: u64, below: u64, most: usize) -> Result<Vec<u64>> {
        let snapshot = self.reader.snapshot();
        let mut found = Vec::new();
        let Some(last) = below.checked_sub(1) else { return Ok(found) };
        for stretch in (from / STRETCH..=last / STRETCH).rev() {
            let mut left: Option<Vec<u64>> = None;
            for group in groups {
                let keys: Vec<u64> = group.iter().map(|t| self.term(t.field, &t.value, stretch)).collect();
                let mut seqs: Vec<u64> = snapshot.find(&keys, STRETCH as usize)?.into_iter().flat_map(|f| f.seqs).collect();
                seqs.sort_unstable();
                seqs.dedup();
                left = Some(match left {
                    None => seqs,
                    Some(before) => before.into_iter().filter(|seq| seqs.binary_search(seq).is_ok()).collect(),
                });
                if left.as_ref().is_some_and(Vec::is_empty) {
                    break;
                }
            }
            let in_range = left.unwrap_or_default().into_iter().rev().filter(|seq| (from..below).contains(seq));
            found.extend(in_range.take(most.saturating_sub(found.len())));
            if found.len() >= most {
                break;
            }
        }
        Ok(found)
    }

    fn term(&self, field: Field, value: &str, stretch: u64) -> u64 {
        // A person is looked up by the pseudonym, which stays when the name is erased.
        let pseudonym = || value.parse::<PersonId>().ok().map(|person| self.vault.pseudonym(&person).to_string());
        let person = if field == Field::Person { pseudonym() } else { None };
        self.vault.term_key(field.as_str(), person.as_deref().unwrap_or(value), stretch)
    }

    fn lock(&self) -> MutexGuard<'_, Runs> {
        self.runs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Index {
    /// What waits in memory is written, so that the next opening need not feed it again. That it could not be is no loss.
    fn drop(&mut self) {
        let _ = self.lock().flush();
    }
}

/// Every term of an event; a value may come twice.
pub fn terms(event: &Event, each: &mut dyn FnMut(Field, &str)) {
    each(Field::Kind, event.what.kind());
    match &event.by {
        By::Person(person) => each(Field::Person, &person.to_string()),
        By::Instance(instance) => each(Field::Instance, &instance.to_string()),
        By::System => {}
    }
    let mut say = |field, value: &dyn std::fmt::Display| each(field, &value.to_string());
    match &event.what {
        Body::PersonAdded { person, .. } => say(Field::Person, person),
        Body::Erased { person, .. } => say(Field::Person, person),
        Body::IdentityApplied { identity } => {
            say(Field::Identity, &identity.id);
            identity.owner.iter().for_each(|owner| say(Field::Person, owner));
        }
        Body::IdentityMoved { identity, .. } | Body::IssueRefused { identity, .. } => say(Field::Identity, identity),
        Body::ResourceApplied { resource } => say(Field::Resource, &resource.id),
        Body::ToolPinned { tool, .. } => say(Field::Resource, tool),
        Body::InstanceAttested { instance } => {
            say(Field::Identity, &instance.identity);
            say(Field::Instance, &instance.id);
            instance.task.iter().for_each(|task| say(Field::Task, task));
        }
        Body::InstanceEnded { instance } => say(Field::Instance, instance),
        Body::TaskStarted { task } | Body::ElevationApproved { task, .. } => {
            say(Field::Identity, &task.actor);
            say(Field::Task, &task.id);
            say(Field::Person, &task.principal);
        }
        Body::TaskFinished { task } => say(Field::Task, task),
        Body::LeaseIssued { lease } => {
            say(Field::Identity, &lease.identity);
            say(Field::Instance, &lease.instance);
            say(Field::Credential, &lease.id);
            lease.task.iter().for_each(|task| say(Field::Task, task));
        }
        Body::Decided(decided) => {
            say(Field::Identity, &decided.identity);
            say(Field::Task, &decided.task);
            say(Field::Person, &decided.principal);
            say(Field::Resource, &decided.resource);
            say(Field::Credential, &decided.lease);
            say(Field::Decision, &decided.effect.as_str());
            say(Field::Record, &decided.record);
        }
        Body::Settled { record, principal, .. } => {
            say(Field::Record, record);
            principal.iter().for_each(|person| say(Field::Person, person));
        }
        Body::ElevationRequested { elevation } => {
            say(Field::Identity, &elevation.call.identity);
            say(Field::Task, &elevation.call.task);
            say(Field::Resource, &elevation.call.resource);
        }
        Body::ArtifactAttested { artifact } => {
            say(Field::Identity, &artifact.identity);
            say(Field::Task, &artifact.task);
        }
        Body::Revoked { target, .. } => target_terms(target, &mut say),
        Body::LogStarted { .. }
        | Body::PolicyFile { .. }
        | Body::PolicyActivated { .. }
        | Body::AttestationRefused { .. }
        | Body::ElevationVoted { .. }
        | Body::ElevationRefused { .. }
        | Body::ElevationExpired { .. }
        | Body::LedgerRead { .. }
        | Body::Gap { .. }
        | Body::AuthorityStepped { .. }
        | Body::NodeTokenMade { .. }
        | Body::NodeJoined { .. }
        | Body::NodeBanned { .. }
        | Body::Pruned { .. } => {}
    }
}

/// Whether an event carries exactly the bytes of this digest, is of a file with them, or of one that was made from such a file.
pub fn names(event: &Event, digest: &Digest) -> bool {
    let mut found = false;
    contents(event, &mut |content| found |= content.exact == *digest);
    if let Body::ArtifactAttested { artifact } = &event.what {
        found |= artifact.content == *digest || artifact.inputs.iter().any(|input| *input == *digest);
    }
    found
}

fn target_terms(target: &marque_core::revocation::Target, say: &mut dyn FnMut(Field, &dyn std::fmt::Display)) {
    use marque_core::revocation::Target;
    match target {
        Target::Lease(id) => say(Field::Credential, id),
        Target::Task(id) => say(Field::Task, id),
        Target::Instance(id) => say(Field::Instance, id),
        Target::Identity(id) => say(Field::Identity, id),
        Target::Owner(person) => say(Field::Person, person),
        Target::Elevation(_) => {}
    }
}

fn contents(event: &Event, each: &mut dyn FnMut(&Content)) {
    match &event.what {
        Body::Decided(decided) => decided.contents.iter().for_each(each),
        Body::Settled { outcome, .. } => outcome.contents.iter().for_each(each),
        _ => {}
    }
}

/// How many postings wait in memory at most: some 10,000 records, which are fed again in a second.
const WAITING: u64 = 1 << 18;
/// How many entries a term's postings are kept together for.
const STRETCH: u64 = 1 << 16;
