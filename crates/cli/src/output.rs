//! Printing: plain words for people, one JSON value for machines.

use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;

use serde::Serialize;

use crate::failure::Failure;

/// Where a command prints, and how.
#[derive(Clone, Copy, Debug)]
pub struct Output {
    pub json: bool,
    colour: bool,
}

/// Emphasis that means something; none of it carries meaning alone.
#[derive(Clone, Copy, Debug)]
pub enum Tone {
    Good,
    Bad,
    Waiting,
    Faint,
    Strong,
}

impl Output {
    pub fn new(json: bool) -> Self {
        Self { json, colour: coloured(std::io::stdout().is_terminal()) }
    }

    /// One line.
    pub fn line(&self, text: impl AsRef<str>) {
        let mut out = std::io::stdout().lock();
        // A reader that went away, as `head` does, is no error.
        let _ = writeln!(out, "{}", text.as_ref());
    }

    /// A value for machines, or what `people` prints for people.
    pub fn show<T: Serialize>(&self, value: &T, people: impl FnOnce()) {
        if self.json {
            self.line(serde_json::to_string(value).unwrap_or_default());
        } else {
            people();
        }
    }

    pub fn paint(&self, tone: Tone, text: impl AsRef<str>) -> String {
        let text = text.as_ref();
        if !self.colour {
            return text.to_owned();
        }
        let code = match tone {
            Tone::Good => "32",
            Tone::Bad => "31",
            Tone::Waiting => "33",
            Tone::Faint => "2",
            Tone::Strong => "1",
        };
        format!("\u{1b}[{code}m{text}\u{1b}[0m")
    }

    /// Rows as columns that line up.
    pub fn table(&self, head: &[&str], rows: &[Vec<String>]) {
        let width = |n: usize| {
            rows.iter()
                .filter_map(|r| r.get(n))
                .map(|c| c.chars().count())
                .chain([head.get(n).map_or(0, |h| h.len())])
                .max()
                .unwrap_or(0)
        };
        let widths: Vec<usize> = (0..head.len()).map(width).collect();
        let line = |cells: &[String]| {
            let padded = cells
                .iter()
                .zip(&widths)
                .map(|(cell, w)| format!("{cell}{}", " ".repeat(w.saturating_sub(cell.chars().count()))));
            padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
        };
        self.line(self.paint(Tone::Faint, line(&head.iter().map(|h| (*h).to_owned()).collect::<Vec<_>>())));
        rows.iter().for_each(|row| self.line(line(row)));
    }

    pub fn failure(&self, failure: &Failure) -> ExitCode {
        let mut err = std::io::stderr().lock();
        let _ = if self.json {
            writeln!(err, "{}", serde_json::json!({ "error": failure.message, "code": failure.code as u8 }))
        } else {
            let there = Self { colour: coloured(err.is_terminal()), ..*self };
            writeln!(err, "{}: {}", there.paint(Tone::Bad, "error"), failure.message)
        };
        failure.exit_code()
    }
}

/// Whether what goes to a terminal, or elsewhere, is coloured.
pub fn coloured(is_terminal: bool) -> bool {
    is_terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}
