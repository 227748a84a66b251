//! From an acknowledged event to a proof that two witnesses cosigned.

use std::path::Path;
use std::time::Duration;

use marque_core::attestation::Selector;
use marque_engine::desired::Desired;
use serde_json::{Value, json};
use tokio::process::Command;

use crate::client::Admin;
use crate::measure::{Meter, Samples, nanos, now};
use crate::office;
use crate::report::Figure;
use crate::system::{Spoken, serve, serve_with};
use crate::{Bench, Result, engine};

/// Takes the figures.
pub fn run(bench: &mut Bench) -> Result<()> {
    engine::runtime()?.block_on(measure(bench))
}

async fn measure(bench: &mut Bench) -> Result<()> {
    let dir = bench.scratch("witnessed")?;
    let (dir, state) = (dir.path(), dir.path().join("state"));
    // Witnesses are told the log's key before they serve it, and the log is told of them when it starts.
    let mut first = serve(&bench.marque, &state, &dir.join("first.log"))?;
    first.answer().await?;
    let desired = Desired {
        identities: vec![office::identity("agent/bench", Selector::new("unix", "name", "nobody")?, "invoke:tool:bench/*")?],
        policies: office::policies(),
        ..Desired::default()
    };
    Admin::connect(&state).await?.post("/v1/apply", &serde_json::to_value(desired)?).await?;
    first.stop().await?;
    let key = std::fs::read_to_string(state.join("ledger/verifier"))?.trim().to_owned();
    let (mut witnesses, mut policy) = (Vec::new(), format!("log {key}\n"));
    for name in ["w1", "w2"] {
        let (process, line) = witness(bench, dir, name, &key).await?;
        witnesses.push(process);
        policy.push_str(&line);
    }
    std::fs::write(dir.join("policy"), format!("{policy}group both all w1 w2\nquorum both\n"))?;
    let more = ["--witness-policy".into(), dir.join("policy").into_os_string()];
    let mut server = serve_with(&bench.marque, &state, &dir.join("serve.log"), &more)?;
    server.answer().await?;

    let rounds = bench.scale.pick(30, 6);
    let mut admin = Admin::connect(&state).await?;
    let meter = Meter::own()?;
    let mut taken = Vec::new();
    for n in 0..rounds {
        // At another moment of the server's second each time.
        tokio::time::sleep(Duration::from_millis(n as u64 * 137 % 1_000)).await;
        taken.push(round(&mut admin).await?);
    }
    let (cost, samples) = (meter.read()?, Samples::new(taken));
    for (label, q) in [("p50", 0.5), ("max", 1.0)] {
        let value = samples.quantile(q) / 1e3;
        let figure = Figure::new(format!("ledger/witnessed by two, after the answer: {label}"), value, "ms").took(cost);
        bench
            .report
            .add(&figure.at_most(2_000.0).seen(format!("{rounds} events; the witnesses are processes of this machine")))?;
    }
    server.stop().await?;
    for witness in witnesses {
        witness.stop().await?;
    }
    Ok(())
}

/// A witness that knows the log, and its line in a policy.
async fn witness(bench: &Bench, dir: &Path, name: &str, key: &str) -> Result<(Spoken, String)> {
    let mut command = Command::new(&bench.marque);
    command.args(["--json", "witness", "--name", &format!("witness.example/{name}"), "--listen", "127.0.0.1:0", "--log", key]);
    command.arg("--dir").arg(dir.join(name));
    let mut process = Spoken::start("witness", &mut command, &dir.join(format!("{name}.log")))?;
    let ready = process.answer().await?;
    let field = |field: &str| ready.get(field).and_then(Value::as_str).map(str::to_owned).ok_or("the witness says too little");
    let line = format!("witness {name} {} {}\n", field("key")?, field("listen")?);
    Ok((process, line))
}

/// Nanoseconds from the answer to a change until the receipt of its last entry is a witnessed one.
async fn round(admin: &mut Admin) -> Result<u64> {
    admin.post("/v1/tasks", &json!({ "identity": "agent/bench", "purpose": "to be witnessed" })).await?;
    let at = now();
    let status = admin.get("/v1/status").await?;
    let entries = status.get("entries").and_then(Value::as_u64).ok_or("no `entries`")?;
    loop {
        let receipt = admin.get(&format!("/v1/receipts/{}", entries.saturating_sub(1))).await?;
        if receipt.get("witnessed").and_then(Value::as_bool) == Some(true) {
            return Ok(nanos(at.elapsed()));
        }
        if at.elapsed() > Duration::from_secs(30) {
            return Err("nobody cosigns".into());
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
