//! Events as a busy office makes them, from a seed: people, identities, running copies, tasks with a credential each, and
//! calls, each a decision and an outcome. They are the schema's own and go into a log as the engine's do.

use std::collections::{BTreeSet, VecDeque};

use marque_core::attestation::{Attestation, Instance, Selector};
use marque_core::decision::{Effect, Reason};
use marque_core::event::{Body, By, Event, SCHEMA};
use marque_core::id::{EventId, InstanceId, LeaseId, ObserverId, RecordId, TaskId};
use marque_core::identity::{Identity, Kind, Lifecycle};
use marque_core::lease::{CredentialClass, Lease};
use marque_core::record::{Consent, Decided, Ending, Outcome, Posture};
use marque_core::resource::{Action, ResourceId, ResourceKind, Sensitivity};
use marque_core::revocation::Epoch;
use marque_core::scope::Scope;
use marque_core::spiffe::TrustDomain;
use marque_core::task::{Budget, Task, Want};
use marque_core::time::{Cx, Timestamp, Ttl};
use marque_core::{Digest, PersonId};
use marque_engine::{content, sha256};

use crate::Result;
use crate::random::{Random, Words};

/// How many of what, and when.
#[derive(Clone, Copy)]
pub struct Plan {
    /// The seed of everything.
    pub seed: u64,
    /// About how many events will be asked for.
    pub events: u64,
    /// The moment of the last of them, in microseconds since the Unix epoch.
    pub until: i64,
    /// Over how many microseconds they are spread.
    pub span: i64,
    /// How many observers number them.
    pub observers: usize,
}

/// An event, and whose data it carries.
pub struct Made {
    /// The event.
    pub event: Event,
    /// Under whose key its private fields go.
    pub subject: Option<PersonId>,
    /// Which observer numbered it.
    pub lane: usize,
}

/// What can be asked for afterwards.
#[derive(Default)]
pub struct Known {
    /// Names of identities, as paths.
    pub identities: Vec<String>,
    /// Tasks.
    pub tasks: Vec<TaskId>,
    /// The credential of each task.
    pub leases: Vec<LeaseId>,
    /// Texts of 10 kB that outcomes carried.
    pub documents: Vec<String>,
}

/// Makes events.
pub struct World {
    /// What there is so far.
    pub known: Known,
    plan: Plan,
    random: Random,
    words: Words,
    trust_domain: TrustDomain,
    policy: Digest,
    people: Vec<PersonId>,
    tools: Vec<ResourceId>,
    copies: Vec<(Identity, Instance)>,
    lanes: Vec<(ObserverId, u64)>,
    open: Vec<Work>,
    ready: VecDeque<(By, Body, Option<PersonId>)>,
    made: u64,
    calls: u64,
}

/// A task under way.
struct Work {
    task: Task,
    instance: InstanceId,
    lease: LeaseId,
    left: u64,
}

impl World {
    /// A world in which nothing has happened yet.
    pub fn new(plan: Plan) -> Result<Self> {
        let mut random = Random::new(plan.seed);
        let words = Words::new(&mut random);
        let people = (0..PEOPLE).map(|n| format!("user:person-{n}@example.com").parse::<PersonId>());
        let tools = (0..TOOLS).map(|n| ResourceId::new(ResourceKind::Tool, &format!("office/tool-{n}")));
        let mut world = Self {
            known: Known::default(),
            plan,
            words,
            trust_domain: "example.org".parse()?,
            policy: sha256(b"the policies in force"),
            people: people.collect::<std::result::Result<_, _>>()?,
            tools: tools.collect::<std::result::Result<_, _>>()?,
            copies: Vec::new(),
            lanes: Vec::new(),
            open: Vec::new(),
            ready: VecDeque::new(),
            made: 0,
            calls: 0,
            random,
        };
        for _ in 0..plan.observers.max(1) {
            let observer = world.with_cx(ObserverId::fresh);
            world.lanes.push((observer, 0));
        }
        world.begin()?;
        Ok(world)
    }

