//! `cargo xtask arch`: who may import whom, and the few other rules that a program can check.
//!
//! Development dependencies are free, but nothing ever depends on what lives in `testing/`.

use std::path::{Path, PathBuf};

use crate::report::note;
use crate::tools::{Package, Workspace, entries};

/// Checks every rule. Each broken one is printed; the result is the count.
pub fn check(workspace: &Workspace) -> Result<String, String> {
    let members: Vec<Member> = workspace.packages.iter().map(|package| Member::new(&workspace.root, package)).collect();
    let mut broken = edges(&members);
    for member in &members {
        broken.extend(lint_table(member.package)?);
    }
    let files = source_files(&workspace.root.join("crates"))?;
    let mut warnings = 0;
    for file in &files {
        let text = std::fs::read_to_string(file).map_err(|error| format!("cannot read `{}`: {error}", file.display()))?;
        let shown = file.strip_prefix(&workspace.root).unwrap_or(file).display().to_string();
        match length(&shown, &text) {
            Length::Fine => {}
            Length::Long(warning) => {
                warnings += 1;
                note(&format!("warning: {warning}"));
            }
            Length::TooLong(error) => broken.push(error),
        }
    }
    for error in &broken {
        note(&format!("error: {error}"));
    }
    if !broken.is_empty() {
        return Err(format!("{} rules are broken", broken.len()));
    }
    let imports: usize = members.iter().map(|member| member.package.dependencies.len()).sum();
    Ok(format!("{} packages, {imports} imports, {} files hold to the plan; {warnings} warnings", members.len(), files.len()))
}

/// The part of the house that a package lives in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Room {
    Crates,
    Testing,
    Xtask,
}

struct Member<'a> {
    package: &'a Package,
    room: Room,
}

impl<'a> Member<'a> {
    fn new(root: &Path, package: &'a Package) -> Self {
        let place = package.manifest_path.strip_prefix(root).unwrap_or(&package.manifest_path);
        let room = if place.starts_with("crates") {
            Room::Crates
        } else if place.starts_with("testing") {
            Room::Testing
        } else {
            Room::Xtask
        };
        Self { package, room }
    }
}

fn edges(members: &[Member]) -> Vec<String> {
    let mut broken = Vec::new();
    for from in members {
        for dependency in &from.package.dependencies {
            let to = members.iter().find(|member| member.package.name == dependency.name);
            let dev = dependency.kind.as_deref() == Some("dev");
            let rule = match to {
                Some(to) => inside(&from.package.name, from.room, &to.package.name, to.room, dev),
                None => outside(&from.package.name, from.room, &dependency.name, dev),
            };
            broken.extend(rule.err());
        }
    }
    broken
}

/// May `from` depend on `to`, both being packages of this workspace?
fn inside(from: &str, from_room: Room, to: &str, to_room: Room, dev: bool) -> Result<(), String> {
    if to_room != Room::Crates {
        return Err(format!(
            "`{from}` imports `{to}`: nothing imports testing/* or xtask; move what both need into a crate under crates/"
        ));
    }
    match from_room {
        _ if dev => Ok(()),
        Room::Testing => Ok(()),
        Room::Xtask => Err(format!("`{from}` imports `{to}`: the tool imports none of our crates; start the binary instead")),
        // The binary puts everything together.
        Room::Crates if from == "marque" => Ok(()),
        Room::Crates => {
            let Some((_, allowed)) = EDGES.iter().find(|(name, _)| *name == from) else {
                return Err(format!("`{from}` is not in the plan: name what it may import in EDGES, xtask/src/arch.rs"));
            };
            if allowed.contains(&to) {
                return Ok(());
            }
            let may = if allowed.is_empty() { "none of ours".to_owned() } else { format!("only {}", allowed.join(", ")) };
            Err(format!("`{from}` imports `{to}`, but may import {may}: {}", advice(to)))
        }
    }
}

