//! The witnesses of a log: their policy, and whoever asks them.

use std::path::Path;
use std::sync::Arc;

use marque_engine::Witnesses;
use marque_server::witnessing::Witnessing;

use crate::failure::{Failure, Result};

/// A C2SP tlog-policy file.
pub fn read_policy(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(|e| Failure::input(format!("cannot read the witness policy `{}`: {e}", path.display())))
}

/// Has the witnesses asked, beside everything else, until this process ends.
pub fn ask(witnesses: Arc<Witnesses>) -> Result<()> {
    let witnessing = Witnessing::new(witnesses).map_err(|e| Failure::input(Failure::from(e).message))?;
    tokio::spawn(witnessing.run());
    Ok(())
}
