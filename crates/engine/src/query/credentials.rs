//! From the issue of a credential to its uses, and from a task to its credentials.

use marque_core::PersonId;
use marque_core::decision::Effect;
use marque_core::event::{Body, By};
use marque_core::id::{LeaseId, RecordId, TaskId};
use marque_core::lease::Lease;
use marque_core::record::Ending;
use marque_core::resource::{Action, ResourceId};
use marque_core::state::State;
use marque_core::time::Timestamp;
use marque_store::index::{Field, Term};
use marque_store::views::Views;
use serde::{Deserialize, Serialize};

use super::most;
use super::reader::Reader;
use crate::error::{EngineError, Result};
use crate::open::Engine;

/// One credential from its issue to its end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CredentialHistory {
    /// The entry of its issue.
    pub issued: u64,
    /// What was issued.
    pub lease: Lease,
    /// How often it was used: decided calls, whatever the answer.
    pub uses: u64,
    /// Its uses, the newest first.
    pub records: Vec<CredentialUse>,
    /// Where the next page of uses begins: `before` it.
    pub next: Option<u64>,
    /// Uses on this page that were let go: of them only their number is left.
    pub pruned: u64,
    /// How it ended; absent while it counts.
    pub ended: Option<Ended>,
    /// How many entries of the log were looked through.
    pub covers: u64,
    /// How many entries the log has.
    pub size: u64,
}

/// One use of a credential.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CredentialUse {
    /// The entry of the decision.
    pub index: u64,
    /// When.
    pub at: Timestamp,
    /// The record.
    pub record: RecordId,
    /// Under which task; the approver's, where an approval was used.
    pub task: TaskId,
    /// For whom.
    pub principal: PersonId,
    /// The verb.
    pub action: Action,
    /// On what.
    pub resource: ResourceId,
    /// The answer.
    pub effect: Effect,
    /// How it ended, and the entry that says so; absent while nobody has said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<(u64, Ending)>,
}

/// How a credential ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// When.
    pub at: Timestamp,
    /// The entry that ended it; none where its time was over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entry: Option<u64>,
    /// The kind of that event, or `expired`.
    pub kind: String,
    /// On whose word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<By>,
    /// What no longer counted: the credential, or something that it hung from.
    pub why: String,
    /// What was said to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub said: Option<String>,
}

/// Every credential that a task ever held.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskCredentials {
    /// They, the oldest first.
    pub credentials: Vec<TaskCredential>,
    /// How many entries of the log were looked through.
    pub covers: u64,
    /// How many entries the log has.
    pub size: u64,
    /// How many entries were let go: credentials and uses among them may not be known any more.
    pub pruned: u64,
}

/// One credential of a task, with how much it was used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskCredential {
    /// The entry of its issue.
    pub issued: u64,
    /// What was issued.
    pub lease: Lease,
    /// How often it was used.
    pub uses: u64,
    /// The entry of its first use, and when; the moment is gone where the entry was let go.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first: Option<(u64, Option<Timestamp>)>,
    /// The entry of its last use, and when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<(u64, Option<Timestamp>)>,
}

impl Engine {
    /// The issue of a credential, its uses below entry `before`, and its end (blocking).
    pub fn credential_history(&self, id: LeaseId, before: Option<u64>, limit: Option<u32>) -> Result<CredentialHistory> {
        let most = most(limit)?;
        let covers = self.catch_up()?;
        let views = &self.views;
        let (issued, lease) = views.lease(id)?.ok_or_else(|| EngineError::not_found("credential", id))?;
        let uses = uses(views, id, issued, covers)?;
        let older: Vec<u64> = uses.iter().copied().filter(|seq| before.is_none_or(|before| *seq < before)).collect();
        let page = older.get(..most).unwrap_or(&older);
        let records = page.iter().map(|seq| used(views, *seq)).collect::<Result<Vec<_>>>()?;
        let records: Vec<CredentialUse> = records.into_iter().flatten().collect();
        Ok(CredentialHistory {
            issued,
            uses: uses.len() as u64,
            pruned: page.len().saturating_sub(records.len()) as u64,
            next: page.last().copied().filter(|_| older.len() > page.len()),
            records,
            ended: self.end_of(views, issued, &lease, covers)?,
            lease,
            covers,
            size: self.log_size(),
        })
    }

