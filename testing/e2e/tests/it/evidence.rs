//! Evidence from the command line: verdicts, receipts, attested files, and what is erased or let go.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use crate::process::finish;
use crate::world::{ALICE, World};

const PURPOSE: &str = "a purpose that is kept back";

/// A key that signed nothing here.
const STRANGER: &str = "ledger.example/log+7cc83a9d+AYqI4910CfGV/VLbLTy6XXLKZwm/HZQSG/N0iAG0D29c";

/// A world with a task, the log's key put aside, and the index of the task's entry.
fn with_task() -> (World, String, String, u64) {
    let world = World::with_example();
    let key = world.pinned_key();
    let task = world.json(&["task", "start", "--as", "agent/researcher", "--purpose", PURPOSE]);
    let index = world.entries() - 1;
    (world, key, task["id"].as_str().unwrap().to_owned(), index)
}

#[test]
fn a_receipt_is_checked_without_a_server() {
    let (world, key, task, index) = with_task();
    let (receipt, cose, json) = (world.path("r.tlog-proof"), world.path("r.cose"), world.path("r.json"));
    let (entry, index) = (world.path("r.tlog-proof.entry"), index.to_string());
    let got = world.run(&["receipt", "get", &index, "--out", &receipt, "--cose", &cose, "--openings"]);
    got.must(0, &["receipt of", "r.tlog-proof.entry", "r.tlog-proof.openings", "r.cose"]);
    world.run(&["receipt", "get", &index, "--out", &json, "--openings"]).must(0, &["r.json"]);
    assert!(std::fs::read_to_string(&entry).unwrap().contains(&task));
    world.write("purpose.txt", PURPOSE);
    world.write("other.txt", "another purpose");
    world.write("stranger", STRANGER);
    let (purpose, other, stranger) = (world.path("purpose.txt"), world.path("other.txt"), world.path("stranger"));
    // What is needed to check them has all been put aside.
    std::fs::remove_dir_all(world.state()).unwrap();

    let verify = |args: &[&str]| world.run(&[&["receipt", "verify"][..], args].concat());
    for form in [&receipt, &json] {
        let said = verify(&[form, "--key-file", &key, "--file", &purpose]);
        said.must(0, &["✓ proven:", "✓ signature", "✓ inclusion", "– witnesses", "✓ content", "/what/task/purpose"]);
        verify(&[form, "--key-file", &key]).must(0, &["– content"]);
        verify(&[form, "--key-file", &key, "--file", &other]).must(4, &["✗ not proven:", "✗ content"]);
        verify(&[form, "--key-file", &stranger]).must(4, &["✗ signature"]);
    }
    verify(&[&cose, "--entry", &entry, "--key-file", &key]).must(0, &["✓ inclusion"]);
    verify(&[&cose, "--entry", &purpose, "--key-file", &key]).must(4, &["✗ inclusion"]);
    verify(&[&receipt]).must(2, &["--key-file"]);
    verify(&[&purpose, "--entry", &entry, "--key-file", &key]).must(2, &["is not a receipt"]);

    std::fs::remove_file(world.path("r.tlog-proof.openings")).unwrap();
    verify(&[&receipt, "--key-file", &key, "--file", &purpose]).must(4, &["could not be checked", "--openings"]);
    let changed = std::fs::read_to_string(&entry).unwrap().replacen("task_", "tash_", 1);
    std::fs::write(&entry, changed).unwrap();
    verify(&[&receipt, "--key-file", &key]).must(4, &["✓ signature", "✗ inclusion"]);
}

#[test]
fn a_ledger_is_judged_question_by_question() {
    let (world, key, _, _) = with_task();
    let older = world.path("older-checkpoint");
    std::fs::copy(world.state().join("ledger/checkpoint"), &older).unwrap();
    world.run(&["task", "start", "--as", "agent/researcher", "--purpose", PURPOSE]).must(0, &[]);
    let report = world.json(&["ledger", "verify", "--key-file", &key, "--older", &older]);
    assert_eq!(report["ok"], true);
    for holds in ["signature", "inclusion", "consistency", "sequence", "erased", "pruned"] {
        assert_eq!(standing(&report, holds), "holds", "{report}");
    }
    for open in ["witnesses", "freshness", "unanchored"] {
        assert_eq!(standing(&report, open), "open", "{report}");
    }
    let said = world.run(&["ledger", "verify"]);
    said.must(0, &["✓ whole:", "– consistency", "--older", "--policy", "keep a copy, and name it with --key-file"]);
    world.write("stranger", STRANGER);
    world
        .run(&["ledger", "verify", "--key-file", &world.path("stranger")])
        .must(4, &["✗ not whole: signature failed", "✗ signature"]);
    // A checkpoint of another log says nothing about this one.
    let note = std::fs::read_to_string(&older).unwrap();
    world.write("forged", &note.replacen("example.org", "example.com", 1));
    let forged = world.run(&["ledger", "verify", "--key-file", &key, "--older", &world.path("forged")]);
    forged.must(4, &["– consistency", "could not be checked"]);
    world.run(&["ledger", "verify", "--url", "http://log.example.org/ledger/"]).must(2, &["https://"]);
}

