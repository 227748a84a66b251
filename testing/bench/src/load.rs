//! The load generator: a process of its own on one thread, started by `marque run`, told what to do in JSON lines. It says
//! when it begins, and then what it measured.
//!
//! It uses the gateway as any launched agent does, and the upstream directly with the same code.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};

use crate::Result;
use crate::client::{Call, Link};
use crate::measure::{Samples, micros, nanos, now};
use crate::report::say;

/// The argument that makes this program the load generator.
pub const ROLE: &str = "child-load";

/// The process: until standard input ends.
pub fn child() -> Result<()> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(obey_all())
}

async fn obey_all() -> Result<()> {
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Some(line) = lines.next_line().await? {
        let order: Value = serde_json::from_str(&line)?;
        let answer = obey(&order).await.unwrap_or_else(|error| json!({ "error": error.to_string() }));
        say(&answer.to_string())?;
    }
    Ok(())
}

async fn obey(order: &Value) -> Result<Value> {
    let target = Target::read(order)?;
    match order.get("do").and_then(Value::as_str) {
        Some("load") => target.load(order).await,
        Some("stream") => target.stream(order).await,
        Some("until-refused") => target.until_refused().await,
        _ => Err("there is no such order".into()),
    }
}

/// Where calls go: an MCP endpoint.
struct Target {
    url: String,
    path: String,
}

impl Target {
    /// The named address, or the gateway that `marque run` named.
    fn read(order: &Value) -> Result<Self> {
        let path = order.get("path").and_then(Value::as_str).ok_or("no `path`")?.to_owned();
        let url = match order.get("url").and_then(Value::as_str) {
            Some(url) => url.to_owned(),
            None => {
                let gateway = std::env::var_os("MARQUE_GATEWAY").and_then(|value| value.into_string().ok());
                gateway.ok_or("no gateway: this process was not started by `marque run`")?
            }
        };
        Ok(Self { url, path })
    }

    fn call(&self, tool: &'static str) -> Call {
        Call::new(&self.path, tool)
    }

    /// A connection that has been used: attested, and known to work.
    async fn link(&self) -> Result<Link> {
        let mut link = Link::open(&self.url).await?;
        for _ in 0..2 {
            if !link.echo(&self.call("echo")).await? {
                return Err(format!("`{}` does not answer as the upstream does", self.url).into());
            }
        }
        Ok(link)
    }

    /// Calls on `concurrency` connections for `seconds`, without a pause or at `rate` calls a second in all.
    async fn load(&self, order: &Value) -> Result<Value> {
        let concurrency = number(order, "concurrency")?.max(1.0) as usize;
        let length = Duration::from_secs_f64(number(order, "seconds")?);
        let rate = order.get("rate").and_then(Value::as_f64);
        let mut links = Vec::new();
        for _ in 0..concurrency {
            links.push(self.link().await?);
        }
        ready()?;
        let start = now();
        let until = start + length;
        let workers: Vec<_> = links
            .into_iter()
            .enumerate()
            .map(|(place, link)| {
                let pace = rate.map(|rate| Pace::of(place, concurrency, rate, start));
                tokio::spawn(work(link, self.call("echo"), until, pace))
            })
            .collect();
        let mut latencies = Vec::new();
        for worker in workers {
            latencies.extend(worker.await??);
        }
        let wall = start.elapsed();
        let samples = Samples::new(latencies);
        Ok(json!({
            "requests": samples.count(), "wall_us": wall.as_micros() as u64,
            "p50_us": samples.quantile(0.5), "p99_us": samples.quantile(0.99),
        }))
    }

    /// Reads a stream of a thousand events to its end, `times` in a row on one connection.
    async fn stream(&self, order: &Value) -> Result<Value> {
        let times = number(order, "times")?.max(1.0) as usize;
        let mut link = self.link().await?;
        let call = self.call("stream");
        let mut latencies = Vec::new();
        let mut length = 0;
        ready()?;
        for _ in 0..times {
            let at = now();
            let mut body = link.send(&call).await?.into_body();
            length = 0;
            while let Some(frame) = body.frame().await {
                length += frame?.data_ref().map_or(0, Bytes::len);
            }
            latencies.push(nanos(at.elapsed()));
        }
        let samples = Samples::new(latencies);
        Ok(json!({ "p50_us": samples.quantile(0.5), "p99_us": samples.quantile(0.99), "bytes": length }))
    }

    /// Calls without a pause, beside an open stream, until a call is refused and the stream has ended: when.
    async fn until_refused(&self) -> Result<Value> {
        let mut calls = self.link().await?;
        let mut watch = self.link().await?;
        let mut body = watch.send(&self.call("watch")).await?.into_body();
        if !matches!(body.frame().await, Some(Ok(_))) {
            return Err("the stream did not begin".into());
        }
        ready()?;
        let cut = tokio::spawn(async move {
            while let Some(Ok(_)) = body.frame().await {}
            micros()
        });
        let echo = self.call("echo");
        let patience = now() + PATIENCE;
        let mut made = 0_u64;
        // A call that is cut on its way back is refused as well.
        while calls.echo(&echo).await.unwrap_or(false) {
            made += 1;
            if now() > patience {
                return Err("no call was refused".into());
            }
        }
        let refused_at = micros();
        let cut_at = tokio::time::timeout(PATIENCE, cut).await.map_err(|_| "the stream was not cut")??;
        Ok(json!({ "refused_at": refused_at, "cut_at": cut_at, "calls": made }))
    }
}

/// When a connection's calls are due.
struct Pace {
    due: Instant,
    period: Duration,
}

impl Pace {
    /// The turns of connection `place` among `of` that make `rate` calls a second together.
    fn of(place: usize, of: usize, rate: f64, start: Instant) -> Self {
        let period = Duration::from_secs_f64(of as f64 / rate);
        Self { due: start + period.mul_f64(place as f64 / of as f64), period }
    }

    async fn turn(&mut self) {
        tokio::time::sleep_until(tokio::time::Instant::from_std(self.due)).await;
        self.due += self.period;
    }
}

async fn work(mut link: Link, call: Call, until: Instant, mut pace: Option<Pace>) -> Result<Vec<u64>> {
    let mut latencies = Vec::new();
    loop {
        if let Some(pace) = &mut pace {
            pace.turn().await;
        }
        let at = now();
        if at >= until {
            return Ok(latencies);
        }
        if !link.echo(&call).await? {
            return Err("a call was not answered as the upstream answers".into());
        }
        latencies.push(nanos(at.elapsed()));
    }
}

/// Says that connections stand and that it begins now.
fn ready() -> Result<()> {
    say(&json!({ "ready": true }).to_string())
}

fn number(order: &Value, name: &str) -> Result<f64> {
    order.get(name).and_then(Value::as_f64).ok_or_else(|| format!("no `{name}`").into())
}

const PATIENCE: Duration = Duration::from_secs(20);
