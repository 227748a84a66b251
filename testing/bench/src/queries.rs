//! Questions and traces over logs of growing size, what the index takes, and how long opening takes after a kill.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use marque_core::time::Timestamp;
use marque_core::when::When;
use marque_engine::{Engine, Query, Trace, TraceClass};
use tokio::runtime::Runtime;

use crate::measure::{Meter, Samples, micros, nanos, now};
use crate::parts::{Parts, open};
use crate::report::{Bounds, Figure, Run, say, shown};
use crate::synthetic::{DOCUMENT, Plan, World};
use crate::{Bench, Result, engine};

/// The argument that makes this program write to a filled directory until it is killed.
pub const ROLE: &str = "child-writer";

/// Takes the figures.
pub fn run(bench: &mut Bench) -> Result<()> {
    let runtime = engine::runtime()?;
    let mut sizes = bench.scale.pick(vec![10_000, 100_000, 1_000_000], vec![2_000, 20_000]);
    if bench.large {
        sizes.push(2 * LARGE_RECORDS);
    }
    for entries in sizes {
        let dir = bench.scratch("queries")?;
        let root = dir.path().join("state");
        let mut filled = fill(bench, &runtime, &root, entries)?;
        ask(bench, &runtime, &root, &mut filled)?;
        recover(bench, &runtime, &root, entries)?;
    }
    Ok(())
}

/// A filled directory.
struct Filled {
    name: String,
    world: World,
    until: i64,
}

fn fill(bench: &mut Bench, runtime: &Runtime, root: &Path, entries: u64) -> Result<Filled> {
    runtime.block_on(Parts::make(root))?;
    let name = format!("queries/{} entries", shown(entries as f64));
    let until = micros();
    let mut world = World::new(Plan { seed: entries, events: entries, until, span: MONTH, observers: 1 })?;
    let parts = Parts::open(root)?;
    let meter = Meter::own()?;
    parts.following(|| parts.write(&mut world, entries))?;
    let cost = meter.read()?;
    // The last one may have been made and not written.
    world.known.documents.pop();
    let figure = Figure::new(format!("{name}, filling"), cost.rate(entries), "entries/s").took(cost);
    let seen = format!("{:.0} s, events made and sealed by one thread", cost.wall.as_secs_f64());
    bench.report.add(&figure.cpu(cost.cpu_us_each(entries)).seen(seen))?;
    let postings = parts.views.index().stats();
    // Closing writes what waits in memory.
    drop(parts);
    let seen = format!("{} postings; a record is a decision and its outcome", postings.postings + postings.waiting);
    let each = |bytes: u64| 2.0 * bytes as f64 / entries as f64;
    let index = Figure::new(format!("{name}, index"), each(bytes_in(&root.join("index"))?), "B/record").took(cost);
    bench.report.add(&index.seen(seen))?;
    let tables = std::fs::metadata(root.join("views.db"))?.len();
    bench.report.add(&Figure::new(format!("{name}, tables"), each(tables), "B/record").took(cost))?;
    let log = bytes_in(&root.join("ledger"))? + bytes_in(&root.join("private"))?;
    bench.report.add(&Figure::new(format!("{name}, the entries themselves"), each(log), "B/record").took(cost))?;
    Ok(Filled { name, world, until })
}

fn ask(bench: &mut Bench, runtime: &Runtime, root: &Path, filled: &mut Filled) -> Result<()> {
    let engine = runtime.block_on(open(root))?;
    let times = bench.scale.pick(300, 20);
    queries(bench, &engine, filled, times)?;
    let times = bench.scale.pick(100, 8);
    traces(bench, &engine, filled, times)?;
    if Arc::strong_count(&engine) != 1 {
        return Err("something still holds the engine".into());
    }
    Ok(())
}

fn queries(bench: &mut Bench, engine: &Engine, filled: &mut Filled, times: usize) -> Result<()> {
    let Filled { name, world, until } = filled;
    let mut by_identity = Vec::new();
    let mut by_task = Vec::new();
    let mut by_credential = Vec::new();
    for _ in 0..times {
        let day = *until - (1 + world.below(DAYS) as i64) * DAY;
        let at = |moment| Some(When::At(Timestamp::from_micros(moment)));
        let n = world.below(world.known.identities.len());
        let identity = world.known.identities.get(n).cloned();
        by_identity.push(Query { identity, since: at(day), until: at(day + DAY), ..Query::default() });
        // The last tasks may have done nothing yet.
        let n = world.below(world.known.tasks.len().saturating_sub(100).max(1));
        by_task.push(Query { task: world.known.tasks.get(n).copied(), ..Query::default() });
        by_credential.push(Query { credential: world.known.leases.get(n).copied(), ..Query::default() });
    }
    for (what, asked) in [("identity and a day", by_identity), ("a task", by_task), ("a credential", by_credential)] {
        let mut found = 0;
        let run = timed(asked.iter(), |query| {
            found += engine.query(query)?.entries.len();
            Ok(())
        })?;
        if found == 0 {
            return Err(format!("no entry was found by {what}").into());
        }
        let bounds = Bounds { p50: 50_000.0, p99: 50_000.0, ..Bounds::default() };
        bench.report.add_run(&format!("{name}, {what}"), "queries/s", &run, bounds)?;
        let figure = Figure::new(format!("{name}, {what}: entries found"), found as f64 / times as f64, "entries");
        bench.report.add(&figure.took(run.cost).seen("on average; a page has 100"))?;
    }
    Ok(())
}

