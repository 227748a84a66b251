//! Many identities and many open streams in one server, and what happens to the streams when the keys are changed.

use std::collections::HashMap;
use std::time::Duration;

use marque_core::attestation::Selector;
use serde_json::{Value, json};

use crate::identity::{Load, Site, jwt};
use crate::measure::{Meter, micros, resident};
use crate::report::{Figure, shown};
use crate::system::Spoken;
use crate::{Bench, Result, office};

/// Takes the figures, on a server that serves `agent` already.
pub async fn measure(bench: &mut Bench, site: &mut Site, agent: &mut Spoken) -> Result<()> {
    let (identities, fleet) = bench.scale.pick(
        (100_000, Fleet { processes: 50, connections: 2, streams: 100 }),
        (1_000, Fleet { processes: 2, connections: 1, streams: 20 }),
    );
    let many = format!("identity/{} registered", shown(f64::from(identities)));
    register(bench, site, identities, &many).await?;
    jwt(bench, site, agent, Load::closed(16), &many).await?;

    let server = site.server.pid()?;
    let name = format!("{many}, {} streams", shown(fleet.all() as f64));
    let meter = Meter::of(server)?;
    let mut processes = Vec::new();
    let mut known: HashMap<String, i64> = HashMap::new();
    for _ in 0..fleet.processes {
        let mut process = site.agent(&std::env::current_exe()?)?;
        let order = json!({ "do": "open", "connections": fleet.connections, "streams": fleet.streams });
        let opened = process.ask(&order).await?;
        for update in list(&opened)? {
            let (at, certificate) = read(update)?;
            known.insert(certificate, at);
        }
        processes.push(process);
    }
    let cost = meter.read()?;
    let opening = Figure::new(format!("{name}: opening"), cost.rate(fleet.all()), "streams/s").took(cost);
    let seen = format!("{} processes with {} connections each; a process is one instance", fleet.processes, fleet.connections);
    bench.report.add(&opening.cpu(cost.cpu_us_each(fleet.all())).seen(seen))?;
    tokio::time::sleep(bench.scale.seconds(3.0, 1.0)).await;
    let memory = Figure::new(format!("{name}: memory"), resident(server)? as f64 / 1e6, "MB").at_most(1_000.0);
    bench.report.add(&memory.took(cost).seen("VmRSS of the server"))?;

    // Each takes some seconds by design.
    for verb in bench.scale.pick(vec!["prepare", "activate", "taint"], vec!["prepare"]) {
        change(bench, site, &mut processes, &mut known, verb, &name).await?;
    }
    for process in processes {
        process.finish().await?;
    }
    Ok(())
}

/// How many of what hold streams.
#[derive(Clone, Copy)]
struct Fleet {
    processes: u64,
    connections: u64,
    streams: u64,
}

impl Fleet {
    fn all(self) -> u64 {
        self.processes * self.connections * self.streams
    }
}

async fn register(bench: &mut Bench, site: &mut Site, identities: u32, name: &str) -> Result<()> {
    let server = site.server.pid()?;
    let meter = Meter::of(server)?;
    for first in (0..identities).step_by(CHUNK as usize) {
        let spec = |n: u32| {
            let selector = Selector::new("unix", "path", format!("/bench/fleet/{n}"))?;
            office::identity(&format!("fleet/i-{n}"), selector, "invoke:tool:bench/*")
        };
        site.apply((first..identities.min(first + CHUNK)).map(spec).collect::<Result<Vec<_>>>()?).await?;
    }
    let cost = meter.read()?;
    let count = u64::from(identities);
    let figure = Figure::new(format!("{name}: applying"), cost.rate(count), "identities/s").took(cost);
    bench.report.add(&figure.cpu(cost.cpu_us_each(count)).seen(format!("{CHUNK} in one manifest")))?;
    let memory = Figure::new(format!("{name}: memory"), resident(server)? as f64 / 1e6, "MB").at_most(1_000.0);
    bench.report.add(&memory.took(cost).seen("VmRSS of the server"))
}

