//! The gateway: what a call through it costs, beside the same call made directly.

use std::time::Duration;

use serde_json::{Value, json};

use crate::measure::{Cost, Meter};
use crate::report::Figure;
use crate::system::{DIRECT_PATH, GATEWAY_PATH, Spoken, System};
use crate::{Bench, Result, engine, upstream};

/// Takes the figures.
pub fn run(bench: &mut Bench) -> Result<()> {
    engine::runtime()?.block_on(measure(bench))
}

async fn measure(bench: &mut Bench) -> Result<()> {
    let system = System::start(bench).await?;
    let task = system.task().await?;
    let client = system.client(&task)?;
    let server = system.server.pid()?;
    let mut pair = Pair { direct: system.direct.clone(), server, client };
    let seconds = bench.scale.pick(3.0, 0.8);
    for concurrency in [1, 16, 64] {
        let order = json!({ "do": "load", "concurrency": concurrency, "seconds": seconds });
        let both = pair.both(&order, bench.scale.seconds(1.2, 0.8)).await?;
        both.print(bench, &format!("gateway/{concurrency} at once"))?;
    }
    let order = json!({ "do": "load", "concurrency": 16, "seconds": seconds, "rate": 1000.0 });
    let both = pair.both(&order, bench.scale.seconds(1.2, 0.8)).await?;
    both.print(bench, "gateway/at 1,000 a second")?;

    let times = bench.scale.pick(200, 40);
    let order = json!({ "do": "stream", "times": times });
    let both = pair.both(&order, bench.scale.seconds(1.2, 0.8)).await?;
    both.print_streams(bench, times)?;
    pair.client.finish().await?;
    system.stop().await
}

/// The load generator, and what it measures.
struct Pair {
    direct: String,
    server: u32,
    client: Spoken,
}

/// The same order carried out directly and through the gateway.
struct Both {
    direct: Value,
    through: Value,
    /// What the server used, from the first call until its views had taken in the last record.
    cost: Cost,
}

impl Pair {
    async fn both(&mut self, order: &Value, rest: Duration) -> Result<Both> {
        self.client.begin(&with(order, &[("url", self.direct.as_str()), ("path", DIRECT_PATH)])).await?;
        let direct = self.client.answer().await?;
        self.client.begin(&with(order, &[("path", GATEWAY_PATH)])).await?;
        // Attesting the connections is behind it now.
        let meter = Meter::of(self.server)?;
        let through = self.client.answer().await?;
        let wall = meter.read()?.wall;
        // The server projects its records twice a second; what is left of that belongs to these calls.
        tokio::time::sleep(rest).await;
        let cost = Cost { wall, cpu: meter.read()?.cpu };
        Ok(Both { direct, through, cost })
    }
}

impl Both {
    fn print(&self, bench: &mut Bench, name: &str) -> Result<()> {
        for (label, answer) in [("direct", &self.direct), ("through", &self.through)] {
            let requests = number(answer, "requests")?;
            let rate = requests / (number(answer, "wall_us")? / 1e6);
            let figure = Figure::new(format!("{name}, {label}: rate"), rate, "requests/s").took(self.cost);
            bench.report.add(&figure.seen(format!("{requests} requests")))?;
            for (quantile, field) in [("p50", "p50_us"), ("p99", "p99_us")] {
                let figure = Figure::new(format!("{name}, {label}: {quantile}"), number(answer, field)?, "µs");
                bench.report.add(&figure.took(self.cost))?;
            }
        }
        for (quantile, field) in [("p50", "p50_us"), ("p99", "p99_us")] {
            let added = number(&self.through, field)? - number(&self.direct, field)?;
            let figure = Figure::new(format!("{name}, added: {quantile}"), added, "µs").took(self.cost);
            bench.report.add(&figure.seen("difference of the two quantiles"))?;
        }
        let requests = number(&self.through, "requests")? as u64;
        let cpu = self.cost.cpu_us_each(requests);
        let figure = Figure::new(format!("{name}, server CPU a request"), cpu, "µs").took(self.cost);
        bench.report.add(&figure.cpu(cpu).at_most(120.0).seen("policy, durable record and its projection included"))
    }

    fn print_streams(&self, bench: &mut Bench, times: u64) -> Result<()> {
        let name = format!("gateway/stream of {} events", upstream::EVENTS);
        if number(&self.direct, "bytes")? != number(&self.through, "bytes")? {
            return Err("a stream did not come whole through the gateway".into());
        }
        for (label, answer) in [("direct", &self.direct), ("through", &self.through)] {
            let figure = Figure::new(format!("{name}, {label}: p50"), number(answer, "p50_us")?, "µs").took(self.cost);
            bench.report.add(&figure.seen(format!("{} bytes, {times} streams", number(answer, "bytes")?)))?;
        }
        let cpu = self.cost.cpu_us_each(times);
        let figure = Figure::new(format!("{name}, server CPU a stream"), cpu, "µs").took(self.cost);
        bench.report.add(&figure.cpu(cpu))
    }
}

fn with(order: &Value, fields: &[(&str, &str)]) -> Value {
    let mut order = order.clone();
    if let Some(map) = order.as_object_mut() {
        map.extend(fields.iter().map(|(name, value)| ((*name).to_owned(), json!(value))));
    }
    order
}

fn number(answer: &Value, name: &str) -> Result<f64> {
    answer.get(name).and_then(Value::as_f64).ok_or_else(|| format!("the load generator gave no `{name}`: {answer}").into())
}
