//! Files that people attest, found by their own bytes and not by what they were made from.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use marque_core::event::By;
use marque_core::id::TaskId;
use marque_engine::{
    ActionRequest, ArtifactRequest, Attested, Caller, Chain, EngineError, Missing, Query, Trace, TraceClass, content, sha256,
};
use serde_json::{Value, json};

use crate::world::{ALICE, BOB, LEAD, WORKER, World, answered, call, person, spiffe};

const DATA: &[u8] = b"rows of a table that some model is to be trained on, and nothing else";
const MODEL: &[u8] = b"weights that came of it";
const OTHER: &[u8] = b"other weights that came of the same rows";

async fn attest(world: &World, by: &Caller, name: &str, bytes: &[u8], task: TaskId, inputs: &[&[u8]]) -> Attested {
    let inputs = inputs.iter().map(|input| sha256(input)).collect();
    let request = ArtifactRequest { name: name.into(), content: sha256(bytes), bytes: bytes.len() as u64, task, inputs };
    world.engine.attest_artifact(by, request).await.unwrap()
}

/// A record of a call that carried this text.
async fn carry(world: &World, text: &[u8]) -> u64 {
    let agent = world.agent(LEAD).await;
    let task = world.task(LEAD, None).await;
    let lease = world.token(&agent, &task).await.lease.id;
    let contents = vec![content("/params/arguments/content", text)];
    let request = ActionRequest { contents, ..call(lease, "tool:crm/find", json!({})) };
    let permit = world.permit(request).await;
    let record = permit.record();
    permit.settle(answered()).unwrap();
    world.engine.drain().await.unwrap();
    world.engine.trace_record(record).unwrap().entry
}

/// The names of artifacts.
fn names<'a>(chains: impl IntoIterator<Item = &'a Chain>) -> Vec<&'a str> {
    chains.into_iter().filter_map(|chain| chain.artifact.as_ref()).map(|artifact| artifact.name.as_str()).collect()
}

fn entries(trace: &Trace) -> Vec<u64> {
    trace.chains.iter().map(|chain| chain.entry).collect()
}

#[tokio::test]
async fn a_file_that_is_only_an_input_comes_from_nowhere() {
    let world = World::start().await;
    let task = world.task(WORKER, None).await.id;
    let attested = attest(&world, &world.bob, "model.bin", MODEL, task, &[DATA]).await;
    world.publish().await;
    let trace = world.engine.trace(DATA).unwrap();
    assert_eq!((trace.class, trace.chains.len(), trace.spans.len(), trace.hints.len()), (TraceClass::None, 0, 0, 0));
    let [of] = trace.input_of.as_slice() else { panic!("{trace:?}") };
    assert_eq!((of.entry, names([of])), (attested.entry, vec!["model.bin"]));
    assert_eq!((of.attested_by.clone(), of.tasks[0].task.id), (Some(By::Person(person(BOB))), task));
    assert!(of.found.is_none() && of.proof.as_ref().is_some_and(|proof| proof.verified));
    let told = serde_json::to_value(&trace).unwrap();
    assert_eq!((&told["class"], &told["input_of"][0]["attested_by"]), (&json!("none"), &json!(format!("user:{BOB}"))));
    // Nothing is stated of it, and it says why.
    let refused = world.engine.statement(Some("train.csv"), DATA).unwrap_err();
    assert!(matches!(&refused, EngineError::Invalid(text) if text.contains("only as an input")), "{refused}");
    // The log still answers which entries name it.
    let query = Query { digest: Some(sha256(DATA)), ..Query::default() };
    let found: Vec<u64> = world.engine.query(&query).unwrap().entries.iter().map(|entry| entry.index).collect();
    assert_eq!(found, [attested.entry]);
}

