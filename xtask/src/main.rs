//! The one development tool. Run it as `cargo xtask VERB`; `cargo xtask --help` lists the verbs.
//!
//! It only starts other programs and reads what they say, so it depends on next to nothing and builds in seconds.

mod arch;
mod bench;
mod ci;
mod r#gen;
mod interop;
mod report;
mod toolchains;
mod tools;

use std::process::ExitCode;

use report::{Report, Step};
use tools::{Cargo, Workspace};

/// Why a verb did not end well. The two ways differ in their exit code.
pub enum Stop {
    /// A stage failed (exit code 1).
    Failed(String),
    /// The command line makes no sense (exit code 2).
    Usage(String),
}

impl From<String> for Stop {
    fn from(why: String) -> Self {
        Self::Failed(why)
    }
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let stop = match run(&args) {
        Ok(()) => return ExitCode::SUCCESS,
        Err(stop) => stop,
    };
    match stop {
        Stop::Failed(why) => {
            report::note(&format!("xtask: {why}"));
            ExitCode::from(1)
        }
        Stop::Usage(why) => {
            report::note(&format!("xtask: {why}\ntry `cargo xtask --help`"));
            ExitCode::from(2)
        }
    }
}

fn run(args: &[String]) -> Result<(), Stop> {
    let Some((verb, rest)) = args.split_first() else {
        report::say(HELP);
        return Err(Stop::Usage("a verb is missing".to_owned()));
    };
    // What follows `demo` and `bench` belongs to the program they start, its `--help` included.
    let ours = !matches!(verb.as_str(), "demo" | "bench");
    if matches!(verb.as_str(), "help" | "--help" | "-h") || (ours && rest.iter().any(|arg| arg == "--help" || arg == "-h")) {
        report::say(HELP);
        return Ok(());
    }
    let workspace = Workspace::load()?;
    match verb.as_str() {
        "ci" => ci::run(&workspace, rest),
        "arch" => arch(&workspace, rest),
        "gen" => r#gen::run(&workspace, rest),
        "sim" => sim(&workspace, rest),
        "interop" => interop::run(&workspace, rest),
        "bench" => bench::run(&workspace, rest),
        "e2e" => {
            Flags::parse(rest, &[], &[])?.no_names()?;
            Ok(tools::e2e(&workspace)?.hand_over()?)
        }
        "demo" => Ok(Cargo::new(&workspace, &["run", "--release", "--quiet", "--package", "marque", "--", "demo"])
            .args(rest)
            .hand_over()?),
        other => Err(Stop::Usage(format!("there is no verb `{other}`"))),
    }
}

fn arch(workspace: &Workspace, args: &[String]) -> Result<(), Stop> {
    let flags = Flags::parse(args, &["--json"], &[])?;
    flags.no_names()?;
    let mut report = Report::new(flags.has("--json"));
    let step = Step::time("arch", || arch::check(workspace));
    let failed = !step.ok;
    report.add(step);
    if failed { Err(Stop::Failed("the walls do not hold; each line above says what to do".to_owned())) } else { Ok(()) }
}

fn sim(workspace: &Workspace, args: &[String]) -> Result<(), Stop> {
    let flags = Flags::parse(args, &["--json"], &["--seeds", "--seed"])?;
    flags.no_names()?;
    for option in ["--seeds", "--seed"] {
        if let Some(value) = flags.value(option).filter(|value| value.parse::<u64>().is_err()) {
            return Err(Stop::Usage(format!("`{option}` wants a whole number, not `{value}`")));
        }
    }
    Ok(tools::simulation(workspace, args).hand_over()?)
}

/// A parsed command line: switches, options with a value, and plain names.
pub struct Flags {
    switches: Vec<String>,
    values: Vec<(String, String)>,
    names: Vec<String>,
}

