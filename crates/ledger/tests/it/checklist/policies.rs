//! P1 and P2: tlog-proof and tlog-policy.

use marque_ledger::{Cosigner, LedgerError, Policy, Signer, TlogProof, inclusion_proof};

use crate::sample::{ORIGIN, SAMPLE, cosigned, sample_note, signer, witness};

#[test]
fn p1_a_proof_has_index_hashes_and_the_checkpoint_as_it_is() {
    let proof = proof(&cosigned(&sample_note(7), &[(1, 9)]));
    let text = proof.to_string();
    let (head, checkpoint) = text.split_once("\n\n").unwrap();
    let lines: Vec<&str> = head.lines().collect();
    assert_eq!(lines[..2], ["c2sp.org/tlog-proof@v1", "index 4"]);
    assert_eq!(lines[2..], proof.path.iter().map(ToString::to_string).collect::<Vec<_>>());
    assert_eq!((lines.len(), checkpoint), (5, proof.checkpoint.as_str()));
    assert_eq!(text.parse(), Ok(proof.clone()));
    let extra = TlogProof { extra: Some(b"more".to_vec()), ..proof };
    assert!(extra.to_string().starts_with("c2sp.org/tlog-proof@v1\nextra bW9yZQ==\nindex 4\n"));
    assert_eq!(extra.to_string().parse(), Ok(extra));
}

#[test]
fn p1_a_proof_is_of_a_tree_that_a_quorum_cosigned() {
    let policy = policy(&format!("group g 2 w1 w2 w3\nquorum g\nlog {}\n", signer().verifier()));
    let verify = |note: &str, entry: &[u8]| proof(note).verify_with_policy(entry, &policy);
    let enough = cosigned(&sample_note(7), &[(3, 9), (1, 10)]);
    assert_eq!(verify(&enough, b"4").unwrap().newest(), Some(10));
    assert_eq!(verify(&enough, b"5"), Err(LedgerError::BadInclusion));
    assert_eq!(verify(&cosigned(&sample_note(7), &[(3, 9)]), b"4"), Err(LedgerError::NoQuorum));
    assert_eq!(verify(&cosigned(&sample_note(7), &[(3, 9), (3, 10)]), b"4"), Err(LedgerError::NoQuorum));
    let no_logs = self::policy("quorum none\n");
    assert_eq!(proof(&enough).verify_with_policy(b"4", &no_logs), Err(LedgerError::NotSigned));
}

#[test]
fn p2_the_example_of_the_specification() {
    let key = |number| witness(number).verifier();
    let file = format!(
        "log {}\n\nwitness X1 {}\nwitness X2 {}\nwitness X3 {}\ngroup X-witnesses 2 X1 X2 X3\n\nwitness Y1 {}\nwitness Y2 {}\n\
         witness Y3 {}\ngroup Y-witnesses any Y1 Y2 Y3\n\ngroup X-and-Y all X-witnesses Y-witnesses\nquorum X-and-Y\n",
        signer().verifier(),
        key(1),
        key(2),
        key(3),
        key(4),
        key(5),
        key(6)
    );
    let policy: Policy = file.parse().unwrap();
    let is_quorum = |by: &[u8]| {
        let by: Vec<(u8, u64)> = by.iter().map(|number| (*number, 9)).collect();
        policy.evaluate(&cosigned(&sample_note(7), &by)).unwrap().is_quorum
    };
    assert!(is_quorum(&[1, 2, 4]) && is_quorum(&[1, 3, 6]) && is_quorum(&[1, 2, 3, 4, 5, 6]));
    assert!(!is_quorum(&[]) && !is_quorum(&[1, 2, 3]) && !is_quorum(&[1, 4, 5, 6]) && !is_quorum(&[1, 1, 4]));
    assert_eq!((policy.logs().len(), policy.witnesses().count()), (1, 6));
}

#[test]
fn p2_a_verdict_says_who_cosigned_and_when() {
    let policy = policy("quorum w2\n");
    let verdict = policy.evaluate(&cosigned(&sample_note(7), &[(3, 9), (1, 10)])).unwrap();
    let cosigner = |name: &str, time| Cosigner { name: name.to_owned(), time };
    assert_eq!(verdict.cosigned, [cosigner("w1", 10), cosigner("w3", 9)]);
    assert_eq!((verdict.missing.as_slice(), verdict.is_quorum, verdict.is_signed), (["w2".to_owned()].as_slice(), false, false));
    assert_eq!((verdict.newest(), verdict.checkpoint.size), (Some(10), 7));
}

#[test]
fn p2_any_one_of_the_logs_signs_under_its_own_name() {
    let other = Signer::from_seed("other.example/log", [8; 32]).unwrap();
    let both: Policy = format!("log {}\nlog {} https://u\nquorum none", other.verifier(), signer().verifier()).parse().unwrap();
    assert!(both.evaluate(&sample_note(7)).unwrap().is_signed);
    assert_eq!(both.logs()[1].url.as_deref(), Some("https://u"));
    let one: Policy = format!("log {}\nquorum none\n", other.verifier()).parse().unwrap();
    assert_eq!(one.evaluate(&sample_note(7)), Err(LedgerError::NotSigned));
    // A key of the policy that signs another log's name does not count.
    let text = sample_note(7).replace(ORIGIN, "third.example/log");
    let forged = other.sign(&format!("{}\n", text.split_once("\n\n").unwrap().0)).unwrap();
    assert_eq!(both.evaluate(&forged), Err(LedgerError::NotSigned));
}

