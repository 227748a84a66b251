//! What is allowed: policy as code, decided in process. The only crate that knows Cedar.
//!
//! Policies stand in two tiers. Hard: permits and forbids. Soft: forbids annotated `@elevation("name")`, which a live
//! approval discharges. A hard forbid, an error in any policy, or no permit is Deny; else a soft forbid is Hold; else
//! Allow. [`Snapshot::load`] reads and checks a set of policies; [`Snapshot::decide`] answers one request.
//!
//! INVARIANT (I7 unknown is No): what is missing, unclassified, too large or errs is denied.

mod arguments;
mod decide;
mod load;
mod search;

pub use arguments::{MAX_ARGUMENTS, MAX_DEPTH};
pub use decide::Request;
pub use load::{BASELINE, PolicyError, PolicyFile, SCHEMA, Snapshot};
pub use search::Access;
