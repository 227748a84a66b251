//! The figures.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use marque_trace::{Attribution, Class, Limits, attribute, normalise, variants};

use crate::Result;
use crate::change;
use crate::corpus::Corpus;
use crate::index::{Memory, fingerprint};
use crate::random::Random;
use crate::report::Report;

/// Changes a text; other texts are there to be put around it or into it.
type Change = fn(&str, &mut Random, &[String]) -> Option<String>;

const CHANGES: [(&str, Change); 10] = [
    ("rewrapped, CRLF", change::rewrapped),
    ("Markdown stripped, capitals", change::shouted),
    ("quoted", change::quoted),
    ("HTML", change::html),
    ("in 8 kB of JSON", change::embedded),
    ("40 % excerpt", change::excerpt),
    ("200 characters", change::characters_200),
    ("100 characters", change::characters_100),
    ("10 % of words edited", change::edited_10),
    ("20 % of words edited", change::edited_20),
];

/// Takes every figure.
pub fn run(corpus: &Corpus, queries: usize, seed: u64, report: &mut Report) -> Result<()> {
    let mut trial = Trial { memory: Memory::default(), corpus, queries, seed };
    trial.register(report)?;
    for (name, change) in CHANGES {
        trial.recall(name, change, report)?;
    }
    trial.mosaic(report)?;
    trial.held_out(report)?;
    trial.speed(report)
}

struct Trial<'a> {
    memory: Memory,
    corpus: &'a Corpus,
    queries: usize,
    seed: u64,
}

impl Trial<'_> {
    fn register(&mut self, report: &mut Report) -> Result<()> {
        let corpus = self.corpus;
        let (known, held_out) = (corpus.known.len(), corpus.held_out.len());
        let seen =
            format!("from {} packages, {} near duplicates left out, {held_out} held out", corpus.packages, corpus.duplicates);
        report.add("corpus: texts registered", known as f64, "texts", &seen)?;
        let (mut prints, mut bytes) = (0, 0);
        let start = now();
        let taken: Vec<_> = corpus.known.iter().map(|text| fingerprint(text)).collect();
        let time = start.elapsed();
        for ((document, text), taken) in (0..).zip(&corpus.known).zip(&taken) {
            self.memory.add(document, text, taken);
            prints += taken.prints.len();
            bytes += text.len();
        }
        let seen = format!("{bytes} bytes in texts of {} on average, one thread", bytes / known.max(1));
        report.add("prints: speed", bytes as f64 / 1e6 / time.as_secs_f64().max(1e-9), "MB/s", &seen)?;
        let a_kilobyte = prints as f64 * 1e3 / bytes.max(1) as f64;
        report.add("prints: number", a_kilobyte, "a kB", &format!("{:.0} bytes of hashes a kB", a_kilobyte * 8.0))
    }

    /// How often the text that was changed comes first.
    fn recall(&mut self, name: &str, change: Change, report: &mut Report) -> Result<()> {
        let corpus = self.corpus;
        let mut random = Random::new(self.seed, name);
        let documents: Vec<(u64, &String)> = (0..).zip(&corpus.known).collect();
        let (mut asked, mut first, mut named, mut wrong, mut ahead) = (0, 0, 0, 0, 0);
        for (document, text) in random.sample(&documents, self.queries) {
            let Some(changed) = change(text, &mut random, &corpus.held_out) else { continue };
            let found = self.attribute(&changed);
            let right = found.matches.first().is_some_and(|best| best.document == *document);
            asked += 1;
            first += usize::from(right);
            named += usize::from(right && found.class.is_attribution());
            wrong += usize::from(!right && found.class.is_attribution());
            ahead += usize::from(right || self.memory.best(&changed) == Some(*document));
        }
        let seen = format!(
            "{first} of {asked}, {named} of them as attributions; {ahead} first by whatever score; {wrong} attributed to another"
        );
        report.add(&format!("right first: {name}"), percent(first, asked), "%", &seen)
    }

    /// How often both of two texts are found in the lines of a third where they stand.
    fn mosaic(&mut self, report: &mut Report) -> Result<()> {
        let corpus = self.corpus;
        let mut random = Random::new(self.seed, "mosaic");
        let documents: Vec<(u64, &String)> = (0..).zip(&corpus.known).collect();
        let (mut asked, mut both, mut placed) = (0, 0, 0);
        for pair in random.sample(&documents, self.queries * 2).chunks_exact(2) {
            let [(a, first), (b, second)] = pair else { continue };
            let (mut host, mut wanted) = (change::other(1500, &mut random, &corpus.held_out), Vec::new());
            for (document, text) in [(*a, first), (*b, second)] {
                host.push_str("\n\n");
                let start = host.matches('\n').count() + 1;
                host.push_str(text.trim_end());
                wanted.push((document, start, host.matches('\n').count() + 1));
                host.push_str("\n\n");
                host.push_str(&change::other(1500, &mut random, &corpus.held_out));
            }
            let found = self.attribute(&host);
            let lines = |document: u64| {
                let spans = found.spans.iter().filter(|span| span.root == 0 && span.document == document);
                spans.map(|span| (*span.lines.start(), *span.lines.end())).reduce(|(a, b), (c, d)| (a.min(c), b.max(d)))
            };
            asked += 1;
            both += usize::from(wanted.iter().all(|(document, ..)| lines(*document).is_some()));
            let near = |(document, start, end): &(u64, usize, usize)| {
                lines(*document).is_some_and(|(first, last)| first.abs_diff(*start) <= NEAR && last.abs_diff(*end) <= NEAR)
            };
            placed += wanted.iter().filter(|wanted| near(wanted)).count();
        }
        let seen = format!("{both} of {asked}; {placed} of {} begin and end within {NEAR} lines of where they do", asked * 2);
        report.add("span map: both of two texts in a third", percent(both, asked), "%", &seen)
    }

    /// How often something is found where nothing should be, and how often that is because the texts do share words.
    fn held_out(&mut self, report: &mut Report) -> Result<()> {
        let corpus = self.corpus;
        let (mut weak, mut strong) = (Tally::default(), Tally::default());
        for text in &corpus.held_out {
            let found = self.attribute(text);
            let Some(best) = found.matches.first() else { continue };
            let known = usize::try_from(best.document).ok().and_then(|place| corpus.known.get(place));
            let same = known.is_some_and(|known| shares(text, known));
            weak.add(found.class >= Class::Weak, same);
            strong.add(found.class.is_attribution(), same);
        }
        let asked = corpus.held_out.len();
        for (name, tally) in [("held out: score of 2 or more", weak), ("held out: score of 4 or more", strong)] {
            let Tally { found, same } = tally;
            let seen = format!("{found} of {asked} texts; {same} do share 64 letters and digits in a row with what was found");
            report.add(name, percent(found, asked), "%", &seen)?;
        }
        Ok(())
    }

    /// How long decoding, printing and attributing take, the index in memory.
    fn speed(&mut self, report: &mut Report) -> Result<()> {
        let mut random = Random::new(self.seed, "speed");
        let corpus = self.corpus;
        let mut times: Vec<Duration> = Vec::new();
        for _ in 0..self.queries {
            let text = change::other(10_000, &mut random, &corpus.known);
            let start = now();
            let found = self.attribute(&text);
            times.push(start.elapsed());
            if found.matches.is_empty() {
                return Err("a text of registered texts was not found".into());
            }
        }
        times.sort_unstable();
        let at = |share: usize| times.get(times.len() * share / 100).map_or(0.0, |time| time.as_secs_f64() * 1e3);
        report.add("attribution of 10 kB: p50", at(50), "ms", &format!("p99 {:.2} ms; index in memory", at(99)))
    }

    fn attribute(&mut self, text: &str) -> Attribution {
        let decoded = variants(text.as_bytes(), &Limits::default());
        let Ok(found) = attribute(&decoded.variants, MOST_OF_A_QUERY, &mut self.memory);
        found
    }
}

