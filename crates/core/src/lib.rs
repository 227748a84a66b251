//! What is true: the words of Marque as types, and the rules that hold between them.
//!
//! This crate has no I/O, no async, no clock and no randomness. Time and fresh identifiers arrive as arguments
//! ([`time::Cx`]); every change of state is an [`event::Event`], and everything that Marque knows is the fold of
//! those events ([`state::State`]).
//!
//! # Glossary
//!
//! | word | type | meaning |
//! |---|---|---|
//! | Identity | [`identity::Identity`] | a registered non-human principal with a SPIFFE ID, an owner and a ceiling |
//! | Instance | [`attestation::Instance`] | one running copy of an identity, as attested |
//! | Selector | [`attestation::Selector`] | one observed fact about a process |
//! | Node | [`node::Node`] | another host on which the Workload API is served |
//! | Resource | [`resource::Resource`] | what is acted on: dataset, tool, model, service, output |
//! | Action | [`resource::Action`] | the verb, from a closed list |
//! | Scope | [`scope::Scope`] | a set of grants; a lattice with `covers` and `meet`, no union |
//! | Task | [`task::Task`] | a unit of work and the authority for it |
//! | Lease | [`lease::Lease`] | one issued credential of any class |
//! | Decision | [`decision::Decision`] | allow, deny or hold, with reasons |
//! | Elevation | [`elevation::Elevation`] | a held request that a person may approve |
//! | Record | [`record::Decided`] | one credentialed action |
//! | Revocation | [`revocation::Target`] | what one verb ends, with everything below it |
//! | Finding | [`finding::Finding`] | something wrong in the inventory |
//!
//! # Invariants
//!
//! The eight invariants are named in the code as `INVARIANT (I1 narrowing)` and so on where they are held:
//! I1 narrowing ([`task`]), I2 leases die first ([`task`]), I3 no act without a record (engine), I4 revocation is
//! monotone ([`revocation`]), I5 elevation never widens ([`elevation`]), I6 the ledger is the history ([`state`],
//! store), I7 unknown is No (policy, [`state`]), I8 every identity has an owner ([`finding`]).

pub mod artifact;
pub mod attestation;
pub mod decision;
pub mod elevation;
pub mod event;
pub mod finding;
pub mod id;
pub mod identity;
pub mod lease;
mod lookup;
pub mod node;
pub mod record;
pub mod resource;
pub mod revocation;
pub mod scope;
pub mod spiffe;
pub mod state;
pub mod task;
pub mod time;
pub mod when;
mod words;

pub use words::{Commitment, Committed, Digest, ParseError, PersonId, Prints};
