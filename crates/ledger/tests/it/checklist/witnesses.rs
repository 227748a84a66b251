//! W1–W4: tlog-cosignature v1.0.1 and tlog-witness v1.0.0.

use marque_ledger::{
    Accepted, AddCheckpoint, Checkpoint, Hash, LedgerError, Note, Refusal, Signature, Signer, TreeHead, WitnessVerifier,
    add_cosignatures, empty_root, open, parse_stale_size, witness_path,
};

use super::notes::base64;
use crate::sample::{ORIGIN, SAMPLE, cosigned, note, sample_note, signer, witness};

#[test]
fn w1_a_cosignature_is_key_id_time_and_signature() {
    let text = Note::parse(&sample_note(1000)).unwrap().text;
    let line = witness(1).cosign(&text, 1_700_000_000).unwrap();
    assert_eq!(line.blob.len(), 72);
    assert_eq!(line.blob[..8], 1_700_000_000u64.to_be_bytes());
    // The same bytes as a note signed with the witness's seed: the prefix is all that differs.
    let message = format!("cosignature/v1\ntime 1700000000\n{text}");
    let plain = Signer::from_seed("witness.example/w1", [2; 32]).unwrap().sign(&message).unwrap();
    assert_eq!(line.blob[8..], Note::parse(&plain).unwrap().signatures[0].blob);
}

#[test]
fn w1_times_are_not_zero_and_fit_63_bits() {
    let text = Note::parse(&sample_note(7)).unwrap().text;
    for time in [0, 1 << 63] {
        assert_eq!(witness(1).cosign(&text, time), Err(LedgerError::BadTime(time)));
        let mut line = witness(1).cosign(&text, 1).unwrap();
        line.blob[..8].copy_from_slice(&time.to_be_bytes());
        let verified = witness(1).verifier().verify(&format!("{}{line}\n", sample_note(7)));
        assert_eq!(verified, Err(LedgerError::BadTime(time)));
    }
}

/// ML-DSA-44, which is not spoken here.
#[test]
fn w2_cosignatures_of_ml_dsa_are_carried_and_do_not_count() {
    let known = [witness(1).verifier()];
    let line = Signature { name: known[0].name().to_owned(), key_id: 6, blob: vec![7; 8 + 2420] };
    let note = format!("{}{line}\n", sample_note(7));
    assert_eq!((known[0].verify(&note), open(&note, &[signer().verifier()]).is_ok()), (Ok(None), true));
    let plain = format!("{}\n", witness(1).cosign(&Note::parse(&note).unwrap().text, 9).unwrap());
    assert_eq!(add_cosignatures(&note, &plain, &known), Ok(note + &plain));
    assert_eq!(add_cosignatures(&sample_note(7), &format!("{line}\n"), &known), Ok(sample_note(7)), "it is no answer");
    let key = format!("{}+00000006+{}", known[0].name(), base64(&[&[6_u8], [7_u8; 1312].as_slice()].concat()));
    assert!(key.parse::<WitnessVerifier>().is_err());
}

#[test]
fn w3_requests_have_a_size_hashes_a_blank_line_and_a_checkpoint() {
    let request = AddCheckpoint::new(600, &sample_note(1000), &SAMPLE.tiles).unwrap();
    let body = request.to_string();
    assert!(body.starts_with("old 600\n") && body.ends_with(&format!("=\n\n{}", sample_note(1000))));
    assert_eq!((body.parse().as_ref(), request.origin()), (Ok(&request), ORIGIN));
    assert_eq!(
        AddCheckpoint::new(0, &sample_note(7), &SAMPLE.tiles).unwrap().to_string(),
        format!("old 0\n\n{}", sample_note(7))
    );
    let shrunk = AddCheckpoint::new(8, &sample_note(7), &SAMPLE.tiles);
    assert_eq!(shrunk, Err(LedgerError::BadSizes { old: 8, new: 7 }));
}

#[test]
fn w3_more_than_63_hashes_are_refused() {
    let request = |length| AddCheckpoint { old_size: 1, proof: vec![empty_root(); length], checkpoint: sample_note(7) };
    assert!(request(63).to_string().parse::<AddCheckpoint>().is_ok());
    assert!(request(64).to_string().parse::<AddCheckpoint>().is_err());
}

#[test]
fn w3_404_the_origin_is_unknown() {
    assert_eq!(
        refusal(&request(0, 7).judge(&[], None)),
        (404, "text/plain; charset=utf-8", "the log is not known here\n".to_owned())
    );
}

#[test]
fn w3_403_no_trusted_key_signed() {
    let stranger = Signer::from_seed(ORIGIN, [9; 32]).unwrap();
    assert_eq!(refusal(&request(0, 7).judge(&[stranger.verifier()], None)).0, 403);
}

#[test]
fn w3_403_a_trusted_keys_signature_does_not_verify() {
    let mut request = request(0, 7);
    request.checkpoint = request.checkpoint.replace("\n7\n", "\n8\n");
    assert_eq!(refusal(&judge(&request, None)).0, 403);
}

#[test]
fn w3_unknown_signatures_are_ignored_and_not_passed_on() {
    let mut request = request(0, 7);
    request.checkpoint = cosigned(&request.checkpoint, &[(2, 5)]);
    let kept = judge(&request, None).unwrap().cosign(&witness(1), 9).unwrap().checkpoint;
    assert_eq!(kept, cosigned(&sample_note(7), &[(1, 9)]));
}

