//! Erasing a person: nothing of them is left, and everything is proven as before.

use std::collections::BTreeSet;
use std::os::unix::process::parent_id;
use std::path::{Path, PathBuf};

use marque_core::PersonId;
use marque_core::event::{Body, By};
use marque_core::id::{RecordId, TaskId};
use marque_core::identity::Lifecycle;
use marque_core::record::{Ending, Outcome};
use marque_engine::desired::{Desired, IdentitySpec};
use marque_engine::{
    ActionRequest, Caller, EngineError, Receipt, ReceiptOf, TaskRequest, Told as Launcher, TraceClass, canonical, content, sha256,
};
use marque_ledger::TlogProof;
use serde_json::json;

use crate::world::{
    ADMIN, ALICE, Closed, LEAD, ORIGIN, WORKER, World, agent, answered, call, copy_all, manifest, named, observed, person,
    request, spiffe,
};

const LETTER: &[u8] = b"Dear Bob,\n\nthe figures of the last quarter are attached: they are what we expected.\n";
const REPLY: &[u8] = b"Dear Alice,\n\nthank you for the figures of the last quarter, which nobody had expected.\n";
const PURPOSE: &str = "to find out what nobody else may know";
const HERS: &str = "agent/hers";

/// What was done for Alice.
struct Told {
    task: TaskId,
    record: RecordId,
    pseudonym: PersonId,
    /// Of the record, from before she was erased.
    receipt: Receipt,
    /// Must stand in no file: her name, what her task was for, and digests of what was asked for her.
    needles: Vec<Vec<u8>>,
}

/// Alice asks for a task: one call that carries a letter, and one that is held.
async fn told(world: &World) -> Told {
    let hers = IdentitySpec { owner: person(ALICE), ..agent(HERS, "read:dataset:*") };
    let mut desired = manifest();
    desired.identities.push(hers);
    world.engine.apply(&world.admin, &desired).await.unwrap();
    let worker = world.agent(WORKER).await;
    let wanted = TaskRequest { purpose: PURPOSE.into(), ..request(WORKER, None) };
    let task = world.engine.start_task(&world.alice, wanted).await.unwrap();
    let lease = world.token(&worker, &task).await.lease.id;
    let contents = vec![content("/arguments/body", LETTER)];
    let letter = ActionRequest { contents, ..call(lease, "tool:crm/find", json!({ "body": "a letter" })) };
    let permit = world.permit(letter).await;
    let record = permit.record();
    permit.settle(Outcome { contents: vec![content("/result", REPLY)], ..answered() }).unwrap();
    let arguments = json!({ "to": "somebody whom nobody may know" });
    world.held(call(lease, "tool:mail/send", arguments.clone())).await;
    world.engine.drain().await.unwrap();
    world.publish().await;
    let receipt = world.engine.receipt(&world.admin, ReceiptOf::Record(record), true).await.unwrap();
    let digest = canonical(&arguments);
    let needles = vec![
        ALICE.as_bytes().to_vec(),
        PURPOSE.as_bytes().to_vec(),
        hex::encode(digest.as_bytes()).into_bytes(),
        b"somebody whom nobody may know".to_vec(),
    ];
    let pseudonym = world.engine.erasure(&person(ALICE)).unwrap().pseudonym;
    Told { task: task.id, record, pseudonym, receipt, needles }
}

/// The files below a folder whose name or bytes have this in them.
fn holding(root: &Path, needle: &[u8]) -> Vec<PathBuf> {
    let has = |bytes: &[u8]| bytes.windows(needle.len()).any(|window| window == needle);
    let mut found = Vec::new();
    for entry in std::fs::read_dir(root).unwrap() {
        let path = entry.unwrap().path();
        let named = has(path.file_name().unwrap().as_encoded_bytes());
        if path.is_dir() {
            found.extend(holding(&path, needle));
        } else if named || has(&dense(&path)) {
            found.push(path);
        }
    }
    found
}

/// A file's bytes without its empty pages. A spare segment may get its name just now.
fn dense(path: &Path) -> Vec<u8> {
    let bytes = std::fs::read(path).unwrap_or_default();
    let empty = [0; 4096];
    bytes.chunks(empty.len()).filter(|page| Some(*page) != empty.get(..page.len())).collect::<Vec<_>>().concat()
}

