//! The ledger: building the tree, cutting the log into tiles, verifying a whole log from its files.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};

use marque_ledger::{LedgerError, LogFiles, Signer, Tree, leaf_hash, verify_log};
use marque_store::log::Log;
use marque_store::tiles::Tiles;

use crate::measure::Meter;
use crate::report::Figure;
use crate::{Bench, Result};

/// Takes the figures.
pub fn run(bench: &mut Bench) -> Result<()> {
    let count = bench.scale.pick(1_000_000, 100_000);
    integrate(bench, count)?;
    let dir = bench.scratch("ledger")?;
    let log = Log::open(&dir.path().join("log"), 0)?;
    fill(&log, count)?;
    let ledger = dir.path().join("ledger");
    let signer = Signer::from_seed(ORIGIN, [7; 32])?;
    follow(bench, &log, &ledger, &signer, count)?;
    verify(bench, &ledger, &signer, count)
}

/// The tree alone, in memory, with the hash of each leaf.
fn integrate(bench: &mut Bench, count: u64) -> Result<()> {
    let entry = vec![b'x'; BYTES];
    let mut tree = Tree::default();
    let mut full = Vec::new();
    let meter = Meter::own()?;
    for _ in 0..count {
        tree.push(leaf_hash(std::hint::black_box(&entry)), &mut full);
        full.clear();
    }
    let cost = meter.read()?;
    let figure = Figure::new("ledger/leaves into the tree, 500 B", cost.rate(count), "leaves/s");
    bench.report.add(&figure.cpu(cost.cpu_us_each(count)).took(cost).seen(format!("{} leaves, one thread", tree.size())))
}

/// Entries that differ, in appends of 256, some of them under way at a time.
fn fill(log: &Log, count: u64) -> Result<()> {
    let mut under_way = VecDeque::new();
    for first in (0..count).step_by(BULK) {
        let entries = (first..count.min(first + BULK as u64)).map(|index| format!("{index:0BYTES$}").into_bytes());
        under_way.push_back(log.append(entries.collect())?);
        if under_way.len() >= UNDER_WAY
            && let Some(oldest) = under_way.pop_front()
        {
            oldest.wait()?;
        }
    }
    for pending in under_way {
        pending.wait()?;
    }
    Ok(())
}

/// The follower, from a log that it has never seen to a signed checkpoint.
fn follow(bench: &mut Bench, log: &Log, ledger: &Path, signer: &Signer, count: u64) -> Result<()> {
    let mut tiles = Tiles::open(ledger, ORIGIN)?;
    let meter = Meter::own()?;
    tiles.follow(log)?;
    let followed = meter.read()?;
    let head = tiles.publish(signer)?;
    let published = meter.read()?;
    if head.size != count {
        return Err(format!("{} of {count} entries were published", head.size).into());
    }
    let figure = Figure::new("ledger/tiles cut from the log, not synced", followed.rate(count), "entries/s");
    bench.report.add(&figure.cpu(followed.cpu_us_each(count)).took(followed))?;
    let seen = format!("syncing and signing took {} ms of it", (published.wall - followed.wall).as_millis());
    let figure = Figure::new("ledger/tiles cut, synced and signed", published.rate(count), "entries/s").seen(seen);
    bench.report.add(&figure.cpu(published.cpu_us_each(count)).took(published).at_least(100_000.0))
}

/// An auditor's pass over the files: every entry hashed, every tile compared, the signature checked.
fn verify(bench: &mut Bench, ledger: &Path, signer: &Signer, count: u64) -> Result<()> {
    let meter = Meter::own()?;
    let report = verify_log(&Files(ledger.to_owned()), ORIGIN, &[signer.verifier()], &mut |_, _| Ok(()));
    let cost = meter.read()?;
    if !report.is_ok() || report.entries_checked != count {
        return Err(format!("the log does not verify: {:?}", report.faults.first()).into());
    }
    let seen = format!("{count} entries and {} tiles, from the page cache", report.tiles_checked);
    let figure = Figure::new("ledger/offline verification", cost.rate(count), "entries/s").seen(seen);
    bench.report.add(&figure.cpu(cost.cpu_us_each(count)).took(cost).at_least(200_000.0))
}

struct Files(PathBuf);

impl LogFiles for Files {
    fn read(&self, path: &str) -> marque_ledger::Result<Option<Vec<u8>>> {
        match std::fs::read(self.0.join(path)) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(LedgerError::Read { path: path.to_owned(), reason: error.to_string() }),
        }
    }
}

const ORIGIN: &str = "bench.example/log";
const BYTES: usize = 500;
const BULK: usize = 256;
const UNDER_WAY: usize = 64;
