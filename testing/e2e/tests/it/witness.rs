//! Witnesses and the root log: what is published is cosigned within seconds, and a log with two histories gets nowhere.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use marque_ledger::{
    AddCheckpoint, Checkpoint, LogFiles, MemoryTiles, Policy, Signer, TlogProof, Tree, Verifier, WitnessVerifier, leaf_hash,
    verify_log, witness_path,
};
use serde_json::Value;

use crate::process::{PATIENCE, Running, finish, marque, until};
use crate::wire::{Link, Reply};
use crate::world::{World, clean};

#[test]
fn two_witnesses_cosign_what_happened_within_seconds() {
    let world = World::with_example();
    let log = log_key(&world);
    let [w1, w2] = ["w1", "w2"].map(|name| Cosigner::witness(&world, name, ANY_PORT, &[&log]));
    let policy = format!("log {log}\n{}{}group both all w1 w2\nquorum both\n", w1.line("w1"), w2.line("w2"));
    let (mut server, ledger) = serve(&world, &policy);
    let policy: Policy = policy.parse().unwrap();
    let mut prompt = 0;
    for round in 1..=ROUNDS {
        start_task(&world);
        let entries = world.entries();
        let covers = || witnessed(&ledger, &policy) >= entries;
        prompt += u32::from(until(Duration::from_secs(2), covers));
        assert!(until(PATIENCE, covers), "round {round}: {entries} entries are not witnessed: {}", world.log_text());
    }
    // Other tests share the machine, so one or two may be late.
    assert!(prompt >= ROUNDS - 2, "only {prompt} of {ROUNDS} events were witnessed within two seconds");

    let status = world.json(&["status"]);
    assert!(status["witnessed"].as_u64() >= Some(1), "{status}");
    let names: Vec<&Value> = status["witnesses"].as_array().unwrap().iter().map(|w| &w["name"]).collect();
    assert_eq!(names, ["w1", "w2"]);
    for witness in status["witnesses"].as_array().unwrap() {
        assert!(witness["at"].is_i64() && witness["size"].is_u64() && witness["error"].is_null(), "{witness}");
    }
    world.run(&["status"]).must(0, &["w1  cosigned", "w2  cosigned"]);
    for witness in [&w1, &w2] {
        let monitored = witness.latest(LOG).expect("a monitor sees what was cosigned");
        let key: WitnessVerifier = witness.key.parse().unwrap();
        assert!(key.verify(&monitored).unwrap().is_some(), "{monitored}");
    }

    // The log that is served is the log.
    let bundle = get(&format!("{ledger}/tile/entries/000.p/1"));
    assert!(bundle.status == 200 && String::from_utf8_lossy(&bundle.body).contains("log_started"), "{bundle:?}");
    for absent in ["tile/0/000", "tile/0/000.p/255", "tile/9/000.p/1", "../keys/log.key"] {
        assert_eq!(get(&format!("{ledger}/{absent}")).status, 404, "{absent}");
    }
    world.write("pinned-key", &log);
    world.verified(&world.path("pinned-key"));
    // An auditor elsewhere needs the address and the policy.
    world.write("trusted-policy", &policy.to_string());
    let said = world.run(&["ledger", "verify", "--url", &ledger, "--policy", &world.path("trusted-policy"), "--max-age", "1h"]);
    said.must(0, &["✓ whole:", "✓ witnesses", "w1, w2 cosigned", "✓ freshness", "✓ unanchored", "the policy"]);
    assert!(server.stop().success());
}