/// Nobody signs what lies beside the checkpoint: each is a question of its own, and the others are answered.
#[test]
fn a_file_beside_the_log_spoils_its_own_question_only() {
    let (world, key, _, _) = with_task();
    let ledger = world.state().join("ledger");
    let verify: [&str; 4] = ["ledger", "verify", "--key-file", &key];
    let noise: &[u8] = &[0xff, 0xfe, 0x00, 0x9c];
    let witnessed = ("checkpoint.witnessed", "unanchored");
    let cases = [
        (witnessed, Some(noise)),
        (witnessed, None),
        (("checkpoint.witnessed", "consistency"), Some(b"no note at all\n".as_slice())),
        (("pruned", "pruned"), Some(noise)),
        (("pruned", "pruned"), None),
        (("pruned", "pruned"), Some(b"18446744073709551616\n".as_slice())),
    ];
    for ((file, question), bytes) in cases {
        let path = ledger.join(file);
        match bytes {
            Some(bytes) => std::fs::write(&path, bytes).unwrap(),
            None => std::fs::create_dir(&path).unwrap(),
        }
        let said = finish(world.command(&[&["--json"][..], &verify].concat()), "");
        said.must(4, &[]);
        let report: Value = serde_json::from_str(&said.out).unwrap_or_else(|error| panic!("{file}: {error}: {said:?}"));
        assert_eq!((&report["ok"], standing(&report, question).as_str()), (&Value::Bool(false), "unchecked"), "{file}: {report}");
        for holds in ["signature", "inclusion", "sequence", "erased"] {
            assert_eq!(standing(&report, holds), "holds", "{file}: {report}");
        }
        let what = format!("{question} could not be checked");
        world.run(&verify).must(4, &["✗ in doubt:", &what, "✓ signature", "✓ inclusion", &format!("– {question}")]);
        match bytes {
            Some(_) => std::fs::remove_file(&path).unwrap(),
            None => std::fs::remove_dir(&path).unwrap(),
        }
    }
    world.run(&verify).must(0, &["✓ whole:"]);
}

/// How a report answers one question.
#[track_caller]
fn standing(report: &Value, name: &str) -> String {
    let verdicts = report["verdicts"].as_array().unwrap();
    let verdict = verdicts.iter().find(|verdict| verdict["name"] == name).unwrap_or_else(|| panic!("no {name}: {report}"));
    verdict["standing"].as_str().unwrap().to_owned()
}

#[test]
fn before_the_log_began_nobody_had_access() {
    let (world, _, _, _) = with_task();
    let access = |at: &str| world.run(&["ledger", "access", "invoke", "tool:crm/find_customer", "--at", at]);
    access("2020-01-01").must(0, &["invoke tool:crm/find_customer, before the log began", "not registered then"]);
    access("0s").must(0, &["as of entry", "and policies sha256:"]);
}

#[test]
fn a_person_is_erased_and_the_log_stays_whole() {
    let (world, key, _, _) = with_task();
    world.run(&["person", "add", "bob@example.com"]).must(0, &[]);
    let work = ["--person", "bob@example.com", "task", "start", "--as", "agent/researcher", "--purpose", PURPOSE];
    world.run(&work).must(0, &["started task_"]);
    let entries = world.entries();
    world.run(&["person", "erase", "bob@example.com"]).must(2, &["--yes"]);
    world.run(&["person", "erase", "bob@example.com", "--dry-run"]).must(0, &["would erase", "tasks revoked: 1"]);
    assert_eq!(world.entries(), entries, "nothing happened");
    world.run(&["person", "erase", "bob@example.com", "--yes"]).must(0, &["erased", "user:~"]);
    let people = world.run(&["person", "list"]);
    assert!(people.out.contains(ALICE) && !people.out.contains("bob"), "{people:?}");
    let tasks = world.run(&["task", "list"]);
    assert!(tasks.out.contains("user:~") && !tasks.out.contains("bob"), "{tasks:?}");
    world.run(&work).must(4, &[]);
    world.run(&["ledger", "verify", "--key-file", &key]).must(0, &["✓ erased", "1 person"]);
    world.run(&["person", "erase", ALICE, "--yes"]).must(2, &["first person"]);
    world.run(&["person", "erase", "nobody@example.com", "--yes"]).must(4, &["not known"]);
}

