//! From an event to its entry in the log and back.

use marque_core::event::Event;
use marque_core::{Digest, PersonId};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

use super::subject::Subject;
use super::{Fill, Vault};
use crate::StoreError;
use crate::error::Result;
use crate::record::Record;

/// An entry that was read.
#[derive(Clone, Debug)]
pub struct Opened {
    /// The event, with everything in it that may be read here.
    pub event: Event,
    /// Whose data it carries, as a pseudonym.
    pub subject: Option<PersonId>,
    /// Whether that was erased.
    pub erased: bool,
}

/// What shows that a commitment in an entry is one to some content: for an auditor who is to see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Opening {
    /// The field, as a JSON pointer into the entry.
    pub field: String,
    /// The salt, in hex.
    pub salt: String,
    /// The content; a digest stands for the content that it is of.
    pub value: String,
    /// What stands in the entry: `commit:` and SHA-256(salt ‖ SHA-256(content)).
    pub commitment: String,
}

impl Opening {
    /// Whether the entry has this commitment in its field, and salt and content lead to it.
    pub fn fits(&self, leaf: &[u8]) -> bool {
        let Ok(entry) = serde_json::from_slice::<Value>(leaf) else { return false };
        let mut salt = [0; 16];
        let is_there = entry.pointer(&self.field).and_then(Value::as_str) == Some(self.commitment.as_str());
        is_there && hex::decode_to_slice(&self.salt, &mut salt).is_ok() && commit(&salt, &self.value) == self.commitment
    }

    /// Whether this content is the one that was committed to.
    pub fn is_of(&self, content: &[u8]) -> bool {
        match self.value.parse::<Digest>() {
            Ok(digest) => *digest.as_bytes() == <[u8; 32]>::from(Sha256::digest(content)),
            Err(_) => self.value.as_bytes() == content,
        }
    }
}

impl Vault {
    /// The entry of an event. People become pseudonyms; the private fields become commitments, and what stood there is
    /// sealed under the key of `subject`. Without a subject they are sealed under the key of the log's own.
    pub fn veil(&self, event: &Event, subject: Option<&PersonId>, fill: Fill<'_>) -> Result<Record> {
        let mut value = serde_json::to_value(event).map_err(encode)?;
        self.pseudonyms(&mut value, fill)?;
        let fields = event.what.private_fields();
        let id = event.id.to_string();
        let mut private = Vec::new();
        if !fields.is_empty() {
            let own = own();
            let (pseudonym, key) = self.subject_of(subject.unwrap_or(&own), fill)?;
            let mut kept = Map::new();
            for field in fields {
                let mut take = |pointer: &str, slot: &mut Value| {
                    if let Value::String(text) = &*slot {
                        // Of somebody who was erased the content goes, and a salt that nobody keeps stays unknown.
                        let salt = key.as_ref().map_or_else(|| passing(fill), |key| key.salt(&id, pointer));
                        let commitment = commit(&salt, text);
                        let content = std::mem::replace(slot, Value::String(commitment));
                        if key.is_some() {
                            kept.insert(pointer.to_owned(), content);
                        }
                    }
                };
                each(&mut value, &format!("/what{field}"), "", &mut take);
            }
            if let Some(key) = key.filter(|_| !kept.is_empty()) {
                private = sealed(&key, &pseudonym, &id, event, kept)?;
            }
        }
        value.sort_all_objects();
        Ok(Record { leaf: serde_json::to_vec(&value).map_err(encode)?, private })
    }

    /// The event of an entry, with all that this vault can still read put back in its place.
    pub fn open_entry(&self, index: u64, leaf: &[u8], private: &[u8]) -> Result<Opened> {
        let entry = |source| StoreError::Entry { index, source };
        let mut value: Value = serde_json::from_slice(leaf).map_err(entry)?;
        let subject = subject_in(private);
        let mut erased = false;
        if let Some(pseudonym) = &subject {
            let id = value.get("id").and_then(Value::as_str).unwrap_or_default().to_owned();
            match self.subject(pseudonym).and_then(|key| kept_in(&key, &id, private)) {
                Some(kept) => put_back(&mut value, kept),
                None => erased = true,
            }
        }
        self.names_back(&mut value);
        let event = serde_json::from_value(value).map_err(entry)?;
        Ok(Opened { event, subject: subject.filter(|s| *s != self.pseudonym(&own())), erased })
    }

    /// What opens the commitments of an entry; nothing where the person was erased.
    pub fn openings(&self, leaf: &[u8], private: &[u8]) -> Vec<Opening> {
        let Ok(value) = serde_json::from_slice::<Value>(leaf) else { return Vec::new() };
        let id = value.get("id").and_then(Value::as_str).unwrap_or_default();
        let Some(key) = subject_in(private).and_then(|pseudonym| self.subject(&pseudonym)) else { return Vec::new() };
        let kept = kept_in(&key, id, private).unwrap_or_default();
        let opening = |(field, content): (String, Value)| {
            let salt = key.salt(id, &field);
            let content = content.as_str()?.to_owned();
            Some(Opening { commitment: commit(&salt, &content), salt: hex::encode(salt), value: content, field })
        };
        kept.into_iter().filter_map(opening).collect()
    }

