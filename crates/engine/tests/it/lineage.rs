//! What was written leads to what was read, and can be stated to others.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use marque_core::id::{LeaseId, RecordId};
use marque_core::record::Outcome;
use marque_engine::{ActionRequest, Chain, EngineError, Permit, TraceClass, content, sha256};
use serde_json::{Value, json};

use crate::world::{ALICE, LEAD, ORIGIN, World, answered, call};

const READ: &str = "Ada Holm asked for paper invoices in the spring and for none at all in the summer, when she had moved from \
    Bergen to a smaller town whose post office opens twice a week. Her contract is up for renewal in autumn; until then nobody \
    is to call her before ten in the morning, and whoever writes to her is to write to the new address.";

fn letter() -> String {
    format!("# Weekly report\n\nWhat the register says of one customer:\n\n> {READ}\n\nNobody else moved this week.\n")
}

async fn lease(world: &World) -> LeaseId {
    let agent = world.agent(LEAD).await;
    let task = world.task(LEAD, None).await;
    world.token(&agent, &task).await.lease.id
}

/// A call that is under way; its answer holds `READ`.
async fn reads(world: &World, lease: LeaseId) -> (Permit, Outcome) {
    let permit = world.permit(call(lease, "tool:crm/find", json!({ "name": "Ada" }))).await;
    (permit, Outcome { contents: vec![content("/result/content/0/text", READ.as_bytes())], ..answered() })
}

async fn writes(world: &World, lease: LeaseId, causes: Vec<RecordId>) -> RecordId {
    let contents = vec![content("/params/arguments/content", letter().as_bytes())];
    let request = ActionRequest { contents, causes, ..call(lease, "tool:crm/find", json!({ "content": letter() })) };
    let permit = world.permit(request).await;
    let record = permit.record();
    permit.settle(answered()).unwrap();
    record
}

fn record(chain: &Chain) -> RecordId {
    chain.decided.as_ref().unwrap().record
}

/// The records that a chain was made from: how sure, and by which side of them.
fn above(chain: &Chain) -> Vec<(RecordId, TraceClass, String)> {
    let told = |c: &Chain| (record(c), c.found.as_ref().unwrap().class, c.found.as_ref().unwrap().side.clone());
    chain.upstream.iter().map(told).collect()
}

#[tokio::test]
async fn what_was_written_leads_to_what_was_read() {
    let world = World::start().await;
    let lease = lease(&world).await;
    let (permit, outcome) = reads(&world, lease).await;
    let source = permit.record();
    permit.settle(outcome).unwrap();
    let written = writes(&world, lease, Vec::new()).await;
    world.engine.drain().await.unwrap();
    let trace = world.engine.trace(letter().as_bytes()).unwrap();
    let found = trace.chains[0].found.clone().unwrap();
    assert_eq!((record(&trace.chains[0]), found.class, found.side.as_str()), (written, TraceClass::Exact, "request"));
    assert_eq!(found.at.as_deref(), Some("/params/arguments/content"));
    assert_eq!(above(&trace.chains[0]), [(source, TraceClass::Strong, "response".to_owned())]);
    // What was read leads to no later record.
    let read = world.engine.trace(READ.as_bytes()).unwrap();
    let first = read.chains.iter().find(|chain| record(chain) == source).unwrap();
    assert_eq!((read.class, above(first)), (TraceClass::Exact, Vec::new()));
    // A part of it that was pasted elsewhere is told by its lines.
    let pasted = format!("Minutes of some meeting, taken by hand.\n\n{READ}\n\nEverybody left at five.\n");
    let trace = world.engine.trace(pasted.as_bytes()).unwrap();
    assert_eq!((trace.class, trace.spans.len()), (TraceClass::Strong, 1));
    assert_eq!((trace.spans[0].from, trace.spans[0].to), (3, 3));
}

/// An agent works with an answer while it still streams, so that its outcome stands behind what was made of it.
#[tokio::test]
async fn an_answer_that_is_still_streaming_is_upstream_too() {
    let world = World::start().await;
    let lease = lease(&world).await;
    let (permit, outcome) = reads(&world, lease).await;
    let source = permit.record();
    let written = writes(&world, lease, Vec::new()).await;
    permit.settle(outcome).unwrap();
    // Who reads it later is not upstream.
    let (later, outcome) = reads(&world, lease).await;
    later.settle(outcome).unwrap();
    world.engine.drain().await.unwrap();
    let chain = world.engine.trace_record(written).unwrap();
    assert_eq!(above(&chain), [(source, TraceClass::Strong, "response".to_owned())]);
}

#[tokio::test]
async fn a_declared_cause_is_told_as_declared() {
    let world = World::start().await;
    let lease = lease(&world).await;
    let permit = world.permit(call(lease, "tool:crm/find", json!({ "name": "Bob" }))).await;
    let cause = permit.record();
    permit.settle(answered()).unwrap();
    let written = writes(&world, lease, vec![cause, RecordId::from_bytes([9; 16])]).await;
    world.engine.drain().await.unwrap();
    let chain = world.engine.trace_record(written).unwrap();
    assert_eq!(above(&chain), [(cause, TraceClass::None, "cause".to_owned())]);
}

