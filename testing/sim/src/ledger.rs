//! The published log as somebody outside sees it: heads that only grow, files that verify, entries that fold to a state.

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use marque_core::event::Body;
use marque_core::id::{EventId, RecordId};
use marque_core::record::Outcome;
use marque_engine::State;
use marque_ledger::{Bundle, Hash, LedgerError, LogFiles, Tile, TileReader, Verifier};
use marque_ledger::{consistency_proof, decode_tile, verify_consistency, verify_log};

use marque_store::record::Record;
use marque_store::tiles::read_records;
use marque_store::vault::Vault;

use crate::journal::{Checked, Journal, broken, must};
use crate::words;

/// What has been seen of the log.
#[derive(Debug, Default)]
pub struct Ledger {
    /// Every head that was ever published, in order.
    heads: Vec<(u64, Hash)>,
    /// The checkpoint that was last seen, and the one before it.
    last: String,
    before: Option<String>,
    /// The key that signed the first of them.
    verifier: Option<Verifier>,
    fold: Fold,
}

/// The entries so far, taken in one by one, and not by way of the engine.
#[derive(Debug, Default)]
struct Fold {
    state: State,
    size: u64,
    events: BTreeSet<EventId>,
    decided: BTreeSet<RecordId>,
    settled: BTreeMap<RecordId, Outcome>,
}

impl Ledger {
    /// Looks at the published checkpoint: I6, a head never shrinks and is never contradicted.
    pub fn observe(&mut self, root: &Path, journal: &Journal) -> Checked {
        let Ok(text) = std::fs::read_to_string(root.join("ledger/checkpoint")) else { return Ok(()) };
        if text == self.last {
            return Ok(());
        }
        let mut lines = text.lines().skip(1);
        let size = lines.next().and_then(|size| size.parse().ok());
        let hash = lines.next().and_then(|hash| Hash::from_base64(hash).ok());
        let (Some(size), Some(hash)) = (size, hash) else { return broken("I6", format!("no checkpoint: `{text}`")) };
        if let Some((old, root)) = self.heads.last() {
            journal.check("I6", size > *old || (size == *old && hash == *root), || {
                format!("head {size} {hash} after {old} {root}")
            })?;
        }
        self.heads.push((size, hash));
        self.before = Some(std::mem::replace(&mut self.last, text)).filter(|text| !text.is_empty());
        journal.check("I6", true, String::new)
    }

    /// The checkpoint before the last, for a crash that came between the head and its checkpoint.
    pub fn older_checkpoint(&self) -> Option<&str> {
        self.before.as_deref()
    }

    /// The older checkpoint was put back: the last one will be published again.
    pub fn forget_last(&mut self) {
        self.last.clear();
    }

    /// Verifies every file, proves every old head to be the start of the last one, and takes in the new entries.
    /// Returns how many entries there are.
    pub fn verify(&mut self, root: &Path, journal: &Journal) -> Checked<u64> {
        let files = Files { dir: root.join("ledger") };
        let verifier = self.verifier(&files, journal)?;
        let origin = format!("{}/marque/log", words::TRUST_DOMAIN);
        let vault = must("I6", "opening the vault", vault(root))?;
        let head = self.heads.last().map_or(0, |(size, _)| *size);
        let fold = &mut self.fold;
        let mut parts = Parts { ledger: root.join("ledger"), size: head, bundle: None, private: Vec::new() };
        let report = verify_log(&files, &origin, &[verifier], &mut |index: u64, leaf: &[u8]| {
            fold.take(index, leaf, parts.of(index, fold.size), &vault)
        });
        let faults: Vec<String> = report.faults.iter().take(3).map(|f| format!("{}: {}", f.path, f.what)).collect();
        journal.check("I6", report.is_ok(), || format!("the log does not verify: {}", faults.join("; ")))?;
        journal.check("I6", report.size == self.fold.size, || format!("{} entries, {} read", report.size, self.fold.size))?;
        let Some((size, last)) = self.heads.last().copied() else { return broken("I6", "no head was published") };
        journal.check("I6", size == report.size, || format!("the checkpoint has {} entries, the head {size}", report.size))?;
        let heads: BTreeMap<u64, Hash> = self.heads.iter().copied().filter(|(old, _)| *old > 0).collect();
        let tiles = Published { files: &files, size };
        for (old, hash) in heads {
            let proof = must("I6", "proving a head to be the start of the next", consistency_proof(old, size, &tiles))?;
            let holds = verify_consistency(old, hash, size, last, &proof).is_ok();
            journal.check("I6", holds, || format!("head {old} is not the start of head {size}"))?;
        }
        Ok(size)
    }

