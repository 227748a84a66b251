//! What somebody found and asks about, moments and requests as people write them, and records as the log keeps them.

use std::collections::HashSet;

use marque_core::time::{Timestamp, Ttl};
use marque_core::when::When;
use marque_engine::{ArtifactRequest, NodeSight, NodeSync, PruneRequest, ReceiptOf, TaskRequest};
use marque_store::record::Record;
use marque_trace::{Limits, normalised_digest, receipts, variants};

use crate::documents::same_json;

/// [`variants`]: decoding goes no further than its limits, whatever was packed into what, and every place leads back.
pub fn trace_variants(data: &[u8]) {
    let limits = Limits { depth: 3, variants: 64, bytes: 1 << 20 };
    let decoded = variants(data, &limits);
    assert_eq!(decoded.variants.first().map(marque_trace::Variant::bytes), Some(data));
    assert!(decoded.variants.len() <= limits.variants, "{} variants", decoded.variants.len());
    let made: usize = decoded.variants.iter().skip(1).map(|variant| variant.bytes().len()).sum();
    assert!(made <= limits.bytes, "{made} bytes were made");
    let unlike: HashSet<[u8; 32]> = decoded.variants.iter().map(marque_trace::Variant::digest).collect();
    assert_eq!(unlike.len(), decoded.variants.len(), "a variant comes twice");
    for (place, variant) in decoded.variants.iter().enumerate() {
        assert!(variant.steps().len() <= limits.depth && variant.root() <= place, "{:?}", variant.steps());
        let within = variant.in_root(&(0..variant.bytes().len()));
        let root = decoded.variants.get(variant.root()).map_or(0, |root| root.bytes().len());
        assert!(within.start <= within.end && within.end <= root, "{within:?} of {root}: {:?}", variant.steps());
    }
    let again = variants(data, &limits);
    assert!(
        again.variants.iter().map(|v| v.digest()).eq(decoded.variants.iter().map(|v| v.digest())),
        "another time, other variants"
    );
}

/// [`receipts`]: each stands where it is said to stand.
pub fn trace_receipts(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let found = receipts(text);
    assert!(found.len() <= 1_000);
    for receipt in &found {
        assert_eq!(text.get(receipt.bytes.clone()), Some(receipt.id.as_str()));
        assert!(receipt.id.starts_with("rec_") && receipt.id.len() <= 64, "{}", receipt.id);
    }
    assert!(found.is_sorted_by_key(|receipt| receipt.bytes.start));
    assert_eq!(normalised_digest(text), normalised_digest(&format!("\n{text}\n")), "a line's end is not a letter");
}

/// [`When`], and lengths of time as JSON: any moment can be told from any other.
pub fn when(data: &[u8]) {
    if let Ok(length) = serde_json::from_slice::<Ttl>(data) {
        let now = Timestamp::from_seconds(1_800_000_000);
        assert!(now.plus(length) >= now, "{length:?} from now is before now");
        assert_eq!(Ttl::from_seconds(length.seconds()), length, "longer than any length of time");
    }
    let Some(when) = std::str::from_utf8(data).ok().and_then(|text| text.parse::<When>().ok()) else { return };
    for now in [i64::MIN, 0, 1_800_000_000_000_000, i64::MAX].map(Timestamp::from_micros) {
        match when {
            When::At(moment) => assert_eq!(when.at(now), moment),
            When::Ago(_) => assert!(when.at(now) <= now),
        }
    }
}

/// The bodies of requests, and what nodes and the server tell each other: what is read is written, and read as the same.
pub fn requests(data: &[u8]) {
    same_json::<TaskRequest>(data);
    same_json::<ArtifactRequest>(data);
    same_json::<PruneRequest>(data);
    same_json::<NodeSight>(data);
    same_json::<NodeSync>(data);
    if let Ok(text) = std::str::from_utf8(data)
        && let Ok(of) = text.parse::<ReceiptOf>()
    {
        assert_eq!(of.to_string().parse::<ReceiptOf>().ok(), Some(of));
    }
}

/// [`Record`]: both parts of what the log keeps are put together again as they were.
pub fn store_record(data: &[u8]) {
    let (leaf, private) = Record::split(data);
    assert!(leaf.len() + private.len() <= data.len());
    let bytes = Record { leaf: leaf.to_vec(), private: private.to_vec() }.encode();
    assert_eq!(Record::split(&bytes), (leaf, private));
}
