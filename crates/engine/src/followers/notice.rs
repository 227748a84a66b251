//! What a follower says of entries that were pruned before it could carry them out: one notice, never silence.

use std::ops::Range;

use marque_core::time::Timestamp;
use marque_export::{Source, cloudevents, ocsf};
use serde_json::{Value, json};

use super::batch::{ExportFormat, Framing, Rendering};
use crate::error::Result;

/// The notice in a format. In Parquet, which has rows for entries only, it is the plain JSON.
pub(super) fn pruned(source: &Source<'_>, how: &Rendering, range: &Range<u64>, at: Timestamp) -> Result<Vec<u8>> {
    let value = match how.format {
        ExportFormat::Cef => return Ok(cef(source, range, at).into_bytes()),
        ExportFormat::Otlp => return Ok(serde_json::to_vec(&otlp(source, range, at))?),
        ExportFormat::Ocsf => base_event(source, range, at),
        ExportFormat::Cloudevents => cloud_event(source, range, at),
        ExportFormat::Events | ExportFormat::Parquet => plain(source, range),
    };
    let list = how.framing == Framing::Body && how.format != ExportFormat::Parquet;
    Ok(serde_json::to_vec(&if list { json!([value]) } else { value })?)
}

fn plain(source: &Source<'_>, range: &Range<u64>) -> Value {
    json!({ "notice": "pruned", "origin": source.origin, "from": range.start, "below": range.end, "message": TEXT })
}

fn cloud_event(source: &Source<'_>, range: &Range<u64>, at: Timestamp) -> Value {
    json!({
        "specversion": "1.0",
        "id": format!("pruned-{}-{}", range.start, range.end),
        "source": format!("https://{}", source.origin),
        "type": "dev.marque.export.pruned",
        "time": at.to_string(),
        "datacontenttype": "application/json",
        "sequence": format!("{:020}", range.start),
        "data": plain(source, range),
    })
}

/// The Base Event of OCSF: the one class for what has none.
fn base_event(source: &Source<'_>, range: &Range<u64>, at: Timestamp) -> Value {
    json!({
        "category_uid": 0,
        "category_name": "Uncategorized",
        "class_uid": 0,
        "class_name": "Base Event",
        "activity_id": 99,
        "activity_name": "Pruned",
        "type_uid": 99,
        "type_name": "Base Event: Other",
        "severity_id": 3,
        "severity": "Medium",
        "time": at.micros().div_euclid(1000),
        "message": TEXT,
        "metadata": {
            "version": ocsf::VERSION,
            "product": { "name": "Marque", "vendor_name": "Marque", "version": source.version },
            "log_name": source.origin,
            "event_code": "export_pruned",
            "sequence": range.start,
        },
        "unmapped": { "marque": plain(source, range) },
    })
}

fn otlp(source: &Source<'_>, range: &Range<u64>, at: Timestamp) -> Value {
    let text = |key: &str, value: &str| json!({ "key": key, "value": { "stringValue": value } });
    let number = |key: &str, value: u64| json!({ "key": key, "value": { "intValue": value.to_string() } });
    let nanos = u64::try_from(at.micros()).unwrap_or(0).saturating_mul(1000).to_string();
    json!({
        "resourceLogs": [{
            "resource": { "attributes": [
                text("service.name", "marque"),
                text("service.version", source.version),
                text("marque.log.origin", source.origin),
            ] },
            "scopeLogs": [{
                "scope": { "name": "dev.marque.ledger", "version": source.version },
                "logRecords": [{
                    "timeUnixNano": nanos,
                    "observedTimeUnixNano": nanos,
                    "severityNumber": 13,
                    "severityText": "WARN",
                    "eventName": "marque.export.pruned",
                    "body": { "stringValue": TEXT },
                    "attributes": [number("marque.pruned.from", range.start), number("marque.pruned.below", range.end)],
                }],
            }],
        }],
    })
}

fn cef(source: &Source<'_>, range: &Range<u64>, at: Timestamp) -> String {
    format!(
        "CEF:0|Marque|Marque|{}|export_pruned|{TEXT}|6|rt={} deviceExternalId={} cn1Label=from cn1={} cn2Label=below cn2={}",
        source.version,
        at.micros().div_euclid(1000),
        source.origin,
        range.start,
        range.end,
    )
}

/// The media type of a request that carries a format.
pub(super) fn content_type(how: &Rendering) -> &'static str {
    match (how.format, how.framing) {
        (ExportFormat::Parquet, _) => marque_export::parquet::CONTENT_TYPE,
        (ExportFormat::Cef, _) => "text/plain; charset=utf-8",
        (ExportFormat::Cloudevents, Framing::Body) => cloudevents::BATCH_CONTENT_TYPE,
        (_, Framing::Body) => "application/json",
        (_, Framing::Lines) => "application/x-ndjson",
    }
}

const TEXT: &str = "entries were pruned from the log before they were exported";
