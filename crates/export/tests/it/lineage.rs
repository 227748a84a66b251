//! PROV and in-toto: the chain from a file to the person.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use marque_core::{Commitment, Committed, Digest};
use marque_export::chain::{File, Lineage};
use marque_export::intoto::{self, LedgerEntry, Origin};
use marque_export::{ExportError, prov};
use serde_json::{Value, json};

use crate::sample;

#[test]
fn the_lineage_leads_to_the_person() {
    let out = prov::document(&sample::SOURCE, &sample::lineage());
    let agents = out["agent"].as_object().unwrap();
    for agent in ["user:alice@example.com", "user:bob", "spiffe:example.org/agent/letters", "spiffe:example.org/agent/statistics"]
    {
        assert!(agents.contains_key(agent), "{agent} of {agents:?}");
    }
    // From the copy that acted upwards, one arrives at the person.
    let links: Vec<(String, String)> = out["actedOnBehalfOf"]
        .as_object()
        .unwrap()
        .values()
        .map(|link| (link["prov:delegate"].as_str().unwrap().to_owned(), link["prov:responsible"].as_str().unwrap().to_owned()))
        .collect();
    let copy = out["wasAssociatedWith"].as_object().unwrap().values().next().unwrap()["prov:agent"].as_str().unwrap();
    let mut reached = vec![copy.to_owned()];
    let mut i = 0;
    while i < reached.len() {
        reached.extend(
            links
                .iter()
                .filter(|(from, to)| *from == reached[i] && !reached.contains(to))
                .map(|(_, to)| to.clone())
                .collect::<Vec<_>>(),
        );
        i += 1;
    }
    assert!(reached.contains(&"user:alice@example.com".to_owned()), "{reached:?}");
}

/// A file that is known by an attestation alone leads to its task, its inputs, and the person who asked.
#[test]
fn an_attested_file_has_a_lineage() {
    let made = sample::made();
    let lineage = Lineage { file: made.file.clone(), steps: Vec::new(), made: vec![made.clone()] };
    let out = prov::document(&sample::SOURCE, &lineage);
    let all = |name: &str| out[name].as_object().unwrap().values().cloned().collect::<Vec<_>>();
    let (work, file) = (format!("log:work-{}", made.task), made.file.digest.to_string());
    assert_eq!(out["activity"][&work]["marque:task"], json!(made.task));
    assert_eq!((&out["entity"][&file]["prov:label"], all("activity").len()), (&json!("model.bin"), 1));
    let inputs: Vec<String> = made.inputs.iter().map(ToString::to_string).collect();
    let linked = |name: &str, key: &str| all(name).iter().map(|link| link[key].as_str().unwrap().to_owned()).collect::<Vec<_>>();
    assert_eq!((linked("used", "prov:entity"), linked("wasDerivedFrom", "prov:usedEntity")), (inputs.clone(), inputs));
    assert!(linked("wasDerivedFrom", "prov:generatedEntity").iter().all(|entity| *entity == file));
    let generated = &all("wasGeneratedBy")[0];
    assert_eq!((&generated["prov:entity"], &generated["prov:activity"]), (&json!(file), &json!(work)));
    assert_eq!(
        (&generated["marque:attestedBy"], &generated["marque:index"]["$"]),
        (&json!("user:alice@example.com"), &json!("63"))
    );
    let association = &all("wasAssociatedWith")[0];
    assert_eq!(association["prov:agent"], "spiffe:example.org/agent/letters", "no copy of it is known");
    assert!(out["entity"].get(association["prov:plan"].as_str().unwrap()).is_some());
    assert!(linked("actedOnBehalfOf", "prov:responsible").contains(&"user:alice@example.com".to_owned()));
    assert!(out["activity"].as_object().unwrap().keys().all(|id| out["entity"].get(id).is_none()), "nothing is both");
}

#[test]
fn every_name_that_is_used_is_declared() {
    let out = prov::document(&sample::SOURCE, &sample::lineage());
    let declared = |kind: &str, id: &Value| out[kind].get(id.as_str().unwrap()).is_some();
    let part = |name: &str| out[name].as_object().unwrap().values().cloned().collect::<Vec<_>>();
    for link in part("used").iter().chain(&part("wasGeneratedBy")) {
        assert!(declared("activity", &link["prov:activity"]) && declared("entity", &link["prov:entity"]));
    }
    for link in part("wasDerivedFrom") {
        assert!(declared("entity", &link["prov:generatedEntity"]) && declared("entity", &link["prov:usedEntity"]));
    }
    for link in part("wasInformedBy") {
        assert!(declared("activity", &link["prov:informed"]) && declared("activity", &link["prov:informant"]));
    }
    for link in part("wasAssociatedWith") {
        assert!(declared("agent", &link["prov:agent"]) && declared("entity", &link["prov:plan"]));
    }
    let lines: Vec<Value> = part("wasDerivedFrom").into_iter().filter_map(|link| link.get("marque:lines").cloned()).collect();
    assert_eq!(lines, [json!("1-12"), json!("20-31")]);
}

