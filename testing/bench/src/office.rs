//! The demo's office as a fixture: its policies, its tools, and an engine with two agents and a task.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use marque_core::attestation::{Attestation, Instance, Selector};
use marque_core::id::TaskId;
use marque_core::identity::{Kind, Lifecycle};
use marque_core::record::{Ending, Outcome};
use marque_core::resource::{Action, Resource, ResourceId, ResourceKind, Risk, Sensitivity};
use marque_engine::desired::{Desired, IdentitySpec, PolicyText};
use marque_engine::{
    ActionRequest, Caller, Engine, Env, Exchange, Observed, Options, RECEIPT_INTERVAL, TaskRequest, TokenType, Verdict, Workload,
    content, sha256, start_time,
};
use serde_json::json;

use crate::Result;
use crate::measure::{Meter, Samples, nanos, now};
use crate::report::Run;

/// Who asks for everything.
pub const ADMINISTRATOR: &str = "alice@example.com";

/// The demo's policies.
pub const POLICIES: &str = r#"@id("within-task")
@reason("the task grants it")
permit (principal, action, resource);

@id("mail-domains")
@reason("mail goes to example.com and example.org only")
forbid (principal, action == Marque::Action::"invoke", resource == Marque::Tool::"office/send_mail")
unless {
  context.call.hasTag("to") &&
  (context.call.getTag("to") like "*@example.com" || context.call.getTag("to") like "*@example.org")
};

@id("personal-data-out")
@elevation("personal-data-out")
@approvals("1")
@ttl("10m")
@reason("a tool that can send personal data out waits for a person")
forbid (principal, action == Marque::Action::"invoke", resource is Marque::Tool)
when { resource.personal && resource.egress }
unless { context.approved.contains("personal-data-out") };
"#;

/// A tool of the office that touches customer records.
pub fn tool(name: &str) -> Result<Resource> {
    let sends = name == "send_mail";
    Ok(Resource {
        id: ResourceId::new(ResourceKind::Tool, &format!("office/{name}"))?,
        description: String::new(),
        sensitivity: Sensitivity::Confidential,
        personal: true,
        risk: Some(if sends { Risk::High } else { Risk::Low }),
        egress: sends,
        touches: BTreeSet::new(),
        owner: None,
        upstream: None,
        definition: Some(sha256(name.as_bytes())),
    })
}

/// An identity with one selector.
pub fn identity(name: &str, selector: Selector, ceiling: &str) -> Result<IdentitySpec> {
    Ok(IdentitySpec {
        name: name.into(),
        kind: Kind::Agent,
        owner: ADMINISTRATOR.parse()?,
        purpose: "to be measured".into(),
        selectors: BTreeSet::from([selector]),
        hint: None,
        nodes: BTreeSet::new(),
        ceiling: ceiling.parse()?,
        state: Lifecycle::Active,
    })
}

/// The demo's policies, in a manifest.
pub fn policies() -> Vec<PolicyText> {
    vec![PolicyText { name: "policies/office.cedar".into(), text: POLICIES.into() }]
}

/// An engine in this process with everything that a call needs.
pub struct Office {
    /// The engine.
    pub engine: Arc<Engine>,
    orchestrator: Agent,
    researcher: Agent,
    task: TaskId,
    token: String,
    call: ActionRequest,
    audience: Vec<String>,
}

/// An agent with its credentials.
struct Agent {
    instance: Instance,
    workload: Workload,
    jwt: String,
}

