//! How often a trace finds the right output, on real texts that were changed as people change them.
//!
//! The texts are the documentation that comes with packages. Some packages are held out: what is found for their texts
//! is found wrongly. Everything is drawn from one seed, so the same packages give the same figures.

mod change;
mod corpus;
mod index;
mod packages;
mod random;
mod report;
mod trial;

use std::path::PathBuf;
use std::process::ExitCode;

use corpus::Corpus;
use report::Report;

/// What stood in the way.
type Error = Box<dyn std::error::Error + Send + Sync>;

/// The result of everything here.
type Result<T> = std::result::Result<T, Error>;

fn main() -> ExitCode {
    let mut options = Options { json: false, offline: false, queries: 500, seed: 1 };
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let Err(wrong) = options.read(&arguments) {
        eprintln!("{wrong}{HELP}");
        return ExitCode::from(2);
    }
    match options.run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("marque-accuracy: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The command line.
struct Options {
    json: bool,
    offline: bool,
    queries: usize,
    seed: u64,
}

impl Options {
    fn read(&mut self, arguments: &[String]) -> std::result::Result<(), String> {
        let mut arguments = arguments.iter().map(String::as_str);
        while let Some(argument) = arguments.next() {
            let mut number = || {
                let number = arguments.next().and_then(|number| number.parse::<u64>().ok());
                number.ok_or_else(|| format!("`{argument}` needs a number\n\n"))
            };
            match argument {
                "--json" => self.json = true,
                "--offline" => self.offline = true,
                "--queries" => self.queries = usize::try_from(number()?).unwrap_or(usize::MAX).max(1),
                "--seed" => self.seed = number()?,
                "--help" | "-h" => return Err(String::new()),
                other => return Err(format!("there is no option `{other}`\n\n")),
            }
        }
        Ok(())
    }

    fn run(&self) -> Result<()> {
        let base = PathBuf::from("target").join("corpus");
        let missing = if self.offline { Vec::new() } else { packages::download(&base)? };
        for what in &missing {
            eprintln!("marque-accuracy: went on without {what}");
        }
        let corpus = Corpus::read(&base, self.seed)?;
        if corpus.known.len() < LEAST || corpus.held_out.is_empty() {
            let found = corpus.known.len() + corpus.held_out.len();
            return Err(
                format!("{found} texts are too few: let it download packages, or fetch the workspace's crates first").into()
            );
        }
        let mut report = Report::new(self.json);
        trial::run(&corpus, self.queries, self.seed, &mut report)
    }
}

/// With fewer texts, the figures say nothing.
const LEAST: usize = 500;

const HELP: &str = "\
USAGE: marque-accuracy [--json] [--offline] [--queries N] [--seed N]

Run it from the root of the workspace. Packages are downloaded into target/corpus once, with `pip` and `npm`; the crates
that cargo has downloaded are read where they are.

  --json       one object a line: name, value, unit, seen
  --offline    download nothing
  --queries N  how many texts are changed in each way (500)
  --seed N     what everything is drawn from (1)
EXIT CODES: 0 all figures were taken, 1 they were not, 2 the command line makes no sense
";
