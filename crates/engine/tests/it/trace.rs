//! From a file back to the record that carried it, and from there to the person who asked.

use marque_core::event::{Body, Event};
use marque_core::id::RecordId;
use marque_engine::{ActionRequest, EngineError, Exchange, TokenType, TraceClass, content, sha256};
use marque_ledger::{Checkpoint, Hash, leaf_hash, verify_inclusion};
use serde_json::json;

use crate::world::{ALICE, Agent, BOB, LEAD, ORIGIN, WORKER, World, answered, asks, call, person, spiffe};

const LETTER: &[u8] = b"Dear Bob,\n\nthe  figures of the last quarter are attached.\n";

/// A letter that the worker sent, for the lead, for Alice, because Bob approved.
async fn sent(world: &World, lead: &Agent, worker: &Agent) -> (RecordId, ActionRequest) {
    let task = world.task(LEAD, None).await;
    let own = world.token(lead, &task).await;
    let exchange = Exchange { actor: Some(world.jwt(worker).await), ..asks(worker, &own.token, TokenType::AccessToken) };
    let lease = world.engine.exchange(exchange).await.unwrap().lease.id;
    let contents = vec![content("/arguments/body", LETTER), content("/arguments/subject", b"Figures")];
    let request = ActionRequest { contents, ..call(lease, "tool:mail/send", json!({ "to": "bob" })) };
    let held = world.held(request.clone()).await;
    world.engine.approve(&world.bob, held).await.unwrap();
    let permit = world.permit(request.clone()).await;
    let record = permit.record();
    permit.settle(answered()).unwrap();
    world.engine.drain().await.unwrap();
    (record, request)
}

async fn world() -> (World, Agent, Agent) {
    let world = World::start().await;
    let (lead, worker) = (world.agent(LEAD).await, world.agent(WORKER).await);
    (world, lead, worker)
}

#[tokio::test]
async fn a_file_is_found_by_its_bytes() {
    let (world, lead, worker) = world().await;
    let (record, _) = sent(&world, &lead, &worker).await;
    let trace = world.engine.trace(LETTER).unwrap();
    assert_eq!((trace.class, trace.digest, trace.covers), (TraceClass::Exact, sha256(LETTER), world.engine.log_size()));
    // The held request carried the text too, and first.
    assert_eq!(trace.chains.len(), 2);
    let chain = &trace.chains[1];
    assert_eq!(chain.decided.as_ref().unwrap().record, record);
    assert_eq!(chain.outcome, Some(answered()));
    assert_eq!(chain.instance.as_ref().map(|i| i.id), Some(worker.instance.id));
    assert_eq!(chain.lease.as_ref().map(|l| l.id), Some(chain.decided.as_ref().unwrap().lease));
    let carried = chain.decided.as_ref().unwrap().contents.iter().find(|c| c.exact == sha256(LETTER)).unwrap();
    assert_eq!((carried.at.as_str(), carried.bytes), ("/arguments/body", LETTER.len() as u64));
}

#[tokio::test]
async fn a_file_is_found_by_its_words() {
    let (world, lead, worker) = world().await;
    let (record, _) = sent(&world, &lead, &worker).await;
    for other in [
        "Dear Bob, the figures of the last quarter are attached.",
        "  DEAR Bob,\r\n\t*the* figures\nof the last quarter are attached.\r\n\r\n",
    ] {
        let trace = world.engine.trace(other.as_bytes()).unwrap();
        assert_eq!((trace.class, trace.chains.len()), (TraceClass::Normalised, 2), "{other}");
        assert_eq!(trace.chains[1].decided.as_ref().unwrap().record, record);
    }
    // One word more is another file; what is short is found by its bytes alone, since its letters are everywhere.
    assert_eq!(world.engine.trace(b"Dear Bob, the figures are not attached.").unwrap().class, TraceClass::None);
    assert_eq!(world.engine.trace(b"Figures").unwrap().class, TraceClass::Exact);
    assert_eq!(world.engine.trace(b" Figures\n").unwrap().class, TraceClass::None);
}

