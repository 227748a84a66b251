//! What found bytes say once they are decoded: breadth-first, and bounded in depth, count and size.

mod base64;
mod diff;
mod html;
mod json;
mod mail;
mod map;
mod packed;

use std::borrow::Cow;
use std::cmp::Ordering;
use std::collections::{HashSet, VecDeque};
use std::fmt;
use std::ops::Range;

use sha2::{Digest as _, Sha256};

use map::{Map, Mapped};

/// How far decoding goes. It never goes further, whatever the bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The most steps from the found bytes to a variant.
    pub depth: usize,
    /// The most variants, the found bytes themselves included.
    pub variants: usize,
    /// The most bytes of all that was decoded, together; the found bytes are not counted.
    pub bytes: usize,
}

impl Default for Limits {
    /// Three steps, 256 variants, 32 MiB.
    fn default() -> Self {
        Self { depth: 3, variants: 256, bytes: 32 << 20 }
    }
}

/// One step of decoding.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Step {
    /// UTF-16 with a byte order mark (RFC 2781).
    Utf16,
    /// Gzip, all members one after the other (RFC 1952).
    Gzip,
    /// The member of a zip archive with this name.
    Zip(String),
    /// A string of JSON (RFC 8259 §7), by the key before it.
    Json(String),
    /// Backslash escapes in place, such as in a string that was cut out of JSON or of source code.
    Escapes,
    /// HTML or XML: tags taken out, character references decoded.
    Html,
    /// A block of base64 (RFC 4648 §4, §5).
    Base64,
    /// Quoted-printable (RFC 2045 §6.7).
    QuotedPrintable,
    /// The lines that a unified diff adds to the file of this name.
    Diff(String),
    /// Lines behind `>`, as in mail and Markdown.
    Quote,
}

impl Step {
    /// Its name, without the part that it took.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Utf16 => "utf-16",
            Self::Gzip => "gzip",
            Self::Zip(_) => "zip",
            Self::Json(_) => "json",
            Self::Escapes => "escapes",
            Self::Html => "html",
            Self::Base64 => "base64",
            Self::QuotedPrintable => "quoted-printable",
            Self::Diff(_) => "diff",
            Self::Quote => "quote",
        }
    }

    /// The part that it took: a member, a key or a file.
    pub fn part(&self) -> Option<&str> {
        match self {
            Self::Zip(part) | Self::Json(part) | Self::Diff(part) => {
                Some(part).filter(|part| !part.is_empty()).map(String::as_str)
            }
            _ => None,
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.part() {
            Some(part) => write!(f, "{}:{part}", self.name()),
            None => f.write_str(self.name()),
        }
    }
}

/// Bytes to look up: those that were found, or what steps of decoding made of them.
#[derive(Clone, Debug)]
pub struct Variant<'a> {
    steps: Vec<Step>,
    bytes: Cow<'a, [u8]>,
    digest: [u8; 32],
    root: usize,
    map: Map,
}

impl Variant<'_> {
    /// How it was made; nothing for the found bytes.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// Its bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// SHA-256 of its bytes.
    pub fn digest(&self) -> [u8; 32] {
        self.digest
    }

    /// The variant in whose bytes its places are told: the nearest one before it whose lines a person can look at. That
    /// is the found text itself (0) unless something was unpacked on the way.
    pub fn root(&self) -> usize {
        self.root
    }

    /// Where a range of its bytes stands in its [`root`](Self::root).
    pub fn in_root(&self, range: &Range<usize>) -> Range<usize> {
        let start = self.map.there(range.start);
        let end = range.end.checked_sub(1).map_or(start, |last| self.map.there(last) + 1);
        start..end.max(start)
    }

    /// Whether the bytes are text, so that it makes sense to fingerprint them: at most a tenth is not UTF-8.
    pub fn is_text(&self) -> bool {
        let bad: usize = self.bytes.utf8_chunks().map(|chunk| chunk.invalid().len()).sum();
        bad.saturating_mul(10) <= self.bytes.len()
    }

    /// Everything that one step makes of it, and whether that is all. What is packed inflates to no more than `room`.
    fn parts(&self, room: usize) -> (Vec<Part>, bool) {
        let (mut out, mut complete) = packed::parts(&self.bytes, room);
        if out.is_empty() && self.is_text() {
            for decode in TEXT_DECODERS {
                let mut made = decode(&self.bytes);
                complete &= made.len() <= MOST_PARTS;
                longest(&mut made);
                out.append(&mut made);
            }
        }
        (out, complete)
    }

    /// Whether there is anything in it to decode.
    fn decodes(&self) -> bool {
        let long = |part: &Part| part.bytes.len() >= SHORTEST;
        packed::is_packed(&self.bytes)
            || (self.is_text() && TEXT_DECODERS.iter().any(|decode| decode(&self.bytes).iter().any(long)))
    }
}

