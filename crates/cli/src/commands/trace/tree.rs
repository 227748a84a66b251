//! A folder: every file below it, a line each.

use std::io::{IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use marque_engine::{Trace, TraceClass};
use serde_json::json;

use super::{Given, attributed, exit_code, plain, print};
use crate::commands::Context;
use crate::failure::{Failure, Result};
use crate::output::{Output, Tone};

pub(super) async fn trace(context: &Context<'_>, folder: &Path) -> Result<ExitCode> {
    let (files, more) = files(folder)?;
    let output = context.output;
    let progress = !output.json && std::io::stdout().is_terminal() && std::io::stderr().is_terminal();
    let mut client = context.client().await?;
    let mut totals = Totals::default();
    for (n, file) in files.iter().enumerate() {
        let name = plain(&file.strip_prefix(folder).unwrap_or(file).to_string_lossy());
        if progress {
            said(&format!("{} of {}  {name}", n + 1, files.len()));
        }
        let read = std::fs::File::open(file).and_then(Given::read);
        let skipped = match read {
            Ok(given) => {
                let found = given.look(&mut client).await?;
                if progress {
                    said("");
                }
                totals.count(&found);
                output.show(&json!({ "file": name, "trace": found }), || line(output, &name, &found));
                continue;
            }
            Err(error) => error.to_string(),
        };
        if progress {
            said("");
        }
        totals.skipped += 1;
        output.show(&json!({ "file": name, "skipped": skipped }), || {
            output.line(format!("{}  {name}  {skipped}", output.paint(Tone::Waiting, "not looked at")));
        });
    }
    totals.show(output, "file", more);
    Ok(exit_code(totals.attributed > 0))
}

/// The file's class, its name, and where its greatest part came from.
fn line(output: &Output, name: &str, found: &Trace) {
    let (tone, _) = print::word(found.class);
    let class = output.paint(tone, format!("{:<10}", short(found.class)));
    let arrow = output.paint(Tone::Faint, "←");
    let receipts = if found.receipts.is_empty() { String::new() } else { format!("  receipts: {}", found.receipts.len()) };
    let receipts = if found.digest_only { "  by its digest alone".to_owned() } else { receipts };
    match found.chains.first() {
        Some(chain) if attributed(found) => {
            let more = print::shown(found).len() - 1;
            let more = if more > 0 { format!(", and {more} more") } else { String::new() };
            output.line(format!("{class}  {name} {arrow} {}{more}{receipts}", print::who(chain)));
        }
        _ => {
            let used = found.input_of.first().map_or(String::new(), |chain| format!("  {}", print::used(chain)));
            output.line(format!("{class}  {name}{used}{receipts}"));
        }
    }
}

/// The class in a word.
pub(super) fn short(class: TraceClass) -> &'static str {
    match class {
        TraceClass::Exact => "exact",
        TraceClass::Normalised => "normalised",
        TraceClass::Strong => "parts",
        TraceClass::Weak => "resembles",
        TraceClass::None => "not found",
    }
}

/// How many of each class there were.
#[derive(Debug, Default)]
pub(super) struct Totals {
    classes: [u64; 5],
    pub attributed: u64,
    pub skipped: u64,
    negative: Option<String>,
}

impl Totals {
    pub(super) fn count(&mut self, found: &Trace) {
        let place = CLASSES.iter().position(|class| *class == found.class);
        if let Some(count) = place.and_then(|n| self.classes.get_mut(n)) {
            *count += 1;
        }
        self.attributed += u64::from(attributed(found));
        if !attributed(found) {
            self.negative = Some(format!("{} entries were searched; {}", found.covers, print::checkpoint(found)));
        }
    }

    /// The sums; `more` that were not even listed are told.
    pub(super) fn show(&self, output: &Output, what: &str, more: bool) {
        let counted = || CLASSES.iter().zip(self.classes);
        let value: serde_json::Map<String, serde_json::Value> =
            counted().map(|(class, count)| (short(*class).to_owned(), count.into())).collect();
        output.show(&json!({ "totals": value, "skipped": self.skipped, "more": more }), || {
            let told = counted().filter(|(_, count)| *count > 0).map(|(class, count)| format!("{count} {}", short(*class)));
            let mut told: Vec<String> = told.collect();
            if self.skipped > 0 {
                told.push(format!("{} not looked at", self.skipped));
            }
            let sum: u64 = self.classes.iter().sum::<u64>() + self.skipped;
            let s = if sum == 1 { "" } else { "s" };
            output.line(format!("\n{sum} {what}{s}: {}", if told.is_empty() { "nothing".into() } else { told.join(", ") }));
            if let Some(negative) = &self.negative {
                output.line(format!("Of those that are not found: {negative}."));
            }
            if more {
                output.line(output.paint(Tone::Waiting, format!("There are more {what}s, which were not looked at.")));
            }
        });
    }
}

/// The regular files below a folder, in order, and whether there are more. What links lead to is not below it, and a
/// repository's own files are none that anybody wrote.
fn files(folder: &Path) -> Result<(Vec<PathBuf>, bool)> {
    let unreadable = |e: std::io::Error| Failure::input(format!("cannot read `{}`: {e}", folder.display()));
    let mut files = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(dir) = open.pop() {
        let entries = match std::fs::read_dir(&dir) {
            Ok(entries) => entries,
            Err(error) if dir == folder => return Err(unreadable(error)),
            // What cannot be listed is not looked at.
            Err(_) => continue,
        };
        for entry in entries.flatten() {
            let Ok(kind) = entry.file_type() else { continue };
            if kind.is_dir() && entry.file_name() != ".git" {
                open.push(entry.path());
            } else if kind.is_file() && entry.file_name() != ".git" {
                files.push(entry.path());
            }
        }
        if files.len() > MOST_FILES {
            break;
        }
    }
    let more = files.len() > MOST_FILES;
    files.truncate(MOST_FILES);
    files.sort();
    Ok((files, more))
}

/// Puts a line where the last one stood.
fn said(text: &str) {
    let mut err = std::io::stderr().lock();
    let _ = write!(err, "\r\u{1b}[K{text}");
    let _ = err.flush();
}

static CLASSES: [TraceClass; 5] =
    [TraceClass::Exact, TraceClass::Normalised, TraceClass::Strong, TraceClass::Weak, TraceClass::None];
const MOST_FILES: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_below_a_folder_is_found_and_no_repository() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str| {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, name).unwrap();
        };
        ["b.md", "a/deep/c.md", ".git/HEAD", "a/.git/config", "sub/.git"].into_iter().for_each(write);
        std::os::unix::fs::symlink(folder.path(), folder.path().join("again")).unwrap();
        std::os::unix::fs::symlink(folder.path().join("b.md"), folder.path().join("link")).unwrap();
        let (found, more) = files(folder.path()).unwrap();
        assert_eq!(found, ["a/deep/c.md", "b.md"].map(|name| folder.path().join(name)));
        assert!(!more && files(&folder.path().join("missing")).is_err());
    }
}
