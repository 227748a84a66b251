//! Texts of 0.5 to 3.5 kB out of the documentation of packages, near duplicates removed, some packages held out.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::Result;
use crate::random::{Random, hash};

/// The texts.
pub struct Corpus {
    /// Those that are registered, as outputs of agents would be.
    pub known: Vec<String>,
    /// Those of other packages, which nothing should be found for.
    pub held_out: Vec<String>,
    /// How many packages they are from.
    pub packages: usize,
    /// How many near duplicates were left out.
    pub duplicates: usize,
}

impl Corpus {
    /// Reads the documentation of every package under `base`, and of the crates that cargo has downloaded.
    pub fn read(base: &Path, seed: u64) -> Result<Self> {
        let mut packages = folders(&base.join("python"));
        packages.extend(folders(&base.join("node")));
        for registry in folders(&cargo_home().join("registry").join("src")) {
            packages.extend(folders(&registry));
        }
        let mut corpus = Self { known: Vec::new(), held_out: Vec::new(), packages: 0, duplicates: 0 };
        let mut seen = HashSet::new();
        for package in packages {
            let name = package.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let mut random = Random::new(seed, &name);
            let texts: Vec<String> = documents(&package).iter().flat_map(|text| outputs(text, &mut random)).collect();
            let texts: Vec<String> = random.sample(&texts, MOST_OF_A_PACKAGE).into_iter().cloned().collect();
            let held_out = hash(family(&name).as_bytes()).is_multiple_of(HELD_OUT);
            let before = corpus.known.len() + corpus.held_out.len();
            for text in texts {
                if !is_new(&text, &mut seen) {
                    corpus.duplicates += 1;
                } else if held_out {
                    corpus.held_out.push(text);
                } else {
                    corpus.known.push(text);
                }
            }
            corpus.packages += usize::from(corpus.known.len() + corpus.held_out.len() > before);
        }
        Ok(corpus)
    }
}

/// The first word of a package's name: versions of one package, and the packages of one project, share their texts.
fn family(name: &str) -> &str {
    let name = name.trim_start_matches('@');
    name.split(['-', '_', '@', '.']).next().unwrap_or(name)
}

/// Where cargo keeps its registry.
fn cargo_home() -> PathBuf {
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cargo"));
    std::env::var_os("CARGO_HOME").map(PathBuf::from).or_else(home).unwrap_or_default()
}

/// The folders in a folder, sorted; none where it is missing.
fn folders(folder: &Path) -> Vec<PathBuf> {
    entries(folder).into_iter().filter(|path| path.is_dir()).collect()
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    paths.sort();
    paths
}

/// The documentation of a package: what is written in prose, licences left out.
fn documents(package: &Path) -> Vec<String> {
    let (mut texts, mut next) = (Vec::new(), vec![package.to_owned()]);
    while let Some(path) = next.pop() {
        if path.is_symlink() {
            continue;
        }
        if path.is_dir() {
            next.extend(entries(&path));
        } else if is_document(&path)
            && let Ok(text) = fs::read_to_string(&path)
        {
            texts.push(text.replace("\r\n", "\n"));
        }
    }
    texts
}

fn is_document(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
    let prose = [".md", ".rst", ".txt"].iter().any(|end| name.ends_with(end));
    let other = ["license", "licence", "copying", "notice", "sources", "requirements", "authors", "cmakelists"];
    prose && !other.iter().any(|word| name.contains(word))
}

/// Cuts a document into outputs between its paragraphs.
fn outputs(text: &str, random: &mut Random) -> Vec<String> {
    let (mut out, mut output) = (Vec::new(), String::new());
    let mut wanted = SHORTEST + random.below(LONGEST - SHORTEST);
    for paragraph in text.split_inclusive("\n\n") {
        if !output.is_empty() && output.len() + paragraph.len() > wanted {
            keep(std::mem::take(&mut output), &mut out);
            wanted = SHORTEST + random.below(LONGEST - SHORTEST);
        }
        output.push_str(paragraph);
    }
    keep(output, &mut out);
    out
}

fn keep(output: String, out: &mut Vec<String>) {
    let letters = output.chars().filter(|c| c.is_alphabetic()).count();
    // What is mostly numbers and lines is a table of data.
    if (SHORTEST..=LONGEST).contains(&output.len()) && letters * 2 > output.len() {
        out.push(output);
    }
}

/// Whether less than half of a text's groups of five words were seen before.
fn is_new(text: &str, seen: &mut HashSet<u64>) -> bool {
    let words: Vec<&str> = text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).collect();
    let groups: HashSet<u64> = words.windows(5).map(|group| hash(group.join(" ").to_lowercase().as_bytes())).collect();
    let known = groups.iter().filter(|group| seen.contains(group)).count();
    if groups.is_empty() || known * 2 >= groups.len() {
        return false;
    }
    seen.extend(groups);
    true
}

const SHORTEST: usize = 500;
const LONGEST: usize = 3500;

/// So that no package makes up most of the corpus.
const MOST_OF_A_PACKAGE: usize = 400;

/// One family of packages of this many is held out.
const HELD_OUT: u64 = 6;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_cut_between_paragraphs() {
        let paragraph = "Some words about something that matters to somebody, written down.\n\n";
        let text = paragraph.repeat(300);
        let outputs = outputs(&text, &mut Random::new(1, "x"));
        assert!(outputs.len() > 5);
        assert!(outputs.iter().all(|o| (SHORTEST..=LONGEST).contains(&o.len()) && o.len().is_multiple_of(paragraph.len())));
    }

    #[test]
    fn packages_of_one_project_are_one_family() {
        for name in ["serde-1.0.1", "serde_json-1.0.2", "@serde-x@1"] {
            assert_eq!(family(name), "serde");
        }
    }

    #[test]
    fn near_duplicates_are_found() {
        let text = "one two three four five six seven eight nine ten eleven twelve";
        let mut seen = HashSet::new();
        assert!(is_new(text, &mut seen));
        assert!(!is_new(&text.to_uppercase().replace(' ', "\n"), &mut seen));
        assert!(is_new("entirely different words stand in this sentence about nothing", &mut seen));
    }
}
