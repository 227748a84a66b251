//! An engine with two agents, a tool and three people, and requests to routers before it.

use std::collections::BTreeSet;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use marque_core::PersonId;
use marque_core::attestation::{Attestation, Instance, Selector};
use marque_core::event::By;
use marque_core::id::LeaseId;
use marque_core::identity::{Kind, Lifecycle};
use marque_core::resource::{Resource, Risk, Sensitivity};
use marque_core::spiffe::SpiffeId;
use marque_core::task::Task;
use marque_engine::desired::{Desired, IdentitySpec, PolicyText};
use marque_engine::{Applied, Caller, Engine, EngineError, Env, Observed, Options, TaskRequest, Workload, observe, start_time};
use marque_server::api::{Api, router};
use marque_server::launch::Door;
use serde_json::Value;
use tempfile::TempDir;
use tokio::net::TcpStream;
use tower_service::Service as _;

pub(crate) const ISSUER: &str = "https://marque.example.org";
pub(crate) const GATEWAY: &str = "spiffe://example.org/marque/gateway";
pub(crate) const ADMIN: &str = "admin@example.com";
pub(crate) const ALICE: &str = "alice@example.com";
pub(crate) const OWNER: &str = "owner@example.com";
pub(crate) const LEAD: &str = "agent/lead";
pub(crate) const WORKER: &str = "agent/worker";
/// What this very process is.
pub(crate) const ME: &str = "agent/me";

const POLICY: &str = r#"
@id("tools") permit (principal, action == Marque::Action::"invoke", resource is Marque::Tool);
@id("delegation") permit (principal, action == Marque::Action::"delegate", resource);
"#;

/// A running copy of an identity, with its X.509-SVID.
pub(crate) struct Agent {
    pub(crate) instance: Instance,
    pub(crate) workload: Workload,
}

/// Launches whose gateway is none.
pub(crate) struct NoDoor;

impl Door for NoDoor {
    fn serve(&self, _: TcpStream, _: LeaseId) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(std::future::ready(()))
    }
}

/// A whole answer.
#[derive(Debug)]
pub(crate) struct Got {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

pub(crate) struct World {
    pub(crate) engine: Arc<Engine>,
    pub(crate) admin: Caller,
    pub(crate) alice: Caller,
    _dir: TempDir,
}

impl World {
    pub(crate) async fn start() -> Self {
        Self::start_as(|_| {}).await
    }

    /// The same with other options.
    pub(crate) async fn start_as(change: impl FnOnce(&mut Options)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut options = Options::new("example.org".parse().unwrap(), person(ADMIN), ISSUER.into());
        change(&mut options);
        let engine = Engine::open(&dir.path().join("state"), Env::system(), options).await.unwrap();
        engine.add_person(By::System, &person(ALICE)).await.unwrap();
        let [admin, alice] = [ADMIN, ALICE].map(|name| Caller::Person(person(name)));
        engine.apply(&admin, &manifest()).await.unwrap();
        Self { engine, admin, alice, _dir: dir }
    }

    /// The same, and this process is an agent.
    pub(crate) async fn with_me() -> Self {
        Self::with_me_on(&[]).await
    }

    /// The same, on these nodes only.
    pub(crate) async fn with_me_on(nodes: &[&str]) -> Self {
        let world = Self::start().await;
        let nodes = nodes.iter().map(|node| node.parse().unwrap()).collect();
        world.register(IdentitySpec { nodes, ..me(ME) }).await.unwrap();
        world
    }

    /// The program of a process is an agent from now on.
    pub(crate) async fn register_program(&self, name: &str, pid: u32) {
        self.register(program(name, pid)).await.unwrap();
    }

    /// Registers an identity, or changes it.
    pub(crate) async fn register(&self, identity: IdentitySpec) -> Result<Applied, EngineError> {
        let mut desired = manifest();
        desired.identities.push(identity);
        self.engine.apply(&self.admin, &desired).await
    }

