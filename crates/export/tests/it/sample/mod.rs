//! One event of every kind, with every optional field and with none.

use std::collections::BTreeSet;

use marque_core::artifact::Artifact;
use marque_core::attestation::{Attestation, Instance};
use marque_core::decision::{Effect, Needs, Reason};
use marque_core::elevation::{Call, Elevation, Status};
use marque_core::event::{AuthorityStep, Body, By, Event, SCHEMA};
use marque_core::id::{ElevationId, EventId, InstanceId, LeaseId, ObserverId, RecordId, TaskId};
use marque_core::identity::{Identity, Kind, Lifecycle};
use marque_core::lease::{CredentialClass, Lease};
use marque_core::node::Admission;
use marque_core::record::{Consent, Content, Decided, Ending, Outcome, Posture};
use marque_core::resource::{Action, InjectedHeader, InjectedVariable, Resource, Risk, Sensitivity, Upstream};
use marque_core::revocation::{Epoch, Target};
use marque_core::scope::Scope;
use marque_core::task::{Budget, Task};
use marque_core::time::{Timestamp, Ttl};
use marque_core::{Commitment, Committed, Digest, PersonId, Prints};
use marque_export::chain::{File, Input, Lineage, Lines, Made, Output, Step, TaskStep};
use marque_export::{Entry, Source};

mod values;

use values::*;
pub use values::{artifact, decided};

/// Where the samples come from.
pub const SOURCE: Source<'_> = Source { origin: "example.org/marque/log", version: "1.2.3" };

/// A W3C trace context, as a caller sends it.
pub const TRACEPARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// Every kind: first with all that an event of it can carry, then with as little as it can.
pub fn events() -> Vec<Event> {
    bodies().into_iter().enumerate().map(|(i, what)| event(i, what)).collect()
}

/// An event of the log around `what`.
pub fn event(number: usize, what: Body) -> Event {
    let number = u8::try_from(number).unwrap();
    let by = match number % 3 {
        0 => By::Person(alice()),
        1 => By::Instance(instance()),
        _ => By::System,
    };
    let ts = Timestamp::from_micros(1_790_000_000_123_456 + i64::from(number) * 1_000_001);
    let obs = Some(ObserverId::from_bytes(ulid(9)));
    Event { id: EventId::from_bytes(ulid(number)), v: SCHEMA, ts, obs, iseq: u64::from(number) + 1, by, what }
}

/// Each event as an exporter takes it.
pub fn entries(events: &[Event]) -> Vec<Entry<'_>> {
    events.iter().zip(0..).map(|(event, index)| Entry { index, event, leaf: [u8::try_from(index % 256).unwrap(); 32] }).collect()
}

/// The first event of a kind, which is the one that carries everything.
pub fn full(kind: &str) -> Event {
    events().into_iter().find(|event| event.what.kind() == kind).unwrap()
}

/// The place of a kind in the list of all kinds. A kind that is added does not compile until it has one, and then fails
/// the test that looks for a sample of each.
pub fn place(what: &Body) -> usize {
    match what {
        Body::LogStarted { .. } => 0,
        Body::PersonAdded { .. } => 1,
        Body::IdentityApplied { .. } => 2,
        Body::IdentityMoved { .. } => 3,
        Body::ResourceApplied { .. } => 4,
        Body::ToolPinned { .. } => 5,
        Body::PolicyFile { .. } => 6,
        Body::PolicyActivated { .. } => 7,
        Body::InstanceAttested { .. } => 8,
        Body::InstanceEnded { .. } => 9,
        Body::AttestationRefused { .. } => 10,
        Body::TaskStarted { .. } => 11,
        Body::TaskFinished { .. } => 12,
        Body::LeaseIssued { .. } => 13,
        Body::IssueRefused { .. } => 14,
        Body::Decided(_) => 15,
        Body::Settled { .. } => 16,
        Body::ElevationRequested { .. } => 17,
        Body::ElevationVoted { .. } => 18,
        Body::ElevationApproved { .. } => 19,
        Body::ElevationRefused { .. } => 20,
        Body::ElevationExpired { .. } => 21,
        Body::ArtifactAttested { .. } => 22,
        Body::LedgerRead { .. } => 23,
        Body::Gap { .. } => 24,
        Body::Erased { .. } => 25,
        Body::Pruned { .. } => 26,
        Body::Revoked { .. } => 27,
        Body::AuthorityStepped { .. } => 28,
        Body::NodeTokenMade { .. } => 29,
        Body::NodeJoined { .. } => 30,
        Body::NodeBanned { .. } => 31,
    }
}

