//! Which part of a text came from which document.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::{Range, RangeInclusive};

use crate::class::{Class, STRONG};
use crate::decode::Variant;
use crate::lines::Lines;

/// A part of a found text, and the document that it came from.
///
/// A part found by its prints starts and ends with a print, so up to [`WINDOW`](crate::WINDOW) more characters at each
/// end may have come from there too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// The document.
    pub document: u64,
    /// How sure it is; always an attribution.
    pub class: Class,
    /// The variant that the part was found in.
    pub variant: usize,
    /// The variant in whose bytes and lines the part is told: 0 is the found text itself.
    pub root: usize,
    /// The bytes in the root.
    pub bytes: Range<usize>,
    /// The lines in the root, from 1.
    pub lines: RangeInclusive<usize>,
    /// The lines in the variant, from 1: a string of JSON has its own, though all of it stands in one line of the root.
    pub within: RangeInclusive<usize>,
    /// How many prints are shared within it; 0 where the whole variant was found by a digest.
    pub prints: usize,
}

/// A print that a document shares.
#[derive(Clone, Debug)]
pub(crate) struct Hit {
    pub(crate) hash: u64,
    pub(crate) weight: f64,
    /// Its place among the prints of the variant.
    pub(crate) order: usize,
    pub(crate) here: Range<usize>,
    pub(crate) there: Range<usize>,
}

/// All prints of one variant that one document shares, in their order.
#[derive(Clone, Debug)]
pub(crate) struct Evidence {
    pub(crate) document: u64,
    pub(crate) variant: usize,
    pub(crate) hits: Vec<Hit>,
    pub(crate) score: f64,
    /// How many places apart two hits may be and still belong together.
    pub(crate) reach: usize,
}

impl Evidence {
    pub(crate) fn new(document: u64, variant: usize, hits: Vec<Hit>, reach: usize) -> Self {
        let score = score(hits.iter());
        Self { document, variant, hits, score, reach }
    }

    pub(crate) fn shared(&self) -> usize {
        self.hits.iter().map(|hit| hit.hash).collect::<HashSet<_>>().len()
    }
}

/// A document that is the whole of a variant.
#[derive(Clone, Debug)]
pub(crate) struct Claim {
    pub(crate) document: u64,
    pub(crate) class: Class,
    pub(crate) variant: usize,
    /// Comparable with a score.
    pub(crate) weight: f64,
}

