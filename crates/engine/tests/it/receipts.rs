//! Receipts and artifacts: what shows that something is in the log.

use std::path::Path;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use marque_core::Digest;
use marque_core::event::Body;
use marque_core::id::{RecordId, TaskId};
use marque_engine::{
    ActionRequest, ArtifactRequest, Caller, EngineError, Permit, Receipt, ReceiptOf, TraceClass, content, sha256,
};
use marque_ledger::{Checkpoint, CoseReceipt, TlogProof, verify_cose_receipt};
use marque_store::StoreError;
use serde_json::json;

use crate::world::{ORIGIN, WORKER, World, answered, call};

const LETTER: &[u8] = b"Dear Bob,\n\nthe figures of the last quarter are attached, as you asked.\n";

/// A call that carries the letter, not settled yet.
async fn sent(world: &World) -> Permit {
    let worker = world.agent(WORKER).await;
    let task = world.task(WORKER, None).await;
    let lease = world.token(&worker, &task).await.lease.id;
    let contents = vec![content("/arguments/body", LETTER)];
    world.permit(ActionRequest { contents, ..call(lease, "tool:crm/find", json!({ "body": "the letter" })) }).await
}

/// Checks a receipt with nothing but the log's public key.
fn check(world: &World, receipt: &Receipt) {
    let (leaf, key) = (receipt.inclusion.leaf.as_bytes(), world.verifier());
    let proof: TlogProof = receipt.proof.parse().unwrap();
    let checkpoint = proof.verify(leaf, ORIGIN, std::slice::from_ref(&key)).unwrap();
    assert_eq!((proof.index, checkpoint.size), (receipt.inclusion.index, receipt.inclusion.size));
    assert_eq!(checkpoint.root.to_string(), receipt.inclusion.root);
    let cose = BASE64_STANDARD.decode(&receipt.cose).unwrap();
    let expected = CoseReceipt { index: proof.index, tree: checkpoint.head() };
    assert_eq!(verify_cose_receipt(&cose, leaf, &key), Ok(expected));
    let mut other = leaf.to_vec();
    other[10] ^= 1;
    assert!(proof.verify(&other, ORIGIN, std::slice::from_ref(&key)).is_err());
    assert!(verify_cose_receipt(&cose, &other, &key).is_err());
    assert!(receipt.inclusion.verified);
}

#[tokio::test]
async fn a_receipt_is_checked_with_the_public_key_alone() {
    let world = World::start().await;
    let permit = sent(&world).await;
    let (record, entry) = (permit.record(), permit.entry());
    permit.settle(answered()).unwrap();
    world.engine.drain().await.unwrap();
    for of in [ReceiptOf::Record(record), ReceiptOf::Entry(entry), ReceiptOf::Entry(0)] {
        let receipt = world.engine.receipt(&world.admin, of, false).await.unwrap();
        check(&world, &receipt);
        assert!(receipt.openings.is_empty() && !receipt.witnessed);
        assert_eq!(receipt.inclusion.index, if of == ReceiptOf::Entry(0) { 0 } else { entry });
    }
    let error = world.engine.receipt(&world.admin, ReceiptOf::Entry(world.engine.log_size()), false).await.unwrap_err();
    assert!(matches!(error, EngineError::NotFound { .. }), "{error}");
    let nobody = ReceiptOf::Record(RecordId::from_bytes([1; 16]));
    assert!(matches!(world.engine.receipt(&world.admin, nobody, false).await, Err(EngineError::NotFound { .. })));
    assert_eq!(record.to_string().parse::<ReceiptOf>().unwrap(), ReceiptOf::Record(record));
    assert_eq!("12".parse::<ReceiptOf>().unwrap(), ReceiptOf::Entry(12));
    for bad in ["", "-1", "012", "x", "task_01ARZ3NDEKTSV4RRFFQ69G5FAV"] {
        assert!(bad.parse::<ReceiptOf>().is_err(), "{bad}");
    }
}

/// Whoever was just answered need not wait for the next checkpoint.
#[tokio::test]
async fn the_proof_of_an_acknowledged_event_is_there_at_once() {
    let world = World::start().await;
    world.publish().await;
    for _ in 0..3 {
        let permit = sent(&world).await;
        let entry = permit.entry();
        assert!(world.engine.trace_record(permit.record()).unwrap().proof.is_none(), "the last checkpoint is young");
        let proof = world.engine.receipt_now(entry).await.unwrap();
        assert!(proof.verified && proof.index == entry && proof.size > entry);
        let checkpoint = Checkpoint::open(&proof.checkpoint, ORIGIN, &[world.verifier()]).unwrap();
        assert_eq!((checkpoint.size, checkpoint.root.to_string()), (proof.size, proof.root));
        permit.settle(answered()).unwrap();
    }
    // Many at once are one checkpoint.
    let permit = sent(&world).await;
    let entry = permit.entry();
    let asking: Vec<_> = (0..8)
        .map(|_| {
            let engine = std::sync::Arc::clone(&world.engine);
            tokio::spawn(async move { engine.receipt_now(entry).await.unwrap().checkpoint })
        })
        .collect();
    let mut checkpoints = std::collections::BTreeSet::new();
    for asked in asking {
        checkpoints.insert(asked.await.unwrap());
    }
    assert_eq!(checkpoints.len(), 1);
    permit.settle(answered()).unwrap();
    let unknown = world.engine.receipt_now(world.engine.log_size() + 10).await.unwrap_err();
    assert!(matches!(unknown, EngineError::NotFound { .. }), "{unknown}");
}

