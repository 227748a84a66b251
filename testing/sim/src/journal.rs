//! What was done and what was checked, for the report and for a failure.

use std::cell::Cell;
use std::collections::{BTreeMap, VecDeque};

/// An invariant that does not hold.
#[derive(Debug)]
pub struct Broken {
    /// Which one, as `I4`; `sim` when the simulator itself could not go on.
    pub invariant: &'static str,
    /// What was seen.
    pub what: String,
}

/// A result that fails when an invariant does not hold.
pub type Checked<T = ()> = Result<T, Broken>;

/// An invariant is broken.
pub fn broken<T>(invariant: &'static str, what: impl Into<String>) -> Checked<T> {
    Err(Broken { invariant, what: what.into() })
}

/// What must succeed, for an invariant's sake.
pub fn must<T, E: std::error::Error>(invariant: &'static str, doing: &str, result: Result<T, E>) -> Checked<T> {
    result.map_err(|error| {
        let mut what = format!("{doing} failed: {error}");
        let mut source = error.source();
        while let Some(cause) = source {
            what = format!("{what}: {cause}");
            source = cause.source();
        }
        Broken { invariant, what }
    })
}

/// The steps of one seed.
#[derive(Debug, Default)]
pub struct Journal {
    /// How many steps were begun.
    pub steps: u64,
    /// What was reached, and how often.
    pub tally: BTreeMap<&'static str, u64>,
    /// The step that is being taken.
    doing: &'static str,
    checks: Cell<u64>,
    lines: VecDeque<String>,
    verbose: bool,
}

impl Journal {
    /// An empty journal; a verbose one prints each line.
    pub fn new(verbose: bool) -> Self {
        Self { verbose, ..Self::default() }
    }

    /// A step begins.
    pub fn begin(&mut self, doing: &'static str) {
        self.steps += 1;
        self.doing = doing;
    }

    /// What came of the step.
    pub fn end(&mut self, at: impl std::fmt::Display, what: &str) {
        let line = format!("{:>4}  {at}  {:<12} {what}", self.steps, self.doing);
        if self.verbose {
            println!("{line}");
        }
        if self.lines.len() == KEPT {
            self.lines.pop_front();
        }
        self.lines.push_back(line);
    }

    /// Counts something that was reached.
    pub fn count(&mut self, what: &'static str) {
        *self.tally.entry(what).or_default() += 1;
    }

    /// Counts a check, and fails when it does not hold.
    pub fn check(&self, invariant: &'static str, holds: bool, what: impl FnOnce() -> String) -> Checked {
        self.checks.set(self.checks.get() + 1);
        if holds { Ok(()) } else { broken(invariant, what()) }
    }

    /// How many checks there were.
    pub fn checks(&self) -> u64 {
        self.checks.get()
    }

    /// The step that was being taken.
    pub fn doing(&self) -> &'static str {
        self.doing
    }

    /// The last lines.
    pub fn last(&self) -> Vec<String> {
        self.lines.iter().cloned().collect()
    }
}

/// How many lines are kept for a failure.
const KEPT: usize = 30;
