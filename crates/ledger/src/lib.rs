//! What happened: an append-only, Merkle-proved log that knows only bytes.
//!
//! The crate is pure. It reads no file, clock or source of randomness; callers bring tiles through [`TileReader`] and
//! files through [`LogFiles`]. Its wire formats are C2SP tlog-tiles v0.1.0, signed-note v1.0.0, tlog-checkpoint v1.0.0,
//! tlog-cosignature v1.0.1 (Ed25519), tlog-witness v1.0.0, tlog-policy and tlog-proof, over the tree of RFC 6962 §2.1, and
//! COSE receipts of inclusion (RFC 9942).
//!
//! | word | meaning |
//! |---|---|
//! | **Entry** | one event's bytes, at most 65,535 of them; its place in the log is its index |
//! | **[`struct@Hash`]** | SHA-256 of a leaf (`0x00 ‖ entry`) or of a node (`0x01 ‖ left ‖ right`) |
//! | **[`Tile`]** | up to 256 neighbouring hashes of one level; a tile of level `l` stands on 256 tiles of level `l - 1` |
//! | **[`Bundle`]** | up to 256 neighbouring entries |
//! | **[`Tree`]** | the right edge of the log: all that must be kept to append to it and to know its root |
//! | **Proof** | the hashes that show that an entry is in a log, or that one log is the start of another |
//! | **[`Note`]** | text with signature lines under it |
//! | **[`Checkpoint`]** | a signed tree head: origin, size and root |
//! | **[`TlogProof`]** | one file that shows offline that an entry is in the log: index, proof and checkpoint |
//! | **[`Resource`]** | anything that a log serves by a path: its checkpoint, a tile, a bundle |
//! | **Witness** | who cosigns the checkpoints of a log with the time, each only if it continues the one before |
//! | **[`Policy`]** | which logs and witnesses are trusted, and the quorum of witnesses that a checkpoint needs |
//! | **[`Report`]** | what was found when every file of a log was recomputed from its entries |
//! | **[`Findings`]** | the same, question by question: signature, inclusion, consistency, quorum, freshness |

mod audit;
mod checkpoint;
mod cose;
mod cosignature;
mod error;
mod hash;
mod key;
mod note;
mod policy;
mod proof;
mod served;
mod tile;
mod tlog_proof;
mod tree;
mod verify;
mod witness;

pub use audit::{Anchor, Audit, Finding, Findings, MAX_SKEW, audit_log};
pub use checkpoint::{Checkpoint, TreeHead};
pub use cose::{CoseReceipt, cose_receipt, verify_cose_receipt};
pub use cosignature::{WitnessSigner, WitnessVerifier, add_cosignatures};
pub use error::{LedgerError, Result};
pub use hash::{HASH_SIZE, Hash, empty_root, leaf_hash, node_hash};
pub use note::{Note, Signature, Signer, Verifier, open};
pub use policy::{Cosigner, Policy, PolicyLog, PolicyWitness, Verdict};
pub use proof::{consistency_proof, inclusion_proof, verify_consistency, verify_inclusion};
pub use served::{ADD_CHECKPOINT, PLAIN_TEXT, Resource, TREE_SIZE, witness_path};
pub use tile::{
    Bundle, MAX_ENTRY_SIZE, MemoryTiles, TILE_WIDTH, Tile, TileReader, append_bundle_entry, decode_bundle, decode_tile,
    encode_bundle, encode_tile,
};
pub use tlog_proof::TlogProof;
pub use tree::Tree;
pub use verify::{Fault, LogFiles, OnEntry, Report, verify_log};
pub use witness::{Accepted, AddCheckpoint, Cosigned, MAX_ADD_CHECKPOINT_SIZE, Refusal, parse_stale_size};
