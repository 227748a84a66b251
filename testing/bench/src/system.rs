//! The processes under test: the server, the upstream, and the load generator under `marque run`.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use marque_core::attestation::Selector;
use marque_core::resource::{Resource, ResourceId, Risk, Sensitivity, Upstream};
use marque_engine::desired::Desired;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::client::Admin;
use crate::{Bench, Result, load, office, upstream};

/// A child process that answers in lines. Dropping it kills it.
pub struct Spoken {
    name: &'static str,
    child: Child,
    input: Option<ChildStdin>,
    output: Lines<BufReader<ChildStdout>>,
    patience: Duration,
}

impl Spoken {
    /// Starts a process; what it says on standard error goes to a file.
    pub fn start(name: &'static str, command: &mut Command, errors: &Path) -> Result<Self> {
        let errors = std::fs::File::create(errors)?;
        let started = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(errors).kill_on_drop(true).spawn();
        let mut child = started.map_err(|error| format!("cannot start the {name}: {error}"))?;
        let output = child.stdout.take().ok_or("no standard output")?;
        Ok(Self { name, input: child.stdin.take(), output: BufReader::new(output).lines(), child, patience: PATIENCE })
    }

    /// Waits so long for each line instead of a minute.
    #[must_use]
    pub fn patient(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// Its process.
    pub fn pid(&self) -> Result<u32> {
        self.child.id().ok_or_else(|| format!("the {} has ended", self.name).into())
    }

    /// The next line that it says.
    pub async fn line(&mut self) -> Result<String> {
        let late = |_| format!("the {} says nothing", self.name);
        let line = tokio::time::timeout(self.patience, self.output.next_line()).await.map_err(late)??;
        line.ok_or_else(|| format!("the {} has ended", self.name).into())
    }

    /// The next line, as JSON that is not an error.
    pub async fn answer(&mut self) -> Result<Value> {
        let answer: Value = serde_json::from_str(&self.line().await?)?;
        match answer.get("error") {
            Some(error) => Err(format!("the {}: {error}", self.name).into()),
            None => Ok(answer),
        }
    }

    /// Tells it what to do; it answers in its own time.
    pub async fn tell(&mut self, order: &Value) -> Result<()> {
        let input = self.input.as_mut().ok_or("no standard input")?;
        input.write_all(format!("{order}\n").as_bytes()).await?;
        Ok(input.flush().await?)
    }

    /// Tells it what to do, and waits for its answer.
    pub async fn ask(&mut self, order: &Value) -> Result<Value> {
        self.tell(order).await?;
        self.answer().await
    }

    /// Tells the load generator what to do, and waits until it begins.
    pub async fn begin(&mut self, order: &Value) -> Result<()> {
        let said = self.ask(order).await?;
        match said.get("ready").and_then(Value::as_bool) {
            Some(true) => Ok(()),
            _ => Err(format!("the {} did not begin: {said}", self.name).into()),
        }
    }

    /// Lets it go, and waits until it has ended.
    pub async fn finish(mut self) -> Result<()> {
        self.input = None;
        self.wait().await
    }

    /// Asks it to end as an operator does, and waits until it has.
    pub async fn stop(mut self) -> Result<()> {
        let pid = i32::try_from(self.pid()?).ok().and_then(rustix::process::Pid::from_raw).ok_or("no such process")?;
        rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
        self.wait().await
    }

    async fn wait(&mut self) -> Result<()> {
        let late = |_| format!("the {} does not end", self.name);
        tokio::time::timeout(PATIENCE, self.child.wait()).await.map_err(late)??;
        Ok(())
    }
}

/// The server on a state directory, as a user starts it.
pub fn serve(marque: &Path, state: &Path, errors: &Path) -> Result<Spoken> {
    serve_with(marque, state, errors, &[])
}

/// The same with more arguments.
pub fn serve_with(marque: &Path, state: &Path, errors: &Path, more: &[OsString]) -> Result<Spoken> {
    let mut command = Command::new(marque);
    command.arg("--json").arg("--state").arg(state).args(["serve", "--administrator", office::ADMINISTRATOR]);
    command.args(["--listen", "127.0.0.1:0", "--gateway", "127.0.0.1:0", "--console", "127.0.0.1:0"]).args(more);
    Spoken::start("server", &mut command, errors)
}

/// A running server with one service behind its gateway and one identity that may use it.
pub struct System {
    /// The server.
    pub server: Spoken,
    /// The upstream's address.
    pub direct: String,
    upstream: Spoken,
    marque: PathBuf,
    state: PathBuf,
    dir: TempDir,
}

impl System {
    /// Starts everything.
    pub async fn start(bench: &Bench) -> Result<Self> {
        let dir = bench.scratch("run")?;
        let state = dir.path().join("state");
        let mut command = Command::new(std::env::current_exe()?);
        let mut upstream = Spoken::start("upstream", command.arg(upstream::ROLE), &dir.path().join("upstream.log"))?;
        let direct = format!("http://{}", upstream.line().await?);
        let mut server = serve(&bench.marque, &state, &dir.path().join("serve.log"))?;
        server.answer().await?;
        let system = Self { server, direct, upstream, marque: bench.marque.clone(), state, dir };
        let desired = serde_json::to_value(system.desired()?)?;
        system.admin().await?.post("/v1/apply", &desired).await?;
        Ok(system)
    }

