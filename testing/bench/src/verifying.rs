//! `marque ledger verify` as an auditor runs it: the binary, on the files of a log of the schema's own events.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::measure::{Cost, children_cpu, micros, now};
use crate::parts::Parts;
use crate::queries::bytes_in;
use crate::report::{Figure, shown};
use crate::synthetic::{Plan, World};
use crate::{Bench, Result, engine};

/// Takes the figure.
pub fn run(bench: &mut Bench) -> Result<()> {
    let count = bench.scale.pick(1_000_000, 50_000);
    let dir = bench.scratch("verify")?;
    let root = dir.path().join("state");
    fill(&root, count)?;
    let ledger = root.join("ledger");
    let size = bytes_in(&ledger.join("tile/entries"))? / count;
    let costs = (0..RUNS).map(|_| verify(&bench.marque, &ledger, count)).collect::<Result<Vec<_>>>()?;
    let slowest = costs.iter().max_by_key(|cost| cost.wall).copied().ok_or("nothing was verified")?;
    let walls: Vec<String> = costs.iter().map(|cost| format!("{:.2}", cost.wall.as_secs_f64())).collect();
    let name = format!("ledger/marque ledger verify, {} events", shown(count as f64));
    let seen = format!(
        "the slowest of {} s; of {size} B on average, each read in full, from the page cache; {:.1} s of CPU",
        walls.join(", "),
        slowest.cpu.as_secs_f64()
    );
    let figure = Figure::new(name, slowest.wall.as_secs_f64(), "s").took(slowest).cpu(slowest.cpu_us_each(count));
    bench.report.add(&figure.seen(seen).at_most(5.0))
}

/// A log with so many events, all of them published.
fn fill(root: &Path, count: u64) -> Result<()> {
    engine::runtime()?.block_on(Parts::make(root))?;
    let parts = Parts::open(root)?;
    let mut world = World::new(Plan { seed: 3, events: count, until: micros(), span: DAY, observers: 1 })?;
    let mut left = count;
    while left > 0 {
        let some = left.min(STEP);
        parts.write(&mut world, some)?;
        parts.publish()?;
        left -= some;
    }
    Ok(())
}

fn verify(marque: &Path, ledger: &Path, count: u64) -> Result<Cost> {
    let (before, started) = (children_cpu()?, now());
    let output = Command::new(marque).args(["--json", "ledger", "verify"]).arg(ledger).output()?;
    let cost = Cost { wall: started.elapsed(), cpu: children_cpu()?.saturating_sub(before) };
    let found: Value = serde_json::from_slice(&output.stdout)?;
    let checked = found.get("entries_checked").and_then(Value::as_u64).unwrap_or_default();
    if !output.status.success() || found.get("ok") != Some(&Value::Bool(true)) || checked < count {
        return Err(format!("the log does not verify: {found}").into());
    }
    Ok(cost)
}

const RUNS: usize = 3;
/// How many events are written before they are published.
const STEP: u64 = 100_000;
const DAY: i64 = 86_400 * 1_000_000;
