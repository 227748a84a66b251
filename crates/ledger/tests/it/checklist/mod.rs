//! Every line of the wire formats that Marque speaks, each a test whose name starts with the line's mark.
//!
//! | mark | specification |
//! |---|---|
//! | T1–T6 | tlog-tiles v0.1.0 |
//! | N1–N6 | signed-note v1.0.0 |
//! | C1–C3 | tlog-checkpoint v1.0.0 |
//! | W1 | tlog-cosignature v1.0.1 |
//! | W3, W4 | tlog-witness v1.0.0 |
//! | P1 | tlog-proof |
//! | P2 | tlog-policy |

mod checkpoints;
mod golden;
mod negative;
mod notes;
mod policies;
mod tiles;
mod witnesses;
