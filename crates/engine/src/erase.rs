//! Erasing a person: their name, and the key of everything that was recorded for them. The log stays whole: it only ever
//! held their pseudonym, and commitments in the place of content.

use std::collections::BTreeSet;

use marque_core::PersonId;
use marque_core::event::Body;
use marque_core::id::TaskId;
use marque_core::identity::Lifecycle;
use marque_core::revocation::Target;
use marque_core::state::State;
use marque_store::StateDir;
use marque_store::index::{Field, Term};
use marque_store::vault::Vault;
use marque_store::views::Views;
use serde::{Deserialize, Serialize};

use crate::caller::Caller;
use crate::error::{EngineError, Result};
use crate::open::Engine;
use crate::revoke::Revoked;

/// What erasing a person takes away, or took.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Erasure {
    /// What is left of them: the name that the log has had all the time.
    pub pseudonym: PersonId,
    /// Entries whose content only they can be read with. They stay, and stay proven.
    pub entries: u64,
    /// Tasks of theirs that are alive: revoked first.
    pub tasks: usize,
    /// Identities that they own and that are active: suspended first.
    pub identities: usize,
    /// Whether they have a bootstrap credential.
    pub credential: bool,
    /// What the revocation ended; nothing where nothing was alive, or nothing was done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked: Option<Revoked>,
    /// Whether it is done.
    pub done: bool,
}

impl Engine {
    /// What [`Engine::erase_person`] would take away (blocking).
    pub fn erasure(&self, person: &PersonId) -> Result<Erasure> {
        let pseudonym = self.vault.pseudonym(person);
        let (tasks, identities, credential) = {
            let state = self.state();
            self.may_go(&state, person)?;
            let target = Target::Owner(person.clone());
            let active = state.hit_identities(&target).filter(|i| i.state == Lifecycle::Active).count();
            let tasks = state.tasks.values().filter(|t| state.task_hangs_from(t, &target)).count();
            (tasks, active, state.people.contains_key(person))
        };
        let entries = carried(self.fresh_views()?, &pseudonym)?;
        Ok(Erasure { pseudonym, entries, tasks, identities, credential, revoked: None, done: false })
    }

    /// Erases a person for good (blocking): revokes what hangs from them, says so in the log, and then forgets their name,
    /// their credential and their key, and projects the views again without them.
    ///
    /// INVARIANT (I6 the ledger is the history): no entry, hash or proof changes. A crash on the way is made good at the next
    /// opening: what the log says is erased, is.
    pub async fn erase_person(&self, by: &Caller, person: &PersonId) -> Result<Erasure> {
        by.person()?;
        let _one_at_a_time = self.changing.lock().await;
        let found = self.erasure(person)?;
        let alive = found.tasks > 0 || found.identities > 0 || self.awaits(person);
        let revoked =
            if alive { Some(self.revoke(by, Target::Owner(person.clone()), "their data is erased").await?) } else { None };
        let (person, pseudonym) = (person.clone(), found.pseudonym.clone());
        self.commit(by.by(), |state, _| {
            self.may_go(state, &person)?;
            // What was measured of a launch of theirs goes too, and a copy of which not all is known counts no longer. A task
            // that is not there any more may have been theirs.
            let theirs = |task: TaskId| state.tasks.get(&task).is_none_or(|task| task.principal == person);
            let launched = state.instances.values().filter(|instance| instance.task.is_some_and(theirs));
            let ended = launched.map(|instance| Body::InstanceEnded { instance: instance.id });
            let erased = Body::Erased { person: person.clone(), pseudonym };
            Ok(((), ended.chain([erased]).collect()))
        })
        .await?;
        // Whatever of theirs is still under way finds that it has ended.
        self.ended.send_modify(|n| *n = n.wrapping_add(1));
        forget(&self.dir, &self.vault, &self.views, &person)?;
        self.catch_up()?;
        Ok(Erasure { revoked, done: true, ..found })
    }

    /// Whether a person was erased: nobody is known by that name again.
    pub(crate) fn was_erased(&self, state: &State, person: &PersonId) -> bool {
        !state.erased.is_empty() && state.erased.contains(&self.vault.pseudonym(person))
    }