#[test]
fn a_witness_that_is_down_is_named_and_holds_up_nobody() {
    let world = World::with_example();
    let log = log_key(&world);
    let w1 = Cosigner::witness(&world, "w1", ANY_PORT, &[&log]);
    let mut w2 = Cosigner::witness(&world, "w2", ANY_PORT, &[&log]);
    assert!(w2.process.stop().success());
    let policy = format!("{}{}group either any w1 w2\nquorum either\n", w1.line("w1"), w2.line("w2"));
    let (mut server, ledger) = serve(&world, &policy);
    let policy: Policy = format!("log {log}\n{policy}").parse().unwrap();
    for _ in 0..3 {
        start_task(&world);
        let entries = world.entries();
        let covers = || witnessed(&ledger, &policy) >= entries;
        assert!(until(PATIENCE, covers), "{entries} entries are not witnessed: {}", world.log_text());
    }
    let error = |place: usize| world.json(&["status"])["witnesses"][place]["error"].clone();
    assert!(until(PATIENCE, || error(1).is_string()), "nothing is said of w2");
    assert!(error(1).as_str().unwrap().contains("cannot be reached"), "{}", error(1));
    assert_eq!(error(0), Value::Null);
    world.run(&["status"]).must(0, &["w2  it cannot be reached"]);
    let told = world.log_text().matches("a witness does not cosign").count();
    assert_eq!(told, 1, "once is enough: {}", world.log_text());

    // It comes back, and has missed nothing that counts.
    let address = w2.address().to_owned();
    let _w2 = Cosigner::witness(&world, "w2", &address, &[&log]);
    assert!(until(PATIENCE, || error(1).is_null()), "{}", world.log_text());
    assert!(until(PATIENCE, || world.log_text().contains("a witness cosigns again")));
    assert!(server.stop().success());
}

#[test]
fn a_log_with_two_histories_is_refused_also_after_a_restart() {
    let world = World::new();
    let fork = Fork::new("forking.example/log", 5);
    let key = fork.signer.verifier().to_string();
    let mut witness = Cosigner::witness(&world, "w1", ANY_PORT, &[&key]);
    assert_eq!(witness.latest(fork.name), None);
    assert_eq!(witness.add(&fork.request(0, 5, HONEST)).status, 200);

    let refused = |witness: &Cosigner| {
        // Two signed checkpoints of one size with different roots.
        let split = witness.add(&fork.request(5, 5, FORKED));
        assert_eq!((split.status, text(&split).contains("consistency proof does not hold")), (422, true), "{split:?}");
        let unknowing = witness.add(&fork.request(0, 5, FORKED));
        assert_eq!((unknowing.status, text(&unknowing)), (409, "5\n".to_owned()));
        // A larger tree that does not continue it, with the proof of the tree that does.
        assert_eq!(witness.add(&fork.request(5, 9, FORKED)).status, 422);
        // Back to what was.
        assert_eq!(witness.add(&fork.request(3, 4, HONEST)).status, 409);
        let back = fork.request(5, 9, HONEST).replace(&fork.note(9, HONEST), &fork.note(4, HONEST));
        assert_eq!(witness.add(&back).status, 400);
        // A proof with another hash in it, one too many, one too few.
        let good = fork.request(5, 9, HONEST);
        let hash = good.lines().nth(1).unwrap();
        for bad in [
            good.replacen(hash, ZERO_HASH, 1),
            good.replacen(hash, &format!("{hash}\n{hash}"), 1),
            good.replacen(&format!("{hash}\n"), "", 1),
        ] {
            assert_eq!(witness.add(&bad).status, 422, "{bad}");
        }
        // A stranger's signature, and a log that nobody told it of.
        let stranger = Fork::new(fork.name, 9);
        assert_eq!(witness.add(&stranger.request(5, 9, HONEST)).status, 403);
        assert_eq!(witness.add(&Fork::new("other.example/log", 5).request(0, 5, HONEST)).status, 404);
    };
    refused(&witness);
    let before = witness.latest(fork.name).unwrap();
    let address = witness.address().to_owned();
    witness.process.kill();

    let witness = Cosigner::witness(&world, "w1", &address, &[&key]);
    assert_eq!(witness.latest(fork.name), Some(before), "what was cosigned is kept");
    refused(&witness);
    let continued = witness.add(&fork.request(5, 9, HONEST));
    assert_eq!(continued.status, 200, "{continued:?}");
    let cosigned = fork.note(9, HONEST) + &text(&continued);
    assert!(witness.key.parse::<WitnessVerifier>().unwrap().verify(&cosigned).unwrap().is_some());
    let log = std::fs::read_to_string(world.dir().join("w1.log")).unwrap();
    assert!(log.contains("a signed checkpoint does not continue what was cosigned"), "{log}");
}

