//! An engine with one agent that has done something, and the console before it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, COOKIE, HOST, ORIGIN, SET_COOKIE};
use axum::http::{Request, StatusCode};
use axum::response::Response;
use marque_core::PersonId;
use marque_core::attestation::{Attestation, Selector};
use marque_core::event::{Body as What, By};
use marque_core::id::RecordId;
use marque_core::identity::{Kind, Lifecycle};
use marque_core::resource::{Action, Resource, Risk, Sensitivity};
use marque_engine::desired::{Desired, IdentitySpec, PolicyText};
use marque_engine::{
    ActionRequest, Caller, Engine, Entry, Env, Observed, Options, Query, TaskRequest, Verdict, sha256, start_time,
};
use serde_json::json;
use tempfile::TempDir;
use tower_service::Service as _;

pub(crate) const ADMIN: &str = "admin@example.com";
pub(crate) const ALICE: &str = "alice@example.com";
pub(crate) const AGENT: &str = "agent/lead";

const ISSUER: &str = "https://marque.example.org";
const TOOL: &str = "tool:crm/find";
const POLICY: &str = r#"@id("tools") permit (principal, action == Marque::Action::"invoke", resource is Marque::Tool);"#;

pub(crate) struct World {
    pub(crate) engine: Arc<Engine>,
    pub(crate) admin: Caller,
    window: Router,
    _dir: TempDir,
}

/// A whole page.
#[derive(Debug)]
pub(crate) struct Got {
    pub(crate) status: StatusCode,
    pub(crate) text: String,
}

impl World {
    pub(crate) async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let options = Options::new("example.org".parse().unwrap(), person(ADMIN), ISSUER.into());
        let engine = Engine::open(&dir.path().join("state"), Env::system(), options).await.unwrap();
        engine.add_person(By::System, &person(ALICE)).await.unwrap();
        let admin = Caller::Person(person(ADMIN));
        engine.apply(&admin, &manifest()).await.unwrap();
        let window = marque_console::router(Arc::clone(&engine));
        Self { engine, admin, window, _dir: dir }
    }

    /// Something that the agent did.
    pub(crate) async fn record(&self) -> RecordId {
        let instance = self.engine.attest(observed(), None).await.unwrap();
        let task = TaskRequest { identity: AGENT.into(), purpose: "test".into(), scope: None, ttl: None, calls: None };
        let task = self.engine.start_task(&self.admin, task).await.unwrap();
        let lease = self.engine.gateway_session(&instance, task.id).await.unwrap();
        let call = ActionRequest {
            lease,
            action: Action::Invoke,
            resource: TOOL.parse().unwrap(),
            arguments: json!({}),
            request: sha256(b"{}"),
            contents: Vec::new(),
            protocol: "mcp tools/call".into(),
            definition: Some(sha256(TOOL.as_bytes())),
            correlation: None,
            causes: Vec::new(),
        };
        match self.engine.authorize(call).await.unwrap() {
            // Dropped: what came of it is of no interest here.
            Verdict::Proceed(permit) => permit.record(),
            other => panic!("{other:?}"),
        }
    }

    /// Signs a person in: the cookie of their session.
    pub(crate) async fn sign_in(&self, name: &str) -> String {
        let credential = std::fs::read_to_string(self.engine.root().join(format!("people/{name}.token"))).unwrap();
        let request = Request::post("/sign-in")
            .header(HOST, "localhost")
            .header(ORIGIN, "http://localhost")
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(Body::from(format!("credential={credential}")));
        let response = self.ask(request.unwrap()).await;
        assert_eq!(response.status(), StatusCode::SEE_OTHER);
        let cookie = response.headers()[SET_COOKIE].to_str().unwrap();
        cookie.split(';').next().unwrap().to_owned()
    }

    /// Looks at a page, in a session or without one.
    pub(crate) async fn get(&self, path: &str, session: Option<&str>) -> Got {
        let mut request = Request::get(path);
        if let Some(session) = session {
            request = request.header(COOKIE, session);
        }
        let response = self.ask(request.body(Body::empty()).unwrap()).await;
        let status = response.status();
        let body = within(axum::body::to_bytes(response.into_body(), 1 << 20)).await.unwrap();
        Got { status, text: String::from_utf8(body.to_vec()).unwrap() }
    }

    async fn ask(&self, request: Request<Body>) -> Response {
        let mut window = self.window.clone();
        within(window.call(request)).await.unwrap()
    }

    /// All that the log says of its being read, the newest first: who, what, how many.
    pub(crate) fn reads(&self) -> Vec<(By, String, u64)> {
        let read = |entry: Entry| {
            let event = entry.event.unwrap();
            let What::LedgerRead { query, rows } = event.what else { panic!("{event:?}") };
            (event.by, query, rows)
        };
        let query = Query { kind: Some("ledger_read".into()), ..Query::default() };
        self.engine.query(&query).unwrap().entries.into_iter().map(read).collect()
    }
}

pub(crate) fn person(name: &str) -> PersonId {
    name.parse().unwrap()
}

/// Nothing here takes long.
async fn within<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(10), work).await.expect("it takes too long")
}

/// This process, of which one thing was seen.
fn observed() -> Observed {
    let pid = std::process::id();
    let selectors: BTreeSet<Selector> = BTreeSet::from([format!("unix:name:{AGENT}").parse().unwrap()]);
    Observed(Attestation { method: "unix".into(), pid, started: start_time(pid).unwrap(), selectors, until: None, node: None })
}

fn manifest() -> Desired {
    let identity = IdentitySpec {
        name: AGENT.into(),
        kind: Kind::Agent,
        owner: person(ADMIN),
        purpose: "test".into(),
        selectors: BTreeSet::from([format!("unix:name:{AGENT}").parse().unwrap()]),
        hint: None,
        nodes: BTreeSet::new(),
        ceiling: "invoke:tool:*".parse().unwrap(),
        state: Lifecycle::Active,
    };
    let resource = |id: &str| Resource {
        id: id.parse().unwrap(),
        description: "test".into(),
        sensitivity: Sensitivity::Public,
        personal: false,
        risk: Some(Risk::Low),
        egress: false,
        touches: BTreeSet::new(),
        owner: None,
        upstream: None,
        definition: id.starts_with("tool:").then(|| sha256(id.as_bytes())),
    };
    Desired {
        identities: vec![identity],
        resources: vec![resource("service:crm"), resource(TOOL)],
        policies: vec![PolicyText { name: "main.cedar".into(), text: POLICY.into() }],
        ..Desired::default()
    }
}
