//! The engine in this process: issuing, exchanging and authorizing, each with its durable record.

use crate::measure::Meter;
use crate::office::{Office, drive};
use crate::report::{Bounds, Figure};
use crate::{Bench, Result};

/// Takes the figures.
pub fn run(bench: &mut Bench) -> Result<()> {
    runtime()?.block_on(measure(bench))
}

/// As many workers as the reference machine has cores.
pub fn runtime() -> Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?)
}

async fn measure(bench: &mut Bench) -> Result<()> {
    let dir = bench.scratch("engine")?;
    let office = Office::open(&dir.path().join("state")).await?;
    let time = bench.scale.seconds(2.0, 0.4);
    let none = Bounds::default();

    let run = drive(&office, 1, time, Office::act).await?;
    bench.report.add_run("engine/authorize, idle, 1 at once", "calls/s", &run, Bounds { p50: 1_000.0, ..none })?;
    let run = drive(&office, AT_ONCE, time, Office::act).await?;
    bench.report.add_run("engine/authorize, 64 at once", "calls/s", &run, Bounds { p99: 10_000.0, ..none })?;
    let run = drive(&office, AT_ONCE, time, Office::jwt_svid).await?;
    bench.report.add_run("engine/JWT-SVIDs, 64 at once", "SVIDs/s", &run, none)?;
    let run = drive(&office, AT_ONCE, time, Office::x509_svid).await?;
    bench.report.add_run("engine/X.509-SVIDs, 64 at once", "SVIDs/s", &run, none)?;
    let run = drive(&office, AT_ONCE, time, Office::own_token).await?;
    bench.report.add_run("engine/own-task tokens, 64 at once", "exchanges/s", &run, none)?;
    let run = drive(&office, AT_ONCE, time, Office::child_token).await?;
    bench.report.add_run("engine/child-task tokens, 64 at once", "exchanges/s", &run, none)?;

    let entries = office.engine.log_size();
    let meter = Meter::own()?;
    let covered = office.engine.catch_up()?;
    let cost = meter.read()?;
    let figure = Figure::new("engine/views catch up", cost.rate(covered), "entries/s");
    bench.report.add(&figure.cpu(cost.cpu_us_each(covered)).took(cost).seen(format!("{covered} of {entries} entries")))
}

const AT_ONCE: usize = 64;
