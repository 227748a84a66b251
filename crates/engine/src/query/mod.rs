//! Questions to the log: the entries that name somebody or something, who held what, and who had access then.
//!
//! The index says which entries may match; each is read and matched again before it is shown. Every answer says how far it
//! covers, and what of the range was let go. Reading the log is an event of its own: [`Engine::record_read`].

mod credentials;
mod filter;
mod follow;
mod moment;
mod reader;

use std::ops::Range;

use marque_core::decision::Effect;
use marque_core::event::{Body, Event};
use marque_core::id::{InstanceId, LeaseId, RecordId, TaskId};
use marque_core::resource::ResourceId;
use marque_core::spiffe::{SpiffeId, TrustDomain};
use marque_core::time::Timestamp;
use marque_core::when::When;
use marque_core::{Digest, PersonId};
use marque_store::views::Views;
use serde::{Deserialize, Serialize};

pub use credentials::{CredentialHistory, CredentialUse, Ended, TaskCredential, TaskCredentials};
pub use follow::Follow;
pub use moment::{AccessAt, HeldLease, Holder};

use crate::caller::Caller;
use crate::error::{EngineError, Result};
use crate::open::Engine;
use filter::Filter;
use reader::Reader;

/// What is asked of the log. Everything that is given must hold of an entry.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Query {
    /// The identity that acts or that it is about: a SPIFFE ID, or its path in this trust domain.
    pub identity: Option<String>,
    /// The running copy.
    pub instance: Option<InstanceId>,
    /// The task.
    pub task: Option<TaskId>,
    /// With the tasks that hang from that one.
    pub below: bool,
    /// The person for whom it was, or who said so.
    pub person: Option<PersonId>,
    /// What was acted on.
    pub resource: Option<ResourceId>,
    /// The credential.
    pub credential: Option<LeaseId>,
    /// The record: its decision and its outcome.
    pub record: Option<RecordId>,
    /// The decision.
    pub decision: Option<Effect>,
    /// The kind of event, as `task_started`.
    pub kind: Option<String>,
    /// SHA-256 of a content that it carried, or of a file that it is about.
    pub digest: Option<Digest>,
    /// Not before this moment.
    pub since: Option<When>,
    /// Before this moment.
    pub until: Option<When>,
    /// Only entries from this index on.
    pub from: Option<u64>,
    /// Only entries below this index.
    pub before: Option<u64>,
    /// The newest first, or the oldest.
    pub order: Option<Order>,
    /// How many at most: up to 1,000, and 100 without it.
    pub limit: Option<u32>,
}

/// Which entries come first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Order {
    /// The newest.
    #[default]
    Desc,
    /// The oldest.
    Asc,
}

impl Default for Query {
    fn default() -> Self {
        Self {
            identity: None,
            instance: None,
            task: None,
            below: true,
            person: None,
            resource: None,
            credential: None,
            record: None,
            decision: None,
            kind: None,
            digest: None,
            since: None,
            until: None,
            from: None,
            before: None,
            order: None,
            limit: None,
        }
    }
}

impl Query {
    /// The same with moments that stay while time passes: `2h` means two hours before `now`, on every page.
    #[must_use]
    pub fn fixed(self, now: Timestamp) -> Self {
        let fix = |when: Option<When>| when.map(|w| When::At(w.at(now)));
        Self { since: fix(self.since), until: fix(self.until), ..self }
    }

    /// The identity that is meant, known now or only in what has been.
    pub fn identity_in(&self, trust_domain: &TrustDomain) -> Result<Option<SpiffeId>> {
        let Some(name) = &self.identity else { return Ok(None) };
        let id = if name.starts_with("spiffe://") { name.parse::<SpiffeId>() } else { trust_domain.join(&format!("/{name}")) };
        Ok(Some(id?))
    }

    /// The question for the page behind one, by its [`Page::next`].
    #[must_use]
    pub fn page_at(self, next: u64) -> Self {
        match self.order.unwrap_or_default() {
            Order::Asc => Self { from: Some(next), ..self },
            Order::Desc => Self { before: Some(next), ..self },
        }
    }
}

