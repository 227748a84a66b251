//! Every proof verifies, and no other does.

use marque_ledger::{Hash, Tree, consistency_proof, inclusion_proof, verify_consistency, verify_inclusion};
use proptest::prelude::*;
use proptest::sample::Index;

use crate::sample::{MAX_SIZE, SAMPLE, leaf};

proptest! {
    #[test]
    fn inclusion((size, index) in (1..=MAX_SIZE).prop_flat_map(|size| (Just(size), 0..size)), place: Index, bit in 0..256usize) {
        let root = SAMPLE.roots[size as usize];
        let verify = |leaf, index, proof: &[Hash], root| verify_inclusion(leaf, index, size, proof, root);
        let proof = inclusion_proof(index, size, &SAMPLE.tiles).unwrap();
        prop_assert_eq!(verify(leaf(index), index, &proof, root), Ok(()));
        prop_assert!(verify(flipped(leaf(index), bit), index, &proof, root).is_err());
        prop_assert!(verify(leaf(index), index, &proof, flipped(root, bit)).is_err());
        prop_assert!(verify(leaf(index), index + 1, &proof, root).is_err());
        for bad in spoilt(&proof, place, bit) {
            prop_assert!(verify(leaf(index), index, &bad, root).is_err());
        }
    }

    #[test]
    fn consistency((new, old) in (1..=MAX_SIZE).prop_flat_map(|new| (Just(new), 0..=new)), place: Index, bit in 0..256usize) {
        let (old_root, new_root) = (SAMPLE.roots[old as usize], SAMPLE.roots[new as usize]);
        let verify = |old_root, new_root, proof: &[Hash]| verify_consistency(old, old_root, new, new_root, proof);
        let proof = consistency_proof(old, new, &SAMPLE.tiles).unwrap();
        prop_assert_eq!(verify(old_root, new_root, &proof), Ok(()));
        prop_assert!(verify(flipped(old_root, bit), new_root, &proof).is_err());
        if old > 0 {
            prop_assert!(verify(old_root, flipped(new_root, bit), &proof).is_err());
        }
        for bad in spoilt(&proof, place, bit) {
            prop_assert!(verify(old_root, new_root, &bad).is_err());
        }
    }

    #[test]
    fn restored_tree_is_the_pushed_tree(size in 0..=MAX_SIZE) {
        let (mut tree, mut full) = (Tree::default(), Vec::new());
        (0..size).for_each(|index| tree.push(leaf(index), &mut full));
        let restored = Tree::restore(size, &SAMPLE.tiles).unwrap();
        prop_assert_eq!(restored.root(), SAMPLE.roots[size as usize]);
        prop_assert_eq!(restored, tree);
    }
}

/// The proof with a hash too many, and unless it is empty, with a hash too few and with a flipped bit.
fn spoilt(proof: &[Hash], place: Index, bit: usize) -> Vec<Vec<Hash>> {
    let mut spoilt = vec![[proof, &[Hash([0; 32])]].concat()];
    if !proof.is_empty() {
        spoilt.push(proof[1..].to_vec());
        spoilt.push(proof[..proof.len() - 1].to_vec());
        let mut changed = proof.to_vec();
        let place = place.index(changed.len());
        changed[place] = flipped(changed[place], bit);
        spoilt.push(changed);
    }
    spoilt
}

fn flipped(mut hash: Hash, bit: usize) -> Hash {
    hash.0[bit / 8] ^= 1 << (bit % 8);
    hash
}
