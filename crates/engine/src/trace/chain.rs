//! What a record or an artifact hangs from, and the proof that it is in the log.

use marque_core::artifact::Artifact;
use marque_core::event::{Body, By, Event};
use marque_core::id::TaskId;
use marque_core::time::Timestamp;
use marque_ledger::{Verifier, leaf_hash, verify_inclusion};
use marque_store::StoreError;
use marque_store::record::Record;
use marque_store::views::{RecordRow, TaskRow, Views};

use super::{Chain, InclusionProof, TraceStep};
use crate::error::Result;
use crate::open::Engine;

impl Engine {
    pub(super) fn chain(&self, views: &Views, row: RecordRow) -> Result<Chain> {
        Ok(Chain {
            entry: row.seq,
            at: row.at,
            found: None,
            lease: views.lease(row.decided.lease)?.map(|(_, lease)| lease),
            instance: views.instance(row.decided.instance)?,
            tasks: tasks(views, row.decided.task)?,
            artifact: None,
            attested_by: None,
            upstream: Vec::new(),
            missing: Vec::new(),
            proof: self.proof(row.seq)?,
            outcome: row.settled.map(|(_, outcome)| outcome),
            decided: Some(row.decided),
        })
    }

    /// The chain of the record or artifact that an entry is of; nothing where it is of neither.
    pub(super) fn chain_at(&self, views: &Views, seq: u64) -> Result<Option<Chain>> {
        let Some(Event { ts, by, what, .. }) = views.entry(seq)?.map(|o| o.event) else { return Ok(None) };
        match what {
            Body::Decided(_) | Body::Settled { .. } => views.record_with(seq)?.map(|row| self.chain(views, row)).transpose(),
            Body::ArtifactAttested { artifact } => self.artifact_chain(views, seq, ts, by, artifact).map(Some),
            _ => Ok(None),
        }
    }

    fn artifact_chain(&self, views: &Views, seq: u64, at: Timestamp, by: By, artifact: Artifact) -> Result<Chain> {
        Ok(Chain {
            entry: seq,
            at,
            found: None,
            decided: None,
            outcome: None,
            lease: None,
            instance: artifact.instance.map(|id| views.instance(id)).transpose()?.flatten(),
            tasks: tasks(views, artifact.task)?,
            artifact: Some(artifact),
            attested_by: Some(by),
            upstream: Vec::new(),
            missing: Vec::new(),
            proof: self.proof(seq)?,
        })
    }

    /// A proof for an entry, and whether it holds under the signed checkpoint.
    pub(crate) fn proof(&self, index: u64) -> Result<Option<InclusionProof>> {
        let (head, path, checkpoint) = {
            let tiles = self.tiles();
            let head = tiles.head();
            if index >= head.size {
                return Ok(None);
            }
            (head, tiles.inclusion(index)?, tiles.checkpoint()?)
        };
        let Some(record) = self.views.raw(index)? else { return Ok(None) };
        let leaf = Record::split(&record).0;
        let verifier: Verifier = self.signer.verifier();
        let signed = marque_ledger::Checkpoint::open(&checkpoint, &crate::open::origin(&self.trust_domain), &[verifier]);
        let signed = signed.map_err(StoreError::from)?;
        let verified = verify_inclusion(leaf_hash(leaf), index, signed.size, &path, signed.root).is_ok();
        let leaf = String::from_utf8_lossy(leaf).into_owned();
        let path = path.iter().map(ToString::to_string).collect();
        Ok(Some(InclusionProof { index, size: head.size, root: head.root.to_string(), path, checkpoint, leaf, verified }))
    }
}

/// The task and each that it hangs from, up to the one that a person started.
fn tasks(views: &Views, first: TaskId) -> Result<Vec<TraceStep>> {
    let mut tasks = Vec::new();
    let mut next = Some(first);
    while let Some(id) = next.filter(|_| tasks.len() < MAX_STEPS) {
        let Some(TaskRow { task, elevation, .. }) = views.task(id)? else { break };
        // An approved task hangs from the task that was held.
        next = task.parent.or(task.lineage.last().copied());
        tasks.push(TraceStep { task, elevation });
    }
    Ok(tasks)
}

/// More tasks than any chain can have.
const MAX_STEPS: usize = 64;
