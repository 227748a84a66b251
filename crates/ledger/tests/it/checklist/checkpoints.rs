//! C1–C3: tlog-checkpoint v1.0.0.

use marque_ledger::{Checkpoint, LedgerError, Note, TreeHead, consistency_proof};

use crate::sample::{ORIGIN, SAMPLE, sample_note, signer};

#[test]
fn c1_the_text_is_origin_size_root_and_extensions() {
    let head = checkpoint(1000);
    assert_eq!(head.body(), "ledger.example/log\n1000\nY4r6mAIpJbrP3a2xXvIv0BmcGsmcKXO2FYJD0T/OBcI=\n");
    assert_eq!(Checkpoint::open(&sample_note(1000), ORIGIN, &[signer().verifier()]), Ok(head.clone()));
    let extended = Checkpoint { extensions: vec!["more".to_owned()], ..head };
    assert_eq!(extended.body().parse(), Ok(extended.clone()));
    let empty_line = Checkpoint { extensions: vec![String::new()], ..extended };
    assert_eq!(empty_line.sign(&signer()), Err(LedgerError::BadCheckpoint));
}

#[test]
fn c1_sizes_are_decimal_without_leading_zeros() {
    let body = checkpoint(1000).body();
    for bad in ["01000", "+1000", "1000 ", " 1000", "1e3", "0x3e8", "", "-0", "00", "18446744073709551616"] {
        assert!(body.replace("\n1000\n", &format!("\n{bad}\n")).parse::<Checkpoint>().is_err(), "{bad:?}");
    }
    assert_eq!(body.replace("\n1000\n", "\n0\n").parse::<Checkpoint>().unwrap().size, 0);
}

#[test]
fn c1_the_keys_name_is_the_origin() {
    let note = Note::parse(&sample_note(7)).unwrap();
    assert_eq!(note.text.lines().next(), Some(note.signatures[0].name.as_str()));
}

#[test]
fn c2_an_inconsistent_head_is_not_signed() {
    let before = checkpoint(600).head();
    let proof = consistency_proof(600, 1000, &SAMPLE.tiles).unwrap();
    assert_eq!(checkpoint(1000).sign_next(&signer(), before, &proof), Ok(sample_note(1000)));
    assert_eq!(checkpoint(600).sign_next(&signer(), before, &[]), Ok(sample_note(600)));
    assert_eq!(checkpoint(7).sign_next(&signer(), TreeHead::default(), &[]), Ok(sample_note(7)));
    let other_root = Checkpoint { root: SAMPLE.roots[999], ..checkpoint(1000) };
    let refused = [
        other_root.sign_next(&signer(), before, &proof),
        checkpoint(1000).sign_next(&signer(), before, &proof[1..]),
        checkpoint(1000).sign_next(&signer(), TreeHead { root: SAMPLE.roots[599], ..before }, &proof),
        Checkpoint { root: SAMPLE.roots[599], ..checkpoint(600) }.sign_next(&signer(), before, &[]),
    ];
    assert!(refused.iter().all(|refused| *refused == Err(LedgerError::BadConsistency)), "{refused:?}");
    assert_eq!(checkpoint(599).sign_next(&signer(), before, &[]), Err(LedgerError::BadSizes { old: 600, new: 599 }));
}

#[test]
fn c3_the_log_signs_with_ed25519() {
    let note = Note::parse(&sample_note(7)).unwrap();
    let [signature] = note.signatures.as_slice() else { panic!("one signature") };
    assert_eq!((signature.key_id, signature.blob.len()), (signer().verifier().key_id(), 64));
    // The type byte, 0x01, begins the key: base64 of it and 32 bytes begins with `A`.
    assert!(signer().verifier().to_string().contains("+7cc83a9d+A"));
}

fn checkpoint(size: u64) -> Checkpoint {
    Checkpoint { origin: ORIGIN.to_owned(), size, root: SAMPLE.roots[size as usize], extensions: vec![] }
}