impl Flags {
    /// Sorts `args` into known switches, known options (`--option VALUE` or `--option=VALUE`) and names.
    pub fn parse(args: &[String], switches: &[&str], options: &[&str]) -> Result<Self, Stop> {
        let mut flags = Self { switches: Vec::new(), values: Vec::new(), names: Vec::new() };
        let mut rest = args.iter();
        while let Some(arg) = rest.next() {
            let (name, inline) = match arg.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (arg.as_str(), None),
            };
            if switches.contains(&arg.as_str()) {
                flags.switches.push(arg.clone());
            } else if options.contains(&name) {
                let value = inline.or_else(|| rest.next().cloned());
                let value = value.ok_or_else(|| Stop::Usage(format!("`{name}` wants a value")))?;
                flags.values.push((name.to_owned(), value));
            } else if arg.starts_with('-') {
                return Err(Stop::Usage(format!("there is no option `{arg}` here")));
            } else {
                flags.names.push(arg.clone());
            }
        }
        Ok(flags)
    }

    /// Was this switch given?
    pub fn has(&self, switch: &str) -> bool {
        self.switches.iter().any(|given| given == switch)
    }

    /// The last value given for this option.
    pub fn value(&self, option: &str) -> Option<&str> {
        self.values.iter().rev().find(|(name, _)| name == option).map(|(_, value)| value.as_str())
    }

    /// At most one plain name.
    pub fn one_name(&self) -> Result<Option<&str>, Stop> {
        match self.names.as_slice() {
            [] => Ok(None),
            [name] => Ok(Some(name)),
            [_, extra, ..] => Err(Stop::Usage(format!("one name is enough; `{extra}` is one too many"))),
        }
    }

    /// Not a single plain name.
    pub fn no_names(&self) -> Result<(), Stop> {
        match self.names.first() {
            None => Ok(()),
            Some(extra) => Err(Stop::Usage(format!("`{extra}` is not expected here"))),
        }
    }
}

const HELP: &str = "\
cargo xtask: the one development tool of Marque

USAGE: cargo xtask VERB [ARGS]

  ci [--from STAGE] [--only STAGE] [--json]
                        every check, in order; stops at the first that fails
                        stages: fmt arch clippy test doc build e2e sim interop demo
  arch [--json]         who may import whom, file sizes, lint tables
  gen [--check]         crates/server/src/pb from crates/server/proto; --check fails when they differ
  sim [--seeds N] [--seed S] [--json]
                        the simulation: N seeds, or one seed replayed
  interop [AREA] [--json]
                        clients that no one here wrote, against a server started here
                        areas: export identity ledger mcp oauth
  bench [--json] [--quick] [--large] [NAME…]
                        the figures, in release builds
                        names: decisions log ledger engine identity queries gateway revocation startup accuracy peers
  e2e                   the whole story, against the built binary
  demo [ARGS]           `marque demo ARGS` in a release build
  help                  this text

EXAMPLES
  cargo xtask ci                    everything, as CI runs it
  cargo xtask ci --only clippy      one stage
  cargo xtask ci --from test        a stage and all after it
  cargo xtask sim --seed 4711       replay the failure that seed 4711 found
  cargo xtask interop mcp --json    one area, one JSON object a line

EXIT CODES: 0 all is well, 1 a stage failed, 2 the command line makes no sense
ENVIRONMENT: NO_COLOR turns colours off, and so does a pipe";

#[cfg(test)]
mod tests {
    use super::*;

    fn args(line: &str) -> Vec<String> {
        line.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn a_command_line_is_sorted_into_its_kinds() {
        let Ok(flags) = Flags::parse(&args("mcp --json --seeds 5 --seed=7"), &["--json"], &["--seeds", "--seed"]) else {
            panic!("a good line parses");
        };
        assert!(flags.has("--json"));
        assert_eq!(flags.value("--seeds"), Some("5"));
        assert_eq!(flags.value("--seed"), Some("7"));
        assert!(matches!(flags.one_name(), Ok(Some("mcp"))));
        assert!(flags.no_names().is_err());
    }

    #[test]
    fn what_is_not_known_is_a_usage_error() {
        for line in ["--what", "--seeds", "--json=yes"] {
            assert!(matches!(Flags::parse(&args(line), &["--json"], &["--seeds"]), Err(Stop::Usage(_))), "{line}");
        }
    }

    #[test]
    fn the_help_names_every_stage_and_area() {
        for stage in ci::STAGES {
            assert!(HELP.contains(stage.name), "{}", stage.name);
        }
        for client in interop::CLIENTS {
            assert!(HELP.contains(client.area), "{}", client.area);
        }
    }
}
