//! A trace in words: what was found and how sure that is, which lines came from where, and the way to the person.

use marque_core::record::Ending;
use marque_engine::{Chain, Found, Trace, TraceClass, TraceSpan};

use super::receipts::Agreement;
use crate::output::{Output, Tone};

/// All that a trace of one file says.
pub(super) fn found(output: &Output, found: &Trace) {
    head(output, found);
    let shown = shown(found);
    for span in merged(found).iter().take(MOST_SPANS) {
        output.line(format!("  {}", part(output, found, &shown, &lines(span), span.chain)));
    }
    for n in &shown {
        if let Some(chain) = found.chains.get(*n) {
            whole_chain(output, chain, letter(&shown, *n));
        }
    }
    receipts(output, found, "  ");
    hints(output, found);
    for chain in &found.input_of {
        output.line(format!("  {}", used(chain)));
        output.line(format!("    {}", proof(output, chain)));
    }
}

/// How it was found; where it was not, what that covers.
fn head(output: &Output, found: &Trace) {
    let attribution = super::attributed(found);
    let (tone, how) = match word(found.class) {
        (tone, _) if found.class == TraceClass::None && !found.input_of.is_empty() => {
            (tone, "not found in this ledger but as an input of others")
        }
        known => known,
    };
    if attribution {
        output.line(format!("{}  {}, in a ledger of {} entries", found.digest, output.paint(tone, how), found.covers));
    } else {
        output.line(format!("{}  {}: {} entries were searched", found.digest, output.paint(tone, how), found.covers));
        output.line(format!("  {}", checkpoint(found)));
    }
    if found.pruned > 0 {
        output.line(format!(
            "  the contents of the entries below {} were let go: what only they carried is not found",
            found.pruned
        ));
    }
    if found.digest_only {
        output.line(output.paint(Tone::Waiting, "  only its digest was looked up: it is too long to be searched for parts"));
    } else if !found.complete {
        output.line(output.paint(Tone::Waiting, "  it holds more, packed or encoded, than was looked at"));
    }
}

/// The class in words.
pub(super) fn word(class: TraceClass) -> (Tone, &'static str) {
    match class {
        TraceClass::Exact => (Tone::Good, "exact"),
        TraceClass::Normalised => (Tone::Good, "the same letters and digits"),
        TraceClass::Strong => (Tone::Good, "parts of it"),
        TraceClass::Weak => (Tone::Waiting, "resembles what is on record, which is no attribution"),
        TraceClass::None => (Tone::Bad, "not found in this ledger"),
    }
}

/// The log, its size and its root, as its newest checkpoint says.
pub(super) fn checkpoint(found: &Trace) -> String {
    let mut lines = found.checkpoint.lines();
    let mut next = || lines.next().unwrap_or("?");
    let (origin, size, root) = (next(), next(), next());
    format!("checkpoint of {origin} at size {size}, root {root}")
}

/// The chains that are told by themselves: not those that have no part of the text and stand upstream of another anyway.
pub(super) fn shown(found: &Trace) -> Vec<usize> {
    let has_part = |n: usize| found.spans.iter().any(|span| span.chain == n);
    let is_above = |n: usize, entry: u64| found.chains.iter().take(n).any(|chain| above(chain, entry));
    let numbered = found.chains.iter().enumerate();
    numbered.filter(|(n, chain)| has_part(*n) || !is_above(*n, chain.entry)).map(|(n, _)| n).collect()
}

fn above(chain: &Chain, entry: u64) -> bool {
    chain.upstream.iter().any(|c| c.entry == entry || above(c, entry))
}

/// Parts that follow one another and came from the same chain are one.
pub(super) fn merged(found: &Trace) -> Vec<TraceSpan> {
    let mut merged: Vec<TraceSpan> = Vec::new();
    for span in &found.spans {
        match merged.last_mut() {
            Some(last) if last.chain == span.chain && last.class == span.class && span.from <= last.to + 1 => {
                last.to = last.to.max(span.to);
            }
            _ => merged.push(span.clone()),
        }
    }
    merged
}

