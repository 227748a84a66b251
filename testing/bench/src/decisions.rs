//! Decisions: one thread, in process, with few and with many policies.

use std::collections::BTreeSet;
use std::hint::black_box;
use std::time::Duration;

use marque_core::Digest;
use marque_core::attestation::Selector;
use marque_core::decision::Effect;
use marque_core::identity::{Identity, Kind, Lifecycle};
use marque_core::resource::{Action, Resource};
use marque_core::revocation::Epoch;
use marque_core::spiffe::SpiffeId;
use marque_core::task::{Budget, Task, Want};
use marque_core::time::{Cx, Timestamp, Ttl};
use marque_policy::{PolicyFile, Request, Snapshot};
use serde_json::{Value, json};

use crate::measure::{Meter, Samples, nanos, now};
use crate::office;
use crate::report::{Bounds, Run};
use crate::{Bench, Result};

/// Takes the figures.
pub fn run(bench: &mut Bench) -> Result<()> {
    let time = bench.scale.seconds(1.5, 0.4);
    let asker = Asker::new()?;
    for extra in [0, 100, 1000] {
        let snapshot = Snapshot::load(&files(extra), Digest::from_bytes([0; 32]))?;
        for case in cases()?.iter().filter(|case| extra == 0 || case.effect == Effect::Allow) {
            let run = asker.measure(&snapshot, case, time)?;
            let name = format!("decisions/{} policies, {}", snapshot.len(), case.effect.as_str());
            bench.report.add_run(&name, "decisions/s", &run, Bounds { p50: 10.0, ..Bounds::default() })?;
        }
    }
    Ok(())
}

/// The demo's policies, and permits of others that are never the ones asked about.
fn files(extra: usize) -> Vec<PolicyFile> {
    let generated = (0..extra).map(|n| {
        format!(
            "@id(\"generated-{n}\")\n\
             permit (principal == Marque::Identity::\"agent/other-{n}\", action == Marque::Action::\"invoke\", \
             resource == Marque::Tool::\"other/tool-{n}\");\n"
        )
    });
    let text: String = generated.collect();
    vec![
        PolicyFile { name: "office.cedar".into(), text: office::POLICIES.into() },
        PolicyFile { name: "generated.cedar".into(), text },
    ]
}

/// A call and what must come of it.
struct Case {
    resource: Resource,
    arguments: Value,
    effect: Effect,
}

fn cases() -> Result<Vec<Case>> {
    let mail = |to: &str| json!({ "to": to, "subject": "Your balance", "body": "Dear Ada, your balance is attached." });
    let case = |tool: &str, arguments: Value, effect: Effect| -> Result<Case> {
        Ok(Case { resource: office::tool(tool)?, arguments, effect })
    };
    let cases = [
        case("find_customer", json!({ "name": "Ada Holm" }), Effect::Allow),
        case("send_mail", mail("news@press.example.net"), Effect::Deny),
        case("send_mail", mail("ada@example.com"), Effect::Hold),
    ];
    cases.into_iter().collect()
}

/// Who asks, under which task.
struct Asker {
    identity: Identity,
    seen: BTreeSet<Selector>,
    task: Task,
    chain: Vec<SpiffeId>,
    approved: BTreeSet<String>,
}

impl Asker {
    fn new() -> Result<Self> {
        let identity = Identity {
            id: "spiffe://example.org/agent/orchestrator".parse()?,
            kind: Kind::Agent,
            owner: Some(office::ADMINISTRATOR.parse()?),
            purpose: "Plans the weekly customer report".into(),
            selectors: BTreeSet::new(),
            hint: None,
            nodes: BTreeSet::new(),
            ceiling: "invoke:tool:office/*".parse()?,
            state: Lifecycle::Active,
            epoch: Epoch(0),
        };
        let mut entropy = || 7_u128;
        let mut cx = Cx::new(Timestamp::from_seconds(1_700_000_000), &mut entropy);
        let want =
            Want { purpose: "weekly customer report".into(), scope: None, ttl: Ttl::from_minutes(60), budget: Budget::default() };
        let (task, _) = Task::start(&mut cx, office::ADMINISTRATOR.parse()?, &identity, want, Epoch(0))?;
        let chain = vec![identity.id.clone()];
        Ok(Self { identity, seen: BTreeSet::new(), task, chain, approved: BTreeSet::new() })
    }

    fn request<'a>(&'a self, case: &'a Case) -> Request<'a> {
        Request {
            identity: &self.identity,
            seen: &self.seen,
            task: &self.task,
            chain: &self.chain,
            action: Action::Invoke,
            resource: &case.resource,
            delegate_to: None,
            changed: false,
            arguments: &case.arguments,
            approved: &self.approved,
            calls_left: None,
        }
    }

    fn measure(&self, snapshot: &Snapshot, case: &Case, time: Duration) -> Result<Run> {
        let decision = snapshot.decide(&self.request(case));
        if decision.effect() != case.effect {
            return Err(format!("`{}` was decided otherwise: {decision:?}", case.resource.id).into());
        }
        let mut latencies = Vec::new();
        let meter = Meter::own()?;
        let until = now() + time;
        loop {
            let at = now();
            if at >= until {
                break;
            }
            black_box(snapshot.decide(black_box(&self.request(case))));
            latencies.push(nanos(at.elapsed()));
        }
        Ok(Run { cost: meter.read()?, samples: Samples::new(latencies), each: 1 })
    }
}
