//! Receipts: what shows, to whoever has the log's public key, that an entry is in the log.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use marque_core::event::Body;
use marque_core::id::RecordId;
use marque_ledger::{Checkpoint, Hash, TlogProof, cose_receipt, leaf_hash, verify_inclusion};
use marque_store::StoreError;
use marque_store::record::Record;
use marque_store::vault::Opening;
use serde::{Deserialize, Serialize};

use crate::caller::Caller;
use crate::error::{EngineError, Result};
use crate::open::{Engine, origin};
use crate::trace::InclusionProof;

/// A receipt of one entry, in every form.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Receipt {
    /// The entry, its inclusion proof and the checkpoint that it leads to.
    #[serde(flatten)]
    pub inclusion: InclusionProof,
    /// The same proof as a file (C2SP tlog-proof).
    pub proof: String,
    /// The same as a COSE receipt (RFC 9942), in base64.
    pub cose: String,
    /// Whether the checkpoint is the last that witnesses cosigned.
    pub witnessed: bool,
    /// What opens the commitments in the entry, where a person asked for it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub openings: Vec<Opening>,
}

/// Of which entry a receipt is: its index, or the record whose decision it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReceiptOf {
    /// The entry of this index.
    Entry(u64),
    /// The entry with the decision on this action.
    Record(RecordId),
}

impl FromStr for ReceiptOf {
    type Err = EngineError;

    fn from_str(text: &str) -> Result<Self> {
        let index = text.parse::<u64>().ok().filter(|index| index.to_string() == text);
        let found = index.map(Self::Entry).or_else(|| text.parse().ok().map(Self::Record));
        found.ok_or_else(|| EngineError::Invalid(format!("`{text}` is neither the index of an entry nor a record as `rec_…`")))
    }
}

impl fmt::Display for ReceiptOf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Entry(index) => index.fmt(f),
            Self::Record(record) => record.fmt(f),
        }
    }
}

impl Engine {
    /// A receipt against the last checkpoint that witnesses cosigned, if that covers the entry, and the newest otherwise. With
    /// openings it shows a person's data, and so says in the log that it was read.
    pub async fn receipt(self: &Arc<Self>, by: &Caller, of: ReceiptOf, openings: bool) -> Result<Receipt> {
        let index = self.off(move |engine| engine.entry_of(of)).await?;
        if openings {
            by.person()?;
            let read = Body::LedgerRead { query: format!("the openings of entry {index}"), rows: 1 };
            self.commit(by.by(), |_, _| Ok(((), vec![read]))).await?;
        }
        // Whatever is durable is under a checkpoint then.
        self.receipt_now(index).await?;
        self.off(move |engine| engine.write_receipt(index, openings)).await
    }

    /// The inclusion proof of a durable entry, at once: a checkpoint is signed for it, and for all that came with it, unless
    /// one was within [`RECEIPT_INTERVAL`]; then with the next.
    pub async fn receipt_now(self: &Arc<Self>, index: u64) -> Result<InclusionProof> {
        if let Some(proof) = self.off(move |engine| engine.proof_after(index, RECEIPT_INTERVAL)).await? {
            return Ok(proof);
        }
        let age = self.env.clock.now().micros().saturating_sub(self.published.load(Ordering::Acquire));
        let left = RECEIPT_INTERVAL.saturating_sub(age).clamp(0, RECEIPT_INTERVAL);
        tokio::time::sleep(Duration::from_micros(left.unsigned_abs())).await;
        // Time has passed, whatever the clock says.
        let proof = self.off(move |engine| engine.proof_after(index, 0)).await?;
        proof.ok_or_else(|| EngineError::not_found("entry", index))
    }

    /// The proof of a record's decision, as a file (C2SP tlog-proof), as soon as a checkpoint covers it: see
    /// [`receipt_now`](Self::receipt_now).
    pub async fn proof_now(self: &Arc<Self>, record: RecordId) -> Result<String> {
        let index = self.off(move |engine| engine.entry_of(ReceiptOf::Record(record))).await?;
        self.receipt_now(index).await?;
        self.off(move |engine| {
            let record = engine.record(index)?;
            let (path, checkpoint, ..) = engine.path_to_checkpoint(index, Record::split(&record).0)?;
            Ok(TlogProof { extra: None, index, path, checkpoint }.to_string())
        })
        .await
    }

