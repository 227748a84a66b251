//! Whose words they are: found texts against what is on record.

use std::collections::{HashMap, HashSet};

use crate::class::{Class, WEAK};
use crate::decode::Variant;
use crate::prints::{Fingerprint, GRAM, Print, WINDOW, Winnower};
use crate::spans::{Claim, Evidence, Hit, Span, spans};

/// What is on record. It answers from one state: between two calls of one attribution, nothing is added.
pub trait Index {
    /// Why it could not answer.
    type Error;

    /// The documents with exactly these bytes, by SHA-256.
    fn exact(&mut self, digest: &[u8; 32]) -> Result<Vec<u64>, Self::Error>;

    /// The documents with the same normalised text, by its SHA-256.
    fn normalised(&mut self, digest: &[u8; 32]) -> Result<Vec<u64>, Self::Error>;

    /// For each of these hashes that any document has, who has it. The hashes are sorted, each there once.
    fn prints(&mut self, hashes: &[u64]) -> Result<Vec<Posting>, Self::Error>;
}

/// Who has a print.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Posting {
    /// The print's hash.
    pub hash: u64,
    /// The documents that have it. Where the spread is greater than [`COMMON`], they are not looked at.
    pub documents: Vec<u64>,
    /// In how many independent works it occurs. Where one task writes the same text again and again, that is one work:
    /// an index that counts each copy makes its own texts look common.
    pub spread: u64,
}

/// The answer.
#[derive(Clone, Debug)]
pub struct Attribution {
    /// The class of the best match.
    pub class: Class,
    /// The documents that match, the best first. One whose class is not an attribution is a hint.
    pub matches: Vec<Match>,
    /// Which part came from which document: in order, disjoint within each root, and only attributions.
    pub spans: Vec<Span>,
}

/// A document that matches.
#[derive(Clone, Debug, PartialEq)]
pub struct Match {
    /// The document.
    pub document: u64,
    /// How sure it is.
    pub class: Class,
    /// The sum of 1 / spread over the different prints that are shared.
    pub score: f64,
    /// How many different prints are shared.
    pub shared: usize,
    /// The share of the variant's different prints that the document has: 1 where all of it came from there.
    pub containment: f64,
    /// The variant that matches best, as an index into those that were given.
    pub variant: usize,
}

