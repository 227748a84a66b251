//! Git hooks of a launch: `marque run --git-trailers` puts them before a repository's own, and `marque hook` is what they add
//! to a commit's message: `Agent-Action: rec_…`, the newest action of the launch's task, or `Agent-Task: task_…` where it has
//! not acted yet.
//!
//! Git is told of them by the environment of the launched process alone. They run what the repository, or whoever configured
//! `core.hooksPath`, has under the same name; nothing of the repository is changed.

use std::ffi::{OsStr, OsString};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper_util::rt::TokioIo;
use marque_core::id::{RecordId, TaskId};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::process::Command;

use crate::failure::{Failure, Result};

/// The hooks of one launch; they are removed with this.
#[derive(Debug)]
pub struct Hooks(PathBuf);

impl Hooks {
    /// Puts them into a folder of their own in `parent`.
    pub fn install(parent: &Path) -> Result<Self> {
        let failed = |e: std::io::Error| Failure::failed(format!("cannot make the hooks in `{}`: {e}", parent.display()));
        let mut name = [0; 8];
        marque_engine::Env::system().entropy.fill(&mut name);
        let dir = parent.canonicalize().map_err(failed)?.join(format!("{}{ENDING}", hex::encode(name)));
        std::fs::DirBuilder::new().mode(0o700).create(&dir).map_err(failed)?;
        let hooks = Self(dir);
        hooks.fill(&std::env::current_exe()?).map_err(failed)?;
        Ok(hooks)
    }

    fn fill(&self, program: &Path) -> std::io::Result<()> {
        let script = SCRIPT.replace("MARQUE", &quoted(&program.to_string_lossy())).replace("ENDING", ENDING);
        let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o700).open(self.0.join("hook"))?;
        file.write_all(script.as_bytes())?;
        NAMES.iter().try_for_each(|name| symlink("hook", self.0.join(name)))
    }

    /// The variables by which git takes them (git-config(1), `GIT_CONFIG_COUNT`), after those of `count` that are there.
    pub fn environment(&self, count: Option<&OsStr>) -> Result<[(String, OsString); 3]> {
        let text = count.map_or(Some("0"), OsStr::to_str).unwrap_or_default();
        let wrong = || Failure::input(format!("`GIT_CONFIG_COUNT` is `{text}`, which is no number"));
        let count = if text.is_empty() { 0 } else { text.parse::<u32>().ok().ok_or_else(wrong)? };
        Ok([
            ("GIT_CONFIG_COUNT".to_owned(), (u64::from(count) + 1).to_string().into()),
            (format!("GIT_CONFIG_KEY_{count}"), "core.hooksPath".into()),
            (format!("GIT_CONFIG_VALUE_{count}"), self.0.clone().into()),
        ])
    }
}

impl Drop for Hooks {
    fn drop(&mut self) {
        // What stays behind is not used again.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// What a hook adds: `prepare-commit-msg` to a message that has been given, and `commit-msg` to one that was written since.
pub async fn hook(name: &str, arguments: &[OsString]) -> Result<()> {
    let Some(file) = arguments.first().map(PathBuf::from) else { return Ok(()) };
    let cannot = |e: std::io::Error| Failure::failed(format!("cannot read the message `{}`: {e}", file.display()));
    let message = String::from_utf8_lossy(&std::fs::read(&file).map_err(cannot)?).into_owned();
    if !has_text(&message) || (name == "commit-msg" && is_named(&message)) {
        return Ok(());
    }
    let variable = |name: &str| std::env::var_os(name).and_then(|value| value.into_string().ok());
    let record = match variable("MARQUE_GATEWAY") {
        Some(gateway) => newest(&gateway).await,
        None => None,
    };
    let task = || variable("MARQUE_TASK").and_then(|task| task.parse::<TaskId>().ok()).map(|task| format!("{TASK}: {task}"));
    let Some(trailer) = record.map(|record| format!("{ACTION}: {record}")).or_else(task) else { return Ok(()) };
    let mut git = Command::new("git");
    git.args(["interpret-trailers", "--in-place", "--no-divider", "--if-exists", "addIfDifferent", "--trailer", &trailer]);
    let status = git.arg(&file).status().await.map_err(|e| Failure::failed(format!("cannot start `git`: {e}")))?;
    if status.success() { Ok(()) } else { Err(Failure::failed(format!("git did not add `{trailer}`"))) }
}

/// The newest action of the launch's task, as the launch's own door says; nothing where there is none, or no answer.
async fn newest(gateway: &str) -> Option<RecordId> {
    let address = gateway.strip_prefix("http://")?.trim_end_matches('/').to_owned();
    let asked = async {
        let stream = TcpStream::connect(&address).await.ok()?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.ok()?;
        tokio::spawn(connection);
        let request = Request::get("/marque/record").header("host", &address).header("connection", "close");
        let response = sender.send_request(request.body(Empty::<Bytes>::new()).ok()?).await.ok()?;
        let body = Limited::new(response.into_body(), MOST_ANSWER).collect().await.ok()?.to_bytes();
        let answer: Value = serde_json::from_slice(&body).ok()?;
        answer.get("record")?.as_str()?.parse().ok()
    };
    tokio::time::timeout(PATIENCE, asked).await.ok().flatten()
}

/// Whether a message has more than comments: to an empty one nothing is added, so that git still gives the commit up.
fn has_text(message: &str) -> bool {
    let before = message.split("------------------------ >8 ------------------------").next().unwrap_or_default();
    before.lines().any(|line| !line.starts_with('#') && !line.trim().is_empty())
}

/// Whether a message has one of the trailers already.
fn is_named(message: &str) -> bool {
    let is = |line: &str, key: &str| {
        line.get(..key.len()).is_some_and(|start| start.eq_ignore_ascii_case(key))
            && line.get(key.len()..).is_some_and(|rest| rest.trim_start().starts_with(':'))
    };
    message.lines().any(|line| is(line, ACTION) || is(line, TASK))
}

/// A word of the shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// Every hook that git runs for whoever works in a repository (githooks(5)); all are links to it. Other launches' hooks are
/// passed over, so that they do not run one another in a circle.
const SCRIPT: &str = r#"#!/bin/sh
# Made by `marque run --git-trailers`, and removed when the launch ends. The repository's own hook of this name comes first.
name=${0##*/}
own=$(git config --type=path --get-all core.hooksPath </dev/null | while IFS= read -r path; do
  case $path in *ENDING) ;; *) printf '%s\n' "$path" ;; esac
done | tail -n 1)
[ -n "$own" ] || own=$(git rev-parse --git-common-dir </dev/null)/hooks
if [ -f "$own/$name" ] && [ -x "$own/$name" ]; then
  "$own/$name" "$@" || exit
fi
case $name in
  prepare-commit-msg | commit-msg) MARQUE hook "$name" "$@" || : ;;
