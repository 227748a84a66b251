//! A batch: some entries of the log, written in one format.

use std::ops::Range;
use std::time::Duration;

use marque_core::PersonId;
use marque_core::event::Event;
use marque_core::time::Timestamp;
use marque_export::{Entry, Source, cef, cloudevents, ocsf, otel, parquet};
use marque_ledger::leaf_hash;
use marque_store::StoreError;
use marque_store::record::Record;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::notice;
use crate::error::Result;
use crate::open::{Engine, origin};

/// What entries are written as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ExportFormat {
    /// The events themselves, with index and leaf hash.
    Events,
    /// Security events, OCSF 1.9.0.
    Ocsf,
    /// OpenTelemetry log records, OTLP/JSON.
    Otlp,
    /// ArcSight Common Event Format.
    Cef,
    /// CloudEvents 1.0.2.
    Cloudevents,
    /// Apache Parquet.
    Parquet,
}

impl ExportFormat {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::Events, Self::Ocsf, Self::Otlp, Self::Cef, Self::Cloudevents, Self::Parquet];

    /// As it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Events => "events",
            Self::Ocsf => "ocsf",
            Self::Otlp => "otlp",
            Self::Cef => "cef",
            Self::Cloudevents => "cloudevents",
            Self::Parquet => "parquet",
        }
    }

    /// Whether a line feed ends each of its pieces.
    pub const fn is_text(self) -> bool {
        !matches!(self, Self::Parquet)
    }
}

/// How the entries of a batch hang together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// Each by itself, as a line; OTLP and Parquet have one piece for all even so.
    Lines,
    /// All of them as one body of a request.
    Body,
}

/// How much goes into one batch.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// At most so many entries.
    pub entries: usize,
    /// At most so many bytes of the log; one entry goes in any case.
    pub bytes: usize,
    /// How long the first entry may wait for the batch to become full; without, nothing waits.
    pub patience: Option<Duration>,
}

impl Default for Limits {
    fn default() -> Self {
        Self { entries: 512, bytes: 1 << 20, patience: None }
    }
}

/// How entries are written out.
#[derive(Clone, Debug)]
pub struct Rendering {
    /// In which format.
    pub format: ExportFormat,
    /// In pieces or in one.
    pub framing: Framing,
    /// With the names of people. Without, their pseudonyms stand there, so that erasing somebody reaches the copies too.
    pub names: bool,
    /// With the content, and the digests of it, that the log keeps back. Without, commitments stand there.
    pub contents: bool,
    /// How much at once.
    pub limits: Limits,
}

impl Rendering {
    /// Pseudonyms and commitments only, in batches of the usual size.
    pub fn new(format: ExportFormat, framing: Framing) -> Self {
        Self { format, framing, names: false, contents: false, limits: Limits::default() }
    }

    /// For the log: what leaves it.
    pub(super) fn described(&self) -> String {
        let with = |yes: bool, text: &'static str| if yes { text } else { "" };
        format!("{}{}{}", self.format.as_str(), with(self.names, " with names"), with(self.contents, " with contents"))
    }

    /// The media type of what is written.
    pub fn content_type(&self) -> &'static str {
        notice::content_type(self)
    }
}

/// Something to be carried out in one go.
#[derive(Debug)]
pub struct Batch {
    /// The first entry in it.
    pub first: u64,
    /// The first entry behind it.
    pub next: u64,
    /// The entries as written: one piece each, or one for all.
    pub pieces: Vec<Piece>,
    /// Whether this is the notice that the entries were pruned before they were carried out.
    pub pruned: bool,
    /// The media type, for a request.
    pub content_type: &'static str,
    /// The leaf hash of its last entry, in hex.
    pub(super) last_leaf: Option<String>,
}

/// One thing that is written.
#[derive(Debug)]
pub struct Piece {
    /// When what it tells happened; the last of it where it tells several things.
    pub at: Timestamp,
    /// What is written, without a line's end.
    pub bytes: Vec<u8>,
}

