//! Offline verification with a verdict for each question (C2SP tlog-tiles v0.1.0, tlog-cosignature v1.0.1, tlog-policy).

use crate::checkpoint::Checkpoint;
use crate::error::{LedgerError, Result};
use crate::hash::Hash;
use crate::note::Verifier;
use crate::policy::{Policy, Verdict};
use crate::proof::{consistency_proof, verify_consistency};
use crate::tile::{Bundle, TILE_WIDTH, Tile, TileReader, decode_tile};
use crate::verify::{LogFiles, OnEntry, Report, Walk, entry_fault};

/// What an auditor knows of a log, and so what can be asked (tlog-tiles v0.1.0, tlog-policy).
#[derive(Clone, Copy, Debug)]
pub struct Audit<'a> {
    /// The log's name.
    pub origin: &'a str,
    /// The log's own keys.
    pub verifiers: &'a [Verifier],
    /// A checkpoint of the log from before, as it was signed.
    pub older: Option<&'a str>,
    /// The witnesses that have to have cosigned.
    pub policy: Option<&'a Policy>,
    /// The time, in seconds since 1970.
    pub now: Option<u64>,
    /// How many seconds the newest cosignature may be old; any number if nothing.
    pub max_age: Option<u64>,
    /// Full tiles and bundles whose entries are all before this index may be missing (tlog-tiles v0.1.0, "Pruning").
    pub minimum_index: u64,
}

impl<'a> Audit<'a> {
    /// An audit that knows the log's name and keys only: it asks for the signature and the inclusion of all entries.
    pub fn new(origin: &'a str, verifiers: &'a [Verifier]) -> Self {
        Self { origin, verifiers, older: None, policy: None, now: None, max_age: None, minimum_index: 0 }
    }
}

/// The answer to one question of an audit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// It is so.
    Holds,
    /// It is not so, and why.
    Fails(String),
    /// It was asked and could not be checked, and why.
    Unchecked(String),
    /// It was not asked: what the question needs was not given.
    NotAsked,
}

/// What an audit found, question by question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Findings {
    /// Whether the log signed the checkpoint (tlog-checkpoint v1.0.0).
    pub signature: Finding,
    /// Whether every entry that is not pruned hashes into the tiles, and the tiles into the signed root (tlog-tiles v0.1.0).
    pub inclusion: Finding,
    /// Whether the log continues the older checkpoint (RFC 6962 §2.1.2).
    pub consistency: Finding,
    /// Whether a quorum of witnesses cosigned (tlog-policy).
    pub quorum: Finding,
    /// Whether the newest cosignature is recent enough (tlog-proof, "Use of timestamps").
    pub freshness: Finding,
    /// The checkpoint, if the log signed it.
    pub checkpoint: Option<Checkpoint>,
    /// Which witnesses cosigned, and when.
    pub witnesses: Option<Verdict>,
    /// How many seconds ago the newest cosignature was made.
    pub age: Option<u64>,
    /// What was read, and each fault.
    pub report: Report,
}

impl Findings {
    /// Whether all that was asked was checked and holds.
    pub fn is_ok(&self) -> bool {
        let all = [&self.signature, &self.inclusion, &self.consistency, &self.quorum, &self.freshness];
        all.into_iter().all(|finding| matches!(finding, Finding::Holds | Finding::NotAsked))
    }

    /// Takes in what is wrong with an entry, where that is known only after the walk: it is a fault as if `on_entry` had
    /// refused it (tlog-tiles v0.1.0, "Log Entries").
    pub fn refuse(&mut self, index: u64, what: &str) {
        let bundle = Bundle::in_tree(index / u64::from(TILE_WIDTH), self.report.size);
        self.report.fault(&bundle.map(|bundle| bundle.path()).unwrap_or_default(), entry_fault(index, what));
        if self.inclusion == Finding::Holds {
            self.inclusion = first_fault(&self.report).map_or(Finding::Holds, Finding::Fails);
        }
    }
}

/// What an audit found of another checkpoint of the same log: the last that witnesses cosigned is older than the newest, until
/// they have cosigned that (tlog-witness v1.0.0).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Anchor {
    /// Whether the log continues it (RFC 6962 §2.1.2).
    pub consistency: Finding,
    /// Whether a quorum of witnesses cosigned it (tlog-policy).
    pub quorum: Finding,
    /// Whether its newest cosignature is recent enough (tlog-proof, "Use of timestamps").
    pub freshness: Finding,
    /// How many entries it covers, if the log signed it.
    pub size: Option<u64>,
    /// Which witnesses cosigned, and when.
    pub witnesses: Option<Verdict>,
    /// How many seconds ago the newest cosignature was made.
    pub age: Option<u64>,
}

/// Recomputes a log as [`verify_log`](crate::verify_log) does, and answers each question of the audit by itself (tlog-tiles
/// v0.1.0, tlog-checkpoint v1.0.0, tlog-policy).
///
/// Tiles over pruned entries stand for them: the root shows that the tiles are the log's, and nothing shows the entries.
pub fn audit_log(files: &dyn LogFiles, audit: &Audit<'_>, on_entry: &mut OnEntry<'_>) -> Findings {
    let mut walk = Walk::new(files, audit.minimum_index);
    let Some((note, checkpoint)) = walk.open_checkpoint(audit.origin, audit.verifiers) else {
        return audit.without_checkpoint(walk.report);
    };
    walk.run(&checkpoint, on_entry);
    let Cosignatures { quorum, freshness, witnesses, age } = audit.cosignatures(&note);
    Findings {
        signature: Finding::Holds,
        inclusion: first_fault(&walk.report).map_or(Finding::Holds, Finding::Fails),
        consistency: audit.consistency(files, &checkpoint),
        quorum,
        freshness,
        checkpoint: Some(checkpoint),
        witnesses,
        age,
        report: walk.report,
    }
}

