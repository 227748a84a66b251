//! Identities: how soon one that was applied has its SVID, and SVIDs as real clients fetch them over the socket.

use std::path::{Path, PathBuf};
use std::time::Duration;

use marque_core::attestation::Selector;
use marque_core::node::NodeName;
use marque_engine::desired::{Desired, IdentitySpec};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::Command;

use crate::client::Admin;
use crate::measure::{Cost, Meter, Samples, nanos, now};
use crate::office::{Office, drive};
use crate::report::{Bounds, Figure};
use crate::system::{Spoken, serve};
use crate::{Bench, Result, agent, engine, office, streams};

/// Takes the figures.
pub fn run(bench: &mut Bench) -> Result<()> {
    engine::runtime()?.block_on(async {
        in_process(bench).await?;
        let mut site = Site::start(bench).await?;
        newcomers(bench, &mut site, "over the socket", None).await?;
        let node = Node::join(bench, &site).await?;
        newcomers(bench, &mut site, "on a node", Some(&node)).await?;
        node.stop().await?;
        let mut agent = site.agent(&std::env::current_exe()?)?;
        for load in [Load::closed(1), Load::closed(16), Load::closed(64), Load { callers: 64, rate: Some(RATE) }] {
            jwt(bench, &site, &mut agent, load, "identity").await?;
        }
        streams::measure(bench, &mut site, &mut agent).await?;
        agent.finish().await?;
        site.server.stop().await
    })
}

/// The engine alone.
async fn in_process(bench: &mut Bench) -> Result<()> {
    let dir = bench.scratch("identity")?;
    let office = Office::open(&dir.path().join("state")).await?;
    let mut taken = Vec::new();
    let meter = Meter::own()?;
    for n in 0..bench.scale.pick(100, 10) {
        taken.push(nanos(office.newcomer(n).await?));
    }
    print(bench, "identity/in process, applied, then its SVID", taken, meter.read()?)?;
    let time = bench.scale.seconds(3.0, 0.5);
    let run = drive(&office, 64, time, Office::jwt_svid).await?;
    let each = 1e6 / run.cost.cpu_us_each(run.samples.count()).max(1e-9);
    let figure = Figure::new("identity/in process, JWT-SVIDs by CPU second", each, "SVIDs/s").took(run.cost);
    bench.report.add(&figure.seen("ES256, its record durable; all threads, the writer's too").at_least(5_000.0))?;
    bench.report.add_run("identity/in process, JWT-SVIDs, 64 at once", "SVIDs/s", &run, Bounds::default())?;
    let run = drive(&office, 64, time, Office::x509_svid).await?;
    bench.report.add_run("identity/in process, X.509-SVIDs, 64 at once", "SVIDs/s", &run, Bounds::default())
}

/// Processes that are nobody until their identity is applied: then the next call must give them their SVID, on the server's own
/// host or on a node.
async fn newcomers(bench: &mut Bench, site: &mut Site, place: &str, node: Option<&Node>) -> Result<()> {
    let name = |n: usize| format!("new-{}-{n}", place.replace(' ', "-"));
    let socket = node.map_or_else(|| site.socket.clone(), |node| node.socket.clone());
    let rounds = bench.scale.pick(20, 4);
    let mut programs = Vec::new();
    for n in 0..rounds {
        programs.push(site.copy(&name(n))?);
    }
    let (mut taken, mut calls) = (Vec::new(), 0);
    let meter = Meter::own()?;
    for (n, program) in programs.iter().enumerate() {
        let mut process = site.agent_at(program, &socket)?;
        let before = process.ask(&json!({ "do": "x509" })).await?;
        if before.get("refused").is_none() {
            return Err(format!("a process was somebody before its identity was applied: {before}").into());
        }
        let mut identity = spec(&format!("agent/{}", name(n)), program)?;
        identity.nodes.extend(node.map(|node| node.name.clone()));
        site.apply(vec![identity]).await?;
        let at = now();
        loop {
            calls += 1;
            let answer = process.ask(&json!({ "do": "x509" })).await?;
            if answer.get("id").is_some() {
                break;
            }
            if at.elapsed() > Duration::from_secs(20) {
                return Err(format!("an identity does not come into force: {answer}").into());
            }
        }
        taken.push(nanos(at.elapsed()));
        process.finish().await?;
    }
    let cost = meter.read()?;
    let each = f64::from(calls) / rounds as f64;
    let figure = Figure::new(format!("identity/{place}, applied: calls until its SVID"), each, "calls").took(cost);
    bench.report.add(&figure.seen(format!("{rounds} processes, each refused before")).at_most(1.0))?;
    print(bench, &format!("identity/{place}, applied, then its SVID"), taken, cost)
}

fn print(bench: &mut Bench, name: &str, taken: Vec<u64>, cost: Cost) -> Result<()> {
    let samples = Samples::new(taken);
    for (label, q) in [("p50", 0.5), ("max", 1.0)] {
        let figure = Figure::new(format!("{name}: {label}"), samples.quantile(q) / 1e3, "ms").at_most(1_000.0);
        bench.report.add(&figure.took(cost).seen(format!("{} rounds", samples.count())))?;
    }
    Ok(())
}

/// Who asks for JWT-SVIDs.
#[derive(Clone, Copy)]
pub struct Load {
    callers: u32,
    /// How many are due in a second; without, each caller asks again at once.
    rate: Option<u32>,
}

impl Load {
    /// So many callers, each of whom asks again at once.
    pub const fn closed(callers: u32) -> Self {
        Self { callers, rate: None }
    }
}