#[tokio::test]
async fn a_text_that_is_an_input_too_comes_only_from_where_it_was_carried() {
    let world = World::start().await;
    let task = world.task(WORKER, None).await.id;
    let carried = carry(&world, DATA).await;
    for name in ["a.bin", "b.bin", "c.bin"] {
        attest(&world, &world.alice, name, name.as_bytes(), task, &[DATA]).await;
    }
    let trace = world.engine.trace(DATA).unwrap();
    assert_eq!((trace.class, entries(&trace)), (TraceClass::Exact, vec![carried]));
    assert_eq!(names(&trace.input_of), ["c.bin", "b.bin", "a.bin"], "the newest first");
    let statement: Value = serde_json::from_slice(&world.engine.statement(None, DATA).unwrap()).unwrap();
    let payload: Value =
        serde_json::from_slice(&BASE64_STANDARD.decode(statement["payload"].as_str().unwrap()).unwrap()).unwrap();
    assert_eq!(payload["predicate"]["ledger"]["index"], carried);
    // A later request with the same text was not made from the models.
    let later = carry(&world, DATA).await;
    let trace = world.engine.trace(DATA).unwrap();
    assert_eq!(entries(&trace), [carried, later]);
    assert_eq!(names(&trace.chains[1].upstream), Vec::<&str>::new());
    // And it is found however many models were made from it since.
    for n in 0..25 {
        let name = format!("{n}.bin");
        attest(&world, &world.alice, &name, name.as_bytes(), task, &[DATA]).await;
    }
    let trace = world.engine.trace(DATA).unwrap();
    assert_eq!((entries(&trace), trace.input_of.len()), (vec![carried, later], 20));
}

#[tokio::test]
async fn files_with_the_same_inputs_are_not_made_from_each_other() {
    let world = World::start().await;
    let task = world.task(WORKER, None).await.id;
    attest(&world, &world.alice, "train.csv", DATA, task, &[]).await;
    attest(&world, &world.alice, "model.bin", MODEL, task, &[DATA]).await;
    attest(&world, &world.bob, "other.bin", OTHER, task, &[DATA]).await;
    attest(&world, &world.bob, "third.bin", b"made of two models", task, &[MODEL, OTHER]).await;
    for (bytes, from) in [(DATA, vec![]), (MODEL, vec!["train.csv"]), (OTHER, vec!["train.csv"])] {
        let trace = world.engine.trace(bytes).unwrap();
        assert_eq!((trace.class, trace.chains.len(), names(&trace.chains[0].upstream)), (TraceClass::Exact, 1, from));
    }
    let trace = world.engine.trace(b"made of two models").unwrap();
    let above = &trace.chains[0].upstream;
    assert_eq!(names(above), ["other.bin", "model.bin"]);
    assert_eq!(above.iter().map(|chain| names(&chain.upstream)).collect::<Vec<_>>(), [["train.csv"], ["train.csv"]]);
    assert_eq!(trace.chains[0].artifact.as_ref().unwrap().identity, spiffe(WORKER));
    assert_eq!(names(&world.engine.trace(DATA).unwrap().input_of), ["other.bin", "model.bin"]);
}

/// Of a file that is too long to be sent, the digest finds what its bytes would.
#[tokio::test]
async fn a_file_is_found_by_its_digest_alone() {
    let world = World::start().await;
    let task = world.task(WORKER, None).await.id;
    let carried = carry(&world, DATA).await;
    let attested = attest(&world, &world.alice, "model.bin", MODEL, task, &[DATA]).await;
    world.publish().await;
    for (bytes, entry, side, at) in
        [(DATA, carried, "request", Some("/params/arguments/content")), (MODEL, attested.entry, "artifact", None)]
    {
        let (whole, trace) = (world.engine.trace(bytes).unwrap(), world.engine.trace_digest(&sha256(bytes)).unwrap());
        assert_eq!((trace.class, trace.complete, trace.digest_only), (TraceClass::Exact, false, true));
        assert_eq!((trace.digest, entries(&trace), trace.spans.len()), (sha256(bytes), vec![entry], 0));
        assert_eq!((whole.complete, whole.digest_only, entries(&whole)), (true, false, entries(&trace)));
        let found = trace.chains[0].found.as_ref().unwrap();
        assert_eq!((found.class, found.side.as_str(), found.at.as_deref()), (TraceClass::Exact, side, at));
        let above = |trace: &Trace| trace.chains[0].upstream.iter().map(|chain| chain.entry).collect::<Vec<u64>>();
        assert_eq!(above(&trace), above(&whole));
        let name = Some("a file");
        let by_digest = world.engine.statement_of(name, &sha256(bytes)).unwrap();
        assert_eq!(by_digest, world.engine.statement(name, bytes).unwrap());
    }
    let data = world.engine.trace_digest(&sha256(DATA)).unwrap();
    assert_eq!(names(&data.input_of), ["model.bin"]);
    let unknown = world.engine.trace_digest(&sha256(b"unknown")).unwrap();
    assert_eq!((unknown.class, unknown.chains.len(), unknown.complete), (TraceClass::None, 0, false));
    assert!(world.engine.statement_of(None, &sha256(b"unknown")).is_err());
}

