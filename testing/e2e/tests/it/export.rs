//! Exports: a receiver that hangs loses nothing and holds nobody up, and what it gets is signed and is the log.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::process::{PATIENCE, Running, finish, until};
use crate::world::World;

const KEY: &[u8] = b"a key of thirty-two octets, here";

#[test]
fn a_receiver_that_hangs_loses_nothing() {
    let receiver = Receiver::start();
    let world = World::new();
    world.write("marque.toml", &configuration(receiver.address));
    let mut server = serve(&world);
    // Until its secret is there, the export only lags.
    world.run(&["person", "add", "early@example.com"]).must(0, &[]);
    assert!(until(PATIENCE, || of_export(&world)["failures"].as_u64() > Some(0)));
    assert!(of_export(&world)["last_error"].as_str().unwrap().contains("siem-key"));
    let secret = format!("whsec_{}", BASE64_STANDARD.encode(KEY));
    finish(world.command(&["secret", "set", "siem-key"]), &secret).must(0, &[]);

    assert!(until(PATIENCE, || receiver.hanging() > 0), "nothing is sent: {}", world.log_text());
    for n in 0..5 {
        world.run(&["person", "add", &format!("during{n}@example.com")]).must(0, &[]);
    }
    let lagging = of_export(&world);
    assert_eq!((lagging["cursor"].as_u64(), lagging["running"].as_bool()), (Some(0), Some(true)), "{lagging}");
    assert!(lagging["behind"].as_u64() > Some(5), "{lagging}");
    assert_eq!(world.json(&["status"])["exports"][0]["name"], "siem");

    server.kill();
    let before = receiver.hanging();
    let mut server = serve(&world);
    assert!(until(PATIENCE, || receiver.hanging() > before), "nothing is sent again: {}", world.log_text());
    world.run(&["person", "add", "after@example.com"]).must(0, &[]);
    receiver.recover();
    let entries = world.entries();
    let caught_up = || of_export(&world)["cursor"].as_u64() >= Some(entries);
    assert!(until(PATIENCE, caught_up), "it does not catch up: {}", world.log_text());
    assert!(server.stop().success());

    let sent = receiver.checked();
    assert!(sent.len() as u64 >= entries, "{} of {entries} entries came", sent.len());
    // The same log, written out by the binary itself without a server.
    let file = world.path("events.ndjson");
    world.run(&["export", "run", "--format", "events", "--to", &file]).must(0, &["events.ndjson"]);
    let text = std::fs::read_to_string(&file).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(lines.len() >= sent.len());
    for (n, line) in lines.iter().enumerate() {
        assert_eq!(line["index"], n);
    }
    for (index, leaf) in sent {
        assert_eq!(lines[usize::try_from(index).unwrap()]["leaf"], leaf, "entry {index}");
    }
    assert!(!text.contains("during0@example.com"), "names leave without being asked for");
    // What has names or contents in it is its owner's, also where something was left behind.
    let mode = |file: &str| std::fs::metadata(file).unwrap().permissions().mode() & 0o777;
    for kept_back in ["--names", "--contents"] {
        let file = world.path(&format!("with{kept_back}"));
        std::fs::write(format!("{file}.partial"), "left behind").unwrap();
        std::fs::write(&file, "of last time").unwrap();
        world.run(&["export", "run", "--format", "events", kept_back, "--to", &file]).must(0, &["wrote"]);
        assert_eq!(mode(&file), 0o600, "{kept_back}");
    }
    world.write("plain", "");
    assert_eq!(mode(&file), mode(&world.path("plain")), "what others may read is as the umask has it");
    let named = world.run(&["export", "run", "--format", "cef", "--names", "--from", "1", "--limit", "3"]);
    named.must(0, &["CEF:0|Marque|"]);
    assert_eq!(named.out.lines().count(), 3, "{named:?}");
}

