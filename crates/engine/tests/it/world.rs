//! A state directory with two agents, some tools and one policy file, and a clock of its own.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use marque_core::attestation::{Attestation, Instance, Selector};
use marque_core::event::{By, Event};
use marque_core::id::{ElevationId, LeaseId};
use marque_core::identity::{Kind, Lifecycle};
use marque_core::record::{Ending, Outcome};
use marque_core::resource::{Action, Resource, Risk, Sensitivity};
use marque_core::scope::Scope;
use marque_core::spiffe::SpiffeId;
use marque_core::task::Task;
use marque_core::time::Timestamp;
use marque_core::{Digest, PersonId};
use marque_engine::desired::{Desired, IdentitySpec, PolicyText};
use marque_engine::{
    ActionRequest, Caller, Clock, Engine, Env, Exchange, Exchanged, IssuedX509, KeyKind, Observed, Options, Permit, Retention,
    State, SystemEntropy, TaskRequest, TokenType, Verdict, Workload, sha256, start_time,
};
use marque_ledger::{LogFiles, Verifier, verify_log};
use serde_json::Value;
use tempfile::TempDir;

pub(crate) const ISSUER: &str = "https://marque.example.org";
pub(crate) const GATEWAY: &str = "spiffe://example.org/marque/gateway";
pub(crate) const ADMIN: &str = "admin@example.com";
pub(crate) const ALICE: &str = "alice@example.com";
pub(crate) const BOB: &str = "bob@example.com";
pub(crate) const OWNER: &str = "owner@example.com";
pub(crate) const LEAD: &str = "agent/lead";
pub(crate) const WORKER: &str = "agent/worker";
pub(crate) const ORIGIN: &str = "example.org/marque/log";

pub(crate) const POLICY: &str = r#"
@id("tools") permit (principal, action == Marque::Action::"invoke", resource is Marque::Tool);
@id("delegation") permit (principal, action == Marque::Action::"delegate", resource);
@id("mail-out") @elevation("mail-out") @ttl("15m") @reason("mail leaves the organisation")
forbid (principal, action == Marque::Action::"invoke", resource is Marque::Tool)
when { resource.egress } unless { context.approved.contains("mail-out") };
@id("never-drop") @reason("nothing is dropped")
forbid (principal, action == Marque::Action::"invoke", resource is Marque::Tool) when { resource.name == "crm/drop" };
"#;

/// A clock that stands still until it is moved.
#[derive(Debug)]
pub(crate) struct TestClock(AtomicI64);

impl TestClock {
    /// Moves the clock, also back.
    pub(crate) fn advance(&self, seconds: i64) {
        self.0.fetch_add(seconds * 1_000_000, Ordering::SeqCst);
    }
}

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.0.load(Ordering::SeqCst))
    }
}

/// A state directory that no engine holds.
pub(crate) struct Closed {
    dir: TempDir,
    clock: Arc<TestClock>,
}

impl Closed {
    pub(crate) fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap(), clock: Arc::new(TestClock(AtomicI64::new(1_760_000_000_000_000))) }
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.dir.path().join("state")
    }

    /// A copy of the directory, as the end of the process at this moment would leave it.
    pub(crate) fn killed(&self) -> Self {
        let copy = Self { dir: tempfile::tempdir().unwrap(), clock: Arc::clone(&self.clock) };
        copy_all(&self.root(), &copy.root());
        copy
    }

    pub(crate) async fn try_open(&self) -> Result<Arc<Engine>, marque_engine::EngineError> {
        self.try_open_keeping(None).await
    }

    /// With a rule of retention.
    pub(crate) async fn try_open_keeping(&self, retention: Option<Retention>) -> Result<Arc<Engine>, marque_engine::EngineError> {
        let clock: Arc<dyn Clock> = self.clock.clone();
        let options = Options::new("example.org".parse().unwrap(), person(ADMIN), ISSUER.into());
        let options = Options { retention, ..options };
        Engine::open(&self.root(), Env { clock, entropy: Arc::new(SystemEntropy) }, options).await
    }

    pub(crate) async fn open(self) -> World {
        self.open_keeping(None).await
    }

    pub(crate) async fn open_keeping(self, retention: Option<Retention>) -> World {
        let engine = self.try_open_keeping(retention).await.unwrap();
        let [admin, alice, bob] = [ADMIN, ALICE, BOB].map(|name| Caller::Person(person(name)));
        World { engine, admin, alice, bob, closed: self }
    }
}

/// A running copy of an identity, with its X.509-SVID.
pub(crate) struct Agent {
    pub(crate) instance: Instance,
    pub(crate) workload: Workload,
}