#[test]
fn p2_a_known_witness_that_does_not_verify_refuses_the_note() {
    let mut line = witness(1).cosign("ledger.example/log\n8\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n", 9).unwrap();
    line.blob[8] ^= 1;
    let note = format!("{}{line}\n", sample_note(7));
    assert_eq!(policy("quorum none\n").evaluate(&note), Err(LedgerError::BadSignature("witness.example/w1".to_owned())));
}

#[test]
fn p2_space_comments_and_a_missing_last_newline_are_read() {
    let file = format!(
        "\n \t\n# comment\n\t # another, not UTF-8: \u{e9}\n\twitness  w1\t{}\thttps://w1 \nquorum w1",
        witness(1).verifier()
    );
    let bytes: Vec<u8> = file.chars().map(|c| c as u8).collect();
    let policy = Policy::from_bytes(&bytes).unwrap();
    let (name, read) = policy.witnesses().next().unwrap();
    assert_eq!((name, read.url.as_deref(), &read.verifier), ("w1", Some("https://w1"), &witness(1).verifier()));
}

#[test]
fn p2_every_refusal_names_its_line() {
    let (log, key) = (signer().verifier().to_string(), witness(4).verifier().to_string());
    let renamed = Signer::from_seed("renamed.example", [1; 32]).unwrap().verifier();
    let cases = [
        ("", "line `3` of the policy is the last, and none is a quorum".to_owned()),
        ("quorum none\nquorum none\n", "line `5` of the policy is a second quorum".to_owned()),
        ("quorum w4\n", "line `4` of the policy names `w4`, which no line before it defines".to_owned()),
        ("quorum\n", "line `4` of the policy has too few or too many words for `quorum`".to_owned()),
        ("quorum w1 w2\n", "line `4` of the policy has too few or too many words for `quorum`".to_owned()),
        ("group g any w1 g\n", "line `4` of the policy names `g`, which no line before it defines".to_owned()),
        ("group g any none\n", "line `4` of the policy names `none`, which no line before it defines".to_owned()),
        ("group g any\n", "line `4` of the policy has too few or too many words for `group`".to_owned()),
        ("group g 0 w1\n", "line `4` of the policy needs any, all or a number from 1 to 1".to_owned()),
        ("group g 3 w1 w2\n", "line `4` of the policy needs any, all or a number from 1 to 2".to_owned()),
        ("group g 01 w1\n", "line `4` of the policy needs any, all or a number from 1 to 1".to_owned()),
        ("group g most w1\n", "line `4` of the policy needs any, all or a number from 1 to 1".to_owned()),
        ("group g any w1 w1\n", "line `4` of the policy lists `w1`, which is in a group already".to_owned()),
        ("group g any w1\ngroup h any w1\n", "line `5` of the policy lists `w1`, which is in a group already".to_owned()),
        ("group w1 any w2\n", "line `4` of the policy defines `w1`, which is defined already".to_owned()),
        ("group none any w2\n", "line `4` of the policy defines `none`, which is defined already".to_owned()),
        (&format!("witness w1 {key}\n"), "line `4` of the policy defines `w1`, which is defined already".to_owned()),
        (
            &format!("witness w4 {}\n", witness(1).verifier()),
            format!("line `4` of the policy has the public key of another witness: `{}`", witness(1).verifier()),
        ),
        (
            &format!("log {log}\nlog {renamed}\n"),
            format!("line `5` of the policy has the public key of another log: `{renamed}`"),
        ),
        (
            &format!("witness w4 {log}\n"),
            "line `4` of the policy has a key of the wrong kind: not an Ed25519 verifier key, one line as `name+id+key`"
                .to_owned(),
        ),
        (
            &format!("log {key}\n"),
            "line `4` of the policy has a key of the wrong kind: not an Ed25519 verifier key, one line as `name+id+key`"
                .to_owned(),
        ),
        ("quorums none\n", "line `4` of the policy starts with `quorums`, not with log, witness, group or quorum".to_owned()),
        ("quorum none\r\n", "line `4` of the policy has a control character".to_owned()),
        ("# \u{7f}\n", "line `4` of the policy has a control character".to_owned()),
    ];
    for (rest, message) in cases {
        assert_eq!(text(rest).parse::<Policy>().unwrap_err().to_string(), message, "{rest}");
    }
    let latin = [text("quorum w1").as_bytes(), b"\xe9\n"].concat();
    assert_eq!(Policy::from_bytes(&latin).unwrap_err().to_string(), "line `4` of the policy is not UTF-8");
    assert_eq!("".parse::<Policy>().unwrap_err().to_string(), "line `1` of the policy is the last, and none is a quorum");
}

#[test]
fn p2_32_logs_witnesses_and_groups_are_read() {
    let mut file = String::new();
    for number in 1..=200u8 {
        let log = Signer::from_seed("log.example", [number; 32]).unwrap();
        let name = if number == 1 { "w1".to_owned() } else { format!("w{number} g{}", number - 1) };
        file +=
            &format!("log {}\nwitness w{number} {}\ngroup g{number} all {name}\n", log.verifier(), witness(number).verifier());
    }
    let policy: Policy = (file + "quorum g200\n").parse().unwrap();
    assert_eq!((policy.logs().len(), policy.witnesses().count()), (200, 200));
    assert_eq!(policy.to_string().parse(), Ok(policy));
}

/// A policy with three witnesses that end at line 3, and the rest.
fn policy(rest: &str) -> Policy {
    text(rest).parse().unwrap()
}

fn text(rest: &str) -> String {
    let line = |number| format!("witness w{number} {}\n", witness(number).verifier());
    (1..=3).map(line).collect::<String>() + rest
}

fn proof(note: &str) -> TlogProof {
    let path = inclusion_proof(4, 7, &SAMPLE.tiles).unwrap();
    TlogProof { extra: None, index: 4, path, checkpoint: note.to_owned() }
}