#[test]
fn files_hold_every_entry_and_a_torn_line_is_mended() {
    let world = World::new();
    let folder = world.path("out");
    let config = format!(
        "[[export]]\nname = \"files\"\nformat = \"cloudevents\"\nsink = \"file\"\nfolder = {folder:?}\nrotate = 2000\n\n\
         [[export]]\nname = \"columns\"\nformat = \"parquet\"\nsink = \"parquet\"\nfolder = {:?}\nrows = 4\n",
        world.path("columns")
    );
    world.write("marque.toml", &config);
    for round in 0..3 {
        let mut server = serve(&world);
        for n in 0..4 {
            world.run(&["person", "add", &format!("p{round}-{n}@example.com")]).must(0, &[]);
        }
        let done = || {
            let all = world.json(&["export", "status"]);
            let behind = |name: &str| all.as_array().unwrap().iter().find(|e| e["name"] == name).unwrap()["behind"].as_u64();
            behind("files") == Some(0) && behind("columns") < Some(4)
        };
        assert!(until(PATIENCE, done), "it does not catch up: {}", world.log_text());
        server.kill();
        // As a crash in the middle of a write leaves it.
        let last = crate::world::files(folder.as_ref()).into_iter().max().unwrap();
        let mut file = std::fs::OpenOptions::new().append(true).open(last).unwrap();
        file.write_all(b"{\"specversion\":").unwrap();
    }
    let mut server = serve(&world);
    world.run(&["person", "add", "last@example.com"]).must(0, &[]);
    let entries = world.entries();
    assert!(until(PATIENCE, || world.json(&["export", "status"])[1]["cursor"].as_u64() >= Some(entries)));
    assert!(server.stop().success());
    let mut seen = BTreeSet::new();
    let mut paths = crate::world::files(folder.as_ref());
    paths.sort();
    assert!(paths.len() > 1, "no file was begun anew");
    for path in paths {
        for line in std::fs::read_to_string(&path).unwrap().lines() {
            let event: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{}: {error}: {line}", path.display()));
            seen.insert(event["sequence"].as_str().unwrap().parse::<u64>().unwrap());
        }
    }
    assert!((0..entries).all(|index| seen.contains(&index)), "of {entries} entries {} came", seen.len());
    let whole = |path: &std::path::PathBuf| path.extension().is_some_and(|extension| extension == "parquet");
    let columns: Vec<_> = crate::world::files(world.path("columns").as_ref()).into_iter().filter(whole).collect();
    assert!(columns.len() > 1, "{columns:?}");
    for path in columns {
        assert!(std::fs::read(&path).unwrap().ends_with(b"PAR1"), "{}", path.display());
    }
}

#[test]
fn an_export_that_makes_no_sense_is_refused_at_the_start() {
    let world = World::new();
    for (config, word) in [
        ("sink = \"webhook\"\nurl = \"http://siem.example.com/\"\nsecret = \"k\"", "http://siem.example.com/"),
        ("sink = \"webhook\"\nurl = \"https://siem.example.com/\"", "`secret`"),
        ("sink = \"file\"\nfolder = \"/x\"\nsurprise = 1", "surprise"),
    ] {
        world.write("marque.toml", &format!("[[export]]\nname = \"a\"\nformat = \"ocsf\"\n{config}\n"));
        let mut command = world.serve_command();
        command.arg("--config").arg(world.path("marque.toml"));
        finish(command, "").must(2, &[word]);
    }
}

fn configuration(receiver: SocketAddr) -> String {
    format!(
        "[[export]]\nname = \"siem\"\nformat = \"cloudevents\"\nsink = \"webhook\"\nurl = \"http://{receiver}/hook\"\n\
         secret = \"siem-key\"\n"
    )
}

#[track_caller]
fn serve(world: &World) -> Running {
    let mut command = world.serve_command();
    command.arg("--config").arg(world.path("marque.toml"));
    let server = world.try_serve(command);
    assert!(server.line().is_some_and(|line| line.contains("workload_api")), "no server: {}", world.log_text());
    server
}

