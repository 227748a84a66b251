//! Checkpoints (C2SP tlog-checkpoint v1.0.0).

use std::str::FromStr;

use crate::error::{LedgerError, Result};
use crate::hash::{Hash, empty_root};
use crate::note::{Signer, Verifier, open};
use crate::proof::verify_consistency;

/// A tree head, whose signed note is the log's word about its entries (tlog-checkpoint v1.0.0, "Note text").
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// The log's name, which should be its URL without a scheme and the name of its key.
    pub origin: String,
    /// How many entries the log has.
    pub size: u64,
    /// The root hash of the tree over them.
    pub root: Hash,
    /// Further lines, none of them empty; best not used.
    pub extensions: Vec<String>,
}

impl Checkpoint {
    /// Opens a signed checkpoint of the log `origin`; `verifiers` are the log's own keys (tlog-checkpoint v1.0.0).
    pub fn open(note: &str, origin: &str, verifiers: &[Verifier]) -> Result<Self> {
        let checkpoint: Self = open(note, verifiers)?.text.parse()?;
        if checkpoint.origin != origin {
            return Err(LedgerError::WrongOrigin { expected: origin.to_owned(), found: checkpoint.origin });
        }
        Ok(checkpoint)
    }

    /// The signed note of this checkpoint (tlog-checkpoint v1.0.0). The caller has made sure that it is consistent with
    /// every one signed before.
    pub fn sign(&self, signer: &Signer) -> Result<String> {
        let body = self.body();
        if body.parse::<Self>().as_ref() != Ok(self) {
            return Err(LedgerError::BadCheckpoint);
        }
        signer.sign(&body)
    }

    /// The signed note of this checkpoint, if a proof shows that it continues `before`, the head that was signed last
    /// (tlog-checkpoint v1.0.0, "Signatures"). Nothing is signed that is not consistent with it.
    pub fn sign_next(&self, signer: &Signer, before: TreeHead, proof: &[Hash]) -> Result<String> {
        verify_consistency(before.size, before.root, self.size, self.root, proof)?;
        self.sign(signer)
    }

    /// The size and root, without the name of the log (RFC 6962 §2.1).
    pub fn head(&self) -> TreeHead {
        TreeHead { size: self.size, root: self.root }
    }

    /// The text that is signed: origin, size, root and extensions, a line each (tlog-checkpoint v1.0.0, "Note text").
    pub fn body(&self) -> String {
        let head = format!("{}\n{}\n{}\n", self.origin, self.size, self.root);
        self.extensions.iter().fold(head, |body, line| body + line + "\n")
    }
}

/// What a tree is known by: its size and its root (RFC 6962 §2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TreeHead {
    /// How many entries the tree has.
    pub size: u64,
    /// The root hash over them.
    pub root: Hash,
}

/// The head of the tree of no entries (RFC 6962 §2.1).
impl Default for TreeHead {
    fn default() -> Self {
        Self { size: 0, root: empty_root() }
    }
}

/// Parses the text of a checkpoint, unsigned (tlog-checkpoint v1.0.0, "Note text").
impl FromStr for Checkpoint {
    type Err = LedgerError;

    fn from_str(body: &str) -> Result<Self> {
        let parse = || {
            let lines: Vec<&str> = body.strip_suffix('\n')?.split('\n').collect();
            let ([origin, size, root], extensions) = lines.split_first_chunk::<3>()?;
            let valid = lines.iter().all(|line| !line.is_empty() && !line.contains(|c: char| c < ' '));
            valid.then_some(Self {
                origin: (*origin).to_owned(),
                size: parse_decimal(size)?,
                root: Hash::from_base64(root).ok()?,
                extensions: extensions.iter().map(|line| (*line).to_owned()).collect(),
            })
        };
        parse().ok_or(LedgerError::BadCheckpoint)
    }
}

/// A decimal number without sign or leading zeros.
pub(crate) fn parse_decimal(text: &str) -> Option<u64> {
    text.parse::<u64>().ok().filter(|number| number.to_string() == text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::leaf_hash;
    use crate::tree::Tree;

    #[test]
    fn signed_note_of_golden_vector() {
        let mut tree = Tree::default();
        (0..1000).for_each(|i: u64| tree.push(leaf_hash(i.to_string().as_bytes()), &mut Vec::new()));
        let checkpoint = Checkpoint { size: tree.size(), root: tree.root(), ..checkpoint() };
        let note = "ledger.example/log\n\
                    1000\n\
                    Y4r6mAIpJbrP3a2xXvIv0BmcGsmcKXO2FYJD0T/OBcI=\n\
                    \n\
                    \u{2014} ledger.example/log fMg6nUVghUigzOI7or28FgTj60QJx4ZJYfqqJeSi8scsz4TgN0XZpSYkpWaNeFWgt1ccIgx0Q/\
                    EwRC5150gaICU9kQU=\n";
        assert_eq!(checkpoint.sign(&signer()).unwrap(), note);
        assert_eq!(Checkpoint::open(note, "ledger.example/log", &[signer().verifier()]), Ok(checkpoint));
    }

    #[test]
    fn other_origins_are_refused() {
        let note = checkpoint().sign(&signer()).unwrap();
        let opened = Checkpoint::open(&note, "ledger.example/other", &[signer().verifier()]);
        assert!(matches!(opened, Err(LedgerError::WrongOrigin { .. })));
    }

    #[test]
    fn bodies_have_one_form() {
        let good = Checkpoint { extensions: vec!["one".to_owned(), "two".to_owned()], ..checkpoint() };
        assert_eq!(good.body().parse::<Checkpoint>(), Ok(good.clone()));
        let body = checkpoint().body();
        let bad = [
            String::new(),
            body.trim_end().to_owned(),
            body.replace("\n7\n", "\n07\n"),
            body.replace("\n7\n", "\n+7\n"),
            body.replace("\n7\n", "\n-7\n"),
            body.replace("\n7\n", "\n7 \n"),
            body.replace("\n7\n", "\n\n"),
            body.replace("\n7\n", "\n18446744073709551616\n"),
            body.replace('\n', "\r\n"),
            body.replace("=\n", "\n"),
            body.replace("ledger.example/log", ""),
            format!("{body}\n"),
            format!("{body}extension\n\nmore\n"),
        ];
        for bad in bad {
            assert_eq!(bad.parse::<Checkpoint>(), Err(LedgerError::BadCheckpoint), "{bad:?}");
        }
    }

    #[test]
    fn only_what_parses_is_signed() {
        for origin in ["", "two\nlines", "carriage\r"] {
            let bad = Checkpoint { origin: origin.to_owned(), ..checkpoint() };
            assert_eq!(bad.sign(&signer()), Err(LedgerError::BadCheckpoint));
        }
        let bad = Checkpoint { extensions: vec![String::new()], ..checkpoint() };
        assert_eq!(bad.sign(&signer()), Err(LedgerError::BadCheckpoint));
    }

    fn checkpoint() -> Checkpoint {
        Checkpoint { origin: "ledger.example/log".to_owned(), size: 7, root: empty_root(), extensions: vec![] }
    }

    fn signer() -> Signer {
        Signer::from_seed("ledger.example/log", [1; 32]).unwrap()
    }
}