    /// Attests this process as `name` and gives it an SVID.
    pub(crate) async fn agent(&self, name: &str) -> Agent {
        let pid = std::process::id();
        let selectors: BTreeSet<Selector> = BTreeSet::from([format!("unix:name:{name}").parse().unwrap()]);
        let seen = Observed(Attestation {
            method: "unix".into(),
            pid,
            started: start_time(pid).unwrap(),
            selectors,
            until: None,
            node: None,
        });
        let instance = self.engine.attest(seen, None).await.unwrap();
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

    /// The administrator's bootstrap credential, from its file.
    pub(crate) fn credential(&self) -> String {
        let file = self.engine.root().join(format!("people/{ADMIN}.token"));
        format!("Bearer {}", std::fs::read_to_string(file).unwrap())
    }

    /// Asks the administration API.
    pub(crate) async fn api(&self, request: Request<Body>) -> Got {
        ask(router(Api { engine: Arc::clone(&self.engine), launches: None }, None), request).await
    }

    /// Asks the administration API as the administrator, in JSON.
    pub(crate) async fn admin(&self, method: &str, path: &str, body: &str) -> Got {
        self.api(json_request(method, path, Some(&self.credential()), body)).await
    }
}

impl Got {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }

    /// The code of an error that is told as every other: `{"error", "message"}`.
    pub(crate) fn code(&self) -> String {
        let json = self.json();
        let fields: BTreeSet<&str> = json.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(fields, BTreeSet::from(["error", "message"]), "{self:?}");
        assert!(json["message"].as_str().is_some_and(|m| !m.is_empty()), "{self:?}");
        json["error"].as_str().unwrap().to_owned()
    }
}

pub(crate) async fn ask(mut router: Router, request: Request<Body>) -> Got {
    let (parts, body) = within(router.call(request)).await.unwrap().into_parts();
    let body = within(axum::body::to_bytes(body, 1 << 20)).await.unwrap();
    Got { status: parts.status, headers: parts.headers, body }
}

pub(crate) fn json_request(method: &str, path: &str, credential: Option<&str>, body: &str) -> Request<Body> {
    let mut builder = Request::builder().method(method).uri(path).header("content-type", "application/json");
    if let Some(credential) = credential {
        builder = builder.header("authorization", credential);
    }
    builder.body(Body::from(body.to_owned())).unwrap()
}

/// Nothing here takes long.
pub(crate) async fn within<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(10), work).await.expect("it takes too long")
}

pub(crate) fn person(name: &str) -> PersonId {
    name.parse().unwrap()
}

pub(crate) fn spiffe(name: &str) -> SpiffeId {
    format!("spiffe://example.org/{name}").parse().unwrap()
}

/// What makes this very process an identity of that name.
pub(crate) fn me(name: &str) -> IdentitySpec {
    program(name, std::process::id())
}

/// What makes the program of a process an identity of that name.
pub(crate) fn program(name: &str, pid: u32) -> IdentitySpec {
    let seen = observe(pid).unwrap().selectors;
    let path = seen.into_iter().find(|s| s.as_str().starts_with("unix:path:")).unwrap();
    IdentitySpec { selectors: BTreeSet::from([path]), ..identity(name, "invoke:tool:*") }
}

fn identity(name: &str, ceiling: &str) -> IdentitySpec {
    IdentitySpec {
        name: name.into(),
        kind: Kind::Agent,
        owner: person(OWNER),
        purpose: "test".into(),
        selectors: BTreeSet::from([format!("unix:name:{name}").parse().unwrap()]),
        hint: None,
        nodes: BTreeSet::new(),
        ceiling: ceiling.parse().unwrap(),
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

fn manifest() -> Desired {
    Desired {
        identities: vec![identity(LEAD, "invoke:tool:* delegate:identity:agent/*"), identity(WORKER, "invoke:tool:crm/*")],
        resources: vec![resource("service:crm"), resource("tool:crm/find"), resource("tool:mail/send")],
        policies: vec![PolicyText { name: "main.cedar".into(), text: POLICY.into() }],
        ..Desired::default()
    }
}
