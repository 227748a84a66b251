//! What an entry holds and what is kept back of it, as it is written now and as it was written before.

use marque_core::PersonId;
use marque_core::attestation::Selector;
use marque_core::event::{Body, Event};
use marque_core::record::Decided;
use marque_ledger::leaf_hash;
use marque_store::record::Record;
use marque_store::vault::Vault;
use serde_json::{Value, json};

/// An entry from when a caller's own words still stood in it, with what was sealed beside it and the keys that open that.
const BEFORE: &str = include_str!("../golden/decided-in-the-clear.json");
const NAMES: &str = "/params/arguments/extra/erika.mustermann@example.com/diagnosis of Erika Mustermann is C50";
const PURPOSE: &str = "look up Ada and write to her";

/// A vault in which Alice's key is, and the entry of before.
struct Before {
    dir: tempfile::TempDir,
    vault: Vault,
    leaf: String,
    private: Vec<u8>,
}

impl Before {
    fn open() -> Self {
        let golden: Value = serde_json::from_str(BEFORE).unwrap();
        let text = |name: &str| golden[name].as_str().unwrap().to_owned();
        let bytes = |name: &str| hex::decode(text(name)).unwrap();
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(text("file")), bytes("subject")).unwrap();
        let key: [u8; 32] = bytes("key").try_into().unwrap();
        let vault = Vault::open(dir.path(), &key).unwrap();
        let leaf = text("leaf");
        assert_eq!(hex::encode(leaf_hash(leaf.as_bytes()).0), text("leaf_hash"), "the entry is proven as it was");
        Self { dir, vault, leaf, private: bytes("private") }
    }

    fn event(&self) -> Event {
        self.vault.open_entry(0, self.leaf.as_bytes(), &self.private).unwrap().event
    }
}

fn alice() -> PersonId {
    "alice@example.com".parse().unwrap()
}

fn decided(event: &Event) -> &Decided {
    let Body::Decided(decided) = &event.what else { panic!("{event:?}") };
    decided
}

/// The record of an event, whose content is Alice's, and the entry as text.
fn veiled(vault: &Vault, event: &Event) -> (Record, String) {
    let record = vault.veil(event, Some(&alice()), &|bytes: &mut [u8]| bytes.fill(9)).unwrap();
    let leaf = String::from_utf8(record.leaf.clone()).unwrap();
    let opened = vault.open_entry(0, &record.leaf, &record.private).unwrap();
    assert_eq!((&opened.event, opened.erased), (event, false), "what was kept back comes back");
    assert!(vault.openings(&record.leaf, &record.private).iter().all(|opening| opening.fits(&record.leaf)), "{leaf}");
    (record, leaf)
}

#[test]
fn an_entry_of_before_is_read_and_proven() {
    let before = Before::open();
    let (leaf, private) = (before.leaf.as_bytes(), before.private.as_slice());
    let event = before.event();
    let read = decided(&event);
    assert_eq!(read.correlation.as_deref(), Some("Erika has C50 and this is no traceparent"));
    assert_eq!((read.contents[0].at.as_str(), read.intent.as_str(), &read.principal), (NAMES, PURPOSE, &alice()));
    assert!(read.request.digest().is_some() && read.contents[0].exact.digest().is_some());
    assert!(!read.contents[0].prints.as_slice().is_empty());
    let openings = before.vault.openings(leaf, private);
    assert!(openings.len() == 6 && openings.iter().all(|opening| opening.fits(leaf)), "{openings:?}");

    // It stays as it was published, and of what was kept back nothing is left.
    before.vault.erase(&alice()).unwrap();
    let left = before.vault.open_entry(0, leaf, private).unwrap();
    let read = decided(&left.event);
    assert!(left.erased && before.vault.openings(leaf, private).is_empty());
    assert_eq!((read.contents[0].at.as_str(), read.contents[0].exact.digest()), (NAMES, None));
    assert!(read.intent.starts_with("commit:") && read.principal.is_pseudonym());
}

