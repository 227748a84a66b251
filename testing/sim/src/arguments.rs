//! The command line.

/// What was asked for.
#[derive(Debug, PartialEq, Eq)]
pub struct Arguments {
    /// How many seeds, from 1 on.
    pub seeds: u64,
    /// This one seed alone, and each of its steps printed.
    pub seed: Option<u64>,
    /// One JSON object per seed on standard output, and nothing else there.
    pub json: bool,
}

impl Arguments {
    /// Reads the arguments behind the program's name.
    pub fn parse(mut words: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut arguments = Self { seeds: 200, seed: None, json: false };
        while let Some(word) = words.next() {
            match word.as_str() {
                "--json" => arguments.json = true,
                "--seeds" => arguments.seeds = number(&word, words.next())?,
                "--seed" => arguments.seed = Some(number(&word, words.next())?),
                _ => return Err(format!("`{word}` is not known\n{USAGE}")),
            }
        }
        if arguments.seeds == 0 { Err(format!("`--seeds` wants at least one\n{USAGE}")) } else { Ok(arguments) }
    }

    /// The first and the last seed.
    pub fn range(&self) -> (u64, u64) {
        self.seed.map_or((1, self.seeds), |seed| (seed, seed))
    }

    /// Whether each step is printed.
    pub fn is_verbose(&self) -> bool {
        self.seed.is_some() && !self.json
    }
}

fn number(option: &str, value: Option<String>) -> Result<u64, String> {
    let value = value.unwrap_or_default();
    value.parse().map_err(|_| format!("`{option}` wants a whole number, not `{value}`\n{USAGE}"))
}

const USAGE: &str = "usage: marque-sim [--seeds N] [--seed S] [--json]";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_read_or_refused() {
        let parse = |text: &str| Arguments::parse(text.split_whitespace().map(str::to_owned));
        assert_eq!(parse("").unwrap().range(), (1, 200));
        assert_eq!(parse("--seeds 7 --json").unwrap(), Arguments { seeds: 7, seed: None, json: true });
        assert_eq!(parse("--seed 4711").unwrap().range(), (4711, 4711));
        for bad in ["--seeds", "--seeds x", "--seeds 0", "--seed -1", "--what"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