/// Alice is gone, and what was proven is.
async fn check(world: &World, told: &Told) {
    let entries = world.entries().await;
    let receipt = &told.receipt.inclusion;
    let index = usize::try_from(receipt.index).unwrap();
    assert_eq!(entries[index], receipt.leaf.as_bytes(), "no entry changed");
    let proof: TlogProof = told.receipt.proof.parse().unwrap();
    proof.verify(receipt.leaf.as_bytes(), ORIGIN, &[world.verifier()]).unwrap();

    for text in [LETTER, REPLY] {
        assert_eq!(world.engine.trace(text).unwrap().class, TraceClass::None);
    }
    let chain = world.engine.trace_record(told.record).unwrap();
    assert!(chain.proof.is_some_and(|proof| proof.verified));
    let decided = chain.decided.unwrap();
    assert_eq!((&decided.principal, decided.contents[0].exact.digest()), (&told.pseudonym, None));
    let row = world.engine.tasks(100).unwrap().into_iter().find(|row| row.task.id == told.task).unwrap();
    assert_eq!(row.task.principal, told.pseudonym);
    assert!(row.task.purpose.starts_with("commit:"), "{}", row.task.purpose);

    let state = world.state();
    assert!(!state.people.contains_key(&person(ALICE)) && !state.people.contains_key(&told.pseudonym));
    let hers = &state.identities[&spiffe(HERS)];
    assert_eq!((hers.owner.as_ref(), hers.state), (Some(&told.pseudonym), Lifecycle::Suspended));
    assert!(state.tasks.values().all(|task| task.principal != person(ALICE) && task.principal != told.pseudonym));

    let again = world.engine.receipt(&world.admin, ReceiptOf::Record(told.record), true).await.unwrap();
    assert!(again.openings.is_empty(), "nobody can open her commitments");
    assert_eq!(again.inclusion.leaf, receipt.leaf);
    world.publish().await;
    let root = world.closed.root();
    for needle in &told.needles {
        assert_eq!(holding(&root, needle), Vec::<PathBuf>::new(), "{}", String::from_utf8_lossy(needle));
    }
}

#[tokio::test]
async fn nothing_of_an_erased_person_is_left() {
    let world = World::start().await;
    let told = told(&world).await;
    // What is looked for is there to be found, as long as she is known.
    for needle in &told.needles {
        assert!(!holding(&world.closed.root(), needle).is_empty(), "{}", String::from_utf8_lossy(needle));
    }
    for text in [LETTER, REPLY] {
        assert_eq!(world.engine.trace(text).unwrap().class, TraceClass::Exact);
    }
    assert!(told.receipt.openings.iter().all(|opening| opening.fits(told.receipt.inclusion.leaf.as_bytes())));
    assert!(told.receipt.openings.iter().any(|opening| opening.is_of(LETTER)));
    let credential = std::fs::read_to_string(world.closed.root().join(format!("people/{ALICE}.token"))).unwrap();

    let size = world.engine.log_size();
    let planned = world.engine.erasure(&person(ALICE)).unwrap();
    assert_eq!((planned.done, planned.identities, planned.credential), (false, 1, true));
    assert!(planned.tasks > 0 && planned.entries >= 3, "{planned:?}");
    assert_eq!(world.engine.log_size(), size, "looking changes nothing");
    let erasure = world.engine.erase_person(&world.admin, &person(ALICE)).await.unwrap();
    assert!(erasure.done && erasure.revoked.is_some_and(|revoked| revoked.tasks == planned.tasks));
    assert_eq!((erasure.pseudonym, erasure.entries), (planned.pseudonym, planned.entries));
    assert!(matches!(world.engine.authenticate_person(&credential), Err(EngineError::Unauthenticated(_))));
    check(&world, &told).await;
    let erased =
        |body: &Body| matches!(body, Body::Erased { person, pseudonym } if person == pseudonym && *person == told.pseudonym);
    assert_eq!(world.events().await.iter().filter(|event| erased(&event.what)).count(), 1);

    // Whichever way it is read again.
    world.tick().await;
    let before = world.state();
    let world = world.close().open().await;
    assert_eq!(world.state(), before);
    check(&world, &told).await;
    world.engine.rebuild_views().unwrap();
    check(&world, &told).await;
    let before = world.state();
    let closed = world.close();
    for file in ["views.db", "views.db-wal", "views.db-shm"] {
        let _ = std::fs::remove_file(closed.root().join(file));
    }
    std::fs::remove_dir_all(closed.root().join("index")).unwrap();
    let world = closed.open().await;
    assert_eq!(world.state(), before);
    check(&world, &told).await;
}

