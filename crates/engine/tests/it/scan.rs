//! What a scan of all of the log finds, and questions to hold against it.

use std::collections::{BTreeMap, BTreeSet};

use marque_core::Digest;
use marque_core::event::{Body, Event};
use marque_core::id::TaskId;
use marque_core::when::When;
use marque_engine::{Engine, Entry, Order, Query};
use marque_ledger::leaf_hash;
use marque_store::index::{Field, terms};
use serde_json::json;

use crate::busy::{Busy, Dice};
use crate::world::{World, spiffe};

/// All pages of a question, put together.
pub(crate) fn pages(engine: &Engine, query: &Query) -> Vec<Entry> {
    let (mut query, mut all) = (query.clone(), Vec::new());
    loop {
        let page = engine.query(&query).unwrap();
        assert_eq!((page.covers, page.size, page.pruned), (engine.log_size(), engine.log_size(), 0));
        assert!(page.entries.len() <= query.limit.unwrap_or(100) as usize);
        assert!(page.next.is_none() || !page.entries.is_empty(), "a page without an end");
        all.extend(page.entries);
        match page.next {
            Some(next) => query = query.page_at(next),
            None => return all,
        }
    }
}

pub(crate) fn indices(entries: &[Entry]) -> Vec<u64> {
    entries.iter().map(|entry| entry.index).collect()
}

pub(crate) fn oldest_first() -> Query {
    Query { order: Some(Order::Asc), limit: Some(1000), ..Query::default() }
}

/// Every event, opened: held against the published log, entry by entry.
pub(crate) async fn scan(world: &World) -> Vec<Event> {
    let entries = pages(&world.engine, &oldest_first());
    let published = world.entries().await;
    assert_eq!(entries.len(), published.len(), "all of the log");
    for (index, (entry, leaf)) in entries.iter().zip(&published).enumerate() {
        assert_eq!((entry.index, &entry.leaf_hash), (index as u64, &leaf_hash(leaf).to_string()));
        assert!(!entry.erased && !entry.pruned);
        let (opened, veiled) = (entry.event.as_ref().unwrap(), Event::from_bytes(leaf).unwrap());
        assert_eq!((opened.id, opened.ts, opened.what.kind()), (veiled.id, veiled.ts, veiled.what.kind()));
    }
    entries.into_iter().filter_map(|entry| entry.event).collect()
}

/// What an entry has, as the scan knows it.
fn facts(event: &Event) -> BTreeSet<(Field, String)> {
    let mut facts = BTreeSet::new();
    terms(event, &mut |field, value| {
        facts.insert((field, value.to_owned()));
    });
    facts
}

fn digests(event: &Event) -> Vec<Digest> {
    let contents = match &event.what {
        Body::Decided(decided) => decided.contents.clone(),
        Body::Settled { outcome, .. } => outcome.contents.clone(),
        _ => Vec::new(),
    };
    let files = match &event.what {
        Body::ArtifactAttested { artifact } => [vec![artifact.content], artifact.inputs.clone()].concat(),
        _ => Vec::new(),
    };
    contents.iter().map(|c| c.exact).chain(files).filter_map(|c| c.digest()).collect()
}

/// What a scan of everything finds.
pub(crate) fn expected(events: &[Event], query: &Query) -> Vec<u64> {
    let mut below: BTreeMap<TaskId, Vec<TaskId>> = BTreeMap::new();
    for event in events {
        if let Body::TaskStarted { task } | Body::ElevationApproved { task, .. } = &event.what {
            below.insert(task.id, task.lineage.clone());
        }
    }
    let hangs = |task: &str, root: TaskId| {
        task == root.to_string()
            || (query.below && task.parse().is_ok_and(|id: TaskId| below.get(&id).is_some_and(|above| above.contains(&root))))
    };
    let identity = query.identity.as_ref().map(|name| if name.contains("://") { name.clone() } else { spiffe(name).to_string() });
    let at = |when: Option<When>| match when {
        Some(When::At(moment)) => Some(moment),
        Some(When::Ago(_)) => panic!("the scan knows no clock"),
        None => None,
    };
    let fits = |event: &Event| {
        let facts = facts(event);
        let any = |field: Field, fits: &dyn Fn(&str) -> bool| facts.iter().any(|(f, value)| *f == field && fits(value));
        let same = |field: Field, wanted: Option<String>| wanted.is_none_or(|wanted| any(field, &|value| value == wanted));
        query.task.is_none_or(|root| any(Field::Task, &|task| hangs(task, root)))
            && same(Field::Identity, identity.clone())
            && same(Field::Instance, query.instance.map(|v| v.to_string()))
            && same(Field::Person, query.person.as_ref().map(ToString::to_string))
            && same(Field::Resource, query.resource.as_ref().map(ToString::to_string))
            && same(Field::Credential, query.credential.map(|v| v.to_string()))
            && same(Field::Record, query.record.map(|v| v.to_string()))
            && same(Field::Decision, query.decision.map(|v| v.as_str().to_owned()))
            && same(Field::Kind, query.kind.clone())
            && query.digest.is_none_or(|digest| digests(event).contains(&digest))
            && at(query.since).is_none_or(|since| event.ts >= since)
            && at(query.until).is_none_or(|until| event.ts < until)
    };
    let in_range = |index: u64| index >= query.from.unwrap_or(0) && index < query.before.unwrap_or(u64::MAX);
    (0..).zip(events).filter(|(index, event)| in_range(*index) && fits(event)).map(|(index, _)| index).collect()
}

/// A question with some of what some entries have, so that most find something.
pub(crate) fn question(events: &[Event], busy: &Busy, dice: &mut Dice) -> Query {
    let mut query = Query { below: dice.one_in(2), ..Query::default() };
    let mut of = &events[dice.below(events.len())];
    for (field, value) in facts(of) {
        if !dice.one_in(2) {
            continue;
        }
        match field {
            Field::Identity if dice.one_in(2) => {
                query.identity = Some(value.trim_start_matches("spiffe://example.org/").to_owned());
            }
            Field::Identity => query.identity = Some(value),
            Field::Instance => query.instance = value.parse().ok(),
            Field::Task => query.task = value.parse().ok(),
            Field::Person => query.person = value.parse().ok(),
            Field::Resource => query.resource = value.parse().ok(),
            Field::Credential => query.credential = value.parse().ok(),
            Field::Decision => query.decision = serde_json::from_value(json!(value)).ok(),
            Field::Kind => query.kind = Some(value),
            Field::Record => query.record = value.parse().ok(),
        }
    }
    if dice.one_in(3) {
        query.digest = dice.pick(&busy.texts).copied();
    }
    for bound in [&mut query.since, &mut query.until] {
        if dice.one_in(4) {
            of = &events[dice.below(events.len())];
            *bound = Some(When::At(of.ts));
        }
    }
    if dice.one_in(6) {
        query.from = Some(dice.below(events.len()) as u64);
    }
    if dice.one_in(6) {
        query.before = Some(dice.below(events.len() + 5) as u64);
    }
    query
}
