//! `cargo xtask bench`: builds what the benchmarks measure and lets them speak.

use std::ffi::OsString;
use std::path::PathBuf;

use crate::report::note;
use crate::tools::{Cargo, Workspace};
use crate::{Stop, toolchains};

/// Runs the benchmarks with these arguments.
pub fn run(workspace: &Workspace, args: &[String]) -> Result<(), Stop> {
    let mut packages = vec!["marque"];
    let mut variables: Vec<(&str, OsString)> = vec![("MARQUE_BIN", workspace.target.join("release/marque").into())];
    if is_asked(args, "accuracy") {
        packages.push("marque-accuracy");
        variables.push(("MARQUE_ACCURACY", workspace.target.join("release/marque-accuracy").into()));
    }
    if is_asked(args, "peers") {
        variables.push(built("MARQUE_GO_TESSERA", "MARQUE_GO_TESSERA_MISSING", toolchains::go(workspace, "tessera")));
        variables.push(built("MARQUE_GO_HAMMER", "MARQUE_GO_HAMMER_MISSING", toolchains::hammer(workspace)));
    }
    for package in packages {
        Cargo::new(workspace, &["build", "--release", "--quiet", "--package", package]).run()?;
    }
    let bench = ["run", "--release", "--quiet", "--package", "marque-bench", "--"];
    let bench = Cargo::new(workspace, &bench).args(args);
    Ok(variables.into_iter().fold(bench, |bench, (name, value)| bench.env(name, value)).hand_over()?)
}

/// Where programs were built, or why not: then their figure says so, and the others are taken.
fn built(found: &'static str, missing: &'static str, folder: Result<PathBuf, String>) -> (&'static str, OsString) {
    match folder {
        Ok(folder) => (found, folder.into()),
        Err(why) => {
            note(&format!("xtask: Tessera could not be built: {why}"));
            (missing, why.into())
        }
    }
}

/// Whether a group of figures will be taken: it is named, or none is.
fn is_asked(args: &[String], group: &str) -> bool {
    let help = args.iter().any(|arg| arg == "--help" || arg == "-h");
    let mut names = args.iter().filter(|arg| !arg.starts_with('-')).peekable();
    !help && (names.peek().is_none() || names.any(|name| name == group))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_name_every_group_is_asked_for() {
        let args = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        for line in ["", "--json --quick", "peers", "log peers --json"] {
            assert!(is_asked(&args(line), "peers"), "{line}");
        }
        for line in ["log", "--json log ledger", "--help"] {
            assert!(!is_asked(&args(line), "peers"), "{line}");
        }
    }
}
