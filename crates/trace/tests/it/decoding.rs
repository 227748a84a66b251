//! Decoding holds its limits, whatever the bytes are.

use std::collections::HashSet;
use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use marque_trace::{Limits, receipts, variants};
use proptest::prelude::*;

/// Pieces that decoders look for, and noise between them.
fn soup() -> impl Strategy<Value = Vec<u8>> {
    let known: Vec<&'static [u8]> = vec![
        b"{\"a\": \"",
        b"\\n",
        b"\\u00e9\\ud83d",
        b"\\",
        b"\"",
        b"\"}",
        b"<p>",
        b"</p",
        b"<a href=\"",
        b"<!--",
        b"-->",
        b"<script>",
        b"&amp;",
        b"&#x1F600;",
        b"&#",
        b"=C3=BC",
        b"=\r\n",
        b"=",
        b"> ",
        b"> > ",
        b"\n",
        b"\r\n",
        b"--- a\n+++ b/x\n",
        b"@@ -1,2 +1,3 @@\n",
        b"+added\n",
        b"-gone\n",
        b"\\ No newline\n",
        b"PK\x03\x04",
        b"PK\x05\x06",
        b"\x1f\x8b\x08",
        b"\xff\xfe",
        b"\xc3",
        b"QSByZXBvcnQgYWJvdXQgZm94ZXMgYW5kIGRvZ3MgYW5kIGFsbCB0aGF0IHRoZXkgZG8gYWxsIGRheSBsb25n",
        b"Agent-Action: rec_1",
    ];
    let piece = prop_oneof![
        4 => prop::sample::select(known).prop_map(<[u8]>::to_vec),
        2 => "[a-z ]{0,40}".prop_map(String::into_bytes),
        1 => prop::collection::vec(any::<u8>(), 0..20),
    ];
    let flat = prop::collection::vec(piece, 0..30).prop_map(|pieces| pieces.concat());
    (flat, 0..3usize).prop_map(|(bytes, packed)| (0..packed).fold(bytes, |bytes, _| gzip(&bytes)))
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn limits_hold(bytes in soup(), depth in 0..5usize, count in 1..20usize, room in 0..2000usize) {
        let decoded = variants(&bytes, &Limits { depth, variants: count, bytes: room });
        prop_assert_eq!(decoded.variants[0].bytes(), &bytes);
        prop_assert!(decoded.variants.len() <= count);
        prop_assert!(decoded.variants.iter().all(|v| v.steps().len() <= depth));
        prop_assert!(decoded.variants.iter().skip(1).map(|v| v.bytes().len()).sum::<usize>() <= room);
        let digests: HashSet<_> = decoded.variants.iter().map(|v| v.digest()).collect();
        prop_assert_eq!(digests.len(), decoded.variants.len());
    }

    #[test]
    fn places_are_in_the_root_and_in_order(bytes in soup()) {
        let decoded = variants(&bytes, &Limits::default());
        for (n, variant) in decoded.variants.iter().enumerate() {
            let root = &decoded.variants[variant.root()];
            prop_assert!(variant.root() <= n && root.root() == variant.root());
            let places: Vec<_> = (0..variant.bytes().len()).map(|at| variant.in_root(&(at..at + 1))).collect();
            prop_assert!(places.is_sorted_by_key(|place| place.start), "{:?} {:?}", variant.steps(), places);
            prop_assert!(places.iter().all(|place| place.end <= root.bytes().len()), "{:?} {:?}", variant.steps(), places);
        }
    }

    #[test]
    fn receipts_are_where_they_say(bytes in soup()) {
        let text = String::from_utf8_lossy(&bytes);
        for receipt in receipts(&text) {
            prop_assert_eq!(&text[receipt.bytes.clone()], receipt.id.as_str());
        }
    }
}

/// Each of these made a naive decoder slow: what starts is never ended.
#[test]
fn hostile_texts_take_linear_time() {
    for piece in [
        "<a \"",
        "<",
        "&",
        "\"",
        "\\\"",
        "=",
        "> ",
        "<!--",
        "<script>",
        "+++ a\n",
        "@@ -1 +9999999 @@\n",
        "QUJD",
        "&am",
        "[\"",
        "Agent-Action: ",
    ] {
        let text = piece.repeat((1 << 18) / piece.len());
        let decoded = variants(text.as_bytes(), &Limits::default());
        assert!(!decoded.variants.is_empty());
        receipts(&text);
    }
}
