//! Where: the log is the database.
//!
//! An event is durable in the log, or it did not happen. [`log`] is the embedded log: preallocated segments, one
//! writer, group commit. [`tiles`] cuts it into tlog-tiles and entry bundles, which are its lasting form, and signs
//! checkpoints. [`views`] are SQLite tables for queries: a projection that can be dropped and rebuilt.

mod dir;
mod error;
pub mod log;
pub mod tiles;
pub mod views;

pub use dir::StateDir;
pub use error::StoreError;
