//! What logs and witnesses say to each other, the policies that name them, and receipts for readers of CBOR.

use std::sync::LazyLock;

use marque_ledger::{
    AddCheckpoint, LedgerError, MemoryTiles, Note, Policy, Result, Signer, Tree, TreeHead, WitnessSigner, WitnessVerifier,
    add_cosignatures, cose_receipt, inclusion_proof, leaf_hash, parse_stale_size, verify_cose_receipt,
};

use crate::ledger::{LOG, ORIGIN, SIZE};
use crate::mutate::edited;

/// [`Policy`]: what is refused is refused with a line that the file has, and every witness has or has not cosigned.
pub fn ledger_policy(data: &[u8]) {
    match Policy::from_bytes(data) {
        Ok(policy) => {
            let printed = policy.to_string();
            assert_eq!(printed.parse::<Policy>().as_ref(), Ok(&policy), "it is printed as `{printed}`");
            for note in [LOG.checkpoint(), WITNESS.note.as_str()] {
                let Ok(verdict) = policy.evaluate(note) else { continue };
                assert_eq!(verdict.cosigned.len() + verdict.missing.len(), policy.witnesses().count());
                assert_eq!(verdict.checkpoint.size, SIZE);
                assert!(verdict.is_signed || policy.logs().is_empty(), "no log of the policy signed it");
            }
        }
        Err(error) => {
            let line = if let LedgerError::BadPolicy { line, .. } = &error { *line } else { 0 };
            let lines = data.split(|byte| *byte == b'\n').count();
            assert!((1..=lines).contains(&line), "line {line} of {lines}: {error}");
        }
    }
}

/// [`add_cosignatures`]: a witness's answer adds nothing but what that witness signed, and the second time nothing.
pub fn ledger_cosignatures(data: &[u8]) {
    let Ok(lines) = std::str::from_utf8(data) else { return };
    if let Ok(size) = parse_stale_size(lines) {
        assert_eq!(format!("{size}\n"), lines);
    }
    if let Ok(key) = lines.parse::<WitnessVerifier>() {
        assert_eq!(key.to_string(), lines);
    }
    let known = std::slice::from_ref(&WITNESS.key);
    let Ok(note) = add_cosignatures(LOG.checkpoint(), lines, known) else { return };
    assert_eq!(add_cosignatures(&note, lines, known).as_ref(), Ok(&note));
    assert!(note.starts_with(LOG.checkpoint()), "the log's own lines are gone: {note}");
    if let Ok(Some(time)) = WITNESS.key.verify(&note) {
        assert!(TIMES.contains(&time), "the witness never said `{time}`");
    }
    assert_eq!(Note::parse(&note).map(|note| note.signatures.len() <= 2), Ok(true), "a stranger's line is in it: {note}");
}

/// [`AddCheckpoint`]: one way of being written; what is cosigned is the one head that the log ever signed.
pub fn ledger_add_checkpoint(data: &[u8]) {
    let Ok(body) = std::str::from_utf8(data) else { return };
    let Ok(request) = body.parse::<AddCheckpoint>() else { return };
    assert_eq!(request.to_string(), body);
    let head = TreeHead { size: SIZE, root: LOG.root };
    for last in [None, Some(TreeHead { size: 3, root: WITNESS.three }), Some(head)] {
        match request.judge(std::slice::from_ref(&LOG.verifier), last) {
            Ok(accepted) => {
                let cosigned = accepted.cosign(&WITNESS.signer, 1);
                assert_eq!(cosigned.as_ref().map(|cosigned| cosigned.head), Ok(head), "{request:?}");
            }
            Err(refusal) => assert!((400..500).contains(&refusal.status()), "{refusal:?}"),
        }
    }
    assert!(request.judge(&[], None).is_err(), "a log that nobody knows");
}

/// [`verify_cose_receipt`]: bytes as they come, and a good receipt with some bytes changed, three bytes to a change: the place
/// and the value. Whatever passes leads to the root that was signed, and only for its entry.
pub fn ledger_cose(data: &[u8]) {
    for receipt in [data.to_vec(), edited(&WITNESS.receipt, data)] {
        if let Ok(found) = verify_cose_receipt(&receipt, ENTRY, &LOG.verifier) {
            assert_eq!(found.tree.root, LOG.root, "{receipt:02x?}");
            assert!(verify_cose_receipt(&receipt, b"another entry", &LOG.verifier).is_err(), "{receipt:02x?}");
        }
    }
}

/// The witness, and what was made for it, the same each time.
struct Witness {
    signer: WitnessSigner,
    key: WitnessVerifier,
    /// The log's checkpoint with the cosignature.
    note: String,
    /// The root over the first three entries.
    three: marque_ledger::Hash,
    /// Of [`ENTRY`].
    receipt: Vec<u8>,
}

impl Witness {
    fn make() -> Result<Self> {
        let signer = WitnessSigner::from_seed("witness.example/w1", [2; 32])?;
        let line = signer.cosign(&Note::parse(LOG.checkpoint())?.text, 1_700_000_000)?;
        let note = format!("{}{line}\n", LOG.checkpoint());
        let (mut tiles, mut full, mut tree) = (MemoryTiles::default(), Vec::new(), Tree::default());
        let mut three = tree.root();
        for index in 0..SIZE {
            tree.push(leaf_hash(index.to_string().as_bytes()), &mut full);
            if index == 2 {
                three = tree.root();
            }
        }
        tiles.extend(full);
        tiles.extend(tree.partial_tiles());
        let path = inclusion_proof(7, SIZE, &tiles)?;
        let receipt = cose_receipt(&Signer::from_seed(ORIGIN, [1; 32])?, 7, SIZE, &path, tree.root())?;
        Ok(Self { key: signer.verifier(), signer, note, three, receipt })
    }
}

static WITNESS: LazyLock<Witness> = LazyLock::new(sample);

#[expect(clippy::expect_used, reason = "the sample is fixed")]
fn sample() -> Witness {
    Witness::make().expect("the sample can be made")
}

/// Entry 7 of the log.
const ENTRY: &[u8] = b"7";
/// When the witness cosigned: these lines are in the corpus.
const TIMES: [u64; 2] = [1_700_000_000, 1_700_000_600];
