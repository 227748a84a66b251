//! CEF, CloudEvents and OTLP: every kind comes out, and comes out well formed.

use std::collections::BTreeSet;

use marque_core::event::{Body, Event};
use marque_core::time::Timestamp;
use marque_export::{Entry, cef, cloudevents, ocsf, otel, parquet};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::sample;

#[test]
fn a_cloud_event_has_what_it_must() {
    let events = sample::events();
    let batch = cloudevents::batch(&sample::SOURCE, &sample::entries(&events)).unwrap();
    let batch: Vec<Value> = serde_json::from_slice(&batch).unwrap();
    assert_eq!(batch.len(), events.len());
    for (out, event) in batch.iter().zip(&events) {
        assert_eq!(out["specversion"], "1.0");
        assert_eq!(out["type"], json!(format!("dev.marque.{}", event.what.kind())));
        assert_eq!(out["source"], "https://example.org/marque/log");
        assert_eq!(serde_json::from_value::<Event>(out["data"].clone()).unwrap(), *event);
        for (name, value) in out.as_object().unwrap() {
            assert!(name.len() <= 20 && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()), "{name}");
            assert!(name == "data" || value.as_str().is_some_and(|text| !text.is_empty()), "{name}: {value}");
        }
    }
    let ids: BTreeSet<_> = batch.iter().map(|out| out["id"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), events.len());
    let sequence: Vec<_> = batch.iter().map(|out| out["sequence"].as_str().unwrap()).collect();
    assert!(sequence.is_sorted());
    let traced = batch.iter().filter(|out| out["traceparent"] == sample::TRACEPARENT).count();
    assert_eq!(traced, 2, "the decisions with a trace context, and no other");
}

#[test]
fn a_log_record_joins_the_callers_trace() {
    let events = sample::events();
    let out = otel::logs(&sample::SOURCE, &sample::entries(&events), Timestamp::from_seconds(1_790_000_100)).unwrap();
    let out: Value = serde_json::from_slice(&out).unwrap();
    let records = out["resourceLogs"][0]["scopeLogs"][0]["logRecords"].as_array().unwrap();
    assert_eq!(records.len(), events.len());
    let decided: Vec<&Value> = records.iter().filter(|record| record["eventName"] == "marque.decided").collect();
    assert_eq!(decided[0]["traceId"], "4bf92f3577b34da6a3ce929d0e0e4736");
    assert_eq!(decided[0]["spanId"], "00f067aa0ba902b7");
    assert_eq!(attribute(decided[0], "gen_ai.operation.name"), "execute_tool");
    assert_eq!(attribute(decided[0], "gen_ai.tool.name"), "find_customer");
    assert_eq!(attribute(decided[0], "mcp.method.name"), "tools/call");
    assert_eq!(attribute(decided[0], "jsonrpc.request.id"), &Value::Null);
    assert_eq!(attribute(decided[1], "mcp.method.name"), "resources/read");
    assert_eq!(attribute(decided[2], "jsonrpc.request.id"), "7");
    assert_eq!(decided[2].get("traceId"), None);
    assert_eq!(attribute(decided[3], "gen_ai.operation.name"), "invoke_agent");
    for record in records {
        let keys: Vec<&str> = record["attributes"].as_array().unwrap().iter().map(|a| a["key"].as_str().unwrap()).collect();
        assert_eq!(keys.iter().collect::<BTreeSet<_>>().len(), keys.len(), "a key stands once: {keys:?}");
        assert!(record["timeUnixNano"].as_str().unwrap().parse::<u64>().unwrap() > 0);
    }
}