/// An engine at work.
pub(crate) struct World {
    pub(crate) engine: Arc<Engine>,
    pub(crate) admin: Caller,
    pub(crate) alice: Caller,
    pub(crate) bob: Caller,
    pub(crate) closed: Closed,
}

impl World {
    /// An engine that knows three people and nothing else.
    pub(crate) async fn empty() -> Self {
        let world = Closed::new().open().await;
        for name in [ALICE, BOB] {
            world.engine.add_person(By::System, &person(name)).await.unwrap();
        }
        world
    }

    /// An engine with the manifest applied.
    pub(crate) async fn start() -> Self {
        let world = Self::empty().await;
        world.engine.apply(&world.admin, &manifest()).await.unwrap();
        world
    }

    /// Lets go of the directory.
    pub(crate) fn close(self) -> Closed {
        assert_eq!(Arc::strong_count(&self.engine), 1, "something still holds the engine");
        self.closed
    }

    pub(crate) fn advance(&self, seconds: i64) {
        self.closed.clock.advance(seconds);
    }

    /// Does what is due by time, keys too.
    pub(crate) async fn tick(&self) {
        for kind in [KeyKind::X509, KeyKind::Jwt, KeyKind::Wit] {
            assert!(self.engine.rotate(kind).await.unwrap(), "{kind:?}");
        }
        self.engine.tick().await.unwrap();
    }

    pub(crate) fn state(&self) -> State {
        self.engine.state().clone()
    }

    /// Attests this process as `name` and gives it an SVID.
    pub(crate) async fn agent(&self, name: &str) -> Agent {
        let instance = self.engine.attest(observed(&[&named(name)]), None).await.unwrap();
        let issued = self.engine.x509_svid(&instance).await.unwrap();
        let workload = self.engine.authenticate_certificate(&chain(&issued)).unwrap();
        Agent { instance, workload }
    }

    /// A root task of Alice.
    pub(crate) async fn task(&self, actor: &str, scope: Option<&str>) -> Task {
        self.engine.start_task(&self.alice, request(actor, scope)).await.unwrap()
    }

    /// A JWT-SVID for the token endpoint.
    pub(crate) async fn jwt(&self, agent: &Agent) -> String {
        self.engine.jwt_svid(&agent.instance, &[ISSUER.to_owned()]).await.unwrap()
    }

    /// The request for a token of a task that the agent was given.
    pub(crate) async fn own(&self, agent: &Agent, task: &Task) -> Exchange {
        Exchange { task: Some(task.id), ..asks(agent, &self.jwt(agent).await, TokenType::Jwt) }
    }

    /// A token of a task that the agent was given.
    pub(crate) async fn token(&self, agent: &Agent, task: &Task) -> Exchanged {
        self.engine.exchange(self.own(agent, task).await).await.unwrap()
    }

