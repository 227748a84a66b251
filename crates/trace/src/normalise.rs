//! The form of a text that reformatting does not change.

use std::iter::once;
use std::ops::Range;

use sha2::{Digest as _, Sha256};
use unicode_normalization::char::{canonical_combining_class, decompose_compatible};
use unicode_normalization::{IsNormalized, UnicodeNormalization as _, is_nfkc_quick};

/// A normalised text that knows where each of its characters came from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Normalised {
    text: String,
    places: Vec<(usize, usize)>,
}

impl Normalised {
    /// The normalised characters.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// How many characters there are.
    pub fn characters(&self) -> usize {
        self.places.len()
    }

    /// The bytes of the source that the `nth` character was made of.
    pub fn source(&self, nth: usize) -> Option<Range<usize>> {
        self.places.get(nth).map(|(start, end)| *start..*end)
    }
}

/// Normalises a text: NFKC (UAX #15), case folded, letters and digits only.
///
/// Folding is the lower case of the upper case, character by character, so that it does not depend on the surroundings
/// (`ς`, `σ` and `Σ` are one letter, `ß` is `ss`). A letter under a heap of more than 60 bytes of accents is taken in parts,
/// the same ones for every reader, whole or in pieces.
pub fn normalise(text: &str) -> Normalised {
    let mut out = Normalised::default();
    let mut normaliser = Normaliser::default();
    let mut sink = |c, start, end| {
        out.text.push(c);
        out.places.push((start, end));
    };
    normaliser.push(text, &mut sink);
    normaliser.flush(&mut sink);
    out
}

/// SHA-256 of the normalised text, in UTF-8.
pub fn normalised_digest(text: &str) -> [u8; 32] {
    let mut hasher = TextHasher::default();
    let mut normaliser = Normaliser::default();
    normaliser.push(text, &mut |c, _, _| hasher.push(c));
    normaliser.flush(&mut |c, _, _| hasher.push(c));
    hasher.finish()
}

/// Normalises a text that comes in pieces; holds no more than the characters that may still combine with what follows.
#[derive(Clone, Debug, Default)]
pub(crate) struct Normaliser {
    head: Option<char>,
    tail: String,
    start: usize,
    at: usize,
}

impl Normaliser {
    /// Takes a piece. The sink gets each normalised character with the bytes of the source that it was made of.
    pub(crate) fn push(&mut self, text: &str, sink: &mut impl FnMut(char, usize, usize)) {
        let mut rest = text;
        while let Some(first) = rest.chars().next() {
            let length = rest.bytes().position(|b| !b.is_ascii()).unwrap_or(rest.len());
            let (plain, other) = rest.split_at(length);
            if plain.is_empty() {
                self.take(first, sink);
                rest = other.get(first.len_utf8()..).unwrap_or_default();
            } else {
                self.take_ascii(plain, sink);
                rest = other;
            }
        }
    }

    /// All but the last of several ASCII characters are on their own.
    fn take_ascii(&mut self, plain: &str, sink: &mut impl FnMut(char, usize, usize)) {
        self.flush(sink);
        let last = plain.len().saturating_sub(1);
        for (n, byte) in plain.bytes().take(last).enumerate() {
            if byte.is_ascii_alphanumeric() {
                sink(char::from(byte.to_ascii_lowercase()), self.at + n, self.at + n + 1);
            }
        }
        self.start = self.at + last;
        self.head = plain.bytes().next_back().map(char::from);
        self.at += plain.len();
    }

    fn take(&mut self, c: char, sink: &mut impl FnMut(char, usize, usize)) {
        if self.head.is_none() || begins(c) || self.tail.len() >= MOST_TAIL {
            self.flush(sink);
            self.head = Some(c);
        } else {
            self.tail.push(c);
        }
        self.at += c.len_utf8();
    }

    /// Passes over bytes that are no text; nothing combines across them.
    pub(crate) fn skip(&mut self, bytes: usize, sink: &mut impl FnMut(char, usize, usize)) {
        self.flush(sink);
        self.at += bytes;
        self.start = self.at;
    }

