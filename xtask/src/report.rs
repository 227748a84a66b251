//! What the tool prints: a step a line for people, a JSON object a line for programs.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use serde::Serialize;

/// One step: what was done, whether it went well, and what was seen.
#[derive(Serialize)]
pub struct Step {
    /// The step's name.
    pub name: String,
    /// Did it go well?
    pub ok: bool,
    /// What was seen, in one line (a failure may take several).
    pub seen: String,
    /// How long it took, in milliseconds.
    pub ms: u64,
}

impl Step {
    /// Runs `work` and keeps how it went and how long it took.
    pub fn time(name: &str, work: impl FnOnce() -> Result<String, String>) -> Self {
        let watch = Stopwatch::start();
        let outcome = work();
        let ms = watch.ms();
        match outcome {
            Ok(seen) => Self { name: name.to_owned(), ok: true, seen, ms },
            Err(seen) => Self { name: name.to_owned(), ok: false, seen, ms },
        }
    }
}

/// The steps so far, and how to print them.
pub struct Report {
    json: bool,
    paint: Paint,
    steps: Vec<Step>,
}

impl Report {
    /// An empty report; with `json`, standard output carries nothing but JSON objects.
    pub fn new(json: bool) -> Self {
        Self { json, paint: Paint::for_stdout(), steps: Vec::new() }
    }

    /// Says that a step begins, so that a long one is not a silent one.
    pub fn begin(&self, name: &str) {
        if !self.json {
            say(&self.paint.bold(&format!("── {name}")));
        }
    }

    /// Prints a step and keeps it for the summary.
    pub fn add(&mut self, step: Step) {
        if self.json {
            match serde_json::to_string(&step) {
                Ok(line) => say(&line),
                Err(error) => note(&format!("xtask: a step cannot be written as JSON: {error}")),
            }
        } else {
            say(&self.line(&step));
        }
        self.steps.push(step);
    }

    /// The names of the steps that failed.
    pub fn failed(&self) -> Vec<&str> {
        self.steps.iter().filter(|step| !step.ok).map(|step| step.name.as_str()).collect()
    }

    /// Prints the closing table: every step, its verdict and its time.
    pub fn summary(&self) {
        if self.json {
            return;
        }
        let width = self.steps.iter().map(|step| step.name.chars().count()).max().unwrap_or(0);
        let total: u64 = self.steps.iter().map(|step| step.ms).sum();
        say("");
        for step in &self.steps {
            let gap = " ".repeat(width - step.name.chars().count());
            say(&format!("  {}{gap}  {}  {:>9}", step.name, self.verdict(step.ok), human(step.ms)));
        }
        say(&format!("  {:width$}  {:>6}  {:>9}", "total", "", human(total)));
    }

    fn line(&self, step: &Step) -> String {
        format!("{} {} {} {}", self.verdict(step.ok), step.name, self.paint.dim(&human(step.ms)), step.seen)
    }

    fn verdict(&self, ok: bool) -> String {
        if ok { self.paint.green("    ok") } else { self.paint.red("FAILED") }
    }
}

/// Prints a line on standard output. A reader that went away is no reason to stop.
pub fn say(line: &str) {
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}

/// Prints a line on standard error.
pub fn note(line: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}

/// Measures how long something takes.
pub struct Stopwatch(Instant);

impl Stopwatch {
    /// Starts now.
    #[expect(clippy::disallowed_methods, reason = "the tool measures its own stages; nothing is decided by this clock")]
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// Milliseconds since the start.
    pub fn ms(&self) -> u64 {
        u64::try_from(self.0.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// The time since the start.
    pub fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
}

struct Paint {
    on: bool,
}

impl Paint {
    fn for_stdout() -> Self {
        let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self { on: !refused && std::io::stdout().is_terminal() }
    }

    fn with(&self, code: &str, text: &str) -> String {
        if self.on { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    fn bold(&self, text: &str) -> String {
        self.with("1", text)
    }

    fn dim(&self, text: &str) -> String {
        self.with("2", text)
    }

    fn green(&self, text: &str) -> String {
        self.with("32", text)
    }

    fn red(&self, text: &str) -> String {
        self.with("31", text)
    }
}

fn human(ms: u64) -> String {
    if ms < 1_000 {
        format!("{ms} ms")
    } else if ms < 60_000 {
        format!("{}.{} s", ms / 1_000, ms % 1_000 / 100)
    } else {
        format!("{} min {:02} s", ms / 60_000, ms % 60_000 / 1_000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_one_json_object() {
        let step = Step { name: "fmt".to_owned(), ok: true, seen: "two\nlines".to_owned(), ms: 7 };
        assert_eq!(serde_json::to_string(&step).unwrap(), r#"{"name":"fmt","ok":true,"seen":"two\nlines","ms":7}"#);
    }

    #[test]
    fn times_read_well() {
        assert_eq!(human(999), "999 ms");
        assert_eq!(human(1_250), "1.2 s");
        assert_eq!(human(61_000), "1 min 01 s");
    }
}
