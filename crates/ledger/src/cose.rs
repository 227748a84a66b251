//! COSE receipts of inclusion (RFC 9942), for readers that know CBOR and not C2SP.

use coset::cbor::{Value, from_reader, into_writer};
use coset::iana::{Algorithm, CwtClaimName, HeaderParameter};
use coset::{CoseSign1, CoseSign1Builder, Header, HeaderBuilder, Label, TaggedCborSerializable};

use crate::checkpoint::TreeHead;
use crate::error::{LedgerError, Result};
use crate::hash::{Hash, leaf_hash};
use crate::note::{Signer, Verifier};
use crate::proof::root_of_inclusion;

/// What a receipt of inclusion shows (RFC 9942 §5.2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CoseReceipt {
    /// The index of the entry, as the receipt says: it is not signed.
    pub index: u64,
    /// The tree. Its root is signed. Its size is not: another size can have a path of the same shape.
    pub tree: TreeHead,
}

/// A receipt that entry `index` is in the tree of `size` entries and this root, by the log's Ed25519 key: a tagged
/// `COSE_Sign1` with a detached payload, the root (RFC 9942 §5.2.1). The issuer (RFC 9597) is the name of the key, and the
/// key identifier its key id.
///
/// The caller has made sure that the root is one that the log has signed a checkpoint of. A path that no entry `index` can
/// have in a tree of that size is refused.
pub fn cose_receipt(signer: &Signer, index: u64, size: u64, path: &[Hash], root: Hash) -> Result<Vec<u8>> {
    root_of_inclusion(root, index, size, path)?;
    let path = path.iter().map(|hash| Value::Bytes(hash.0.to_vec())).collect();
    let proof = encode(&Value::Array(vec![size.into(), index.into(), Value::Array(path)]))?;
    let proofs = Value::Map(vec![(INCLUSION_PROOFS.into(), Value::Array(vec![Value::Bytes(proof)]))]);
    let receipt = CoseSign1Builder::new()
        .protected(protected(&signer.verifier()))
        .unprotected(HeaderBuilder::new().value(PROOFS, proofs).build())
        // No note's text starts as the signed bytes do: they are a CBOR array, whose first byte is not UTF-8.
        .create_detached_signature(&root.0, &[], |message| signer.sign_bytes(message).to_vec())
        .build();
    receipt.to_tagged_vec().map_err(|_| LedgerError::BadReceipt("it cannot be written"))
}

/// Checks that a receipt by this log's key shows `entry` to be in a tree of the log, and gives the tree (RFC 9942 §5.2.1).
/// A receipt has one form: that which [`cose_receipt`] writes.
pub fn verify_cose_receipt(receipt: &[u8], entry: &[u8], verifier: &Verifier) -> Result<CoseReceipt> {
    let sign1 = CoseSign1::from_tagged_slice(receipt).map_err(|_| LedgerError::BadReceipt("it is no tagged `COSE_Sign1`"))?;
    if sign1.payload.is_some() {
        return Err(LedgerError::BadReceipt("its payload is not detached"));
    }
    if sign1.protected.header != protected(verifier) {
        return Err(LedgerError::BadReceipt("its protected header is not that of this log's receipts"));
    }
    let malformed = LedgerError::BadReceipt("it has not one inclusion proof alone");
    let (size, index, path) = read_proof(&sign1.unprotected).ok_or(malformed)?;
    let root = root_of_inclusion(leaf_hash(entry), index, size, &path)?;
    let verify = |signature: &[u8], message: &[u8]| verifier.verifies(message, signature).then_some(()).ok_or(());
    let verified = sign1.verify_detached_signature(&root.0, &[], verify);
    verified.map_err(|()| LedgerError::BadSignature(verifier.name().to_owned()))?;
    if sign1.to_tagged_vec().ok().as_deref() != Some(receipt) {
        return Err(LedgerError::BadReceipt("it is not in its deterministic form"));
    }
    Ok(CoseReceipt { index, tree: TreeHead { size, root } })
}

/// Algorithm, key identifier, issuer, and the kind of tree (RFC 9942 §5.2.1, RFC 9597 §2).
fn protected(verifier: &Verifier) -> Header {
    let claims = Value::Map(vec![((CwtClaimName::Iss as i64).into(), verifier.name().into())]);
    HeaderBuilder::new()
        .algorithm(Algorithm::EdDSA)
        .key_id(verifier.key_id().to_be_bytes().to_vec())
        .value(HeaderParameter::CwtClaims as i64, claims)
        .value(DATA_STRUCTURE, RFC9162_SHA256.into())
        .build()
}

/// Size, index and path of the one proof.
fn read_proof(unprotected: &Header) -> Option<(u64, u64, Vec<Hash>)> {
    let [(Label::Int(PROOFS), Value::Map(kinds))] = unprotected.rest.as_slice() else { return None };
    let [(kind, Value::Array(proofs))] = kinds.as_slice() else { return None };
    let [Value::Bytes(proof)] = proofs.as_slice() else { return None };
    let decoded: Value = from_reader(proof.as_slice()).ok()?;
    let Value::Array(items) = &decoded else { return None };
    let [Value::Integer(size), Value::Integer(index), Value::Array(path)] = items.as_slice() else { return None };
    let path = path.iter().map(|hash| hash.as_bytes()?.as_slice().try_into().ok().map(Hash));
    let read = (u64::try_from(*size).ok()?, u64::try_from(*index).ok()?, path.collect::<Option<_>>()?);
    let is_only = HeaderBuilder::new().value(PROOFS, Value::Map(kinds.clone())).build() == *unprotected;
    (is_only && *kind == INCLUSION_PROOFS.into() && encode(&decoded).ok()? == *proof).then_some(read)
}