/// One verb on the X.509 keys, until every stream has had a state after it.
async fn change(
    bench: &mut Bench,
    site: &mut Site,
    processes: &mut [Spoken],
    known: &mut HashMap<String, i64>,
    verb: &str,
    name: &str,
) -> Result<()> {
    let retired = if verb == "taint" { Some(retired(site).await?) } else { None };
    let meter = Meter::of(site.server.pid()?)?;
    for process in processes.iter_mut() {
        process.tell(&json!({ "do": "updates" })).await?;
    }
    let sent = micros();
    let order = json!({ "verb": verb, "kind": "x509", "id": retired, "why": "to be measured" });
    site.admin.post("/v1/authorities", &order).await?;
    let (mut updates, mut fresh) = (Vec::new(), HashMap::new());
    for process in processes.iter_mut() {
        let answer = process.answer().await?;
        for update in list(&answer)? {
            let (at, certificate) = read(update)?;
            updates.push(at);
            if !known.contains_key(&certificate) {
                let first = fresh.entry(certificate).or_insert(at);
                *first = at.min(*first);
            }
        }
    }
    let cost = meter.read()?;
    let last = updates.iter().max().copied().unwrap_or(sent);
    let name = format!("{name}, {verb}");
    let took = Figure::new(format!("{name}: until the last stream has it"), (last - sent) as f64 / 1e6, "s").took(cost);
    bench.report.add(&took.seen(format!("{} states", updates.len())))?;
    let most = Figure::new(format!("{name}: most states in 100 ms"), most_within(updates) as f64, "states").took(cost);
    bench.report.add(&most)?;
    let seen = format!("{} X.509-SVIDs were issued to {} processes", fresh.len(), processes.len());
    let most = most_within(fresh.values().copied().collect());
    let figure = Figure::new(format!("{name}: most issued in 100 ms"), most as f64, "SVIDs").took(cost).seen(seen);
    let half = (processes.len() as f64 / 2.0).max(1.0);
    bench.report.add(&figure.at_most(half))?;
    let share = cost.cpu.as_secs_f64();
    bench.report.add(&Figure::new(format!("{name}: CPU of the server"), share, "s").took(cost))?;
    known.extend(fresh);
    // Two changes soon after each other may come as one state.
    tokio::time::sleep(Duration::from_secs(1)).await;
    Ok(())
}

/// The X.509 key that was active before.
async fn retired(site: &mut Site) -> Result<String> {
    let keys = site.admin.get("/v1/authorities").await?;
    let is_old = |key: &&Value| field(key, "kind") == "x509" && field(key, "phase") == "retired";
    let old = keys.as_array().and_then(|keys| keys.iter().find(is_old)).map(|key| field(key, "id").to_owned());
    Ok(old.ok_or_else(|| format!("no key was retired: {keys}"))?)
}

fn field<'a>(key: &'a Value, name: &str) -> &'a str {
    key.get(name).and_then(Value::as_str).unwrap_or_default()
}

fn list(answer: &Value) -> Result<&Vec<Value>> {
    answer.get("updates").and_then(Value::as_array).ok_or_else(|| format!("there are no updates: {answer}").into())
}

fn read(update: &Value) -> Result<(i64, String)> {
    let at = update.get(0).and_then(Value::as_i64).ok_or("an update has no moment")?;
    Ok((at, update.get(1).and_then(Value::as_str).ok_or("an update has no certificate")?.to_owned()))
}

/// The most of these moments that lie in any 100 ms.
fn most_within(mut moments: Vec<i64>) -> usize {
    moments.sort_unstable();
    let within = |(first, at): (usize, &i64)| moments.partition_point(|moment| *moment < at + 100_000) - first;
    moments.iter().enumerate().map(within).max().unwrap_or(0)
}

/// How many identities one manifest has here.
const CHUNK: u32 = 1_000;
