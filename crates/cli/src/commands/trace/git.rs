//! The commits of a git repository: of each its message, with the receipts in its trailers, and what it adds.
//!
//! The repository is only read, and nothing that it configures is run: no pager, no external diff, no filter for display, no
//! check of signatures.

use std::ffi::OsStr;
use std::path::Path;
use std::process::{ExitCode, Stdio};

use marque_engine::Trace;
use serde::Serialize;
use serde_json::json;
use tokio::io::AsyncReadExt as _;
use tokio::process::Command;

use super::patch::Patch;
use super::receipts::{is_of, tasks};
use super::tree::Totals;
use super::{exit_code, look, plain, print};
use crate::commands::Context;
use crate::failure::{Failure, Result};
use crate::output::{Output, Tone};

pub(super) async fn trace(context: &Context<'_>, repository: &Path, range: Option<&OsStr>) -> Result<ExitCode> {
    let (commits, more) = commits(repository, range.unwrap_or(OsStr::new("HEAD"))).await?;
    let output = context.output;
    let mut client = context.client().await?;
    let mut totals = Totals::default();
    for commit in &commits {
        let (text, whole) = commit.text(repository).await?;
        let found = look(&mut client, text.clone()).await?;
        totals.count(&found);
        let value = json!({ "commit": commit, "whole": whole, "trace": found });
        output.show(&value, || commit.show(output, &String::from_utf8_lossy(&text), whole, &found));
    }
    totals.show(output, "commit", more);
    Ok(exit_code(totals.attributed > 0))
}

/// A commit as the list has it.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Commit {
    id: String,
    date: String,
    author: String,
    subject: String,
}

impl Commit {
    /// Message and diff, and whether that is all: the rest of a very long diff is not looked at.
    async fn text(&self, repository: &Path) -> Result<(Vec<u8>, bool)> {
        // The identifier is 40 or 64 hex digits of git's own.
        let args = ["show", "--no-color", "--no-ext-diff", "--no-textconv", "--no-notes", "--format=tformat:%B", "--patch"];
        let mut command = git(repository);
        command.args(args).args(["--end-of-options", &self.id, "--"]);
        run(command, MOST_TEXT).await
    }

    fn show(&self, output: &Output, text: &str, whole: bool, found: &Trace) {
        let short = self.id.get(..12).unwrap_or(&self.id);
        let title = format!("commit {short}  {}  {}  {}", self.date, self.author, self.subject);
        output.line(format!("\n{}", output.paint(Tone::Strong, title)));
        let (tone, how) = print::word(found.class);
        output.line(format!("  {}", output.paint(tone, how)));
        let (patch, shown) = (Patch::read(text), print::shown(found));
        for span in print::merged(found).iter().take(MOST_SPANS) {
            let parts = patch.parts(span.from, span.to);
            if !parts.is_empty() {
                output.line(format!("  {}", print::part(output, found, &shown, &parts.join(", "), span.chain)));
            }
        }
        for chain in shown.iter().filter_map(|n| found.chains.get(*n)) {
            output.line(format!("  {} {}", output.paint(Tone::Faint, "←"), print::deed(chain)));
            output.line(format!("    {}", print::who(chain)));
            output.line(format!("    {}", print::proof(output, chain)));
        }
        print::receipts(output, found, "  ");
        for task in tasks(text) {
            let agrees = if is_of(found, task) { "and the text comes from it" } else { "which nothing in the text shows" };
            output.line(format!("  names {task} (Agent-Task), {agrees}"));
        }
        if !whole {
            output.line(output.paint(Tone::Waiting, "  its diff is longer than what is looked at"));
        }
    }
}

/// The commits of a range, the newest first, and whether there are more.
async fn commits(repository: &Path, range: &OsStr) -> Result<(Vec<Commit>, bool)> {
    let mut command = git(repository);
    command.args(["log", "--no-color", "--no-decorate", "--date=short", "--format=%H%x1f%ad%x1f%an%x1f%s"]);
    command.arg(format!("--max-count={}", MOST_COMMITS + 1)).arg("--end-of-options").arg(range).arg("--");
    let (listed, whole) = run(command, MOST_TEXT).await?;
    let listed = String::from_utf8_lossy(&listed);
    let mut commits: Vec<Commit> = listed.lines().filter_map(commit).collect();
    let more = commits.len() > MOST_COMMITS || !whole;
    commits.truncate(MOST_COMMITS);
    Ok((commits, more))
}

fn commit(line: &str) -> Option<Commit> {
    let mut fields = line.splitn(4, '\u{1f}').map(plain);
    let id = fields.next().filter(|id| id.len() >= 40 && id.bytes().all(|b| b.is_ascii_hexdigit()))?;
    Some(Commit { id, date: fields.next()?, author: fields.next()?, subject: fields.next().unwrap_or_default() })
}

/// Git in a repository, with what the repository configures to be run left out.
fn git(repository: &Path) -> Command {
    let mut command = Command::new("git");
    command.args(["--no-pager", "--no-optional-locks", "-c", "log.showSignature=false", "-c", "core.fsmonitor=false"]);
    command.args(["-c", "core.quotePath=false"]).arg("-C").arg(repository);
    command.env("GIT_TERMINAL_PROMPT", "0").env("GIT_NO_LAZY_FETCH", "1");
    for name in ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_EXTERNAL_DIFF"] {
        command.env_remove(name);
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}

/// What it prints, at most so many bytes, and whether that is all.
async fn run(mut command: Command, most: usize) -> Result<(Vec<u8>, bool)> {
    let mut child = command.spawn().map_err(|e| Failure::failed(format!("cannot start `git`: {e}")))?;
    let closed = || Failure::failed("git has no standard output");
    let (mut out, mut err) = (child.stdout.take().ok_or_else(closed)?, child.stderr.take().ok_or_else(closed)?);
    let complaint = tokio::spawn(async move {
        let mut text = Vec::new();
        let _ = (&mut err).take(4096).read_to_end(&mut text).await;
        // What follows is let go, so that git does not wait for a reader.
        let _ = tokio::io::copy(&mut err, &mut tokio::io::sink()).await;
        String::from_utf8_lossy(&text).trim().to_owned()
    });
    let mut bytes = Vec::new();
    (&mut out).take(most as u64 + 1).read_to_end(&mut bytes).await?;
    if bytes.len() > most {
        bytes.truncate(most);
        // Dropped, it is killed.
        return Ok((bytes, false));
    }
    let status = child.wait().await?;
    let complaint = complaint.await.unwrap_or_default();
    if status.success() { Ok((bytes, true)) } else { Err(Failure::input(format!("git: {complaint}"))) }
}

const MOST_COMMITS: usize = 1000;
/// Of one commit.
const MOST_TEXT: usize = 4 << 20;
const MOST_SPANS: usize = 40;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_list_is_a_commit() {
        let id = "0123456789abcdef0123456789abcdef01234567";
        let found = commit(&format!("{id}\u{1f}2026-11-26\u{1f}Ada\u{1f}Write \u{1b}[2J it\u{1f}all")).unwrap();
        assert_eq!((found.id.as_str(), found.author.as_str()), (id, "Ada"));
        assert_eq!(found.subject, "Write \u{fffd}[2J it\u{fffd}all");
        for bad in ["", "x\u{1f}2026-11-26\u{1f}Ada\u{1f}s", &format!("{id}\u{1f}2026-11-26")] {
            assert_eq!(commit(bad), None, "{bad}");
        }
    }
}
