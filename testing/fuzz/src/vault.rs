//! What the log keeps back from its readers: people's keys, the private parts of entries, and the files that hold them.

use std::error::Error;
use std::sync::LazyLock;

use marque_core::PersonId;
use marque_core::event::Event;
use marque_store::StoreError;
use marque_store::private::{append_part, append_record, parts, records};
use marque_store::record::Record;
use marque_store::vault::{Opening, Vault};
use serde_json::Value;

use crate::mutate::edited;

/// [`Vault::open`], with the file of a person's key: bytes as they come, and the good file with some bytes changed, three
/// bytes to a change: the place and the value. Nothing is a key but what was written as one.
#[expect(clippy::expect_used, reason = "a target panics when a property breaks")]
pub fn store_subject(data: &[u8]) {
    for file in [data.to_vec(), edited(&SAMPLE.subject, data)] {
        let dir = tempfile::tempdir().expect("a directory");
        std::fs::write(dir.path().join(&SAMPLE.file), &file).expect("a file");
        match Vault::open(dir.path(), &KEY) {
            Ok(vault) => {
                assert!(file == SAMPLE.subject, "a changed key is taken");
                assert_eq!(vault.name(&vault.pseudonym(&SAMPLE.person)).as_ref(), Some(&SAMPLE.person));
            }
            Err(error) => {
                assert!(file != SAMPLE.subject, "{error}");
                assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
            }
        }
    }
}

/// [`Vault::open_entry`] and [`Vault::openings`]: a record as it comes, and a good one with some bytes changed. What was
/// sealed with one entry opens with no other, and nothing opens that was not sealed.
pub fn store_entry(data: &[u8]) {
    let good = &SAMPLE.record;
    for bytes in [data.to_vec(), edited(&good.clone().encode(), data)] {
        let (leaf, private) = Record::split(&bytes);
        let openings = SAMPLE.vault.openings(leaf, private);
        assert!(openings.iter().all(|opening| SAMPLE.openings.contains(opening)), "{openings:?}");
        let Ok(opened) = SAMPLE.vault.open_entry(0, leaf, private) else { continue };
        if private != good.private {
            // What is shorter than a pseudonym is nobody's.
            assert!(opened.erased || opened.subject.is_none(), "a changed private part opens");
            assert!(openings.is_empty(), "{openings:?}");
        } else if leaf == good.leaf {
            assert_eq!((opened.event, opened.erased), (SAMPLE.event.clone(), false));
        }
    }
}

/// [`Vault::veil`]: an entry names nobody, gives its event back, and is still an event when its person was erased.
#[expect(clippy::expect_used, reason = "a target panics when a property breaks")]
pub fn store_veil(data: &[u8]) {
    let Ok(event) = Event::from_bytes(data) else { return };
    for subject in [None, Some(&SAMPLE.person)] {
        let dir = tempfile::tempdir().expect("a directory");
        let vault = Vault::open(dir.path(), &KEY).expect("a vault can be made");
        let Record { leaf, private } = vault.veil(&event, subject, &fill).expect("an event has an entry");
        let entry: Value = serde_json::from_slice(&leaf).expect("an entry is JSON");
        assert!(names_nobody(&entry), "{entry}");
        let opened = vault.open_entry(0, &leaf, &private).expect("an entry opens");
        assert_eq!((opened.event, opened.erased), (event.clone(), false));
        assert!(vault.openings(&leaf, &private).iter().all(|opening| opening.fits(&leaf)), "{entry}");

        vault.erase(&SAMPLE.person).expect("a person can be erased");
        let left = vault.open_entry(0, &leaf, &private).expect("an entry of somebody who was erased is an entry");
        assert_eq!(left.erased, subject.is_some() && !private.is_empty());
        assert!(subject.is_none() || vault.openings(&leaf, &private).is_empty(), "what was erased opens");
    }
}

/// [`parts`] and [`records`], the files beside the log: one way of being written.
pub fn store_parts(data: &[u8]) {
    if let Some(parts) = parts(data) {
        let mut file = Vec::new();
        parts.iter().for_each(|part| append_part(&mut file, part));
        assert_eq!(file, data);
    }
    if let Some(records) = records(data) {
        let mut file = Vec::new();
        records.iter().for_each(|(index, record)| append_record(&mut file, *index, record));
        assert_eq!(file, data);
    }
}

/// Whether every person stands there by a pseudonym.
fn names_nobody(value: &Value) -> bool {
    match value {
        Value::String(text) if text.starts_with("user:") => text.parse::<PersonId>().is_ok_and(|person| person.is_pseudonym()),
        Value::Array(list) => list.iter().all(names_nobody),
        Value::Object(map) => map.values().all(names_nobody),
        _ => true,
    }
}

/// A vault with the key of one person, and an entry that carries their data.
struct Sample {
    vault: Vault,
    person: PersonId,
    /// The file of the person's key, and what it holds.
    file: String,
    subject: Vec<u8>,
    event: Event,
    record: Record,
    openings: Vec<Opening>,
}

impl Sample {
    fn make() -> Result<Self, Box<dyn Error>> {
        // The directory goes when this has been made: what is read later is in memory.
        let dir = tempfile::tempdir()?;
        let vault = Vault::open(dir.path(), &KEY)?;
        let (person, event): (PersonId, Event) = ("user:alice@example.com".parse()?, Event::from_bytes(DECIDED)?);
        let record = vault.veil(&event, Some(&person), &fill)?;
        let file = format!("{}.subject", vault.pseudonym(&person).name().trim_start_matches('~'));
        let subject = std::fs::read(dir.path().join(&file))?;
        let openings = vault.openings(&record.leaf, &record.private);
        Ok(Self { vault, person, file, subject, event, record, openings })
    }
}

static SAMPLE: LazyLock<Sample> = LazyLock::new(sample);

#[expect(clippy::expect_used, reason = "the sample is fixed")]
fn sample() -> Sample {
    Sample::make().expect("the sample can be made")
}

/// Random bytes of which nothing here depends on that they are.
fn fill(bytes: &mut [u8]) {
    bytes.fill(7);
}

/// The log's own key.
const KEY: [u8; 32] = [9; 32];
const DECIDED: &[u8] = include_bytes!("../corpus/store_veil/decided");