#[test]
fn a_root_log_anchors_the_logs_of_two_tenants() {
    let world = World::new();
    let tenants = ["one.example", "two.example"].map(tenant);
    let keys = tenants.each_ref().map(log_key);
    let mut command = clean(Command::new(marque()));
    command.args(["--json", "root", "key", "--dir", &world.path("root"), "--name", "root.example"]);
    let said = finish(command, "");
    said.must(0, &[]);
    let made: Value = serde_json::from_str(&said.out).unwrap();
    let root_key = made["log_key"].as_str().unwrap();

    let w1 = Cosigner::witness(&world, "w1", ANY_PORT, &[root_key]);
    let policy = format!("log {root_key}\n{}quorum w1\n", w1.line("w1"));
    world.write("root-policy", &policy);
    let policy: Policy = policy.parse().unwrap();
    let mut root = Cosigner::root(&world, ANY_PORT, &[&keys[0], &keys[1]]);
    assert_eq!(Value::from(root.key.as_str()), made["key"]);
    let own = [&keys[0], &keys[1]].map(|key| format!("log {key}\n{}quorum root\n", root.line("root")));
    let mut servers = [serve(&tenants[0], &own[0]), serve(&tenants[1], &own[1])];

    let anchored = |root: &Cosigner| {
        for ((tenant, key), (_, ledger)) in tenants.iter().zip(&keys).zip(&servers) {
            tenant.run(&["person", "add", &format!("p{}@example.com", tenant.entries())]).must(0, &[]);
            let entries = tenant.entries();
            let is_anchored = || root.anchor(key, &policy).is_some_and(|(_, checkpoint)| checkpoint.size >= entries);
            assert!(until(PATIENCE, is_anchored), "{entries} entries of {key} are not anchored: {}", tenant.log_text());
            // The root's cosignature is a witness's: the tenant's own quorum.
            let own: Policy = format!("log {key}\n{}quorum root\n", root.line("root")).parse().unwrap();
            assert!(until(PATIENCE, || witnessed(ledger, &own) >= entries), "{}", tenant.log_text());
        }
    };
    anchored(&root);

    // The proof is of one tenant's checkpoint, and of nothing else.
    let [one, two] = [&keys[0], &keys[1]].map(|key| root.anchor_of(key).unwrap());
    let proof: TlogProof = one["proof"].as_str().unwrap().parse().unwrap();
    let entry = |anchor: &Value| anchor["checkpoint"].as_str().unwrap().to_owned();
    assert!(proof.verify(entry(&one).as_bytes(), "root.example/log", &[root_key.parse().unwrap()]).is_ok());
    assert!(proof.verify(entry(&two).as_bytes(), "root.example/log", &[root_key.parse().unwrap()]).is_err());
    let unknown = get(&format!("{}/anchor/{}", root.url, "0".repeat(64)));
    assert_eq!(unknown.status, 404);

    let mut before = None;
    assert!(until(PATIENCE, || {
        before = root.anchor(&keys[0], &policy).map(|(index, _)| index);
        before.is_some()
    }));
    let address = root.address().to_owned();
    root.process.kill();
    let mut root = Cosigner::root(&world, &address, &[&keys[0], &keys[1]]);
    assert!(until(PATIENCE, || root.anchor(&keys[0], &policy).is_some_and(|(index, _)| Some(index) >= before)));
    anchored(&root);
    // The whole root log from its files alone: every entry is a checkpoint of one of the two.
    assert!(root.process.stop().success());
    let origins = keys.each_ref().map(|key| key.parse::<Verifier>().unwrap().name().to_owned());
    let mut on_entry = |_: u64, entry: &[u8]| {
        let origin = String::from_utf8_lossy(entry).lines().next().unwrap_or_default().to_owned();
        if origins.contains(&origin) { Ok(()) } else { Err(format!("`{origin}` is no tenant")) }
    };
    let files = Files(world.dir().join("root/ledger"));
    let report = verify_log(&files, "root.example/log", &[root_key.parse().unwrap()], &mut on_entry);
    assert!(report.is_ok() && report.size >= 4, "{report:?}");
    for (server, _) in &mut servers {
        assert!(server.stop().success());
    }
}

