//! An engine with a clock of its own, the gateway before it and the MCP server behind it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use marque_core::PersonId;
use marque_core::attestation::{Attestation, Instance, Selector};
use marque_core::event::By;
use marque_core::id::RecordId;
use marque_core::identity::{Kind, Lifecycle};
use marque_core::record::Outcome;
use marque_core::resource::{InjectedHeader, InjectedVariable, Resource, Risk, Sensitivity, Upstream};
use marque_core::spiffe::SpiffeId;
use marque_core::task::Task;
use marque_core::time::Timestamp;
use marque_engine::desired::{Desired, IdentitySpec, PolicyText};
use marque_engine::{
    Caller, Clock, Engine, Env, Exchange, Observed, Options, RecordRow, SystemEntropy, TaskRequest, TokenType, Workload,
    start_time,
};
use marque_gateway::{Gateway, Peer};
use tempfile::TempDir;

use crate::client::Client;
use crate::server::Server;

pub(crate) const ISSUER: &str = "https://marque.example.org";
pub(crate) const ADMIN: &str = "admin@example.com";
pub(crate) const ALICE: &str = "alice@example.com";
pub(crate) const BOB: &str = "bob@example.com";
pub(crate) const OWNER: &str = "owner@example.com";
pub(crate) const LEAD: &str = "agent/lead";
pub(crate) const OTHER: &str = "agent/other";
/// What the gateway gives the servers, and no agent ever sees.
pub(crate) const SECRET: &str = "the-servers-own-secret";

const POLICY: &str = r#"
@id("tools") permit (principal, action == Marque::Action::"invoke", resource is Marque::Tool);
@id("send-out") @elevation("send-out") @ttl("15m") @reason("mail leaves the organisation")
forbid (principal, action == Marque::Action::"invoke", resource is Marque::Tool)
when { resource.egress } unless { context.approved.contains("send-out") };
@id("never-drop") @reason("nothing is dropped")
forbid (principal, action == Marque::Action::"invoke", resource is Marque::Tool) when { resource.name == "crm/drop" };
"#;

/// A server on standard streams: it lists one tool, and a call of it tells what is in its environment.
const SCRIPT: &str = r#"
while read -r line; do
  id=$(printf '%s' "$line" | sed 's/.*"id":\([0-9]*\).*/\1/')
  case "$line" in
    *'"tools/list"'*)
      printf '{"jsonrpc":"2.0","id":%s,"result":{"tools":[{"name":"env","inputSchema":{"type":"object"}}]}}\n' "$id" ;;
    *'"tools/call"'*)
      names=$(env | cut -d= -f1 | sort | tr '\n' ' ')
      printf '{"jsonrpc":"2.0","id":%s,"result":{"content":[{"type":"text","text":"%s|%s|%s"}]}}\n' "$id" "$$" "$CRM_KEY" "$names" ;;
  esac
done
"#;

/// A clock that stands still until it is moved.
#[derive(Debug)]
struct TestClock(AtomicI64);

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.0.load(Ordering::SeqCst))
    }
}

/// A running copy of an identity, with its X.509-SVID.
pub(crate) struct Agent {
    pub(crate) instance: Instance,
    pub(crate) workload: Workload,
}

pub(crate) struct World {
    pub(crate) engine: Arc<Engine>,
    pub(crate) gateway: Gateway,
    pub(crate) server: Server,
    pub(crate) admin: Caller,
    pub(crate) alice: Caller,
    pub(crate) bob: Caller,
    clock: Arc<TestClock>,
    pub(crate) dir: TempDir,
}

impl World {
    pub(crate) async fn start() -> Self {
        let server = Server::start().await;
        let dir = tempfile::tempdir().unwrap();
        let clock = Arc::new(TestClock(AtomicI64::new(1_760_000_000_000_000)));
        let shared: Arc<dyn Clock> = clock.clone();
        let options = Options::new("example.org".parse().unwrap(), person(ADMIN), ISSUER.into());
        let env = Env { clock: shared, entropy: Arc::new(SystemEntropy) };
        let engine = Engine::open(&dir.path().join("state"), env, options).await.unwrap();
        for name in [ALICE, BOB] {
            engine.add_person(By::System, &person(name)).await.unwrap();
        }
        let [admin, alice, bob] = [ADMIN, ALICE, BOB].map(|name| Caller::Person(person(name)));
        engine.store_secret("crm", SECRET).unwrap();
        engine.apply(&admin, &manifest(&server.url())).await.unwrap();
        let gateway = Gateway::new(Arc::clone(&engine));
        Self { engine, gateway, server, admin, alice, bob, clock, dir }
    }

    pub(crate) fn advance(&self, seconds: i64) {
        self.clock.0.fetch_add(seconds * 1_000_000, Ordering::SeqCst);
    }

    /// Attests this process as `name` and gives it an SVID.
    pub(crate) async fn agent(&self, name: &str) -> Agent {
        let instance = self.engine.attest(observed(&format!("unix:name:{name}")), None).await.unwrap();
        let issued = self.engine.x509_svid(&instance).await.unwrap();
        let chain: Vec<&[u8]> = issued.svid.chain.iter().map(Vec::as_slice).collect();
        let workload = self.engine.authenticate_certificate(&chain).unwrap();
        Agent { instance, workload }
    }

