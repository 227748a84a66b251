//! Events as a file of columns: Apache Parquet, one row for each entry.
//!
//! The file is of the plainest form that every reader knows (one data page of version 1 for each column of a row group,
//! plain encoding, Snappy). Writing that takes fewer lines than the crate for it takes seconds to build; readers that no one
//! here wrote check it.

mod thrift;

use crate::facts::Facts;
use crate::{Entry, ExportError, PRODUCT, Result, Source};
use thrift::{BINARY, I32, STRUCT, Thrift};

/// The media type.
pub const CONTENT_TYPE: &str = "application/vnd.apache.parquet";

/// The entries as one file.
///
/// The columns: `index`, `ts` (microseconds, UTC), `id`, `kind`, `by`, `identity`, `instance`, `task`, `person`, `action`,
/// `resource`, `effect`, `policy`, `class`, `lease`, `record`, `elevation`, `leaf` (32 bytes) and `body`, which is the whole
/// event as canonical JSON.
pub fn file(source: &Source<'_>, entries: &[Entry<'_>]) -> Result<Vec<u8>> {
    let mut out = MAGIC.to_vec();
    let groups = entries.chunks(GROUP).map(|rows| group(rows, &mut out)).collect::<Result<Vec<_>>>()?;
    let footer = footer(source, entries.len(), &groups)?;
    out.extend_from_slice(&footer);
    out.extend_from_slice(&u32::try_from(footer.len()).map_err(|_| ExportError::TooLarge)?.to_le_bytes());
    out.extend_from_slice(MAGIC);
    Ok(out)
}

/// A column of the schema.
struct Column {
    name: &'static str,
    holds: Holds,
    optional: bool,
}

/// What a column holds.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Holds {
    Number,
    Moment,
    Text,
    Json,
    Hash,
}

impl Holds {
    /// Parquet's physical type.
    const fn physical(self) -> i32 {
        match self {
            Self::Number | Self::Moment => 2,
            Self::Text | Self::Json => 6,
            Self::Hash => 7,
        }
    }
}

/// Values of a column, in plain encoding, with whether each row has one.
#[derive(Default)]
struct Values {
    plain: Vec<u8>,
    present: Vec<bool>,
    least: Option<i64>,
    most: Option<i64>,
}

impl Values {
    fn number(&mut self, value: i64) {
        self.plain.extend_from_slice(&value.to_le_bytes());
        self.present.push(true);
        self.least = Some(self.least.map_or(value, |least| least.min(value)));
        self.most = Some(self.most.map_or(value, |most| most.max(value)));
    }

    fn text(&mut self, value: Option<&[u8]>) -> Result<()> {
        self.present.push(value.is_some());
        if let Some(value) = value {
            self.plain.extend_from_slice(&u32::try_from(value.len()).map_err(|_| ExportError::TooLarge)?.to_le_bytes());
            self.plain.extend_from_slice(value);
        }
        Ok(())
    }

    fn hash(&mut self, value: &[u8; 32]) {
        self.present.push(true);
        self.plain.extend_from_slice(value);
    }
}

/// Where a column's chunk is in the file.
struct Chunk {
    offset: i64,
    /// Of the page with its header.
    plain: i64,
    compressed: i64,
    least: Option<i64>,
    most: Option<i64>,
}

/// The chunks of a row group, in the order of the columns.
struct Group {
    rows: i64,
    chunks: Vec<Chunk>,
}