/// A text that one task reads again and again stays that task's own: it does not become common.
#[tokio::test]
async fn what_one_task_reads_often_is_one_work() {
    let world = World::start().await;
    let lease = lease(&world).await;
    for _ in 0..8 {
        let (permit, outcome) = reads(&world, lease).await;
        permit.settle(outcome).unwrap();
    }
    world.engine.drain().await.unwrap();
    let part = format!("Somebody said that {}", &READ[..200]);
    let trace = world.engine.trace(part.as_bytes()).unwrap();
    assert_eq!(trace.class, TraceClass::Strong, "{:?}", trace.hints);
    let shared = trace.chains[0].found.as_ref().unwrap().score;
    assert!(shared.fract() == 0.0, "each fingerprint counts whole: {shared}");
}

#[tokio::test]
async fn the_newest_action_is_that_of_its_own_task() {
    let world = World::start().await;
    let lease = lease(&world).await;
    let task = world.engine.task_of(lease).unwrap();
    assert_eq!(world.engine.newest_record(task).unwrap(), None);
    let permit = world.permit(call(lease, "tool:crm/find", json!({ "name": "Ada" }))).await;
    let first = permit.record();
    permit.settle(answered()).unwrap();
    assert_eq!(world.denied(call(lease, "tool:crm/drop", json!({}))).await, "never-drop");
    assert_eq!(world.engine.newest_record(task).unwrap(), Some(first));
    let other = self::lease(&world).await;
    let second = writes(&world, other, Vec::new()).await;
    assert_ne!(world.engine.task_of(other).unwrap(), task);
    assert_eq!(world.engine.newest_record(task).unwrap(), Some(first));
    assert_eq!(world.engine.newest_record(world.engine.task_of(other).unwrap()).unwrap(), Some(second));
    world.engine.finish_task(&world.alice, task).await.unwrap();
    assert!(world.engine.task_of(lease).is_err());
}

#[tokio::test]
async fn a_file_is_stated_and_its_lineage_told() {
    let world = World::start().await;
    let lease = lease(&world).await;
    let (permit, outcome) = reads(&world, lease).await;
    let source = permit.record();
    permit.settle(outcome).unwrap();
    let written = writes(&world, lease, Vec::new()).await;
    world.publish().await;
    let envelope: Value =
        serde_json::from_slice(&world.engine.statement(Some("report.md"), letter().as_bytes()).unwrap()).unwrap();
    let payload = BASE64_STANDARD.decode(envelope["payload"].as_str().unwrap()).unwrap();
    let statement: Value = serde_json::from_slice(&payload).unwrap();
    let digest = sha256(letter().as_bytes()).to_string();
    assert_eq!(statement["subject"][0]["name"], "report.md");
    assert_eq!(statement["subject"][0]["digest"]["sha256"], digest.strip_prefix("sha256:").unwrap());
    assert_eq!(statement["predicate"]["decision"]["record"], written.to_string());
    assert_eq!(statement["predicate"]["person"], format!("user:{ALICE}"));
    assert!(statement["predicate"]["ledger"]["checkpoint"].as_str().is_some_and(|note| note.starts_with(ORIGIN)));
    assert!(signed(&world, &envelope, &payload), "by the log's key");
    assert!(!signed(&world, &envelope, b"{}"), "and nothing else");
    let part = format!("x{}", letter());
    let refused = world.engine.statement(None, part.as_bytes()).unwrap_err();
    assert!(matches!(refused, EngineError::Invalid(_)), "{refused}");

    let prov = world.engine.trace(letter().as_bytes()).unwrap().prov(Some("report.md"));
    let (written, source) = (format!("log:{written}"), format!("log:{source}"));
    assert!(prov["activity"].get(&written).is_some() && prov["activity"].get(&source).is_some(), "{prov}");
    let informed = prov["wasInformedBy"].as_object().unwrap().values();
    let links: Vec<_> = informed.map(|l| (l["prov:informed"].as_str().unwrap(), l["prov:informant"].as_str().unwrap())).collect();
    assert_eq!(links, [(written.as_str(), source.as_str())]);
    assert_eq!(prov["prefix"]["log"], format!("https://{ORIGIN}#"));
}

/// Whether the envelope's signature is the log's over this payload (DSSE 1.0).
fn signed(world: &World, envelope: &Value, payload: &[u8]) -> bool {
    let kind = envelope["payloadType"].as_str().unwrap();
    let encoded = [format!("DSSEv1 {} {kind} {} ", kind.len(), payload.len()).as_bytes(), payload].concat();
    let signature = BASE64_STANDARD.decode(envelope["signatures"][0]["sig"].as_str().unwrap()).unwrap();
    let key = ed25519_dalek::VerifyingKey::from_bytes(&world.verifier().public_key()).unwrap();
    key.verify_strict(&encoded, &ed25519_dalek::Signature::from_slice(&signature).unwrap()).is_ok()
}
