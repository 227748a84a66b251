//! Events of the ledger in other people's formats: events in, bytes out.
//!
//! | module | format | specification |
//! |---|---|---|
//! | [`ocsf`] | security events | OCSF 1.9.0 |
//! | [`otel`] | log records | OTLP 1.x, JSON encoding |
//! | [`cef`] | lines for a SIEM | ArcSight CEF, revision 26 |
//! | [`cloudevents`] | webhooks | CloudEvents 1.0.2, JSON format |
//! | [`parquet`] | a file of columns | Apache Parquet 2 |
//! | [`prov`] | lineage | W3C PROV-JSON |
//! | [`intoto`] | statements about files | in-toto Statement v1, DSSE 1.0, SLSA provenance v1 |
//! | [`schema`] | the event schema itself | JSON Schema 2020-12 |
//! | [`fields`] | which field of other lists stands where | AIMS §11, NHIMG |
//!
//! An exporter takes events as it gets them: where a reader may not know a digest, the commitment stands there already.

pub mod cef;
pub mod chain;
pub mod cloudevents;
mod error;
mod facts;
pub mod fields;
pub mod intoto;
mod object;
pub mod ocsf;
pub mod otel;
pub mod parquet;
pub mod prov;
pub mod schema;

use marque_core::event::Event;

pub use crate::error::{ExportError, Result};

/// One entry of the log.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    /// Its index in the log, from 0.
    pub index: u64,
    /// The event.
    pub event: &'a Event,
    /// Its leaf hash: SHA-256(0x00 ‖ entry) (RFC 6962 §2.1).
    pub leaf: [u8; 32],
}

/// Where entries come from.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// The log's origin, as its checkpoints name it: `example.org/marque/log`.
    pub origin: &'a str,
    /// The version of Marque that exports.
    pub version: &'a str,
}

/// What every format calls the product.
pub(crate) const PRODUCT: &str = "Marque";