#[tokio::test]
async fn an_unknown_file_is_not_found_as_far_as_the_log_is_covered() {
    let (world, lead, worker) = world().await;
    sent(&world, &lead, &worker).await;
    let trace = world.engine.trace(b"somebody else wrote this").unwrap();
    assert_eq!((trace.class, trace.chains.len(), trace.covers), (TraceClass::None, 0, world.engine.log_size()));
    let error = world.engine.trace_record(RecordId::from_bytes([1; 16])).unwrap_err();
    assert!(matches!(error, EngineError::NotFound { .. }), "{error}");
}

#[tokio::test]
async fn the_chain_leads_through_approval_and_delegation_to_the_person() {
    let (world, lead, worker) = world().await;
    let (record, _) = sent(&world, &lead, &worker).await;
    let chain = world.engine.trace_record(record).unwrap();
    let actors: Vec<_> = chain.tasks.iter().map(|s| (s.task.actor.clone(), s.task.principal.clone())).collect();
    let expected = [(spiffe(WORKER), person(BOB)), (spiffe(WORKER), person(ALICE)), (spiffe(LEAD), person(ALICE))];
    assert_eq!(actors, expected, "approved by Bob, delegated by the lead, asked for by Alice");
    assert_eq!(chain.tasks[0].elevation, chain.decided.as_ref().unwrap().elevation);
    assert!(chain.tasks[0].elevation.is_some() && chain.tasks[1].elevation.is_none());
    assert_eq!((chain.tasks[1].task.parent, chain.tasks[2].task.parent), (Some(chain.tasks[2].task.id), None));
    // A task that has ended is still told.
    world.engine.finish_task(&world.alice, chain.tasks[2].task.id).await.unwrap();
    world.advance(7 * 86_400);
    world.tick().await;
    assert_eq!(world.engine.trace_record(record).unwrap().tasks.len(), 3);
    assert_eq!(world.engine.trace(LETTER).unwrap().class, TraceClass::Exact);
}

/// INVARIANT (I6 the ledger is the history): the proof holds for one who has the files and the public key alone.
#[tokio::test]
async fn the_proof_is_verified_from_the_files() {
    let (world, lead, worker) = world().await;
    sent(&world, &lead, &worker).await;
    world.publish().await;
    let trace = world.engine.trace(LETTER).unwrap();
    let proof = trace.chains[0].proof.clone().unwrap();
    assert!(proof.verified);
    let checkpoint = Checkpoint::open(&proof.checkpoint, ORIGIN, &[world.verifier()]).unwrap();
    assert_eq!((checkpoint.size, checkpoint.root.to_string()), (proof.size, proof.root));
    let path: Vec<Hash> = proof.path.iter().map(|hash| Hash::from_base64(hash).unwrap()).collect();
    let mut entry = world.entries().await[usize::try_from(proof.index).unwrap()].clone();
    assert_eq!(entry, proof.leaf.as_bytes());
    let verifies = |entry: &[u8]| verify_inclusion(leaf_hash(entry), proof.index, proof.size, &path, checkpoint.root).is_ok();
    assert!(verifies(&entry));
    let Body::Decided(decided) = Event::from_bytes(&entry).unwrap().what else { panic!("it is another event") };
    assert_eq!(decided.record, trace.chains[0].decided.as_ref().unwrap().record);
    assert!(decided.contents.iter().all(|c| c.exact.digest().is_none()), "no digest stands in the log");
    assert!(decided.principal.is_pseudonym(), "no person does");
    entry[10] ^= 1;
    assert!(!verifies(&entry), "a changed entry");
}

#[tokio::test]
async fn a_proof_waits_for_the_next_checkpoint() {
    let (world, lead, worker) = world().await;
    world.publish().await;
    let (record, _) = sent(&world, &lead, &worker).await;
    assert!(world.engine.trace_record(record).unwrap().proof.is_none(), "the last checkpoint is younger than a second");
    world.advance(2);
    assert!(world.engine.trace_record(record).unwrap().proof.is_some_and(|proof| proof.verified));
    // Every checkpoint is consistent with the last, also across a restart.
    let size = world.engine.log_size();
    let world = world.close().open().await;
    assert!(world.engine.trace_record(record).unwrap().proof.is_some_and(|proof| proof.verified && proof.size >= size));
    assert_eq!(world.entries().await.len() as u64, world.engine.log_size());
}
