//! The documentation, run: every `console` block of the README and of `docs/`.

use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::{Pid, Signal, kill_process_group};
use tempfile::TempDir;

use crate::process::{PATIENCE, Running, finish, marque, until};
use crate::transcript::{Step, matches, steps};
use crate::world::clean;

#[test]
fn transcripts_in_the_documentation_are_true() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap();
    let mut failures = Vec::new();
    let mut commands = 0;
    for file in documents(&root) {
        let steps = steps(&std::fs::read_to_string(&file).unwrap());
        commands += steps.len();
        failures.extend(Document::new(file.strip_prefix(&root).unwrap()).run(&steps));
    }
    assert!(failures.is_empty(), "of {commands} commands, {} went wrong:\n\n{}", failures.len(), failures.join("\n\n"));
}

/// The README and the pages of `docs/`, not those below it.
fn documents(root: &Path) -> Vec<PathBuf> {
    let docs = std::fs::read_dir(root.join("docs")).into_iter().flatten().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> = docs.filter(|path| path.extension().is_some_and(|extension| extension == "md")).collect();
    files.sort();
    let readme = root.join("README.md");
    if readme.exists() {
        files.insert(0, readme);
    }
    files
}

/// One file, whose commands share a fresh directory.
struct Document {
    name: String,
    /// Before the directory, which goes last.
    servers: Vec<Server>,
    dir: TempDir,
}

impl Document {
    fn new(name: &Path) -> Self {
        let dir = tempfile::Builder::new().prefix("mq").tempdir().unwrap();
        Self { name: name.display().to_string(), dir, servers: Vec::new() }
    }

    /// What went wrong. What follows a step that did not do what it should is not run: it would only repeat it.
    fn run(mut self, steps: &[Step]) -> Option<String> {
        steps.iter().find_map(|step| self.step(step))
    }

    fn step(&mut self, step: &Step) -> Option<String> {
        if let Some(command) = step.in_background() {
            return self.serve(step, command);
        }
        let said = finish(self.shell(&merged(&step.command)), "");
        let good = said.code == Some(step.code) && matches(&step.expected, &said.out);
        (!good).then(|| self.failure(step, said.code, &said.out))
    }

    /// Starts a server, and waits until it answers.
    fn serve(&mut self, step: &Step, command: &str) -> Option<String> {
        let mut shell = self.shell(&merged(command));
        shell.process_group(0);
        let mut server = Running::start(shell, &self.dir.path().join(".serve.log"));
        let default = self.dir.path().join(".local/state/marque");
        let socket = step.state().map_or(default, |state| self.dir.path().join(state)).join("marque.sock");
        let mut said = String::new();
        let settled = until(PATIENCE, || {
            server.rest().lines().for_each(|line| said = format!("{said}{line}\n"));
            let as_expected = step.expected.is_empty() || matches(&step.expected, &said);
            server.has_ended() || (as_expected && UnixStream::connect(&socket).is_ok())
        });
        let good = settled && !server.has_ended();
        self.servers.push(Server(server));
        (!good).then(|| self.failure(step, None, &said))
    }

    fn shell(&self, script: &str) -> Command {
        let binaries = marque().parent().unwrap().to_owned();
        let path = std::env::var_os("PATH").unwrap_or_default();
        let path = std::env::join_paths(std::iter::once(binaries).chain(std::env::split_paths(&path))).unwrap();
        let mut command = clean(Command::new("sh"));
        command.arg("-c").arg(script).current_dir(self.dir.path());
        command.env("PATH", path).env("HOME", self.dir.path()).env("TERM", "dumb").env_remove("XDG_STATE_HOME");
        command
    }

    fn failure(&self, step: &Step, code: Option<i32>, got: &str) -> String {
        let indented = |text: &str| text.lines().map(|line| format!("    {line}\n")).collect::<String>();
        format!(
            "{}:{}: $ {}\n  expected, with exit code {}:\n{}  got, with exit code {code:?}:\n{}",
            self.name,
            step.line,
            step.command,
            step.code,
            indented(&step.expected.join("\n")),
            indented(got)
        )
    }
}

/// A command whose standard error goes where its standard output goes.
fn merged(command: &str) -> String {
    format!("exec 2>&1\n{command}")
}

/// A server in a process group of its own, which ends with the file.
struct Server(Running);

impl Drop for Server {
    fn drop(&mut self) {
        let group = i32::try_from(self.0.id()).ok().and_then(Pid::from_raw);
        if let Some(group) = group.filter(|_| !self.0.has_ended()) {
            let _ = kill_process_group(group, Signal::TERM);
            until(PATIENCE, || self.0.has_ended());
        }
    }
}