/// Two empty files are the same, which says nothing of either.
#[tokio::test]
async fn an_empty_file_is_never_found() {
    let world = World::start().await;
    let task = world.task(WORKER, None).await.id;
    attest(&world, &world.alice, "model.bin", MODEL, task, &[b""]).await;
    carry(&world, b"").await;
    for trace in [world.engine.trace(b"").unwrap(), world.engine.trace_digest(&sha256(b"")).unwrap()] {
        assert_eq!((trace.class, trace.chains.len(), trace.input_of.len()), (TraceClass::None, 0, 0));
    }
    let model = world.engine.trace(MODEL).unwrap();
    assert_eq!((model.class, model.chains[0].upstream.len()), (TraceClass::Exact, 0));
    assert!(world.engine.statement(None, b"").is_err());
}

#[tokio::test]
async fn inputs_that_are_not_on_record_are_told() {
    let world = World::start().await;
    let task = world.task(WORKER, None).await.id;
    attest(&world, &world.alice, "train.csv", DATA, task, &[b"what it was copied from"]).await;
    attest(&world, &world.alice, "model.bin", MODEL, task, &[DATA, OTHER, b"unknown", b"unknown"]).await;
    attest(&world, &world.alice, "other.bin", OTHER, task, &[]).await;
    let missing = |bytes: &[u8], later| Missing { input: sha256(bytes), later };
    for trace in [world.engine.trace(MODEL).unwrap(), world.engine.trace_digest(&sha256(MODEL)).unwrap()] {
        let chain = &trace.chains[0];
        assert_eq!(names(&chain.upstream), ["train.csv"], "what was attested later is none of it");
        assert_eq!(chain.missing, [missing(OTHER, true), missing(b"unknown", false)]);
        assert_eq!(chain.upstream[0].missing, [missing(b"what it was copied from", false)]);
    }
    assert!(world.engine.trace(OTHER).unwrap().chains[0].missing.is_empty());
    let told = serde_json::to_value(world.engine.trace(MODEL).unwrap()).unwrap();
    assert_eq!(told["chains"][0]["missing"][1], json!({ "input": sha256(b"unknown"), "later": false }));
}

/// What is known of a file only by its attestation is a lineage too: the task, its person, and what it was made from.
#[tokio::test]
async fn the_lineage_of_an_attested_file_is_told() {
    let world = World::start().await;
    let task = world.task(WORKER, None).await.id;
    let carried = carry(&world, DATA).await;
    attest(&world, &world.alice, "other.bin", OTHER, task, &[]).await;
    attest(&world, &world.bob, "model.bin", MODEL, task, &[DATA, OTHER, b"unknown"]).await;
    let trace = world.engine.trace(MODEL).unwrap();
    let record = trace.chains[0].upstream.iter().find(|chain| chain.entry == carried).unwrap().decided.as_ref().unwrap().record;
    let prov = trace.prov(Some("found.bin"));
    let (work, record) = (format!("log:work-{task}"), format!("log:{record}"));
    let id = |bytes: &[u8]| sha256(bytes).to_string();
    let all = |name: &str| prov[name].as_object().unwrap().values().cloned().collect::<Vec<Value>>();
    let is = |link: &Value, key: &str, value: &str| link[key] == value;
    for input in [DATA, OTHER, b"unknown"] {
        let input = id(input);
        let used = |link: &Value| is(link, "prov:activity", &work) && is(link, "prov:entity", &input);
        assert!(all("used").iter().any(used), "{prov}");
        let derived = |link: &Value| is(link, "prov:generatedEntity", &id(MODEL)) && is(link, "prov:usedEntity", &input);
        assert!(all("wasDerivedFrom").iter().any(derived), "{prov}");
    }
    for (bytes, activity) in [(MODEL, &work), (OTHER, &work), (DATA, &record)] {
        let made = |link: &Value| is(link, "prov:entity", &id(bytes)) && is(link, "prov:activity", activity);
        assert!(all("wasGeneratedBy").iter().any(made), "{prov}");
    }
    assert_eq!(prov["entity"][id(OTHER)]["prov:label"], "other.bin");
    assert_eq!(prov["entity"][id(MODEL)]["prov:label"], "found.bin", "what whoever traced it calls it");
    let person = format!("user:{ALICE}");
    assert!(all("actedOnBehalfOf").iter().any(|link| is(link, "prov:responsible", &person) && is(link, "prov:activity", &work)));
    assert_eq!(prov["activity"].as_object().unwrap().len(), 2, "{prov}");
}
