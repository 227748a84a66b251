//! The deterministic simulation: the real engine on a real directory, under a seeded clock, seeded randomness and
//! crashes. After every step the invariants I1 to I8 are checked against a model that the simulator keeps by itself,
//! from nothing but what the engine acknowledged.
//!
//! A seed fixes every choice, every identifier and every moment. Three things stay outside of it: the signing keys,
//! which the cryptographic library draws itself; how the log's writer groups appends into batches; and the process
//! that stands for all agents, which is this one.

#![expect(clippy::print_stdout, reason = "the report is what this program is for")]

mod act;
mod admin;
mod always;
mod arguments;
mod crash;
mod damage;
mod elevate;
mod exchange;
mod journal;
mod ledger;
mod model;
mod rng;
mod seed;
mod sim;
mod words;
mod work;

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;

use arguments::Arguments;
use seed::Report;

fn main() -> ExitCode {
    match Arguments::parse(std::env::args().skip(1)) {
        Ok(arguments) if run(&arguments) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(usage) => {
            eprintln!("{usage}");
            ExitCode::from(2)
        }
    }
}

/// Runs the seeds and reports; whether all held.
fn run(arguments: &Arguments) -> bool {
    let mut total = Total::default();
    each_seed(arguments, |report| {
        if arguments.json {
            println!("{}", report.json());
        }
        total.add(&report, arguments.json);
    });
    total.finish(arguments.json);
    total.failed == 0
}

/// Runs every seed, on as many threads as there are processors, and hands over the reports in the order of the seeds.
fn each_seed(arguments: &Arguments, mut take: impl FnMut(Report)) {
    let (first, last) = arguments.range();
    let verbose = arguments.is_verbose();
    let next = AtomicU64::new(first);
    let workers = std::thread::available_parallelism().map_or(1, |n| n.get() as u64).min(last - first + 1);
    std::thread::scope(|scope| {
        let (give, reports) = mpsc::channel();
        for _ in 0..workers {
            let give = give.clone();
            let next = &next;
            scope.spawn(move || {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed > last || give.send(seed::run(seed, verbose)).is_err() {
                        return;
                    }
                }
            });
        }
        drop(give);
        let mut early = BTreeMap::new();
        let mut due = first;
        for report in reports {
            early.insert(report.seed, report);
            while let Some(report) = early.remove(&due) {
                take(report);
                due += 1;
            }
        }
    });
}

/// What all seeds came to.
#[derive(Default)]
struct Total {
    passed: u64,
    failed: u64,
    steps: u64,
    checks: u64,
    tally: BTreeMap<&'static str, u64>,
}

impl Total {
    fn add(&mut self, report: &Report, json: bool) {
        self.steps += report.steps;
        self.checks += report.checks;
        for (what, count) in &report.tally {
            *self.tally.entry(*what).or_default() += *count;
        }
        match &report.failure {
            None => self.passed += 1,
            Some(failure) => {
                self.failed += 1;
                let text = if self.failed <= MOST_IN_FULL { failure.in_full() } else { failure.in_short() };
                if json { eprintln!("{text}") } else { println!("{text}") }
            }
        }
    }

    fn finish(&self, json: bool) {
        let seeds = self.passed + self.failed;
        let verdict = if self.failed == 0 { "all invariants held" } else { "not all invariants held" };
        let plain = format!("{} passed, {} failed", self.passed, self.failed);
        if json {
            eprintln!("{plain}");
            return;
        }
        // A simulation in which nothing happens holds every invariant: what was reached is part of the report.
        let reached: Vec<String> = self.tally.iter().map(|(what, count)| format!("{} {what}", grouped(*count))).collect();
        println!("reached: {}", reached.join(", "));
        println!("{} seeds, {} steps, {} checks: {verdict}", grouped(seeds), grouped(self.steps), grouped(self.checks));
        println!("{plain}");
    }
}

/// A number with its thousands divided by commas.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// The failures that are shown with their last steps; of the others, one line each.
const MOST_IN_FULL: u64 = 5;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_seeds_hold_every_invariant() {
        for seed in 1..=5 {
            let report = seed::run(seed, false);
            if let Some(failure) = report.failure {
                panic!("{}", failure.in_full());
            }
            assert!(report.steps >= 60 && report.checks > report.steps);
        }
    }

    #[test]
    fn numbers_are_grouped() {
        assert_eq!([0, 999, 1000, 15_234, 1_000_000].map(grouped), ["0", "999", "1,000", "15,234", "1,000,000"]);
    }
}
