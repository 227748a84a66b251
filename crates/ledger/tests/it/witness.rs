//! A witness never cosigns a fork or a rollback, in whatever order requests come.

use marque_ledger::{AddCheckpoint, Hash, MemoryTiles, Tree, TreeHead, consistency_proof, leaf_hash, parse_stale_size};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

use crate::sample::{note, signer, witness};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn what_is_cosigned_is_one_history(common in 0..=LARGEST, requests in vec(request(), 1..24)) {
        let forks = [Fork::grow(common, "a"), Fork::grow(common, "b")];
        let (mut last, mut history) = (None, Vec::<TreeHead>::new());
        for request in requests {
            let body = request.body(&forks, last);
            let judged = body.to_string().parse::<AddCheckpoint>().unwrap().judge(&[signer().verifier()], last);
            match judged {
                Ok(accepted) => {
                    let done = accepted.cosign(&witness(1), 1_700_000_000).unwrap();
                    prop_assert!(last.is_none_or(|last: TreeHead| last.size <= done.head.size), "a rollback");
                    let is_one = |old: &TreeHead| forks.iter().any(|fork| fork.has(*old) && fork.has(done.head));
                    prop_assert!(history.iter().all(is_one), "{:?} after {:?}", done.head, history);
                    history.push(done.head);
                    last = Some(done.head);
                }
                Err(refusal) => {
                    prop_assert!(!request.must_be_cosigned(&forks, last), "{refusal:?}");
                    if refusal.status() == 409 {
                        prop_assert_eq!(parse_stale_size(&refusal.body()), Ok(last.unwrap_or_default().size));
                    }
                }
            }
        }
    }
}

/// One of two logs that share a beginning.
struct Fork {
    roots: Vec<Hash>,
    tiles: MemoryTiles,
}

impl Fork {
    fn grow(common: u64, name: &str) -> Self {
        let (mut tree, mut tiles) = (Tree::default(), MemoryTiles::default());
        let mut roots = vec![tree.root()];
        for index in 0..LARGEST {
            let entry = if index < common { index.to_string() } else { format!("{name}{index}") };
            tree.push(leaf_hash(entry.as_bytes()), &mut Vec::new());
            roots.push(tree.root());
        }
        tiles.extend(tree.partial_tiles());
        Self { roots, tiles }
    }

    fn has(&self, head: TreeHead) -> bool {
        self.roots[head.size as usize] == head.root
    }
}

/// A request, honest or not: the checkpoint of one fork, a proof from the tiles of the same or of the other.
#[derive(Clone, Debug)]
struct Request {
    fork: usize,
    /// Nothing for what the witness has cosigned last.
    old: Option<u64>,
    new: u64,
    proof_of_other: bool,
    damage: Damage,
}

#[derive(Clone, Copy, Debug)]
enum Damage {
    None,
    Cut,
    Extended,
    Flipped(Index),
}

impl Request {
    fn body(&self, forks: &[Fork; 2], last: Option<TreeHead>) -> AddCheckpoint {
        let old_size = self.old.unwrap_or(last.unwrap_or_default().size);
        let of = if self.proof_of_other { 1 - self.fork } else { self.fork };
        let mut proof = consistency_proof(old_size, self.new, &forks[of].tiles).unwrap_or_default();
        match self.damage {
            Damage::None => {}
            Damage::Cut => proof.truncate(proof.len().saturating_sub(1)),
            Damage::Extended => proof.push(forks[of].roots[1]),
            Damage::Flipped(place) => {
                if let Some(last) = proof.len().checked_sub(1) {
                    proof[place.index(last + 1)].0[7] ^= 1;
                }
            }
        }
        AddCheckpoint { old_size, proof, checkpoint: note(self.new, forks[self.fork].roots[self.new as usize]) }
    }

    /// An honest log that knows what was cosigned last is never refused.
    fn must_be_cosigned(&self, forks: &[Fork; 2], last: Option<TreeHead>) -> bool {
        let last = last.unwrap_or_default();
        let is_honest = self.old.is_none() && !self.proof_of_other && matches!(self.damage, Damage::None);
        is_honest && self.new >= last.size && forks[self.fork].has(last)
    }
}

fn request() -> impl Strategy<Value = Request> {
    let damage = prop_oneof![
        4 => Just(Damage::None),
        1 => Just(Damage::Cut),
        1 => Just(Damage::Extended),
        1 => any::<Index>().prop_map(Damage::Flipped),
    ];
    let old = prop_oneof![2 => Just(None), 1 => (0..=LARGEST).prop_map(Some)];
    (0..2usize, old, 0..=LARGEST, prop::bool::weighted(0.25), damage)
        .prop_map(|(fork, old, new, proof_of_other, damage)| Request { fork, old, new, proof_of_other, damage })
}

const LARGEST: u64 = 40;
