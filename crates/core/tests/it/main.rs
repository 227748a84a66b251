//! Properties of the model: the laws of scopes, and the invariants over random chains of delegation.
#![expect(clippy::unwrap_used, reason = "test helpers")]

mod laws;
mod lookup;
mod tasks;
