//! What mail does to a text: quoting it, and quoted-printable.

use super::map::Mapped;
use super::{Part, Step};

/// The blocks of lines behind `>`, each without one level of quoting.
pub(super) fn quoted(bytes: &[u8]) -> Vec<Part> {
    let (mut parts, mut block, mut at) = (Vec::new(), Mapped::default(), 0);
    for line in bytes.split_inclusive(|b| *b == b'\n') {
        match unquoted(line) {
            Some(skip) => block.copy(bytes, at + skip..at + line.len()),
            None => end(&mut block, &mut parts),
        }
        at += line.len();
    }
    end(&mut block, &mut parts);
    parts
}

fn end(block: &mut Mapped, parts: &mut Vec<Part>) {
    let block = std::mem::take(block);
    if !block.bytes().is_empty() {
        parts.push(Part::text(Step::Quote, block));
    }
}

/// The length of the mark in front of a quoted line: `>` and a space, up to three spaces in (CommonMark 0.31 §5.1).
fn unquoted(line: &[u8]) -> Option<usize> {
    let indent = line.iter().take_while(|b| **b == b' ').count();
    if indent > 3 || line.get(indent) != Some(&b'>') {
        return None;
    }
    Some(indent + 1 + usize::from(line.get(indent + 1) == Some(&b' ')))
}

/// The text with quoted-printable decoded (RFC 2045 §6.7), where it has enough marks of it.
pub(super) fn quoted_printable(bytes: &[u8]) -> Vec<Part> {
    let (mut out, mut marks, mut at) = (Mapped::default(), 0, 0);
    while let Some(sign) = bytes.get(at..).and_then(|rest| rest.iter().position(|b| *b == b'=')).map(|n| at + n) {
        out.copy(bytes, at..sign);
        let (byte, length) = mark(bytes.get(sign + 1..).unwrap_or_default());
        at = sign + 1 + length;
        marks += usize::from(length > 0);
        match byte {
            Some(byte) => out.put(&[byte], sign),
            None if length == 0 => out.copy(bytes, sign..at),
            None => {}
        }
    }
    out.copy(bytes, at..bytes.len());
    if marks < LEAST_MARKS { Vec::new() } else { vec![Part::text(Step::QuotedPrintable, out)] }
}

/// What follows the sign `=`: the byte that it stands for, none where it takes out a line break, and how long it is.
fn mark(rest: &[u8]) -> (Option<u8>, usize) {
    match rest {
        [b'\n', ..] => (None, 1),
        [b'\r', b'\n', ..] => (None, 2),
        [high, low, ..] => match (hex(*high), hex(*low)) {
            (Some(high), Some(low)) => (Some(high * 16 + low), 2),
            _ => (None, 0),
        },
        _ => (None, 0),
    }
}

/// Only digits and upper case stand in quoted-printable; source code has the others.
fn hex(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

const LEAST_MARKS: usize = 2;

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(parts: Vec<Part>) -> Vec<String> {
        parts.into_iter().map(|part| String::from_utf8(part.bytes).unwrap()).collect()
    }

    #[test]
    fn blocks_lose_one_level() {
        let mail = "Hello,\n> first\n> > second\n>third\r\n\nSee\n   > fourth";
        assert_eq!(texts(quoted(mail.as_bytes())), ["first\n> second\nthird\r\n", "fourth"]);
        assert!(quoted(b"a > b\n    > code\n").is_empty());
    }

    #[test]
    fn quoted_printable_is_decoded() {
        let mail = "Gr=C3=BC=C3=9Fe, a line that goes =\r\non, 1 + 1 =3D 2 = two";
        let parts = quoted_printable(mail.as_bytes());
        let map = parts[0].map.clone().unwrap();
        assert_eq!(texts(parts), ["Grüße, a line that goes on, 1 + 1 = 2 = two"]);
        assert_eq!(&mail[map.there(26)..][..2], "on");
        assert!(quoted_printable(b"a = 10; b =20; c == d").is_empty());
    }
}