impl Batch {
    /// All pieces, a line feed behind each, for a file of lines.
    pub fn lines(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.pieces.iter().map(|piece| piece.bytes.len().saturating_add(1)).sum());
        for piece in &self.pieces {
            out.extend_from_slice(&piece.bytes);
            out.push(b'\n');
        }
        out
    }

    /// The one piece of a batch that was written as a body.
    pub fn body(&self) -> &[u8] {
        self.pieces.first().map_or(&[], |piece| &piece.bytes)
    }
}

struct Opened {
    index: u64,
    event: Event,
    leaf: [u8; 32],
}

impl Engine {
    /// The entries from `from` on and below `end`, as many as fit; nothing where there are none, or where more are to be
    /// waited for (blocking). What was pruned is a batch of its own, with one notice.
    pub fn export_batch(&self, how: &Rendering, from: u64, end: u64) -> Result<Option<Batch>> {
        let end = end.min(self.log_size());
        let pruned = self.tiles().pruned().min(end);
        if from < pruned {
            return self.notice_of(how, from..pruned).map(Some);
        }
        if from >= end || !self.is_due(&how.limits, from, end)? {
            return Ok(None);
        }
        let records = self.records_between(&how.limits, from, end)?;
        let entries = records.iter().map(|(index, record)| self.open_for(how, *index, record)).collect::<Result<Vec<_>>>()?;
        let pieces = self.with_source(|source| render(source, how, &entries, self.now()))?;
        let (next, last_leaf) = match entries.last() {
            Some(last) => (last.index.saturating_add(1), Some(hex::encode(last.leaf))),
            None => return Ok(None),
        };
        Ok(Some(Batch { first: from, next, pieces, pruned: false, content_type: how.content_type(), last_leaf }))
    }

    /// How old the first kept entry from `index` on is; nothing where there is none.
    pub(super) fn age_of(&self, index: u64) -> Result<Option<Duration>> {
        let index = index.max(self.tiles().pruned());
        let Some(record) = self.views.raw(index)? else { return Ok(None) };
        let entry: Moment =
            serde_json::from_slice(Record::split(&record).0).map_err(|source| StoreError::Entry { index, source })?;
        let age = self.now().micros().saturating_sub(entry.ts.micros());
        Ok(Some(Duration::from_micros(u64::try_from(age).unwrap_or(0))))
    }

    fn is_due(&self, limits: &Limits, from: u64, end: u64) -> Result<bool> {
        let Some(patience) = limits.patience else { return Ok(true) };
        Ok(end.saturating_sub(from) >= limits.entries as u64 || self.age_of(from)?.is_some_and(|age| age >= patience))
    }

    fn notice_of(&self, how: &Rendering, range: Range<u64>) -> Result<Batch> {
        let now = self.now();
        let bytes = self.with_source(|source| notice::pruned(source, how, &range, now))?;
        let content_type = if how.format.is_text() { how.content_type() } else { "application/json" };
        let pieces = vec![Piece { at: now, bytes }];
        Ok(Batch { first: range.start, next: range.end, pieces, pruned: true, content_type, last_leaf: None })
    }

    /// Records without a gap between them.
    fn records_between(&self, limits: &Limits, from: u64, end: u64) -> Result<Vec<(u64, Vec<u8>)>> {
        let mut taken: Vec<(u64, Vec<u8>)> = Vec::new();
        let (mut next, mut bytes) = (from, 0_usize);
        while next < end {
            let page = self.views.entries(next)?;
            if page.is_empty() {
                break;
            }
            for (index, record) in page {
                let more = bytes.saturating_add(record.len());
                let full = taken.len() >= limits.entries || (more > limits.bytes && !taken.is_empty());
                if index >= end || full {
                    return Ok(taken);
                }
                if index != next {
                    return Err(unreadable(next).into());
                }
                (next, bytes) = (index.saturating_add(1), more);
                taken.push((index, record));
            }
        }
        if taken.is_empty() { Err(unreadable(from).into()) } else { Ok(taken) }
    }

