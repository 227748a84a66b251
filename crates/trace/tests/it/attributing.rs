//! Who wrote what.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use marque_trace::{Attribution, Class, Limits, Step, variants};
use proptest::prelude::*;

use crate::memory::{Memory, prose};

fn best(found: &Attribution) -> (Class, Option<u64>) {
    (found.class, found.matches.first().map(|m| m.document))
}

#[test]
fn the_ladder_is_exact_then_normalised_then_fragments_then_none() {
    let texts: Vec<String> = (0..50).map(|n| prose(n, 20)).collect();
    let mut memory = Memory::of(&texts.iter().map(String::as_str).collect::<Vec<_>>());
    let text = &texts[7];
    assert_eq!(best(&memory.attribute(text.as_bytes())), (Class::Exact, Some(8)));
    assert_eq!(best(&memory.attribute(text.to_uppercase().replace('\n', "\r\n").as_bytes())), (Class::Normalised, Some(8)));
    let excerpt: String = text.lines().take(8).collect::<Vec<_>>().join("\n");
    let found = memory.attribute(excerpt.as_bytes());
    assert_eq!(best(&found), (Class::Strong, Some(8)));
    assert!(found.matches[0].containment > 0.99);
    assert_eq!(best(&memory.attribute(prose(1000, 20).as_bytes())), (Class::None, None));
    assert_eq!(best(&memory.attribute(b"")), (Class::None, None));
}

#[test]
fn parts_are_found_in_the_lines_where_they_stand() {
    let (a, b, own) = (prose(1, 31), prose(2, 21), prose(3, 100));
    let mut memory = Memory::of(&[&a, &b, &prose(4, 50)]);
    let own: Vec<&str> = own.lines().collect();
    let mosaic = [own[..9].join("\n"), a.trim_end().into(), own[40..59].join("\n"), b.trim_end().into(), own[80..].join("\n")];
    let found = memory.attribute(mosaic.join("\n").as_bytes());
    let spans: Vec<_> = found.spans.iter().map(|s| (s.document, s.root, s.lines.clone())).collect();
    assert_eq!(spans, [(1, 0, 10..=40), (2, 0, 60..=80)]);
    assert_eq!(found.class, Class::Strong);
}