    /// A proof against a checkpoint that is signed now, unless the last is younger than so many microseconds.
    fn proof_after(&self, index: u64, micros: i64) -> Result<Option<InclusionProof>> {
        if self.tiles().head().size <= index {
            self.publish_every(micros)?;
        }
        match self.proof(index)? {
            Some(proof) if !proof.verified => Err(unproven(index, proof.size)),
            proof => Ok(proof),
        }
    }

    /// The entry that a receipt is to be of, if its contents are there.
    fn entry_of(&self, of: ReceiptOf) -> Result<u64> {
        let index = match of {
            ReceiptOf::Entry(index) => Some(index),
            ReceiptOf::Record(record) => self.fresh_views()?.record(record)?.map(|row| row.seq),
        };
        let index = index.ok_or_else(|| EngineError::not_found("record", of))?;
        if index >= self.log_size() {
            return Err(EngineError::not_found("entry", index));
        }
        if index < self.tiles().pruned() {
            let why = format!("the contents of entry `{index}` were let go; proofs that were made before still hold");
            return Err(EngineError::Invalid(why));
        }
        Ok(index)
    }

    fn write_receipt(&self, index: u64, openings: bool) -> Result<Receipt> {
        let record = self.record(index)?;
        let (leaf, private) = Record::split(&record);
        let (path, note, checkpoint, witnessed) = self.path_to_checkpoint(index, leaf)?;
        let cose = cose_receipt(&self.signer, index, checkpoint.size, &path, checkpoint.root).map_err(StoreError::from)?;
        let openings = if openings { self.vault.openings(leaf, private) } else { Vec::new() };
        let inclusion = InclusionProof {
            index,
            size: checkpoint.size,
            root: checkpoint.root.to_string(),
            path: path.iter().map(ToString::to_string).collect(),
            checkpoint: note.clone(),
            leaf: String::from_utf8_lossy(leaf).into_owned(),
            verified: true,
        };
        let proof = TlogProof { extra: None, index, path, checkpoint: note }.to_string();
        Ok(Receipt { inclusion, proof, cose: BASE64_STANDARD.encode(cose), witnessed, openings })
    }

    /// An entry as the log keeps it.
    fn record(&self, index: u64) -> Result<Vec<u8>> {
        self.views.raw(index)?.ok_or_else(|| EngineError::not_found("entry", index))
    }

    /// The path from a leaf to a checkpoint, as signed and as read, and whether that is the witnessed one. It is checked here: no
    /// proof is handed out that does not hold.
    fn path_to_checkpoint(&self, index: u64, leaf: &[u8]) -> Result<(Vec<Hash>, String, Checkpoint, bool)> {
        let (origin, known) = (origin(&self.trust_domain), [self.signer.verifier()]);
        let tiles = self.tiles();
        let covering = tiles.witnessed()?.and_then(|note| {
            let checkpoint = Checkpoint::open(&note, &origin, &known).ok()?;
            (index < checkpoint.size && checkpoint.size <= tiles.head().size).then_some((note, checkpoint))
        });
        let is_witnessed = covering.is_some();
        let (note, checkpoint) = match covering {
            Some(covering) => covering,
            None => {
                let note = tiles.checkpoint()?;
                let checkpoint = Checkpoint::open(&note, &origin, &known).map_err(StoreError::from)?;
                (note, checkpoint)
            }
        };
        let path = tiles.inclusion_in(index, checkpoint.size)?;
        let proven = verify_inclusion(leaf_hash(leaf), index, checkpoint.size, &path, checkpoint.root);
        proven.map_err(|_| unproven(index, checkpoint.size))?;
        Ok((path, note, checkpoint, is_witnessed))
    }

    /// Runs what reads and writes files off the threads that serve.
    pub(crate) async fn off<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Self) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let engine = Arc::clone(self);
        let done = tokio::task::spawn_blocking(move || work(&engine)).await;
        done.map_err(|_| EngineError::Invalid("the work ended early".into()))?
    }
}

/// A tile or an entry is not what was signed: rotten, or changed by somebody.
fn unproven(index: u64, size: u64) -> EngineError {
    let what =
        format!("its files do not prove entry `{index}` under the checkpoint of {size} entries: see `marque ledger verify`");
    StoreError::Damaged { what }.into()
}

/// For receipts, checkpoints are signed at most this often, in microseconds: 20 a second.
pub const RECEIPT_INTERVAL: i64 = 50_000;
