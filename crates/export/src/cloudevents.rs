//! Webhooks: CloudEvents 1.0.2 in the JSON event format, one by one or as a batch (JSON Event Format §3 and §4).

use serde_json::{Map, Value, json};

use crate::facts::{Facts, TraceParent, rfc3339};
use crate::{Entry, Result, Source};

/// The media type of one event.
pub const CONTENT_TYPE: &str = "application/cloudevents+json";

/// The media type of a batch.
pub const BATCH_CONTENT_TYPE: &str = "application/cloudevents-batch+json";

/// An entry as a CloudEvent in structured mode.
///
/// The event is the data, as its entry has it. The extension attributes let a receiver sort and route without reading it:
/// `sequence` is the index in the log, with as many digits as order texts as numbers; `leafhash` binds the event to it.
pub fn event(source: &Source<'_>, entry: &Entry<'_>) -> Result<Value> {
    let facts = Facts::of(entry.event);
    let mut out = Map::new();
    let mut put = |key: &str, value: Option<Value>| {
        if let Some(value) = value {
            out.insert(key.to_owned(), value);
        }
    };
    put("specversion", Some(json!("1.0")));
    put("id", Some(json!(entry.event.id)));
    put("source", Some(json!(format!("https://{}", source.origin))));
    put("type", Some(json!(format!("dev.marque.{}", entry.event.what.kind()))));
    put("time", rfc3339(entry.event.ts).map(Value::String));
    put("subject", facts.subject().map(|subject| json!(subject)));
    put("datacontenttype", Some(json!("application/json")));
    put("dataschema", Some(json!(format!("https://marque.dev/schema/event/v{}", entry.event.v))));
    put("sequence", Some(json!(format!("{:020}", entry.index))));
    put("leafhash", Some(json!(hex::encode(entry.leaf))));
    put("identity", facts.identity.map(Value::String));
    put("instance", facts.instance.map(Value::String));
    // What belongs to one task stays in order where a broker keeps partitions.
    put("partitionkey", facts.task.clone().map(Value::String));
    put("task", facts.task.map(Value::String));
    put("person", facts.person.map(Value::String));
    put("resource", facts.resource.filter(|text| plain(text)).map(Value::String));
    put("effect", facts.effect.map(|effect| json!(effect)));
    put("traceparent", traceparent(entry).map(|context| json!(context)));
    put("data", Some(serde_json::to_value(entry.event)?));
    Ok(Value::Object(out))
}

/// The entries as one batch: the body of a request of type [`BATCH_CONTENT_TYPE`].
pub fn batch(source: &Source<'_>, entries: &[Entry<'_>]) -> Result<Vec<u8>> {
    let events: Vec<Value> = entries.iter().map(|entry| event(source, entry)).collect::<Result<_>>()?;
    Ok(serde_json::to_vec(&events)?)
}

/// The distributed tracing extension carries the caller's own context, untouched.
fn traceparent<'a>(entry: &Entry<'a>) -> Option<&'a str> {
    TraceParent::of(entry.event)?;
    match &entry.event.what {
        marque_core::event::Body::Decided(decided) => decided.correlation.as_deref(),
        _ => None,
    }
}

/// Attributes of type String hold no control characters (CloudEvents §3.1); a file's name may.
fn plain(text: &str) -> bool {
    !text.is_empty() && !text.chars().any(char::is_control)
}