    /// Ends what is held: nothing that follows combines with it.
    pub(crate) fn flush(&mut self, sink: &mut impl FnMut(char, usize, usize)) {
        let (start, end) = (self.start, self.at);
        self.start = end;
        match self.head.take() {
            None => {}
            Some(c) => {
                let mut emit = |c| fold(c, |c| sink(c, start, end));
                if self.tail.is_empty() && (c.is_ascii() || is_nfkc_quick(once(c)) == IsNormalized::Yes) {
                    emit(c);
                } else {
                    once(c).chain(self.tail.chars()).nfkc().for_each(emit);
                }
                self.tail.clear();
            }
        }
    }
}

/// Whether a character never combines with one before it (UAX #15 §9, stable code points).
fn begins(c: char) -> bool {
    let mut first = None;
    decompose_compatible(c, |d| first = first.or(Some(d)));
    first.is_none_or(|d| canonical_combining_class(d) == 0 && is_nfkc_quick(once(d)) == IsNormalized::Yes)
}

fn fold(c: char, mut emit: impl FnMut(char)) {
    if c.is_ascii() {
        if c.is_ascii_alphanumeric() {
            emit(c.to_ascii_lowercase());
        }
        return;
    }
    c.to_uppercase().flat_map(char::to_lowercase).filter(|c| c.is_alphanumeric()).for_each(emit);
}

/// SHA-256 over characters.
#[derive(Clone, Debug, Default)]
pub(crate) struct TextHasher {
    hasher: Sha256,
    buffer: String,
}

impl TextHasher {
    pub(crate) fn push(&mut self, c: char) {
        self.buffer.push(c);
        if self.buffer.len() >= BUFFER {
            self.hasher.update(&self.buffer);
            self.buffer.clear();
        }
    }

    pub(crate) fn finish(mut self) -> [u8; 32] {
        self.hasher.update(&self.buffer);
        self.hasher.finalize().into()
    }
}

const BUFFER: usize = 4096;

/// The most bytes that wait for what follows, besides the first character.
const MOST_TAIL: usize = 60;

#[cfg(test)]
mod tests {
    use super::*;

    fn text(source: &str) -> String {
        normalise(source).text().to_owned()
    }

    #[test]
    fn letters_and_digits_stay() {
        assert_eq!(text("Hello, *World*! 42\r\n"), "helloworld42");
        assert_eq!(text(""), "");
        assert_eq!(text(" \t…—"), "");
    }

    #[test]
    fn one_letter_has_one_form() {
        assert_eq!(text("Cafe\u{301}"), text("CAFÉ"));
        assert_eq!(text("ﬁne ＡＢＣ①"), "fineabc1");
        assert_eq!(text("ΟΔΟΣ οδος"), "οδοσοδοσ");
        assert_eq!(text("Straße STRASSE"), "strassestrasse");
        assert_eq!(text("각"), text("\u{1100}\u{1161}\u{11a8}"));
    }

    #[test]
    fn a_character_knows_its_source() {
        let source = "é, e\u{301} ﬁ x";
        let normalised = normalise(source);
        assert_eq!(normalised.text(), "ééfix");
        let places: Vec<&str> = (0..normalised.characters()).map(|n| &source[normalised.source(n).unwrap()]).collect();
        assert_eq!(places, ["é", "e\u{301}", "ﬁ", "ﬁ", "x"]);
        assert_eq!(normalised.source(5), None);
    }

    #[test]
    fn a_heap_of_accents_is_bounded() {
        let source = format!("a{}b", "\u{301}".repeat(10_000));
        let normalised = normalise(&source);
        assert!(normalised.text().starts_with('á') && normalised.text().ends_with('b'));
        assert_eq!(normalised.source(normalised.characters() - 1), Some(source.len() - 1..source.len()));
    }

    #[test]
    fn the_digest_is_of_the_normalised_text() {
        let long = "Grüße, World! ".repeat(1000);
        assert_eq!(normalised_digest(&long), <[u8; 32]>::from(Sha256::digest(text(&long))));
    }
}
