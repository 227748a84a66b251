//! Every exporter over one event of every kind, with all that it can carry and with as little as it can.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "test helpers")]

mod fields;
mod files;
mod lineage;
mod lines;
mod ocsf;
mod sample;
mod schema;

use marque_core::event::Event;
use serde_json::Value;

/// The event as its entry has it.
fn entry_json(event: &Event) -> Value {
    serde_json::from_slice(&event.to_bytes().unwrap()).unwrap()
}

/// Every kind is among the samples, and each of them is read back from its bytes as it was.
#[test]
fn there_is_a_sample_of_every_kind() {
    let events = sample::events();
    let places: std::collections::BTreeSet<usize> = events.iter().map(|e| sample::place(&e.what)).collect();
    assert_eq!(places, (0..sample::KINDS).collect());
    for event in events {
        assert_eq!(Event::from_bytes(&event.to_bytes().unwrap()).unwrap(), event);
    }
}