/// The variants of found bytes.
#[derive(Clone, Debug)]
pub struct Decoded<'a> {
    /// Every variant once; the found bytes first, then by the count of steps.
    pub variants: Vec<Variant<'a>>,
    /// Whether nothing was left out because of a limit.
    pub complete: bool,
}

/// Decodes found bytes in every way that fits them.
pub fn variants<'a>(bytes: &'a [u8], limits: &Limits) -> Decoded<'a> {
    let mut search = Search::new(bytes, limits);
    let mut next = VecDeque::from([0]);
    while let Some(index) = next.pop_front() {
        let Some(outer) = search.out.variants.get(index) else { break };
        if outer.steps.len() >= limits.depth || search.is_full() || outer.bytes.len() > limits.bytes {
            search.out.complete &= !outer.decodes();
            continue;
        }
        let (parts, complete) = outer.parts(search.room);
        search.out.complete &= complete;
        for part in parts {
            next.extend(search.admit(index, part));
        }
    }
    search.out
}

struct Search<'a> {
    out: Decoded<'a>,
    seen: HashSet<[u8; 32]>,
    most: usize,
    room: usize,
}

impl<'a> Search<'a> {
    fn new(bytes: &'a [u8], limits: &Limits) -> Self {
        let digest = Sha256::digest(bytes).into();
        let found = Variant { steps: Vec::new(), bytes: Cow::Borrowed(bytes), digest, root: 0, map: Map::identity() };
        let out = Decoded { variants: vec![found], complete: true };
        Self { out, seen: HashSet::from([digest]), most: limits.variants, room: limits.bytes }
    }

    fn is_full(&self) -> bool {
        self.out.variants.len() >= self.most
    }

    /// Takes a part that was decoded from the variant `index`, unless the same bytes are there already.
    fn admit(&mut self, index: usize, part: Part) -> Option<usize> {
        if part.bytes.len() < SHORTEST {
            return None;
        }
        let digest = Sha256::digest(&part.bytes).into();
        let known = self.seen.contains(&digest);
        if !known && (self.is_full() || part.bytes.len() > self.room) {
            self.out.complete = false;
            return None;
        }
        if known {
            // Unpacking has cost what it has cost, whether or not it was of use.
            self.room = self.room.saturating_sub(if part.map.is_none() { part.bytes.len() } else { 0 });
            return None;
        }
        let place = self.out.variants.len();
        let outer = self.out.variants.get(index)?;
        let (root, map) = match part.map {
            Some(map) => (outer.root, map.after(&outer.map)),
            None => (place, Map::identity()),
        };
        let steps = outer.steps.iter().cloned().chain([part.step]).collect();
        self.room -= part.bytes.len();
        self.seen.insert(digest);
        self.out.variants.push(Variant { steps, bytes: Cow::Owned(part.bytes), digest, root, map });
        Some(place)
    }
}

/// What one step made; without a map, its places do not lead back.
struct Part {
    step: Step,
    bytes: Vec<u8>,
    map: Option<Map>,
}

impl Part {
    fn text(step: Step, text: Mapped) -> Self {
        let (bytes, map) = text.into_parts();
        Self { step, bytes, map: Some(map) }
    }

    fn unpacked(step: Step, bytes: Vec<u8>) -> Self {
        Self { step, bytes, map: None }
    }
}

/// Leaves the longest [`MOST_PARTS`], in their order.
fn longest(parts: &mut Vec<Part>) {
    let mut lengths: Vec<usize> = parts.iter().map(|part| part.bytes.len()).collect();
    lengths.sort_unstable_by(|a, b| b.cmp(a));
    let Some(least) = lengths.get(MOST_PARTS - 1).copied() else { return };
    let longer = lengths.iter().filter(|length| **length > least).count();
    let mut equal = MOST_PARTS - longer;
    parts.retain(|part| match part.bytes.len().cmp(&least) {
        Ordering::Greater => true,
        Ordering::Less => false,
        Ordering::Equal => {
            let stays = equal > 0;
            equal = equal.saturating_sub(1);
            stays
        }
    });
}