fn of_export(world: &World) -> Value {
    world.json(&["export", "status"])[0].clone()
}

/// A request that was taken.
struct Delivery {
    headers: BTreeMap<String, String>,
    body: Vec<u8>,
}

/// A receiver that takes requests and does not answer, until it has recovered.
struct Receiver {
    address: SocketAddr,
    inner: Arc<Inner>,
}

#[derive(Default)]
struct Inner {
    well: AtomicBool,
    hanging: AtomicUsize,
    deliveries: Mutex<Vec<Delivery>>,
}

impl Receiver {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, inner) = (listener.local_addr().unwrap(), Arc::<Inner>::default());
        let shared = Arc::clone(&inner);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let inner = Arc::clone(&shared);
                std::thread::spawn(move || inner.serve(stream.unwrap()));
            }
        });
        Self { address, inner }
    }

    /// How many requests came and were not answered.
    fn hanging(&self) -> usize {
        self.inner.hanging.load(Ordering::SeqCst)
    }

    fn recover(&self) {
        self.inner.well.store(true, Ordering::SeqCst);
    }

    /// Checks each delivery, and that none is missing: leaf hashes by index.
    fn checked(&self) -> BTreeMap<u64, String> {
        let mut leaves = BTreeMap::new();
        for delivery in self.inner.deliveries.lock().unwrap().iter() {
            let header = |name: &str| delivery.headers[name].as_str();
            assert_eq!(header("content-type"), "application/cloudevents-batch+json");
            let signed = [header("webhook-id"), header("webhook-timestamp"), ""].join(".");
            let signature = hmac(KEY, &[signed.as_bytes(), &delivery.body].concat());
            assert_eq!(header("webhook-signature"), format!("v1,{}", BASE64_STANDARD.encode(signature)));
            for event in serde_json::from_slice::<Vec<Value>>(&delivery.body).unwrap() {
                let index: u64 = event["sequence"].as_str().unwrap().parse().unwrap();
                let leaf = event["leafhash"].as_str().unwrap().to_owned();
                assert!(index <= leaves.len() as u64, "what is before entry {index} never came");
                if let Some(earlier) = leaves.insert(index, leaf.clone()) {
                    assert_eq!(earlier, leaf, "entry {index} came twice and was not the same");
                }
            }
        }
        leaves
    }
}

impl Inner {
    fn serve(&self, stream: TcpStream) {
        let mut reader = BufReader::new(stream);
        while let Some(delivery) = request(&mut reader) {
            if !self.well.load(Ordering::SeqCst) {
                self.hanging.fetch_add(1, Ordering::SeqCst);
                until(PATIENCE, || {
                    std::thread::sleep(Duration::from_millis(10));
                    self.well.load(Ordering::SeqCst)
                });
                // It comes to itself and has forgotten what it was asked.
                return;
            }
            self.deliveries.lock().unwrap().push(delivery);
            if reader.get_mut().write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").is_err() {
                return;
            }
        }
    }
}

/// The next request of a connection; nothing when it has ended.
fn request(reader: &mut BufReader<TcpStream>) -> Option<Delivery> {
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    if !line.starts_with("POST /hook HTTP/1.1") {
        return None;
    }
    let mut headers = BTreeMap::new();
    loop {
        line.clear();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let mut body = vec![0; headers.get("content-length")?.parse().ok()?];
    reader.read_exact(&mut body).ok()?;
    Some(Delivery { headers, body })
}

/// HMAC-SHA-256 (RFC 2104) with a key of no more than a block, from the hash alone.
fn hmac(key: &[u8], text: &[u8]) -> Vec<u8> {
    let pad = |with: u8| -> Vec<u8> { (0..64).map(|n| key.get(n).copied().unwrap_or(0) ^ with).collect() };
    let inner = Sha256::new().chain_update(pad(0x36)).chain_update(text).finalize();
    Sha256::new().chain_update(pad(0x5c)).chain_update(inner).finalize().to_vec()
}