fn encode(value: &Value) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    into_writer(value, &mut bytes).map_err(|_| LedgerError::BadReceipt("it cannot be written"))?;
    Ok(bytes)
}

/// The header parameter `vds` (RFC 9942 §2).
const DATA_STRUCTURE: i64 = 395;
/// The header parameter `vdp` (RFC 9942 §2).
const PROOFS: i64 = 396;
/// The data structure `RFC9162_SHA256`: the tree of RFC 6962 (RFC 9942 §5.1).
const RFC9162_SHA256: i64 = 1;
/// The label of inclusion proofs (RFC 9942 §5.2).
const INCLUSION_PROOFS: i64 = -1;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proof::inclusion_proof;
    use crate::tile::MemoryTiles;
    use crate::tree::Tree;

    #[test]
    fn receipts_of_every_entry_verify() {
        for size in 1..=20 {
            let (root, tiles) = grown(size);
            for index in 0..size {
                let path = inclusion_proof(index, size, &tiles).unwrap();
                let receipt = cose_receipt(&signer(), index, size, &path, root).unwrap();
                let verify =
                    |entry: u64, by: &Signer| verify_cose_receipt(&receipt, entry.to_string().as_bytes(), &by.verifier());
                assert_eq!(verify(index, &signer()), Ok(CoseReceipt { index, tree: TreeHead { size, root } }));
                assert!(verify(index + 1, &signer()).is_err());
                assert!(verify(index, &Signer::from_seed("ledger.example/log", [3; 32]).unwrap()).is_err());
                assert!(verify(index, &Signer::from_seed("ledger.example/other", [1; 32]).unwrap()).is_err());
            }
        }
    }

    #[test]
    fn form_of_a_receipt() {
        let (root, tiles) = grown(2);
        let path = inclusion_proof(1, 2, &tiles).unwrap();
        let receipt = cose_receipt(&signer(), 1, 2, &path, root).unwrap();
        // Checked with a reader that others wrote, the PyPI package scitt-cose 0.5.0.
        let expected = concat!(
            "d284",
            "5823",
            "a4",
            "0127",
            "04447cc83a9d",
            "0fa101726c65646765722e6578616d706c652f6c6f67",
            "19018b01",
            "a119018ca12081",
            "5826",
            "830201815820db3426e878068d28d269b6c87172322ce5372b65756d0789001d34835f601c03",
            "f6",
            "5840b79825aa6cc56b96ba7d81c3668a3e393b01f21f88ca0547cf0e4e0b76aa0f7302cf9ca0adfcab982d98b232bb3ed3",
            "c0f395e71c4bf09b3ec02f5ac71557f604",
        );
        assert_eq!(receipt.iter().map(|byte| format!("{byte:02x}")).collect::<String>(), expected);
    }

    #[test]
    fn every_flipped_bit_is_found() {
        let (root, tiles) = grown(7);
        let path = inclusion_proof(4, 7, &tiles).unwrap();
        let receipt = cose_receipt(&signer(), 4, 7, &path, root).unwrap();
        let known = signer().verifier();
        let expected = verify_cose_receipt(&receipt, b"4", &known);
        for (place, bit) in (0..receipt.len()).flat_map(|place| (0..8).map(move |bit| (place, bit))) {
            let mut changed = receipt.clone();
            changed[place] ^= 1 << bit;
            // The size and index are not signed: another size can have a path of the same shape.
            if let Ok(verified) = verify_cose_receipt(&changed, b"4", &known) {
                assert_eq!(verified.tree.root, root);
                assert!(Ok(verified) != expected, "byte {place} bit {bit} says nothing");
            }
        }
        for length in 0..receipt.len() {
            assert!(verify_cose_receipt(&receipt[..length], b"4", &known).is_err(), "{length}");
        }
        assert!(verify_cose_receipt(&[receipt.as_slice(), &[0]].concat(), b"4", &known).is_err());
    }

    #[test]
    fn only_paths_that_fit_are_signed() {
        let refused =
            |index, size, length| cose_receipt(&signer(), index, size, &vec![Hash([0; 32]); length], Hash([1; 32])).is_err();
        assert!(refused(0, 0, 0) && refused(7, 7, 3) && refused(4, 7, 2) && refused(4, 7, 4) && refused(0, 1, 1));
        assert!(!refused(4, 7, 3) && !refused(0, 1, 0));
    }

    fn grown(size: u64) -> (Hash, MemoryTiles) {
        let (mut tree, mut tiles) = (Tree::default(), MemoryTiles::default());
        (0..size).for_each(|index| tree.push(leaf_hash(index.to_string().as_bytes()), &mut Vec::new()));
        tiles.extend(tree.partial_tiles());
        (tree.root(), tiles)
    }

    fn signer() -> Signer {
        Signer::from_seed("ledger.example/log", [1; 32]).unwrap()
    }
}
