//! What must not pass.

use marque_ledger::{
    AddCheckpoint, Checkpoint, LedgerError, MemoryTiles, Note, Policy, Signature, Signer, TlogProof, Tree, TreeHead,
    append_bundle_entry, consistency_proof, encode_bundle, inclusion_proof, open, verify_consistency, verify_inclusion,
};

use crate::sample::{ORIGIN, SAMPLE, cosigned, leaf, note, sample_note, signer, witness};

#[test]
fn a_flipped_bit_in_any_field_of_a_cosigned_checkpoint() {
    let good = cosigned(&sample_note(1000), &[(1, 1_700_000_000)]);
    let policy = policy();
    assert!(policy.evaluate(&good).unwrap().is_quorum);
    for (place, bit) in (0..good.len()).flat_map(|place| (0..8).map(move |bit| (place, bit))) {
        let mut bytes = good.clone().into_bytes();
        bytes[place] ^= 1 << bit;
        let Ok(changed) = String::from_utf8(bytes) else { continue };
        let passes = policy.evaluate(&changed).is_ok_and(|verdict| verdict.is_quorum);
        assert!(!passes, "byte {place} bit {bit}");
    }
}

#[test]
fn a_flipped_bit_in_any_field_of_a_proof() {
    let text = proof(4, 7).to_string();
    assert!(text.parse::<TlogProof>().unwrap().verify(b"4", ORIGIN, &[signer().verifier()]).is_ok());
    for (place, bit) in (0..text.len()).flat_map(|place| (0..8).map(move |bit| (place, bit))) {
        let mut bytes = text.clone().into_bytes();
        bytes[place] ^= 1 << bit;
        let Ok(changed) = String::from_utf8(bytes) else { continue };
        let verified = changed.parse::<TlogProof>().and_then(|proof| proof.verify(b"4", ORIGIN, &[signer().verifier()]));
        assert!(verified.is_err(), "byte {place} bit {bit}");
    }
}

#[test]
fn a_flipped_bit_in_any_field_of_a_request() {
    let last = Some(TreeHead { size: 600, root: SAMPLE.roots[600] });
    let good = AddCheckpoint::new(600, &sample_note(1000), &SAMPLE.tiles).unwrap().to_string();
    let is_cosigned = |body: &str| body.parse::<AddCheckpoint>().is_ok_and(|it| it.judge(&[signer().verifier()], last).is_ok());
    assert!(is_cosigned(&good));
    for (place, bit) in (0..good.len()).flat_map(|place| (0..8).map(move |bit| (place, bit))) {
        let mut bytes = good.clone().into_bytes();
        bytes[place] ^= 1 << bit;
        let Ok(changed) = String::from_utf8(bytes) else { continue };
        assert!(!is_cosigned(&changed), "byte {place} bit {bit}");
    }
}

#[test]
fn a_hyphen_for_the_em_dash() {
    for dash in ["-", "--", "\u{2013}", "\u{2015}", "\u{2212}"] {
        assert!(Note::parse(&sample_note(7).replace('\u{2014}', dash)).is_err(), "{dash}");
    }
}

#[test]
fn leading_zeros() {
    assert!(
        Checkpoint::open(&signer().sign(&body().replace("\n7\n", "\n07\n")).unwrap(), ORIGIN, &[signer().verifier()]).is_err()
    );
    assert!(proof(4, 7).to_string().replace("index 4", "index 04").parse::<TlogProof>().is_err());
    let request = AddCheckpoint { old_size: 0, proof: vec![], checkpoint: sample_note(7) }.to_string();
    assert!(request.replace("old 0", "old 00").parse::<AddCheckpoint>().is_err());
}

#[test]
fn carriage_returns() {
    assert!(Note::parse(&sample_note(7).replace('\n', "\r\n")).is_err());
    assert!(body().replace('\n', "\r\n").parse::<Checkpoint>().is_err());
    assert!(proof(4, 7).to_string().replace('\n', "\r\n").parse::<TlogProof>().is_err());
    let request = AddCheckpoint { old_size: 0, proof: vec![], checkpoint: sample_note(7) }.to_string();
    assert!(request.replace('\n', "\r\n").parse::<AddCheckpoint>().is_err());
    assert!(policy().to_string().replace('\n', "\r\n").parse::<Policy>().is_err());
}