#[test]
fn a_statement_speaks_of_the_file_and_its_task() {
    let decided = sample::decided();
    let (tasks, path) = (sample::tasks(), [STANDARD.encode([1; 32]), STANDARD.encode([2; 32])]);
    let origin = origin(&decided, &tasks, &path);
    let out = intoto::statement(&sample::SOURCE, &origin).unwrap();
    assert_eq!(out["_type"], "https://in-toto.io/Statement/v1");
    assert_eq!(out["predicateType"], intoto::ACTION);
    assert_eq!(out["subject"][0]["digest"]["sha256"], "0b".repeat(32));
    assert_eq!(out["predicate"]["person"], "user:alice@example.com");
    assert_eq!(out["predicate"]["decision"]["effect"], "allow");
    assert_eq!(out["predicate"]["ledger"]["index"], 57);
    assert_eq!(out["predicate"]["ledger"]["path"].as_array().unwrap().len(), 2);
    assert_eq!(intoto::provenance(&sample::SOURCE, &origin).unwrap(), None, "it was made from nothing that is known");
}

#[test]
fn what_was_made_from_files_has_a_provenance() {
    let artifact = sample::artifact();
    let (decided, tasks) = (sample::decided(), sample::tasks());
    let origin = Origin { inputs: &artifact.inputs, decided: None, ..origin(&decided, &tasks, &[]) };
    let out = intoto::provenance(&sample::SOURCE, &origin).unwrap().unwrap();
    assert_eq!(out["predicateType"], intoto::PROVENANCE);
    let definition = &out["predicate"]["buildDefinition"];
    assert_eq!(definition["resolvedDependencies"][0]["digest"]["sha256"], "0c".repeat(32));
    assert_eq!(definition["resolvedDependencies"][1]["uri"], format!("urn:marque:commit:{}", "0d".repeat(32)));
    assert_eq!(out["predicate"]["runDetails"]["builder"]["id"], "spiffe://example.org/agent/letters");
}

#[test]
fn an_envelope_is_signed_over_its_type_and_payload() {
    let statement = json!({ "a": 1 });
    let mut signed = Vec::new();
    let envelope = intoto::envelope(&statement, "key-1", |bytes| {
        signed = bytes.to_vec();
        vec![9; 64]
    });
    let envelope: Value = serde_json::from_slice(&envelope.unwrap()).unwrap();
    let payload = STANDARD.decode(envelope["payload"].as_str().unwrap()).unwrap();
    assert_eq!(serde_json::from_slice::<Value>(&payload).unwrap(), statement);
    assert_eq!(signed, b"DSSEv1 28 application/vnd.in-toto+json 7 {\"a\":1}");
    assert_eq!(envelope["signatures"], json!([{ "keyid": "key-1", "sig": STANDARD.encode([9; 64]) }]));
}

#[test]
fn nothing_is_stated_of_a_file_that_is_not_known() {
    let (decided, tasks) = (sample::decided(), sample::tasks());
    let closed = Committed::Closed(Commitment::from_bytes([1; 32]));
    let origin = Origin { file: File { name: Some("a".to_owned()), digest: closed }, ..origin(&decided, &tasks, &[]) };
    assert!(matches!(intoto::statement(&sample::SOURCE, &origin), Err(ExportError::Closed(name)) if name == "a"));
}

/// What the samples state.
pub fn origin<'a>(
    decided: &'a marque_core::record::Decided,
    tasks: &'a [marque_export::chain::TaskStep],
    path: &'a [String],
) -> Origin<'a> {
    Origin {
        file: File { name: Some("weekly report.md".to_owned()), digest: Committed::Open(Digest::from_bytes([11; 32])) },
        identity: &decided.identity,
        instance: Some(decided.instance),
        tasks,
        decided: Some(decided),
        inputs: &[],
        at: marque_core::time::Timestamp::from_seconds(1_790_000_020),
        entry: LedgerEntry { index: 57, leaf: [3; 32], proof: Some((path, "example.org/marque/log\n100\nAAAA\n\n— sig\n")) },
    }
}
