//! Processes: run to their end within a time, or kept running and ended with the test.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// Where the binary is.
pub fn marque() -> PathBuf {
    let given = std::env::var_os("MARQUE_BIN").map(PathBuf::from);
    let path = given.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/debug/marque"));
    match path.canonicalize() {
        Ok(path) if path.is_file() => path,
        _ => panic!(
            "there is no binary at `{}`: build it with `cargo build --package marque`, or name one with MARQUE_BIN",
            path.display()
        ),
    }
}

/// What a process said, and how it ended.
#[derive(Debug)]
pub struct Said {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Said {
    /// Both streams, for looking for a word.
    pub fn all(&self) -> String {
        format!("{}{}", self.out, self.err)
    }

    /// Checks the exit code, and that each of `words` was said.
    #[track_caller]
    pub fn must(&self, code: i32, words: &[&str]) {
        assert_eq!(self.code, Some(code), "{self:#?}");
        for word in words {
            assert!(self.all().contains(word), "nothing is said of `{word}`: {self:#?}");
        }
    }
}

/// Runs a command to its end, with `input` on its standard input.
#[track_caller]
pub fn finish(mut command: Command, input: &str) -> Said {
    let shown = format!("{command:?}");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|error| panic!("cannot start {shown}: {error}"));
    let pid = Pid::from_child(&child);
    // It may have ended without reading all of it.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let (send, receive) = mpsc::channel();
    std::thread::spawn(move || send.send(child.wait_with_output()));
    let Ok(output) = receive.recv_timeout(PATIENCE) else {
        let _ = kill_process(pid, Signal::KILL);
        panic!("{shown} did not end within {PATIENCE:?}");
    };
    let output = output.unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Said { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
}

/// A process that goes on until it is ended; dropping it kills it.
#[derive(Debug)]
pub struct Running {
    child: Child,
    lines: mpsc::Receiver<String>,
}

impl Running {
    /// Starts a command; its standard error goes to the file `errors`.
    #[track_caller]
    pub fn start(mut command: Command, errors: &Path) -> Self {
        let log = std::fs::File::create(errors).unwrap();
        let mut child = command.stdout(Stdio::piped()).stderr(log).spawn().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let (send, lines) = mpsc::channel();
        std::thread::spawn(move || output.lines().map_while(Result::ok).all(|line| send.send(line).is_ok()));
        Self { child, lines }
    }

    /// The next line of its standard output; nothing when it has ended or says nothing in time.
    pub fn line(&self) -> Option<String> {
        self.lines.recv_timeout(PATIENCE).ok()
    }

    /// What it has said so far and not been asked for.
    pub fn rest(&self) -> String {
        self.lines.try_iter().collect::<Vec<_>>().join("\n")
    }

    /// Writes a line to its standard input, which must be a pipe.
    #[track_caller]
    pub fn say(&mut self, line: &str) {
        let input = self.child.stdin.as_mut().expect("its standard input is a pipe");
        writeln!(input, "{line}").unwrap();
        input.flush().unwrap();
    }

    /// Closes its standard input.
    pub fn close(&mut self) {
        drop(self.child.stdin.take());
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits until it ends by itself.
    #[track_caller]
    pub fn wait(&mut self) -> ExitStatus {
        assert!(until(PATIENCE, || self.has_ended()), "process {} does not end", self.id());
        self.child.wait().unwrap()
    }

    /// Asks it to stop, and waits until it has.
    #[track_caller]
    pub fn stop(&mut self) -> ExitStatus {
        let _ = kill_process(Pid::from_child(&self.child), Signal::TERM);
        self.wait()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Asks again and again until it is so, or the time is over; says whether it is so.
#[expect(clippy::disallowed_methods, reason = "other processes are waited for in real time")]
pub fn until(time: Duration, mut is_so: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + time;
    loop {
        if is_so() {
            return true;
        }
        if Instant::now() >= end {
            return false;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Far more than anything here takes.
pub const PATIENCE: Duration = Duration::from_secs(120);