/// Killed after the event was durable, wherever in what follows: the next opening finishes it.
#[tokio::test]
async fn a_crash_on_the_way_is_made_good_at_the_next_opening() {
    let everything: &[&str] = &["subjects", "people", "views.db", "index"];
    let cases: [&[&str]; 4] = [everything, &["subjects", "people"], &["subjects"], &["subjects", "index"]];
    for undone in cases {
        let world = World::start().await;
        let told = told(&world).await;
        let closed = world.close();
        let copy = tempfile::tempdir().unwrap();
        for name in everything {
            copy_all(&closed.root().join(name), &copy.path().join(name));
        }
        let world = closed.open().await;
        world.engine.erase_person(&world.admin, &person(ALICE)).await.unwrap();
        world.tick().await;
        let before = world.state();
        let closed = world.close();
        for name in undone {
            remove_all(&closed.root().join(name));
            copy_all(&copy.path().join(name), &closed.root().join(name));
        }
        assert!(!holding(&closed.root().join("subjects"), told.pseudonym.name().trim_start_matches('~').as_bytes()).is_empty());
        let world = closed.open().await;
        assert_eq!(world.state(), before, "{undone:?}");
        check(&world, &told).await;
    }
}

fn remove_all(path: &Path) {
    if path.is_dir() { std::fs::remove_dir_all(path).unwrap() } else { std::fs::remove_file(path).unwrap() }
}

/// What was under way when she was erased ends without her name and without her content.
#[tokio::test]
async fn what_is_under_way_leaves_nothing_behind() {
    let world = World::start().await;
    let worker = world.agent(WORKER).await;
    let task = world.task(WORKER, None).await;
    let lease = world.token(&worker, &task).await.lease.id;
    let permit = world.permit(call(lease, "tool:crm/find", json!({ "q": 1 }))).await;
    world.engine.erase_person(&world.admin, &person(ALICE)).await.unwrap();
    assert!(!permit.alive(), "her task has ended");
    let digest = sha256(REPLY);
    let outcome =
        Outcome { ending: Ending::Cut, response: Some(digest.into()), contents: vec![content("/r", REPLY)], ..answered() };
    permit.settle(outcome).unwrap();
    world.engine.drain().await.unwrap();
    world.publish().await;
    world.engine.catch_up().unwrap();
    assert_eq!(world.engine.trace(REPLY).unwrap().class, TraceClass::None);
    let root = world.closed.root();
    for needle in [ALICE.as_bytes(), hex::encode(digest.as_bytes()).as_bytes(), digest.as_bytes()] {
        assert_eq!(holding(&root, needle), Vec::<PathBuf>::new(), "{}", String::from_utf8_lossy(needle));
    }
    let settled = world.entries().await.into_iter().rev().map(|entry| String::from_utf8(entry).unwrap());
    let settled = settled.into_iter().find(|entry| entry.contains("\"kind\":\"settled\"")).unwrap();
    assert!(settled.contains("\"response\":\"commit:"), "{settled}");
    world.tick().await;
    let before = world.state();
    let world = world.close().open().await;
    assert_eq!(world.state(), before);
}

/// What a caller calls its request, how it calls the members of its JSON, and what was measured of a launch.
#[tokio::test]
async fn a_callers_words_and_a_launch_are_in_no_published_file() {
    const WORDS: &str = "Erika Mustermann has diagnosis C50";
    let world = World::start().await;
    let task = world.task(LEAD, None).await;
    let (argv, file) = (sha256(WORDS.as_bytes()), sha256(LETTER));
    let told = Launcher { uid: Some(7), argv: Some(argv), artifacts: BTreeSet::from([file]) };
    let launch = world.engine.launch(&world.alice, &spiffe(LEAD), task.id, parent_id()).unwrap().told(&told).unwrap();
    let instance = world.engine.attest(observed(&[&named(LEAD)]), Some(&launch)).await.unwrap();
    // A refusal says what was seen.
    let refused = world.engine.attest(observed(&["unix:name:stranger"]), Some(&launch)).await.unwrap_err();
    assert!(refused.to_string().contains("launched:argv_sha256:"), "{refused}");
    let session = world.engine.gateway_session(&instance, task.id).await.unwrap();
    let (at, id) = (format!("/params/arguments/{WORDS}"), format!("jsonrpc:\"{WORDS}\""));
    for correlation in [WORDS.to_owned(), id.clone()] {
        let contents = vec![content(&at, LETTER)];
        let correlation = Some(correlation);
        let permit = world.permit(ActionRequest { contents, correlation, ..call(session, "tool:crm/find", json!({})) }).await;
        permit.settle(Outcome { contents: vec![content(&at, REPLY)], ..answered() }).unwrap();
    }
    let entries = world.entries().await;
    let published = world.closed.root().join("ledger");
    let hashed = [at.as_bytes(), id.as_bytes(), WORDS.as_bytes(), LETTER, REPLY].map(sha256);
    let hashed = hashed.iter().map(|digest| hex::encode(digest.as_bytes()).into_bytes());
    let needles: Vec<Vec<u8>> = hashed.chain([WORDS.as_bytes().to_vec()]).collect();
    for needle in &needles {
        assert_eq!(holding(&published, needle), Vec::<PathBuf>::new(), "{}", String::from_utf8_lossy(needle));
    }

    // Whoever may know it can be shown it.
    let kinds = ["instance_attested", "attestation_refused", "decided", "settled"];
    let of_kind = |entry: &[u8], kind: &str| String::from_utf8_lossy(entry).contains(&format!("\"kind\":\"{kind}\""));
    let kept: Vec<u64> =
        (0..).zip(&entries).filter(|(_, entry)| kinds.iter().any(|kind| of_kind(entry, kind))).map(|(index, _)| index).collect();
    assert_eq!(kept.len(), 6);
    let openings = async |world: &World, index: u64| {
        let receipt = world.engine.receipt(&world.admin, ReceiptOf::Entry(index), true).await.unwrap();
        assert!(receipt.openings.iter().all(|opening| opening.fits(receipt.inclusion.leaf.as_bytes())));
        receipt.openings
    };
    let measured = hex::encode(argv.as_bytes());
    for index in &kept {
        let values: Vec<String> = openings(&world, *index).await.into_iter().map(|opening| opening.value).collect();
        assert!(values.iter().any(|value| value.contains(WORDS) || value.contains(&measured)), "{index}: {values:?}");
    }
    world.tick().await;
    let before = world.state();
    assert_eq!(before.instances[&instance.id], instance);
    world.engine.rebuild_views().unwrap();
    let world = world.close().open().await;
    assert_eq!(world.state(), before, "what was kept back of a copy is read again");

    let erasure = world.engine.erase_person(&world.admin, &person(ALICE)).await.unwrap();
    assert!(erasure.entries >= 6, "{erasure:?}");
    for index in &kept {
        assert!(openings(&world, *index).await.is_empty(), "{index}");
    }
    assert!(!world.state().instances.contains_key(&instance.id), "a copy of which not all is known counts no longer");
    assert_eq!(world.entries().await[..entries.len()], entries, "no entry changed, and the log verifies");
    for needle in &needles {
        assert_eq!(holding(&world.closed.root(), needle), Vec::<PathBuf>::new(), "{}", String::from_utf8_lossy(needle));
    }
    world.tick().await;
    let before = world.state();
    let world = world.close().open().await;
    assert_eq!(world.state(), before);
    world.entries().await;
}

