//! `marque-fuzz TARGET [--seconds N] [--seed S]`: looks for an input that breaks a target, and keeps the first.
//!
//! Without a target it lists them. An input that was found is written to `corpus/TARGET/crash-…`, where the ordinary
//! tests replay it for good.

#![expect(clippy::print_stdout, reason = "the report is what this program is for")]

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use marque_fuzz::{Mutator, TARGETS, Target};

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if args.is_empty() {
        TARGETS.iter().for_each(|target| println!("{}", target.name));
        return ExitCode::SUCCESS;
    }
    match Search::parse(&args).and_then(|search| search.run()) {
        Ok(None) => ExitCode::SUCCESS,
        Ok(Some(found)) => {
            println!("broken by {found}");
            ExitCode::FAILURE
        }
        Err(why) => {
            println!("{why}");
            println!("usage: marque-fuzz TARGET [--seconds N] [--seed S]");
            ExitCode::from(2)
        }
    }
}

struct Search {
    target: Target,
    time: Duration,
    seed: u64,
}

impl Search {
    fn parse(args: &[String]) -> Result<Self, String> {
        let (mut target, mut seconds, mut seed) = (None, 60, RandomState::new().build_hasher().finish());
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            let mut number = || args.next().and_then(|text| text.parse().ok()).ok_or(format!("`{arg}` takes a number"));
            match arg.as_str() {
                "--seconds" => seconds = number()?,
                "--seed" => seed = number()?,
                name => target = Some(Target::named(name).ok_or(format!("there is no target `{name}`"))?),
            }
        }
        Ok(Self { target: target.ok_or("name a target")?, time: Duration::from_secs(seconds), seed })
    }

    /// The file with the first input that breaks the target, if one was found in time.
    #[expect(clippy::disallowed_methods, reason = "the search is bounded by time")]
    fn run(&self) -> Result<Option<String>, String> {
        let folder = self.target.folder();
        let kept = self.target.corpus().map_err(|error| format!("cannot read `{}`: {error}", folder.display()))?;
        let corpus: Vec<Vec<u8>> = kept.into_iter().map(|(_, bytes)| bytes).collect();
        let mut mutator = Mutator::new(&corpus, self.seed);
        let start = Instant::now();
        let mut tried = 0_u64;
        while start.elapsed() < self.time {
            let input = mutator.input();
            if catch_unwind(AssertUnwindSafe(|| (self.target.run)(&input))).is_err() {
                let file = folder.join(format!("crash-{:016x}-{tried}", self.seed));
                std::fs::write(&file, &input).map_err(|error| format!("cannot write `{}`: {error}", file.display()))?;
                return Ok(Some(file.display().to_string()));
            }
            tried += 1;
        }
        println!("{}: {tried} inputs from seed {}, none breaks it", self.target.name, self.seed);
        Ok(None)
    }
}