    /// The state that the entries fold to.
    pub fn state(&self) -> State {
        self.fold.state.clone()
    }

    /// Whether the log holds the decision of a record.
    pub fn has_decided(&self, record: RecordId) -> bool {
        self.fold.decided.contains(&record)
    }

    /// How the log says that an action ended.
    pub fn settled(&self, record: RecordId) -> Option<&Outcome> {
        self.fold.settled.get(&record)
    }

    /// The log's key, which must stay the same.
    fn verifier(&mut self, files: &Files, journal: &Journal) -> Checked<Verifier> {
        let bytes = must("I6", "reading the verifier", files.read("verifier"))?.unwrap_or_default();
        let verifier: Verifier = must("I6", "parsing the verifier", String::from_utf8_lossy(&bytes).trim().parse())?;
        let known = self.verifier.get_or_insert_with(|| verifier.clone());
        journal.check("I6", *known == verifier, || "the log has another key than before".into())?;
        Ok(verifier)
    }
}

impl Fold {
    /// I3 and I6: each event has one index, each record one decision and at most one end, in this order.
    fn take(&mut self, index: u64, leaf: &[u8], private: &[u8], vault: &Vault) -> Result<(), String> {
        if index < self.size {
            return Ok(());
        }
        if index > self.size {
            return Err(format!("comes after entry {}", self.size));
        }
        let event = vault.open_entry(index, leaf, private).map_err(|error| error.to_string())?.event;
        if event.iseq != index + 1 {
            return Err(format!("has the number {}", event.iseq));
        }
        if !self.events.insert(event.id) {
            return Err(format!("event `{}` is in the log twice", event.id));
        }
        match &event.what {
            Body::Decided(decided) if !self.decided.insert(decided.record) => {
                return Err(format!("record `{}` was decided twice", decided.record));
            }
            Body::Settled { record, outcome, .. } => {
                if !self.decided.contains(record) {
                    return Err(format!("record `{record}` ended before it was decided"));
                }
                if self.settled.insert(*record, outcome.clone()).is_some() {
                    return Err(format!("record `{record}` ended twice"));
                }
            }
            _ => {}
        }
        self.state.apply(&event);
        self.size += 1;
        Ok(())
    }
}

/// The private parts of the entries, a bundle at a time.
struct Parts {
    ledger: PathBuf,
    /// Files of a head that was never published may lie beside those of the last one.
    size: u64,
    bundle: Option<u64>,
    private: Vec<Vec<u8>>,
}

impl Parts {
    /// That of an entry that has not been taken in yet.
    fn of(&mut self, index: u64, taken: u64) -> &[u8] {
        let bundle = index / 256;
        if index >= taken && self.bundle != Some(bundle) {
            self.bundle = Some(bundle);
            let records = Bundle::in_tree(bundle, self.size).map(|bundle| read_records(&self.ledger, bundle));
            let records = records.and_then(Result::ok).unwrap_or_default();
            self.private = records.iter().map(|(_, record)| Record::split(record).1.to_vec()).collect();
        }
        self.private.get((index % 256) as usize).map_or(&[], Vec::as_slice)
    }
}

/// The vault, as the engine left it.
fn vault(root: &Path) -> std::io::Result<Vault> {
    let key = std::fs::read(root.join("keys/vault.key"))?;
    let key = key.as_slice().try_into().map_err(std::io::Error::other)?;
    Vault::open(&root.join("subjects"), key).map_err(std::io::Error::other)
}

/// The published files.
struct Files {
    dir: PathBuf,
}

impl LogFiles for Files {
    fn read(&self, path: &str) -> Result<Option<Vec<u8>>, LedgerError> {
        match std::fs::read(self.dir.join(path)) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(LedgerError::Read { path: path.to_owned(), reason: error.to_string() }),
        }
    }
}

/// The tiles of a published size.
struct Published<'a> {
    files: &'a Files,
    size: u64,
}

impl TileReader for Published<'_> {
    fn read_tile(&self, tile: Tile) -> Result<Vec<Hash>, LedgerError> {
        let path = Tile::in_tree(tile.level, tile.index, self.size).unwrap_or(tile).path();
        let bytes = self.files.read(&path)?.ok_or(LedgerError::MissingTile(path))?;
        decode_tile(&bytes)
    }
}
