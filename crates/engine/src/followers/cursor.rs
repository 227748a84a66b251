//! Where a follower stands: a small file, replaced as a whole.

use std::path::Path;

use marque_ledger::leaf_hash;
use marque_store::record::Record;
use serde::{Deserialize, Serialize};

use crate::error::{EngineError, Result};
use crate::open::Engine;

/// A place in the log, with what stands before it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Cursor {
    /// The first entry that was not taken.
    pub next: u64,
    /// The leaf hash of the entry before it, in hex: the name of the log that this is a place in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leaf: Option<String>,
}

impl Cursor {
    /// The file in the state directory.
    pub fn file(name: &str) -> String {
        format!("{FOLDER}/{name}.{EXTENSION}")
    }

    pub fn encode(&self) -> Vec<u8> {
        format!("{}\n", serde_json::json!(self)).into_bytes()
    }

    pub fn decode(name: &str, bytes: &[u8]) -> Result<Self> {
        serde_json::from_slice(bytes).map_err(|e| {
            EngineError::Invalid(format!(
                "the cursor of the export `{name}` does not parse ({e}): to begin anew, remove its file"
            ))
        })
    }

    /// Holds the cursor against the log: in another one, such as an older copy that was put back, going on here would skip
    /// what was written since under the same numbers.
    pub fn check(&self, engine: &Engine) -> Result<()> {
        let size = engine.log_size();
        if self.next > size && self.leaf.is_some() {
            let text = format!("the cursor is at {}, and the log has {size} entries: it is of another log", self.next);
            return Err(EngineError::Invalid(text));
        }
        let (Some(leaf), Some(before)) = (&self.leaf, self.next.checked_sub(1)) else { return Ok(()) };
        // What was pruned meanwhile cannot be compared any more.
        let Some(record) = engine.views.raw(before)? else { return Ok(()) };
        if hex::encode(leaf_hash(Record::split(&record).0).0) != *leaf {
            let text = format!("entry {before} is not the one that was exported: the cursor is of another log");
            return Err(EngineError::Invalid(text));
        }
        Ok(())
    }
}

/// The names of all followers that have a cursor.
pub(super) fn names(root: &Path) -> Result<Vec<String>> {
    let dir = root.join(FOLDER);
    let read = |source| EngineError::Read { what: format!("`{}`", dir.display()), source };
    let entries = match std::fs::read_dir(&dir) {
        Ok(entries) => entries,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(read(e)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let path = entry.map_err(read)?.path();
        if path.extension().is_some_and(|e| e == EXTENSION)
            && let Some(name) = path.file_stem().and_then(|s| s.to_str())
        {
            names.push(name.to_owned());
        }
    }
    Ok(names)
}

const FOLDER: &str = "exports";
const EXTENSION: &str = "cursor";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_comes_back() {
        for leaf in [None, Some("00ff".to_owned())] {
            let cursor = Cursor { next: 7, leaf };
            assert_eq!(Cursor::decode("x", &cursor.encode()).unwrap(), cursor);
        }
        assert!(Cursor::decode("x", b"").is_err());
        assert!(Cursor::decode("x", b"{\"next\":-1}").is_err());
    }
}
