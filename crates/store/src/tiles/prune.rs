//! Pruning (C2SP tlog-tiles v0.1.0, "Pruning"): the contents of old entries go, and their hashes stay.
//!
//! The word comes before the deed: what is missing is missing on purpose. What a crash or a failure leaves behind is removed at
//! the next start, or when there is more to prune.

use std::path::Path;

use marque_ledger::Bundle;

use super::{PRUNED, Tiles, WIDTH, read_records, sync_filesystem};
use crate::StoreError;
use crate::dir::{remove_bundle, write_whole};
use crate::error::Result;

impl Tiles {
    /// The first entry whose contents are still kept.
    pub fn pruned(&self) -> u64 {
        self.pruned
    }

    /// What was kept of the entries that were let go.
    pub fn retained(&self) -> Result<Vec<(u64, Vec<u8>)>> {
        let mut kept = self.private.retained()?;
        // Of those above, a crash came before the word.
        kept.retain(|(index, _)| *index < self.pruned);
        Ok(kept)
    }

    /// Lets go of the contents of the entries below `below`, in whole bundles (tlog-tiles, "Pruning"): the hashes stay, and
    /// with them every proof. Returns the first entry that is still kept.
    ///
    /// Records that `keep` names are kept apart, so that views and state can still be made anew.
    pub fn prune(&mut self, below: u64, keep: &dyn Fn(&[u8]) -> bool) -> Result<u64> {
        let until = (below.min(self.head.size) / WIDTH).saturating_mul(WIDTH);
        if until > self.pruned {
            let mut kept = self.retained()?;
            for bundle in bundles(self.pruned, until) {
                let records = read_records(&self.dir, bundle)?;
                kept.extend(records.into_iter().filter(|(_, record)| keep(record)));
            }
            self.private.retain(&kept)?;
            let swept = self.private.swept().map_or(0, |(done, _)| done);
            self.private.set_swept(swept.min(self.pruned), until)?;
            write_whole(&self.dir.join(PRUNED), format!("{until}\n").as_bytes(), 0o644)?;
            self.pruned = until;
        }
        self.sweep()?;
        Ok(self.pruned)
    }

    /// Removes what the word says is gone and is not known to be.
    pub(super) fn sweep(&self) -> Result<()> {
        // Where there is no mark, nobody made any yet.
        let (done, goal) = self.private.swept().unwrap_or((0, self.pruned));
        // A word that is not that of the mark, as in a directory that was restored, is no reason to remove anything.
        if goal != self.pruned || done >= goal {
            return Ok(());
        }
        for bundle in bundles(done, goal) {
            remove_bundle(&self.dir.join(bundle.path()))?;
            self.private.remove(bundle)?;
        }
        // So that no loss of power brings them back.
        sync_filesystem(&self.dir)?;
        self.private.set_swept(goal, goal)
    }
}

/// Below which entry the contents are let go, as the directory says.
pub(super) fn read_word(dir: &Path) -> Result<u64> {
    let path = dir.join(PRUNED);
    match std::fs::read_to_string(&path) {
        Ok(text) => text
            .trim()
            .parse()
            .map_err(|_| StoreError::Damaged { what: format!("`{}` is not a number of entries", path.display()) }),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(0),
        Err(e) => Err(StoreError::io("read", &path)(e)),
    }
}

/// The full bundles of the entries from `from` to `until`, both at the beginning of one.
fn bundles(from: u64, until: u64) -> impl Iterator<Item = Bundle> {
    (from / WIDTH..until / WIDTH).map(|index| Bundle { index, width: WIDTH as u16 })
}
