//! The samples in every format, left below `target/tmp/export` for readers that no one here wrote: `export_check.py`.

use std::path::Path;

use ed25519_dalek::{Signer as _, SigningKey};
use marque_core::time::Timestamp;
use marque_export::intoto::Origin;
use marque_export::{Entry, cef, cloudevents, intoto, ocsf, otel, parquet, prov, schema};

use crate::{lineage, sample};

#[test]
fn samples_are_left_for_other_readers() {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("export");
    std::fs::create_dir_all(&dir).unwrap();
    let leave = |name: &str, bytes: &[u8]| std::fs::write(dir.join(name), bytes).unwrap();
    let events = sample::events();
    let entries = sample::entries(&events);
    let json = |value: &serde_json::Value| serde_json::to_vec_pretty(value).unwrap();
    let lines = |lines: Vec<String>| lines.iter().map(|line| format!("{line}\n")).collect::<String>().into_bytes();
    leave("entries.ndjson", &lines(events.iter().map(|e| String::from_utf8(e.to_bytes().unwrap()).unwrap()).collect()));
    leave("schema.json", &json(&schema::event_schema()));
    leave("ocsf.ndjson", ocsf::ndjson(&sample::SOURCE, &entries).unwrap().as_bytes());
    leave("cloudevents.json", &cloudevents::batch(&sample::SOURCE, &entries).unwrap());
    leave("otlp.json", &otel::logs(&sample::SOURCE, &entries, Timestamp::from_seconds(1_790_000_100)).unwrap());
    leave("events.cef", &lines(entries.iter().map(|entry| cef::line(&sample::SOURCE, entry)).collect()));
    leave("events.parquet", &parquet::file(&sample::SOURCE, &entries).unwrap());
    leave("prov.json", &json(&prov::document(&sample::SOURCE, &sample::lineage())));
    let (decided, tasks, artifact) = (sample::decided(), sample::tasks(), sample::artifact());
    let origin = lineage::origin(&decided, &tasks, &[]);
    let key = SigningKey::from_bytes(&[1; 32]);
    let sign = |bytes: &[u8]| key.sign(bytes).to_bytes().to_vec();
    leave("key.hex", hex::encode(key.verifying_key().as_bytes()).as_bytes());
    let statement = intoto::statement(&sample::SOURCE, &origin).unwrap();
    leave("statement.dsse.json", &intoto::envelope(&statement, "sample", sign).unwrap());
    let made = Origin { inputs: &artifact.inputs, ..origin };
    let provenance = intoto::provenance(&sample::SOURCE, &made).unwrap().unwrap();
    leave("provenance.dsse.json", &intoto::envelope(&provenance, "sample", sign).unwrap());
}

#[test]
fn a_parquet_file_is_framed_and_may_be_empty() {
    let events = sample::events();
    // More rows than one row group has.
    let many: Vec<Entry<'_>> = sample::entries(&events).into_iter().cycle().take(20_000).collect();
    for entries in [&many[..0], &many[..1], &many] {
        let file = parquet::file(&sample::SOURCE, entries).unwrap();
        let (end, footer) = (file.len() - 8, &file[file.len() - 8..]);
        assert_eq!((&file[..4], &footer[4..]), (&b"PAR1"[..], &b"PAR1"[..]));
        let length = u32::from_le_bytes(footer[..4].try_into().unwrap()) as usize;
        assert!(length < end - 4 || entries.is_empty());
    }
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("export");
    std::fs::create_dir_all(&dir).unwrap();
    std::fs::write(dir.join("many.parquet"), parquet::file(&sample::SOURCE, &many).unwrap()).unwrap();
    std::fs::write(dir.join("none.parquet"), parquet::file(&sample::SOURCE, &[]).unwrap()).unwrap();
}