#[test]
fn trailing_spaces() {
    let text = proof(4, 7).to_string();
    for (place, _) in text.match_indices('\n') {
        let changed = format!("{} {}", &text[..place], &text[place..]);
        let verified = changed.parse::<TlogProof>().and_then(|proof| proof.verify(b"4", ORIGIN, &[signer().verifier()]));
        assert!(verified.is_err(), "{place}");
    }
    let (note, policy) = (cosigned(&sample_note(1000), &[(1, 1_700_000_000)]), policy());
    for (place, _) in note.match_indices('\n') {
        let changed = format!("{} {}", &note[..place], &note[place..]);
        assert!(!policy.evaluate(&changed).is_ok_and(|verdict| verdict.is_quorum), "{place}");
    }
    let request = AddCheckpoint::new(600, &sample_note(1000), &SAMPLE.tiles).unwrap().to_string();
    let last = Some(TreeHead { size: 600, root: SAMPLE.roots[600] });
    for (place, _) in request.match_indices('\n') {
        let changed = format!("{} {}", &request[..place], &request[place..]).parse::<AddCheckpoint>();
        assert!(!changed.is_ok_and(|it| it.judge(&[signer().verifier()], last).is_ok()), "{place}");
    }
    for key in [signer().verifier().to_string(), witness(1).verifier().to_string()] {
        assert!(format!("{key} ").parse::<marque_ledger::Verifier>().is_err());
        assert!(format!("{key} ").parse::<marque_ledger::WitnessVerifier>().is_err());
    }
}

#[test]
fn truncated_and_extended_proofs_at_the_sizes_where_trees_change_shape() {
    let sizes = [1, 2, 3, 255, 256, 257, 65_535, 65_536, 65_537];
    let (roots, tiles) = grown(&sizes);
    for (new, new_root) in sizes.iter().zip(&roots) {
        for (old, old_root) in sizes.iter().zip(&roots).filter(|(old, _)| *old <= new) {
            let proof = consistency_proof(*old, *new, &tiles).unwrap();
            let verify = |proof: &[_]| verify_consistency(*old, *old_root, *new, *new_root, proof);
            assert_eq!(verify(&proof), Ok(()), "{old} {new}");
            assert!(verify(&[proof.as_slice(), &[*new_root]].concat()).is_err());
            assert!(proof.is_empty() || verify(&proof[1..]).is_err() && verify(&proof[..proof.len() - 1]).is_err());
            let index = old - 1;
            let proof = inclusion_proof(index, *new, &tiles).unwrap();
            let verify = |proof: &[_]| verify_inclusion(leaf(index), index, *new, proof, *new_root);
            assert_eq!(verify(&proof), Ok(()), "{index} {new}");
            assert!(verify(&[proof.as_slice(), &[*new_root]].concat()).is_err());
            assert!(proof.is_empty() || verify(&proof[1..]).is_err() && verify(&proof[..proof.len() - 1]).is_err());
        }
    }
}

#[test]
fn trees_of_0_and_1() {
    assert_eq!(inclusion_proof(0, 1, &SAMPLE.tiles), Ok(vec![]));
    assert!(inclusion_proof(0, 0, &SAMPLE.tiles).is_err());
    assert!(verify_inclusion(leaf(0), 0, 0, &[], SAMPLE.roots[0]).is_err());
    assert_eq!(verify_inclusion(leaf(0), 0, 1, &[], SAMPLE.roots[1]), Ok(()));
    assert_eq!(verify_consistency(0, SAMPLE.roots[0], 1, SAMPLE.roots[1], &[]), Ok(()));
    assert!(verify_consistency(0, SAMPLE.roots[1], 1, SAMPLE.roots[1], &[]).is_err());
    assert!(verify_consistency(1, SAMPLE.roots[1], 0, SAMPLE.roots[0], &[]).is_err());
}

#[test]
fn a_rollback() {
    let last = Some(TreeHead { size: 600, root: SAMPLE.roots[600] });
    for old in [0, 599, 600] {
        let request = AddCheckpoint { old_size: old, proof: vec![], checkpoint: sample_note(599) };
        let refusal = request.judge(&[signer().verifier()], last).unwrap_err();
        assert!([400, 409].contains(&refusal.status()), "{old}");
    }
}

#[test]
fn the_same_size_with_a_new_root() {
    let last = Some(TreeHead { size: 600, root: SAMPLE.roots[600] });
    for proof in [vec![], vec![SAMPLE.roots[600]], consistency_proof(599, 600, &SAMPLE.tiles).unwrap()] {
        let request = AddCheckpoint { old_size: 600, proof, checkpoint: note(600, SAMPLE.roots[599]) };
        assert_eq!(request.judge(&[signer().verifier()], last).unwrap_err().status(), 422);
    }
}

