//! Upstream: the records whose outputs a record was given.

use std::collections::BTreeMap;

use marque_core::Committed;
use marque_core::record::Content;
use marque_store::views::Views;
use marque_trace::{COMMON, Class, Index as _};

use super::ladder::Ledger;
use super::{Chain, Found, Missing};
use crate::error::Result;
use crate::open::Engine;

/// Finds what a record or an artifact was made from: the records before it that returned, or were given, the same text or
/// parts of it, those that its caller declared, and the artifacts among its inputs. Each has its own upstream, a few steps
/// far. Of inputs that lead nowhere it is said that they do.
pub(super) fn fill(engine: &Engine, views: &Views, chain: &mut Chain) -> Result<()> {
    further(engine, &mut Ledger::new(views), chain, MOST_STEPS)
}

fn further(engine: &Engine, ledger: &mut Ledger<'_>, chain: &mut Chain, steps: usize) -> Result<()> {
    let Some(left) = steps.checked_sub(1) else { return Ok(()) };
    let missing = missing(ledger, chain)?;
    let upstream = above(engine, ledger, chain, left)?;
    (chain.missing, chain.upstream) = (missing, upstream);
    Ok(())
}

/// The inputs of an artifact of which nothing before it has the bytes.
fn missing(ledger: &Ledger<'_>, chain: &Chain) -> Result<Vec<Missing>> {
    let mut missing: Vec<Missing> = Vec::new();
    for input in chain.artifact.iter().flat_map(|artifact| &artifact.inputs).filter_map(Committed::digest) {
        let mut same = ledger.same(&input, usize::MAX)?;
        same.retain(|seq| *seq != chain.entry);
        if any_before(ledger.views, &same, chain.entry)? || missing.iter().any(|known| known.input == input) {
            continue;
        }
        missing.push(Missing { input, later: !same.is_empty() });
    }
    Ok(missing)
}

/// Whether any of these entries stands before one, or is the outcome of what does.
fn any_before(views: &Views, seqs: &[u64], entry: u64) -> Result<bool> {
    if seqs.iter().any(|seq| *seq < entry) {
        return Ok(true);
    }
    for seq in seqs {
        if *seq < entry.saturating_add(SOON) && views.record_with(*seq)?.is_some_and(|row| row.seq < entry) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn above(engine: &Engine, ledger: &mut Ledger<'_>, chain: &Chain, left: usize) -> Result<Vec<Chain>> {
    let views = ledger.views;
    let mut before: BTreeMap<u64, (Class, f64)> = BTreeMap::new();
    let mut note = |seq: u64, class: Class, score: f64| {
        // An answer is worked with while it still streams, so that its outcome may stand behind what was made of it.
        if seq != chain.entry && seq < chain.entry.saturating_add(SOON) {
            let best = before.entry(seq).or_insert((class, score));
            *best = if best.0 >= class { *best } else { (class, score) };
        }
    };
    for content in chain.decided.iter().flat_map(|decided| &decided.contents) {
        alike(ledger, content, &mut note)?;
    }
    for input in chain.artifact.iter().flat_map(|artifact| &artifact.inputs).filter_map(Committed::digest) {
        // Any number of them may be later.
        let mut same = ledger.same(&input, usize::MAX)?;
        same.retain(|seq| *seq < chain.entry.saturating_add(SOON));
        same.into_iter().take(LOOKED_AT).for_each(|seq| note(seq, Class::Exact, 0.0));
    }
    // What is only declared is told too, as that: no text shows it.
    for cause in chain.decided.iter().flat_map(|decided| &decided.causes) {
        if let Some(row) = views.record(*cause)? {
            note(row.seq, Class::None, 0.0);
        }
    }
    let mut found: Vec<Chain> = Vec::new();
    for (seq, (class, score)) in before.into_iter().rev() {
        if found.len() >= MOST {
            break;
        }
        if seq > chain.entry && views.record_with(seq)?.is_none_or(|row| row.seq >= chain.entry) {
            continue;
        }
        let Some(mut above) = engine.chain_at(views, seq)? else { continue };
        if above.entry >= chain.entry || found.iter().any(|c| c.entry == above.entry) {
            continue;
        }
        // A file that was made from the same file is no source of this one.
        if above.artifact.as_ref().is_some_and(|file| !was_given(chain, &file.content)) {
            continue;
        }
        let side = if class == Class::None {
            "cause"
        } else if above.artifact.is_some() {
            "artifact"
        } else if seq == above.entry {
            "request"
        } else {
            "response"
        };
        let side = side.to_owned();
        above.found = Some(Found { class: class.into(), score, containment: 0.0, decoded: Vec::new(), side, at: None });
        further(engine, ledger, &mut above, left)?;
        found.push(above);
    }
    Ok(found)
}

/// Whether a record was given these bytes, or an artifact was made from them.
fn was_given(chain: &Chain, content: &Committed) -> bool {
    let texts = chain.decided.iter().flat_map(|decided| &decided.contents).map(|text| &text.exact);
    texts.chain(chain.artifact.iter().flat_map(|artifact| &artifact.inputs)).any(|given| given == content)
}

/// Entries with the same text, or with enough of its fingerprints.
fn alike(ledger: &mut Ledger<'_>, content: &Content, note: &mut impl FnMut(u64, Class, f64)) -> Result<()> {
    let index = ledger.views.index();
    if let Some(digest) = content.exact.digest() {
        ledger.same(&digest, LOOKED_AT)?.into_iter().for_each(|seq| note(seq, Class::Exact, 0.0));
    }
    if let Some(digest) = content.normalised.digest().filter(|_| content.bytes >= LONG) {
        index.with_normalised(&digest, LOOKED_AT)?.into_iter().for_each(|seq| note(seq, Class::Normalised, 0.0));
    }
    let mut scores: BTreeMap<u64, f64> = BTreeMap::new();
    for posting in ledger.prints(content.prints.as_slice())?.iter().filter(|posting| posting.spread <= COMMON) {
        for seq in &posting.documents {
            *scores.entry(*seq).or_default() += 1.0 / posting.spread.max(1) as f64;
        }
    }
    for (seq, score) in scores {
        if Class::of_score(score).is_attribution() {
            note(seq, Class::Strong, score);
        }
    }
    Ok(())
}

/// How many records above one are told.
const MOST: usize = 5;
/// How many entries with a text are looked at: the newest of them may all be later.
const LOOKED_AT: usize = 64;
/// How many entries after it was used an answer's outcome may stand.
const SOON: u64 = 4096;
/// How far up.
const MOST_STEPS: usize = 3;
/// Shorter texts are the same by chance once they are normalised.
const LONG: u64 = 32;