/// JWT-SVIDs under a load. The bound of the latency is for one caller, and for arrivals that do not wait for each other: the
/// callers of a closed loop wait for each other by their number.
pub async fn jwt(bench: &mut Bench, site: &Site, agent: &mut Spoken, load: Load, of: &str) -> Result<()> {
    let milliseconds = bench.scale.pick(3000, 600);
    let Load { callers, rate } = load;
    let at = rate.map(|rate| format!(" at {rate} a second")).unwrap_or_default();
    let name = format!("{of}/FetchJWTSVID, {callers} callers{at}");
    agent.begin(&json!({ "do": "jwt", "callers": callers, "rate": rate, "milliseconds": milliseconds })).await?;
    let meter = Meter::of(site.server.pid()?)?;
    let answer = agent.answer().await?;
    let cost = meter.read()?;
    let number = |field: &str| answer.get(field).and_then(Value::as_f64).ok_or_else(|| format!("no `{field}`: {answer}"));
    let requests = number("requests")?;
    let cpu = cost.cpu_us_each(requests as u64);
    let taken = Figure::new(format!("{name}: rate"), requests / (number("wall_us")? / 1e6), "SVIDs/s").took(cost).cpu(cpu);
    bench.report.add(&taken.seen("each caller on its own connection; the CPU is the server's alone"))?;
    bench.report.add(&Figure::new(format!("{name}: p50"), number("p50_us")?, "µs").took(cost))?;
    let p99 = Figure::new(format!("{name}: p99"), number("p99_us")?, "µs").took(cost);
    bench.report.add(&if callers == 1 || rate.is_some() { p99.at_most(5_000.0) } else { p99 })?;
    let each = Figure::new(format!("{name}: by CPU second of the server"), 1e6 / cpu.max(1e-9), "SVIDs/s").took(cost);
    bench.report.add(&each.at_least(5_000.0).seen("attested for each call, gRPC, ES256, its record durable"))
}

/// A server, its administrator, and where its agents live.
pub struct Site {
    /// The server.
    pub server: Spoken,
    /// A connection of the first person.
    pub admin: Admin,
    socket: String,
    issuer: String,
    dir: TempDir,
}

impl Site {
    async fn start(bench: &Bench) -> Result<Self> {
        let dir = bench.scratch("site")?;
        let state = dir.path().join("state");
        let mut server = serve(&bench.marque, &state, &dir.path().join("serve.log"))?;
        let ready = server.answer().await?;
        let field = |name: &str| ready.get(name).and_then(Value::as_str).map(str::to_owned);
        let socket = field("workload_api").ok_or("the server has no Workload API")?;
        let issuer = field("issuer").ok_or("the server has no issuer")?;
        let admin = Admin::connect(&state).await?;
        let mut site = Self { server, admin, socket, issuer, dir };
        site.apply(vec![spec("agent/bench", &std::env::current_exe()?)?]).await?;
        Ok(site)
    }

    /// Makes identities known.
    pub async fn apply(&mut self, identities: Vec<IdentitySpec>) -> Result<()> {
        let desired = Desired { identities, policies: office::policies(), ..Desired::default() };
        self.admin.post("/v1/apply", &serde_json::to_value(desired)?).await?;
        Ok(())
    }

    /// A process of this program under the name that it is called by.
    pub fn agent(&self, program: &Path) -> Result<Spoken> {
        self.agent_at(program, &self.socket)
    }

    fn agent_at(&self, program: &Path, socket: &str) -> Result<Spoken> {
        let mut command = Command::new(program);
        let name = program.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let errors = self.dir.path().join(format!("{name}.log"));
        Ok(Spoken::start("workload", command.arg(agent::ROLE).arg(socket), &errors)?.patient(PATIENCE))
    }

    /// This program under another name, so that the kernel sees another executable.
    fn copy(&self, name: &str) -> Result<PathBuf> {
        let path = self.dir.path().join(name);
        let own = std::env::current_exe()?;
        if std::fs::hard_link(&own, &path).is_err() {
            std::fs::copy(&own, &path)?;
        }
        Ok(path)
    }
}

/// Another host's Workload API: here a process of this host, which reaches the server by its address.
struct Node {
    name: NodeName,
    socket: String,
    process: Spoken,
}

impl Node {
    async fn join(bench: &Bench, site: &Site) -> Result<Self> {
        let name = "n1";
        let path = |file: &str| site.dir.path().join(file);
        let mut command = Command::new(&bench.marque);
        command.arg("--state").arg(path("state")).args(["node", "token", name, "--token-file"]).arg(path("token"));
        let made = command.arg("--bundle").arg(path("bundle")).output().await?;
        if !made.status.success() {
            return Err(format!("no token for a node: {}", String::from_utf8_lossy(&made.stderr)).into());
        }
        let mut command = Command::new(&bench.marque);
        command.args(["--json", "node", "join", "--server", &site.issuer, "--name", name, "--bundle"]).arg(path("bundle"));
        command.arg("--token-file").arg(path("token")).arg("--dir").arg(path("node"));
        let mut process = Spoken::start("node", &mut command, &path("node.log"))?;
        let ready = process.answer().await?;
        let socket = ready.get("workload_api").and_then(Value::as_str).ok_or("the node has no Workload API")?.to_owned();
        Ok(Self { name: name.parse()?, socket, process })
    }

    async fn stop(self) -> Result<()> {
        self.process.stop().await
    }
}

fn spec(name: &str, program: &Path) -> Result<IdentitySpec> {
    office::identity(name, Selector::new("unix", "path", program.display())?, "invoke:tool:bench/*")
}

/// Ten thousand streams are not opened in a minute.
const PATIENCE: Duration = Duration::from_secs(600);

/// The issuance that one core is to have capacity for, offered to both.
const RATE: u32 = 5_000;
