//! Where: the log is the database.
//!
//! An event is durable in the log, or it did not happen. [`log`] is the embedded log: preallocated segments, one
//! writer, group commit. [`tiles`] cuts it into tlog-tiles and entry bundles, which are its lasting form, and signs
//! checkpoints. [`vault`] keeps back what its readers must not see. [`views`] are SQLite tables for queries: a
//! projection that can be dropped and rebuilt. [`seal`] keeps the directory's keys unreadable while nothing runs.

mod dir;
mod error;
pub mod index;
pub mod log;
pub mod private;
pub mod published;
pub mod record;
pub mod runs;
pub mod seal;
pub mod tiles;
pub mod vault;
pub mod views;

pub use dir::StateDir;
pub use error::{StoreError, describe};
