//! Every line of the wire formats that Marque speaks, each a test whose name starts with the line's mark.
//!
//! | mark | specification |
//! |---|---|
//! | T1–T6 | tlog-tiles v0.1.0 |
//! | N1–N6 | signed-note v1.0.0 |
//! | C1–C3 | tlog-checkpoint v1.0.0 |
//! | W1, W2 | tlog-cosignature v1.0.1 |
//! | W3, W4 | tlog-witness v1.0.0 |
//! | P1 | tlog-proof |
//! | P2 | tlog-policy |

mod checkpoints;
mod golden;
mod negative;
mod notes;
mod policies;
mod tiles;
mod witnesses;

use std::collections::BTreeSet;

/// The marks of the lines.
const LINES: [&str; 21] = [
    "t1", "t2", "t3", "t4", "t5", "t6", "n1", "n2", "n3", "n4", "n5", "n6", "c1", "c2", "c3", "w1", "w2", "w3", "w4", "p1", "p2",
];

/// The files whose tests name lines.
const FILES: [&str; 5] = [
    include_str!("checkpoints.rs"),
    include_str!("notes.rs"),
    include_str!("policies.rs"),
    include_str!("tiles.rs"),
    include_str!("witnesses.rs"),
];

/// What must not pass, and its test in `negative.rs`.
const NEGATIVE: [(&str, &str); 15] = [
    ("a flipped bit in every field: checkpoints and cosignatures", "a_flipped_bit_in_any_field_of_a_cosigned_checkpoint"),
    ("a flipped bit in every field: proofs", "a_flipped_bit_in_any_field_of_a_proof"),
    ("a flipped bit in every field: requests", "a_flipped_bit_in_any_field_of_a_request"),
    ("em dash to hyphen", "a_hyphen_for_the_em_dash"),
    ("leading zero in a size", "leading_zeros"),
    ("CRLF", "carriage_returns"),
    ("trailing spaces", "trailing_spaces"),
    ("truncated and extended proofs, 255/256/257/65535/65536", TRUNCATED),
    ("sizes 0 and 1", "trees_of_0_and_1"),
    ("rollback", "a_rollback"),
    ("same size, new root", "the_same_size_with_a_new_root"),
    ("two checkpoints that are inconsistent", "two_checkpoints_that_are_inconsistent"),
    ("a cosignature replayed under another origin", "a_cosignature_replayed_under_another_origin_size_or_time"),
    ("an entry of 65,536 bytes", "an_entry_of_65536_bytes"),
    ("duplicate key names", "duplicate_key_names"),
];
const TRUNCATED: &str = "truncated_and_extended_proofs_at_the_sizes_where_trees_change_shape";

/// What was made elsewhere, and its test in `golden.rs`.
const GOLDEN: [(&str, &str); 5] = [
    ("roots of 0, 1, 2, 3, 7, 256, 257 and 1000 entries", "roots"),
    ("the keys of a log and of a witness", "keys"),
    ("their lines under a checkpoint", "a_cosigned_checkpoint"),
    ("the note of signed-note", "the_note_of_signed_note"),
    ("the checkpoint of tlog-cosignature", "the_checkpoint_of_tlog_cosignature_is_read"),
];

/// What lines ask of a store or of a server, and a test of it there.
const ELSEWHERE: [(&str, &str, &str); 8] = [
    ("T1, T2: as they are served", "the_published_log_is_there_for_everybody", SERVER),
    ("T5: partial resources of every size", "t5_what_any_checkpoint_covered_is_served_as_it_was", PUBLISHED),
    ("T6: what was pruned", "t6_what_was_pruned_is_not_served_and_its_hashes_are", PUBLISHED),
    ("C2: never over another history", "a_rotten_bit_in_any_file_is_found_and_never_signed_over", TILES),
    ("N1, W3: UTF-8, and no more than is read", "a_witness_answers_in_the_words_of_its_specification", SERVER),
    ("W3: checked and kept as one", "of_two_forks_at_once_one_is_cosigned", WITNESS),
    ("W3: kept before the reply", "what_was_cosigned_outlives_the_process", WITNESS),
    ("W3, W4: over HTTP", "a_log_with_two_histories_is_refused_also_after_a_restart", E2E),
];
const PUBLISHED: &str = include_str!("../../../../store/src/published.rs");
const TILES: &str = include_str!("../../../../store/tests/it/tiles.rs");
const WITNESS: &str = include_str!("../../../../engine/src/witness/files.rs");
const SERVER: &str = include_str!("../../../../server/tests/it/ledger.rs");
const E2E: &str = include_str!("../../../../../testing/e2e/tests/it/witness.rs");

#[test]
fn every_line_is_named_by_a_test() {
    let mark = |name: &str| name.split('_').next().unwrap_or_default().to_owned();
    let named: BTreeSet<String> = FILES.into_iter().flat_map(tests_in).map(mark).collect();
    assert_eq!(named, LINES.into_iter().map(str::to_owned).collect());
    for (what, test, file) in ELSEWHERE {
        assert!(tests_in(file).contains(&test), "{what}: there is no test `{test}`");
    }
}

#[test]
fn whatever_must_not_pass_and_every_vector_has_its_test() {
    let named =
        |list: &[(&'static str, &'static str)]| -> BTreeSet<&'static str> { list.iter().map(|(_, test)| *test).collect() };
    assert_eq!(tests_in(include_str!("negative.rs")).into_iter().collect::<BTreeSet<_>>(), named(&NEGATIVE));
    assert_eq!(tests_in(include_str!("golden.rs")).into_iter().collect::<BTreeSet<_>>(), named(&GOLDEN));
}

/// The names of the tests of a file.
fn tests_in(file: &'static str) -> Vec<&'static str> {
    let lines: Vec<&str> = file.lines().map(str::trim).collect();
    let tests = lines.windows(2).filter(|pair| matches!(pair[0], "#[test]" | "#[tokio::test]"));
    tests.filter_map(|pair| pair[1].trim_start_matches("async ").strip_prefix("fn ")?.split('(').next()).collect()
}
