//! Trace: from a file back to the record that carried it, and from there to the person who asked.

use marque_core::attestation::Instance;
use marque_core::id::{ElevationId, RecordId, TaskId};
use marque_core::lease::Lease;
use marque_core::record::Outcome;
use marque_core::task::Task;
use marque_core::time::Timestamp;
use marque_core::{Digest, record::Decided};
use marque_ledger::{Verifier, leaf_hash, verify_inclusion};
use marque_store::StoreError;
use marque_store::views::{HeldElevation, RecordRow, TaskRow, Views};
use serde::{Deserialize, Serialize};

use crate::digest::content;
use crate::error::{EngineError, Result};
use crate::open::Engine;

/// How a file was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TraceClass {
    /// A record carried exactly these bytes.
    Exact,
    /// A record carried the same words with other white space.
    Normalised,
    /// Not found in this ledger, as far as it is covered.
    None,
}

/// The answer of a trace.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Trace {
    /// SHA-256 of the file.
    pub digest: Digest,
    /// How it was found.
    pub class: TraceClass,
    /// How many entries of the log were searched.
    pub covers: u64,
    /// The records that carried it, the newest first.
    pub chains: Vec<Chain>,
}

/// One record and everything it hangs from.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Chain {
    /// When it was decided.
    pub at: Timestamp,
    /// The decision.
    pub decided: Decided,
    /// The outcome, if it came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
    /// The credential.
    pub lease: Option<Lease>,
    /// The running copy, with what was observed of it.
    pub instance: Option<Instance>,
    /// The tasks: the record's own first, then each it hangs from, up to the one that a person started.
    pub tasks: Vec<TraceStep>,
    /// That the decision is in the log; absent until the next checkpoint, which is at most a second away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proof: Option<InclusionProof>,
}

/// A task on the way to the person.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TraceStep {
    /// The task.
    pub task: Task,
    /// The elevation whose approval started it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub elevation: Option<ElevationId>,
}

/// An inclusion proof, and whether it verifies (RFC 6962 §2.1.1).
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct InclusionProof {
    /// The entry's index.
    pub index: u64,
    /// The size of the checkpoint.
    pub size: u64,
    /// The root of the checkpoint, base64.
    pub root: String,
    /// The hashes from the leaf to the root, base64.
    pub path: Vec<String>,
    /// The signed checkpoint.
    pub checkpoint: String,
    /// Whether the entry's own bytes verify against the root.
    pub verified: bool,
}

impl Engine {
    /// Traces bytes (blocking).
    pub fn trace(&self, bytes: &[u8]) -> Result<Trace> {
        let wanted = content("", bytes);
        let (Some(exact), Some(normalised)) = (wanted.exact.digest(), wanted.normalised.digest()) else {
            return Err(EngineError::Invalid("the file has no digest".into()));
        };
        self.publish()?;
        let views = self.fresh_views()?;
        let covers = views.covers()?;
        let hits = views.index().with_digest(&exact, MOST)?;
        let (class, found) = if hits.is_empty() {
            // A text whose words stand alone is its own normalised form.
            (TraceClass::Normalised, views.index().with_digest(&normalised, MOST)?)
        } else {
            (TraceClass::Exact, hits)
        };
        let mut chains = Vec::new();
        for seq in found {
            if let Some(row) = views.record_with(seq)? {
                chains.push(self.chain(views, row)?);
            }
        }
        let class = if chains.is_empty() { TraceClass::None } else { class };
        Ok(Trace { digest: exact, class, covers, chains })
    }

    /// Everything that a record hangs from (blocking).
    pub fn trace_record(&self, id: RecordId) -> Result<Chain> {
        self.publish()?;
        let views = self.fresh_views()?;
        let row = views.record(id)?.ok_or_else(|| EngineError::not_found("record", id))?;
        self.chain(views, row)
    }

    /// The newest records, of one task or identity where given (blocking).
    pub fn records(&self, task: Option<TaskId>, identity: Option<&str>, limit: u32) -> Result<Vec<RecordRow>> {
        let identity = identity.map(|name| self.identity_named(name).map(|id| id.to_string())).transpose()?;
        Ok(self.fresh_views()?.records(task, identity.as_deref(), limit.min(1000))?)
    }

    /// The newest tasks (blocking).
    pub fn tasks(&self, limit: u32) -> Result<Vec<TaskRow>> {
        Ok(self.fresh_views()?.tasks(limit.min(1000))?)
    }

    /// The newest elevations (blocking).
    pub fn elevations(&self, limit: u32) -> Result<Vec<HeldElevation>> {
        Ok(self.fresh_views()?.elevations(limit.min(1000))?)
    }

    fn chain(&self, views: &Views, row: RecordRow) -> Result<Chain> {
        let mut tasks = Vec::new();
        let mut next = Some(row.decided.task);
        while let Some(id) = next.filter(|_| tasks.len() < MAX_STEPS) {
            let Some(TaskRow { task, elevation, .. }) = views.task(id)? else { break };
            // An approved task hangs from the task that was held.
            next = task.parent.or(task.lineage.last().copied());
            tasks.push(TraceStep { task, elevation });
        }
        Ok(Chain {
            at: row.at,
            lease: views.lease(row.decided.lease)?.map(|(_, lease)| lease),
            instance: views.instance(row.decided.instance)?,
            tasks,
            proof: self.proof(row.seq)?,
            outcome: row.settled.map(|(_, outcome)| outcome),
            decided: row.decided,
        })
    }

    /// A proof for an entry, checked here against the signed checkpoint before it is handed out.
    fn proof(&self, index: u64) -> Result<Option<InclusionProof>> {
        let tiles = self.tiles();
        let head = tiles.head();
        if index >= head.size {
            return Ok(None);
        }
        let path = tiles.inclusion(index)?;
        let entry = tiles.read(index)?.into_iter().find(|(i, _)| *i == index).map(|(_, bytes)| bytes);
        let checkpoint = tiles.checkpoint()?;
        let verifier: Verifier = self.signer.verifier();
        let signed = marque_ledger::Checkpoint::open(&checkpoint, &crate::open::origin(&self.trust_domain), &[verifier]);
        let signed = signed.map_err(StoreError::from)?;
        let verified = entry.is_some_and(|e| verify_inclusion(leaf_hash(&e), index, signed.size, &path, signed.root).is_ok());
        let path = path.iter().map(ToString::to_string).collect();
        Ok(Some(InclusionProof { index, size: head.size, root: head.root.to_string(), path, checkpoint, verified }))
    }
}

/// The most records that one trace answers with.
const MOST: usize = 20;

/// More tasks than any chain can have.
const MAX_STEPS: usize = 64;
