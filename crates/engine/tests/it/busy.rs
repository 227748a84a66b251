//! A busy world: whatever can happen there does, in any order.

use marque_core::Digest;
use marque_core::id::{ElevationId, LeaseId};
use marque_core::record::Outcome;
use marque_core::revocation::Target;
use marque_core::task::Task;
use marque_engine::{ActionRequest, ArtifactRequest, Exchange, TokenType, Verdict, content, sha256};
use serde_json::json;

use crate::world::{Agent, LEAD, WORKER, World, answered, asks, call, request, spiffe};

/// The same numbers every time.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % n as u64) as usize
    }

    pub(crate) fn pick<'a, T>(&mut self, from: &'a [T]) -> Option<&'a T> {
        if from.is_empty() { None } else { from.get(self.below(from.len())) }
    }

    pub(crate) fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }
}

/// What a busy world is made of.
#[derive(Default)]
pub(crate) struct Busy {
    tasks: Vec<Task>,
    tokens: Vec<(String, LeaseId)>,
    held: Vec<ElevationId>,
    pub(crate) texts: Vec<Digest>,
}

/// Whatever can happen, in any order; most of it may fail, as it does.
async fn happen(world: &World, lead: &Agent, worker: &Agent, busy: &mut Busy, dice: &mut Dice) {
    let engine = &world.engine;
    match dice.below(12) {
        0 | 1 => {
            let actor = if dice.one_in(2) { LEAD } else { WORKER };
            let by = if dice.one_in(2) { &world.alice } else { &world.bob };
            busy.tasks.push(engine.start_task(by, request(actor, None)).await.unwrap());
        }
        2 | 3 => {
            let Some(task) = dice.pick(&busy.tasks) else { return };
            let agent = if task.actor == spiffe(LEAD) { lead } else { worker };
            if let Ok(got) = engine.exchange(world.own(agent, task).await).await {
                busy.tokens.push((got.token, got.lease.id));
            }
        }
        4 => {
            let Some((token, _)) = dice.pick(&busy.tokens) else { return };
            let exchange = Exchange { actor: Some(world.jwt(worker).await), ..asks(worker, token, TokenType::AccessToken) };
            if let Ok(got) = engine.exchange(exchange).await {
                busy.tasks.push(got.task);
                busy.tokens.push((got.token, got.lease.id));
            }
        }
        5..=8 => {
            let Some((_, lease)) = dice.pick(&busy.tokens) else { return };
            let tool = ["tool:crm/find", "tool:crm/find", "tool:crm/drop", "tool:mail/send"][dice.below(4)];
            let text = format!("text {}", dice.below(5));
            busy.texts.push(sha256(text.as_bytes()));
            let contents = vec![content("/arguments/body", text.as_bytes())];
            let arguments = json!({ "n": dice.below(3) });
            match engine.authorize(ActionRequest { contents, ..call(*lease, tool, arguments) }).await {
                Ok(Verdict::Proceed(permit)) if dice.one_in(4) => drop(permit),
                Ok(Verdict::Proceed(permit)) => {
                    let contents = vec![content("/result", text.as_bytes())];
                    permit.settle(Outcome { contents, ..answered() }).unwrap();
                }
                Ok(Verdict::Hold { elevation, .. }) => busy.held.push(elevation),
                Ok(Verdict::Deny { .. }) | Err(_) => {}
            }
        }
        9 => {
            if let Some(elevation) = dice.pick(&busy.held) {
                let _ = engine.approve(&world.admin, *elevation).await;
            }
        }
        10 => {
            let target = match (dice.below(3), dice.pick(&busy.tasks), dice.pick(&busy.tokens)) {
                (0, Some(task), _) => Target::Task(task.id),
                (1, _, Some((_, lease))) => Target::Lease(*lease),
                (_, Some(task), _) => {
                    let _ = engine.finish_task(&world.alice, task.id).await;
                    return;
                }
                _ => return,
            };
            let _ = engine.revoke(&world.admin, target, "test").await;
        }
        _ => world.advance(dice.below(20) as i64),
    }
}

pub(crate) async fn busy(seed: u64) -> (World, Busy) {
    let world = World::start().await;
    let (lead, worker) = (world.agent(LEAD).await, world.agent(WORKER).await);
    let (mut busy, mut dice) = (Busy::default(), Dice(seed));
    for _ in 0..250 {
        happen(&world, &lead, &worker, &mut busy, &mut dice).await;
    }
    if let Some(task) = busy.tasks.first() {
        let (content, input) = (sha256(b"a model"), sha256(b"text 0"));
        let file = ArtifactRequest { name: "model".into(), content, bytes: 7, task: task.id, inputs: vec![input] };
        world.engine.attest_artifact(&world.alice, file).await.unwrap();
        busy.texts.push(content);
    }
    world.engine.drain().await.unwrap();
    (world, busy)
}
