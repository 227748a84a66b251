//! The log: durable events a second and how long an acknowledgement takes, beside what the disk gives.

use std::path::Path;
use std::time::{Duration, Instant};

use marque_store::log::Log;

use crate::disk::Limit;
use crate::measure::{Meter, Samples, nanos, now};
use crate::report::{Bounds, Figure, Run};
use crate::{Bench, Result, following};

/// Takes the figures.
pub fn run(bench: &mut Bench) -> Result<()> {
    let dir = bench.scratch("log")?;
    let time = bench.scale.seconds(2.0, 0.4);
    let limit = Limit::measure(dir.path(), time)?;
    bench.report.add_run("log/limit: 4 KiB write + fdatasync", "writes/s", &limit.small, Bounds::default())?;
    let large = Figure::new("log/limit: 4 MiB writes, fdatasync each", limit.bytes_a_second() / 1e6, "MB/s");
    bench.report.add(&large.took(limit.large.cost).seen(format!("{} writes", limit.large.samples.count())))?;

    idle(bench, dir.path(), time, &limit)?;
    for bytes in [500, 1400] {
        let load = Load { bytes, appenders: APPENDERS, each: 1, time };
        let run = load.measure(dir.path())?;
        let bounds = Bounds { p50: 1_000.0, p99: 10_000.0, ..Bounds::default() };
        bench.report.add_run(&format!("log/{bytes} B, 64 appenders of 1"), "events/s", &run, bounds)?;

        let run = Load { each: BULK, ..load }.measure(dir.path())?;
        let name = format!("log/{bytes} B, 64 appenders of 256");
        bench.report.add_run(&name, "events/s", &run, Bounds { rate: 100_000.0, ..Bounds::default() })?;
        let share = run.rate() * bytes as f64 / limit.bytes_a_second();
        let seen = format!("{:.0} of {:.0} MB/s", run.rate() * bytes as f64 / 1e6, limit.bytes_a_second() / 1e6);
        bench.report.add(&Figure::new(format!("{name}: share of limit"), share, "×").took(run.cost).seen(seen))?;
    }
    following::run(bench)
}

/// One appender, one event at a time: an acknowledgement costs one write that is made durable.
fn idle(bench: &mut Bench, dir: &Path, time: Duration, limit: &Limit) -> Result<()> {
    let run = Load { bytes: 500, appenders: 1, each: 1, time }.measure(dir)?;
    bench.report.add_run("log/500 B, idle, 1 appender", "events/s", &run, Bounds { p50: 1_000.0, ..Bounds::default() })?;
    let ratio = run.samples.quantile(0.5) / limit.small.samples.quantile(0.5);
    let seen = "p50 of an acknowledgement by p50 of a raw 4 KiB write";
    bench.report.add(&Figure::new("log/500 B, idle: p50 by limit", ratio, "×").took(run.cost).seen(seen))
}

/// Who appends what, for how long.
#[derive(Clone, Copy)]
struct Load {
    bytes: usize,
    appenders: usize,
    each: usize,
    time: Duration,
}

impl Load {
    /// Measures on a new log below `dir`; its segments are the log's own, none of them used before.
    fn measure(&self, dir: &Path) -> Result<Run> {
        let place = dir.join("segments");
        let log = Log::open(&place, 0)?;
        // The first append waits until the first segment is ready.
        log.append(vec![vec![b'x'; self.bytes]])?.wait()?;
        let meter = Meter::own()?;
        let until = now() + self.time;
        let outcomes: Vec<Result<Vec<u64>>> = std::thread::scope(|scope| {
            let log = &log;
            let threads: Vec<_> = (0..self.appenders).map(|_| scope.spawn(move || self.append(log, until))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap_or_else(|_| Err("an appender ended early".into()))).collect()
        });
        let cost = meter.read()?;
        drop(log);
        std::fs::remove_dir_all(&place)?;
        let latencies = outcomes.into_iter().collect::<Result<Vec<_>>>()?.concat();
        Ok(Run { samples: Samples::new(latencies), cost, each: self.each as u64 })
    }

    fn append(&self, log: &Log, until: Instant) -> Result<Vec<u64>> {
        let entries = vec![vec![b'x'; self.bytes]; self.each];
        let mut latencies = Vec::new();
        while now() < until {
            let entries = entries.clone();
            let at = now();
            log.append(entries)?.wait()?;
            latencies.push(nanos(at.elapsed()));
        }
        Ok(latencies)
    }
}

const APPENDERS: usize = 64;
const BULK: usize = 256;
