//! OpenTelemetry log records: the body of `POST /v1/logs` in OTLP's JSON encoding (OTLP 1.x, `ExportLogsServiceRequest`).
//!
//! Attributes follow the semantic conventions for generative AI and MCP, which are still in development. Telemetry is
//! sampled and lossy on its way: it leads to the ledger's entries by `marque.index`, and is never the evidence itself.

use marque_core::event::{Body, Event};
use marque_core::record::{Decided, Ending};
use marque_core::resource::{Action, ResourceKind};
use marque_core::time::Timestamp;
use serde_json::{Value, json};

use crate::facts::{Facts, Severity, TraceParent, ending_word, sentence};
use crate::object::Put;
use crate::{Entry, Result, Source};

/// The media type of the body.
pub const CONTENT_TYPE: &str = "application/json";

/// The entries as one request. `exported` is when, for `observedTimeUnixNano`.
pub fn logs(source: &Source<'_>, entries: &[Entry<'_>], exported: Timestamp) -> Result<Vec<u8>> {
    let records: Vec<Value> = entries.iter().map(|entry| record(entry, exported)).collect::<Result<_>>()?;
    let resource =
        [text("service.name", "marque"), text("service.version", source.version), text("marque.log.origin", source.origin)];
    let request = json!({
        "resourceLogs": [{
            "resource": { "attributes": resource },
            "scopeLogs": [{
                "scope": { "name": "dev.marque.ledger", "version": source.version },
                "logRecords": records,
            }],
        }],
    });
    Ok(serde_json::to_vec(&request)?)
}

fn record(entry: &Entry<'_>, exported: Timestamp) -> Result<Value> {
    let event = entry.event;
    let (number, severity) = match Severity::of(event) {
        Severity::Information => (9, "INFO"),
        Severity::Low => (10, "INFO2"),
        Severity::Medium => (13, "WARN"),
        Severity::High => (17, "ERROR"),
    };
    let mut record = json!({
        "timeUnixNano": nanos(event.ts),
        "observedTimeUnixNano": nanos(exported),
        "severityNumber": number,
        "severityText": severity,
        "eventName": format!("marque.{}", event.what.kind()),
        "body": { "stringValue": sentence(event) },
        "attributes": attributes(entry)?,
    });
    if let Some(context) = TraceParent::of(event) {
        // Identifiers are hex in OTLP's JSON, not base64 as in other JSON forms of Protobuf.
        record.put("traceId", json!(context.trace));
        record.put("spanId", json!(context.span));
        record.put("flags", json!(context.flags));
    }
    Ok(record)
}

fn attributes(entry: &Entry<'_>) -> Result<Vec<Value>> {
    let event = entry.event;
    let facts = Facts::of(event);
    let mut out = vec![
        text("marque.event.id", &event.id.to_string()),
        text("marque.event.by", &event.by.to_string()),
        number("marque.index", entry.index),
        text("marque.leaf_hash", &hex::encode(entry.leaf)),
        text("marque.event.json", &String::from_utf8_lossy(&event.to_bytes()?)),
    ];
    let mut put = |key: &str, value: Option<&str>| out.extend(value.map(|value| text(key, value)));
    put("gen_ai.agent.id", facts.identity.as_deref());
    put("marque.instance", facts.instance.as_deref());
    put("marque.task", facts.task.as_deref());
    put("user.id", facts.person.as_deref());
    put("marque.action", facts.action);
    put("marque.resource", facts.resource.as_deref());
    put("marque.effect", facts.effect);
    put("marque.policy", facts.policy.as_deref());
    put("marque.lease", facts.lease.as_deref());
    put("marque.credential.class", facts.class);
    put("marque.record", facts.record.as_deref());
    put("marque.elevation", facts.elevation.as_deref());
    if let Body::Decided(decided) = &event.what {
        out.extend(call(decided, TraceParent::of(event).is_some()));
    }
    put_outcome(event, &mut out);
    Ok(out)
}

/// The attributes of a call, as far as the decision knows it.
fn call(decided: &Decided, traced: bool) -> Vec<Value> {
    let method = decided.protocol.strip_prefix("mcp ");
    let operation = match (decided.action, method) {
        (Action::Infer, _) => Some("chat"),
        (Action::Delegate, _) => Some("invoke_agent"),
        (_, Some("tools/call")) => Some("execute_tool"),
        _ => None,
    };
    let mut out: Vec<Value> = operation.map(|word| text("gen_ai.operation.name", word)).into_iter().collect();
    out.push(text("gen_ai.agent.name", decided.identity.short()));
    if decided.resource.kind() == ResourceKind::Tool {
        // The name without the service before it is what the tool server calls it.
        let name = decided.resource.name().rsplit('/').next().unwrap_or_default();
        out.extend([text("gen_ai.tool.name", name), text("gen_ai.tool.call.id", &decided.record.to_string())]);
    }
    out.extend(method.map(|method| text("mcp.method.name", method)));
    // What is no trace context is the protocol's own identifier of the request.
    if method.is_some()
        && !traced
        && let Some(id) = &decided.correlation
    {
        out.push(text("jsonrpc.request.id", id));
    }
    out
}

fn put_outcome(event: &Event, out: &mut Vec<Value>) {
    let Body::Settled { outcome, .. } = &event.what else { return };
    out.push(text("marque.outcome", ending_word(outcome.ending)));
    out.push(number("http.response.status_code", u64::from(outcome.status)));
    out.push(number("http.response.body.size", outcome.bytes));
    match outcome.ending {
        Ending::Answered if outcome.status < 400 => {}
        Ending::Answered => out.push(text("error.type", &outcome.status.to_string())),
        ending => out.push(text("error.type", ending_word(ending))),
    }
}

fn text(key: &str, value: &str) -> Value {
    json!({ "key": key, "value": { "stringValue": value } })
}

/// A 64-bit number is text in Protobuf's JSON, and signed: a larger one is text for the receiver too.
fn number(key: &str, value: u64) -> Value {
    match i64::try_from(value) {
        Ok(value) => json!({ "key": key, "value": { "intValue": value.to_string() } }),
        Err(_) => text(key, &value.to_string()),
    }
}

/// Nanoseconds since the Unix epoch; 0, which is "unknown", for what lies before it or beyond the year 2554.
fn nanos(moment: Timestamp) -> String {
    let nanos = u64::try_from(moment.micros()).ok().and_then(|micros| micros.checked_mul(1000));
    nanos.unwrap_or(0).to_string()
}