/// Takes parts out of text.
type Decoder = fn(&[u8]) -> Vec<Part>;

const TEXT_DECODERS: [Decoder; 7] =
    [json::strings, json::escapes, html::text, diff::added, mail::quoted, mail::quoted_printable, base64::blocks];

/// Shorter parts say nothing.
const SHORTEST: usize = 16;

/// The most parts that one step takes out of one variant.
const MOST_PARTS: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "A report about foxes: the quick brown fox jumps over the lazy dog. It is 42 pages long & ends well.";

    fn found(bytes: &[u8]) -> Vec<(String, Vec<u8>)> {
        let shown = |v: &Variant<'_>| v.steps().iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
        variants(bytes, &Limits::default()).variants.iter().map(|v| (shown(v), v.bytes().to_vec())).collect()
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        packed::tests::gzip(bytes)
    }

    #[test]
    fn the_found_bytes_come_first() {
        assert_eq!(found(TEXT.as_bytes()), [(String::new(), TEXT.as_bytes().to_vec())]);
        assert_eq!(found(b""), [(String::new(), Vec::new())]);
    }

    #[test]
    fn steps_follow_one_another() {
        let json = format!("{{\"text\": \"&gt; {}\"}}", TEXT.replace('&', "&amp;"));
        let found = found(&gzip(json.as_bytes()));
        let quoted = format!("> {TEXT}");
        assert!(found.contains(&("gzip json:text html".into(), quoted.into_bytes())), "{found:?}");
        // The same bytes are not there twice, though two ways lead to them.
        let texts: HashSet<&[u8]> = found.iter().map(|(_, bytes)| bytes.as_slice()).collect();
        assert_eq!(texts.len(), found.len());
    }

    #[test]
    fn depth_is_bounded_and_said() {
        let nested = (0..4).fold(TEXT.as_bytes().to_vec(), |bytes, _| gzip(&bytes));
        let decoded = variants(&nested, &Limits::default());
        assert_eq!(decoded.variants.len(), 4);
        assert!(!decoded.complete);
        let decoded = variants(&nested, &Limits { depth: 4, ..Limits::default() });
        assert_eq!((decoded.variants.last().unwrap().bytes(), decoded.complete), (TEXT.as_bytes(), true));
    }

    #[test]
    fn a_bomb_is_cut() {
        let bomb = gzip(&gzip(&vec![b'a'; 50 << 20]));
        let decoded = variants(&bomb, &Limits { bytes: 1 << 20, ..Limits::default() });
        assert!(decoded.variants.iter().skip(1).map(|v| v.bytes().len()).sum::<usize>() <= 1 << 20);
        assert!(!decoded.complete);
    }

    #[test]
    fn count_is_bounded_and_the_longest_stay() {
        let strings: Vec<String> = (0..500).map(|n| format!("\"{n:03} {}\"", "x".repeat(20 + n))).collect();
        let json = format!("[{}]", strings.join(","));
        let decoded = variants(json.as_bytes(), &Limits::default());
        assert!(decoded.variants.len() <= 256 && !decoded.complete);
        assert!(decoded.variants.iter().any(|v| v.bytes().starts_with(b"499")));
        let decoded = variants(json.as_bytes(), &Limits { variants: 3, ..Limits::default() });
        assert!(decoded.variants.len() == 3 && !decoded.complete);
    }

    #[test]
    fn places_lead_back_through_every_step() {
        let text = format!("intro\n> <p>Fish &amp; chips</p>\n> <p>{TEXT}</p>\n");
        let decoded = variants(text.as_bytes(), &Limits::default());
        let variant = decoded.variants.iter().find(|v| v.steps() == [Step::Quote, Step::Html]).unwrap();
        let at = String::from_utf8_lossy(variant.bytes()).find("quick").unwrap();
        let there = variant.in_root(&(at..at + 5));
        assert_eq!((variant.root(), text.get(there)), (0, Some("quick")));
        let packed = gzip(text.as_bytes());
        let decoded = variants(&packed, &Limits::default());
        let variant = decoded.variants.iter().find(|v| v.steps() == [Step::Gzip, Step::Quote, Step::Html]).unwrap();
        assert_eq!(decoded.variants[variant.root()].steps(), [Step::Gzip]);
    }

    #[test]
    fn binary_is_no_text() {
        let noise: Vec<u8> = (0..1000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        assert!(!variants(&noise, &Limits::default()).variants[0].is_text());
        assert!(variants(TEXT.as_bytes(), &Limits::default()).variants[0].is_text());
    }
}