/// A key is printed as a policy takes it, and where it is kept is said before or after the verb.
#[test]
fn a_key_is_printed_bare() {
    let world = World::new();
    for (noun, keys) in [("witness", 1), ("root", 2)] {
        let (dir, name) = (world.path(noun), format!("{noun}.example"));
        let run = |args: &[&str]| {
            let mut command = clean(Command::new(marque()));
            command.args(args);
            let said = finish(command, "");
            said.must(0, &[]);
            said.out
        };
        let made = run(&[noun, "key", "--dir", &dir, "--name", &name]);
        assert_eq!(run(&[noun, "--dir", &dir, "key"]), made, "before the verb as behind it");
        assert_eq!(run(&[noun, "key", "--dir", &dir]), made);
        let bare: Vec<&str> = made.lines().filter(|line| !line.starts_with('#')).collect();
        assert_eq!((bare.len(), made.contains('#')), (keys, keys > 1), "{made}");
        assert!(bare[0].parse::<WitnessVerifier>().is_ok(), "{made}");
        assert!(bare[1..].iter().all(|key| key.parse::<Verifier>().is_ok()), "{made}");
    }
    let mut command = clean(Command::new(marque()));
    command.args(["witness", "key"]);
    finish(command, "").must(2, &["--dir"]);
}

/// A witness or a root log in a process of its own.
pub struct Cosigner {
    process: Running,
    key: String,
    url: String,
}

impl Cosigner {
    pub fn witness(world: &World, name: &str, listen: &str, logs: &[&str]) -> Self {
        Self::start(world, name, &["witness", "--name", &format!("witness.example/{name}"), "--listen", listen], logs)
    }

    fn root(world: &World, listen: &str, logs: &[&String; 2]) -> Self {
        let policy = world.path("root-policy");
        let logs = logs.map(String::as_str);
        Self::start(world, "root", &["root", "--listen", listen, "--witness-policy", &policy], &logs)
    }

    #[track_caller]
    fn start(world: &World, folder: &str, args: &[&str], logs: &[&str]) -> Self {
        let mut command = clean(Command::new(marque()));
        command.arg("--json").args(args).args(["--dir", &world.path(folder)]);
        for log in logs {
            command.args(["--log", log]);
        }
        let errors: PathBuf = world.dir().join(format!("{folder}.log"));
        let process = Running::start(command, &errors);
        let line = process.line().unwrap_or_else(|| panic!("{folder}: {}", std::fs::read_to_string(&errors).unwrap()));
        let ready: Value = serde_json::from_str(&line).unwrap();
        let said = |name: &str| ready[name].as_str().unwrap().to_owned();
        Self { process, key: said("key"), url: said("listen") }
    }

    /// Its line in a policy.
    pub fn line(&self, name: &str) -> String {
        format!("witness {name} {} {}\n", self.key, self.url)
    }

    fn address(&self) -> &str {
        self.url.strip_prefix("http://").unwrap()
    }

    fn add(&self, body: &str) -> Reply {
        send("POST", &format!("{}/add-checkpoint", self.url), body)
    }

    /// What it cosigned last.
    fn latest(&self, origin: &str) -> Option<String> {
        let reply = get(&format!("{}/{}", self.url, witness_path(origin)));
        (reply.status == 200).then(|| text(&reply))
    }

    /// The newest anchor of a log, as the root log answers.
    fn anchor_of(&self, key: &str) -> Option<Value> {
        let origin = key.parse::<Verifier>().unwrap().name().to_owned();
        let digest = witness_path(&origin).split('/').next().unwrap().to_owned();
        let reply = get(&format!("{}/anchor/{digest}", self.url));
        (reply.status == 200).then(|| reply.json())
    }

    /// The newest anchored checkpoint of a log, once its proof holds by the policy, witnesses included.
    fn anchor(&self, key: &str, policy: &Policy) -> Option<(u64, Checkpoint)> {
        let anchor = self.anchor_of(key)?;
        let entry = anchor["checkpoint"].as_str().unwrap();
        let proof: TlogProof = anchor["proof"].as_str().unwrap().parse().unwrap();
        assert_eq!(anchor["index"], proof.index);
        let known: Verifier = key.parse().unwrap();
        let checkpoint = Checkpoint::open(entry, known.name(), std::slice::from_ref(&known)).unwrap();
        proof.verify_with_policy(entry.as_bytes(), policy).is_ok().then_some((proof.index, checkpoint))
    }
}

