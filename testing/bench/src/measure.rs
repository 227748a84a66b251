//! Clocks, CPU time and quantiles.

use std::time::{Duration, Instant};

use crate::Result;

/// The time now.
#[expect(clippy::disallowed_methods, reason = "a benchmark reads the clock; nothing is decided by it")]
pub fn now() -> Instant {
    Instant::now()
}

/// The time in microseconds since the Unix epoch, for measures across processes of one machine.
pub fn micros() -> i64 {
    marque_engine::Env::system().clock.now().micros()
}

/// Measures wall and CPU time of a process from a moment on.
pub struct Meter {
    pid: u32,
    since: Instant,
    cpu: Duration,
}

/// What something cost.
#[derive(Clone, Copy)]
pub struct Cost {
    /// Time on the wall.
    pub wall: Duration,
    /// User and system time of all threads of the process, in steps of 10 ms.
    pub cpu: Duration,
}

impl Meter {
    /// For another process.
    pub fn of(pid: u32) -> Result<Self> {
        Ok(Self { pid, cpu: cpu_time(pid, OWN)?, since: now() })
    }

    /// For this process.
    pub fn own() -> Result<Self> {
        Self::of(std::process::id())
    }

    /// What it cost until now.
    pub fn read(&self) -> Result<Cost> {
        let wall = self.since.elapsed();
        Ok(Cost { wall, cpu: cpu_time(self.pid, OWN)?.saturating_sub(self.cpu) })
    }
}

impl Cost {
    /// CPU time for each of `count`, in microseconds.
    pub fn cpu_us_each(&self, count: u64) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / count.max(1) as f64
    }

    /// How many a second.
    pub fn rate(&self, count: u64) -> f64 {
        count as f64 / self.wall.as_secs_f64().max(1e-9)
    }
}

/// User and system time of the child processes of this one that have ended and were waited for.
pub fn children_cpu() -> Result<Duration> {
    cpu_time(std::process::id(), CHILDREN)
}

/// User and system time of a process, from two fields of `/proc/<pid>/stat`; those of ended threads are included.
fn cpu_time(pid: u32, fields: [usize; 2]) -> Result<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let (_, rest) = stat.rsplit_once(')').ok_or("the process table is not as expected")?;
    let given: Vec<&str> = rest.split_ascii_whitespace().collect();
    let mut ticks = 0;
    for field in fields {
        ticks += given.get(field - 3).ok_or("the process table is not as expected")?.parse::<u64>()?;
    }
    Ok(Duration::from_millis(ticks * 1000 / TICKS_A_SECOND))
}

/// The resident memory of a process in bytes.
pub fn resident(pid: u32) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("the process has no memory")?;
    let kib: u64 = line.split_ascii_whitespace().next().ok_or("the process has no memory")?.parse()?;
    Ok(kib * 1024)
}

/// Durations in order.
pub struct Samples(Vec<u64>);

impl Samples {
    /// From nanoseconds in any order.
    pub fn new(mut nanos: Vec<u64>) -> Self {
        nanos.sort_unstable();
        Self(nanos)
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.0.len() as u64
    }

    /// The quantile `q` (nearest rank) in microseconds; not a number when there are none.
    pub fn quantile(&self, q: f64) -> f64 {
        let rank = (q * self.0.len() as f64).ceil() as usize;
        self.0.get(rank.saturating_sub(1)).map_or(f64::NAN, |nanos| *nanos as f64 / 1e3)
    }
}

/// Whole nanoseconds.
pub fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// The fields of a process itself, and of its children.
const OWN: [usize; 2] = [14, 15];
const CHILDREN: [usize; 2] = [16, 17];
/// What Linux calls a clock tick in the process table, on every machine.
const TICKS_A_SECOND: u64 = 100;