#[tokio::test]
async fn a_clock_that_goes_back_holds_up_no_checkpoint() {
    let world = World::start().await;
    world.publish().await;
    world.advance(-3_600);
    let permit = sent(&world).await;
    let entry = permit.entry();
    permit.settle(answered()).unwrap();
    world.engine.drain().await.unwrap();
    assert_eq!(world.engine.publish().unwrap().size, world.engine.log_size());
    assert!(world.engine.receipt_now(entry).await.unwrap().verified);
    // From then on they come as before.
    world.task(WORKER, None).await;
    assert!(world.engine.publish().unwrap().size < world.engine.log_size(), "the last one is young");
    world.publish().await;
}

#[tokio::test]
async fn openings_show_a_person_what_an_entry_commits_to() {
    let world = World::start().await;
    let permit = sent(&world).await;
    let record = permit.record();
    permit.settle(answered()).unwrap();
    world.engine.drain().await.unwrap();
    let receipt = world.engine.receipt(&world.admin, ReceiptOf::Record(record), true).await.unwrap();
    check(&world, &receipt);
    let leaf = receipt.inclusion.leaf.as_bytes();
    assert!(receipt.openings.iter().all(|opening| opening.fits(leaf)));
    let of_letter: Vec<&str> = receipt.openings.iter().filter(|o| o.is_of(LETTER)).map(|o| o.field.as_str()).collect();
    assert_eq!(of_letter, ["/what/contents/0/exact"]);
    assert!(receipt.openings.iter().any(|o| o.field == "/what/intent" && o.is_of(b"test")));
    assert!(!receipt.openings.iter().any(|o| o.is_of(b"another letter")));
    // Each part of an opening counts, and each is of this entry alone.
    let mut wrong = receipt.openings[0].clone();
    wrong.value.push('x');
    assert!(!wrong.fits(leaf));
    let wrong = marque_engine::Opening { salt: "00".repeat(16), ..receipt.openings[0].clone() };
    assert!(!wrong.fits(leaf) && !receipt.openings[0].fits(b"{}") && !receipt.openings[0].fits(b"no entry"));
    // That it was read is in the log.
    let read = |body: &Body| matches!(body, Body::LedgerRead { .. });
    assert_eq!(world.events().await.iter().filter(|event| read(&event.what)).count(), 1);
    let by = Caller::Workload(world.agent(WORKER).await.workload);
    let refused = world.engine.receipt(&by, ReceiptOf::Record(record), true).await;
    assert!(matches!(refused, Err(EngineError::Forbidden(_))));
}

#[tokio::test]
async fn the_witnessed_checkpoint_is_taken_where_it_covers_the_entry() {
    let world = World::start().await;
    world.publish().await;
    let ledger = world.closed.root().join("ledger");
    std::fs::copy(ledger.join("checkpoint"), ledger.join("checkpoint.witnessed")).unwrap();
    let witnessed = world.engine.log_size();
    let permit = sent(&world).await;
    let entry = permit.entry();
    permit.settle(answered()).unwrap();
    world.engine.drain().await.unwrap();
    world.publish().await;
    let old = world.engine.receipt(&world.admin, ReceiptOf::Entry(0), false).await.unwrap();
    check(&world, &old);
    assert_eq!((old.witnessed, old.inclusion.size), (true, witnessed));
    let new = world.engine.receipt(&world.admin, ReceiptOf::Entry(entry), false).await.unwrap();
    check(&world, &new);
    assert!(!new.witnessed && new.inclusion.size > witnessed);
    // What is no checkpoint of this log is none.
    std::fs::write(ledger.join("checkpoint.witnessed"), "another log\n").unwrap();
    let any = world.engine.receipt(&world.admin, ReceiptOf::Entry(0), false).await.unwrap();
    check(&world, &any);
    assert!(!any.witnessed);
}

/// A tile or an entry that has rotted is told of, and nothing is signed or handed out over it.
#[tokio::test]
async fn no_receipt_is_made_from_what_has_rotted() {
    let world = World::start().await;
    let permit = sent(&world).await;
    let (record, entry) = (permit.record(), permit.entry());
    permit.settle(answered()).unwrap();
    world.engine.drain().await.unwrap();
    world.publish().await;
    let ledger = world.closed.root().join("ledger");
    let hashes = ledger.join(format!("tile/0/000.p/{}", world.engine.log_size()));
    assert!(entry > 0, "its path leads over the first hash");
    flip(&hashes, 0);
    for of in [ReceiptOf::Record(record), ReceiptOf::Entry(entry)] {
        assert!(is_unproven(world.engine.receipt(&world.admin, of, false).await));
    }
    assert!(is_unproven(world.engine.receipt_now(entry).await));
    assert!(is_unproven(world.engine.proof_now(record).await));
    assert!(!world.engine.trace_record(record).unwrap().proof.unwrap().verified, "a trace says so");
    flip(&hashes, 0);
    check(&world, &world.engine.receipt(&world.admin, ReceiptOf::Record(record), false).await.unwrap());

    world.task(WORKER, None).await;
    world.publish().await;
    let size = world.engine.log_size();
    let entries = ledger.join(format!("tile/entries/000.p/{size}"));
    flip(&entries, std::fs::metadata(&entries).unwrap().len() as usize - 1);
    assert!(is_unproven(world.engine.receipt(&world.admin, ReceiptOf::Entry(size - 1), false).await));
}