#[test]
fn w3_400_the_old_size_is_larger_than_the_new() {
    let request = AddCheckpoint { old_size: 8, proof: vec![], checkpoint: sample_note(7) };
    assert_eq!(refusal(&judge(&request, Some(head(8)))).0, 400);
    assert_eq!(refusal(&judge(&request, None)).0, 400);
}

#[test]
fn w3_400_what_is_signed_is_no_checkpoint() {
    let checkpoint = signer().sign("ledger.example/log\nseven\n").unwrap();
    let request = AddCheckpoint { old_size: 0, proof: vec![], checkpoint };
    assert_eq!(refusal(&judge(&request, None)).0, 400);
    let request = AddCheckpoint { checkpoint: "ledger.example/log\n".to_owned(), ..request };
    assert_eq!(refusal(&judge(&request, None)).0, 400);
}

#[test]
fn w3_409_the_old_size_is_not_that_of_the_last_cosigned() {
    for (old, last) in [(600, Some(head(700))), (700, Some(head(600))), (600, None), (0, Some(head(600)))] {
        let size = last.map_or(0, |last| last.size);
        let (status, content_type, body) = refusal(&judge(&request(old, 1000), last));
        assert_eq!((status, content_type, body.as_str()), (409, "text/x.tlog.size", format!("{size}\n").as_str()));
        assert_eq!(parse_stale_size(&body), Ok(size));
    }
}

#[test]
fn w3_409_is_followed_by_a_request_that_is_cosigned() {
    let last = Some(head(600));
    let (_, _, body) = refusal(&judge(&request(0, 1000), last));
    assert!(judge(&request(parse_stale_size(&body).unwrap(), 1000), last).is_ok());
}

#[test]
fn w3_422_the_proof_does_not_hold() {
    let mut request = request(600, 1000);
    request.proof[0].0[0] ^= 1;
    assert_eq!(refusal(&judge(&request, Some(head(600)))).0, 422);
    request.proof.clear();
    assert_eq!(refusal(&judge(&request, Some(head(600)))).0, 422);
}

#[test]
fn w3_422_an_empty_tree_has_a_root_that_is_not_empty() {
    let request = AddCheckpoint { old_size: 0, proof: vec![], checkpoint: note(0, SAMPLE.roots[1]) };
    assert_eq!(refusal(&judge(&request, None)).0, 422);
}

#[test]
fn w3_422_the_same_size_has_another_root() {
    let request = AddCheckpoint { old_size: 600, proof: vec![], checkpoint: note(600, SAMPLE.roots[601]) };
    assert_eq!(refusal(&judge(&request, Some(head(600)))).0, 422);
}

#[test]
fn w3_422_there_is_a_proof_from_size_0() {
    let request = AddCheckpoint { proof: vec![SAMPLE.roots[7]], ..request(0, 7) };
    assert_eq!(refusal(&judge(&request, None)).0, 422);
}

#[test]
fn w3_200_answers_with_the_cosignature_and_what_to_keep_before() {
    for (old, last) in [(0, None), (0, Some(head(0))), (600, Some(head(600))), (1000, Some(head(1000)))] {
        let done = judge(&request(old, 1000), last).unwrap().cosign(&witness(1), 1_700_000_000).unwrap();
        assert_eq!(done.head, head(1000));
        assert_eq!(done.answer.matches('\n').count(), 1);
        assert!(done.answer.starts_with("\u{2014} witness.example/w1 ") && done.answer.ends_with('\n'));
        assert_eq!(done.checkpoint, sample_note(1000) + &done.answer);
        assert_eq!(witness(1).verifier().verify(&done.checkpoint), Ok(Some(1_700_000_000)));
    }
    let done = judge(&request(0, 0), None).unwrap().cosign(&witness(1), 1).unwrap();
    assert_eq!(done.head, TreeHead::default());
}

#[test]
fn w4_the_checkpoint_is_at_the_hash_of_the_origin_with_both_signatures() {
    let hash = "bdc1ad3be5123bf026497b9767b37359fe3392f9749493f2b22c7b481ff13201";
    assert_eq!(witness_path(ORIGIN), format!("{hash}/checkpoint"));
    let kept = judge(&request(0, 7), None).unwrap().cosign(&witness(1), 9).unwrap().checkpoint;
    assert!(open(&kept, &[signer().verifier()]).is_ok());
    assert!(Checkpoint::open(&kept, ORIGIN, &[signer().verifier()]).is_ok());
    assert_eq!(witness(1).verifier().verify(&kept), Ok(Some(9)));
}

fn judge(request: &AddCheckpoint, last: Option<TreeHead>) -> Result<Accepted, Refusal> {
    request.judge(&[signer().verifier()], last)
}

fn refusal(judged: &Result<Accepted, Refusal>) -> (u16, &'static str, String) {
    let refusal = judged.as_ref().unwrap_err();
    (refusal.status(), refusal.content_type(), refusal.body())
}

fn request(old: u64, new: u64) -> AddCheckpoint {
    AddCheckpoint::new(old, &sample_note(new), &SAMPLE.tiles).unwrap()
}

fn head(size: u64) -> TreeHead {
    let root: Hash = SAMPLE.roots[size as usize];
    TreeHead { size, root }
}
