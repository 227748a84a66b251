//! The ledger: building the tree, cutting the log into tiles, verifying a whole log from its files.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};

use marque_engine::sha256;
use marque_ledger::{LedgerError, LogFiles, Signer, Tree, leaf_hash, verify_log};
use marque_store::log::Log;
use marque_store::tiles::Tiles;

use crate::measure::{Cost, Meter};
use crate::office::{Office, drive};
use crate::report::{Bounds, Figure};
use crate::{Bench, Result, engine, verifying, witnessed};

/// Takes the figures.
pub fn run(bench: &mut Bench) -> Result<()> {
    let count = bench.scale.pick(1_000_000, 50_000);
    for bytes in [500, 1400] {
        Entries { count, bytes }.measure(bench)?;
    }
    verifying::run(bench)?;
    receipts(bench)?;
    witnessed::run(bench)
}

/// So many entries of so many bytes, all different.
#[derive(Clone, Copy)]
struct Entries {
    count: u64,
    bytes: usize,
}

impl Entries {
    fn measure(self, bench: &mut Bench) -> Result<()> {
        self.integrate(bench)?;
        let dir = bench.scratch("ledger")?;
        let log = Log::open(&dir.path().join("log"), 0)?;
        self.fill(&log)?;
        let ledger = dir.path().join("ledger");
        let signer = Signer::from_seed(ORIGIN, [7; 32])?;
        self.follow(bench, &log, &ledger, &signer)?;
        self.verify(bench, &ledger, &signer)
    }

    /// The tree alone, in memory, with the hash of each leaf.
    fn integrate(self, bench: &mut Bench) -> Result<()> {
        let entry = vec![b'x'; self.bytes];
        let mut tree = Tree::default();
        let mut full = Vec::new();
        let meter = Meter::own()?;
        for _ in 0..self.count {
            tree.push(leaf_hash(std::hint::black_box(&entry)), &mut full);
            full.clear();
        }
        let cost = meter.read()?;
        let figure = self.figure("leaves into the tree", cost);
        bench.report.add(&figure.seen(format!("{} leaves, one thread", tree.size())))
    }

    /// Appends of 256, some of them under way at a time.
    fn fill(self, log: &Log) -> Result<()> {
        let (count, width) = (self.count, self.bytes);
        let mut under_way = VecDeque::new();
        for first in (0..count).step_by(BULK) {
            let entries = (first..count.min(first + BULK as u64)).map(|index| format!("{index:0width$}").into_bytes());
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
    fn follow(self, bench: &mut Bench, log: &Log, ledger: &Path, signer: &Signer) -> Result<()> {
        let mut tiles = Tiles::open(ledger, ORIGIN)?;
        let meter = Meter::own()?;
        tiles.follow(log)?;
        let followed = meter.read()?;
        let head = tiles.publish(signer)?;
        let published = meter.read()?;
        if head.size != self.count {
            return Err(format!("{} of {} entries were published", head.size, self.count).into());
        }
        bench.report.add(&self.figure("tiles cut from the log, not synced", followed))?;
        let seen = format!("syncing and signing took {} ms of it", (published.wall - followed.wall).as_millis());
        bench.report.add(&self.figure("tiles cut, synced and signed", published).seen(seen).at_least(100_000.0))
    }

    /// An auditor's pass over the files: every entry hashed, every tile compared, the signature checked.
    fn verify(self, bench: &mut Bench, ledger: &Path, signer: &Signer) -> Result<()> {
        let meter = Meter::own()?;
        let report = verify_log(&Files(ledger.to_owned()), ORIGIN, &[signer.verifier()], &mut |_, _| Ok(()));
        let cost = meter.read()?;
        if !report.is_ok() || report.entries_checked != self.count {
            return Err(format!("the log does not verify: {:?}", report.faults.first()).into());
        }
        let seen = format!("{} entries and {} tiles, from the page cache", self.count, report.tiles_checked);
        bench.report.add(&self.figure("offline verification", cost).seen(seen).at_least(200_000.0))?;
        let entry = vec![b'x'; self.bytes];
        let meter = Meter::own()?;
        for _ in 0..self.count {
            std::hint::black_box(sha256(std::hint::black_box(&entry)));
        }
        let plain = meter.read()?;
        let ratio = cost.wall.as_secs_f64() / plain.wall.as_secs_f64().max(1e-9);
        let name = format!("ledger/{} B, offline verification by plain SHA-256", self.bytes);
        let seen = format!("the same count and size of entries from memory: {} ms", plain.wall.as_millis());
        bench.report.add(&Figure::new(name, ratio, "×").took(cost).seen(seen))
    }

    fn figure(self, what: &str, cost: Cost) -> Figure {
        let name = format!("ledger/{} B, {what}", self.bytes);
        Figure::new(name, cost.rate(self.count), "entries/s").cpu(cost.cpu_us_each(self.count)).took(cost)
    }
}

/// From an acknowledged decision to its inclusion proof.
fn receipts(bench: &mut Bench) -> Result<()> {
    engine::runtime()?.block_on(async {
        let dir = bench.scratch("receipts")?;
        let office = Office::open(&dir.path().join("state")).await?;
        let time = bench.scale.seconds(3.0, 0.5);
        let bounds = Bounds { p50: 100_000.0, p99: 100_000.0, ..Bounds::default() };
        let run = drive(&office, 1, time, Office::lone_receipt).await?;
        bench.report.add_run("ledger/receipt, 1 at once, rested", "receipts/s", &run, bounds)?;
        for at_once in [1, 16] {
            let run = drive(&office, at_once, time, Office::receipt).await?;
            bench.report.add_run(&format!("ledger/receipt, {at_once} at once"), "receipts/s", &run, bounds)?;
        }
        Ok(())
    })
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
const BULK: usize = 256;
const UNDER_WAY: usize = 64;
