//! Security events in the Open Cybersecurity Schema Framework, version 1.9.0.
//!
//! Profiles: `ai_operation` names the acting agent (`ai_agent`) and the authority it acts under (`delegation`: our task);
//! `record_integrity` carries the leaf hash, with the log's origin as the chain; `security_control` carries a decision.
//! What has no slot in OCSF stands under `unmapped`, so that nothing of an event is lost.

mod classes;
mod inventory;
mod map;
mod nodes;
mod objects;

use marque_core::event::Event;
use serde_json::{Map, Value, json};

use crate::facts::{Facts, Severity, sentence};
use crate::object::Put;
use crate::{Entry, PRODUCT, Result, Source};
use map::Shape;

/// The version of OCSF.
pub const VERSION: &str = "1.9.0";

/// An entry as an OCSF event.
pub fn event(source: &Source<'_>, entry: &Entry<'_>) -> Result<Value> {
    let Shape { class, activity, activity_name, status, detail, fields, mapped } = map::shape(source, entry.event);
    let mut out = Map::new();
    let mut put = |key: &str, value: Value| out.insert(key.to_owned(), value);
    put("category_uid", json!(class.category.0));
    put("category_name", json!(class.category.1));
    put("class_uid", json!(class.uid));
    put("class_name", json!(class.name));
    put("activity_id", json!(activity));
    put("activity_name", json!(activity_name));
    put("type_uid", json!(class.uid * 100 + activity));
    // An activity of our own has its name beside it, and its type is "Other".
    let type_name = if activity == 99 { "Other" } else { activity_name };
    put("type_name", json!(format!("{}: {type_name}", class.name)));
    let (severity, severity_name) = severity(entry.event);
    put("severity_id", json!(severity));
    put("severity", json!(severity_name));
    put("status_id", json!(status.id()));
    put("status", json!(status.name()));
    if let Some(detail) = detail {
        put("status_detail", json!(detail));
    }
    // OCSF counts milliseconds; the microseconds stand in `unmapped`.
    put("time", json!(entry.event.ts.micros().div_euclid(1000)));
    put("message", json!(sentence(entry.event)));
    put("metadata", metadata(source, entry, &fields));
    put("attestation_list", json!([attestation(source, entry)]));
    put("unmapped", unmapped(entry, mapped)?);
    out.extend(fields);
    Ok(Value::Object(out))
}

/// The entries as lines of JSON, each with its line feed.
pub fn ndjson(source: &Source<'_>, entries: &[Entry<'_>]) -> Result<String> {
    entries.iter().map(|entry| Ok(event(source, entry)?.to_string() + "\n")).collect()
}

fn metadata(source: &Source<'_>, entry: &Entry<'_>, fields: &Map<String, Value>) -> Value {
    let facts = Facts::of(entry.event);
    let mut profiles = vec!["record_integrity"];
    if ["ai_agent", "delegation"].iter().any(|key| fields.contains_key(*key)) {
        profiles.push("ai_operation");
    }
    if fields.contains_key("action_id") {
        profiles.push("security_control");
    }
    let mut metadata = json!({
        "version": VERSION,
        "product": { "name": PRODUCT, "vendor_name": PRODUCT, "version": source.version },
        "profiles": profiles,
        "uid": entry.event.id,
        "event_code": entry.event.what.kind(),
        "log_name": source.origin,
        "log_provider": PRODUCT,
        "log_version": entry.event.v.to_string(),
        "logged_time": entry.event.ts.micros().div_euclid(1000),
        "sequence": entry.index,
    });
    if let Some(correlation) = facts.record.or(facts.elevation) {
        metadata.put("correlation_uid", json!(correlation));
    }
    metadata
}

/// The leaf hash binds this event to its entry in the log. It is of the entry, not of this rendering of it; the proof that
/// the entry is in the log has no slot in OCSF.
fn attestation(source: &Source<'_>, entry: &Entry<'_>) -> Value {
    json!({
        "uid": entry.index.to_string(),
        "authority_uid": source.origin,
        "chain_uid": source.origin,
        "fingerprint": {
            "algorithm_id": 3,
            "algorithm": "SHA-256",
            "encoding_id": 1,
            "encoding": "Hex",
            "serialization_id": 99,
            "serialization": "RFC 6962 leaf of the entry",
            "value": hex::encode(entry.leaf),
        },
    })
}

/// The event without what is mapped: `mapped` are JSON pointers from `what`.
fn unmapped(entry: &Entry<'_>, mapped: &[&str]) -> Result<Value> {
    let mut event = serde_json::to_value(entry.event)?;
    for pointer in mapped.iter().chain(&["/kind"]) {
        if let Some((above, key)) = pointer.rsplit_once('/')
            && let Some(object) = event.pointer_mut(&format!("/what{above}")).and_then(Value::as_object_mut)
        {
            object.remove(key);
        }
    }
    if let Some(event) = event.as_object_mut() {
        event.remove("id");
        event.insert("index".to_owned(), json!(entry.index));
    }
    Ok(json!({ "marque": event }))
}

fn severity(event: &Event) -> (u64, &'static str) {
    match Severity::of(event) {
        Severity::Information => (1, "Informational"),
        Severity::Low => (2, "Low"),
        Severity::Medium => (3, "Medium"),
        Severity::High => (4, "High"),
    }
}
