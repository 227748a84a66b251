//! What an entry must have.

use std::collections::BTreeSet;

use marque_core::event::{Body, Event};
use marque_core::id::TaskId;
use marque_core::time::Timestamp;
use marque_core::{Digest, PersonId};
use marque_store::index::{Field, Term, names, terms};
use marque_store::vault::Vault;
use marque_store::views::Views;

use super::Query;
use crate::error::{EngineError, Result};
use crate::open::Engine;

/// A [`Query`] as entries are held against it.
#[derive(Clone, Debug)]
pub(super) struct Filter {
    /// Of each field one of its values.
    groups: Vec<(Field, BTreeSet<String>)>,
    /// The task whose descendants count too.
    root: Option<TaskId>,
    pub(super) digest: Option<Digest>,
    pub(super) since: Timestamp,
    pub(super) until: Timestamp,
}

impl Filter {
    pub(super) fn new(engine: &Engine, views: &Views, query: &Query) -> Result<Self> {
        if let Some(kind) = query.kind.as_deref().filter(|kind| !Body::KINDS.contains(kind)) {
            let kinds = Body::KINDS.join(", ");
            return Err(EngineError::Invalid(format!("`{kind}` is no kind of event; there are {kinds}")));
        }
        let now = engine.now();
        let mut filter = Self {
            groups: Vec::new(),
            root: query.task.filter(|_| query.below),
            digest: query.digest,
            since: query.since.map_or(Timestamp::from_micros(i64::MIN), |when| when.at(now)),
            until: query.until.map_or(Timestamp::from_micros(i64::MAX), |when| when.at(now)),
        };
        filter.one(Field::Identity, query.identity_in(&engine.trust_domain)?);
        if let Some(task) = query.task {
            let tasks = if query.below { views.descendants(task)? } else { vec![task] };
            filter.any_of(Field::Task, tasks.iter().map(ToString::to_string));
        }
        // The pseudonym stays when the name is erased.
        filter.one(Field::Person, query.person.as_ref().map(|person| engine.vault.pseudonym(person)));
        filter.one(Field::Instance, query.instance);
        filter.one(Field::Resource, query.resource.as_ref());
        filter.one(Field::Credential, query.credential);
        filter.one(Field::Record, query.record);
        filter.one(Field::Decision, query.decision.map(|effect| effect.as_str()));
        filter.one(Field::Kind, query.kind.as_ref());
        Ok(filter)
    }

    /// One that everything has.
    #[cfg(test)]
    pub(super) fn open() -> Self {
        let (since, until) = (Timestamp::from_micros(i64::MIN), Timestamp::from_micros(i64::MAX));
        Self { groups: Vec::new(), root: None, digest: None, since, until }
    }

    fn one(&mut self, field: Field, value: Option<impl ToString>) {
        if let Some(value) = value {
            self.any_of(field, [value.to_string()]);
        }
    }

    fn any_of(&mut self, field: Field, values: impl IntoIterator<Item = String>) {
        self.groups.push((field, values.into_iter().collect()));
    }

    /// Whether no term is asked for.
    pub(super) fn is_open(&self) -> bool {
        self.groups.is_empty()
    }

    /// As the index is asked.
    pub(super) fn terms(&self) -> Vec<Vec<Term>> {
        let group = |(field, values): &(Field, BTreeSet<String>)| {
            values.iter().map(|value| Term { field: *field, value: value.clone() }).collect()
        };
        self.groups.iter().map(group).collect()
    }

    /// Whether an event has all that is asked for. Of a digest the index knows more than an event whose content was erased,
    /// so it is not looked at here: [`Filter::carried_by`].
    pub(super) fn matches(&self, vault: &Vault, event: &Event) -> bool {
        if event.ts < self.since || event.ts >= self.until {
            return false;
        }
        let mut missing: Vec<&(Field, BTreeSet<String>)> = self.groups.iter().collect();
        terms(event, &mut |field, value| {
            missing.retain(|(wanted, values)| *wanted != field || !has(values, vault, field, value));
        });
        missing.is_empty()
    }

    /// Whether an event carries the digest that is asked for, if one is, or names it as a file or an input.
    pub(super) fn carried_by(&self, event: &Event) -> bool {
        self.digest.is_none_or(|digest| names(event, &digest))
    }

    /// Takes note of a task that begins below the one that is asked for.
    pub(super) fn learn(&mut self, event: &Event) {
        let Some(root) = self.root else { return };
        if let Body::TaskStarted { task } | Body::ElevationApproved { task, .. } = &event.what
            && task.lineage.contains(&root)
        {
            let tasks = self.groups.iter_mut().filter(|(field, _)| *field == Field::Task);
            tasks.for_each(|(_, values)| {
                values.insert(task.id.to_string());
            });
        }
    }
}

fn has(values: &BTreeSet<String>, vault: &Vault, field: Field, value: &str) -> bool {
    if field == Field::Person
        && let Ok(person) = value.parse::<PersonId>()
    {
        return values.contains(&vault.pseudonym(&person).to_string());
    }
    values.contains(value)
}
