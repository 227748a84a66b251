//! The physical limit: what the disk gives a program that does nothing else.

use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::time::Duration;

use crate::Result;
use crate::measure::{Meter, Samples, nanos, now};
use crate::report::Run;

/// What the disk gives.
pub struct Limit {
    /// Writes of 4 KiB, each made durable.
    pub small: Run,
    /// Writes of 4 MiB, each made durable.
    pub large: Run,
}

impl Limit {
    /// Measures in `dir`: one thread, into a file whose blocks are there already.
    pub fn measure(dir: &Path, time: Duration) -> Result<Self> {
        let path = dir.join("raw");
        preallocate(&path)?;
        let file = std::fs::OpenOptions::new().write(true).open(&path)?;
        let limit = Self { small: durable_writes(&file, SMALL, time)?, large: durable_writes(&file, LARGE, time)? };
        std::fs::remove_file(&path)?;
        Ok(limit)
    }

    /// Bytes a second with large writes.
    pub fn bytes_a_second(&self) -> f64 {
        self.large.rate() * LARGE as f64
    }
}

fn preallocate(path: &Path) -> Result<()> {
    let mut file = File::create(path)?;
    let zeros = vec![0; LARGE];
    for _ in 0..FILE / LARGE {
        file.write_all(&zeros)?;
    }
    Ok(file.sync_all()?)
}

/// `pwrite` and `fdatasync`, one after the other.
fn durable_writes(file: &File, bytes: usize, time: Duration) -> Result<Run> {
    let block = vec![0xa5; bytes];
    let mut latencies = Vec::new();
    let mut offset = 0;
    let meter = Meter::own()?;
    let until = now() + time;
    while now() < until {
        let at = now();
        file.write_all_at(&block, offset as u64)?;
        file.sync_data()?;
        latencies.push(nanos(at.elapsed()));
        offset = (offset + bytes) % FILE;
    }
    Ok(Run { cost: meter.read()?, samples: Samples::new(latencies), each: 1 })
}

const FILE: usize = 64 << 20;
const SMALL: usize = 4 << 10;
const LARGE: usize = 4 << 20;