esac
exit 0
"#;

const NAMES: [&str; 21] = [
    "applypatch-msg",
    "commit-msg",
    "p4-changelist",
    "p4-post-changelist",
    "p4-pre-submit",
    "p4-prepare-changelist",
    "post-applypatch",
    "post-checkout",
    "post-commit",
    "post-index-change",
    "post-merge",
    "post-rewrite",
    "pre-applypatch",
    "pre-auto-gc",
    "pre-commit",
    "pre-merge-commit",
    "pre-push",
    "pre-rebase",
    "prepare-commit-msg",
    "reference-transaction",
    "sendemail-validate",
];

const ACTION: &str = "Agent-Action";
const TASK: &str = "Agent-Task";
const ENDING: &str = ".marque-hooks";
const MOST_ANSWER: usize = 4096;
/// A commit does not wait long.
const PATIENCE: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_is_continued() {
        let folder = tempfile::tempdir().unwrap();
        let hooks = Hooks::install(folder.path()).unwrap();
        let names = |count: Option<&str>| hooks.environment(count.map(OsStr::new)).map(|all| all.map(|(name, _)| name)).ok();
        let first = ["GIT_CONFIG_COUNT", "GIT_CONFIG_KEY_0", "GIT_CONFIG_VALUE_0"].map(str::to_owned);
        assert_eq!((names(None), names(Some(""))), (Some(first.clone()), Some(first)));
        let third = ["GIT_CONFIG_COUNT", "GIT_CONFIG_KEY_2", "GIT_CONFIG_VALUE_2"].map(str::to_owned);
        assert_eq!(names(Some("2")), Some(third));
        assert_eq!(hooks.environment(Some(OsStr::new("2"))).unwrap()[0].1, "3");
        assert_eq!(names(Some("many")), None);
    }

    #[test]
    fn hooks_are_there_for_every_name_and_go_with_the_launch() {
        let folder = tempfile::tempdir().unwrap();
        let hooks = Hooks::install(folder.path()).unwrap();
        let script = std::fs::read_to_string(hooks.0.join("prepare-commit-msg")).unwrap();
        assert!(script.contains(" hook \"$name\"") && script.contains("*.marque-hooks)") && !script.contains("MARQUE"));
        assert!(NAMES.iter().all(|name| hooks.0.join(name).is_file()));
        drop(hooks);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_message_without_words_stays_empty() {
        assert!(has_text("Fix it\n# a comment\n"));
        for empty in ["", "\n\n", "# a comment\n\n", "\n# ------------------------ >8 ------------------------\ndiff --git a b\n"]
        {
            assert!(!has_text(empty), "{empty:?}");
        }
        assert!(is_named("Fix it\n\nagent-action: rec_1\n") && is_named("Agent-Task : task_1"));
        assert!(!is_named("Fix it\n\nthe Agent-Action: rec_1\nAgent-Actions: x\n"));
    }

    #[test]
    fn a_path_is_one_word() {
        assert_eq!(quoted("/it's here/marque"), r"'/it'\''s here/marque'");
    }
}