/// How many kinds there are.
pub const KINDS: usize = 32;

fn bodies() -> Vec<Body> {
    let mut all = inventory();
    all.extend(running());
    all.extend(trust());
    all.extend(actions());
    all.extend(elevations());
    all.extend(ledger());
    all
}

fn inventory() -> Vec<Body> {
    let bare_identity = Identity {
        owner: None,
        ceiling: Scope::default(),
        selectors: BTreeSet::new(),
        hint: None,
        nodes: BTreeSet::new(),
        kind: Kind::Service,
        ..identity()
    };
    let bare = Resource::bare("output:reports/weekly.md".parse().unwrap());
    let http = Upstream::Http { url: "https://crm.example.org/mcp".to_owned(), credential: Some(header("Bearer ")) };
    let http_bare = Upstream::Http { url: "http://127.0.0.1:1/mcp".to_owned(), credential: None };
    let stdio_bare = Upstream::Stdio { command: "server".to_owned(), args: Vec::new(), secrets: Vec::new() };
    let prefixless = Upstream::Http { url: "http://127.0.0.1:2/mcp".to_owned(), credential: Some(header("")) };
    let with = |upstream| Body::ResourceApplied { resource: Resource { upstream: Some(upstream), ..resource() } };
    vec![
        Body::LogStarted { trust_domain: "example.org".parse().unwrap() },
        Body::PersonAdded { person: alice(), credential: digest(1) },
        Body::IdentityApplied { identity: identity() },
        Body::IdentityApplied { identity: bare_identity },
        Body::IdentityMoved { identity: agent(), to: Lifecycle::Active, why: "first use".to_owned() },
        Body::IdentityMoved { identity: agent(), to: Lifecycle::Suspended, why: "odd | calls = \\ many\nlines".to_owned() },
        Body::IdentityMoved { identity: agent(), to: Lifecycle::Retired, why: "over".to_owned() },
        Body::IdentityMoved { identity: agent(), to: Lifecycle::Proposed, why: String::new() },
        Body::ResourceApplied { resource: resource() },
        with(http),
        with(http_bare),
        with(prefixless),
        with(stdio_bare),
        Body::ResourceApplied { resource: bare },
        Body::ToolPinned { tool: tool(), definition: digest(2) },
        Body::PolicyFile { name: "office.cedar".to_owned(), text: "permit (principal, action, resource);\n".to_owned() },
        Body::PolicyActivated { files: vec!["baseline.cedar".to_owned(), "office.cedar".to_owned()], digest: digest(3) },
    ]
}

fn running() -> Vec<Body> {
    let bare_instance = Instance { task: None, attestation: launched(), ..attested() };
    let bare_lease = Lease {
        holder: None,
        task: None,
        scope: Scope::default(),
        handle: String::new(),
        binding: None,
        class: CredentialClass::X509Svid,
        ..lease()
    };
    let bare_task = Task {
        parent: None,
        lineage: Vec::new(),
        budget: Budget::default(),
        elevation: None,
        purpose: Committed::Closed(Commitment::from_bytes([7; 32])).to_string(),
        ..task()
    };
    vec![
        Body::InstanceAttested { instance: attested() },
        Body::InstanceAttested { instance: bare_instance },
        Body::InstanceEnded { instance: instance() },
        Body::AttestationRefused { why: "no identity matches unix:uid:1000".to_owned() },
        Body::AttestationRefused { why: "no identity matches launched:argv_sha256:0f unix:uid:1000".to_owned() },
        Body::TaskStarted { task: task() },
        Body::TaskStarted { task: bare_task },
        Body::TaskFinished { task: task_id() },
        Body::LeaseIssued { lease: lease() },
        Body::LeaseIssued { lease: bare_lease },
        Body::IssueRefused { identity: agent(), why: "`export:dataset:crm` is wider than the parent task".to_owned() },
    ]
}