/// The map: what explains most comes first and takes its parts; what is left must be strong by itself to take any.
///
/// So a document that only repeats a better one gets no part, and each byte belongs to one document at most.
pub(crate) fn spans(variants: &[Variant<'_>], claims: &[Claim], evidence: &[Evidence]) -> Vec<Span> {
    let mut map = SpanMap { variants, taken: BTreeMap::new(), lines: HashMap::new(), spans: Vec::new() };
    let mut sources: Vec<(f64, Source<'_>)> = claims.iter().map(|claim| (claim.weight, Source::Whole(claim))).collect();
    sources.extend(evidence.iter().map(|one| (one.score, Source::Parts(one))));
    // What a source weighs can only fall while others take their parts, so only the one in front is weighed again.
    while let Some(place) = heaviest(&sources) {
        let Some((weight, source)) = sources.get_mut(place) else { break };
        let now = map.weight(source);
        if now < *weight && now > 0.0 {
            *weight = now;
            continue;
        }
        let (_, source) = sources.swap_remove(place);
        if now > 0.0 {
            map.take(&source);
        }
    }
    map.spans.sort_by_key(|span| (span.root, span.bytes.start));
    map.spans
}

/// The place of the source that weighs most.
fn heaviest(sources: &[(f64, Source<'_>)]) -> Option<usize> {
    let heavier = |(_, (a, one)): &(usize, &(f64, Source<'_>)), (_, (b, other)): &(usize, &(f64, Source<'_>))| {
        a.total_cmp(b).then_with(|| other.rank().cmp(&one.rank()))
    };
    sources.iter().enumerate().max_by(heavier).map(|(place, _)| place)
}

enum Source<'a> {
    Whole(&'a Claim),
    Parts(&'a Evidence),
}

impl Source<'_> {
    /// The order among equal weights: the surer, then the one with fewer steps of decoding, then the smaller document.
    fn rank(&self) -> (Reverse<Class>, usize, u64) {
        match self {
            Self::Whole(claim) => (Reverse(claim.class), claim.variant, claim.document),
            Self::Parts(one) => (Reverse(Class::Strong), one.variant, one.document),
        }
    }
}

struct SpanMap<'a> {
    variants: &'a [Variant<'a>],
    /// What is taken of each root: sorted and disjoint.
    taken: BTreeMap<usize, Vec<Range<usize>>>,
    lines: HashMap<usize, Lines>,
    spans: Vec<Span>,
}

impl SpanMap<'_> {
    fn root(&self, variant: usize) -> usize {
        self.variants.get(variant).map_or(variant, Variant::root)
    }

    /// Whether nothing of a range is taken.
    fn is_open(&self, root: usize, range: &Range<usize>) -> bool {
        let Some(taken) = self.taken.get(&root) else { return true };
        let next = taken.partition_point(|t| t.end <= range.start);
        taken.get(next).is_none_or(|t| t.start >= range.end)
    }

    /// What a source weighs by that which is not taken yet; nothing where it may not take any.
    fn weight(&self, source: &Source<'_>) -> f64 {
        match source {
            Source::Whole(claim) => {
                let free = self.whole(claim.variant).is_some_and(|range| self.is_open(self.root(claim.variant), &range));
                if free { claim.weight } else { 0.0 }
            }
            Source::Parts(one) => {
                let score = score(self.free(one));
                if score >= STRONG { score } else { 0.0 }
            }
        }
    }

    fn take(&mut self, source: &Source<'_>) {
        match source {
            Source::Whole(claim) => self.take_whole(claim),
            Source::Parts(one) => self.take_parts(one),
        }
    }

    fn whole(&self, variant: usize) -> Option<Range<usize>> {
        let variant = self.variants.get(variant)?;
        Some(variant.in_root(&(0..variant.bytes().len()))).filter(|range| !range.is_empty())
    }

    /// The prints whose middle is not taken.
    fn free<'e>(&self, one: &'e Evidence) -> impl Iterator<Item = &'e Hit> {
        let root = self.root(one.variant);
        one.hits.iter().filter(move |hit| {
            let middle = usize::midpoint(hit.there.start, hit.there.end);
            self.is_open(root, &(middle..middle + 1))
        })
    }

    fn take_whole(&mut self, claim: &Claim) {
        let Some(range) = self.whole(claim.variant) else { return };
        let here = self.variants.get(claim.variant).map_or(0..0, |v| 0..v.bytes().len());
        self.add(claim.document, claim.class, claim.variant, range, &here, 0);
    }

    fn take_parts(&mut self, one: &Evidence) {
        let root = self.root(one.variant);
        let mut runs: Vec<Vec<&Hit>> = Vec::new();
        for hit in self.free(one) {
            match runs.last_mut() {
                Some(run) if run.last().is_some_and(|last| self.goes_on(one, last, hit)) => run.push(hit),
                _ => runs.push(vec![hit]),
            }
        }
        for run in runs {
            let (Some(first), Some(last)) = (run.first(), run.last()) else { continue };
            // One print alone may be chance, even here.
            if run.iter().all(|hit| hit.hash == first.hash) {
                continue;
            }
            let range = self.clipped(root, first.there.start..last.there.end);
            self.add(one.document, Class::Strong, one.variant, range, &(first.here.start..last.here.end), run.len());
        }
    }

    /// Whether two prints of a document belong to one part: few others between them, and nothing that is taken.
    fn goes_on(&self, one: &Evidence, last: &Hit, next: &Hit) -> bool {
        let between = usize::midpoint(last.there.start, last.there.end)..usize::midpoint(next.there.start, next.there.end);
        next.order - last.order <= one.reach && self.is_open(self.root(one.variant), &between)
    }

    /// The range without what is taken at its ends.
    fn clipped(&self, root: usize, range: Range<usize>) -> Range<usize> {
        let middle = usize::midpoint(range.start, range.end);
        let (mut start, mut end) = (range.start, range.end);
        for taken in self.taken.get(&root).into_iter().flatten() {
            if taken.end <= middle {
                start = start.max(taken.end);
            } else {
                end = end.min(taken.start);
            }
        }
        start..end.max(start)
    }

    fn add(&mut self, document: u64, class: Class, variant: usize, bytes: Range<usize>, here: &Range<usize>, prints: usize) {
        let root = self.root(variant);
        if bytes.is_empty() {
            return;
        }
        let taken = self.taken.entry(root).or_default();
        let place = taken.partition_point(|t| t.start < bytes.start);
        taken.insert(place, bytes.clone());
        let (lines, within) = (self.lines(root, &bytes), self.lines(variant, here));
        self.spans.push(Span { document, class, variant, root, bytes, lines, within, prints });
    }

    fn lines(&mut self, variant: usize, range: &Range<usize>) -> RangeInclusive<usize> {
        let bytes = self.variants.get(variant).map_or(&[][..], |v| v.bytes());
        self.lines.entry(variant).or_insert_with(|| Lines::of(bytes)).lines(range)
    }
}

/// The sum of the weights of different prints.
fn score<'e>(hits: impl Iterator<Item = &'e Hit>) -> f64 {
    let mut seen = HashSet::new();
    hits.filter(|hit| seen.insert(hit.hash)).map(|hit| hit.weight).sum()
}
