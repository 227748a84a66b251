//! The rules of a witness (C2SP tlog-witness v1.0.0), without its HTTP and its store.

use std::fmt;
use std::str::FromStr;

use crate::checkpoint::{Checkpoint, TreeHead, parse_decimal};
use crate::cosignature::WitnessSigner;
use crate::error::{LedgerError, Result};
use crate::hash::Hash;
use crate::note::{Note, Verifier, open};
use crate::proof::{consistency_proof, verify_consistency};
use crate::served::{PLAIN_TEXT, TREE_SIZE};
use crate::tile::TileReader;

/// The body of a request to cosign a checkpoint (tlog-witness v1.0.0, "add-checkpoint").
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddCheckpoint {
    /// The size of the checkpoint that the witness cosigned last, as the log believes; 0 when none.
    pub old_size: u64,
    /// The consistency proof from that size to the checkpoint's.
    pub proof: Vec<Hash>,
    /// The signed checkpoint, as it is; unverified until [`judge`](Self::judge).
    pub checkpoint: String,
}

impl AddCheckpoint {
    /// What a log sends to a witness that cosigned `old_size` entries last; the proof is made from the log's own tiles
    /// (tlog-witness v1.0.0, "add-checkpoint").
    pub fn new(old_size: u64, checkpoint: &str, tiles: &dyn TileReader) -> Result<Self> {
        let size = Note::parse(checkpoint)?.text.parse::<Checkpoint>()?.size;
        let proof = consistency_proof(old_size, size, tiles)?;
        Ok(Self { old_size, proof, checkpoint: checkpoint.to_owned() })
    }

    /// The log that the checkpoint says it is of, unverified: a witness looks up by it which keys it trusts and what it
    /// cosigned last (tlog-checkpoint v1.0.0, "Note text").
    pub fn origin(&self) -> &str {
        self.checkpoint.split('\n').next().unwrap_or_default()
    }

    /// Judges the request by what the witness knows of this origin: the keys that it trusts, none if it does not know the
    /// log, and the head that it cosigned last (tlog-witness v1.0.0, "add-checkpoint").
    ///
    /// INVARIANT (I6 the ledger is the history): what is accepted continues `last`. So the caller holds `last` from before
    /// this call until [`Cosigned::head`] has taken its place durably, and answers only then.
    pub fn judge(&self, trusted: &[Verifier], last: Option<TreeHead>) -> std::result::Result<Accepted, Refusal> {
        if trusted.is_empty() {
            return Err(Refusal::UnknownOrigin);
        }
        let note = open(&self.checkpoint, trusted).map_err(|error| match error {
            LedgerError::NotSigned | LedgerError::BadSignature(_) => Refusal::Untrusted(error),
            malformed => Refusal::Malformed(malformed),
        })?;
        let new = note.text.parse::<Checkpoint>().map_err(Refusal::Malformed)?.head();
        let last = last.unwrap_or_default();
        if self.old_size > new.size {
            return Err(Refusal::Malformed(LedgerError::BadSizes { old: self.old_size, new: new.size }));
        }
        if self.old_size != last.size {
            return Err(Refusal::Stale { size: last.size });
        }
        // This holds the root of an empty tree to be the one it has, and the proof from it to be empty.
        verify_consistency(last.size, last.root, new.size, new.root, &self.proof).map_err(Refusal::Inconsistent)?;
        Ok(Accepted { note, head: new })
    }
}

impl fmt::Display for AddCheckpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "old {}", self.old_size)?;
        self.proof.iter().try_for_each(|hash| writeln!(f, "{hash}"))?;
        write!(f, "\n{}", self.checkpoint)
    }
}

impl FromStr for AddCheckpoint {
    type Err = LedgerError;

    fn from_str(body: &str) -> Result<Self> {
        let parse = || {
            let (head, checkpoint) = body.split_once("\n\n").filter(|_| body.len() <= MAX_ADD_CHECKPOINT_SIZE)?;
            let mut lines = head.split('\n');
            let old_size = parse_decimal(lines.next()?.strip_prefix("old ")?)?;
            let proof = lines.map(|line| Hash::from_base64(line).ok()).collect::<Option<Vec<_>>>()?;
            let whole = proof.len() <= MAX_PROOF_LINES && !checkpoint.is_empty();
            whole.then(|| Self { old_size, proof, checkpoint: checkpoint.to_owned() })
        };
        parse().ok_or(LedgerError::BadAddCheckpoint)
    }
}

/// A checkpoint that a witness may cosign: only [`AddCheckpoint::judge`] makes one (tlog-witness v1.0.0, "add-checkpoint").
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// The checkpoint with the signatures of trusted keys alone.
    note: Note,
    head: TreeHead,
}

impl Accepted {
    /// Cosigns the checkpoint at a time in seconds since 1970 (tlog-cosignature v1.0.1).
    pub fn cosign(self, witness: &WitnessSigner, time_seconds: u64) -> Result<Cosigned> {
        let Self { mut note, head } = self;
        let signature = witness.cosign(&note.text, time_seconds)?;
        let answer = format!("{signature}\n");
        note.signatures.push(signature);
        Ok(Cosigned { head, checkpoint: note.to_string(), answer })
    }
}