/// The hosts and the keys of the trust domain.
fn trust() -> Vec<Body> {
    let joined = |how, selectors| Body::NodeJoined {
        node: "web-1".parse().unwrap(),
        how,
        selectors,
        certificate: "5f3a".to_owned(),
        expires: at(3600),
    };
    let stepped = |step, authority: &str, why: &str| Body::AuthorityStepped {
        step,
        signs: "x509".to_owned(),
        authority: authority.to_owned(),
        sequence: 4,
        why: why.to_owned(),
    };
    vec![
        Body::NodeTokenMade { node: "web-1".parse().unwrap(), token: digest(14), expires: at(600) },
        joined(Admission::JoinToken, BTreeSet::from(["x509pop:issuer:factory".parse().unwrap()])),
        joined(Admission::X509Pop, BTreeSet::new()),
        joined(Admission::Renewal, BTreeSet::new()),
        Body::NodeBanned { node: "web-1".parse().unwrap(), why: "sold".to_owned() },
        stepped(AuthorityStep::Prepared, "", "on schedule"),
        stepped(AuthorityStep::Activated, "8d1e", "on schedule"),
        stepped(AuthorityStep::Tainted, "8d1e", "the disk was copied"),
        stepped(AuthorityStep::Revoked, "8d1e", "the disk was copied"),
        stepped(AuthorityStep::Forgotten, "8d1e", ""),
    ]
}

fn actions() -> Vec<Body> {
    let bare = Decided {
        intent: String::new(),
        posture: Posture::default(),
        consent: Consent::NotNeeded,
        obligations: Vec::new(),
        correlation: None,
        causes: Vec::new(),
        contents: Vec::new(),
        elevation: None,
        effect: Effect::Deny,
        action: Action::Read,
        protocol: "mcp resources/read".to_owned(),
        reasons: vec![Reason::built_in("default-deny", "nothing permits it")],
        request: Committed::Closed(Commitment::from_bytes([8; 32])),
        arguments: Committed::Closed(Commitment::from_bytes([9; 32])),
        ..decided()
    };
    let held = Decided { effect: Effect::Hold, consent: Consent::Pending, correlation: Some("7".to_owned()), ..decided() };
    let plain = Decided { protocol: "a2a message/send".to_owned(), action: Action::Delegate, ..decided() };
    let answered = Outcome {
        ending: Ending::Answered,
        status: 200,
        response: Some(Committed::Open(digest(4))),
        bytes: 4096,
        contents: vec![content()],
    };
    let failed = Outcome { ending: Ending::Failed, status: 502, contents: Vec::new(), ..answered.clone() };
    let cut = Outcome { ending: Ending::Cut, status: 200, ..answered.clone() };
    let settled = |principal, outcome| Body::Settled { record: record(), principal, outcome };
    vec![
        Body::Decided(Box::new(decided())),
        Body::Decided(Box::new(bare)),
        Body::Decided(Box::new(held)),
        Body::Decided(Box::new(plain)),
        settled(Some(alice()), answered),
        settled(None, failed),
        settled(None, cut),
        settled(None, Outcome::abandoned()),
    ]
}

fn elevations() -> Vec<Body> {
    let open = elevation(Status::Pending);
    let mut bare = elevation(Status::Expired);
    bare.call.definition = None;
    bare.reasons.iter_mut().for_each(|reason| reason.at = None);
    bare.barred.clear();
    bare.votes.clear();
    let held = |elevation| Body::ElevationRequested { elevation: Box::new(elevation) };
    vec![
        held(open),
        held(bare),
        held(elevation(Status::Approved { task: task_id() })),
        held(elevation(Status::Refused { by: bob() })),
        Body::ElevationVoted { elevation: elevation_id(), by: bob() },
        Body::ElevationApproved { elevation: elevation_id(), by: bob(), task: task() },
        Body::ElevationRefused { elevation: elevation_id(), by: bob(), why: "not today".to_owned() },
        Body::ElevationExpired { elevation: elevation_id() },
    ]
}

