//! A workload of its own process: told in JSON lines what to ask of the Workload API, by a client that no one here wrote (the
//! crate `spiffe`).

use std::time::Duration;

use futures_util::StreamExt as _;
use marque_engine::sha256;
use serde_json::{Value, json};
use spiffe::{WorkloadApiClient, WorkloadApiError, X509Context};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::Result;
use crate::measure::{Samples, micros, nanos, now};
use crate::report::say;

/// The argument that makes this program a workload.
pub const ROLE: &str = "child-agent";

/// The process: until standard input ends.
pub fn child(arguments: &[String]) -> Result<()> {
    let [socket] = arguments else { return Err("the Workload API's socket is needed".into()) };
    let agent = Agent { socket: socket.clone(), streams: None };
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(agent.obey())
}

struct Agent {
    socket: String,
    streams: Option<Streams>,
}

/// Open streams of X.509 contexts.
struct Streams {
    count: usize,
    states: UnboundedReceiver<State>,
}

/// A stream got a state, or ended.
struct State {
    stream: usize,
    at: i64,
    /// Names the certificate; nothing when the stream ended, for the reason that is here then.
    certificate: std::result::Result<String, String>,
}

impl Agent {
    async fn obey(mut self) -> Result<()> {
        let mut lines = BufReader::new(tokio::io::stdin()).lines();
        while let Some(line) = lines.next_line().await? {
            let order: Value = serde_json::from_str(&line)?;
            let answer = self.carry_out(&order).await.unwrap_or_else(|error| json!({ "error": error.to_string() }));
            say(&answer.to_string())?;
        }
        Ok(())
    }

    async fn carry_out(&mut self, order: &Value) -> Result<Value> {
        match order.get("do").and_then(Value::as_str) {
            Some("x509") => self.x509().await,
            Some("jwt") => self.jwt(order).await,
            Some("open") => self.open(order).await,
            Some("updates") => self.updates().await,
            _ => Err("there is no such order".into()),
        }
    }

    async fn client(&self) -> Result<WorkloadApiClient> {
        Ok(WorkloadApiClient::connect_to(&self.socket).await.map_err(said)?)
    }

    /// One X.509-SVID; to be refused is an answer too.
    async fn x509(&self) -> Result<Value> {
        let client = self.client().await?;
        let at = now();
        Ok(match client.fetch_x509_svid().await {
            Ok(svid) => json!({ "id": svid.spiffe_id().to_string(), "us": at.elapsed().as_micros() as u64 }),
            Err(refused) => json!({ "refused": refused.to_string() }),
        })
    }

    /// JWT-SVIDs by so many callers, each on its own connection: without a pause, or at a rate of arrivals. Then each is due at
    /// its own moment, whatever became of those before it, and its latency counts from then.
    async fn jwt(&self, order: &Value) -> Result<Value> {
        let (callers, length) = (number(order, "callers")?, Duration::from_millis(number(order, "milliseconds")?));
        let apart = order.get("rate").and_then(Value::as_f64).map(|rate| callers as f64 / rate);
        let mut clients = Vec::new();
        for _ in 0..callers {
            let client = self.client().await?;
            client.fetch_jwt_token([AUDIENCE], None).await.map_err(said)?;
            clients.push(client);
        }
        say(&json!({ "ready": true }).to_string())?;
        let start = now();
        let until = start + length;
        let call = move |(place, client): (usize, WorkloadApiClient)| async move {
            let mut latencies = Vec::new();
            let mut due = apart.map(|apart| start + Duration::from_secs_f64(apart * place as f64 / callers as f64));
            loop {
                let at = due.unwrap_or_else(now);
                if at >= until {
                    break;
                }
                if at > now() {
                    // The timer has steps of a millisecond, which are in the latency.
                    tokio::time::sleep_until(at.into()).await;
                }
                client.fetch_jwt_token([AUDIENCE], None).await.map_err(said)?;
                latencies.push(nanos(at.elapsed()));
                due = due.zip(apart).map(|(due, apart)| due + Duration::from_secs_f64(apart));
            }
            Ok::<_, String>(latencies)
        };
        let workers: Vec<_> = clients.into_iter().enumerate().map(|caller| tokio::spawn(call(caller))).collect();
        let mut latencies = Vec::new();
        for worker in workers {
            latencies.extend(worker.await??);
        }
        let wall = start.elapsed().as_micros() as u64;
        let samples = Samples::new(latencies);
        Ok(json!({
            "requests": samples.count(), "wall_us": wall, "p50_us": samples.quantile(0.5), "p99_us": samples.quantile(0.99),
        }))
    }

    /// Opens streams, and waits until each has its first state.
    async fn open(&mut self, order: &Value) -> Result<Value> {
        let (connections, each) = (number(order, "connections")?, number(order, "streams")?);
        let (states, received) = unbounded_channel();
        let mut count = 0;
        for _ in 0..connections {
            let client = self.client().await?;
            for _ in 0..each {
                tokio::spawn(watch(client.clone(), count, states.clone()));
                count += 1;
            }
        }
        self.streams = Some(Streams { count, states: received });
        self.updates().await
    }

    /// Waits until each stream has had a state more: when each of them came, and which certificate it had.
    async fn updates(&mut self) -> Result<Value> {
        let streams = self.streams.as_mut().ok_or("no stream is open")?;
        let mut waits = vec![true; streams.count];
        let mut left = streams.count;
        let mut seen = Vec::new();
        while left > 0 {
            let state = streams.states.recv().await.ok_or("every stream has ended")?;
            let certificate = state.certificate?;
            if let Some(first) = waits.get_mut(state.stream).filter(|waits| **waits) {
                *first = false;
                left -= 1;
            }
            seen.push(json!([state.at, certificate]));
        }
        Ok(json!({ "updates": seen }))
    }
}

/// One stream: it says whatever it gets.
async fn watch(client: WorkloadApiClient, stream: usize, states: UnboundedSender<State>) {
    let say = |certificate| states.send(State { stream, at: micros(), certificate }).is_ok();
    let opened = match client.stream_x509_contexts().await {
        Ok(opened) => opened,
        Err(error) => {
            say(Err(said(error)));
            return;
        }
    };
    let mut opened = std::pin::pin!(opened);
    while let Some(state) = opened.next().await {
        let ended = state.is_err();
        if !say(state.map_err(said).and_then(|context| certificate(&context))) || ended {
            return;
        }
    }
    say(Err("a stream ended".to_owned()));
}

/// A short name of the certificate that a state has.
fn certificate(context: &X509Context) -> std::result::Result<String, String> {
    let svid = context.default_svid().ok_or("there is no X.509-SVID")?;
    let leaf = svid.cert_chain().first().ok_or("an X.509-SVID has no certificate")?;
    Ok(sha256(leaf.as_bytes()).short())
}

fn said(error: WorkloadApiError) -> String {
    error.to_string()
}

fn number(order: &Value, name: &str) -> Result<u64> {
    order.get(name).and_then(Value::as_u64).ok_or_else(|| format!("no `{name}`").into())
}

const AUDIENCE: &str = "bench";