#[test]
fn an_attested_file_is_traced_to_its_task() {
    let (world, _, task, _) = with_task();
    world.write("train.csv", "rows of a table that a model learned");
    world.write("model.bin", "weights of the model that learned them");
    let (data, model) = (world.path("train.csv"), world.path("model.bin"));
    world.run(&["attest", &data, "--task", &task]).must(0, &["attested train.csv"]);
    let out = world.path("model.bin.intoto.jsonl");
    let attest: [&str; 8] = ["attest", &model, "--task", &task, "--input", &data, "--out", &out];
    world.run(&attest).must(0, &["attested model.bin", "from 1 inputs", "stated in"]);
    let envelope: Value = serde_json::from_str(&std::fs::read_to_string(&out).unwrap()).unwrap();
    assert_eq!(envelope["payloadType"], "application/vnd.in-toto+json");
    let statement: Value =
        serde_json::from_slice(&BASE64_STANDARD.decode(envelope["payload"].as_str().unwrap()).unwrap()).unwrap();
    assert_eq!(statement["subject"][0]["name"], "model.bin");
    assert!(statement.to_string().contains("checkpoint"), "it has its proof: {statement}");
    world.run(&["trace", &model]).must(0, &["artifact", "model.bin", &task, ALICE]);
    let trace = world.json(&["trace", &model]);
    assert_eq!(trace["chains"][0]["upstream"][0]["artifact"]["name"], "train.csv", "{trace}");
    // What is only an input comes from nowhere, and nothing is stated of it.
    world.write("only.csv", "rows of a table that nobody attested by itself");
    world.write("other.bin", "weights of the model that learned those");
    let (only, other) = (world.path("only.csv"), world.path("other.bin"));
    world.run(&["attest", &other, "--task", &task, "--input", &only, "--input", &data]).must(0, &["from 2 inputs"]);
    let told = format!("an input of other.bin, attested for task {task} by user:");
    world.run(&["trace", &only]).must(4, &["not found in this ledger but as an input of others", &told, "✓ proved"]);
    world.run(&["trace", &only, "--intoto", &out]).must(4, &["of what others were made from, nothing is stated"]);
    let trace = world.json(&["trace", &other]);
    assert_eq!(trace["chains"][0]["upstream"].as_array().unwrap().len(), 1, "the other model is none of it: {trace}");
    let missing = trace["chains"][0]["missing"][0]["input"].as_str().unwrap();
    world.run(&["trace", &other]).must(0, &["train.csv", &format!("made from {missing}  not on record")]);
    world.run(&["attest", &model, "--task", "task_00000000000000000000000001"]).must(4, &["not known"]);
    world.run(&["attest", &world.path("none"), "--task", &task]).must(2, &["cannot read"]);
    world.write("empty", "");
    world.run(&["attest", &world.path("empty"), "--task", &task]).must(2, &["`empty` is empty"]);
    world.run(&["trace", &world.path("empty")]).must(4, &["not found in this ledger"]);
}

/// A file that has more than the API takes is looked up by its digest, which is said.
#[test]
fn a_long_file_is_traced_by_its_digest() {
    let (world, _, task, _) = with_task();
    world.write("models/long.bin", &"0123456789abcde\n".repeat((16 << 20) / 16 + 1));
    world.write("models/stray.bin", &"x".repeat((16 << 20) + 1));
    let (long, stray, out) = (world.path("models/long.bin"), world.path("models/stray.bin"), world.path("long.dsse"));
    world.run(&["attest", &long, "--task", &task, "--out", &out]).must(0, &["attested long.bin", "16777232 bytes", "stated in"]);
    let stated = std::fs::read_to_string(&out).unwrap();
    let (svg, prov) = (world.path("long.svg"), world.path("long.json"));
    let told = world.run(&["trace", &long, "--svg", &svg, "--prov", &prov, "--intoto", &out]);
    told.must(0, &["exact", "only its digest was looked up", "long.bin", "wrote"]);
    assert!(std::fs::read_to_string(&svg).unwrap().contains("for its digest alone"));
    let subject = |envelope: &str| {
        let envelope: Value = serde_json::from_str(envelope).unwrap();
        let payload = BASE64_STANDARD.decode(envelope["payload"].as_str().unwrap()).unwrap();
        serde_json::from_slice::<Value>(&payload).unwrap()["subject"].clone()
    };
    assert_eq!(subject(&stated), subject(&std::fs::read_to_string(&out).unwrap()));
    let trace = world.json(&["trace", &long]);
    assert_eq!((&trace["class"], &trace["complete"]), (&json!("exact"), &json!(false)), "{trace}");
    world.run(&["trace", &stray]).must(4, &["not found in this ledger", "only its digest was looked up"]);
    let folder = world.run(&["trace", &world.path("models")]);
    folder.must(0, &["long.bin", "stray.bin", "by its digest alone", "2 files: 1 exact, 1 not found"]);
}

#[test]
fn young_entries_are_kept() {
    let (world, _, _, _) = with_task();
    world.run(&["ledger", "prune", "--before", "2020-01-01"]).must(0, &["No whole bundle"]);
    world.run(&["ledger", "prune", "--before", "1d", "--yes"]).must(2, &["Art. 19(1)"]);
    world.run(&["ledger", "prune", "--before", "1d", "--yes", "--danger-short"]).must(0, &["No whole bundle"]);
    world.write("short.toml", "[retention]\nmonths = 3\n");
    let mut command = world.serve_command();
    command.args(["--config", &world.path("short.toml")]);
    let said = finish(command, "");
    said.must(2, &["retention.months", "Art. 26(6)", "danger_short"]);
}