    pub(crate) async fn permit(&self, request: ActionRequest) -> Permit {
        match self.engine.authorize(request).await.unwrap() {
            Verdict::Proceed(permit) => permit,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) async fn held(&self, request: ActionRequest) -> ElevationId {
        match self.engine.authorize(request).await.unwrap() {
            Verdict::Hold { elevation, .. } => elevation,
            other => panic!("{other:?}"),
        }
    }

    /// The rule that denies.
    pub(crate) async fn denied(&self, request: ActionRequest) -> String {
        match self.engine.authorize(request).await.unwrap() {
            Verdict::Deny { reasons, .. } => reasons[0].policy.clone(),
            other => panic!("{other:?}"),
        }
    }

    /// Publishes a checkpoint over everything so far.
    pub(crate) async fn publish(&self) {
        self.engine.drain().await.unwrap();
        self.advance(2);
        assert_eq!(self.engine.publish().unwrap().size, self.engine.log_size());
    }

    /// The log's public key, from its file.
    pub(crate) fn verifier(&self) -> Verifier {
        std::fs::read_to_string(self.closed.root().join("ledger/verifier")).unwrap().trim().parse().unwrap()
    }

    /// Every entry of the published log, once all of its files have been verified.
    pub(crate) async fn entries(&self) -> Vec<Vec<u8>> {
        self.publish().await;
        let mut entries = Vec::new();
        let files = Files(self.closed.root().join("ledger"));
        let report = verify_log(&files, ORIGIN, &[self.verifier()], &mut |_: u64, entry: &[u8]| {
            entries.push(entry.to_vec());
            Ok(())
        });
        assert!(report.is_ok(), "{:?}", report.faults);
        entries
    }

    /// Every event of the published log.
    pub(crate) async fn events(&self) -> Vec<Event> {
        self.entries().await.iter().map(|entry| Event::from_bytes(entry).unwrap()).collect()
    }
}

struct Files(PathBuf);

impl LogFiles for Files {
    fn read(&self, path: &str) -> marque_ledger::Result<Option<Vec<u8>>> {
        Ok(std::fs::read(self.0.join(path)).ok())
    }
}

pub(crate) fn copy_all(from: &Path, to: &Path) {
    if from.is_dir() {
        std::fs::create_dir_all(to).unwrap();
        for entry in std::fs::read_dir(from).unwrap() {
            let entry = entry.unwrap();
            copy_all(&entry.path(), &to.join(entry.file_name()));
        }
    } else {
        std::fs::copy(from, to).unwrap();
    }
}

pub(crate) fn person(name: &str) -> PersonId {
    name.parse().unwrap()
}

pub(crate) fn spiffe(name: &str) -> SpiffeId {
    format!("spiffe://example.org/{name}").parse().unwrap()
}

/// The one selector of the identity `name`.
pub(crate) fn named(name: &str) -> String {
    format!("unix:name:{name}")
}

/// This process, of which these selectors were seen.
pub(crate) fn observed(selectors: &[&str]) -> Observed {
    let pid = std::process::id();
    let selectors = selectors.iter().map(|s| s.parse::<Selector>().unwrap()).collect();
    Observed(Attestation { method: "unix".into(), pid, started: start_time(pid).unwrap(), selectors, until: None, node: None })
}

pub(crate) fn chain(issued: &IssuedX509) -> Vec<&[u8]> {
    issued.svid.chain.iter().map(Vec::as_slice).collect()
}

pub(crate) fn request(actor: &str, scope: Option<&str>) -> TaskRequest {
    let scope: Option<Scope> = scope.map(|s| s.parse().unwrap());
    TaskRequest { identity: actor.into(), purpose: "test".into(), scope, ttl: None, calls: None }
}

/// An exchange of this subject token, without an actor, for all that may be had.
pub(crate) fn asks(agent: &Agent, subject: &str, kind: TokenType) -> Exchange {
    let subject = (subject.to_owned(), kind);
    Exchange { client: agent.workload.clone(), subject, actor: None, task: None, scope: None, purpose: None }
}

/// A call of a tool whose definition is the registered one.
pub(crate) fn call(lease: LeaseId, tool: &str, arguments: Value) -> ActionRequest {
    ActionRequest {
        lease,
        action: Action::Invoke,
        resource: tool.parse().unwrap(),
        request: sha256(arguments.to_string().as_bytes()),
        arguments,
        contents: Vec::new(),
        protocol: "mcp tools/call".into(),
        definition: Some(definition(tool)),
        correlation: None,
        causes: Vec::new(),
    }
}

pub(crate) fn definition(tool: &str) -> Digest {
    sha256(tool.as_bytes())
}

pub(crate) fn answered() -> Outcome {
    Outcome { ending: Ending::Answered, status: 200, response: Some(sha256(b"ok").into()), bytes: 2, contents: Vec::new() }
}

pub(crate) fn agent(name: &str, ceiling: &str) -> IdentitySpec {
    IdentitySpec {
        name: name.into(),
        kind: Kind::Agent,
        owner: person(OWNER),
        purpose: "test".into(),
        selectors: BTreeSet::from([named(name).parse().unwrap()]),
        hint: None,
        nodes: BTreeSet::new(),
        ceiling: ceiling.parse().unwrap(),
        state: Lifecycle::Active,
    }
}

/// A classified resource; a tool's definition is registered.
pub(crate) fn resource(id: &str) -> Resource {
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
        definition: id.starts_with("tool:").then(|| definition(id)),
    }
}

pub(crate) fn policy(name: &str, text: &str) -> PolicyText {
    PolicyText { name: name.into(), text: text.into() }
}

pub(crate) fn manifest() -> Desired {
    Desired {
        identities: vec![
            agent(LEAD, "invoke:tool:* delegate:identity:agent/* read:dataset:*"),
            agent(WORKER, "invoke:tool:crm/* invoke:tool:mail/*"),
        ],
        resources: vec![
            resource("service:crm"),
            resource("service:mail"),
            resource("tool:crm/find"),
            resource("tool:crm/drop"),
            Resource { risk: None, ..resource("tool:crm/raw") },
            Resource { risk: Some(Risk::High), egress: true, ..resource("tool:mail/send") },
        ],
        policies: vec![policy("main.cedar", POLICY)],
        ..Desired::default()
    }
}