#[test]
fn a_cef_line_is_read_back_as_it_was_meant() {
    let events = sample::events();
    for entry in sample::entries(&events) {
        let line = cef::line(&sample::SOURCE, &entry);
        let (header, extension) = read_cef(&line);
        assert_eq!(header[..4], ["CEF:0", "Marque", "Marque", "1.2.3"]);
        assert_eq!(header[4], entry.event.what.kind());
        let value = |key: &str| extension.iter().find(|(k, _)| k == key).map(|(_, value)| value.as_str());
        assert_eq!(value("externalId"), Some(entry.event.id.to_string().as_str()));
        assert_eq!(value("flexString1"), Some(hex::encode(entry.leaf).as_str()));
        if let Body::IdentityMoved { why, .. } = &entry.event.what {
            assert_eq!(value("reason"), Some(why.as_str()));
        }
        let keys: BTreeSet<_> = extension.iter().map(|(key, _)| key).collect();
        assert_eq!(keys.len(), extension.len(), "a key stands once: {line}");
    }
}

proptest! {
    /// Whatever people write, nothing is dropped or broken by it, at any time and index.
    #[test]
    fn no_text_breaks_a_format(text in any::<String>(), micros in any::<i64>(), index in 0..=u64::MAX, leaf in any::<[u8; 32]>()) {
        let mut event = sample::event(1, Body::LedgerRead { query: text.clone(), rows: index });
        event.ts = Timestamp::from_micros(micros);
        event.iseq = index;
        let entry = Entry { index, event: &event, leaf };
        let line = cef::line(&sample::SOURCE, &entry);
        prop_assert!(!line.contains(['\n', '\r']));
        let (_, extension) = read_cef(&line);
        // Control characters but for line ends have no way into a line.
        let plain: String = text.chars().map(|c| if c.is_control() && !matches!(c, '\n' | '\r') { ' ' } else { c }).collect();
        let read = extension.into_iter().find(|(key, _)| key == "reason").map(|(_, value)| value);
        prop_assert_eq!(read, Some(plain));
        let out = cloudevents::event(&sample::SOURCE, &entry).unwrap();
        prop_assert_eq!(&out["data"]["what"]["query"], &json!(text));
        let time = out.get("time").map(|time| time.as_str().unwrap().len());
        prop_assert!(matches!(time, None | Some(24)));
        let logs = otel::logs(&sample::SOURCE, &[entry], event.ts).unwrap();
        let logs: Value = serde_json::from_slice(&logs).unwrap();
        prop_assert!(logs["resourceLogs"][0]["scopeLogs"][0]["logRecords"][0]["timeUnixNano"].as_str().unwrap().parse::<u64>().is_ok());
        let out = ocsf::event(&sample::SOURCE, &entry).unwrap();
        prop_assert_eq!(&out["unmapped"]["marque"]["what"]["query"], &json!(text));
        prop_assert_eq!(parquet::file(&sample::SOURCE, &[entry]).is_ok(), i64::try_from(index).is_ok());
    }
}

fn attribute<'a>(record: &'a Value, key: &str) -> &'a Value {
    let attributes = record["attributes"].as_array().unwrap();
    attributes.iter().find(|a| a["key"] == key).map_or(&Value::Null, |a| &a["value"]["stringValue"])
}

/// The header's fields and the extension's keys and values, unescaped: a reader that shares no code with the writer.
fn read_cef(line: &str) -> (Vec<String>, Vec<(String, String)>) {
    let (mut header, mut field, mut chars) = (Vec::new(), String::new(), line.chars());
    while header.len() < 7 {
        match chars.next().unwrap() {
            '\\' => field.push(chars.next().unwrap()),
            '|' => header.push(std::mem::take(&mut field)),
            c => field.push(c),
        }
    }
    // A value goes on until a space, a key and an equals sign that is not escaped.
    let (mut pairs, mut key, mut value) = (Vec::<(String, String)>::new(), String::new(), String::new());
    let mut in_key = true;
    while let Some(c) = chars.next() {
        match c {
            '=' if in_key => in_key = false,
            c if in_key => key.push(c),
            '\\' => value.push(match chars.next().unwrap() {
                'n' => '\n',
                'r' => '\r',
                c => c,
            }),
            '=' => {
                let cut = value.rfind(' ').unwrap();
                let next = value[cut + 1..].to_owned();
                value.truncate(cut);
                pairs.push((std::mem::replace(&mut key, next), std::mem::take(&mut value)));
            }
            c => value.push(c),
        }
    }
    pairs.push((key, value));
    (header, pairs)
}
