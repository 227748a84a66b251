//! A state directory of one's own, its server, and the command line over it.

use std::collections::BTreeSet;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::geteuid;
use serde_json::Value;
use tempfile::TempDir;

use crate::process::{PATIENCE, Running, Said, finish, marque, until};

/// A directory with a state directory in it.
#[derive(Debug)]
pub struct World {
    dir: TempDir,
    /// Who works in it, if not the user that runs the tests.
    user: Option<u32>,
}

impl World {
    pub fn new() -> Self {
        Self { dir: tempfile::Builder::new().prefix("mq").tempdir().unwrap(), user: None }
    }

    /// A world of another user, who has the binary in it, for another place may be out of reach. It takes root to make one.
    pub fn of(user: u32) -> Self {
        let world = Self { user: Some(user), ..Self::new() };
        chown(world.dir(), Some(user), Some(user)).unwrap();
        std::fs::copy(marque(), world.dir().join("marque")).unwrap();
        world
    }

    /// Makes the world's user the one who runs a command.
    pub fn as_user(&self, mut command: Command) -> Command {
        if let Some(user) = self.user {
            command.uid(user).gid(user);
        }
        command
    }

    /// Who works in it.
    pub fn uid(&self) -> u32 {
        self.user.unwrap_or_else(|| geteuid().as_raw())
    }

    /// A world whose server has run once, with the example's identities and the manifest's owner as its person.
    pub fn with_example() -> Self {
        let world = Self::new();
        let mut server = world.serve();
        world.run(&["init", &world.path("example")]).must(0, &[]);
        world.run(&["apply", "-f", &world.path("example")]).must(0, &["agent/researcher"]);
        assert!(server.stop().success());
        world
    }

    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub fn state(&self) -> PathBuf {
        self.dir().join("state")
    }

    /// A path in the directory, as an argument.
    pub fn path(&self, name: &str) -> String {
        self.dir().join(name).to_str().unwrap().to_owned()
    }

    /// Writes a file in the directory.
    pub fn write(&self, name: &str, text: &str) {
        let path = self.dir().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    /// The command with these arguments, over the state directory.
    pub fn command(&self, args: &[&str]) -> Command {
        let binary = if self.user.is_some() { self.dir().join("marque") } else { marque() };
        let mut command = self.as_user(clean(Command::new(binary)));
        command.arg("--state").arg(self.state()).args(args);
        command
    }

    pub fn run(&self, args: &[&str]) -> Said {
        finish(self.command(args), "")
    }

    /// The JSON that a command prints; it must succeed.
    #[track_caller]
    pub fn json(&self, args: &[&str]) -> Value {
        let said = finish(self.command(&[&["--json"][..], args].concat()), "");
        said.must(0, &[]);
        serde_json::from_str(&said.out).unwrap_or_else(|error| panic!("{args:?} prints no JSON ({error}): {said:?}"))
    }

    /// The command that serves the state directory on free ports.
    pub fn serve_command(&self) -> Command {
        self.command(&SERVE)
    }

    /// A server that is ready.
    #[track_caller]
    pub fn serve(&self) -> Running {
        let server = Running::start(self.serve_command(), &self.log());
        assert!(server.line().is_some_and(|line| line.contains("workload_api")), "no server: {}", self.log_text());
        server
    }

    fn log(&self) -> PathBuf {
        self.dir().join("serve.log")
    }

    /// What the last server wrote to its log.
    pub fn log_text(&self) -> String {
        std::fs::read_to_string(self.log()).unwrap_or_default()
    }

    /// A server that may fail to become ready.
    pub fn try_serve(&self, command: Command) -> Running {
        Running::start(command, &self.log())
    }

    /// How many entries the log has.
    #[track_caller]
    pub fn entries(&self) -> u64 {
        self.json(&["status"])["entries"].as_u64().unwrap()
    }

    /// Waits until every entry stands in the published ledger, and verifies it with the key in `key_file`: its size.
    #[track_caller]
    pub fn verified(&self, key_file: &str) -> u64 {
        let entries = self.entries();
        let mut report = Value::Null;
        let whole = until(PATIENCE, || {
            let said = finish(self.command(&["--json", "ledger", "verify", "--key-file", key_file]), "");
            report = serde_json::from_str(&said.out).unwrap_or_default();
            said.code == Some(0) && report["size"].as_u64() >= Some(entries)
        });
        assert!(whole, "the ledger of {entries} entries does not verify: {report}");
        assert_eq!(report["ok"], true);
        assert_eq!(report["size"], report["entries_checked"]);
        report["size"].as_u64().unwrap()
    }

    /// The size in the published checkpoint, 0 when there is none.
    pub fn head(&self) -> u64 {
        let note = std::fs::read_to_string(self.state().join("ledger/checkpoint")).unwrap_or_default();
        note.lines().nth(1).map_or(0, |size| size.parse().unwrap())
    }

    /// What the first server signed with, kept by someone who does not trust the directory.
    pub fn pinned_key(&self) -> String {
        let key = self.path("pinned-key");
        std::fs::copy(self.state().join("ledger/verifier"), &key).unwrap();
        key
    }

    /// The published ledger has all of these tasks.
    #[track_caller]
    pub fn keeps<'a>(&self, tasks: impl IntoIterator<Item = &'a String>, context: &str) {
        let kept = self.tasks_in_ledger();
        let lost: Vec<_> = tasks.into_iter().filter(|task| !kept.contains(*task)).collect();
        assert!(lost.is_empty(), "{context}: the ledger lost {lost:?}");
    }

    /// The tasks that were started, as the published ledger's own files say.
    pub fn tasks_in_ledger(&self) -> BTreeSet<String> {
        let mut tasks = BTreeSet::new();
        for file in files(&self.state().join("ledger/tile/entries")) {
            // The server may just be replacing it by one with more entries.
            let Ok(bytes) = std::fs::read(file) else { continue };
            let mut rest = bytes.as_slice();
            while let Some((length, tail)) = rest.split_first_chunk::<2>() {
                let (entry, tail) = tail.split_at(usize::from(u16::from_be_bytes(*length)));
                let event: Value = serde_json::from_slice(entry).unwrap();
                if event["what"]["kind"] == "task_started" {
                    tasks.insert(event["what"]["task"]["id"].as_str().unwrap().to_owned());
                }
                rest = tail;
            }
        }
        tasks
    }
}

/// A command that nothing around the test can influence.
pub fn clean(mut command: Command) -> Command {
    for name in ["MARQUE_STATE", "MARQUE_PERSON", "RUST_LOG"] {
        command.env_remove(name);
    }
    command.env("NO_COLOR", "1");
    command
}

/// Every file below a folder.
pub fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let Ok(entries) = std::fs::read_dir(folder) else { return found };
    for entry in entries {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found
}

/// The first person of every state directory here.
pub const ALICE: &str = "alice@example.com";

const SERVE: [&str; 10] = [
    "--json",
    "serve",
    "--administrator",
    ALICE,
    "--listen",
    "127.0.0.1:0",
    "--gateway",
    "127.0.0.1:0",
    "--console",
    "127.0.0.1:0",
];
