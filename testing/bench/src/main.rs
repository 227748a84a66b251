//! The benchmarks: what Marque costs, each figure beside what it is held against. `docs/benchmarks.md` has the method.
//!
//! Run it as `cargo xtask bench`. An expectation that is not met is printed and fails nothing; only a figure that could
//! not be taken does.

mod accuracy;
mod agent;
mod client;
mod decisions;
mod disk;
mod engine;
mod following;
mod gateway;
mod hammer;
mod identity;
mod ledger;
mod load;
mod log;
mod measure;
mod office;
mod parts;
mod peers;
mod queries;
mod random;
mod report;
mod revocation;
mod startup;
mod streams;
mod synthetic;
mod system;
mod upstream;
mod verifying;
mod witnessed;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use tempfile::TempDir;

/// As in the program itself.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

use measure::Meter;
use report::Report;

/// What stood in the way of a figure.
pub type Error = Box<dyn std::error::Error + Send + Sync>;

/// The result of everything here.
pub type Result<T> = std::result::Result<T, Error>;

/// A group of figures, by its name on the command line.
type Group = (&'static str, fn(&mut Bench) -> Result<()>);

const GROUPS: [Group; 11] = [
    ("decisions", decisions::run),
    ("log", log::run),
    ("ledger", ledger::run),
    ("engine", engine::run),
    ("identity", identity::run),
    ("queries", queries::run),
    ("gateway", gateway::run),
    ("revocation", revocation::run),
    ("startup", startup::run),
    ("accuracy", accuracy::run),
    ("peers", peers::run),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let rest = arguments.get(1..).unwrap_or_default();
    match arguments.first().map(String::as_str) {
        // The benchmark's own child processes.
        Some(upstream::ROLE) => ended(upstream::child()),
        Some(load::ROLE) => ended(load::child()),
        Some(agent::ROLE) => ended(agent::child(rest)),
        Some(queries::ROLE) => ended(queries::child(rest)),
        _ => bench(&arguments),
    }
}

fn ended(outcome: Result<()>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("marque-bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn bench(arguments: &[String]) -> ExitCode {
    let options = match Options::parse(arguments) {
        Ok(options) => options,
        Err(wrong) => {
            eprintln!("{wrong}{HELP}");
            return ExitCode::from(2);
        }
    };
    match options.run() {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => ended(Err(error)),
    }
}

/// What every group works with.
pub struct Bench {
    /// How long to measure.
    pub scale: Scale,
    /// Whether a log of ten million records is wanted, too.
    pub large: bool,
    /// Where figures go.
    pub report: Report,
    /// The binary under test.
    pub marque: PathBuf,
    base: PathBuf,
}

impl Bench {
    /// A fresh directory on a real disk, removed with its guard.
    pub fn scratch(&self, name: &str) -> Result<TempDir> {
        Ok(tempfile::Builder::new().prefix(&format!("{name}-")).tempdir_in(&self.base)?)
    }
}

/// How long to measure: long enough to trust, or only long enough to see that everything still runs.
#[derive(Clone, Copy)]
pub struct Scale {
    quick: bool,
}

impl Scale {
    /// One of two values.
    pub fn pick<T>(self, full: T, quick: T) -> T {
        if self.quick { quick } else { full }
    }

    /// One of two lengths of time, in seconds.
    pub fn seconds(self, full: f64, quick: f64) -> Duration {
        Duration::from_secs_f64(self.pick(full, quick))
    }
}

/// The command line.
struct Options {
    json: bool,
    quick: bool,
    large: bool,
    groups: Vec<Group>,
}

impl Options {
    fn parse(arguments: &[String]) -> std::result::Result<Self, String> {
        let large = std::env::var_os("MARQUE_BENCH_LARGE").is_some_and(|value| value == "1");
        let mut options = Self { json: false, quick: false, large, groups: Vec::new() };
        for argument in arguments {
            match argument.as_str() {
                "--json" => options.json = true,
                "--quick" => options.quick = true,
                "--large" => options.large = true,
                "--help" | "-h" => return Err(String::new()),
                name => {
                    let group = GROUPS.iter().find(|(group, _)| *group == name);
                    options.groups.push(*group.ok_or_else(|| format!("there is no figure `{name}`\n\n"))?);
                }
            }
        }
        if options.groups.is_empty() {
            options.groups = GROUPS.to_vec();
        }
        Ok(options)
    }

    /// Takes the figures; how many groups could not be taken.
    fn run(self) -> Result<usize> {
        let base = std::env::current_dir()?.join("target").join("bench");
        std::fs::create_dir_all(&base)?;
        if rustix::fs::statfs(&base)?.f_type == 0x0102_1994 {
            // The magic number of tmpfs, which keeps nothing.
            return Err(format!("`{}` is in memory: run this from a directory on a disk", base.display()).into());
        }
        let scale = Scale { quick: self.quick };
        let mut bench = Bench { scale, large: self.large, report: Report::new(self.json), marque: marque()?, base };
        let mut failed = 0;
        for (name, take) in self.groups {
            let meter = Meter::own()?;
            if let Err(error) = take(&mut bench) {
                failed += 1;
                bench.report.failed(name, &error, meter.read()?)?;
            }
        }
        bench.report.finish()?;
        let _ = std::fs::remove_dir(&bench.base);
        Ok(failed)
    }
}

/// The binary under test: the one that was named, or the one beside this program.
fn marque() -> Result<PathBuf> {
    match std::env::var_os("MARQUE_BIN") {
        Some(path) => Ok(path.into()),
        None => Ok(std::env::current_exe()?.with_file_name("marque")),
    }
}

const HELP: &str = "\
USAGE: cargo xtask bench [--json] [--quick] [--large] [NAME…]

NAMES: decisions log ledger engine identity queries gateway revocation startup accuracy peers; all of them without a name
  --json   one object a line: name, value, unit, ok, seen, milliseconds, and cpu_us where it was taken
  --quick  shorter and less exact
  --large  `queries` over ten million records, too: it takes long, and some 30 GB of disk

ENVIRONMENT: MARQUE_BIN is the binary under test (a release build); MARQUE_BENCH_LARGE=1 is --large; MARQUE_ACCURACY is the
program marque-accuracy; MARQUE_GO_TESSERA and MARQUE_GO_HAMMER are the folders with Tessera's programs, and without them
`peers` says that they are missing
EXIT CODES: 0 all figures were taken, 1 some were not, 2 the command line makes no sense
";