    /// A root task of Alice.
    pub(crate) async fn task(&self, actor: &str, scope: Option<&str>) -> Task {
        let scope = scope.map(|s| s.parse().unwrap());
        let request = TaskRequest { identity: actor.into(), purpose: "test".into(), scope, ttl: None, calls: None };
        self.engine.start_task(&self.alice, request).await.unwrap()
    }

    pub(crate) async fn jwt(&self, agent: &Agent) -> String {
        self.engine.jwt_svid(&agent.instance, &[ISSUER.to_owned()]).await.unwrap()
    }

    /// A task token.
    pub(crate) async fn token(&self, agent: &Agent, task: &Task) -> String {
        let subject = (self.jwt(agent).await, TokenType::Jwt);
        let client = agent.workload.clone();
        let exchange = Exchange { client, subject, actor: None, task: Some(task.id), scope: None, purpose: None };
        self.engine.exchange(exchange).await.unwrap().token
    }

    /// The connection of an instance that works on a task.
    pub(crate) async fn peer(&self, agent: &Agent, task: &Task) -> Peer {
        Peer::Session(self.engine.gateway_session(&agent.instance, task.id).await.unwrap())
    }

    pub(crate) async fn connect(&self, peer: Peer) -> Client {
        Client::connect(&self.gateway, peer).await
    }

    /// The lead, at work on a fresh task with this scope.
    pub(crate) async fn at_work(&self, actor: &str, scope: Option<&str>) -> (Client, Task) {
        let (agent, task) = (self.agent(actor).await, self.task(actor, scope).await);
        (self.connect(self.peer(&agent, &task).await).await, task)
    }

    /// The lead, at work on a fresh task with everything.
    pub(crate) async fn client(&self) -> Client {
        self.at_work(LEAD, None).await.0
    }

    /// All records, the newest first.
    pub(crate) fn rows(&self) -> Vec<RecordRow> {
        self.engine.records(None, None, 100).unwrap()
    }

    /// How a record ended, once it has.
    pub(crate) async fn outcome(&self, record: RecordId) -> Outcome {
        let settled = || self.rows().into_iter().find(|r| r.decided.record == record)?.settled;
        eventually("the outcome", settled).await.1
    }
}

/// Waits for something that must happen soon.
pub(crate) async fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let found = async {
        loop {
            if let Some(found) = look() {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(LIMIT, found).await.unwrap_or_else(|_| panic!("waited in vain for {what}"))
}

/// Nothing here takes long.
pub(crate) async fn within<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(LIMIT, work).await.expect("it takes too long")
}

const LIMIT: Duration = Duration::from_secs(10);

pub(crate) fn person(name: &str) -> PersonId {
    name.parse().unwrap()
}

pub(crate) fn spiffe(name: &str) -> SpiffeId {
    format!("spiffe://example.org/{name}").parse().unwrap()
}

/// This process, of which one thing was seen.
fn observed(selector: &str) -> Observed {
    let pid = std::process::id();
    let selectors: BTreeSet<Selector> = BTreeSet::from([selector.parse().unwrap()]);
    Observed(Attestation { method: "unix".into(), pid, started: start_time(pid).unwrap(), selectors, until: None, node: None })
}

fn identity(name: &str) -> IdentitySpec {
    IdentitySpec {
        name: name.into(),
        kind: Kind::Agent,
        owner: person(OWNER),
        purpose: "test".into(),
        selectors: BTreeSet::from([format!("unix:name:{name}").parse().unwrap()]),
        hint: None,
        nodes: BTreeSet::new(),
        ceiling: "invoke:tool:*".parse().unwrap(),
        state: Lifecycle::Active,
    }
}

fn resource(id: &str) -> Resource {
    Resource {
        id: id.parse().unwrap(),
        description: "test".into(),
        sensitivity: Sensitivity::Public,
        personal: false,
        risk: Some(Risk::Low),
        egress: false,
        touches: BTreeSet::new(),
        owner: None,
        upstream: None,
        definition: None,
    }
}

/// `crm/ghost` is registered and not offered; `crm/extra` is offered and not registered.
fn manifest(url: &str) -> Desired {
    let credential = InjectedHeader { header: "authorization".into(), prefix: "Bearer ".into(), secret: "crm".into() };
    let crm = Upstream::Http { url: url.into(), credential: Some(credential) };
    let variable = InjectedVariable { variable: "CRM_KEY".into(), secret: "crm".into() };
    let local = Upstream::Stdio { command: "sh".into(), args: vec!["-c".into(), SCRIPT.into()], secrets: vec![variable] };
    Desired {
        identities: vec![identity(LEAD), identity(OTHER)],
        resources: vec![
            Resource { upstream: Some(crm), ..resource("service:crm") },
            Resource { upstream: Some(local), ..resource("service:local") },
            resource("tool:crm/find"),
            resource("tool:crm/drop"),
            resource("tool:crm/ghost"),
            Resource { risk: Some(Risk::High), egress: true, ..resource("tool:crm/send") },
            resource("tool:local/env"),
        ],
        policies: vec![PolicyText { name: "main.cedar".into(), text: POLICY.into() }],
        ..Desired::default()
    }
}