/// How often something was found, and how often the texts were the same there.
#[derive(Clone, Copy, Default)]
struct Tally {
    found: usize,
    same: usize,
}

impl Tally {
    fn add(&mut self, found: bool, same: bool) {
        self.found += usize::from(found);
        self.same += usize::from(found && same);
    }
}

/// Whether two texts have a run of 64 normalised characters in common, by comparing the characters themselves.
fn shares(one: &str, other: &str) -> bool {
    let (one, other) = (normalise(one), normalise(other));
    let one: Vec<char> = one.text().chars().collect();
    let other: Vec<char> = other.text().chars().collect();
    let runs: HashSet<&[char]> = one.windows(RUN).collect();
    other.windows(RUN).any(|run| runs.contains(run))
}

/// The time now.
#[expect(clippy::disallowed_methods, reason = "a benchmark reads the clock; nothing is decided by it")]
fn now() -> Instant {
    Instant::now()
}

fn percent(part: usize, whole: usize) -> f64 {
    part as f64 * 100.0 / whole.max(1) as f64
}

/// The run that two texts must share to be sure to be found.
const RUN: usize = 64;

const MOST_OF_A_QUERY: usize = 16_384;

/// A span starts with a print, which may be a line or two into the text.
const NEAR: usize = 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shared_run_is_one_of_letters() {
        let run = "abcdefgh".repeat(8);
        assert!(shares(&format!("x {run} y"), &format!("{} z", run.to_uppercase())));
        assert!(!shares(&format!("x {}", run.get(1..).unwrap()), &format!("y {}", run.get(..63).unwrap())));
    }
}
