//! Witnesses: those of the log, and being one (C2SP tlog-witness v1.0.0).
//!
//! A witness cosigns a log's checkpoint with the time, if it continues the one that it cosigned before. So a log that shows
//! different people different histories needs the help of as many witnesses as those people ask for.

mod asking;
mod files;
mod keeping;
mod root;
mod rounds;

pub use asking::Witnesses;
pub use keeping::{Keeper, Keeping, Kept, Witness, WitnessReply};
pub use root::{Anchor, RootLog};
pub use rounds::{WitnessAnswer, WitnessChange, WitnessRequest, WitnessStatus};