    /// Puts pseudonyms in the place of people, wherever a string names exactly one.
    fn pseudonyms(&self, value: &mut Value, fill: Fill<'_>) -> Result<()> {
        match value {
            Value::String(text) => {
                if let Some(person) = named(text) {
                    *text = self.subject_of(&person, fill)?.0.to_string();
                }
                Ok(())
            }
            Value::Array(list) => list.iter_mut().try_for_each(|v| self.pseudonyms(v, fill)),
            Value::Object(map) => map.values_mut().try_for_each(|v| self.pseudonyms(v, fill)),
            _ => Ok(()),
        }
    }

    fn names_back(&self, value: &mut Value) {
        match value {
            Value::String(text) => {
                if let Some(name) = named(text).filter(PersonId::is_pseudonym).and_then(|p| self.name(&p)) {
                    *text = name.to_string();
                }
            }
            Value::Array(list) => list.iter_mut().for_each(|v| self.names_back(v)),
            Value::Object(map) => map.values_mut().for_each(|v| self.names_back(v)),
            _ => {}
        }
    }
}

/// The commitment to a content: a text, or, where the text is a digest, the content that it is of.
fn commit(salt: &[u8; 16], text: &str) -> String {
    let digest: [u8; 32] = match text.parse::<Digest>() {
        Ok(digest) => *digest.as_bytes(),
        Err(_) => Sha256::digest(text.as_bytes()).into(),
    };
    let commitment = Sha256::new().chain_update(salt).chain_update(digest).finalize();
    marque_core::Commitment::from_bytes(commitment.into()).to_string()
}

/// A salt for once.
fn passing(fill: Fill<'_>) -> [u8; 16] {
    let mut salt = [0; 16];
    fill(&mut salt);
    salt
}

/// `pseudonym, 16 bytes | nonce, 12 bytes | sealed JSON`.
fn sealed(key: &Subject, pseudonym: &PersonId, id: &str, event: &Event, kept: Map<String, Value>) -> Result<Vec<u8>> {
    let plain = serde_json::to_vec(&Value::Object(kept)).map_err(encode)?;
    let bytes = event.id.to_bytes();
    let nonce = bytes.last_chunk::<12>().copied().unwrap_or_default();
    let who = hex::decode(pseudonym.name().trim_start_matches('~')).unwrap_or_default();
    Ok([who, key.seal(id, nonce, plain)?].concat())
}

fn subject_in(private: &[u8]) -> Option<PersonId> {
    private.first_chunk::<16>().map(|bytes| PersonId::pseudonym(*bytes))
}

fn kept_in(key: &Subject, id: &str, private: &[u8]) -> Option<Map<String, Value>> {
    match serde_json::from_slice(&key.open(id, private.get(16..)?)?) {
        Ok(Value::Object(map)) => Some(map),
        _ => None,
    }
}

fn put_back(value: &mut Value, kept: Map<String, Value>) {
    for (pointer, content) in kept {
        if let Some(slot) = value.pointer_mut(&pointer) {
            *slot = content;
        }
    }
}

/// Calls `take` with every value that a pattern names, and its pointer: see [`marque_core::event::Body::private_fields`].
fn each(value: &mut Value, pattern: &str, at: &str, take: &mut impl FnMut(&str, &mut Value)) {
    let Some(rest) = pattern.strip_prefix('/') else {
        return take(at, value);
    };
    let (name, rest) = rest.split_once('/').map_or((rest, String::new()), |(name, rest)| (name, format!("/{rest}")));
    match value {
        Value::Array(list) => {
            let Some(begin) = name.strip_suffix('*') else { return };
            let all = list.iter_mut().enumerate();
            let found = all.filter(|(_, v)| begin.is_empty() || v.as_str().is_some_and(|text| text.starts_with(begin)));
            found.for_each(|(n, v)| each(v, &rest, &format!("{at}/{n}"), take));
        }
        Value::Object(map) => {
            if let Some(v) = map.get_mut(name) {
                each(v, &rest, &format!("{at}/{name}"), take);
            }
        }
        _ => {}
    }
}

fn named(text: &str) -> Option<PersonId> {
    if text.starts_with("user:") { text.parse().ok() } else { None }
}

/// The log's own subject: for what belongs to no person.
#[expect(clippy::expect_used, reason = "the name stands here")]
fn own() -> PersonId {
    "user:marque.log".parse().expect("a person's name")
}

fn encode(source: serde_json::Error) -> StoreError {
    StoreError::Encode(source)
}