/// The files of a log on the disk.
struct Files(PathBuf);

impl LogFiles for Files {
    fn read(&self, path: &str) -> marque_ledger::Result<Option<Vec<u8>>> {
        Ok(std::fs::read(self.0.join(path)).ok())
    }
}

/// A log that signs two histories, which part after the third entry.
struct Fork {
    name: &'static str,
    signer: Signer,
}

impl Fork {
    fn new(name: &'static str, seed: u8) -> Self {
        Self { name, signer: Signer::from_seed(name, [seed; 32]).unwrap() }
    }

    fn note(&self, size: u64, history: &str) -> String {
        let origin = self.name.to_owned();
        Checkpoint { origin, size, root: tree(size, history).root(), extensions: vec![] }.sign(&self.signer).unwrap()
    }

    /// A checkpoint of a history, with the proof that the honest one continues.
    fn request(&self, old: u64, size: u64, history: &str) -> String {
        let mut tiles = MemoryTiles::default();
        tiles.extend(tree(20, HONEST).partial_tiles());
        AddCheckpoint::new(old, &self.note(size, history), &tiles).unwrap().to_string()
    }
}

fn tree(size: u64, history: &str) -> Tree {
    let mut tree = Tree::default();
    for index in 0..size {
        let entry = if index < 3 { index.to_string() } else { format!("{history}{index}") };
        tree.push(leaf_hash(entry.as_bytes()), &mut Vec::new());
    }
    tree
}

/// A world with a log of its own name, whose server has run once.
fn tenant(domain: &str) -> World {
    let world = World::new();
    let mut command = world.serve_command();
    command.args(["--trust-domain", domain]);
    let mut server = world.try_serve(command);
    assert!(server.line().is_some(), "no server: {}", world.log_text());
    assert!(server.stop().success());
    world
}

/// A server that asks the witnesses of a policy, and where its log is on plain HTTP.
#[track_caller]
pub fn serve(world: &World, policy: &str) -> (Running, String) {
    world.write("policy", policy);
    let mut command = world.serve_command();
    command.args(["--ledger", ANY_PORT, "--witness-policy", &world.path("policy")]);
    let server = world.try_serve(command);
    let line = server.line().unwrap_or_else(|| panic!("no server: {}", world.log_text()));
    let addresses: Value = serde_json::from_str(&line).unwrap();
    let ledger = addresses["ledger"].as_str().unwrap().to_owned();
    (server, ledger)
}

pub fn start_task(world: &World) {
    world.run(&["task", "start", "--as", "agent/researcher", "--purpose", "to be witnessed"]).must(0, &["started task_"]);
}

/// The size of the newest checkpoint that a quorum cosigned, 0 when there is none.
pub fn witnessed(ledger: &str, policy: &Policy) -> u64 {
    let reply = get(&format!("{ledger}/checkpoint.witnessed"));
    if reply.status == 404 {
        return 0;
    }
    let verdict = policy.evaluate(&text(&reply)).unwrap();
    assert!(verdict.is_signed && verdict.is_quorum, "{verdict:?}");
    verdict.checkpoint.size
}

pub fn log_key(world: &World) -> String {
    std::fs::read_to_string(world.state().join("ledger/verifier")).unwrap().trim().to_owned()
}

pub fn get(url: &str) -> Reply {
    send("GET", url, "")
}

/// One request on a connection of its own.
fn send(method: &str, url: &str, body: &str) -> Reply {
    let (host, path) = url.strip_prefix("http://").unwrap().split_once('/').unwrap();
    let length = body.len();
    let head = format!("{method} /{path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n");
    let mut link = Link::tcp(host).unwrap();
    link.send((head + body).as_bytes()).unwrap();
    link.reply().unwrap()
}

pub fn text(reply: &Reply) -> String {
    String::from_utf8(reply.body.clone()).unwrap()
}

pub const ANY_PORT: &str = "127.0.0.1:0";
const LOG: &str = "example.org/marque/log";
const HONEST: &str = "";
const FORKED: &str = "other ";
const ZERO_HASH: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
const ROUNDS: u32 = 5;
