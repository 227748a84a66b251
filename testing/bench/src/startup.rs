//! Start-up: from starting the process to its ready line, its memory when idle, and the size of the binary.

use std::path::Path;
use std::time::Duration;

use crate::measure::{Cost, Meter, Samples, nanos, now, resident};
use crate::office::{Office, drive};
use crate::report::Figure;
use crate::system::serve;
use crate::{Bench, Result, engine};

/// Takes the figures.
pub fn run(bench: &mut Bench) -> Result<()> {
    let meter = Meter::own()?;
    let bytes = std::fs::metadata(&bench.marque)?.len();
    let size = Figure::new("startup/size of the binary", bytes as f64 / 1e6, "MB");
    bench.report.add(&size.seen(bench.marque.display().to_string()).took(meter.read()?))?;
    engine::runtime()?.block_on(measure(bench))
}

async fn measure(bench: &mut Bench) -> Result<()> {
    let times = bench.scale.pick(9, 3);
    let dir = bench.scratch("start")?;
    let errors = dir.path().join("serve.log");

    let mut starts = Vec::new();
    for n in 0..times {
        let state = dir.path().join(format!("new-{n}"));
        starts.push(start(bench, &state, &errors).await?);
    }
    print(bench, "startup/new state, keys made", &starts)?;
    idle(bench, "startup/idle memory, new state", &dir.path().join("new-0"), &errors).await?;

    let state = dir.path().join("full");
    let entries = fill(&state).await?;
    let mut starts = Vec::new();
    for _ in 0..times {
        starts.push(start(bench, &state, &errors).await?);
    }
    print(bench, &format!("startup/state of {entries} entries"), &starts)?;
    idle(bench, "startup/idle memory, filled state", &state, &errors).await
}

/// Starts the server, waits for its ready line, stops it; what it took until the line.
async fn start(bench: &Bench, state: &Path, errors: &Path) -> Result<Cost> {
    let at = now();
    let mut server = serve(&bench.marque, state, errors)?;
    let meter = Meter::of(server.pid()?)?;
    server.answer().await?;
    let cost = Cost { wall: at.elapsed(), cpu: meter.read()?.cpu };
    server.stop().await?;
    Ok(cost)
}

fn print(bench: &mut Bench, name: &str, starts: &[Cost]) -> Result<()> {
    let count = starts.len() as u64;
    let wall: Duration = starts.iter().map(|start| start.wall).sum();
    let cpu: Duration = starts.iter().map(|start| start.cpu).sum();
    let cost = Cost { wall, cpu };
    let samples = Samples::new(starts.iter().map(|start| nanos(start.wall)).collect());
    for (label, q) in [("p50", 0.5), ("max", 1.0)] {
        let figure = Figure::new(format!("{name}: {label}"), samples.quantile(q) / 1e3, "ms").at_most(300.0);
        bench.report.add(&figure.cpu(cost.cpu_us_each(count)).took(cost).seen(format!("{count} starts")))?;
    }
    Ok(())
}

/// Memory after some seconds without a request.
async fn idle(bench: &mut Bench, name: &str, state: &Path, errors: &Path) -> Result<()> {
    let mut server = serve(&bench.marque, state, errors)?;
    server.answer().await?;
    let meter = Meter::of(server.pid()?)?;
    tokio::time::sleep(bench.scale.seconds(3.0, 1.5)).await;
    let bytes = resident(server.pid()?)?;
    let cost = meter.read()?;
    server.stop().await?;
    let share = cost.cpu.as_secs_f64() / cost.wall.as_secs_f64() * 100.0;
    let figure = Figure::new(name, bytes as f64 / 1e6, "MB").at_most(60.0);
    bench.report.add(&figure.took(cost).seen(format!("{share:.1} % of a core when idle")))
}

/// A state directory with ten thousand entries or a little more, its views and its checkpoint up to date.
async fn fill(state: &Path) -> Result<u64> {
    let office = Office::open(state).await?;
    while office.engine.log_size() < ENTRIES {
        drive(&office, 16, Duration::from_millis(20), Office::act).await?;
    }
    office.engine.publish()?;
    office.engine.catch_up()?;
    Ok(office.engine.log_size())
}

const ENTRIES: u64 = 10_000;
