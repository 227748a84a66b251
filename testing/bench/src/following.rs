//! The log and what follows it: acknowledgements at a fixed rate of arrivals, and how far behind the views are.

use std::time::{Duration, Instant};

use marque_store::log::Log;

use crate::measure::{Cost, Meter, Samples, micros, nanos, now};
use crate::parts::Parts;
use crate::report::{Bounds, Figure, Run};
use crate::synthetic::{Plan, World};
use crate::{Bench, Result, engine};

/// Takes the figures.
pub fn run(bench: &mut Bench) -> Result<()> {
    bare(bench)?;
    let seconds = bench.scale.pick(4, 1);
    let mut paced = prepare(bench, RATE * seconds)?;
    let name = format!("log/{RATE} events/s, views following");
    let (run, caught_up) = paced.measure(|log, lanes| arrivals(log, lanes, RATE as f64))?;
    print_paced(bench, &name, &run, &paced.size)?;
    behind(bench, &name, caught_up.wall.saturating_sub(run.cost.wall))?;
    drop(paced);

    let count = bench.scale.pick(300_000, 20_000);
    let mut full = prepare(bench, count)?;
    let (run, caught_up) = full.measure(at_full_speed)?;
    let name = "log/events at full speed, views following";
    let seen = format!("{count} events {}, 64 appenders of {BULK}, sealed beforehand", full.size);
    let rate = Figure::new(format!("{name}: durable"), run.cost.rate(count), "events/s").took(run.cost).seen(seen);
    bench.report.add(&rate.at_least(100_000.0))?;
    let seen = "from the first append until the views have the last event; log and tiles are on the same cores";
    let rate = Figure::new(format!("{name}: in the views"), caught_up.rate(count), "events/s").took(caught_up).seen(seen);
    bench.report.add(&rate.cpu(caught_up.cpu_us_each(count)))?;
    behind(bench, name, caught_up.wall.saturating_sub(run.cost.wall))
}

/// The log alone, with bytes that mean nothing.
fn bare(bench: &mut Bench) -> Result<()> {
    let dir = bench.scratch("log")?;
    let log = Log::open(&dir.path().join("segments"), 0)?;
    log.append(vec![vec![b'x'; BYTES]])?.wait()?;
    let each = RATE * bench.scale.pick(4, 1) / APPENDERS as u64;
    let lanes = vec![vec![vec![b'x'; BYTES]; each as usize]; APPENDERS];
    let run = arrivals(&log, lanes, RATE as f64)?;
    print_paced(bench, &format!("log/{RATE} events/s of {BYTES} B"), &run, "")
}

fn print_paced(bench: &mut Bench, name: &str, run: &Run, seen: &str) -> Result<()> {
    bench.report.add_run(name, "events/s", run, Bounds { rate: 0.95 * RATE as f64, p50: 1_000.0, p99: 10_000.0 })?;
    let max = Figure::new(format!("{name}: max"), run.samples.quantile(1.0), "µs").took(run.cost);
    bench.report.add(&max.seen(format!("from the moment that an event was due {seen}").trim_end()))
}

fn behind(bench: &mut Bench, name: &str, behind: Duration) -> Result<()> {
    let figure = Figure::new(format!("{name}: views behind at the end"), behind.as_secs_f64(), "s").at_most(5.0);
    bench.report.add(&figure.seen("a server looks twice a second"))
}

/// Sealed events, for each appender its own, in a state directory whose people and identities are there already.
struct Prepared {
    parts: Parts,
    lanes: Vec<Vec<Vec<u8>>>,
    /// How large they are.
    size: String,
    _dir: tempfile::TempDir,
}

fn prepare(bench: &Bench, count: u64) -> Result<Prepared> {
    let dir = bench.scratch("following")?;
    let root = dir.path().join("state");
    engine::runtime()?.block_on(Parts::make(&root))?;
    let parts = Parts::open(&root)?;
    let until = micros();
    let plan = Plan { seed: 1, events: count, until, span: 60_000_000, observers: APPENDERS };
    let mut world = World::new(plan)?;
    let opening = world.opening();
    parts.write(&mut world, opening)?;
    parts.follow()?;
    let mut lanes = vec![Vec::new(); APPENDERS];
    let mut bytes = 0;
    for _ in 0..count {
        let made = world.next()?;
        let record = parts.record(&made)?;
        bytes += record.len() as u64;
        lanes.get_mut(made.lane).ok_or("there is no such appender")?.push(record);
    }
    let size = format!("of {} B on average, the sealed part included", bytes / count.max(1));
    Ok(Prepared { parts, lanes, size, _dir: dir })
}

impl Prepared {
    /// What appending took, and what it took until everything was in the views.
    fn measure(&mut self, append: impl FnOnce(&Log, Vec<Vec<Vec<u8>>>) -> Result<Run> + Send) -> Result<(Run, Cost)> {
        let lanes = std::mem::take(&mut self.lanes);
        let log: &Log = &self.parts.log;
        let meter = Meter::own()?;
        let run = self.parts.following(|| append(log, lanes))?;
        let cost = meter.read()?;
        if self.parts.views.covers()? != self.parts.log.durable() {
            return Err("the views did not come to the end of the log".into());
        }
        Ok((run, cost))
    }
}

/// Each event is due at its own moment, whatever became of those before it, and its latency counts from then.
fn arrivals(log: &Log, lanes: Vec<Vec<Vec<u8>>>, rate: f64) -> Result<Run> {
    let appenders = lanes.len();
    let start = now() + Duration::from_millis(20);
    each_lane(lanes, |place, lane| {
        let mut latencies = Vec::with_capacity(lane.len());
        for (turn, record) in lane.into_iter().enumerate() {
            let due = start + Duration::from_secs_f64((turn * appenders + place) as f64 / rate);
            std::thread::sleep(due.saturating_duration_since(now()));
            log.append(vec![record])?.wait()?;
            latencies.push(since(due));
        }
        Ok(latencies)
    })
}

fn at_full_speed(log: &Log, lanes: Vec<Vec<Vec<u8>>>) -> Result<Run> {
    each_lane(lanes, |_, mut lane| {
        let mut latencies = Vec::new();
        while !lane.is_empty() {
            let rest = lane.split_off(lane.len().min(BULK));
            let at = now();
            log.append(std::mem::replace(&mut lane, rest))?.wait()?;
            latencies.push(since(at));
        }
        Ok(latencies)
    })
}

/// One thread for each lane.
fn each_lane(lanes: Vec<Vec<Vec<u8>>>, work: impl Fn(usize, Vec<Vec<u8>>) -> Result<Vec<u64>> + Sync) -> Result<Run> {
    let meter = Meter::own()?;
    let outcomes: Vec<Result<Vec<u64>>> = std::thread::scope(|scope| {
        let work = &work;
        let lanes = lanes.into_iter().enumerate();
        let threads: Vec<_> = lanes.map(|(place, lane)| scope.spawn(move || work(place, lane))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap_or_else(|_| Err("an appender ended early".into()))).collect()
    });
    let cost = meter.read()?;
    let latencies = outcomes.into_iter().collect::<Result<Vec<_>>>()?.concat();
    Ok(Run { samples: Samples::new(latencies), cost, each: 1 })
}

fn since(moment: Instant) -> u64 {
    nanos(moment.elapsed())
}

const RATE: u64 = 20_000;
const APPENDERS: usize = 64;
const BULK: usize = 64;
const BYTES: usize = 1400;