/// What the cosignatures of a checkpoint say.
struct Cosignatures {
    quorum: Finding,
    freshness: Finding,
    witnesses: Option<Verdict>,
    age: Option<u64>,
}

impl Audit<'_> {
    /// Judges a checkpoint that was published beside the newest one (RFC 6962 §2.1.2, tlog-policy).
    pub fn anchor(&self, files: &dyn LogFiles, note: &str, newest: &Checkpoint) -> Anchor {
        let Cosignatures { quorum, freshness, witnesses, age } = self.cosignatures(note);
        Anchor {
            consistency: Audit { older: Some(note), ..*self }.consistency(files, newest),
            quorum,
            freshness,
            size: Checkpoint::open(note, self.origin, self.verifiers).ok().map(|checkpoint| checkpoint.size),
            witnesses,
            age,
        }
    }

    fn cosignatures(&self, note: &str) -> Cosignatures {
        let verdict = self.policy.map(|policy| policy.evaluate(note));
        let newest = verdict.as_ref().and_then(|verdict| self.newest(verdict.as_ref().ok()?));
        Cosignatures {
            quorum: verdict.as_ref().map_or(Finding::NotAsked, quorum),
            freshness: self.freshness(newest),
            witnesses: verdict.and_then(Result::ok),
            age: self.now.zip(newest).map(|(now, newest)| now.saturating_sub(newest)),
        }
    }

    /// Without a checkpoint that the log signed there is nothing to compare with.
    fn without_checkpoint(&self, report: Report) -> Findings {
        let unchecked = |is_asked: bool| match is_asked {
            true => Finding::Unchecked("there is no checkpoint that the log signed".to_owned()),
            false => Finding::NotAsked,
        };
        Findings {
            signature: Finding::Fails(first_fault(&report).unwrap_or_default()),
            inclusion: unchecked(true),
            consistency: unchecked(self.older.is_some()),
            quorum: unchecked(self.policy.is_some()),
            freshness: unchecked(self.now.is_some()),
            checkpoint: None,
            witnesses: None,
            age: None,
            report,
        }
    }

    fn consistency(&self, files: &dyn LogFiles, new: &Checkpoint) -> Finding {
        let Some(older) = self.older else { return Finding::NotAsked };
        let old = match Checkpoint::open(older, self.origin, self.verifiers) {
            Ok(old) => old,
            Err(error) => return Finding::Unchecked(format!("the older checkpoint is not this log's: {error}")),
        };
        if old.size > new.size {
            return Finding::Fails(format!("the log was rolled back from size `{}` to `{}`", old.size, new.size));
        }
        // The proof is made from tiles that nobody vouches for, so it is checked like anyone's.
        let proof = match consistency_proof(old.size, new.size, &FileTiles(files)) {
            Ok(proof) => proof,
            Err(error) => return Finding::Unchecked(error.to_string()),
        };
        match verify_consistency(old.size, old.root, new.size, new.root, &proof) {
            Ok(()) => Finding::Holds,
            Err(_) => Finding::Fails(format!("the log does not continue its checkpoint of size `{}`", old.size)),
        }
    }

    /// The time of the newest cosignature that is not from the future: a witness whose clock is wrong says nothing of how old a
    /// checkpoint is, and is none to spoil what the others say. Where all are, the newest of them.
    fn newest(&self, verdict: &Verdict) -> Option<u64> {
        let times = verdict.cosigned.iter().map(|cosigner| cosigner.time);
        let latest = self.now.map_or(u64::MAX, |now| now.saturating_add(MAX_SKEW));
        times.filter(|time| *time <= latest).max().or_else(|| verdict.newest())
    }

    fn freshness(&self, newest: Option<u64>) -> Finding {
        let Some(now) = self.now else { return Finding::NotAsked };
        let Some(newest) = newest else {
            return Finding::Unchecked("no witness of a policy cosigned, and nothing else tells the time".to_owned());
        };
        if newest > now.saturating_add(MAX_SKEW) {
            return Finding::Fails(format!("the newest cosignature is `{}` seconds in the future", newest - now));
        }
        let age = now.saturating_sub(newest);
        match self.max_age {
            Some(max_age) if age > max_age => Finding::Fails(format!("the newest cosignature is `{age}` seconds old")),
            _ => Finding::Holds,
        }
    }
}

fn quorum(verdict: &Result<Verdict>) -> Finding {
    match verdict {
        Ok(verdict) if verdict.is_quorum => Finding::Holds,
        Ok(verdict) => Finding::Fails(format!("no cosignature of: {}", verdict.missing.join(", "))),
        Err(error) => Finding::Fails(error.to_string()),
    }
}

fn first_fault(report: &Report) -> Option<String> {
    report.faults.first().map(|fault| format!("`{}` {}", fault.path, fault.what))
}

/// The tiles among a log's files, unverified.
struct FileTiles<'a>(&'a dyn LogFiles);

impl TileReader for FileTiles<'_> {
    fn read_tile(&self, tile: Tile) -> Result<Vec<Hash>> {
        let full = Tile { width: TILE_WIDTH, ..tile };
        let bytes = match self.0.read(&tile.path())? {
            Some(bytes) => Some(bytes),
            None => self.0.read(&full.path())?,
        };
        decode_tile(&bytes.ok_or_else(|| LedgerError::MissingTile(tile.path()))?)
    }
}

/// How many seconds a witness's clock may be ahead: verifiers may refuse what is from the future (tlog-cosignature v1.0.1,
/// "Format").
pub const MAX_SKEW: u64 = 300;