#[tokio::test]
async fn nobody_is_known_by_an_erased_name_again() {
    let world = World::start().await;
    let alice = person(ALICE);
    world.engine.erase_person(&world.admin, &alice).await.unwrap();
    let size = world.engine.log_size();
    let refused = |error: EngineError| assert!(error.to_string().contains("erased"), "{error}");
    refused(world.engine.add_person(By::System, &alice).await.unwrap_err());
    refused(world.engine.erase_person(&world.admin, &alice).await.unwrap_err());
    // Somebody who proved to be her a moment ago.
    refused(world.engine.start_task(&world.alice, request(LEAD, None)).await.unwrap_err());
    let hers = IdentitySpec { owner: alice.clone(), ..agent(HERS, "read:dataset:*") };
    let desired = Desired { identities: vec![hers], ..manifest() };
    refused(world.engine.apply(&world.admin, &desired).await.unwrap_err());
    assert_eq!(world.engine.log_size(), size, "nothing happened");
    let world = world.close().open().await;
    refused(world.engine.add_person(By::System, &alice).await.unwrap_err());
    assert_eq!(holding(&world.closed.root(), ALICE.as_bytes()), Vec::<PathBuf>::new());
}

#[tokio::test]
async fn the_first_person_and_strangers_are_not_erased() {
    let world = Closed::new().open().await;
    for (who, error) in [(ADMIN, "first person"), ("nobody@example.com", "not known")] {
        let refused = world.engine.erase_person(&world.admin, &person(who)).await.unwrap_err();
        assert!(refused.to_string().contains(error), "{refused}");
        assert!(world.engine.erasure(&person(who)).is_err());
    }
    let pseudonym = PersonId::pseudonym([7; 16]);
    assert!(matches!(world.engine.erase_person(&world.admin, &pseudonym).await, Err(EngineError::NotFound { .. })));
    let workload = World::start().await;
    let worker = workload.agent(WORKER).await;
    let by = Caller::Workload(worker.workload);
    assert!(matches!(workload.engine.erase_person(&by, &person(ALICE)).await, Err(EngineError::Forbidden(_))));
}

/// A person without a task or an identity has nothing that could be revoked.
#[tokio::test]
async fn where_nothing_is_alive_nothing_is_revoked() {
    let world = World::empty().await;
    let erasure = world.engine.erase_person(&world.admin, &person(ALICE)).await.unwrap();
    assert!(erasure.done && erasure.revoked.is_none() && erasure.entries == 0);
    assert!(world.events().await.iter().all(|event| !matches!(event.what, Body::Revoked { .. })));
}