/// Finds the documents that variants were taken from.
///
/// Each variant is looked up exactly, normalised, and by at most `most` prints; a short one by all its hashes, so that it
/// meets every print that a document has in it and not only those that it would choose itself. What is not the found bytes themselves
/// needs 32 normalised characters to be looked up by a digest: shorter parts are everywhere. Of equal matches the
/// document with the smaller number comes first, which is the earlier one where numbers grow with time.
pub fn attribute<I: Index>(variants: &[Variant<'_>], most: usize, index: &mut I) -> Result<Attribution, I::Error> {
    let asked: Vec<Asked> = variants.iter().map(|variant| Asked::of(variant, most)).collect();
    let claims = claims(variants, &asked, index)?;
    let postings = postings(&asked, index)?;
    let evidence = evidence(variants, &asked, &postings);
    let matches = matches(&claims, &evidence, &asked);
    let spans = spans(variants, &claims, &evidence);
    Ok(Attribution { class: matches.first().map_or(Class::None, |best| best.class), matches, spans })
}

/// What is looked up of one variant.
struct Asked {
    taken: Fingerprint,
    /// Every hash, where the variant is short.
    every: Option<Vec<Print>>,
}

impl Asked {
    fn of(variant: &Variant<'_>, most: usize) -> Self {
        let text = if variant.is_text() { variant.bytes() } else { &[] };
        let take = |mut winnower: Winnower| {
            winnower.push_bytes(text);
            winnower.finish()
        };
        let taken = take(Winnower::new(most));
        let every = (taken.characters <= SHORT).then(|| take(Winnower::every()).prints);
        Self { taken, every }
    }

    fn prints(&self) -> &[Print] {
        self.every.as_ref().unwrap_or(&self.taken.prints)
    }

    /// How many of the prints may lie between two of one part.
    fn reach(&self) -> usize {
        if self.every.is_some() { NEIGHBOURS * (WINDOW + 1) / 2 } else { NEIGHBOURS }
    }

    /// The hashes that winnowing chose.
    fn chosen(&self) -> HashSet<u64> {
        self.taken.prints.iter().map(|print| print.hash).collect()
    }
}

/// The documents that are the whole of a variant.
fn claims<I: Index>(variants: &[Variant<'_>], asked: &[Asked], index: &mut I) -> Result<Vec<Claim>, I::Error> {
    let mut claims = Vec::new();
    for (n, (variant, asked)) in variants.iter().zip(asked).enumerate() {
        let short = asked.taken.characters < GRAM;
        if n > 0 && short && variant.is_text() {
            continue;
        }
        let exact = index.exact(&variant.digest())?;
        let mut same = if short { Vec::new() } else { index.normalised(&asked.taken.normalised)? };
        same.retain(|document| !exact.contains(document));
        let exact = exact.into_iter().map(|document| (document, Class::Exact));
        let whole = exact.chain(same.into_iter().map(|document| (document, Class::Normalised)));
        // No fragment of the same text can weigh more.
        let weight = asked.chosen().len() as f64 + 1.0;
        claims.extend(whole.map(|(document, class)| Claim { document, class, variant: n, weight }));
    }
    Ok(claims)
}

/// The postings that say something.
fn postings<I: Index>(asked: &[Asked], index: &mut I) -> Result<HashMap<u64, Posting>, I::Error> {
    let mut hashes: Vec<u64> = asked.iter().flat_map(Asked::prints).map(|print| print.hash).collect();
    hashes.sort_unstable();
    hashes.dedup();
    if hashes.is_empty() {
        return Ok(HashMap::new());
    }
    let postings = index.prints(&hashes)?.into_iter().filter(|p| p.spread <= COMMON && !p.documents.is_empty());
    Ok(postings.map(|posting| (posting.hash, posting)).collect())
}

/// What speaks for each document in each variant, the best first; no more than [`MOST_MATCHES`] documents.
fn evidence(variants: &[Variant<'_>], asked: &[Asked], postings: &HashMap<u64, Posting>) -> Vec<Evidence> {
    let mut all: HashMap<(u64, usize), Vec<Hit>> = HashMap::new();
    for (n, (variant, asked)) in variants.iter().zip(asked).enumerate() {
        for (order, print) in asked.prints().iter().enumerate() {
            let Some(posting) = postings.get(&print.hash) else { continue };
            let hit = hit(variant, order, print, posting);
            let mut documents = posting.documents.clone();
            documents.sort_unstable();
            documents.dedup();
            for document in documents {
                all.entry((document, n)).or_default().push(hit.clone());
            }
        }
    }
    let reach = |variant: usize| asked.get(variant).map_or(0, Asked::reach);
    let all = all.into_iter().map(|((document, variant), hits)| Evidence::new(document, variant, hits, reach(variant)));
    let mut all: Vec<Evidence> = all.filter(|e| e.score >= WEAK).collect();
    all.sort_by(|a, b| b.score.total_cmp(&a.score).then((a.variant, a.document).cmp(&(b.variant, b.document))));
    let mut documents = HashSet::new();
    all.retain(|e| documents.contains(&e.document) || (documents.len() < MOST_MATCHES && documents.insert(e.document)));
    all
}

fn hit(variant: &Variant<'_>, order: usize, print: &Print, posting: &Posting) -> Hit {
    let here = print.start..print.end;
    let there = variant.in_root(&here);
    Hit { hash: print.hash, weight: 1.0 / posting.spread.max(1) as f64, order, here, there }
}

fn matches(claims: &[Claim], evidence: &[Evidence], asked: &[Asked]) -> Vec<Match> {
    let mut best: HashMap<u64, Match> = HashMap::new();
    // Claims come in the order of the variants, and evidence the best first: the first of each is the one to name.
    for claim in claims {
        let (document, class, variant) = (claim.document, claim.class, claim.variant);
        let found = Match { document, class, score: 0.0, shared: 0, containment: 1.0, variant };
        let known = best.entry(document).or_insert_with(|| found.clone());
        if class > known.class {
            *known = found;
        }
    }
    for one in evidence {
        let (score, shared) = (one.score, one.shared());
        let chosen = asked.get(one.variant).map(Asked::chosen).unwrap_or_default();
        let contained = one.hits.iter().map(|hit| hit.hash).filter(|hash| chosen.contains(hash)).collect::<HashSet<_>>();
        let containment = contained.len() as f64 / chosen.len().max(1) as f64;
        let (document, class, variant) = (one.document, Class::of_score(score), one.variant);
        let known = best.entry(document).or_insert(Match { document, class, score, shared, containment, variant });
        if known.class > Class::Strong && known.variant == variant {
            (known.score, known.shared) = (score, shared);
        }
    }
    let mut matches: Vec<Match> = best.into_values().collect();
    matches.sort_by(|a, b| {
        let better = b.class.cmp(&a.class).then(b.score.total_cmp(&a.score)).then(b.containment.total_cmp(&a.containment));
        better.then(a.document.cmp(&b.document))
    });
    matches.truncate(MOST_MATCHES);
    matches
}

/// A print with a greater spread is common and says nothing.
pub const COMMON: u64 = 16;

/// The most normalised characters of a variant that is looked up by all its hashes: some 1.4 kB of prose.
const SHORT: usize = 1024;

/// Prints of one document this many places apart, with none of it between, are still one part.
const NEIGHBOURS: usize = 5;

/// The most documents in an answer.
const MOST_MATCHES: usize = 100;