/// What a witness has to keep, and what it answers once that is durable (tlog-witness v1.0.0, "add-checkpoint").
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cosigned {
    /// The head to judge the next request by.
    pub head: TreeHead,
    /// The checkpoint with the signatures of the log and of the witness, for whoever monitors it ("Monitor Retrieval
    /// Mechanism").
    pub checkpoint: String,
    /// The body of the answer, whose status is 200.
    pub answer: String,
}

/// Why a witness does not cosign (tlog-witness v1.0.0, "add-checkpoint").
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The body, the note or the checkpoint is malformed, or its size is below the old one.
    Malformed(LedgerError),
    /// No signature is by a trusted key, or one that says so does not verify.
    Untrusted(LedgerError),
    /// The witness does not know this log.
    UnknownOrigin,
    /// The log is wrong about which size was cosigned last.
    Stale {
        /// The size that was: 0 when none.
        size: u64,
    },
    /// The checkpoint is not shown to continue the one that was cosigned last. It may be evidence against the log.
    Inconsistent(LedgerError),
}

impl Refusal {
    /// The status of the answer (tlog-witness v1.0.0, "add-checkpoint").
    pub fn status(&self) -> u16 {
        match self {
            Self::Malformed(_) => 400,
            Self::Untrusted(_) => 403,
            Self::UnknownOrigin => 404,
            Self::Stale { .. } => 409,
            Self::Inconsistent(_) => 422,
        }
    }

    /// The content type of the answer (tlog-witness v1.0.0, "add-checkpoint").
    pub fn content_type(&self) -> &'static str {
        if matches!(self, Self::Stale { .. }) { TREE_SIZE } else { PLAIN_TEXT }
    }

    /// The body of the answer: the size that was cosigned last when the log is wrong about that, or else the reason
    /// (tlog-witness v1.0.0, "add-checkpoint").
    pub fn body(&self) -> String {
        match self {
            Self::Malformed(error) | Self::Untrusted(error) | Self::Inconsistent(error) => format!("{error}\n"),
            Self::UnknownOrigin => "the log is not known here\n".to_owned(),
            Self::Stale { size } => format!("{size}\n"),
        }
    }
}

/// The size in the body of an answer with status 409, from which a log tries again (tlog-witness v1.0.0, "add-checkpoint").
pub fn parse_stale_size(body: &str) -> Result<u64> {
    let size = body.strip_suffix('\n').and_then(parse_decimal);
    size.ok_or_else(|| LedgerError::BadTreeSize(body.to_owned()))
}

/// The longest body that a witness reads: 63 hashes and a checkpoint with some post-quantum signatures (signed-note v1.0.0,
/// "Format").
pub const MAX_ADD_CHECKPOINT_SIZE: usize = 64 << 10;
/// The most hashes of a request (tlog-witness v1.0.0, "add-checkpoint").
const MAX_PROOF_LINES: usize = 63;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::empty_root;

    #[test]
    fn bodies_have_one_form() {
        let hash = empty_root();
        let request = AddCheckpoint { old_size: 7, proof: vec![hash; 63], checkpoint: "log\n8\nroot\n\nline\n".to_owned() };
        let body = request.to_string();
        assert!(body.starts_with("old 7\n47DEQ"));
        assert_eq!(body.parse(), Ok(request.clone()));
        assert_eq!(request.origin(), "log");
        let first = AddCheckpoint { old_size: 0, proof: vec![], ..request.clone() };
        assert_eq!(first.to_string().parse(), Ok(first));
        let bad = [
            String::new(),
            "old 7\n\n".to_owned(),
            body.replacen("old 7", "old 07", 1),
            body.replacen("old 7", "old", 1),
            body.replacen("old 7", "old  7", 1),
            body.replacen("old 7", "old -7", 1),
            body.replacen("old 7", "new 7", 1),
            body.replacen("old 7", "old 18446744073709551616", 1),
            body.replacen("=\n", "\n", 1),
            body.replacen("=\n", "=\r\n", 1),
            body.replacen("=\n", "= \n", 1),
            body.replacen("\n\n", "\n", 2),
            AddCheckpoint { proof: vec![hash; 64], ..request.clone() }.to_string(),
            AddCheckpoint { checkpoint: "x".repeat(MAX_ADD_CHECKPOINT_SIZE), ..request }.to_string(),
        ];
        for bad in bad {
            assert_eq!(bad.parse::<AddCheckpoint>(), Err(LedgerError::BadAddCheckpoint), "{bad:?}");
        }
    }

    #[test]
    fn stale_sizes_have_one_form() {
        assert_eq!(parse_stale_size("20852014\n"), Ok(20_852_014));
        assert_eq!(parse_stale_size(&Refusal::Stale { size: 0 }.body()), Ok(0));
        for bad in ["", "\n", "7", "07\n", "7\n\n", "7\r\n", " 7\n", "-1\n"] {
            assert_eq!(parse_stale_size(bad), Err(LedgerError::BadTreeSize(bad.to_owned())));
        }
    }
}