fn group(rows: &[Entry<'_>], out: &mut Vec<u8>) -> Result<Group> {
    let mut columns: Vec<Values> = COLUMNS.iter().map(|_| Values::default()).collect();
    for row in rows {
        fill(row, &mut columns)?;
    }
    let chunks = COLUMNS.iter().zip(&columns).map(|(column, values)| page(column, values, out)).collect::<Result<_>>()?;
    Ok(Group { rows: long(rows.len())?, chunks })
}

/// One row: the values in the order of [`COLUMNS`].
fn fill(entry: &Entry<'_>, columns: &mut [Values]) -> Result<()> {
    let event = entry.event;
    let facts = Facts::of(event);
    let (id, by) = (event.id.to_string(), event.by.to_string());
    let body = event.to_bytes()?;
    let texts = [
        Some(id.as_str()),
        Some(event.what.kind()),
        Some(&by),
        facts.identity.as_deref(),
        facts.instance.as_deref(),
        facts.task.as_deref(),
        facts.person.as_deref(),
        facts.action,
        facts.resource.as_deref(),
        facts.effect,
        facts.policy.as_deref(),
        facts.class,
        facts.lease.as_deref(),
        facts.record.as_deref(),
        facts.elevation.as_deref(),
    ];
    let mut texts = texts.into_iter();
    for (column, values) in COLUMNS.iter().zip(columns) {
        match column.holds {
            Holds::Number => values.number(i64::try_from(entry.index).map_err(|_| ExportError::TooLarge)?),
            Holds::Moment => values.number(event.ts.micros()),
            Holds::Text => values.text(texts.next().flatten().map(str::as_bytes))?,
            Holds::Json => values.text(Some(&body))?,
            Holds::Hash => values.hash(&entry.leaf),
        }
    }
    Ok(())
}

fn page(column: &Column, values: &Values, out: &mut Vec<u8>) -> Result<Chunk> {
    let mut plain = Vec::new();
    if column.optional {
        let levels = levels(&values.present);
        plain.extend_from_slice(&u32::try_from(levels.len()).map_err(|_| ExportError::TooLarge)?.to_le_bytes());
        plain.extend_from_slice(&levels);
    }
    plain.extend_from_slice(&values.plain);
    let compressed = snap::raw::Encoder::new().compress_vec(&plain).map_err(|_| ExportError::TooLarge)?;
    let mut header = Thrift::default();
    header.i32(1, DATA_PAGE);
    header.i32(2, int(plain.len())?);
    header.i32(3, int(compressed.len())?);
    header.open(5);
    header.i32(1, int(values.present.len())?);
    header.i32(2, PLAIN);
    header.i32(3, RLE);
    header.i32(4, RLE);
    header.close();
    let header = header.finish();
    let offset = long(out.len())?;
    out.extend_from_slice(&header);
    out.extend_from_slice(&compressed);
    Ok(Chunk {
        offset,
        plain: long(header.len() + plain.len())?,
        compressed: long(header.len() + compressed.len())?,
        least: values.least,
        most: values.most,
    })
}

/// Definition levels of one bit: one bit-packed run of the RLE hybrid, eight values a byte.
fn levels(present: &[bool]) -> Vec<u8> {
    let bytes = present.chunks(8).map(|eight| eight.iter().rev().fold(0, |byte, bit| (byte << 1) | u8::from(*bit)));
    // The last byte's first values stand in its low bits.
    let mut out = Vec::new();
    thrift::varint((present.len().div_ceil(8) as u64) << 1 | 1, &mut out);
    out.extend(bytes);
    out
}

fn footer(source: &Source<'_>, rows: usize, groups: &[Group]) -> Result<Vec<u8>> {
    let mut meta = Thrift::default();
    meta.i32(1, 2);
    meta.list(2, STRUCT, COLUMNS.len() + 1);
    meta.item();
    meta.text(4, "schema");
    meta.i32(5, int(COLUMNS.len())?);
    meta.close();
    COLUMNS.iter().for_each(|column| schema_element(column, &mut meta));
    meta.i64(3, long(rows)?);
    meta.list(4, STRUCT, groups.len());
    groups.iter().for_each(|group| row_group(group, &mut meta));
    meta.list(5, STRUCT, 2);
    for (key, value) in [("marque.origin", source.origin), ("marque.version", source.version)] {
        meta.item();
        meta.text(1, key);
        meta.text(2, value);
        meta.close();
    }
    meta.text(6, &format!("{PRODUCT} version {}", source.version));
    // Least and most are by the order that each type defines.
    meta.list(7, STRUCT, COLUMNS.len());
    for _ in COLUMNS {
        meta.item();
        meta.open(1);
        meta.close();
        meta.close();
    }
    Ok(meta.finish())
}

fn schema_element(column: &Column, meta: &mut Thrift) {
    meta.item();
    meta.i32(1, column.holds.physical());
    if column.holds == Holds::Hash {
        meta.i32(2, 32);
    }
    meta.i32(3, i32::from(column.optional));
    meta.text(4, column.name);
    match column.holds {
        Holds::Number | Holds::Hash => {}
        Holds::Text | Holds::Json => {
            let (converted, logical) = if column.holds == Holds::Text { (0, 1) } else { (19, 12) };
            meta.i32(6, converted);
            meta.open(10);
            meta.open(logical);
            meta.close();
            meta.close();
        }
        Holds::Moment => {
            meta.i32(6, 10);
            meta.open(10);
            meta.open(8);
            meta.bool(1, true);
            meta.open(2);
            meta.open(2);
            (0..4).for_each(|_| meta.close());
        }
    }
    meta.close();
}

fn row_group(group: &Group, meta: &mut Thrift) {
    meta.item();
    meta.list(1, STRUCT, group.chunks.len());
    for (column, chunk) in COLUMNS.iter().zip(&group.chunks) {
        meta.item();
        meta.i64(2, chunk.offset);
        meta.open(3);
        meta.i32(1, column.holds.physical());
        meta.list(2, I32, 2);
        meta.i32_item(PLAIN);
        meta.i32_item(RLE);
        meta.list(3, BINARY, 1);
        meta.text_item(column.name);
        meta.i32(4, SNAPPY);
        meta.i64(5, group.rows);
        meta.i64(6, chunk.plain);
        meta.i64(7, chunk.compressed);
        meta.i64(9, chunk.offset);
        if let (Some(least), Some(most)) = (chunk.least, chunk.most) {
            meta.open(12);
            meta.i64(3, 0);
            meta.bytes(5, &most.to_le_bytes());
            meta.bytes(6, &least.to_le_bytes());
            meta.close();
        }
        meta.close();
        meta.close();
    }
    meta.i64(2, group.chunks.iter().map(|chunk| chunk.plain).sum());
    meta.i64(3, group.rows);
    meta.close();
}

fn int(length: usize) -> Result<i32> {
    i32::try_from(length).map_err(|_| ExportError::TooLarge)
}

fn long(length: usize) -> Result<i64> {
    i64::try_from(length).map_err(|_| ExportError::TooLarge)
}

const fn always(name: &'static str, holds: Holds) -> Column {
    Column { name, holds, optional: false }
}

const fn maybe(name: &'static str) -> Column {
    Column { name, holds: Holds::Text, optional: true }
}

const COLUMNS: &[Column] = &[
    always("index", Holds::Number),
    always("ts", Holds::Moment),
    always("id", Holds::Text),
    always("kind", Holds::Text),
    always("by", Holds::Text),
    maybe("identity"),
    maybe("instance"),
    maybe("task"),
    maybe("person"),
    maybe("action"),
    maybe("resource"),
    maybe("effect"),
    maybe("policy"),
    maybe("class"),
    maybe("lease"),
    maybe("record"),
    maybe("elevation"),
    always("leaf", Holds::Hash),
    always("body", Holds::Json),
];

/// Rows of a row group: a page of the largest column stays at some tens of megabytes.
const GROUP: usize = 16_384;

const MAGIC: &[u8; 4] = b"PAR1";
const DATA_PAGE: i32 = 0;
const PLAIN: i32 = 0;
const RLE: i32 = 3;
const SNAPPY: i32 = 1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_fill_bytes_from_their_low_bits() {
        assert_eq!(levels(&[]), [1]);
        assert_eq!(levels(&[true]), [3, 1]);
        assert_eq!(levels(&[false, true, true, false, false, false, false, true, true]), [5, 0b1000_0110, 1]);
    }
}