    /// An entry with as much put back into it as may leave.
    fn open_for(&self, how: &Rendering, index: u64, record: &[u8]) -> Result<Opened> {
        let (leaf, private) = Record::split(record);
        let hash = leaf_hash(leaf).0;
        let event = if how.names {
            self.vault.open_entry(index, leaf, if how.contents { private } else { &[] })?.event
        } else {
            let entry = |source| StoreError::Entry { index, source };
            let mut value: Value = serde_json::from_slice(leaf).map_err(entry)?;
            if how.contents {
                for opening in self.vault.openings(leaf, private) {
                    if let Some(slot) = value.pointer_mut(&opening.field) {
                        *slot = Value::String(opening.value);
                    }
                }
            }
            self.hide_names(&mut value);
            serde_json::from_value(value).map_err(entry)?
        };
        Ok(Opened { index, event, leaf: hash })
    }

    /// Entries of before there were pseudonyms have names in them.
    fn hide_names(&self, value: &mut Value) {
        match value {
            Value::String(text) if text.starts_with("user:") => {
                if let Ok(person) = text.parse::<PersonId>() {
                    *text = self.vault.pseudonym(&person).to_string();
                }
            }
            Value::Array(list) => list.iter_mut().for_each(|v| self.hide_names(v)),
            Value::Object(map) => map.values_mut().for_each(|v| self.hide_names(v)),
            _ => {}
        }
    }

    fn with_source<T>(&self, work: impl FnOnce(&Source<'_>) -> T) -> T {
        let origin = origin(&self.trust_domain);
        work(&Source { origin: &origin, version: env!("CARGO_PKG_VERSION") })
    }
}

fn render(source: &Source<'_>, how: &Rendering, opened: &[Opened], now: Timestamp) -> Result<Vec<Piece>> {
    let entries: Vec<Entry<'_>> =
        opened.iter().map(|one| Entry { index: one.index, event: &one.event, leaf: one.leaf }).collect();
    let last = opened.last().map_or(now, |one| one.event.ts);
    let whole = |bytes| Ok(vec![Piece { at: last, bytes }]);
    match (how.format, how.framing) {
        (ExportFormat::Otlp, _) => whole(otel::logs(source, &entries, now)?),
        (ExportFormat::Parquet, _) => whole(parquet::file(source, &entries)?),
        (ExportFormat::Cloudevents, Framing::Body) => whole(cloudevents::batch(source, &entries)?),
        (_, Framing::Lines) => {
            entries.iter().map(|entry| Ok(Piece { at: entry.event.ts, bytes: line(source, how.format, entry)? })).collect()
        }
        (ExportFormat::Cef, Framing::Body) => {
            whole(entries.iter().map(|entry| cef::line(source, entry) + "\n").collect::<String>().into_bytes())
        }
        (_, Framing::Body) => {
            let values = entries.iter().map(|entry| value(source, how.format, entry)).collect::<Result<Vec<_>>>()?;
            whole(serde_json::to_vec(&values)?)
        }
    }
}

fn line(source: &Source<'_>, format: ExportFormat, entry: &Entry<'_>) -> Result<Vec<u8>> {
    match format {
        ExportFormat::Cef => Ok(cef::line(source, entry).into_bytes()),
        _ => Ok(serde_json::to_vec(&value(source, format, entry)?)?),
    }
}

/// An entry as JSON of its own.
fn value(source: &Source<'_>, format: ExportFormat, entry: &Entry<'_>) -> Result<Value> {
    match format {
        ExportFormat::Ocsf => Ok(ocsf::event(source, entry)?),
        ExportFormat::Cloudevents => Ok(cloudevents::event(source, entry)?),
        _ => Ok(json!({ "index": entry.index, "leaf": hex::encode(entry.leaf), "event": entry.event })),
    }
}

fn unreadable(index: u64) -> StoreError {
    StoreError::Damaged { what: format!("entry {index} is durable and cannot be read") }
}

/// The one field of an entry that lag is told by.
#[derive(Deserialize)]
struct Moment {
    ts: Timestamp,
}
