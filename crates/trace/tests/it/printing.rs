//! What prints promise.

use std::collections::HashSet;

use marque_trace::{Fingerprint, GRAM, WINDOW, Winnower, fingerprints, guarantee, normalise, normalised_digest};
use proptest::prelude::*;
use proptest::sample::Index;
use unicode_normalization::UnicodeNormalization as _;

use crate::memory::prose;

/// Text of letters, digits and much that is neither.
fn text(most: usize) -> impl Strategy<Value = String> {
    let c = prop_oneof![
        6 => "[a-zA-Z0-9]",
        2 => "[ \\n\\t.,*_#>|-]",
        1 => "[éüßСжλςΩ東京あ한ﬁＡ①]",
        1 => "[\u{301}\u{308}\u{1100}\u{1161}\u{200b}\u{a0}\u{1f600}]",
    ];
    prop::collection::vec(c, 0..most).prop_map(|parts| parts.concat())
}

fn whole(text: &str, most: usize) -> Fingerprint {
    let mut winnower = Winnower::new(most);
    winnower.push(text);
    winnower.finish()
}

fn hashes(text: &str, most: usize) -> HashSet<u64> {
    fingerprints(text, most).into_iter().map(|print| print.hash).collect()
}

/// Cuts a text at characters, or at any byte.
fn cuts(length: usize, at: &[Index]) -> Vec<usize> {
    let mut cuts: Vec<usize> = at.iter().map(|index| index.index(length + 1)).chain([0, length]).collect();
    cuts.sort_unstable();
    cuts
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn a_shared_run_is_found_whatever_surrounds_it(
        run in "[a-z0-9]{64,200}", before in text(200), after in text(200), other in text(200), last in text(200),
    ) {
        // A space keeps marks from combining with the run.
        let (one, two) = (format!("{before} {run} {after}"), format!("{other} {run} {last}"));
        let shared: HashSet<u64> = hashes(&one, usize::MAX).intersection(&hashes(&two, usize::MAX)).copied().collect();
        let start = two.find(&run).unwrap();
        let inside = |start: usize, end: usize, from: usize| from <= start && end <= from + run.len();
        let found = fingerprints(&two, usize::MAX).iter().any(|p| shared.contains(&p.hash) && inside(p.start, p.end, start));
        prop_assert!(found);
    }

    #[test]
    fn a_shared_run_is_found_across_widths(seed: u64, lines in 20..120usize, most in 4..40usize, from in 0..20usize) {
        let text = prose(seed, lines);
        let few = whole(&text, most);
        let characters = normalise(&text);
        let length = guarantee(few.width);
        prop_assume!(characters.characters() > length + from);
        let part = &text[characters.source(from).unwrap().start..characters.source(from + length - 1).unwrap().end];
        let known: HashSet<u64> = few.prints.iter().map(|print| print.hash).collect();
        prop_assert!(few.prints.len() <= most);
        prop_assert!(hashes(part, usize::MAX).iter().any(|hash| known.contains(hash)));
    }

    #[test]
    fn reformatting_changes_nothing(text in "[a-zA-Z0-9éüß .,\n]{0,400}", width in 20..100usize) {
        let taken = whole(&text, 512);
        let words: Vec<&str> = text.split_whitespace().collect();
        let lines = words.chunks(width.div_ceil(8)).map(|line| line.join(" ")).collect::<Vec<_>>();
        for other in [
            text.replace('\n', "\r\n"),
            lines.join("\n"),
            lines.iter().map(|line| format!("> **{line}**  \n")).collect(),
            text.to_uppercase(),
            text.nfd().collect(),
            text.chars().flat_map(|c| [c, '\u{200b}']).collect(),
        ] {
            let other = whole(&other, 512);
            prop_assert_eq!(other.normalised, taken.normalised);
            prop_assert!(other.prints.iter().map(|p| p.hash).eq(taken.prints.iter().map(|p| p.hash)));
        }
    }

    #[test]
    fn pieces_are_the_whole(text in text(600), at in prop::collection::vec(any::<Index>(), 0..8), most in 1..30usize) {
        let taken = whole(&text, most);
        let (mut pieces, mut bytes) = (Winnower::new(most), Winnower::new(most));
        for pair in cuts(text.chars().count(), &at).windows(2) {
            pieces.push(&text.chars().skip(pair[0]).take(pair[1] - pair[0]).collect::<String>());
        }
        for pair in cuts(text.len(), &at).windows(2) {
            bytes.push_bytes(&text.as_bytes()[pair[0]..pair[1]]);
        }
        prop_assert_eq!(&pieces.finish(), &taken);
        prop_assert_eq!(&bytes.finish(), &taken);
    }

    #[test]
    fn bytes_in_pieces_are_the_whole(bytes: Vec<u8>, at in prop::collection::vec(any::<Index>(), 0..8)) {
        let (mut whole, mut pieces) = (Winnower::new(9), Winnower::new(9));
        whole.push_bytes(&bytes);
        for pair in cuts(bytes.len(), &at).windows(2) {
            pieces.push_bytes(&bytes[pair[0]..pair[1]]);
        }
        let whole = whole.finish();
        prop_assert_eq!(&pieces.finish(), &whole);
        prop_assert_eq!(whole.normalised, normalised_digest(&String::from_utf8_lossy(&bytes)));
    }

    #[test]
    fn every_window_has_a_print(text in text(800)) {
        let taken = whole(&text, usize::MAX);
        let normalised = normalise(&text);
        prop_assert_eq!(taken.characters, normalised.characters());
        prop_assert_eq!(taken.prints.is_empty(), taken.characters < GRAM);
        // The places of prints, counted in normalised characters.
        let starts: Vec<usize> = (0..taken.characters).map(|n| normalised.source(n).unwrap().start).collect();
        let places: Vec<usize> = taken.prints.iter().map(|p| starts.partition_point(|s| *s < p.start)).collect();
        let all = (taken.characters + 1).saturating_sub(GRAM);
        for window in 0..(all + 1).saturating_sub(WINDOW) {
            // A character that makes several leaves its place unclear by as many.
            prop_assert!(places.iter().any(|place| (window.saturating_sub(18)..window + WINDOW).contains(place)), "{window} {places:?}");
        }
        for print in &taken.prints {
            prop_assert!(print.start < print.end && text.is_char_boundary(print.start) && text.is_char_boundary(print.end));
        }
    }

    #[test]
    fn piece_by_piece_it_is_nfkc(text in prop::collection::vec(any::<char>(), 0..60), common in text(60)) {
        for text in [text.into_iter().collect::<String>(), common] {
            let upper = |c: char| c.to_uppercase().flat_map(char::to_lowercase).collect::<Vec<_>>();
            let expected: String = text.nfkc().flat_map(upper).filter(|c| c.is_alphanumeric()).collect();
            let normalised = normalise(&text);
            prop_assert_eq!(normalised.text(), expected);
            let places: Vec<_> = (0..normalised.characters()).map(|n| normalised.source(n).unwrap()).collect();
            prop_assert!(places.is_sorted_by_key(|place| (place.start, place.end)));
            prop_assert!(places.iter().all(|place| text.get(place.clone()).is_some_and(|part| !part.is_empty())));
        }
    }
}

#[test]
fn a_text_that_repeats_itself_has_few_prints() {
    let taken = whole(&"0".repeat(100_000), 512);
    assert!(taken.prints.len() <= 512);
    assert!(whole(&"ab".repeat(50_000), usize::MAX).prints.len() < 100_000 / 30);
}

#[test]
fn about_one_print_comes_from_17_characters() {
    let text = prose(1, 2000);
    let taken = whole(&text, usize::MAX);
    let density = taken.characters as f64 / taken.prints.len() as f64;
    assert!((16.0..18.0).contains(&density), "{density}");
}