    /// A refusal for a name that was erased.
    pub(crate) fn not_erased(&self, state: &State, person: &PersonId) -> Result<()> {
        if self.was_erased(state, person) {
            return Err(EngineError::Invalid(format!("`{person}` was erased, and the name is never used again")));
        }
        Ok(())
    }

    fn may_go(&self, state: &State, person: &PersonId) -> Result<()> {
        if self.was_erased(state, person) {
            return Err(EngineError::Invalid(format!("`{}` is erased already", self.vault.pseudonym(person))));
        }
        let owns = |owner: &Option<PersonId>| owner.as_ref() == Some(person);
        let known = state.people.contains_key(person)
            || state.identities.values().any(|i| owns(&i.owner))
            || state.resources.values().any(|r| owns(&r.owner))
            || self.vault.name(&self.vault.pseudonym(person)).is_some();
        if !known || person.is_pseudonym() {
            return Err(EngineError::not_found("person", person));
        }
        let first = self.dir.read(FIRST_PERSON_FILE)?.is_some_and(|name| String::from_utf8_lossy(&name).trim() == person.name());
        if first || state.people.keys().eq([person]) {
            return Err(EngineError::Invalid(format!(
                "`{person}` is the first person of this state directory: name another in `{FIRST_PERSON_FILE}` before"
            )));
        }
        Ok(())
    }

    /// Whether a vote of theirs stands on a held request.
    fn awaits(&self, person: &PersonId) -> bool {
        self.state().elevations.values().any(|e| e.votes.contains(person))
    }
}

/// INVARIANT (I6 the ledger is the history): finishes at an opening what a crash left undone, and keeps the vault from ever
/// making a new key for somebody who was erased. Says whether the state must be read again.
pub(crate) fn finish(dir: &StateDir, vault: &Vault, views: &Views, state: &State) -> Result<bool> {
    // Where the key is still there, the views gave the name back in the place of the pseudonym.
    let pseudonyms: BTreeSet<PersonId> = state.erased.iter().map(|person| vault.pseudonym(person)).collect();
    let unfinished: Vec<PersonId> = pseudonyms.iter().filter_map(|pseudonym| vault.name(pseudonym)).collect();
    vault.bar(pseudonyms);
    for person in &unfinished {
        forget(dir, vault, views, person)?;
    }
    if unfinished.is_empty() {
        return Ok(false);
    }
    views.catch_up()?;
    Ok(true)
}

/// The credential first: without the key nobody knows any more which file it is.
fn forget(dir: &StateDir, vault: &Vault, views: &Views, person: &PersonId) -> Result<()> {
    dir.remove(&format!("people/{}.token", person.name()))?;
    Ok(views.forget(|| vault.erase(person))?)
}

/// How many entries carry a person's data: of those that name them, and of those that name a task of theirs.
fn carried(views: &Views, pseudonym: &PersonId) -> Result<u64> {
    let mut carried = BTreeSet::new();
    let mut tasks = BTreeSet::new();
    let mut look = |terms: Vec<Term>, tasks: &mut BTreeSet<TaskId>| -> Result<()> {
        for seq in views.index().find(&[terms], 0, views.index().covers(), usize::MAX)? {
            let Some(opened) = views.entry(seq)?.filter(|opened| opened.subject.as_ref() == Some(pseudonym)) else { continue };
            carried.insert(seq);
            if let Body::TaskStarted { task } | Body::ElevationApproved { task, .. } = opened.event.what {
                tasks.insert(task.id);
            }
        }
        Ok(())
    };
    look(vec![Term { field: Field::Person, value: pseudonym.to_string() }], &mut tasks)?;
    let of_tasks: Vec<Term> = tasks.iter().map(|task| Term { field: Field::Task, value: task.to_string() }).collect();
    if !of_tasks.is_empty() {
        look(of_tasks, &mut tasks)?;
    }
    Ok(carried.len() as u64)
}

/// The file that names the person whom the command line takes when nobody is named.
const FIRST_PERSON_FILE: &str = "people/default";