#[test]
fn two_checkpoints_that_are_inconsistent() {
    let proof = consistency_proof(600, 1000, &SAMPLE.tiles).unwrap();
    let verify = |old, new| verify_consistency(600, SAMPLE.roots[old], 1000, SAMPLE.roots[new], &proof);
    assert_eq!(verify(600, 1000), Ok(()));
    assert_eq!(verify(599, 1000), Err(LedgerError::BadConsistency));
    assert_eq!(verify(600, 999), Err(LedgerError::BadConsistency));
}

#[test]
fn a_cosignature_replayed_under_another_origin_size_or_time() {
    let line = witness(1).cosign(&body(), 1_700_000_000).unwrap();
    let verify = |body: &str, line: &Signature| {
        let note = Signer::from_seed(ORIGIN, [1; 32]).unwrap().sign(body).unwrap();
        witness(1).verifier().verify(&format!("{note}{line}\n"))
    };
    let refused = Err(LedgerError::BadSignature("witness.example/w1".to_owned()));
    assert_eq!(verify(&body(), &line), Ok(Some(1_700_000_000)));
    assert_eq!(verify(&body().replace(ORIGIN, "other.example/log"), &line), refused);
    assert_eq!(verify(&body().replace("\n7\n", "\n8\n"), &line), refused);
    assert_eq!(verify(&format!("{}extension\n", body()), &line), refused);
    let mut later = line.clone();
    later.blob[7] += 1;
    assert_eq!(verify(&body(), &later), refused);
    // A cosignature is no signature of the log, nor the other way round, though the key be the same.
    let as_log = Signer::from_seed("witness.example/w1", [2; 32]).unwrap();
    let plain = Signature { key_id: as_log.verifier().key_id(), ..line };
    let note = format!("{}\n{plain}\n", body());
    assert_eq!(open(&note, &[as_log.verifier()]), Err(LedgerError::BadSignature("witness.example/w1".to_owned())));
}

#[test]
fn an_entry_of_65536_bytes() {
    let entry = vec![0; 65_536];
    assert_eq!(encode_bundle([&entry]), Err(LedgerError::EntryTooLong(65_536)));
    let mut bundle = vec![0, 0];
    assert_eq!(append_bundle_entry(&mut bundle, &entry), Err(LedgerError::EntryTooLong(65_536)));
    assert_eq!(bundle, [0, 0]);
    assert!(append_bundle_entry(&mut bundle, &entry[1..]).is_ok());
}

#[test]
fn duplicate_key_names() {
    // Two keys of one name are two keys, each known by its id.
    let twin = Signer::from_seed(ORIGIN, [9; 32]).unwrap();
    let by_twin = twin.sign(&body()).unwrap();
    let note = format!("{}{}\n", sample_note(7), by_twin.lines().next_back().unwrap());
    assert_eq!(open(&note, &[signer().verifier()]).unwrap().signatures.len(), 1);
    assert_eq!(open(&note, &[signer().verifier(), twin.verifier()]).unwrap().signatures.len(), 2);
    let forged = note.replace("\n7\n", "\n8\n");
    assert!(open(&forged, &[twin.verifier()]).is_err());
    // One key twice is one signature.
    let twice = format!("{0}{1}\n", sample_note(7), sample_note(7).lines().next_back().unwrap());
    assert_eq!(open(&twice, &[signer().verifier()]).unwrap().signatures.len(), 1);
}

fn policy() -> Policy {
    let file = format!("log {}\nwitness w1 {}\nquorum w1\n", signer().verifier(), witness(1).verifier());
    file.parse().unwrap()
}

fn proof(index: u64, size: u64) -> TlogProof {
    let path = inclusion_proof(index, size, &SAMPLE.tiles).unwrap();
    TlogProof { extra: None, index, path, checkpoint: sample_note(size) }
}

fn body() -> String {
    Note::parse(&sample_note(7)).unwrap().text
}

/// The roots at these sizes, and the tiles of the largest.
fn grown(sizes: &[u64]) -> (Vec<marque_ledger::Hash>, MemoryTiles) {
    let (mut tree, mut tiles, mut roots) = (Tree::default(), MemoryTiles::default(), Vec::new());
    for size in sizes {
        let mut full = Vec::new();
        (tree.size()..*size).for_each(|index| tree.push(leaf(index), &mut full));
        tiles.extend(full);
        roots.push(tree.root());
    }
    tiles.extend(tree.partial_tiles());
    (roots, tiles)
}