fn lines(span: &TraceSpan) -> String {
    if span.from == span.to { format!("line {}", span.from) } else { format!("lines {}–{}", span.from, span.to) }
}

/// `lines 10–40 ← agent/a, task_…: purpose, for alice@example.com`
pub(super) fn part(output: &Output, found: &Trace, shown: &[usize], lines: &str, chain: usize) -> String {
    let arrow = output.paint(Tone::Faint, "←");
    let who = found.chains.get(chain).map(who).unwrap_or_default();
    let letter = letter(shown, chain).map_or(String::new(), |letter| format!("{letter}  "));
    format!("{letter}{lines} {arrow} {who}")
}

/// What tells one of several chains from the others.
fn letter(shown: &[usize], chain: usize) -> Option<char> {
    let place = shown.iter().position(|n| *n == chain).filter(|_| shown.len() > 1)?;
    u8::try_from(place).ok().and_then(|n| b'A'.checked_add(n)).filter(u8::is_ascii_uppercase).map(char::from)
}

/// Who acted, in which task, for whom.
pub(super) fn who(chain: &Chain) -> String {
    let (Some(own), Some(first)) = (chain.tasks.first(), chain.tasks.last()) else { return "a task that is not known".into() };
    let (actor, person) = (own.task.actor.short(), first.task.principal.name());
    format!("{actor}, {}: {}, for {person}", own.task.id, own.task.purpose)
}

/// What was done, in one line.
pub(super) fn deed(chain: &Chain) -> String {
    match (&chain.decided, &chain.artifact) {
        (Some(decided), _) => {
            format!("record  {}  {} {} at {}", decided.record, decided.action, decided.resource, chain.at)
        }
        (None, Some(artifact)) => {
            let by = by(chain);
            format!("artifact  {}  {} bytes, attested at {}{by}", super::plain(&artifact.name), artifact.bytes, chain.at)
        }
        (None, None) => format!("entry  {} at {}", chain.entry, chain.at),
    }
}

/// What was made from the file, which says nothing of where it came from.
pub(super) fn used(chain: &Chain) -> String {
    let Some(artifact) = &chain.artifact else { return format!("an input of entry {}", chain.entry) };
    format!("an input of {}, attested for task {}{}", super::plain(&artifact.name), artifact.task, by(chain))
}

/// On whose word.
fn by(chain: &Chain) -> String {
    chain.attested_by.as_ref().map_or(String::new(), |by| format!(" by {by}"))
}

/// The way from the output to the person.
fn whole_chain(output: &Output, chain: &Chain, letter: Option<char>) {
    let arrow = output.paint(Tone::Faint, "←");
    if let Some(letter) = letter {
        output.line(output.paint(Tone::Strong, letter.to_string()));
    }
    output.line(format!("{arrow} {}", deed(chain)));
    if let Some(found) = &chain.found {
        output.line(format!("  {}", how(found)));
    }
    if let Some(decided) = &chain.decided {
        let reasons: Vec<String> = decided.reasons.iter().map(|r| format!("{} ({})", r.policy, r.text)).collect();
        output.line(format!("  {} by {}; policies {}", decided.effect.as_str(), reasons.join(", "), decided.policy.short()));
    }
    if let Some(outcome) = chain.outcome.as_ref().filter(|outcome| outcome.ending != Ending::Answered) {
        output.line(output.paint(Tone::Waiting, format!("  the call ended as {:?}", outcome.ending)));
    }
    if let Some(instance) = &chain.instance {
        let seen = &instance.attestation;
        output.line(format!("{arrow} instance  {}  {} as pid {}, {}", instance.id, instance.identity, seen.pid, seen.method));
    }
    if let Some(lease) = &chain.lease {
        output.line(format!("{arrow} lease  {}  {}", lease.id, lease.class.as_str()));
    }
    for step in &chain.tasks {
        let task = &step.task;
        let what = step.elevation.map_or("task".to_owned(), |e| format!("task of approved {e}"));
        output.line(format!("{arrow} {what}  {}  {}: {}", task.id, task.actor, task.purpose));
    }
    if let Some(first) = chain.tasks.last() {
        output.line(format!("{arrow} asked for by {}", output.paint(Tone::Strong, first.task.principal.to_string())));
    }
    output.line(format!("  {}", proof(output, chain)));
    if !chain.upstream.is_empty() {
        output.line("  made from");
        upstream(output, chain, 2);
    }
    missing(output, chain, "  ");
}