    /// The next event.
    pub fn next(&mut self) -> Result<Made> {
        while self.ready.is_empty() {
            self.work()?;
        }
        let (by, what, subject) = self.ready.pop_front().ok_or("nothing happens")?;
        let lane = (self.made % self.lanes.len().max(1) as u64) as usize;
        self.made += 1;
        let ts = self.now();
        let id = self.with_cx(EventId::fresh);
        let (observer, iseq) = self.lanes.get_mut(lane).ok_or("there is no observer")?;
        *iseq += 1;
        let event = Event { id, v: SCHEMA, ts, obs: Some(*observer), iseq: *iseq, by, what };
        Ok(Made { event, subject, lane })
    }

    /// How many events it takes until the first task starts.
    pub fn opening(&self) -> u64 {
        self.ready.len() as u64
    }

    /// A text of at least so many bytes that nobody has recorded.
    pub fn text(&mut self, bytes: usize) -> String {
        self.words.text(&mut self.random, bytes)
    }

    /// A number below `bound`.
    pub fn below(&mut self, bound: usize) -> usize {
        self.random.below(bound)
    }

    fn now(&self) -> Timestamp {
        let gone = self.made.min(self.plan.events) as f64 / self.plan.events.max(1) as f64;
        Timestamp::from_micros(self.plan.until - self.plan.span + (self.plan.span as f64 * gone) as i64)
    }