fn is_unproven<T: std::fmt::Debug>(answer: Result<T, EngineError>) -> bool {
    let error = answer.unwrap_err();
    matches!(error, EngineError::Store(StoreError::Damaged { .. })) && error.to_string().contains("do not prove entry")
}

/// Flips a bit of a file.
fn flip(path: &Path, place: usize) {
    let mut bytes = std::fs::read(path).unwrap();
    bytes[place] ^= 1;
    std::fs::write(path, bytes).unwrap();
}

fn file(name: &str, bytes: &[u8], task: TaskId, inputs: Vec<Digest>) -> ArtifactRequest {
    ArtifactRequest { name: name.into(), content: sha256(bytes), bytes: bytes.len() as u64, task, inputs }
}

#[tokio::test]
async fn an_attested_file_leads_to_its_task_and_its_inputs() {
    let world = World::start().await;
    let (data, model): (&[u8], &[u8]) = (b"rows that a model is trained on", b"weights that came of it");
    let first = world.task(WORKER, None).await;
    world.engine.attest_artifact(&world.alice, file("train.csv", data, first.id, vec![])).await.unwrap();
    world.engine.finish_task(&world.alice, first.id).await.unwrap();
    world.advance(8 * 86_400);
    let second = world.task(WORKER, None).await;
    let request = file("model.bin", model, second.id, vec![sha256(data)]);
    let attested = world.engine.attest_artifact(&world.bob, request).await.unwrap();
    assert_eq!((&attested.artifact.identity, attested.artifact.task), (&second.actor, second.id));
    let receipt = world.engine.receipt(&world.admin, ReceiptOf::Entry(attested.entry), true).await.unwrap();
    check(&world, &receipt);
    assert!(receipt.openings.iter().any(|opening| opening.is_of(model)));
    assert!(!receipt.inclusion.leaf.contains("model.bin"), "names are kept back too");

    let trace = world.engine.trace(model).unwrap();
    assert_eq!((trace.class, trace.chains.len()), (TraceClass::Exact, 1));
    let chain = &trace.chains[0];
    assert_eq!(chain.entry, attested.entry);
    assert_eq!(chain.artifact.as_ref().map(|a| a.name.as_str()), Some("model.bin"));
    assert_eq!(chain.tasks[0].task.id, second.id);
    let upstream = &chain.upstream[0];
    assert_eq!(upstream.artifact.as_ref().map(|a| a.name.as_str()), Some("train.csv"));
    assert_eq!(upstream.tasks[0].task.id, first.id, "a task that has ended is told too");
    // A file may be attested after its task has ended.
    let late = world.engine.attest_artifact(&world.alice, file("late.txt", b"late", first.id, vec![])).await.unwrap();
    assert_eq!(late.artifact.task, first.id);
}

#[tokio::test]
async fn what_cannot_be_attested_is_refused() {
    let world = World::start().await;
    let task = world.task(WORKER, None).await;
    let size = world.engine.log_size();
    let unknown = file("x", b"x", TaskId::from_bytes([1; 16]), vec![]);
    assert!(matches!(world.engine.attest_artifact(&world.alice, unknown).await, Err(EngineError::NotFound { .. })));
    for name in ["", "a\nb", "x".repeat(256).as_str()] {
        let request = file(name, b"x", task.id, vec![]);
        assert!(matches!(world.engine.attest_artifact(&world.alice, request).await, Err(EngineError::Invalid(_))));
    }
    let hidden = ArtifactRequest { bytes: 1, ..file("x", b"", task.id, vec![]) };
    let empty = ArtifactRequest { bytes: 0, ..file("x", b"x", task.id, vec![]) };
    for request in [file("empty.txt", b"", task.id, vec![]), hidden, empty] {
        let refused = world.engine.attest_artifact(&world.alice, request).await.unwrap_err();
        assert!(matches!(&refused, EngineError::Invalid(text) if text.contains("is empty")), "{refused}");
    }
    let many = file("x", b"x", task.id, vec![sha256(b"in"); 257]);
    assert!(matches!(world.engine.attest_artifact(&world.alice, many).await, Err(EngineError::Invalid(_))));
    assert_eq!(world.engine.log_size(), size);
    let most = file(&"x".repeat(255), b"x", task.id, vec![sha256(b"in"); 256]);
    world.engine.attest_artifact(&world.alice, most).await.unwrap();
}
