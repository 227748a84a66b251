//! The demo's processes: started, spoken to, and ended with it.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::failure::{Failure, Result};

/// A child process that answers in lines. Dropping it kills it.
pub struct Spoken {
    name: &'static str,
    child: Child,
    input: Option<ChildStdin>,
    output: Lines<BufReader<ChildStdout>>,
}

impl Spoken {
    /// Starts a process; what it says on standard error goes to a file.
    pub fn start(name: &'static str, command: &mut Command, errors: &Path) -> Result<Self> {
        let log =
            std::fs::File::create(errors).map_err(|e| Failure::failed(format!("cannot write `{}`: {e}", errors.display())))?;
        let started = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log).kill_on_drop(true).spawn();
        let mut child = started.map_err(|e| Failure::failed(format!("cannot start the {name}: {e}")))?;
        let output = child.stdout.take().ok_or_else(|| Failure::failed("no standard output"))?;
        Ok(Self { name, input: child.stdin.take(), output: BufReader::new(output).lines(), child })
    }

    /// The next line that it says.
    pub async fn line(&mut self) -> Result<String> {
        let late = |_| Failure::failed(format!("the {} says nothing", self.name));
        let line = tokio::time::timeout(PATIENCE, self.output.next_line()).await.map_err(late)??;
        line.ok_or_else(|| Failure::failed(format!("the {} has ended; its log is beside its state", self.name)))
    }

    /// The next line, as JSON.
    pub async fn answer(&mut self) -> Result<Value> {
        Ok(serde_json::from_str(&self.line().await?)?)
    }

    /// Tells it something.
    pub async fn tell(&mut self, order: &Value) -> Result<()> {
        let input = self.input.as_mut().ok_or_else(|| Failure::failed("no standard input"))?;
        input.write_all(format!("{order}\n").as_bytes()).await?;
        input.flush().await?;
        Ok(())
    }

    /// Tells it something and takes its answer.
    pub async fn ask(&mut self, order: Value) -> Result<Value> {
        self.tell(&order).await?;
        self.answer().await
    }

    /// Asks it to end, and waits until it has.
    pub async fn stop(mut self) -> Result<()> {
        self.input = None;
        if let Some(pid) = self.child.id().and_then(|id| i32::try_from(id).ok()).and_then(rustix::process::Pid::from_raw) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        let late = |_| Failure::failed(format!("the {} does not end", self.name));
        tokio::time::timeout(PATIENCE, self.child.wait()).await.map_err(late)??;
        Ok(())
    }
}

/// Makes the directory anew. One that is not an earlier demo's is left alone.
pub fn fresh_dir(dir: &Path) -> Result<PathBuf> {
    let mark = dir.join(".marque-demo");
    if dir.exists() {
        if !mark.exists() && std::fs::read_dir(dir)?.next().is_some() {
            return Err(Failure::input(format!(
                "`{}` is not empty and not an earlier demo: name another with --dir",
                dir.display()
            )));
        }
        std::fs::remove_dir_all(dir)?;
    }
    std::fs::create_dir_all(dir)?;
    std::fs::write(mark, "made by `marque demo`; the next one replaces this directory\n")?;
    Ok(dir.canonicalize()?)
}

/// Puts this program under another name, so that the kernel sees another executable path.
pub fn executable(bin: &Path, name: &str) -> Result<PathBuf> {
    std::fs::create_dir_all(bin)?;
    let own = std::env::current_exe()?;
    let path = bin.join(name);
    if std::fs::hard_link(&own, &path).is_err() {
        std::fs::copy(&own, &path)?;
    }
    Ok(path)
}

/// Runs one command of the CLI, as a person would: its JSON and its exit code.
pub async fn cli(state: &Path, person: &str, args: &[&str], input: Option<&str>) -> Result<(Option<i32>, Value)> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("--json").arg("--state").arg(state).arg("--person").arg(person).args(args);
    command.stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() }).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn()?;
    if let (Some(text), Some(mut pipe)) = (input, child.stdin.take()) {
        pipe.write_all(text.as_bytes()).await?;
    }
    let output = child.wait_with_output().await?;
    let text = if output.status.success() || !output.stdout.is_empty() { &output.stdout } else { &output.stderr };
    let value = serde_json::from_slice(text)
        .map_err(|_| Failure::failed(format!("`marque {}` said: {}", args.join(" "), String::from_utf8_lossy(text))))?;
    Ok((output.status.code(), value))
}

const PATIENCE: Duration = Duration::from_secs(20);