    fn with_cx<T>(&mut self, make: impl FnOnce(&mut Cx<'_>) -> T) -> T {
        let now = self.now();
        let random = &mut self.random;
        let mut entropy = || random.wide();
        make(&mut Cx::new(now, &mut entropy))
    }

    /// People, identities, and a running copy of each.
    fn begin(&mut self) -> Result<()> {
        let identities = IDENTITIES.min(self.plan.events / 40).max(1);
        for person in self.people.clone() {
            let credential = sha256(person.to_string().as_bytes());
            self.ready.push_back((By::System, Body::PersonAdded { person, credential }, None));
        }
        for n in 0..identities {
            let name = format!("agent/a-{n}");
            let owner = self.random.pick(&self.people).cloned();
            let selectors = BTreeSet::from([Selector::new("unix", "path", format!("/bench/a-{n}"))?]);
            let identity = Identity {
                id: self.trust_domain.join(&format!("/{name}"))?,
                kind: Kind::Agent,
                owner,
                purpose: "Prepares the weekly customer report".into(),
                selectors: selectors.clone(),
                hint: None,
                nodes: BTreeSet::new(),
                ceiling: "invoke:tool:office/*".parse()?,
                state: Lifecycle::Active,
                epoch: Epoch(0),
            };
            // No process of this host has such a number.
            let pid = (1 << 23) + n as u32;
            let attestation = Attestation { method: "unix".into(), pid, started: n, selectors, until: None, node: None };
            let (id, since) = (self.with_cx(InstanceId::fresh), self.now());
            let instance = Instance { id, identity: identity.id.clone(), attestation, task: None, since, epoch: Epoch(0) };
            self.ready.push_back((By::System, Body::IdentityApplied { identity: identity.clone() }, None));
            self.ready.push_back((By::System, Body::InstanceAttested { instance: instance.clone() }, None));
            self.copies.push((identity, instance));
            self.known.identities.push(name);
        }
        Ok(())
    }

    /// One call of one of the tasks under way.
    fn work(&mut self) -> Result<()> {
        while self.open.len() < AT_ONCE {
            self.start()?;
        }
        let place = self.random.below(self.open.len());
        let (Some(tool), Some(work)) = (self.random.pick(&self.tools).cloned(), self.open.get_mut(place)) else {
            return Err("there is no task".into());
        };
        work.left = work.left.saturating_sub(1);
        let (task, instance, lease, over) = (work.task.clone(), work.instance, work.lease, work.left == 0);
        if over {
            self.open.swap_remove(place);
        }
        self.call(&task, instance, lease, tool);
        Ok(())
    }

    /// A task for one of the identities, with the credential that it acts by.
    fn start(&mut self) -> Result<()> {
        let tasks = TASKS.min(self.plan.events / 10).max(1);
        let (identity, instance) = self.random.pick(&self.copies).cloned().ok_or("there is no identity")?;
        let person = self.random.pick(&self.people).cloned().ok_or("there is nobody")?;
        let purpose = self.text(40);
        let want = Want { purpose, scope: None, ttl: Ttl::from_minutes(60), budget: Budget::default() };
        let by = person.clone();
        let (task, body) = self.with_cx(|cx| Task::start(cx, person, &identity, want, Epoch(0)))?;
        let lease = Lease {
            id: self.with_cx(LeaseId::fresh),
            class: CredentialClass::GatewaySession,
            identity: identity.id,
            instance: instance.id,
            task: Some(task.id),
            scope: Scope::default(),
            issued: task.started,
            expires: task.expires,
            handle: String::new(),
            binding: None,
            holder: None,
            epoch: Epoch(0),
        };
        self.known.tasks.push(task.id);
        self.known.leases.push(lease.id);
        let left = (self.plan.events / 2 / tasks).max(1);
        self.open.push(Work { instance: instance.id, lease: lease.id, left, task });
        self.ready.push_back((By::Person(by.clone()), body, Some(by)));
        self.ready.push_back((By::Instance(instance.id), Body::LeaseIssued { lease }, None));
        Ok(())
    }

    /// A decision and its outcome. A tenth of the outcomes carry a text, and some of them one of 10 kB that is remembered.
    fn call(&mut self, task: &Task, instance: InstanceId, lease: LeaseId, tool: ResourceId) {
        self.calls += 1;
        let record = self.with_cx(RecordId::fresh);
        let customer = self.random.below(5000);
        let name = format!("customer {customer}");
        let denied = self.random.below(25) == 0;
        let reason =
            |policy: &str, text: &str, at: &str| Reason { policy: policy.into(), text: text.into(), at: Some(at.into()) };
        let mut reasons = vec![
            reason("within-task", "the task grants it, and the identity's ceiling does", "policies/office.cedar:3"),
            reason("customer-data", "records of customers are read for a report that was asked for", "policies/office.cedar:41"),
        ];
        if denied {
            reasons = vec![reason("mail-domains", "mail goes to example.com and example.org only", "policies/office.cedar:7")];
        }
        let decided = Decided {
            record,
            identity: task.actor.clone(),
            instance,
            lease,
            task: task.id,
            principal: task.principal.clone(),
            action: Action::Invoke,
            resource: tool,
            sensitivity: Sensitivity::Confidential,
            protocol: "mcp tools/call".into(),
            effect: if denied { Effect::Deny } else { Effect::Allow },
            reasons,
            policy: self.policy,
            request: sha256(&self.calls.to_be_bytes()).into(),
            arguments: sha256(name.as_bytes()).into(),
            intent: task.purpose.clone(),
            posture: Posture { method: "unix".into(), age: self.calls % 3600 },
            consent: Consent::NotNeeded,
            obligations: vec!["record-outcome".into()],
            correlation: Some(format!("00-{:032x}-{:016x}-01", self.random.wide(), self.random.next())),
            causes: Vec::new(),
            contents: vec![content("/params/arguments/name", name.as_bytes())],
            elevation: None,
        };
        let by = By::Instance(instance);
        let subject = Some(task.principal.clone());
        self.ready.push_back((by.clone(), Body::Decided(Box::new(decided)), subject.clone()));
        if !denied {
            let outcome = self.outcome();
            self.ready.push_back((by, Body::Settled { record, principal: subject.clone(), outcome }, subject));
        }
    }

    fn outcome(&mut self) -> Outcome {
        let apart = (self.plan.events / 2 / DOCUMENTS).max(1);
        let text = if self.calls.is_multiple_of(apart) {
            let text = self.text(DOCUMENT);
            self.known.documents.push(text.clone());
            Some(text)
        } else if self.calls.is_multiple_of(10) {
            Some(self.text(SHORT))
        } else {
            None
        };
        let contents = text.iter().map(|text| content("/result/content/0/text", text.as_bytes())).collect();
        let response = Some(sha256(&self.random.wide().to_be_bytes()).into());
        let bytes = text.map_or(300, |text| text.len() as u64);
        Outcome { ending: Ending::Answered, status: 200, response, bytes, contents }
    }
}

/// How many bytes the texts have that are traced.
pub const DOCUMENT: usize = 10_000;
/// So many bytes have about twenty fingerprints.
const SHORT: usize = 420;
const DOCUMENTS: u64 = 40;
const PEOPLE: usize = 100;
const TOOLS: usize = 40;
const IDENTITIES: u64 = 1000;
const TASKS: u64 = 10_000;
const AT_ONCE: usize = 64;
