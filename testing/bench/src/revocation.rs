//! Revocation to refusal: how long after one verb the next call is refused and an open stream is cut.

use std::time::Duration;

use serde_json::{Value, json};

use crate::measure::{Meter, Samples, micros};
use crate::report::Figure;
use crate::system::{GATEWAY_PATH, System};
use crate::{Bench, Result, engine};

/// Takes the figures.
pub fn run(bench: &mut Bench) -> Result<()> {
    engine::runtime()?.block_on(measure(bench))
}

async fn measure(bench: &mut Bench) -> Result<()> {
    let system = System::start(bench).await?;
    let rounds = bench.scale.pick(20, 5);
    let meter = Meter::own()?;
    let mut seen = Vec::new();
    for _ in 0..rounds {
        seen.push(round(&system).await?);
    }
    let cost = meter.read()?;
    let figures: [(&str, Of); 3] = [
        ("recorded and answered", |round: &Round| round.answered),
        ("next call refused", |round: &Round| round.refused),
        ("open stream cut", |round: &Round| round.cut),
    ];
    for (name, of) in figures {
        let samples = Samples::new(seen.iter().map(of).collect());
        for (label, q) in [("p50", 0.5), ("p99", 0.99), ("max", 1.0)] {
            let value = samples.quantile(q) / 1e3;
            let figure = Figure::new(format!("revocation/{name}: {label}"), value, "ms").at_most(1_000.0);
            bench.report.add(&figure.took(cost).seen(format!("{rounds} rounds")))?;
        }
    }
    system.stop().await
}

/// One figure of a round.
type Of = fn(&Round) -> u64;

/// Nanoseconds from the moment that a revocation was sent.
struct Round {
    answered: u64,
    refused: u64,
    cut: u64,
}

/// A task, a client that calls without a pause beside an open stream, and a revocation of the task.
async fn round(system: &System) -> Result<Round> {
    let task = system.task().await?;
    let mut client = system.client(&task)?;
    client.begin(&json!({ "do": "until-refused", "path": GATEWAY_PATH })).await?;
    let mut admin = system.admin().await?;
    tokio::time::sleep(WARM).await;
    let sent = micros();
    admin.post("/v1/revocations", &json!({ "target": task, "why": "to be measured" })).await?;
    let answered = since(sent, micros());
    let answer = client.answer().await?;
    let moment = |name: &str| answer.get(name).and_then(Value::as_i64).ok_or_else(|| format!("no `{name}`: {answer}"));
    let round = Round { answered, refused: since(sent, moment("refused_at")?), cut: since(sent, moment("cut_at")?) };
    client.finish().await?;
    Ok(round)
}

/// From microseconds on the wall to nanoseconds between.
fn since(from: i64, to: i64) -> u64 {
    u64::try_from(to - from).unwrap_or(0).saturating_mul(1_000)
}

/// How long the client calls before it is refused.
const WARM: Duration = Duration::from_millis(50);
