//! N1–N6: signed-note v1.0.0.

use marque_ledger::{LedgerError, Note, Signature, Signer, Verifier, open};
use sha2::{Digest, Sha256};

use crate::sample::{ORIGIN, sample_note, signer};

#[test]
fn n1_a_note_is_text_a_blank_line_and_signature_lines() {
    let note = sample_note(7);
    assert!(note.starts_with("ledger.example/log\n7\n"));
    assert!(note.contains("=\n\n\u{2014} ledger.example/log fMg6n") && note.ends_with('\n'));
    assert_eq!(Note::parse(&note).unwrap().to_string(), note);
    for bad in [note.trim_end().to_owned(), note.replace("\n\n", "\n"), note.replace('\u{2014}', "-")] {
        assert!(Note::parse(&bad).is_err(), "{bad:?}");
    }
}

#[test]
fn n1_text_ends_at_the_last_blank_line() {
    let text = "one\n\ntwo\n\n\n\u{2014} three\n";
    let note = signer().sign(text).unwrap();
    let opened = open(&note, &[signer().verifier()]).unwrap();
    assert_eq!(opened.text, text);
}

#[test]
fn n1_control_characters_other_than_newline_are_refused() {
    for byte in (0u8..0x20).filter(|byte| *byte != b'\n') {
        let text = format!("te{}xt\n", char::from(byte));
        assert_eq!(signer().sign(&text), Err(LedgerError::BadText));
        let note = signer().sign("text\n").unwrap().replace("text\n", &text);
        assert_eq!(Note::parse(&note), Err(LedgerError::BadText));
    }
    assert!(signer().sign("t\u{7f}ëxt \u{2028}\n").is_ok());
}

#[test]
fn n2_key_names_have_no_space_and_no_plus() {
    for bad in ["", " ", "a b", "a+b", "a\tb", "a\u{a0}b", "a\u{2003}b", "a\u{3000}", "\u{85}", "a\u{2028}", "a\u{1}"] {
        assert!(Signer::from_seed(bad, [1; 32]).is_err(), "{bad:?}");
        assert!(format!("\u{2014} {bad} AAAAAAA=").parse::<Signature>().is_err(), "{bad:?}");
    }
    for good in ["a", "oid/1.3.6.1", "ledger.example/log", "è", "\u{2014}"] {
        assert_eq!(Signer::from_seed(good, [1; 32]).unwrap().verifier().name(), good);
    }
}

#[test]
fn n3_key_ids_are_the_start_of_the_hash_of_name_type_and_key() {
    let verifier = signer().verifier();
    let digest = Sha256::digest([verifier.name().as_bytes(), b"\n\x01", &verifier.public_key()].concat());
    assert_eq!(verifier.key_id().to_be_bytes(), digest[..4]);
    let witness = crate::sample::witness(1).verifier();
    let digest = Sha256::digest([witness.name().as_bytes(), b"\n\x04", &witness.public_key()].concat());
    assert_eq!(witness.key_id().to_be_bytes(), digest[..4]);
}

#[test]
fn n4_signatures_of_other_types_are_carried_and_not_read() {
    // ECDSA, an RFC 6962 tree head, ML-DSA-44, and a type without a number.
    let lengths = [72, 80, 8 + 2420, 500];
    let line = |length: usize| Signature { name: ORIGIN.to_owned(), key_id: length as u32, blob: vec![7; length] }.to_string();
    let note = lengths.into_iter().fold(sample_note(7), |note, length| note + &line(length) + "\n");
    assert_eq!(open(&note, &[signer().verifier()]).unwrap().signatures.len(), 1);
    assert_eq!(Note::parse(&note).unwrap().signatures.len(), 5);
}

#[test]
fn n4_verifier_keys_of_other_types_are_refused() {
    let public = signer().verifier().public_key();
    for kind in [0x00, 0x02, 0x03, 0x05, 0x06, 0xfa, 0xff] {
        let digest = Sha256::digest([ORIGIN.as_bytes(), &[b'\n', kind], &public].concat());
        let id = digest[..4].iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let vkey = format!("{ORIGIN}+{id}+{}", base64(&[&[kind], public.as_slice()].concat()));
        assert!(vkey.parse::<Verifier>().is_err() && vkey.parse::<marque_ledger::WitnessVerifier>().is_err(), "{vkey}");
    }
}

#[test]
fn n5_verifier_keys_have_name_id_and_key() {
    let vkey = signer().verifier().to_string();
    assert_eq!(vkey, "ledger.example/log+7cc83a9d+AYqI4910CfGV/VLbLTy6XXLKZwm/HZQSG/N0iAG0D29c");
    assert_eq!(vkey.parse::<Verifier>(), Ok(signer().verifier()));
    let bad = [
        vkey.replace("7cc83a9d", "7CC83A9D"),
        vkey.replace("7cc83a9d", "7cc83a9"),
        vkey.replace("7cc83a9d", "7cc83a9e"),
        vkey.replace("+7cc83a9d", ""),
        vkey.replace("log", "lo g"),
        format!("{vkey}="),
        format!("{vkey}\n"),
    ];
    for bad in bad {
        assert_eq!(bad.parse::<Verifier>(), Err(LedgerError::BadVerifierKey(bad.clone())));
    }
}

#[test]
fn n6_unknown_keys_are_ignored_even_with_a_known_name_or_id() {
    let note = sample_note(7);
    let line: Signature = note.lines().next_back().unwrap().parse().unwrap();
    let same_name = Signature { key_id: line.key_id ^ 1, blob: vec![0; 64], ..line.clone() };
    let same_id = Signature { name: "stranger.example".to_owned(), blob: vec![0; 64], ..line };
    let opened = open(&format!("{note}{same_name}\n{same_id}\n"), &[signer().verifier()]).unwrap();
    assert_eq!(opened.signatures.len(), 1);
}

#[test]
fn n6_a_known_keys_bad_signature_refuses_the_note() {
    let note = sample_note(7);
    let mut line: Signature = note.lines().next_back().unwrap().parse().unwrap();
    line.blob[0] ^= 1;
    for note in [format!("{note}{line}\n"), note.replace("\n7\n", "\n8\n")] {
        assert_eq!(open(&note, &[signer().verifier()]), Err(LedgerError::BadSignature(ORIGIN.to_owned())));
    }
}

#[test]
fn n6_a_note_that_no_known_key_signed_is_refused() {
    let stranger = Signer::from_seed(ORIGIN, [9; 32]).unwrap();
    assert_eq!(open(&sample_note(7), &[stranger.verifier()]), Err(LedgerError::NotSigned));
}

#[test]
fn n6_sixteen_signatures_and_more_are_read() {
    let stranger = |number: u32| Signature { name: format!("s{number}.example"), key_id: number, blob: vec![1; 2428] };
    for count in [15, 99] {
        let lines: String = (0..count).map(|number| format!("{}\n", stranger(number))).collect();
        let (text, own) = sample_note(7).split_once("\n\n").map(|(text, own)| (text.to_owned(), own.to_owned())).unwrap();
        assert!(open(&format!("{text}\n\n{lines}{own}"), &[signer().verifier()]).is_ok(), "{count}");
    }
}

/// Base64 of four bytes or more.
pub(super) fn base64(bytes: &[u8]) -> String {
    // A signature line holds base64 of its key id and blob.
    let (id, blob) = bytes.split_first_chunk::<4>().unwrap();
    let line = Signature { name: "n".to_owned(), key_id: u32::from_be_bytes(*id), blob: blob.to_vec() }.to_string();
    line.rsplit(' ').next().unwrap().to_owned()
}
