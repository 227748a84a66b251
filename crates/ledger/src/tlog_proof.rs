//! Proofs that travel with an entry (C2SP tlog-proof).

use std::fmt;
use std::str::FromStr;

use base64::prelude::{BASE64_STANDARD, Engine};

use crate::checkpoint::{Checkpoint, parse_decimal};
use crate::error::{LedgerError, Result};
use crate::hash::{Hash, leaf_hash};
use crate::note::Verifier;
use crate::policy::{Policy, Verdict};
use crate::proof::verify_inclusion;

/// All that is needed to show offline that an entry is in a log, unverified until [`verify`](Self::verify) (C2SP
/// tlog-proof, over RFC 6962 §2.1.1 and tlog-checkpoint v1.0.0).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlogProof {
    /// Bytes for the application; the proof says nothing about them.
    pub extra: Option<Vec<u8>>,
    /// The index of the entry.
    pub index: u64,
    /// The inclusion proof, leaf to root.
    pub path: Vec<Hash>,
    /// The signed checkpoint, as it is.
    pub checkpoint: String,
}

impl TlogProof {
    /// Checks that `entry` is in the log `origin`, and gives the checkpoint that says so (RFC 9162 §2.1.3.2,
    /// tlog-checkpoint v1.0.0).
    pub fn verify(&self, entry: &[u8], origin: &str, verifiers: &[Verifier]) -> Result<Checkpoint> {
        let checkpoint = Checkpoint::open(&self.checkpoint, origin, verifiers)?;
        verify_inclusion(leaf_hash(entry), self.index, checkpoint.size, &self.path, checkpoint.root)?;
        Ok(checkpoint)
    }

    /// Checks that `entry` is in a log of the policy, in a tree that a quorum of its witnesses cosigned (C2SP tlog-proof,
    /// "Verifying a tlog proof"). The policy has to list the log.
    pub fn verify_with_policy(&self, entry: &[u8], policy: &Policy) -> Result<Verdict> {
        let verdict = policy.evaluate(&self.checkpoint)?;
        if !verdict.is_signed {
            return Err(LedgerError::NotSigned);
        }
        if !verdict.is_quorum {
            return Err(LedgerError::NoQuorum);
        }
        let Checkpoint { size, root, .. } = verdict.checkpoint;
        verify_inclusion(leaf_hash(entry), self.index, size, &self.path, root)?;
        Ok(verdict)
    }
}

impl fmt::Display for TlogProof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{HEADER}")?;
        if let Some(extra) = &self.extra {
            writeln!(f, "extra {}", BASE64_STANDARD.encode(extra))?;
        }
        writeln!(f, "index {}", self.index)?;
        self.path.iter().try_for_each(|hash| writeln!(f, "{hash}"))?;
        write!(f, "\n{}", self.checkpoint)
    }
}

impl FromStr for TlogProof {
    type Err = LedgerError;

    fn from_str(text: &str) -> Result<Self> {
        let parse = || {
            let (head, checkpoint) = text.split_once("\n\n")?;
            let mut lines = head.split('\n').peekable();
            lines.next_if_eq(&HEADER)?;
            let extra = match lines.next_if(|line| line.starts_with("extra ")) {
                Some(line) => Some(BASE64_STANDARD.decode(line.strip_prefix("extra ")?).ok()?),
                None => None,
            };
            let index = parse_decimal(lines.next()?.strip_prefix("index ")?)?;
            let path = lines.map(|line| Hash::from_base64(line).ok()).collect::<Option<_>>()?;
            Some(Self { extra, index, path, checkpoint: checkpoint.to_owned() })
        };
        parse().ok_or(LedgerError::BadProofFile)
    }
}

/// The first line of the file (C2SP tlog-proof).
const HEADER: &str = "c2sp.org/tlog-proof@v1";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::note::Signer;
    use crate::proof::inclusion_proof;
    use crate::tile::MemoryTiles;
    use crate::tree::Tree;

    #[test]
    fn proof_files_round_trip_and_verify() {
        for extra in [None, Some(vec![]), Some(b"more".to_vec())] {
            let proof = TlogProof { extra, ..proof() };
            let text = proof.to_string();
            assert!(text.starts_with("c2sp.org/tlog-proof@v1\n"));
            assert_eq!(text.parse::<TlogProof>(), Ok(proof.clone()));
            assert_eq!(proof.verify(b"4", "log.example", &[signer().verifier()]).unwrap().size, 7);
        }
    }

    #[test]
    fn wrong_proofs_are_refused() {
        let (proof, known) = (proof(), [signer().verifier()]);
        assert_eq!(proof.verify(b"5", "log.example", &known), Err(LedgerError::BadInclusion));
        assert!(proof.verify(b"4", "other.example", &known).is_err());
        assert_eq!(proof.verify(b"4", "log.example", &[]), Err(LedgerError::NotSigned));
        assert!(TlogProof { index: 5, ..proof.clone() }.verify(b"4", "log.example", &known).is_err());
        assert!(TlogProof { index: 7, ..proof.clone() }.verify(b"4", "log.example", &known).is_err());
        assert!(TlogProof { path: vec![], ..proof }.verify(b"4", "log.example", &known).is_err());
    }

    #[test]
    fn malformed_files_are_refused() {
        let text = proof().to_string();
        let bad = [
            String::new(),
            text.replace("@v1", "@v2"),
            text.replace("index 4", "index 04"),
            text.replace("index 4\n", ""),
            text.replace("index 4", "extra *\nindex 4"),
            text.replace("index 4", "index 4\nextra AAAA"),
            text.replace("\n\n", "\n"),
            text.replace('\n', "\r\n"),
            text.replacen("=\n", "= \n", 1),
        ];
        for bad in bad {
            assert_eq!(bad.parse::<TlogProof>(), Err(LedgerError::BadProofFile), "{bad:?}");
        }
    }

    fn proof() -> TlogProof {
        let (mut tree, mut tiles) = (Tree::default(), MemoryTiles::default());
        (0..7).for_each(|i: u64| tree.push(leaf_hash(i.to_string().as_bytes()), &mut Vec::new()));
        tiles.extend(tree.partial_tiles());
        let head = Checkpoint { origin: "log.example".to_owned(), size: 7, root: tree.root(), extensions: vec![] };
        let path = inclusion_proof(4, 7, &tiles).unwrap();
        TlogProof { extra: None, index: 4, path, checkpoint: head.sign(&signer()).unwrap() }
    }

    fn signer() -> Signer {
        Signer::from_seed("log.example", [3; 32]).unwrap()
    }
}