#[test]
fn a_document_that_only_repeats_a_better_one_takes_no_part() {
    let a = prose(1, 30);
    let copy: String = a.lines().take(20).chain(prose(2, 30).lines()).collect::<Vec<_>>().join("\n");
    let mut memory = Memory::of(&[&a, &copy]);
    let found = memory.attribute(format!("{}{a}{}", prose(5, 3), prose(6, 3)).as_bytes());
    assert_eq!(found.matches.iter().map(|m| m.document).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(found.spans.iter().map(|s| (s.document, s.lines.clone())).collect::<Vec<_>>(), [(1, 4..=33)]);
}

#[test]
fn a_part_within_a_part_is_cut_out() {
    let (a, b) = (prose(1, 30), prose(3, 12));
    let shared = format!("{}\n", prose(2, 2).replace('\n', " ").chars().take(100).collect::<String>());
    let lines: Vec<&str> = b.lines().collect();
    let around = format!("{}\n{shared}{}\n", lines[..6].join("\n"), lines[6..].join("\n"));
    let mut memory = Memory::of(&[&format!("{a}{shared}"), &around]);
    let found = memory.attribute(format!("{a}{around}").as_bytes());
    let spans: Vec<_> = found.spans.iter().map(|s| (s.document, s.lines.clone())).collect();
    // The prints of the one begin before its neighbour ends, in the line where they meet.
    assert_eq!(spans, [(1, 1..=30), (2, 31..=37), (1, 37..=37), (2, 37..=43)]);
    assert!(found.spans.windows(2).all(|pair| pair[0].bytes.end <= pair[1].bytes.start));
}

#[test]
fn of_two_equal_documents_the_first_takes_the_part() {
    let a = prose(1, 20);
    let mut memory = Memory::of(&[&a, &a]);
    for (found, class) in [(a.clone(), Class::Exact), (format!("{}{a}{}", prose(2, 9), prose(3, 9)), Class::Strong)] {
        let found = memory.attribute(found.as_bytes());
        assert_eq!(found.matches.iter().map(|m| (m.document, m.class)).collect::<Vec<_>>(), [(1, class), (2, class)]);
        assert_eq!(found.spans.iter().map(|s| s.document).collect::<Vec<_>>(), [1]);
    }
}

#[test]
fn what_everybody_writes_names_nobody() {
    let common = prose(1, 20);
    let texts: Vec<String> = (0..17).map(|n| format!("{}{common}", prose(100 + n, 5))).collect();
    let mut memory = Memory::of(&texts.iter().map(String::as_str).collect::<Vec<_>>());
    let found = memory.attribute(common.as_bytes());
    assert!(!found.class.is_attribution() && found.spans.is_empty(), "{:?}", found.matches);
}

#[test]
fn a_weak_fragment_is_a_hint_and_takes_no_part() {
    let a = prose(1, 30);
    let mut memory = Memory::of(&[&a]);
    let mut seen = 0;
    for length in 60..140 {
        let found =
            memory.attribute(format!("{}{}{}", prose(2, 3), a.chars().take(length).collect::<String>(), prose(3, 3)).as_bytes());
        if found.class == Class::Weak {
            seen += 1;
            assert!(found.spans.is_empty() && found.matches[0].document == 1);
        }
    }
    assert!(seen > 0);
}

#[test]
fn two_texts_in_one_archive_of_notes_are_found_through_every_wrapping() {
    let (a, b) = (prose(1, 12), prose(2, 12));
    let mut memory = Memory::of(&[&a, &b]);
    let json = |text: &str| text.replace('\n', "\\n");
    let quoted = |text: &str| text.lines().map(|line| format!("> {line}\n")).collect::<String>();
    let added = |text: &str| text.lines().map(|line| format!("+{line}\n")).collect::<String>();
    let html = |text: &str| text.lines().map(|line| format!("<p>{}</p>\n", line.replace('é', "&eacute;"))).collect::<String>();
    let printable = |text: &str| {
        let encoded = text.replace('é', "=C3=A9").replace('ü', "=C3=BC");
        encoded.lines().map(|line| format!("{}=\n{}\n", &line[..9], &line[9..])).collect::<String>()
    };
    let block = |text: &str| {
        let encoded = STANDARD.encode(text);
        encoded.as_bytes().chunks(76).map(|line| format!("{}\r\n", str::from_utf8(line).unwrap())).collect::<String>()
    };
    let utf16 = |text: &str| format!("\u{feff}{text}").encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>();
    let both = |made: &dyn Fn(&str) -> String| format!("{}\n{}\n{}\n", made(&a), prose(9, 1), made(&b));
    for (found, name) in [
        (format!("[{{\"role\": \"agent\", \"text\": \"{}\"}}, {{\"text\": \"{}\"}}]", json(&a), json(&b)), "json"),
        (both(&quoted), "quote"),
        (both(&html), "html"),
        (both(&printable), "quoted-printable"),
        (both(&block), "base64"),
        (format!("+++ b/a.md\n@@ -0,0 +1,12 @@\n{}+++ b/b.md\n@@ -0,0 +1,12 @@\n{}", added(&a), added(&b)), "diff"),
        (format!("let x = '{}' + '{}'", json(&a), json(&b)), "escapes"),
    ] {
        let attribution = memory.attribute(found.as_bytes());
        let documents: Vec<u64> = attribution.spans.iter().map(|s| s.document).collect();
        let sorted = {
            let mut d = documents;
            d.sort_unstable();
            d.dedup();
            d
        };
        assert_eq!(sorted, [1, 2], "{name}: {:?}", attribution.spans);
        let decoded = variants(found.as_bytes(), &Limits::default());
        assert!(decoded.variants.iter().any(|v| v.steps().last().is_some_and(|step| step.name() == name)), "{name}");
        let expected = match name {
            "json" | "quote" | "base64" | "diff" => Class::Exact,
            _ => Class::Strong,
        };
        assert_eq!(attribution.class, expected, "{name}");
    }
    let found = memory.attribute(&utf16(&a));
    assert_eq!(best(&found), (Class::Exact, Some(1)));
}

#[test]
fn a_part_in_json_knows_its_own_lines() {
    let a = prose(1, 12);
    let mut memory = Memory::of(&[&a]);
    let text = format!("intro one\nintro two\n{a}outro\n");
    let log = format!("{{\"n\": 1}}\n{{\"text\": \"{}\"}}\n", text.replace('\n', "\\n"));
    let found = memory.attribute(log.as_bytes());
    let span = &found.spans[0];
    let decoded = variants(log.as_bytes(), &Limits::default());
    assert_eq!(decoded.variants[span.variant].steps(), [Step::Json("text".into())]);
    assert_eq!((span.document, span.root, span.lines.clone(), span.within.clone()), (1, 0, 2..=2, 3..=14));
}

#[test]
fn short_parts_are_not_looked_up_by_digest() {
    let mut memory = Memory::of(&["application/json; x=1"]);
    assert_eq!(memory.attribute(br#"{"type": "application/json; x=1", "n": 1}"#).class, Class::None);
    assert_eq!(memory.attribute(b"application/json; x=1").class, Class::Exact);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn spans_are_in_order_disjoint_and_within(
        known in prop::collection::vec((0..5u64, 1..25usize), 1..12),
        found in prop::collection::vec((0..7u64, 0..20usize, 1..25usize), 0..8),
        json: bool,
    ) {
        let texts: Vec<String> = known.iter().map(|(seed, lines)| prose(*seed, *lines)).collect();
        let mut memory = Memory::of(&texts.iter().map(String::as_str).collect::<Vec<_>>());
        let parts = found.iter().map(|(seed, skip, take)| {
            prose(*seed, 25).lines().skip(*skip).take(*take).map(|line| format!("{line}\n")).collect::<String>()
        });
        let mut bytes: String = parts.collect();
        if json {
            bytes = format!("{{\"text\": \"{}\"}}", bytes.replace('\n', "\\n"));
        }
        let attribution = memory.attribute(bytes.as_bytes());
        let decoded = variants(bytes.as_bytes(), &Limits::default());
        for span in &attribution.spans {
            prop_assert!(span.class.is_attribution());
            prop_assert!(attribution.matches.iter().any(|m| m.document == span.document && m.class.is_attribution()));
            prop_assert_eq!(span.root, decoded.variants[span.variant].root());
            prop_assert!(span.bytes.start < span.bytes.end && span.bytes.end <= decoded.variants[span.root].bytes().len());
            prop_assert!(span.lines.start() <= span.lines.end() && span.within.start() <= span.within.end());
        }
        for pair in attribution.spans.windows(2) {
            prop_assert!(pair[0].root < pair[1].root || (pair[0].root == pair[1].root && pair[0].bytes.end <= pair[1].bytes.start));
        }
        prop_assert!(attribution.matches.is_sorted_by(|a, b| a.class >= b.class));
        prop_assert_eq!(attribution.class, attribution.matches.first().map_or(Class::None, |m| m.class));
    }
}