/// May `from` depend on the foreign package `to`?
fn outside(from: &str, from_room: Room, to: &str, dev: bool) -> Result<(), String> {
    if dev || from_room != Room::Crates {
        return Ok(());
    }
    if from == "marque-core" && !CORE_MAY_USE.contains(&to) {
        let may = CORE_MAY_USE.join(", ");
        return Err(format!("`{from}` imports `{to}`, but may import only {may}: move what needs it out of the core"));
    }
    if (to == "cedar-policy" || to.starts_with("cedar-policy-")) && from != "marque-policy" {
        return Err(format!("`{from}` imports `{to}`: only `marque-policy` knows Cedar; ask it for a decision"));
    }
    if to == "rusqlite" && !matches!(from, "marque-store" | "marque") {
        return Err(format!("`{from}` imports `{to}`: only `marque-store` knows SQLite; add a query to its views"));
    }
    if to == "cryptoki" && from != "marque-pkcs11" {
        return Err(format!(
            "`{from}` imports `{to}`: only `marque-pkcs11` loads modules of devices; ask it for a signature or a key"
        ));
    }
    Ok(())
}

fn advice(to: &str) -> &'static str {
    match to {
        "marque" => "the binary is at the top, nothing imports it",
        "marque-gateway" | "marque-server" | "marque-console" => {
            "surfaces do not know each other; move what both need into `marque-engine`"
        }
        "marque-engine" => "effects are the engine's; take what is needed as an argument",
        _ => "ask `marque-engine`, which is the only layer that knows it, or move the type into `marque-core`",
    }
}

fn lint_table(package: &Package) -> Result<Option<String>, String> {
    let path = &package.manifest_path;
    let text = std::fs::read_to_string(path).map_err(|error| format!("cannot read `{}`: {error}", path.display()))?;
    let missing = || format!("`{}` does not take the workspace's lints: add `[lints]` with `workspace = true`", package.name);
    Ok((!takes_lints(&text)).then(missing))
}

fn takes_lints(manifest: &str) -> bool {
    let mut table = "";
    manifest.lines().map(str::trim).any(|line| {
        if line.starts_with('[') {
            table = line;
        }
        let bare: String = line.chars().filter(|character| !character.is_whitespace()).collect();
        table == "[lints]" && bare.starts_with("workspace=true")
    })
}

#[derive(PartialEq, Eq, Debug)]
enum Length {
    Fine,
    Long(String),
    TooLong(String),
}

/// Judges a file by its lines before its tests; a file of tests only may be as long as it likes.
fn length(path: &str, text: &str) -> Length {
    if path.ends_with("tests.rs") {
        return Length::Fine;
    }
    let all: Vec<&str> = text.lines().collect();
    let lines = all.iter().rposition(|line| *line == "#[cfg(test)]").unwrap_or(all.len());
    match lines {
        0..=LONG => Length::Fine,
        _ if lines <= TOO_LONG => Length::Long(format!("{path} has {lines} lines before its tests; aim for {LONG}")),
        _ => Length::TooLong(format!("{path} has {lines} lines before its tests: past {TOO_LONG}, a file is two files")),
    }
}

/// Every Rust file under a crate's `src`, generated code (`pb/`) left out.
fn source_files(crates: &Path) -> Result<Vec<PathBuf>, String> {
    let mut files = Vec::new();
    let mut folders: Vec<PathBuf> =
        entries(crates)?.into_iter().map(|folder| folder.join("src")).filter(|src| src.is_dir()).collect();
    while let Some(folder) = folders.pop() {
        for entry in entries(&folder)? {
            if entry.is_dir() {
                if entry.file_name().is_some_and(|name| name != "pb") {
                    folders.push(entry);
                }
            } else if entry.extension().is_some_and(|extension| extension == "rs") {
                files.push(entry);
            }
        }
    }
    files.sort();
    Ok(files)
}

const LONG: usize = 400;
const TOO_LONG: usize = 800;

const CORE_MAY_USE: &[&str] = &["serde", "serde_json", "thiserror", "ulid", "time", "hex"];