    /// Every credential that a task ever held, and those of the tasks that hang from it (blocking).
    pub fn credentials_of(&self, task: TaskId, below: bool) -> Result<TaskCredentials> {
        let covers = self.catch_up()?;
        let views = &self.views;
        views.task(task)?.ok_or_else(|| EngineError::not_found("task", task))?;
        let tasks = if below { views.descendants(task)? } else { vec![task] };
        let mut leases = Vec::new();
        for task in tasks {
            leases.extend(views.leases_of(task)?);
        }
        leases.sort_unstable_by_key(|(issued, _)| *issued);
        let mut reader = Reader::new(self, views, 0)?;
        let mut credentials = Vec::new();
        for (issued, lease) in leases {
            let uses = uses(views, lease.id, issued, covers)?;
            let mut moment = |seq: Option<&u64>| -> Result<Option<(u64, Option<Timestamp>)>> {
                let Some(seq) = seq.copied() else { return Ok(None) };
                Ok(Some((seq, reader.entry(seq)?.event.map(|event| event.ts))))
            };
            let (first, last) = (moment(uses.last())?, moment(uses.first())?);
            credentials.push(TaskCredential { issued, lease, uses: uses.len() as u64, first, last });
        }
        Ok(TaskCredentials { credentials, covers, size: self.log_size(), pruned: reader.let_go(&(0..covers)) })
    }

    /// What ended a credential: the first event after which it no longer counts, or its time.
    ///
    /// It is looked for in the fold itself, so that whatever can end a credential is found: a revocation of anything that it
    /// hangs from, the end of its task or its instance, a suspension of its identity.
    fn end_of(&self, views: &Views, issued: u64, lease: &Lease, covers: u64) -> Result<Option<Ended>> {
        let mut state = State::default();
        let mut from = 0;
        'log: loop {
            let events = views.replayed(from, covers, AT_ONCE)?;
            let Some((last, _)) = events.last() else { break };
            from = last.saturating_add(1);
            for (index, event) in &events {
                if event.ts >= lease.expires {
                    break 'log;
                }
                state.apply(event);
                if *index < issued {
                    continue;
                }
                if let Err(dead) = state.check_lease(lease.id, event.ts) {
                    return Ok(Some(Ended {
                        at: event.ts,
                        entry: Some(*index),
                        kind: event.what.kind().to_owned(),
                        by: Some(event.by.clone()),
                        why: dead.to_string(),
                        said: said(&event.what),
                    }));
                }
            }
        }
        let expired = Ended { at: lease.expires, entry: None, kind: EXPIRED.to_owned(), by: None, why: over(lease), said: None };
        Ok((self.now() >= lease.expires).then_some(expired))
    }
}

/// The entries of the calls that were decided with a credential, the newest first.
fn uses(views: &Views, id: LeaseId, issued: u64, covers: u64) -> Result<Vec<u64>> {
    let term = |field, value: String| vec![Term { field, value }];
    let groups = [term(Field::Credential, id.to_string()), term(Field::Kind, "decided".to_owned())];
    Ok(views.index().find(&groups, issued, covers, usize::MAX)?)
}

/// The use that is entry `seq`; nothing where it was let go.
fn used(views: &Views, seq: u64) -> Result<Option<CredentialUse>> {
    let Some(row) = views.record_at(seq)? else { return Ok(None) };
    let decided = row.decided;
    Ok(Some(CredentialUse {
        index: row.seq,
        at: row.at,
        record: decided.record,
        task: decided.task,
        principal: decided.principal,
        action: decided.action,
        resource: decided.resource,
        effect: decided.effect,
        outcome: row.settled.map(|(seq, outcome)| (seq, outcome.ending)),
    }))
}

/// The words that came with it.
fn said(what: &Body) -> Option<String> {
    match what {
        Body::Revoked { why, .. } | Body::IdentityMoved { why, .. } => Some(why.clone()).filter(|why| !why.is_empty()),
        _ => None,
    }
}

fn over(lease: &Lease) -> String {
    format!("`{}` has expired", lease.id)
}

const EXPIRED: &str = "expired";
/// How many events are replayed at once.
pub(super) const AT_ONCE: u32 = 4096;
