//! One seed, from its first step to its report.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use crate::journal::{Broken, Checked, Journal, broken, must};
use crate::sim::Sim;

/// What came of one seed.
#[derive(Debug)]
pub struct Report {
    /// Which.
    pub seed: u64,
    /// How many steps it took.
    pub steps: u64,
    /// How many checks were made.
    pub checks: u64,
    /// What was reached, and how often.
    pub tally: BTreeMap<&'static str, u64>,
    /// What broke.
    pub failure: Option<Failure>,
    milliseconds: u64,
}

/// What broke, and how it came to that.
#[derive(Debug)]
pub struct Failure {
    seed: u64,
    step: u64,
    doing: &'static str,
    broken: Broken,
    last: Vec<String>,
}

impl Report {
    /// One line of JSON.
    pub fn json(&self) -> String {
        let name = format!("seed-{}", self.seed);
        let (ok, milliseconds) = (self.failure.is_none(), self.milliseconds);
        serde_json::json!({ "name": name, "ok": ok, "steps": self.steps, "checks": self.checks, "milliseconds": milliseconds })
            .to_string()
    }
}

impl Failure {
    /// The seed, the step and what broke.
    pub fn in_short(&self) -> String {
        let Self { seed, step, doing, broken, .. } = self;
        format!("seed {seed}, step {step} ({doing}): {} is broken: {}", broken.invariant, broken.what)
    }

    /// The same with the last steps, and how to see it again.
    pub fn in_full(&self) -> String {
        let steps: String = self.last.iter().map(|line| format!("  {line}\n")).collect();
        format!("{}\nthe last steps:\n{steps}replay with: cargo xtask sim --seed {}", self.in_short(), self.seed)
    }
}

/// Runs one seed.
#[expect(clippy::disallowed_methods, reason = "the report says how long a seed took")]
pub fn run(seed: u64, verbose: bool) -> Report {
    let started = Instant::now();
    let mut journal = Journal::new(verbose);
    let outcome = catch_unwind(AssertUnwindSafe(|| simulate(seed, &mut journal)));
    let outcome = outcome.unwrap_or_else(|_| broken("sim", "it panicked; the message is above"));
    let failure =
        outcome.err().map(|broken| Failure { seed, step: journal.steps, doing: journal.doing(), broken, last: journal.last() });
    Report {
        seed,
        steps: journal.steps,
        checks: journal.checks(),
        failure,
        milliseconds: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
        tally: journal.tally,
    }
}

fn simulate(seed: u64, journal: &mut Journal) -> Checked {
    let runtime = must("sim", "making a runtime", tokio::runtime::Builder::new_current_thread().build())?;
    runtime.block_on(Sim::run(seed, journal))
}