    /// A new connection to the administration API.
    pub async fn admin(&self) -> Result<Admin> {
        Admin::connect(&self.state).await
    }

    /// Starts a task for the load generator.
    pub async fn task(&self) -> Result<String> {
        let request = json!({ "identity": IDENTITY, "purpose": "to be measured" });
        let task = self.admin().await?.post("/v1/tasks", &request).await?;
        Ok(task.get("id").and_then(Value::as_str).ok_or("no task was started")?.to_owned())
    }

    /// The load generator under a task, started as any agent is.
    pub fn client(&self, task: &str) -> Result<Spoken> {
        let mut command = Command::new(&self.marque);
        command.arg("--state").arg(&self.state).args(["--person", office::ADMINISTRATOR]);
        command.args(["run", "--as", IDENTITY, "--task", task, "--"]).arg(std::env::current_exe()?).arg(load::ROLE);
        Spoken::start("load generator", &mut command, &self.dir.path().join("client.log"))
    }

    /// Stops everything.
    pub async fn stop(self) -> Result<()> {
        self.server.stop().await?;
        self.upstream.finish().await
    }

    fn desired(&self) -> Result<Desired> {
        let executable = std::env::current_exe()?;
        let selector = Selector::new("unix", "path", executable.display())?;
        let url = format!("{}{DIRECT_PATH}", self.direct);
        let upstream = Upstream::Http { url, credential: None };
        let mut resources = vec![resource("service:bench", None, Some(upstream))?];
        for tool in ["echo", "stream", "watch"] {
            resources.push(resource(&format!("tool:bench/{tool}"), Some(Risk::Low), None)?);
        }
        let identities = vec![office::identity(IDENTITY, selector, "invoke:tool:bench/*")?];
        Ok(Desired { identities, resources, policies: office::policies(), ..Desired::default() })
    }
}

fn resource(id: &str, risk: Option<Risk>, upstream: Option<Upstream>) -> Result<Resource> {
    Ok(Resource {
        id: id.parse::<ResourceId>()?,
        description: String::new(),
        sensitivity: Sensitivity::Internal,
        personal: false,
        risk,
        egress: false,
        touches: BTreeSet::new(),
        owner: None,
        upstream,
        definition: None,
    })
}

/// The upstream's endpoint.
pub const DIRECT_PATH: &str = "/mcp";
/// The same service behind the gateway.
pub const GATEWAY_PATH: &str = "/mcp/bench";
const IDENTITY: &str = "agent/bench";
const PATIENCE: Duration = Duration::from_secs(60);