impl Office {
    /// Opens a new state directory and fills it.
    pub async fn open(dir: &Path) -> Result<Arc<Self>> {
        let options = Options::new("example.org".parse()?, ADMINISTRATOR.parse()?, ISSUER.into());
        let engine = Engine::open(dir, Env::system(), options).await?;
        let person = Caller::Person(ADMINISTRATOR.parse()?);
        let orchestrator = "invoke:tool:office/* delegate:identity:agent/researcher";
        let desired = Desired {
            identities: vec![
                identity(ORCHESTRATOR, selector(ORCHESTRATOR)?, orchestrator)?,
                identity(RESEARCHER, selector(RESEARCHER)?, "invoke:tool:office/*")?,
            ],
            resources: vec![tool("find_customer")?, tool("send_mail")?],
            policies: policies(),
            ..Desired::default()
        };
        engine.apply(&person, &desired).await?;
        let request = TaskRequest {
            identity: ORCHESTRATOR.into(),
            purpose: "weekly customer report".into(),
            scope: None,
            ttl: None,
            calls: None,
        };
        let task = engine.start_task(&person, request).await?.id;
        let orchestrator = Agent::start(&engine, ORCHESTRATOR).await?;
        let researcher = Agent::start(&engine, RESEARCHER).await?;
        let token = engine.exchange(orchestrator.own_token(task)).await?.token;
        let call = call(&engine, &orchestrator.instance, task).await?;
        let audience = vec![ISSUER.to_owned()];
        Ok(Arc::new(Self { engine, orchestrator, researcher, task, token, call, audience }))
    }

    /// A JWT-SVID.
    pub async fn jwt_svid(self: Arc<Self>) -> Result<Duration> {
        let at = now();
        self.engine.jwt_svid(&self.orchestrator.instance, &self.audience).await?;
        Ok(at.elapsed())
    }

    /// An X.509-SVID with a fresh key.
    pub async fn x509_svid(self: Arc<Self>) -> Result<Duration> {
        let at = now();
        self.engine.x509_svid(&self.orchestrator.instance).await?;
        Ok(at.elapsed())
    }

    /// A token of one's own task, for one's own JWT-SVID.
    pub async fn own_token(self: Arc<Self>) -> Result<Duration> {
        let exchange = self.orchestrator.own_token(self.task);
        let at = now();
        self.engine.exchange(exchange).await?;
        Ok(at.elapsed())
    }

    /// A child task and its token, for another's token and one's own JWT-SVID.
    pub async fn child_token(self: Arc<Self>) -> Result<Duration> {
        let exchange = Exchange {
            client: self.researcher.workload.clone(),
            subject: (self.token.clone(), TokenType::AccessToken),
            actor: Some(self.researcher.jwt.clone()),
            task: None,
            scope: None,
            purpose: None,
        };
        let at = now();
        self.engine.exchange(exchange).await?;
        Ok(at.elapsed())
    }

    /// From a durable decision to its inclusion proof under a signed checkpoint.
    pub async fn receipt(self: Arc<Self>) -> Result<Duration> {
        let verdict = self.engine.authorize(self.call.clone()).await?;
        let at = now();
        let Verdict::Proceed(permit) = verdict else { return Err("a call was not allowed".into()) };
        let proof = self.engine.receipt_now(permit.entry()).await?;
        let taken = at.elapsed();
        if proof.index != permit.entry() || !proof.verified {
            return Err(format!("the proof of entry {} does not verify", permit.entry()).into());
        }
        permit.settle(Outcome { ending: Ending::Answered, status: 200, response: None, bytes: 0, contents: Vec::new() })?;
        Ok(taken)
    }

    /// The same when no checkpoint was signed a moment before.
    pub async fn lone_receipt(self: Arc<Self>) -> Result<Duration> {
        tokio::time::sleep(Duration::from_micros(RECEIPT_INTERVAL.unsigned_abs() * 6 / 5)).await;
        self.receipt().await
    }

    /// An identity that was not there before, and its X.509-SVID in the next call: the time of that call.
    pub async fn newcomer(&self, n: usize) -> Result<Duration> {
        let name = format!("agent/new-{n}");
        let identities = vec![identity(&name, selector(&name)?, "invoke:tool:office/*")?];
        let desired = Desired { identities, policies: policies(), ..Desired::default() };
        self.engine.apply(&Caller::Person(ADMINISTRATOR.parse()?), &desired).await?;
        let at = now();
        let pid = std::process::id();
        let selectors = BTreeSet::from([selector(&name)?]);
        let seen = Attestation { method: "unix".into(), pid, started: start_time(pid)?, selectors, until: None, node: None };
        let instance = self.engine.attest(Observed(seen), None).await?;
        self.engine.x509_svid(&instance).await?;
        Ok(at.elapsed())
    }