/// How many are asked for.
fn most(limit: Option<u32>) -> Result<usize> {
    match limit.unwrap_or(DEFAULT_LIMIT) {
        limit @ 1..=MAX_LIMIT => Ok(limit as usize),
        limit => Err(EngineError::Invalid(format!("`limit` is from 1 to {MAX_LIMIT}, not {limit}"))),
    }
}

/// An entry of the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its index.
    pub index: u64,
    /// Its hash in the tree, base64 (RFC 6962 §2.1).
    pub leaf_hash: String,
    /// The event, with everything in it that may still be read; none where it was let go.
    pub event: Option<Event>,
    /// Whose data it carries, by the pseudonym that stands in the log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<PersonId>,
    /// Whether that data was erased: commitments and pseudonyms stand in its place.
    pub erased: bool,
    /// Whether the entry was let go: its hash is all that is left of it.
    pub pruned: bool,
}

/// Some entries that match, and how far the answer goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page {
    /// The entries, in the order that was asked for.
    pub entries: Vec<Entry>,
    /// How many entries of the log were looked through, from its first on.
    pub covers: u64,
    /// How many entries the log has.
    pub size: u64,
    /// Where the next page begins: `before` it, or `from` it where the oldest come first. Absent on the last page.
    pub next: Option<u64>,
    /// How many entries of the range that was asked for were let go and cannot be shown, whatever they were.
    pub pruned: u64,
}

impl Engine {
    /// The entries that match (blocking).
    pub fn query(&self, query: &Query) -> Result<Page> {
        let most = most(query.limit)?;
        let covers = self.catch_up()?;
        let views = &self.views;
        let filter = Filter::new(self, views, query)?;
        let range = self.range(views, query, &filter, covers)?;
        let mut reader = Reader::new(self, views, range.start)?;
        let (pruned, order) = (reader.let_go(&range), query.order.unwrap_or_default());
        let mut candidates = Candidates::new(views, &filter, range, order)?;
        let mut entries: Vec<Entry> = Vec::new();
        let mut next = None;
        'pages: while let Some(seqs) = candidates.more(views, &reader)? {
            for seq in seqs {
                let entry = reader.entry(seq)?;
                if entry.event.as_ref().is_some_and(|event| !filter.matches(&self.vault, event)) {
                    continue;
                }
                if entries.len() == most {
                    next = entries.last().map(|last| behind(last.index, order));
                    break 'pages;
                }
                entries.push(entry);
            }
        }
        Ok(Page { entries, covers, size: self.log_size(), next, pruned })
    }

    /// Writes down that somebody read the log: what they asked, and how many entries they are shown.
    pub async fn record_read(&self, by: &Caller, query: &str, rows: u64) -> Result<()> {
        let query = query.chars().take(MAX_QUERY_TEXT).collect();
        self.commit(by.by(), |_, _| Ok(((), vec![Body::LedgerRead { query, rows }]))).await
    }

    /// The entries that a question is about, as far as its bounds say so.
    fn range(&self, views: &Views, query: &Query, filter: &Filter, covers: u64) -> Result<Range<u64>> {
        let mut range = query.from.unwrap_or(0)..query.before.unwrap_or(u64::MAX).min(covers);
        if query.since.is_none() && query.until.is_none() {
            return Ok(range);
        }
        let mut reader = Reader::new(self, views, 0)?;
        if query.since.is_some() {
            range.start = range.start.max(reader.first_at(filter.since, covers, false)?);
        }
        if query.until.is_some() {
            range.end = range.end.min(reader.first_at(filter.until, covers, true)?);
        }
        Ok(range)
    }
}

/// Where the entries behind one begin.
fn behind(index: u64, order: Order) -> u64 {
    match order {
        Order::Desc => index,
        Order::Asc => index.saturating_add(1),
    }
}

/// The entries that may match, a stretch of the log at a time.
struct Candidates<'a> {
    filter: &'a Filter,
    order: Order,
    left: Range<u64>,
    /// The entries that carry the digest or name it, where one was asked for.
    carriers: Option<Vec<u64>>,
}