#[test]
fn a_callers_own_words_are_kept_back() {
    let before = Before::open();
    let mut event = before.event();
    let mut decided = Box::new(decided(&event).clone());
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let told = [
        (None, true),
        (Some("jsonrpc:7"), true),
        (Some("jsonrpc:-3"), true),
        (Some(trace), true),
        (Some("jsonrpc:\"patient Erika Mustermann has diagnosis C50\""), false),
        (Some("jsonrpc:\"7\""), false),
        (Some("jsonrpc:1.5"), false),
        (Some("jsonrpc:007"), false),
        (Some("jsonrpc:18446744073709551616"), false),
        (Some("7"), false),
        (Some("Erika has C50 and this is no traceparent"), false),
        (Some("00-Erika Mustermann, diagnosis C50-00f067aa0ba902b7-01"), false),
    ];
    for (correlation, plain) in told {
        decided.correlation = correlation.map(str::to_owned);
        event.what = Body::Decided(decided.clone());
        let (record, leaf) = veiled(&before.vault, &event);
        let entry: Value = serde_json::from_str(&leaf).unwrap();
        match correlation {
            Some(text) if plain => assert_eq!(entry["what"]["correlation"], text),
            Some(_) => assert!(entry["what"]["correlation"].as_str().unwrap().starts_with("commit:"), "{leaf}"),
            None => assert!(entry["what"].get("correlation").is_none()),
        }
        for needle in ["Erika", "erika", "C50", "/params", PURPOSE] {
            assert!(!leaf.contains(needle), "{needle} in {leaf}");
        }
        let fields: Vec<String> = before.vault.openings(&record.leaf, &record.private).into_iter().map(|o| o.field).collect();
        assert_eq!(fields.contains(&"/what/correlation".to_owned()), !plain, "{fields:?}");
        assert!(fields.contains(&"/what/contents/0/at".to_owned()), "{fields:?}");
    }
    // Twice the same is not told by two commitments that are the same.
    let content = decided.contents[0].clone();
    decided.contents.push(content);
    event.what = Body::Decided(decided);
    let entry: Value = serde_json::from_str(&veiled(&before.vault, &event).1).unwrap();
    assert_ne!(entry["what"]["contents"][0]["at"], entry["what"]["contents"][1]["at"]);
}

#[test]
fn what_was_measured_of_a_launch_is_kept_back() {
    let before = Before::open();
    let (argv, files) = ("09".repeat(32), ["07".repeat(32), "08".repeat(32)]);
    let selectors = [
        format!("launched:argv_sha256:{argv}"),
        format!("launched:artifact_sha256:{}", files[0]),
        format!("launched:artifact_sha256:{}", files[1]),
        "launched:identity:agent/probe".to_owned(),
        "unix:uid:1000".to_owned(),
    ];
    let attestation = json!({ "method": "launched", "pid": 7, "started": 8, "selectors": selectors });
    let attested = json!({
        "id": "ev_01M85938YTTPDAG3J7PDRZFYF4", "v": 2, "ts": 9, "obs": "obs_01M85939852M5XNYD86G948JMD", "iseq": 1, "by": "system",
        "what": { "kind": "instance_attested", "instance": {
            "id": "inst_01M85938YTF2V9SCA186JDC6RH", "identity": "spiffe://example.org/agent/probe", "attestation": attestation,
            "task": "task_01M85938RFADKZ6SYTBS1635D9", "since": 9, "epoch": 0,
        } },
    });
    let read = |entry: &[u8], private: &[u8]| {
        let opened = before.vault.open_entry(0, entry, private).unwrap();
        let Body::InstanceAttested { instance } = &opened.event.what else { panic!("{opened:?}") };
        (instance.attestation.selectors.clone(), opened.erased)
    };
    // As it was written before: without anything beside it.
    let old = attested.to_string();
    let as_before: Vec<String> = read(old.as_bytes(), b"").0.iter().map(Selector::to_string).collect();
    assert_eq!(as_before, selectors);

    let event = Event::from_bytes(old.as_bytes()).unwrap();
    let (record, leaf) = veiled(&before.vault, &event);
    for needle in [&argv, &files[0], &files[1]] {
        assert!(!leaf.contains(needle), "{needle} in {leaf}");
    }
    assert!(leaf.contains("launched:identity:agent/probe") && leaf.contains("unix:uid:1000"), "{leaf}");
    assert_eq!(before.vault.openings(&record.leaf, &record.private).len(), 3);

    before.vault.erase(&alice()).unwrap();
    let (left, erased) = read(&record.leaf, &record.private);
    assert!(erased && before.vault.openings(&record.leaf, &record.private).is_empty());
    assert_eq!((left.len(), left.iter().filter(|selector| selector.is_closed()).count()), (5, 3));
    assert!(std::fs::read_dir(before.dir.path()).unwrap().next().is_none(), "no key is left");

    // A refusal tells all that was seen.
    let refused = |why: &str| Event { what: Body::AttestationRefused { why: why.into() }, ..event.clone() };
    let own = |why: &str| {
        let record = before.vault.veil(&refused(why), None, &|bytes: &mut [u8]| bytes.fill(9)).unwrap();
        String::from_utf8(record.leaf).unwrap()
    };
    assert!(!own(&selectors.join(" ")).contains(&argv) && own("saw unix:uid:1000").contains("saw unix:uid:1000"));
}
