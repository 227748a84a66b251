//! Others beside us: Tessera's own POSIX driver and our log with its tiles, one after the other, with as many appenders and
//! entries of the same size.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use marque_store::log::Log;
use marque_store::tiles::Tiles;
use serde_json::Value;
use tokio::sync::watch;

use crate::measure::{Meter, Samples, nanos, now};
use crate::report::{Bounds, Figure, Run};
use crate::{Bench, Result, engine, hammer};

/// Takes the figures.
pub fn run(bench: &mut Bench) -> Result<()> {
    let Some(program) = program() else {
        let why = std::env::var_os("MARQUE_GO_TESSERA_MISSING").map(|why| why.to_string_lossy().into_owned());
        let seen = why.unwrap_or_else(|| "Tessera's program was not built: `cargo xtask bench` builds it with Go".into());
        bench.report.add(&Figure::new("peers/Tessera: not measured", f64::NAN, "").seen(seen))?;
        return hammer::run(bench);
    };
    for rival in [TUNED, BY_DEFAULT] {
        beside(bench, &program, rival)?;
    }
    hammer::run(bench)
}

/// How Tessera is set up, and how many append.
#[derive(Clone, Copy)]
struct Rival {
    name: &'static str,
    appenders: usize,
    options: &'static [&'static str],
}

fn program() -> Option<PathBuf> {
    let program = PathBuf::from(std::env::var_os("MARQUE_GO_TESSERA")?).join("bench");
    program.is_file().then_some(program)
}

fn beside(bench: &mut Bench, program: &Path, rival: Rival) -> Result<()> {
    let time = bench.scale.seconds(6.0, 0.5);
    let theirs = tessera(bench, program, rival, time)?;
    let name = format!("peers/{} appenders", rival.appenders);
    let number = |field: &str| theirs.get(field).and_then(Value::as_f64).ok_or_else(|| format!("Tessera gave no `{field}`"));
    let text = |field: &str| theirs.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
    let seen = format!("{} {}, {}, acknowledged when {}", text("driver"), text("version"), rival.name, text("ack"));
    let rate = number("entries_per_s")?;
    bench.report.add(&Figure::new(format!("{name}, Tessera: rate"), rate, "entries/s").seen(seen))?;
    for (label, field) in [("p50", "p50_us"), ("p99", "p99_us")] {
        bench.report.add(&Figure::new(format!("{name}, Tessera: {label}"), number(field)?, "µs"))?;
    }
    for (ack, until) in [("durable", Until::Durable), ("integrated", Until::Integrated)] {
        let run = ours(bench, rival.appenders, time, until)?;
        bench.report.add_run(&format!("{name}, Marque, {ack}"), "entries/s", &run, Bounds::default())?;
        let ratio = Figure::new(format!("{name}, Marque by Tessera, {ack}: rate"), run.rate() / rate, "×").took(run.cost);
        bench.report.add(&ratio.seen("more is better"))?;
        let slower = run.samples.quantile(0.5) / number("p50_us")?.max(1.0);
        let ratio = Figure::new(format!("{name}, Marque by Tessera, {ack}: p50"), slower, "×").took(run.cost);
        bench.report.add(&ratio.seen("less is better"))?;
    }
    Ok(())
}

fn tessera(bench: &Bench, program: &Path, rival: Rival, time: Duration) -> Result<Value> {
    let dir = bench.scratch("tessera")?;
    let mut command = Command::new(program);
    command.arg("--dir").arg(dir.path()).args(["--seconds", &time.as_secs_f64().to_string()]);
    command.args(["--goroutines", &rival.appenders.to_string(), "--size", &BYTES.to_string()]).args(rival.options);
    let output = command.output()?;
    if !output.status.success() {
        return Err(format!("Tessera ended with {}: {}", output.status, String::from_utf8_lossy(&output.stderr)).into());
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// What an appender waits for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Until {
    /// Its entry is on the disk.
    Durable,
    /// Its entry is in the tree, too, and the tiles that became full are written.
    Integrated,
}

/// Our log with its follower, appended to by as many tasks as Tessera has goroutines.
fn ours(bench: &Bench, appenders: usize, time: Duration, until: Until) -> Result<Run> {
    let dir = bench.scratch("peer")?;
    let log = Arc::new(Log::open(&dir.path().join("log"), 0)?);
    log.append(vec![vec![b'x'; BYTES]])?.wait()?;
    let tiles = Tiles::open(&dir.path().join("ledger"), "bench.example/log")?;
    let (integrated, grown) = watch::channel(0);
    let (stop, stopped) = watch::channel(false);
    let runtime = engine::runtime()?;
    let following = Arc::clone(&log);
    let follower = std::thread::spawn(move || follow(tiles, &following, &integrated, &stopped));
    let run: Result<Run> = runtime.block_on(async {
        let meter = Meter::own()?;
        let end = now() + time;
        let appender = |place| append(Arc::clone(&log), grown.clone(), place, end, until);
        let workers: Vec<_> = (0..appenders).map(|place| tokio::spawn(appender(place))).collect();
        let mut latencies = Vec::new();
        for worker in workers {
            latencies.extend(worker.await??);
        }
        Ok(Run { cost: meter.read()?, samples: Samples::new(latencies), each: 1 })
    });
    stop.send_replace(true);
    follower.join().unwrap_or_else(|_| Err("the follower ended early".into()))?;
    run
}

/// Cuts tiles as soon as something is durable.
fn follow(mut tiles: Tiles, log: &Log, integrated: &watch::Sender<u64>, stopped: &watch::Receiver<bool>) -> Result<()> {
    while !*stopped.borrow() {
        if log.durable() > tiles.size() {
            tiles.follow(log)?;
            integrated.send_replace(tiles.size());
        } else {
            std::thread::sleep(Duration::from_micros(100));
        }
    }
    Ok(())
}

async fn append(
    log: Arc<Log>,
    mut integrated: watch::Receiver<u64>,
    place: usize,
    end: std::time::Instant,
    until: Until,
) -> Result<Vec<u64>> {
    let mut latencies = Vec::new();
    let mut number = place as u64;
    while now() < end {
        // Never twice the same.
        number = number.wrapping_add(1 << 32);
        let mut entry = vec![b'x'; BYTES];
        entry.iter_mut().skip(1).zip(number.to_le_bytes()).for_each(|(to, from)| *to = from);
        let at = now();
        let index = log.append(vec![entry])?.await?;
        if until == Until::Integrated {
            integrated.wait_for(|size| *size > index).await?;
        }
        latencies.push(nanos(at.elapsed()));
    }
    Ok(latencies)
}

const TUNED: Rival = Rival {
    name: "batches of 64, 10 ms, a checkpoint each second",
    appenders: 64,
    options: &["--batch-size", "64", "--batch-age", "10ms", "--checkpoint-interval", "1s"],
};
const BY_DEFAULT: Rival = Rival { name: "with its own defaults", appenders: 2048, options: &[] };
const BYTES: usize = 1400;
