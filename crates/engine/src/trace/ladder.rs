//! The ladder, over the index of this log.

use std::collections::{BTreeSet, HashMap};

use marque_core::Digest;
use marque_core::event::Body;
use marque_core::id::RecordId;
use marque_store::index::{Field, Term};
use marque_store::views::Views;
use marque_trace::{Attribution, COMMON, Decoded, Index, Limits, Match, Posting, attribute, receipts, variants};

use super::parts::{Parts, with_digest};
use super::{Chain, Found, FoundReceipt, Hint, Trace, TraceClass, TraceSpan, upstream};
use crate::digest::sha256;
use crate::error::{EngineError, Result};
use crate::open::Engine;

pub(super) fn trace(engine: &Engine, views: &Views, bytes: &[u8]) -> Result<Trace> {
    let mut trace = nothing_yet(engine, views, sha256(bytes))?;
    let Decoded { variants, complete } = variants(bytes, &Limits::default());
    let found = attribute(&variants, MOST_PRINTS, &mut Ledger::new(views))?;
    (trace.class, trace.complete) = (TraceClass::from(found.class), complete);
    let places = chains(engine, views, &found, &variants, &mut trace)?;
    trace.spans = spans(&found, &places);
    for variant in variants.iter().filter(|v| v.is_text()) {
        for receipt in receipts(&String::from_utf8_lossy(variant.bytes())) {
            if trace.receipts.len() < MOST && trace.receipts.iter().all(|r| r.record != receipt.id) {
                let chain = receipt.id.parse().ok().and_then(|id: RecordId| engine.trace_record(id).ok());
                trace.receipts.push(FoundReceipt { carrier: receipt.carrier.key().to_owned(), record: receipt.id, chain });
            }
        }
    }
    Ok(trace)
}

/// The first step of the ladder alone: the same bytes.
pub(super) fn trace_digest(engine: &Engine, views: &Views, digest: &Digest) -> Result<Trace> {
    let mut trace = nothing_yet(engine, views, *digest)?;
    (trace.complete, trace.digest_only) = (false, true);
    let mut same = Ledger::new(views).own(digest, MOST)?;
    same.sort_unstable();
    for seq in same {
        let Some(mut chain) = engine.chain_at(views, seq)? else { continue };
        if trace.chains.iter().any(|known| known.entry == chain.entry) {
            continue;
        }
        let side = side(seq, &chain);
        let at = with_digest(&chain, side, digest);
        let (class, side) = (TraceClass::Exact, side.to_owned());
        chain.found = Some(Found { class, score: 0.0, containment: 1.0, decoded: Vec::new(), side, at });
        if trace.chains.len() < MOST_UPSTREAM {
            upstream::fill(engine, views, &mut chain)?;
        }
        trace.class = class;
        trace.chains.push(chain);
    }
    Ok(trace)
}

/// The answer before anything is looked for but what was made from the file.
fn nothing_yet(engine: &Engine, views: &Views, digest: Digest) -> Result<Trace> {
    let covers = views.index().covers();
    // One lock, let go before anything else asks for it.
    let (pruned, checkpoint) = {
        let tiles = engine.tiles();
        (tiles.pruned(), tiles.checkpoint()?)
    };
    Ok(Trace {
        digest,
        class: TraceClass::None,
        covers,
        pruned,
        complete: true,
        digest_only: false,
        chains: Vec::new(),
        spans: Vec::new(),
        hints: Vec::new(),
        receipts: Vec::new(),
        input_of: input_of(engine, views, &digest)?,
        checkpoint,
    })
}

/// The attested files that were made from the file of this digest.
fn input_of(engine: &Engine, views: &Views, digest: &Digest) -> Result<Vec<Chain>> {
    let mut made = Vec::new();
    if is_of_nothing(digest) {
        return Ok(made);
    }
    for seq in views.index().with_input(digest, MOST)? {
        let Some(chain) = engine.chain_at(views, seq)? else { continue };
        if chain.artifact.iter().flat_map(|artifact| &artifact.inputs).any(|input| *input == *digest) {
            made.push(chain);
        }
    }
    Ok(made)
}

/// Whether it is the digest of no bytes, which all empty files have: that two of them are the same says nothing.
pub(super) fn is_of_nothing(digest: &Digest) -> bool {
    *digest == sha256(&[])
}

/// The chains of the attributions, and which of them each document is.
fn chains(
    engine: &Engine,
    views: &Views,
    found: &Attribution,
    variants: &[marque_trace::Variant<'_>],
    trace: &mut Trace,
) -> Result<HashMap<u64, usize>> {
    let mut places = HashMap::new();
    let mut parts = Parts::of(variants, MOST_PRINTS);
    for one in &found.matches {
        if !one.class.is_attribution() {
            if trace.hints.len() < MOST {
                let record = record_of(views, one.document)?;
                trace.hints.push(Hint { entry: one.document, record, score: one.score });
            }
            continue;
        }
        if trace.chains.len() >= MOST {
            break;
        }
        let Some(mut chain) = engine.chain_at(views, one.document)? else { continue };
        // A record that was given a text and returned it too is one chain.
        if let Some(known) = trace.chains.iter().position(|c| c.entry == chain.entry) {
            places.insert(one.document, known);
            continue;
        }
        chain.found = Some(found_as(one, &chain, &mut parts));
        if trace.chains.len() < MOST_UPSTREAM {
            upstream::fill(engine, views, &mut chain)?;
        }
        places.insert(one.document, trace.chains.len());
        trace.chains.push(chain);
    }
    Ok(places)
}

fn found_as(one: &Match, chain: &Chain, parts: &mut Parts<'_>) -> Found {
    let side = side(one.document, chain);
    Found {
        class: one.class.into(),
        score: one.score,
        containment: one.containment,
        decoded: parts.steps(one),
        side: side.to_owned(),
        at: parts.at(one, chain, side),
    }
}

/// Which side of what it carries an entry is of.
fn side(entry: u64, chain: &Chain) -> &'static str {
    match (&chain.artifact, entry == chain.entry) {
        (Some(_), _) => "artifact",
        (None, true) => "request",
        (None, false) => "response",
    }
}