fn traces(bench: &mut Bench, engine: &Engine, filled: &mut Filled, times: usize) -> Result<()> {
    let Filled { name, world, .. } = filled;
    let documents = world.known.documents.clone();
    let known = |n: usize| documents.get(n % documents.len().max(1)).cloned().ok_or("no document was recorded");
    let mut cases: [(&str, TraceClass, Vec<String>); 4] = [
        ("the same bytes", TraceClass::Exact, Vec::new()),
        ("other case and line ends", TraceClass::Normalised, Vec::new()),
        ("40 % of it in another text", TraceClass::Strong, Vec::new()),
        ("a text that is not there", TraceClass::None, Vec::new()),
    ];
    for n in 0..times {
        let document = known(n)?;
        let excerpt = document.get(DOCUMENT * 3 / 10..DOCUMENT * 7 / 10).ok_or("a document is too short")?;
        let (before, after) = (world.text(DOCUMENT * 3 / 10), world.text(DOCUMENT * 3 / 10));
        let texts = [
            document.clone(),
            document.to_uppercase().replace('\n', "\r\n"),
            format!("{before}\n{excerpt}\n{after}"),
            world.text(DOCUMENT),
        ];
        cases.iter_mut().zip(texts).for_each(|(case, text)| case.2.push(text));
    }
    for (what, class, texts) in cases {
        let mut right = 0;
        let run = timed(texts.iter(), |text| {
            let trace: Trace = engine.trace(text.as_bytes())?;
            right += usize::from(trace.class == class);
            Ok(())
        })?;
        let bounds = Bounds { p50: 200_000.0, p99: 200_000.0, ..Bounds::default() };
        bench.report.add_run(&format!("{name}, trace of 10 kB, {what}"), "traces/s", &run, bounds)?;
        let share = 100.0 * right as f64 / times as f64;
        let figure = Figure::new(format!("{name}, trace of 10 kB, {what}: answered {class:?}"), share, "%").took(run.cost);
        bench.report.add(&figure.seen(format!("{right} of {times}")))?;
    }
    Ok(())
}

/// Each of them once, timed alone.
fn timed<T>(each: impl Iterator<Item = T>, mut once: impl FnMut(T) -> Result<()>) -> Result<Run> {
    let mut latencies = Vec::new();
    let meter = Meter::own()?;
    for one in each {
        let at = now();
        once(one)?;
        latencies.push(nanos(at.elapsed()));
    }
    Ok(Run { cost: meter.read()?, samples: Samples::new(latencies), each: 1 })
}

/// A process that writes is killed; then the directory is opened as a server does.
fn recover(bench: &mut Bench, runtime: &Runtime, root: &Path, entries: u64) -> Result<()> {
    let more = (entries / 10).clamp(1_000, 50_000);
    let mut command = Command::new(std::env::current_exe()?);
    command.arg(ROLE).arg(root).arg(more.to_string()).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn()?;
    let mut said = String::new();
    let output = child.stdout.take().ok_or("no standard output")?;
    BufReader::new(output).read_line(&mut said)?;
    // SIGKILL.
    child.kill()?;
    child.wait()?;
    let durable: u64 = said.trim().parse().map_err(|_| format!("the writer did not come to its end: `{said}`"))?;
    let meter = Meter::own()?;
    let engine = runtime.block_on(open(root))?;
    let covers = engine.catch_up()?;
    let cost = meter.read()?;
    if engine.log_size() < durable || covers < durable {
        return Err(format!("{durable} events were acknowledged, and {covers} are there").into());
    }
    let name = format!("queries/{} entries, opening after kill -9", shown(entries as f64));
    let seen = format!("{more} entries were in no tile and no run of the index, {} of them not in the tables", more / 2);
    bench.report.add(&Figure::new(name, cost.wall.as_secs_f64(), "s").took(cost).seen(seen).at_most(10.0))
}

/// The process that is killed: half of what it writes is in the tables, and nothing is published.
pub fn child(arguments: &[String]) -> Result<()> {
    let [root, more] = arguments else { return Err("a directory and a number are needed".into()) };
    let more: u64 = more.parse()?;
    let parts = Parts::open(Path::new(root))?;
    let mut world = World::new(Plan { seed: 77, events: more, until: micros(), span: 60_000_000, observers: 1 })?;
    parts.write(&mut world, more / 2)?;
    parts.views.catch_up()?;
    parts.write(&mut world, more - more / 2)?;
    say(&parts.log.durable().to_string())?;
    // Until it is killed, or nobody is there any more.
    std::io::stdin().read_line(&mut String::new())?;
    Ok(())
}

/// The size of all files below a directory.
pub fn bytes_in(dir: &Path) -> Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        let meta = entry.metadata()?;
        bytes += if meta.is_dir() { bytes_in(&entry.path())? } else { meta.len() };
    }
    Ok(bytes)
}

/// A record is two entries: a decision and its outcome.
const LARGE_RECORDS: u64 = 10_000_000;
const DAYS: usize = 30;
const DAY: i64 = 86_400 * 1_000_000;
const MONTH: i64 = DAYS as i64 * DAY;
