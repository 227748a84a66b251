//! The one error of the crate.

/// Result of the crate.
pub type Result<T> = std::result::Result<T, LedgerError>;

/// Why bytes are not what C2SP tlog-tiles v0.1.0, signed-note v1.0.0, tlog-checkpoint v1.0.0, tlog-cosignature v1.0.1,
/// tlog-witness v1.0.0, tlog-policy, RFC 6962 §2.1 or RFC 9942 ask for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LedgerError {
    /// Not standard base64 of 32 bytes (tlog-checkpoint v1.0.0).
    #[error("`{0}` is not a base64 hash")]
    BadHash(String),
    /// Not a tile or bundle path (tlog-tiles v0.1.0).
    #[error("`{0}` is not the path of a tile or entry bundle")]
    BadPath(String),
    /// Not a whole number of hashes, or too many (tlog-tiles v0.1.0).
    #[error("a tile cannot have `{0}` bytes")]
    BadTile(usize),
    /// The entry does not fit a 16-bit length (tlog-tiles v0.1.0).
    #[error("an entry of `{0}` bytes is longer than 65535")]
    EntryTooLong(usize),
    /// The bytes end inside an entry (tlog-tiles v0.1.0).
    #[error("the entry bundle ends inside entry `{0}`")]
    TruncatedBundle(usize),
    /// More than 256 entries (tlog-tiles v0.1.0).
    #[error("the entry bundle has more than 256 entries")]
    OverfullBundle,
    /// The reader has no such tile (tlog-tiles v0.1.0).
    #[error("tile `{0}` is missing or too short")]
    MissingTile(String),
    /// A [`TileReader`](crate::TileReader) or [`LogFiles`](crate::LogFiles) could not read.
    #[error("could not read `{path}`: {reason}")]
    Read {
        /// The path that was asked for.
        path: String,
        /// What the reader says went wrong.
        reason: String,
    },
    /// No entry of that index in a tree of that size (RFC 6962 §2.1.1).
    #[error("there is no entry `{index}` in a tree of size `{size}`")]
    BadIndex {
        /// The index asked for.
        index: u64,
        /// The size of the tree.
        size: u64,
    },
    /// The older tree is larger than the newer (RFC 6962 §2.1.2).
    #[error("a tree of size `{old}` is not the start of one of size `{new}`")]
    BadSizes {
        /// The size of the older tree.
        old: u64,
        /// The size of the newer tree.
        new: u64,
    },
    /// The proof has too many or too few hashes, or leads to another root (RFC 9162 §2.1.3.2).
    #[error("the inclusion proof does not hold")]
    BadInclusion,
    /// The proof has too many or too few hashes, or leads to other roots (RFC 9162 §2.1.4.2).
    #[error("the consistency proof does not hold")]
    BadConsistency,
    /// Empty, or holds a space, a plus or a control character (signed-note v1.0.0).
    #[error("`{0}` is not a key name")]
    BadKeyName(String),
    /// Not an Ed25519 verifier key with the right key id (signed-note v1.0.0). What it is instead may be a secret, out of a file
    /// that somebody named by mistake, and is not said.
    #[error("not an Ed25519 verifier key, one line as `name+id+key`")]
    BadVerifierKey(String),
    /// The text does not end with a newline, or holds a control character (signed-note v1.0.0).
    #[error("the note's text does not end with a newline or has control characters")]
    BadText,
    /// No text, blank line and signature lines (signed-note v1.0.0).
    #[error("the note is not a text, a blank line and signature lines")]
    BadNote,
    /// Not a signature line (signed-note v1.0.0).
    #[error("`{0}` is not a signature line")]
    BadSignatureLine(String),
    /// More than 100 signature lines.
    #[error("the note has more than 100 signatures")]
    TooManySignatures,
    /// A known key's signature does not verify (signed-note v1.0.0).
    #[error("the signature of `{0}` does not verify")]
    BadSignature(String),
    /// No signature is by a known key (signed-note v1.0.0).
    #[error("no signature is by a known key")]
    NotSigned,
    /// Not origin, size, root and non-empty extension lines (tlog-checkpoint v1.0.0).
    #[error("the text is not a checkpoint")]
    BadCheckpoint,
    /// The checkpoint is of another log (tlog-checkpoint v1.0.0).
    #[error("the checkpoint is of `{found}`, not of `{expected}`")]
    WrongOrigin {
        /// The origin that was asked for.
        expected: String,
        /// The origin in the checkpoint.
        found: String,
    },
    /// Not a tlog-proof file (C2SP tlog-proof).
    #[error("the text is not a tlog-proof")]
    BadProofFile,
    /// Zero, or beyond 2^63 - 1 (tlog-cosignature v1.0.1, "Format").
    #[error("`{0}` is not a time that a cosignature can have")]
    BadTime(u64),
    /// Not an old size line, at most 63 hashes, a blank line and a checkpoint (tlog-witness v1.0.0, "add-checkpoint").
    #[error("the body is not an add-checkpoint request")]
    BadAddCheckpoint,
    /// Not a decimal number and a newline (tlog-witness v1.0.0, "add-checkpoint").
    #[error("`{0}` is not a tree size")]
    BadTreeSize(String),
    /// A line, counted from 1, that a policy cannot have; the last when there is no quorum (C2SP tlog-policy).
    #[error("line `{line}` of the policy {what}")]
    BadPolicy {
        /// The number of the line.
        line: usize,
        /// What is wrong with it.
        what: String,
    },
    /// Too few of the policy's witnesses have cosigned (C2SP tlog-policy).
    #[error("the witnesses that cosigned are no quorum")]
    NoQuorum,
    /// Not the form that COSE receipts of inclusion have here (RFC 9942 §5.2.1).
    #[error("the bytes are not a COSE receipt of inclusion: {0}")]
    BadReceipt(&'static str),
}