/// What each crate may import of ours; the binary, `marque`, may import all.
const EDGES: &[(&str, &[&str])] = &[
    ("marque-core", &[]),
    ("marque-policy", &["marque-core"]),
    ("marque-svid", &["marque-core"]),
    ("marque-ledger", &[]),
    ("marque-store", &["marque-core", "marque-ledger"]),
    ("marque-trace", &[]),
    ("marque-export", &["marque-core"]),
    ("marque-pkcs11", &[]),
    (
        "marque-engine",
        &[
            "marque-core",
            "marque-policy",
            "marque-ledger",
            "marque-svid",
            "marque-store",
            "marque-trace",
            "marque-export",
            "marque-pkcs11",
        ],
    ),
    ("marque-gateway", &["marque-core", "marque-engine"]),
    ("marque-server", &["marque-core", "marque-engine"]),
    ("marque-console", &["marque-core", "marque-engine"]),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn ours(from: &str, to: &str) -> Result<(), String> {
        inside(from, Room::Crates, to, Room::Crates, false)
    }

    #[test]
    fn the_plan_holds() {
        for (from, allowed) in EDGES {
            for (to, _) in EDGES {
                assert_eq!(ours(from, to).is_ok(), allowed.contains(to), "{from} -> {to}");
                assert!(ours("marque", to).is_ok());
            }
            assert!(ours(from, "marque").is_err());
        }
    }

    #[test]
    fn a_forbidden_edge_is_named_with_what_to_do() {
        let error = ours("marque-gateway", "marque-store").unwrap_err();
        assert!(error.contains("`marque-gateway` imports `marque-store`") && error.contains("marque-engine"), "{error}");
        assert!(ours("marque-new", "marque-core").unwrap_err().contains("EDGES"));
    }

    #[test]
    fn development_is_free_but_testing_is_a_leaf() {
        assert!(inside("marque-core", Room::Crates, "marque-ledger", Room::Crates, true).is_ok());
        assert!(inside("marque-sim", Room::Testing, "marque-store", Room::Crates, false).is_ok());
        for (from, room) in [("marque-core", Room::Crates), ("marque-e2e", Room::Testing), ("xtask", Room::Xtask)] {
            assert!(inside(from, room, "marque-sim", Room::Testing, true).is_err(), "{from}");
        }
        assert!(inside("xtask", Room::Xtask, "marque-core", Room::Crates, false).is_err());
    }

    #[test]
    fn heavy_dependencies_stay_behind_their_walls() {
        let foreign = |from, to| outside(from, Room::Crates, to, false).is_ok();
        assert!(foreign("marque-core", "serde") && !foreign("marque-core", "tokio"));
        assert!(foreign("marque-policy", "cedar-policy") && !foreign("marque-engine", "cedar-policy-core"));
        assert!(foreign("marque-store", "rusqlite") && foreign("marque", "rusqlite") && !foreign("marque-engine", "rusqlite"));
        assert!(foreign("marque-pkcs11", "cryptoki") && !foreign("marque-engine", "cryptoki"));
        assert!(outside("marque-core", Room::Crates, "proptest", true).is_ok());
        assert!(outside("marque-fuzz", Room::Testing, "cedar-policy", false).is_ok());
    }

    #[test]
    fn a_package_is_placed_by_its_folder() {
        let at = |path: &str| Package { name: String::new(), manifest_path: PathBuf::from(path), dependencies: Vec::new() };
        for (path, room) in [
            ("/w/crates/core/Cargo.toml", Room::Crates),
            ("/w/testing/sim/Cargo.toml", Room::Testing),
            ("/w/xtask/Cargo.toml", Room::Xtask),
        ] {
            assert_eq!(Member::new(Path::new("/w"), &at(path)).room, room);
        }
    }

    #[test]
    fn tests_do_not_count_towards_length() {
        let code = |lines: usize| "let x = 1;\n".repeat(lines);
        assert_eq!(length("a", &code(LONG)), Length::Fine);
        assert!(matches!(length("a", &code(LONG + 1)), Length::Long(_)));
        assert!(matches!(length("a", &code(TOO_LONG + 1)), Length::TooLong(_)));
        assert_eq!(length("a_tests.rs", &code(900)), Length::Fine);
        assert_eq!(length("a", &format!("{}#[cfg(test)]\n{}", code(10), code(900))), Length::Fine);
    }

    #[test]
    fn the_lint_table_is_found_in_its_own_section_only() {
        assert!(takes_lints("[package]\nname = \"a\"\n\n[lints]\nworkspace = true\n"));
        assert!(!takes_lints("[package]\nworkspace = true\n[lints]\n[dependencies]\n"));
    }
}
