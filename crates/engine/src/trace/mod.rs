//! Trace: from a text that somebody found back to the records that carried it, and from there to the person who asked.
//!
//! The ladder: receipts that the text carries itself; what its bytes say once they are decoded; the same bytes; the same
//! letters and digits; shared fingerprints, with which lines came from where; and then upstream, through what each
//! record was given, to the records whose outputs that was. What is not found is said to be not found in a ledger of
//! some size, and a weak likeness is never called an attribution.

mod chain;
mod ladder;
mod lineage;
mod newest;
mod parts;
mod upstream;

use marque_core::artifact::Artifact;
use marque_core::attestation::Instance;
use marque_core::event::By;
use marque_core::id::{ElevationId, RecordId, TaskId};
use marque_core::lease::Lease;
use marque_core::record::Outcome;
use marque_core::task::Task;
use marque_core::time::Timestamp;
use marque_core::{Digest, record::Decided};
use marque_store::views::{HeldElevation, RecordRow, TaskRow};
use marque_trace::Class;
use serde::{Deserialize, Serialize};

use crate::error::{EngineError, Result};
use crate::open::Engine;

/// How a text was found. Ordered: the surer, the greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TraceClass {
    /// Not found in this ledger, as far as it is covered.
    None,
    /// A few rare fingerprints are shared: a hint, never an attribution.
    Weak,
    /// So many rare fingerprints are shared that a part of it was taken from there.
    Strong,
    /// The same letters and digits in the same order.
    Normalised,
    /// The same bytes.
    Exact,
}

impl From<Class> for TraceClass {
    fn from(class: Class) -> Self {
        match class {
            Class::None => Self::None,
            Class::Weak => Self::Weak,
            Class::Strong => Self::Strong,
            Class::Normalised => Self::Normalised,
            Class::Exact => Self::Exact,
        }
    }
}

/// The answer of a trace.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Trace {
    /// SHA-256 of what was traced.
    pub digest: Digest,
    /// The class of the best answer.
    pub class: TraceClass,
    /// How many entries of the log were searched.
    pub covers: u64,
    /// The contents of the entries below were let go: what only they carried is not found.
    #[serde(default)]
    pub pruned: u64,
    /// Whether everything that the bytes may hold was looked at; not where they decode to more than the bounds allow, or
    /// where only their digest was given.
    pub complete: bool,
    /// Whether only the digest was looked up: parts and what is encoded are not found then.
    #[serde(default)]
    pub digest_only: bool,
    /// Where it came from, the best first; attributions only.
    pub chains: Vec<Chain>,
    /// Which part came from which chain.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub spans: Vec<TraceSpan>,
    /// Records that only resemble it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hints: Vec<Hint>,
    /// Receipts that it carries.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub receipts: Vec<FoundReceipt>,
    /// The attested files that it is an input of, the newest first. This says what was made from it, and nothing of where it
    /// came from: it is no attribution.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub input_of: Vec<Chain>,
    /// The log's newest checkpoint, as signed: it names what an answer covers, above all that something was not found.
    #[serde(default)]
    pub checkpoint: String,
}

/// How a record was found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Found {
    /// How sure.
    pub class: TraceClass,
    /// The sum of 1 / spread over the shared fingerprints.
    pub score: f64,
    /// The share of the text's fingerprints that the record has.
    pub containment: f64,
    /// What the bytes were decoded by before they were found, as `gzip`, `json`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub decoded: Vec<String>,
    /// Whether the record was given the text (`request`), returned it (`response`), or made the file (`artifact`). Upstream
    /// there is also what the caller itself declared and no text shows (`cause`).
    pub side: String,
    /// Which of the record's texts it is, as a JSON pointer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
}

/// Lines of a text, and where they came from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TraceSpan {
    /// The first line, from 1.
    pub from: usize,
    /// The last line.
    pub to: usize,
    /// Which of the chains.
    pub chain: usize,
    /// How sure.
    pub class: TraceClass,
}

/// A record that only resembles a text.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Hint {
    /// The entry.
    pub entry: u64,
    /// The record, where the entry is of one.
    pub record: Option<RecordId>,
    /// How much: below the bound of an attribution.
    pub score: f64,
}

/// A receipt that stood in a text.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FoundReceipt {
    /// The line that it stood in: `Agent-Action` or `marque-record`.
    pub carrier: String,
    /// What it names.
    pub record: String,
    /// The record, if this ledger has it. Anyone can write a receipt: it says which record to look at, not more.
    pub chain: Option<Chain>,
}

/// One record or artifact, and everything it hangs from.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Chain {
    /// The entry of the decision, or of the artifact.
    pub entry: u64,
    /// When.
    pub at: Timestamp,
    /// How it was found; not where it was asked for by its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub found: Option<Found>,
    /// The decision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decided: Option<Decided>,
    /// The outcome, if it came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
    /// The artifact, where it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact: Option<Artifact>,
    /// On whose word the artifact was made like that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attested_by: Option<By>,
    /// The credential.
    pub lease: Option<Lease>,
    /// The running copy, with what was observed of it.
    pub instance: Option<Instance>,
    /// The tasks: the record's own first, then each it hangs from, up to the one that a person started.
    pub tasks: Vec<TraceStep>,
    /// The records whose outputs it was given, as far as they are found.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub upstream: Vec<Chain>,
    /// What the artifact was made from and is not on record before it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<Missing>,
    /// That it is in the log; absent until the next checkpoint, which is at most a second away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proof: Option<InclusionProof>,
}

/// An input that leads no further.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Missing {
    /// SHA-256 of its bytes.
    pub input: Digest,
    /// Whether it is on record only behind what was made from it, so that it may not be where that came from.
    pub later: bool,
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
    /// The signed checkpoint, with the cosignatures that it has.
    pub checkpoint: String,
    /// The entry as the log has it, so that nothing else is needed to check the proof.
    pub leaf: String,
    /// Whether the entry's own bytes verify against the root.
    pub verified: bool,
}

impl Engine {
    /// Traces bytes (blocking).
    pub fn trace(&self, bytes: &[u8]) -> Result<Trace> {
        self.publish()?;
        let views = self.fresh_views()?;
        ladder::trace(self, views, bytes)
    }

    /// Traces a file by its digest alone (blocking), as one that is too long to be searched.
    pub fn trace_digest(&self, digest: &Digest) -> Result<Trace> {
        self.publish()?;
        let views = self.fresh_views()?;
        ladder::trace_digest(self, views, digest)
    }

    /// Everything that a record hangs from (blocking).
    pub fn trace_record(&self, id: RecordId) -> Result<Chain> {
        self.publish()?;
        let views = self.fresh_views()?;
        let row = views.record(id)?.ok_or_else(|| EngineError::not_found("record", id))?;
        let mut chain = self.chain(views, row)?;
        upstream::fill(self, views, &mut chain)?;
        Ok(chain)
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
}
