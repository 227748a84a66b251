//! Prints: which hashes of a text stand for it (winnowing; Schleimer, Wilkerson, Aiken 2003).

use crate::normalise::{Normaliser, TextHasher};
use crate::window::{Candidate, Dense, Window};

/// A chosen hash, and the bytes of the source that it was taken over.
///
/// The hash has no key and is not cryptographic: an index that others may read keys it before it keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Print {
    /// The hash of [`GRAM`] normalised characters.
    pub hash: u64,
    /// Where they start in the source.
    pub start: usize,
    /// Where they end.
    pub end: usize,
}

/// All that a text is found by again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fingerprint {
    /// SHA-256 of the normalised text.
    pub normalised: [u8; 32],
    /// How many normalised characters the text has.
    pub characters: usize,
    /// The width of the windows that the prints were chosen from.
    pub width: usize,
    /// The prints, in the order of the text.
    pub prints: Vec<Print>,
}

/// How many normalised characters are hashed together.
pub const GRAM: usize = 32;

/// How many neighbouring hashes one is chosen from, unless there would be too many.
pub const WINDOW: usize = 33;

/// The length from which a run of normalised characters that two texts share is sure to be found, where the wider of
/// the two windows is `width`. At [`WINDOW`] it is 64.
pub fn guarantee(width: usize) -> usize {
    width.saturating_add(GRAM - 1)
}

/// The prints of a text: at least one of every [`WINDOW`] neighbouring hashes.
///
/// Where that makes more than `most`, the window is doubled until it does not. What a wider window chooses, a narrower
/// one chooses too, so texts printed at different widths still agree: a shared run of [`guarantee`]`(wider)` normalised
/// characters has a print that both have. A text with at least [`GRAM`] characters has at least one print, and a shorter
/// one has none.
pub fn fingerprints(text: &str, most: usize) -> Vec<Print> {
    let mut winnower = Winnower::new(most);
    winnower.push(text);
    winnower.finish().prints
}

/// Fingerprints a text that comes in pieces: the same as for the whole, however it was cut.
///
/// Besides the prints it holds one window of hashes.
#[derive(Clone, Debug)]
pub struct Winnower {
    normaliser: Normaliser,
    chooser: Chooser,
    /// The start of a character whose other bytes have not come yet.
    cut: Vec<u8>,
}

impl Winnower {
    /// Starts; `most` bounds the count of prints and is at least 1.
    pub fn new(most: usize) -> Self {
        Self { normaliser: Normaliser::default(), chooser: Chooser::new(most.max(1)), cut: Vec::new() }
    }

    /// Takes every hash and chooses none.
    pub(crate) fn every() -> Self {
        let mut winnower = Self::new(usize::MAX);
        winnower.chooser.every = true;
        winnower
    }

    /// Takes the next piece of text.
    pub fn push(&mut self, piece: &str) {
        self.end_cut();
        self.take(piece);
    }

    /// Takes the next bytes of a text in UTF-8; a character may be cut between two pieces. Bytes that are no text are
    /// passed over, as though they were a sign that is neither letter nor digit.
    pub fn push_bytes(&mut self, piece: &[u8]) {
        let joined;
        let mut rest = piece;
        if !self.cut.is_empty() {
            self.cut.extend_from_slice(piece);
            joined = std::mem::take(&mut self.cut);
            rest = &joined;
        }
        while !rest.is_empty() {
            let (valid, error) = match str::from_utf8(rest) {
                Ok(text) => return self.take(text),
                Err(error) => (error.valid_up_to(), error.error_len()),
            };
            let (text, other) = rest.split_at(valid);
            self.take(str::from_utf8(text).unwrap_or_default());
            let Some(bad) = error else {
                self.cut = other.to_vec();
                return;
            };
            self.skip(bad);
            rest = other.get(bad..).unwrap_or_default();
        }
    }

    /// Ends the text.
    pub fn finish(mut self) -> Fingerprint {
        self.end_cut();
        self.normaliser.flush(&mut |c, start, end| self.chooser.take(c, start, end));
        self.chooser.finish()
    }

    fn take(&mut self, text: &str) {
        self.normaliser.push(text, &mut |c, start, end| self.chooser.take(c, start, end));
    }

    fn skip(&mut self, bytes: usize) {
        self.normaliser.skip(bytes, &mut |c, start, end| self.chooser.take(c, start, end));
    }

    fn end_cut(&mut self) {
        let bytes = std::mem::take(&mut self.cut).len();
        if bytes > 0 {
            self.skip(bytes);
        }
    }
}

/// Hashes and chooses.
#[derive(Clone, Debug)]
struct Chooser {
    most: usize,
    every: bool,
    hasher: TextHasher,
    characters: usize,
    roll: Roll,
    dense: Dense<WINDOW>,
    /// As wide as `dense`, or wider and choosing from what it chose.
    window: Window,
    kept: Vec<Candidate>,
}

impl Chooser {
    fn new(most: usize) -> Self {
        Self {
            most,
            every: false,
            hasher: TextHasher::default(),
            characters: 0,
            roll: Roll::default(),
            dense: Dense::new(),
            window: Window::new(WINDOW),
            kept: Vec::new(),
        }
    }

