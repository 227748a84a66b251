//! What is printed: a table for people, a JSON object a line for programs.

use std::borrow::Cow;
use std::io::Write as _;

use serde_json::{Value, json};

use crate::measure::{Cost, Samples};
use crate::{Error, Result};

/// One figure.
pub struct Figure {
    name: String,
    value: f64,
    unit: Cow<'static, str>,
    limit: Option<Limit>,
    seen: String,
    milliseconds: u128,
    cpu_us: Option<f64>,
}

/// What is expected of a figure.
#[derive(Clone, Copy)]
enum Limit {
    AtLeast(f64),
    AtMost(f64),
}

impl Figure {
    /// A figure without an expectation.
    pub fn new(name: impl Into<String>, value: f64, unit: impl Into<Cow<'static, str>>) -> Self {
        Self { name: name.into(), value, unit: unit.into(), limit: None, seen: String::new(), milliseconds: 0, cpu_us: None }
    }

    /// How long taking it took.
    pub fn took(mut self, cost: Cost) -> Self {
        self.milliseconds = cost.wall.as_millis();
        self
    }

    /// CPU time for each operation, in microseconds.
    pub fn cpu(mut self, micros: f64) -> Self {
        self.cpu_us = Some(micros);
        self
    }

    /// What was seen beside the value.
    pub fn seen(mut self, seen: impl Into<String>) -> Self {
        self.seen = seen.into();
        self
    }

    /// Expects at least this.
    pub fn at_least(mut self, limit: f64) -> Self {
        self.limit = Some(Limit::AtLeast(limit));
        self
    }

    /// Expects at most this.
    pub fn at_most(mut self, limit: f64) -> Self {
        self.limit = Some(Limit::AtMost(limit));
        self
    }

    fn ok(&self) -> bool {
        match self.limit {
            None => true,
            Some(Limit::AtLeast(limit)) => self.value >= limit,
            Some(Limit::AtMost(limit)) => self.value <= limit,
        }
    }

    fn expected(&self) -> String {
        match self.limit {
            None => String::new(),
            Some(Limit::AtLeast(limit)) => format!("≥ {}", shown(limit)),
            Some(Limit::AtMost(limit)) => format!("≤ {}", shown(limit)),
        }
    }

    fn json(&self) -> Value {
        let expected = self.limit.map(|_| format!("expected {} {}", self.expected(), self.unit));
        let seen: Vec<&str> = [Some(self.seen.as_str()), expected.as_deref()].into_iter().flatten().collect();
        let seen = seen.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("; ");
        let mut object = json!({
            "name": self.name, "value": rounded(self.value), "unit": self.unit, "ok": self.ok(), "seen": seen,
            "milliseconds": u64::try_from(self.milliseconds).unwrap_or(u64::MAX),
        });
        if let (Some(map), Some(cpu)) = (object.as_object_mut(), self.cpu_us) {
            map.insert("cpu_us".into(), json!(rounded(cpu)));
        }
        object
    }
}

/// Many operations of one kind: how long each took, and what all cost.
pub struct Run {
    /// The latency of each.
    pub samples: Samples,
    /// What all of them cost.
    pub cost: Cost,
    /// How many units of the rate one operation is.
    pub each: u64,
}

/// What is expected of a run; 0 is no expectation.
#[derive(Clone, Copy, Default)]
pub struct Bounds {
    /// The lowest rate.
    pub rate: f64,
    /// The highest p50, in microseconds.
    pub p50: f64,
    /// The highest p99, in microseconds.
    pub p99: f64,
}

impl Run {
    /// How many a second.
    pub fn rate(&self) -> f64 {
        self.cost.rate(self.units())
    }

    fn units(&self) -> u64 {
        self.samples.count().saturating_mul(self.each)
    }
}

/// Prints figures as they come.
pub struct Report {
    json: bool,
    figures: usize,
    missed: usize,
}

impl Report {
    /// With `json`, standard output carries nothing but JSON objects.
    pub fn new(json: bool) -> Self {
        Self { json, figures: 0, missed: 0 }
    }

    /// Prints a figure.
    pub fn add(&mut self, figure: &Figure) -> Result<()> {
        if self.figures == 0 && !self.json {
            say(&row(["figure", "value", "unit", "CPU µs", "expected", "", "seen"]))?;
        }
        self.figures += 1;
        self.missed += usize::from(!figure.ok());
        if self.json {
            return say(&figure.json().to_string());
        }
        let cpu = figure.cpu_us.map(shown).unwrap_or_default();
        let verdict = match figure.limit {
            None => "",
            Some(_) if figure.ok() => "met",
            Some(_) => "MISSED",
        };
        say(&row([&figure.name, &shown(figure.value), &figure.unit, &cpu, &figure.expected(), verdict, &figure.seen]))
    }

    /// The rate and the latency of a run.
    pub fn add_run(&mut self, name: &str, unit: &'static str, run: &Run, bounds: Bounds) -> Result<()> {
        let count = run.samples.count();
        let rate = Figure::new(format!("{name}: rate"), run.rate(), unit)
            .cpu(run.cost.cpu_us_each(run.units()))
            .seen(format!("{count} operations"))
            .took(run.cost);
        self.add(&if bounds.rate > 0.0 { rate.at_least(bounds.rate) } else { rate })?;
        for (label, q, limit) in [("p50", 0.5, bounds.p50), ("p99", 0.99, bounds.p99)] {
            let figure = Figure::new(format!("{name}: {label}"), run.samples.quantile(q), "µs").took(run.cost);
            self.add(&if limit > 0.0 { figure.at_most(limit) } else { figure })?;
        }
        Ok(())
    }

    /// Prints that a group of figures could not be taken.
    pub fn failed(&self, name: &str, error: &Error, cost: Cost) -> Result<()> {
        if self.json {
            let milliseconds = u64::try_from(cost.wall.as_millis()).unwrap_or(u64::MAX);
            let object = json!({
                "name": name, "value": null, "unit": "", "ok": false, "seen": error.to_string(), "milliseconds": milliseconds,
            });
            return say(&object.to_string());
        }
        say(&format!("{name} FAILED: {error}"))
    }

    /// Prints the last line.
    pub fn finish(&self) -> Result<()> {
        if self.json {
            return Ok(());
        }
        say(&format!("\n{} figures, {} of them short of what is expected", self.figures, self.missed))
    }
}

fn row(cells: [&str; 7]) -> String {
    let [name, value, unit, cpu, expected, verdict, seen] = cells;
    let line = format!("{name:<50} {value:>12} {unit:<12} {cpu:>9}  {expected:<12} {verdict:<6} {seen}");
    line.trim_end().to_owned()
}

/// Prints a line.
pub fn say(line: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")?;
    Ok(out.flush()?)
}

/// A number for people: three digits that mean something, thousands apart.
pub fn shown(value: f64) -> String {
    if !value.is_finite() {
        return "–".into();
    }
    if value.abs() < 10.0 {
        return format!("{value:.2}");
    }
    if value.abs() < 1000.0 {
        return format!("{value:.1}");
    }
    let digits = format!("{value:.0}");
    let mut out = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

fn rounded(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}