impl<'a> Candidates<'a> {
    fn new(views: &Views, filter: &'a Filter, range: Range<u64>, order: Order) -> Result<Self> {
        let Some(digest) = filter.digest else { return Ok(Self { filter, order, left: range, carriers: None }) };
        let mut carriers = views.index().with_digest(&digest, usize::MAX)?;
        carriers.extend(views.index().with_input(&digest, usize::MAX)?);
        Ok(Self { filter, order, left: range, carriers: Some(carriers) })
    }

    /// More of them, in order; nothing when the range has been gone through.
    fn more(&mut self, views: &Views, reader: &Reader<'_>) -> Result<Option<Vec<u64>>> {
        if self.left.is_empty() {
            return Ok(None);
        }
        let mut seqs = if let Some(mut carriers) = self.carriers.take() {
            let all = std::mem::take(&mut self.left);
            carriers.retain(|seq| all.contains(seq));
            carriers
        } else if self.filter.is_open() {
            reader.kept(self.cut(PLAIN))
        } else {
            let cut = self.cut(STRETCH);
            views.index().find(&self.filter.terms(), cut.start, cut.end, usize::MAX)?
        };
        seqs.sort_unstable();
        seqs.dedup();
        if self.order == Order::Desc {
            seqs.reverse();
        }
        Ok(Some(seqs))
    }

    /// The next stretch of the range, up to a multiple of `width`.
    fn cut(&mut self, width: u64) -> Range<u64> {
        match self.order {
            Order::Asc => {
                let end = (self.left.start / width).saturating_add(1).saturating_mul(width).min(self.left.end);
                std::mem::replace(&mut self.left.start, end)..end
            }
            Order::Desc => {
                let start = (self.left.end.saturating_sub(1) / width).saturating_mul(width).max(self.left.start);
                start..std::mem::replace(&mut self.left.end, start)
            }
        }
    }
}

const DEFAULT_LIMIT: u32 = 100;
const MAX_LIMIT: u32 = 1000;
/// The index keeps its terms for so many entries together.
const STRETCH: u64 = 1 << 16;
/// Where nothing is asked for but a range, so many entries are taken at once.
const PLAIN: u64 = 1 << 10;
/// The most characters of a question that are kept of it.
const MAX_QUERY_TEXT: usize = 2000;

#[cfg(test)]
mod tests {
    use super::*;

    /// Whatever the width, a range is gone through once, from the end that was asked for.
    #[test]
    fn a_range_is_cut_without_a_gap() {
        let filter = Filter::open();
        for range in [0..0, 0..1, 0..1000, 5..6, 63..65, 64..128, 100..1001] {
            for width in [1, 7, 64, 4096] {
                for order in [Order::Asc, Order::Desc] {
                    let mut all = Candidates { filter: &filter, order, left: range.clone(), carriers: None };
                    let mut seen = Vec::new();
                    while !all.left.is_empty() {
                        let cut = all.cut(width);
                        assert!(!cut.is_empty() && cut.start / width == (cut.end - 1) / width, "{cut:?} of {range:?} by {width}");
                        match order {
                            Order::Asc => seen.extend(cut),
                            Order::Desc => seen.extend(cut.rev()),
                        }
                    }
                    if order == Order::Desc {
                        seen.reverse();
                    }
                    assert_eq!(seen, range.clone().collect::<Vec<_>>(), "{range:?} by {width}");
                }
            }
        }
    }

    #[test]
    fn a_question_is_bounded() {
        assert_eq!(most(None).unwrap(), 100);
        assert_eq!(most(Some(1000)).unwrap(), 1000);
        assert!(most(Some(0)).is_err() && most(Some(1001)).is_err());
        let (page, next) = (Query { limit: Some(7), ..Query::default() }, 42);
        assert_eq!(page.clone().page_at(next), Query { before: Some(42), ..page.clone() });
        let oldest = Query { order: Some(Order::Asc), ..page };
        assert_eq!(oldest.clone().page_at(next), Query { from: Some(42), ..oldest });
    }
}