    fn take(&mut self, c: char, start: usize, end: usize) {
        self.hasher.push(c);
        self.characters += 1;
        let Some((hash, start)) = self.roll.push(c, start) else { return };
        if self.every {
            self.kept.push(Candidate { hash, place: self.kept.len(), start, end });
            return;
        }
        let Some(chosen) = self.dense.push(hash, start, end) else { return };
        if self.window.width() == WINDOW {
            self.kept.push(chosen);
        } else {
            self.window.push(chosen, &mut self.kept);
        }
        self.thin();
    }

    fn thin(&mut self) {
        while self.kept.len() > self.most {
            self.window.widen(&mut self.kept, self.dense.seen());
        }
    }

    fn finish(mut self) -> Fingerprint {
        if self.window.width() > WINDOW {
            self.window.advance(self.dense.seen(), &mut self.kept);
            self.thin();
        }
        if self.kept.is_empty() {
            self.kept.extend(self.window.least().or_else(|| self.dense.least()));
        }
        Fingerprint {
            normalised: self.hasher.finish(),
            characters: self.characters,
            width: self.window.width(),
            prints: self.kept.iter().map(|c| Print { hash: c.hash, start: c.start, end: c.end }).collect(),
        }
    }
}

/// A polynomial hash of the last [`GRAM`] characters, modulo 2^64.
#[derive(Clone, Debug, Default)]
struct Roll {
    sum: u64,
    last: [(u64, usize); GRAM],
    count: usize,
}

impl Roll {
    /// Takes a character, and gives the hash of the last [`GRAM`] with the place where they start.
    fn push(&mut self, c: char, start: usize) -> Option<(u64, usize)> {
        let value = mixed(u64::from(u32::from(c)));
        let slot = self.last.get_mut(self.count % GRAM)?;
        let (gone, _) = std::mem::replace(slot, (value, start));
        self.count += 1;
        // Until there are enough, what goes is 0.
        self.sum = self.sum.wrapping_sub(gone.wrapping_mul(TOP)).wrapping_mul(BASE).wrapping_add(value);
        let (_, first) = self.last.get(self.count % GRAM)?;
        (self.count >= GRAM).then(|| (mixed(self.sum), *first))
    }
}

/// The finaliser of SplitMix64: a bijection in which every bit depends on every other.
fn mixed(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

/// Odd, and 5 modulo 8, for the longest period.
const BASE: u64 = 0x5851_f42d_4c95_7f2d;

/// What the oldest character is multiplied with.
const TOP: u64 = power(BASE, GRAM - 1);

const fn power(base: u64, times: usize) -> u64 {
    let (mut out, mut n) = (1u64, 0);
    while n < times {
        out = out.wrapping_mul(base);
        n += 1;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::normalise;

    const TEXT: &str = "The quick brown fox jumps over the lazy dog, and the dog, being lazy, lets it. \
                        Meanwhile the cat writes a long report about foxes — 42 pages of it, über alles.\n";

    #[test]
    fn a_text_of_a_gram_has_a_print_and_a_shorter_has_none() {
        let text = "abcdefghijklmnopqrstuvwxyz012345";
        assert_eq!(fingerprints(text, 100).len(), 1);
        assert_eq!(fingerprints(&text[1..], 100), []);
        assert_eq!(fingerprints("", 100), []);
    }

    #[test]
    fn a_print_is_of_the_characters_that_it_says() {
        for print in fingerprints(TEXT, 100) {
            let part = &TEXT[print.start..print.end];
            assert_eq!(normalise(part).characters(), GRAM);
            assert_eq!(fingerprints(part, 1)[0].hash, print.hash);
        }
    }

    #[test]
    fn too_many_prints_widen_the_window() {
        let text: String = (0..2000).map(|n| format!("line {n} says {} ", n * 7919 % 10_007)).collect();
        let full = fingerprints(&text, usize::MAX);
        let mut winnower = Winnower::new(50);
        winnower.push(&text);
        let few = winnower.finish();
        assert!(few.prints.len() <= 50 && few.prints.len() > 12 && full.len() > 500);
        assert!(few.width.is_multiple_of(WINDOW) && few.width > WINDOW);
        assert!(few.prints.iter().all(|print| full.contains(print)));
    }

    #[test]
    fn bytes_that_are_no_text_are_passed_over() {
        let mut bytes = TEXT.as_bytes().to_vec();
        bytes.splice(20..20, [0xff, 0xfe]);
        let (mut whole, mut cut) = (Winnower::new(100), Winnower::new(100));
        whole.push_bytes(&bytes);
        bytes.iter().for_each(|byte| cut.push_bytes(&[*byte]));
        let whole = whole.finish();
        assert_eq!(whole, cut.finish());
        assert_eq!(whole.normalised, crate::normalised_digest(TEXT));
        let moved = |at: usize| if at > 20 { at + 2 } else { at };
        let expected: Vec<Print> =
            fingerprints(TEXT, 100).iter().map(|p| Print { hash: p.hash, start: moved(p.start), end: moved(p.end) }).collect();
        assert_eq!(whole.prints, expected);
    }

    #[test]
    fn the_guarantee_at_the_usual_width_is_64() {
        assert_eq!(guarantee(WINDOW), 64);
    }
}
