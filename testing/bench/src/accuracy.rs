//! How often a trace finds the right output: the figures of `marque-accuracy`, passed on.

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::measure::Meter;
use crate::report::Figure;
use crate::{Bench, Result};

/// Takes the figures.
pub fn run(bench: &mut Bench) -> Result<()> {
    let meter = Meter::own()?;
    let mut command = Command::new(program()?);
    command.arg("--json").stdout(Stdio::piped());
    if let Some(queries) = bench.scale.pick(None, Some("20")) {
        command.args(["--offline", "--queries", queries]);
    }
    let mut child = command.spawn().map_err(|error| format!("cannot start marque-accuracy: {error}"))?;
    let output = child.stdout.take().ok_or("no standard output")?;
    for line in BufReader::new(output).lines() {
        bench.report.add(&passed_on(&serde_json::from_str(&line?)?)?.took(meter.read()?))?;
    }
    let status = child.wait()?;
    if status.success() { Ok(()) } else { Err(format!("marque-accuracy ended with {status}").into()) }
}

fn passed_on(row: &Value) -> Result<Figure> {
    let text = |field: &str| row.get(field).and_then(Value::as_str).map(str::to_owned);
    let name = text("name").ok_or_else(|| format!("a figure has no name: {row}"))?;
    let value = row.get("value").and_then(Value::as_f64).unwrap_or(f64::NAN);
    Ok(Figure::new(format!("accuracy/{name}"), value, text("unit").unwrap_or_default()).seen(text("seen").unwrap_or_default()))
}

/// The program that was named, or the one beside this.
fn program() -> Result<PathBuf> {
    match std::env::var_os("MARQUE_ACCURACY") {
        Some(path) => Ok(path.into()),
        None => Ok(std::env::current_exe()?.with_file_name("marque-accuracy")),
    }
}
