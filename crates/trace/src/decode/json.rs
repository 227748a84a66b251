//! Strings of JSON, whole or cut out.

use super::map::Mapped;
use super::{Part, SHORTEST, Step};

/// The strings of JSON text (RFC 8259 §7), whether the text is one document, a line for each, or JSON within a log.
///
/// Only in what looks like JSON from its first character is a string without escapes taken: elsewhere it is in the text
/// as it stands.
pub(super) fn strings(bytes: &[u8]) -> Vec<Part> {
    let first = bytes.iter().find(|b| !b.is_ascii_whitespace());
    let json = first.is_some_and(|b| matches!(b, b'{' | b'[' | b'"'));
    let (mut out, mut key, mut at) = (Vec::new(), String::new(), 0);
    while let Some(open) = find(bytes, at, |b| b == b'"') {
        let (close, whole) = end(bytes, open + 1);
        at = close + 1;
        let inner = bytes.get(open + 1..close).unwrap_or_default();
        if !whole {
            continue;
        }
        if find(bytes, at, |b| !b.is_ascii_whitespace()).and_then(|n| bytes.get(n)) == Some(&b':') {
            key = String::from_utf8_lossy(inner.get(..inner.len().min(MOST_KEY)).unwrap_or_default()).into_owned();
        } else if inner.len() >= SHORTEST && (json || inner.contains(&b'\\')) {
            out.push(Part::text(Step::Json(key.clone()), unescaped(bytes, open + 1, close)));
        }
    }
    out
}

/// The whole text with its escapes decoded where they stand: what is left of a string that lost its quotes.
pub(super) fn escapes(bytes: &[u8]) -> Vec<Part> {
    let escaped = bytes.windows(2).any(|pair| matches!(pair, [b'\\', b'n' | b'r' | b't' | b'"' | b'u']));
    if !escaped {
        return Vec::new();
    }
    vec![Part::text(Step::Escapes, unescaped(bytes, 0, bytes.len()))]
}

fn find(bytes: &[u8], from: usize, wanted: impl Fn(u8) -> bool) -> Option<usize> {
    bytes.get(from..)?.iter().position(|b| wanted(*b)).map(|n| from + n)
}

/// Where a string that starts at `from` ends, and whether it does so with a quote: it has no line break in it.
fn end(bytes: &[u8], from: usize) -> (usize, bool) {
    let mut at = from;
    loop {
        match bytes.get(at) {
            Some(b'"') => return (at, true),
            Some(b'\\') => at += 2,
            Some(0x20..) => at += 1,
            _ => return (at.min(bytes.len()), false),
        }
    }
}

fn unescaped(bytes: &[u8], start: usize, end: usize) -> Mapped {
    let mut out = Mapped::default();
    let mut at = start;
    while let Some(slash) = find(bytes, at, |b| b == b'\\').filter(|slash| *slash < end) {
        out.copy(bytes, at..slash);
        let (text, length) = escape(bytes.get(slash..end).unwrap_or_default());
        match text {
            Some(c) => out.put(c.encode_utf8(&mut [0; 4]).as_bytes(), slash),
            None => out.copy(bytes, slash..slash + length),
        }
        at = slash + length;
    }
    out.copy(bytes, at..end);
    out
}

/// The character that an escape at the start stands for, and the escape's length.
fn escape(text: &[u8]) -> (Option<char>, usize) {
    let c = match text.get(1) {
        Some(b'n') => '\n',
        Some(b't') => '\t',
        Some(b'r') => '\r',
        Some(b'b') => '\u{8}',
        Some(b'f') => '\u{c}',
        Some(b @ (b'"' | b'\\' | b'/' | b'\'')) => char::from(*b),
        Some(b'u') => return unicode(text),
        _ => return (None, 1),
    };
    (Some(c), 2)
}

fn unicode(text: &[u8]) -> (Option<char>, usize) {
    let unit = |at: usize| {
        let escape = text.get(at..at + 6)?.strip_prefix(b"\\u")?;
        u16::from_str_radix(str::from_utf8(escape).ok().filter(|hex| !hex.starts_with('+'))?, 16).ok()
    };
    let Some(first) = unit(0) else { return (None, 1) };
    let pair = [Some(first), unit(6)].into_iter().flatten();
    match char::decode_utf16(pair).next() {
        Some(Ok(c)) if c.len_utf16() == 2 => (Some(c), 12),
        Some(Ok(c)) => (Some(c), 6),
        _ => (Some(char::REPLACEMENT_CHARACTER), 6),
    }
}

const MOST_KEY: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<(String, String)> {
        strings(text.as_bytes()).into_iter().map(|p| (p.step.to_string(), String::from_utf8(p.bytes).unwrap())).collect()
    }

    #[test]
    fn strings_are_found_by_their_keys() {
        let text = r#"{"a": {"text": "line one\nline \"two\" \u00e9\ud83d\ude00"}, "list": ["sixteen letters!", "short"]}"#;
        let expected = [("json:text", "line one\nline \"two\" é😀"), ("json:list", "sixteen letters!")];
        assert_eq!(found(text), expected.map(|(a, b)| (a.to_owned(), b.to_owned())));
        assert_eq!(found(r#""one string on its own""#), [("json".to_owned(), "one string on its own".to_owned())]);
    }

    #[test]
    fn json_within_a_log_is_found_by_its_escapes() {
        let text = "12:00 INFO said \"plain words of a person\"\n12:01 INFO {\"m\": \"first line\\nsecond line\"}\n";
        assert_eq!(found(text), [("json:m".to_owned(), "first line\nsecond line".to_owned())]);
    }

    #[test]
    fn a_string_without_its_quotes_is_unescaped_in_place() {
        let parts = escapes(b"first line\\nsecond line\\tend\\q");
        assert_eq!(parts[0].bytes, b"first line\nsecond line\tend\\q");
        let map = parts[0].map.as_ref().unwrap();
        assert_eq!([9, 10, 11, 23].map(|at| map.there(at)), [9, 10, 12, 25]);
        assert!(escapes(b"no escapes here").is_empty());
    }

    #[test]
    fn broken_escapes_stay() {
        for (text, expected) in [
            (r"\u12", r"\u12"),
            (r"\ud83d alone", "\u{fffd} alone"),
            (r"\u+123 \n", "\\u+123 \n"),
            ("ends in \\", "ends in \\"),
            (r"\ud83d\u0041", "\u{fffd}A"),
        ] {
            let (bytes, _) = unescaped(text.as_bytes(), 0, text.len()).into_parts();
            assert_eq!(String::from_utf8(bytes).unwrap(), expected);
        }
        assert!(found("{\"a\": \"never closed, never closed").is_empty());
    }
}