/// The inputs that lead no further.
fn missing(output: &Output, chain: &Chain, space: &str) {
    for one in &chain.missing {
        let standing = if one.later { "on record only after it" } else { "not on record" };
        output.line(format!("{space}made from {}  {}", one.input, output.paint(Tone::Waiting, standing)));
    }
}

/// Where in the record it was found, and what it was decoded by.
fn how(found: &Found) -> String {
    let what = match found.class {
        TraceClass::Exact => "the same bytes",
        TraceClass::Normalised => "the same letters and digits",
        _ => "parts of it",
    };
    let side = match found.side.as_str() {
        "request" => "in its request",
        "response" => "in its answer",
        "cause" => return "as its caller declared; no text shows it".into(),
        _ => "as the file that was attested",
    };
    let at = found.at.as_ref().map_or(String::new(), |at| format!(", at {}", super::plain(at)));
    let decoded = if found.decoded.is_empty() { String::new() } else { format!(", decoded from {}", found.decoded.join(", ")) };
    format!("{what} {side}{at}{decoded}")
}

pub(super) fn proof(output: &Output, chain: &Chain) -> String {
    match &chain.proof {
        Some(proof) if proof.verified => {
            let proved = output.paint(Tone::Good, "✓ proved:");
            format!("{proved} entry {} of {}, root {}", proof.index, proof.size, proof.root)
        }
        Some(proof) => output.paint(Tone::Bad, format!("✗ entry {} does not verify", proof.index)),
        None => "not in a checkpoint yet: ask again in a second".into(),
    }
}

/// The records that it was made from, and those that they were made from.
fn upstream(output: &Output, chain: &Chain, depth: usize) {
    let space = "  ".repeat(depth);
    for above in &chain.upstream {
        output.line(format!("{space}{} {}", output.paint(Tone::Faint, "←"), deed(above)));
        if let Some(found) = &above.found {
            output.line(format!("{space}  {}", how(found)));
        }
        output.line(format!("{space}  {}", who(above)));
        upstream(output, above, depth + 1);
        missing(output, above, &format!("{space}  "));
    }
}

/// Receipts that stood in the text, and what speaks for each.
pub(super) fn receipts(output: &Output, found: &Trace, space: &str) {
    for receipt in &found.receipts {
        let agreement = Agreement::of(found, receipt);
        let tone = match agreement {
            Agreement::Text | Agreement::Task => Tone::Good,
            Agreement::Nothing => Tone::Waiting,
            Agreement::Unknown => Tone::Bad,
        };
        let (carrier, words) = (&receipt.carrier, output.paint(tone, agreement.words()));
        output.line(format!("{space}receipt  {} ({carrier}): {words}", receipt.record));
        if let Some(chain) = receipt.chain.as_ref().filter(|_| agreement == Agreement::Nothing) {
            output.line(format!("{space}  {}", deed(chain)));
            output.line(format!("{space}  {}", who(chain)));
        }
    }
}

fn hints(output: &Output, found: &Trace) {
    for hint in &found.hints {
        let what = hint.record.map_or_else(|| format!("entry {}", hint.entry), |record| record.to_string());
        let text = format!("  resembles {what} (score {:.1}), which is no attribution", hint.score);
        output.line(output.paint(Tone::Waiting, text));
    }
}

const MOST_SPANS: usize = 40;