/// Spans of the found bytes themselves: others have lines of their own.
fn spans(found: &Attribution, places: &HashMap<u64, usize>) -> Vec<TraceSpan> {
    let here = found.spans.iter().filter(|span| span.root == 0);
    let span = |span: &marque_trace::Span| {
        let chain = *places.get(&span.document)?;
        Some(TraceSpan { from: *span.lines.start(), to: *span.lines.end(), chain, class: TraceClass::from(span.class) })
    };
    here.filter_map(span).collect()
}

pub(super) fn record_of(views: &Views, seq: u64) -> Result<Option<RecordId>> {
    Ok(match views.entry(seq)?.map(|o| o.event.what) {
        Some(Body::Decided(decided)) => Some(decided.record),
        Some(Body::Settled { record, .. }) => Some(record),
        _ => None,
    })
}

/// The log's index, as the ladder asks it. A document is an entry.
pub(super) struct Ledger<'a> {
    pub views: &'a Views,
    /// The work that an entry belongs to: its task.
    pub works: HashMap<u64, String>,
}

impl<'a> Ledger<'a> {
    pub(super) fn new(views: &'a Views) -> Self {
        Self { views, works: HashMap::new() }
    }

    /// The newest entries that carry exactly these bytes, or are of a file with them.
    pub(super) fn same(&self, digest: &Digest, most: usize) -> Result<Vec<u64>> {
        if is_of_nothing(digest) {
            return Ok(Vec::new());
        }
        Ok(self.views.index().with_digest(digest, most)?)
    }

    /// The same, of files only those whose own bytes they are by their entry, whatever the index says.
    fn own(&self, digest: &Digest, most: usize) -> Result<Vec<u64>> {
        let mut own = self.same(digest, most)?;
        let mut others = Vec::new();
        for seq in &own {
            if let Some(Body::ArtifactAttested { artifact }) = self.views.entry(*seq)?.map(|o| o.event.what)
                && artifact.content != *digest
            {
                others.push(*seq);
            }
        }
        own.retain(|seq| !others.contains(seq));
        Ok(own)
    }

    fn work(&mut self, seq: u64) -> Result<String> {
        if let Some(work) = self.works.get(&seq) {
            return Ok(work.clone());
        }
        let work = match self.views.entry(seq)?.map(|o| o.event.what) {
            Some(Body::Decided(decided)) => decided.task.to_string(),
            Some(Body::Settled { record, .. }) => self.task_of(record, seq)?.unwrap_or_else(|| record.to_string()),
            _ => seq.to_string(),
        };
        self.works.insert(seq, work.clone());
        Ok(work)
    }

    /// The task of a record whose outcome is entry `seq`, if its decision is not very far before it.
    fn task_of(&self, record: RecordId, seq: u64) -> Result<Option<String>> {
        let of_record = vec![Term { field: Field::Record, value: record.to_string() }];
        let Some(decided) = self.views.index().find(&[of_record], seq.saturating_sub(NEAR), seq, 1)?.pop() else {
            return Ok(None);
        };
        Ok(match self.views.entry(decided)?.map(|o| o.event.what) {
            Some(Body::Decided(decided)) => Some(decided.task.to_string()),
            _ => None,
        })
    }
}

impl Index for Ledger<'_> {
    type Error = EngineError;

    fn exact(&mut self, digest: &[u8; 32]) -> Result<Vec<u64>> {
        self.own(&Digest::from_bytes(*digest), MOST)
    }

    fn normalised(&mut self, digest: &[u8; 32]) -> Result<Vec<u64>> {
        Ok(self.views.index().with_normalised(&Digest::from_bytes(*digest), MOST)?)
    }

    fn prints(&mut self, hashes: &[u64]) -> Result<Vec<Posting>> {
        let common = usize::try_from(COMMON).unwrap_or(usize::MAX);
        let found = self.views.index().with_prints(hashes, common)?;
        let mut postings = Vec::new();
        for one in found {
            let spread = if one.more {
                COMMON + 1
            } else {
                // One task that writes a text again and again is one work.
                let works = one.seqs.iter().map(|seq| self.work(*seq)).collect::<Result<BTreeSet<String>>>()?;
                works.len() as u64
            };
            postings.push(Posting { hash: one.key, documents: one.seqs, spread });
        }
        Ok(postings)
    }
}

/// How many entries before its outcome the decision of a record is looked for.
const NEAR: u64 = 1 << 16;
/// The most records that one trace answers with.
const MOST: usize = 20;
/// Of how many the records upstream are looked for.
const MOST_UPSTREAM: usize = 5;
/// The most fingerprints that one text is looked up by.
const MOST_PRINTS: usize = 2048;