    /// A call that is decided, recorded, permitted and settled; the time until it was permitted.
    pub async fn act(self: Arc<Self>) -> Result<Duration> {
        let request = self.call.clone();
        let at = now();
        let verdict = self.engine.authorize(request).await?;
        let taken = at.elapsed();
        match verdict {
            Verdict::Proceed(permit) => {
                let response = Some(sha256(b"an answer").into());
                permit.settle(Outcome { ending: Ending::Answered, status: 200, response, bytes: 300, contents: Vec::new() })?;
                Ok(taken)
            }
            other => Err(format!("a call was not allowed: {other:?}").into()),
        }
    }
}

impl Agent {
    async fn start(engine: &Arc<Engine>, name: &str) -> Result<Self> {
        let pid = std::process::id();
        let selectors = BTreeSet::from([selector(name)?]);
        let seen = Attestation { method: "unix".into(), pid, started: start_time(pid)?, selectors, until: None, node: None };
        let instance = engine.attest(Observed(seen), None).await?;
        let issued = engine.x509_svid(&instance).await?;
        let chain: Vec<&[u8]> = issued.svid.chain.iter().map(Vec::as_slice).collect();
        let workload = engine.authenticate_certificate(&chain)?;
        let jwt = engine.jwt_svid(&instance, &[ISSUER.to_owned()]).await?;
        Ok(Self { instance, workload, jwt })
    }

    fn own_token(&self, task: TaskId) -> Exchange {
        Exchange {
            client: self.workload.clone(),
            subject: (self.jwt.clone(), TokenType::Jwt),
            actor: None,
            task: Some(task),
            scope: None,
            purpose: None,
        }
    }
}

/// What the gateway would ask for a small tool call.
async fn call(engine: &Arc<Engine>, instance: &Instance, task: TaskId) -> Result<ActionRequest> {
    let text = "Ada Holm, of whom the weekly report is";
    let tool = tool("find_customer")?;
    Ok(ActionRequest {
        lease: engine.gateway_session(instance, task).await?,
        action: Action::Invoke,
        resource: tool.id,
        arguments: json!({ "name": text }),
        request: sha256(b"the request's bytes"),
        contents: vec![content("/params/arguments/name", text.as_bytes())],
        protocol: "mcp tools/call".into(),
        definition: tool.definition,
        correlation: None,
        causes: Vec::new(),
    })
}

fn selector(name: &str) -> Result<Selector> {
    Ok(Selector::new("unix", "path", format!("/bench/{name}"))?)
}

/// Does something again and again, `concurrency` at once, for a time.
pub async fn drive<F, Fut>(office: &Arc<Office>, concurrency: usize, time: Duration, once: F) -> Result<Run>
where
    F: Fn(Arc<Office>) -> Fut + Copy + Send + Sync + 'static,
    Fut: Future<Output = Result<Duration>> + Send + 'static,
{
    let meter = Meter::own()?;
    let until = now() + time;
    let workers: Vec<_> = (0..concurrency).map(|_| tokio::spawn(worker(Arc::clone(office), until, once))).collect();
    let mut latencies = Vec::new();
    for worker in workers {
        latencies.extend(worker.await??);
    }
    Ok(Run { cost: meter.read()?, samples: Samples::new(latencies), each: 1 })
}

async fn worker<F, Fut>(office: Arc<Office>, until: Instant, once: F) -> Result<Vec<u64>>
where
    F: Fn(Arc<Office>) -> Fut + Send + Sync,
    Fut: Future<Output = Result<Duration>> + Send,
{
    let mut latencies = Vec::new();
    while now() < until {
        latencies.push(nanos(once(Arc::clone(&office)).await?));
    }
    Ok(latencies)
}

const ISSUER: &str = "https://127.0.0.1:8443";
const ORCHESTRATOR: &str = "agent/orchestrator";
const RESEARCHER: &str = "agent/researcher";
