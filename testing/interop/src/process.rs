//! Other programs: servers that run until they are dropped, and commands that end.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use crate::fault::{Fault, Result};

/// Time since a moment.
pub struct Stopwatch(Instant);

impl Stopwatch {
    /// Starts now.
    #[expect(clippy::disallowed_methods, reason = "a judge measures itself; nothing is decided by this clock")]
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// The time since the start.
    pub fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }

    /// Milliseconds since the start.
    pub fn milliseconds(&self) -> u64 {
        u64::try_from(self.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

/// A program that runs until this is dropped.
#[derive(Debug)]
pub struct Server {
    name: &'static str,
    child: Child,
    lines: Receiver<String>,
    log: PathBuf,
}

impl Server {
    /// Starts it; what it says on standard error goes to a file in `dir`.
    pub fn start(name: &'static str, command: &mut Command, dir: &Path) -> Result<Self> {
        let log = dir.join(format!("{name}.log"));
        let started = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(File::create(&log)?).spawn();
        let mut child = started.map_err(|e| Fault::new(format!("cannot start the {name}: {e}")))?;
        let output = child.stdout.take().ok_or_else(|| Fault::new("no standard output"))?;
        let (send, lines) = mpsc::channel();
        std::thread::spawn(move || {
            BufReader::new(output).lines().map_while(|line| line.ok()).all(|line| send.send(line).is_ok())
        });
        Ok(Self { name, child, lines, log })
    }

    /// Its process number.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The next line that it says.
    pub fn line(&self) -> Result<String> {
        self.lines.recv_timeout(PATIENCE).map_err(|_| {
            let said = std::fs::read_to_string(&self.log).unwrap_or_default();
            Fault::new(format!("the {} is not there: {}", self.name, said.trim()))
        })
    }
}

impl Drop for Server {
    /// Asks it to end, and ends it if it does not. Nothing can be done about an error here.
    fn drop(&mut self) {
        let pid = i32::try_from(self.child.id()).ok().and_then(rustix::process::Pid::from_raw);
        if let Some(pid) = pid {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        let watch = Stopwatch::start();
        while watch.elapsed() < PATIENCE {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(PAUSE);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// This program at another path, where it is another executable.
pub fn renamed(path: PathBuf) -> Result<PathBuf> {
    let own = std::env::current_exe()?;
    // A copy over a link to itself would empty it.
    if !path.exists() && std::fs::hard_link(&own, &path).is_err() {
        std::fs::copy(&own, &path)?;
    }
    Ok(path)
}

/// How a command ended.
#[derive(Debug)]
pub struct Ended {
    /// Its exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    /// Its standard output.
    pub output: String,
    /// Its standard error.
    pub errors: String,
}

impl Ended {
    /// Itself, if it ended well.
    pub fn well(self, what: &str) -> Result<Self> {
        if self.code == Some(0) { Ok(self) } else { Err(self.fault(what)) }
    }

    /// What it said, as a fault.
    pub fn fault(&self, what: &str) -> Fault {
        Fault::new(format!("{what} ended with {:?}: {}{}", self.code, self.output.trim(), self.errors.trim()))
    }
}

/// Runs a command to its end, with `input` on its standard input. One that takes longer than a limit is ended: a hang
/// is a failure.
pub fn finish(command: &mut Command, input: &str) -> Result<Ended> {
    let shown = command.get_program().to_string_lossy().into_owned();
    let started = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = started.map_err(|e| Fault::new(format!("cannot start `{shown}`: {e}")))?;
    let (output, errors) = (read(child.stdout.take()), read(child.stderr.take()));
    if let Some(mut pipe) = child.stdin.take() {
        // A program may end without reading.
        let _ = pipe.write_all(input.as_bytes());
    }
    let watch = Stopwatch::start();
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if watch.elapsed() > LIMIT {
            let _ = child.kill();
            let _ = child.wait();
            return Err(Fault::new(format!("`{shown}` was ended: it took more than {} s", LIMIT.as_secs())));
        }
        std::thread::sleep(PAUSE);
    };
    let text = |stream: Receiver<String>| stream.recv_timeout(PATIENCE).unwrap_or_default();
    Ok(Ended { code: status.code(), output: text(output), errors: text(errors) })
}

/// All of a stream, when it has ended.
fn read(stream: Option<impl Read + Send + 'static>) -> Receiver<String> {
    let (send, receive) = mpsc::channel();
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut stream) = stream {
            let _ = stream.read_to_end(&mut bytes);
        }
        let _ = send.send(String::from_utf8_lossy(&bytes).into_owned());
    });
    receive
}

/// How long a server may take to answer, or to end.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long a command may take. The Python clients give up by themselves after 60 s.
const LIMIT: Duration = Duration::from_secs(90);
const PAUSE: Duration = Duration::from_millis(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_heard_with_its_code() {
        let ended = finish(Command::new("sh").args(["-c", "cat; echo no >&2; exit 3"]), "yes").unwrap();
        assert_eq!((ended.code, ended.output.as_str(), ended.errors.as_str()), (Some(3), "yes", "no\n"));
        assert!(ended.well("it").unwrap_err().to_string().contains("Some(3)"));
    }

    #[test]
    fn a_server_is_heard_and_ends_with_its_handle() {
        let dir = tempfile::tempdir().unwrap();
        let server = Server::start("echo", Command::new("sh").args(["-c", "echo ready; exec sleep 60"]), dir.path()).unwrap();
        assert_eq!(server.line().unwrap(), "ready");
        let watch = Stopwatch::start();
        drop(server);
        assert!(watch.elapsed() < PATIENCE);
    }
}
