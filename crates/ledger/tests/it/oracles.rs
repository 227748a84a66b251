//! Agreement with crates that others wrote.

use ct_merkle::mem_backed_tree::MemoryBackedTree;
use marque_ledger::{Hash, Tile, consistency_proof, inclusion_proof};
use proptest::prelude::*;
use sha2::Sha256;
use signed_note::{Note, StandardVerifier, VerifierList};

use crate::sample::{MAX_SIZE, SAMPLE, files, leaf, signer};

#[test]
fn roots_agree_with_ct_merkle() {
    let mut oracle = MemoryBackedTree::<Sha256, String>::new();
    for (size, root) in (0u64..).zip(&SAMPLE.roots).take(600) {
        assert_eq!(oracle.root().as_bytes().to_vec(), root.0, "size {size}");
        oracle.push(size.to_string());
    }
}

#[test]
fn notes_agree_with_signed_note_and_tlog_tiles() {
    let verifier = StandardVerifier::new(&signer().verifier().to_string()).unwrap();
    let note = Note::from_bytes(&files(1000).0["checkpoint"]).unwrap();
    let (verified, _) = note.verify(&VerifierList::new(vec![Box::new(verifier)])).unwrap();
    assert_eq!(verified.len(), 1);
    let checkpoint = tlog_tiles::Checkpoint::from_bytes(note.text()).unwrap();
    assert_eq!((checkpoint.size(), checkpoint.hash().0), (1000, SAMPLE.roots[1000].0));
}

proptest! {
    #[test]
    fn inclusion_proofs_agree_with_tlog_tiles((size, index) in (1..=MAX_SIZE).prop_flat_map(|size| (Just(size), 0..size))) {
        let proof = inclusion_proof(index, size, &SAMPLE.tiles).unwrap().into_iter().map(theirs).collect::<Vec<_>>();
        let root = theirs(SAMPLE.roots[size as usize]);
        prop_assert!(tlog_tiles::check_record(&proof, size, root, index, theirs(leaf(index))).is_ok());
    }

    #[test]
    fn consistency_proofs_agree_with_tlog_tiles((new, old) in (1..=MAX_SIZE).prop_flat_map(|new| (Just(new), 1..=new))) {
        let proof = consistency_proof(old, new, &SAMPLE.tiles).unwrap().into_iter().map(theirs).collect::<Vec<_>>();
        let (old_root, new_root) = (theirs(SAMPLE.roots[old as usize]), theirs(SAMPLE.roots[new as usize]));
        prop_assert!(tlog_tiles::check_tree(&proof, new, new_root, old, old_root).is_ok());
    }

    #[test]
    fn paths_agree_with_tlog_tiles(level in 0..=63u8, index: u32, width in 1..=256u16) {
        let index = u64::from(index);
        let path = tlog_tiles::Tile::new(8, level, index, u32::from(width), false).path();
        let tile = Tile { level, index, width };
        prop_assert_eq!(tile.path(), path.replacen("tile/8/", "tile/", 1));
        prop_assert_eq!(tile.path().parse::<Tile>(), Ok(tile));
    }
}

fn theirs(hash: Hash) -> tlog_tiles::Hash {
    tlog_tiles::Hash(hash.0)
}