fn ledger() -> Vec<Body> {
    let bare = Artifact { instance: None, inputs: Vec::new(), ..artifact() };
    let revoked = |target| Body::Revoked { target, epoch: Epoch(12), why: "stolen laptop".to_owned() };
    vec![
        Body::ArtifactAttested { artifact: artifact() },
        Body::ArtifactAttested { artifact: bare },
        Body::LedgerRead { query: "person=user:alice@example.com".to_owned(), rows: 17 },
        Body::Gap { observer: ObserverId::from_bytes(ulid(9)), from: 4, to: 6 },
        Body::Erased { person: alice(), pseudonym: PersonId::pseudonym([5; 16]) },
        Body::Pruned { below: 65_536, policy: "entries older than 190 days".to_owned() },
        revoked(Target::Lease(lease_id())),
        revoked(Target::Task(task_id())),
        revoked(Target::Instance(instance())),
        revoked(Target::Identity(agent())),
        revoked(Target::Owner(alice())),
        revoked(Target::Elevation(elevation_id())),
    ]
}

/// A report of which lines 1 to 12 came from one action and lines 20 to 31 from another, that had read the first one's.
pub fn lineage() -> Lineage {
    let delegated = Step {
        record: RecordId::from_bytes(ulid(30)),
        action: Action::Read,
        resource: "service:crm".parse().unwrap(),
        effect: Effect::Allow,
        decided: at(10),
        settled: None,
        identity: "spiffe://example.org/agent/statistics".parse().unwrap(),
        instance: InstanceId::from_bytes(ulid(31)),
        tasks: tasks(),
        index: 41,
        outputs: vec![output(8, Some(Lines { first: 20, last: 31 }))],
        inputs: Vec::new(),
    };
    let writer = Step {
        record: record(),
        action: Action::Invoke,
        resource: tool(),
        settled: Some(at(22)),
        decided: at(20),
        identity: agent(),
        instance: instance(),
        tasks: tasks().split_off(1),
        index: 57,
        outputs: vec![output(7, Some(Lines { first: 1, last: 12 })), output(6, None)],
        inputs: vec![
            Input { digest: Some(Committed::Open(digest(8))), cause: Some(delegated.record) },
            Input { digest: Some(Committed::Closed(Commitment::from_bytes([9; 32]))), cause: None },
            Input { digest: None, cause: Some(RecordId::from_bytes(ulid(32))) },
        ],
        ..delegated.clone()
    };
    let file = File { name: Some("weekly report.md".to_owned()), digest: Committed::Open(digest(11)) };
    Lineage { file, steps: vec![writer, delegated], made: vec![made()] }
}

/// A file that a person said was made from the report and from something that was erased.
pub fn made() -> Made {
    Made {
        file: File { name: Some("model.bin".to_owned()), digest: Committed::Open(digest(12)) },
        task: tasks()[0].task,
        identity: agent(),
        instance: None,
        tasks: tasks(),
        attested: at(30),
        attested_by: Some(By::Person(alice())),
        index: 63,
        inputs: vec![Committed::Open(digest(11)), Committed::Closed(Commitment::from_bytes([13; 32]))],
        outputs: Vec::new(),
    }
}

/// A delegated task, the task of an approval above it, and the one that a person started.
pub fn tasks() -> Vec<TaskStep> {
    let step = |task, actor: &str, principal, elevation| TaskStep {
        task,
        actor: actor.parse().unwrap(),
        principal,
        purpose: "the weekly report".to_owned(),
        elevation,
    };
    vec![
        step(TaskId::from_bytes(ulid(33)), "spiffe://example.org/agent/statistics", bob(), Some(elevation_id())),
        step(task_id(), "spiffe://example.org/agent/letters", alice(), None),
        step(parent_id(), "spiffe://example.org/agent/letters", alice(), None),
    ]
}

fn output(byte: u8, lines: Option<Lines>) -> Output {
    Output { digest: Committed::Open(digest(byte)), lines, class: Some("fragment".to_owned()) }
}
