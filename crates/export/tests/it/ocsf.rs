//! OCSF: every kind has its class, and nothing of an event is lost. `export_check.py` holds the output against OCSF's own
//! schema.

use marque_export::ocsf;
use serde_json::{Value, json};

use crate::{entry_json, sample};

#[test]
fn every_event_has_a_class_and_loses_nothing() {
    let events = sample::events();
    for entry in sample::entries(&events) {
        let out = ocsf::event(&sample::SOURCE, &entry).unwrap();
        let (class, activity) = (out["class_uid"].as_u64().unwrap(), out["activity_id"].as_u64().unwrap());
        assert_eq!(out["type_uid"], json!(class * 100 + activity));
        assert_eq!(out["category_uid"], json!(class / 1000));
        assert_eq!(out["metadata"]["version"], "1.9.0");
        assert_eq!(out["metadata"]["event_code"], json!(entry.event.what.kind()));
        let attestation = &out["attestation_list"][0];
        assert_eq!(attestation["fingerprint"]["value"], json!(hex::encode(entry.leaf)));
        assert_eq!(attestation["chain_uid"], sample::SOURCE.origin);
        let profiles = out["metadata"]["profiles"].as_array().unwrap();
        for (key, profile) in [("ai_agent", "ai_operation"), ("delegation", "ai_operation"), ("action_id", "security_control")] {
            assert!(out.get(key).is_none() || profiles.contains(&json!(profile)), "{key} needs {profile}");
        }
        let (mut have, mut want) = (Vec::new(), Vec::new());
        leaves(&out, &mut have);
        leaves(&entry_json(entry.event), &mut want);
        // Those that OCSF says in words and numbers of its own.
        let said = |leaf: &Value| *leaf == json!("") || leaf.is_null() || have.contains(leaf);
        let lost: Vec<_> = want.iter().filter(|leaf| !said(leaf)).collect();
        assert!(lost.is_empty(), "{}: {lost:?} of {out}", entry.event.what.kind());
    }
}

#[test]
fn a_decision_names_the_person_the_agent_and_the_task() {
    let event = sample::full("decided");
    let entry = marque_export::Entry { index: 7, event: &event, leaf: [1; 32] };
    let out = ocsf::event(&sample::SOURCE, &entry).unwrap();
    assert_eq!(out["type_uid"], 600_399);
    assert_eq!(out["actor"]["user"]["uid"], "user:alice@example.com");
    assert_eq!(out["ai_agent"]["uid"], "spiffe://example.org/agent/letters");
    assert!(out["delegation"]["uid"].as_str().unwrap().starts_with("task_"));
    assert_eq!((&out["action_id"], &out["status_id"]), (&json!(1), &json!(0)));
    assert_eq!(out["api"]["operation"], "mcp tools/call");
    assert_eq!(out["metadata"]["correlation_uid"], out["api"]["request"]["uid"]);
}

#[test]
fn a_settled_call_is_a_success_only_if_it_was_answered_well() {
    let events = sample::events();
    let statuses: Vec<Value> = sample::entries(&events)
        .iter()
        .filter(|entry| entry.event.what.kind() == "settled")
        .map(|entry| ocsf::event(&sample::SOURCE, entry).unwrap()["status"].clone())
        .collect();
    assert_eq!(statuses, [json!("Success"), json!("Failure"), json!("Failure"), json!("Unknown")]);
}

#[test]
fn each_event_is_a_line() {
    let events = sample::events();
    let lines = ocsf::ndjson(&sample::SOURCE, &sample::entries(&events)).unwrap();
    assert_eq!(lines.lines().count(), events.len());
    assert!(lines.lines().all(|line| serde_json::from_str::<Value>(line).is_ok()));
}

fn leaves(value: &Value, found: &mut Vec<Value>) {
    match value {
        Value::Object(map) => map.values().for_each(|value| leaves(value, found)),
        Value::Array(list) => list.iter().for_each(|value| leaves(value, found)),
        leaf => found.push(leaf.clone()),
    }
}
