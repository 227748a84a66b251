//! What is printed: a table for people, a JSON object a line for programs.

use std::io::Write as _;

use serde_json::json;

use crate::Result;

/// Prints figures as they come.
pub struct Report {
    json: bool,
    figures: usize,
}

impl Report {
    /// With `json`, standard output carries nothing but JSON objects.
    pub fn new(json: bool) -> Self {
        Self { json, figures: 0 }
    }

    /// Prints a figure.
    pub fn add(&mut self, name: &str, value: f64, unit: &str, seen: &str) -> Result<()> {
        let value = (value * 100.0).round() / 100.0;
        let line = if self.json {
            json!({ "name": name, "value": value, "unit": unit, "seen": seen }).to_string()
        } else {
            format!("{name:<44} {value:>10.2} {unit:<10}  {seen}")
        };
        let mut out = std::io::stdout().lock();
        if self.figures == 0 && !self.json {
            writeln!(out, "{:<44} {:>10} {:<10}  seen", "figure", "value", "unit")?;
        }
        self.figures += 1;
        writeln!(out, "{line}")?;
        Ok(out.flush()?)
    }
}
