//! What a crash leaves behind: a torn batch or garbage at the end of the log, views that are gone, old or broken, tiles
//! above the published head, a checkpoint that is behind its head. Never anything that was acknowledged.

use std::path::{Path, PathBuf};

use marque_ledger::{Bundle, TILE_WIDTH, Tile};

use crate::journal::{Checked, broken, must};
use crate::sim::Sim;

impl Sim<'_> {
    /// Damages the directory; entries below `floor` were acknowledged. Returns what was done.
    pub fn damage(&mut self, floor: u64) -> Checked<String> {
        let root = self.root().to_owned();
        let done = [self.end_of_log(&root, floor)?, self.views(&root)?, self.above_head(&root)?, self.checkpoint(&root)?];
        let done: Vec<String> = done.into_iter().flatten().collect();
        Ok(if done.is_empty() { "nothing is damaged".into() } else { done.join(", ") })
    }

    /// A batch that nobody waits for is torn, or what stands behind the last batch is not zero.
    fn end_of_log(&mut self, root: &Path, floor: u64) -> Checked<Option<String>> {
        let (first, path) = last_segment(&root.join("log"))?;
        let mut bytes = must("sim", "reading a segment", std::fs::read(&path))?;
        let (full, batches) = (bytes.len(), batches(&bytes, first));
        let end = batches.last().map_or(0, |batch| batch.end);
        let unsure: Vec<Batch> = batches.iter().filter(|batch| batch.first >= floor).copied().collect();
        let torn = self.rng.pick(&unsure).filter(|_| self.rng.chance(60));
        let text = match torn {
            Some(batch) => {
                let kept = self.rng.below(batch.meaningful as u64) as usize;
                bytes.truncate(batch.start + kept);
                Some(format!("entry {} torn after {kept} bytes", batch.first))
            }
            None => {
                bytes.truncate(end);
                let garbage = self.garbage(&bytes, &batches);
                bytes.extend_from_slice(&garbage);
                (!garbage.is_empty()).then(|| format!("{} bytes of garbage behind the log", garbage.len()))
            }
        };
        // Reading all of a preallocated segment takes long: it is cut short, as none is ever filled here.
        let length = if self.whole_segments { full.max(bytes.len()) } else { bytes.len() + 4096 };
        bytes.resize(length, 0);
        must("sim", "writing a segment", std::fs::write(&path, bytes))?;
        Ok(text)
    }

    /// Random bytes, an old batch once more, a header that looks right, or nothing.
    fn garbage(&mut self, bytes: &[u8], batches: &[Batch]) -> Vec<u8> {
        let count = 1 + self.rng.below(700) as usize;
        match self.rng.below(4) {
            0 => self.rng.bytes(count),
            1 => {
                let old = self.rng.pick(batches).and_then(|batch| bytes.get(batch.start..batch.end));
                old.unwrap_or_default().to_vec()
            }
            2 => {
                let next = batches.last().map_or(0, |batch| batch.first + batch.count);
                let length = 1 + self.rng.below(700) as u32;
                let checksum = self.rng.draw() as u32;
                let header = [MAGIC, &length.to_le_bytes(), &next.to_le_bytes(), &1_u32.to_le_bytes(), &checksum.to_le_bytes()];
                [header.concat(), self.rng.bytes(count)].concat()
            }
            _ => Vec::new(),
        }
    }

    /// The views are deleted, overwritten or set back: they are a projection, and nothing hangs from them.
    fn views(&mut self, root: &Path) -> Checked<Option<String>> {
        let path = root.join("views.db");
        let (bytes, text) = match self.rng.below(10) {
            0 | 1 => (None, "the views are deleted"),
            2 => (Some(self.rng.bytes(2000)), "the views are garbage"),
            3 | 4 if self.old_views.is_some() => (self.old_views.clone(), "the views are old"),
            5 | 6 => {
                self.old_views = std::fs::read(&path).ok();
                return Ok(None);
            }
            _ => return Ok(None),
        };
        for name in ["views.db", "views.db-wal", "views.db-shm"] {
            remove(&root.join(name))?;
        }
        if let Some(bytes) = bytes {
            must("sim", "writing the views", std::fs::write(&path, bytes))?;
        }
        Ok(Some(text.to_owned()))
    }

    /// Files of tiles that the published head does not need are deleted or torn.
    fn above_head(&mut self, root: &Path) -> Checked<Option<String>> {
        let ledger = root.join("ledger");
        let head = std::fs::read_to_string(ledger.join("head")).unwrap_or_default();
        let Some(size) = head.lines().next().and_then(|size| size.parse::<u64>().ok()).filter(|_| self.rng.chance(50)) else {
            return Ok(None);
        };
        let mut files = Vec::new();
        list(&ledger, "tile", &mut files)?;
        files.retain(|path| !is_needed(path, size));
        for path in &files {
            remove(&ledger.join(path))?;
        }
        let width = u64::from(TILE_WIDTH);
        let torn = !size.is_multiple_of(width) && self.rng.chance(50);
        if torn {
            let index = size / width;
            for path in [Bundle { index, width: TILE_WIDTH }.path(), Tile { level: 0, index, width: TILE_WIDTH }.path()] {
                let garbage = self.rng.bytes(100);
                must("sim", "writing a tile", std::fs::write(ledger.join(path), garbage))?;
            }
        }
        let text = format!("{} files above the head deleted{}", files.len(), if torn { ", two torn" } else { "" });
        Ok((torn || !files.is_empty()).then_some(text))
    }

    /// The crash came after the head and before its checkpoint.
    fn checkpoint(&mut self, root: &Path) -> Checked<Option<String>> {
        if !self.rng.chance(25) {
            return Ok(None);
        }
        let Some(older) = self.ledger.older_checkpoint() else { return Ok(None) };
        must("sim", "writing a checkpoint", std::fs::write(root.join("ledger/checkpoint"), older))?;
        self.ledger.forget_last();
        Ok(Some("the checkpoint is behind the head".into()))
    }
}

/// A batch as it stands in a segment.
#[derive(Clone, Copy, Debug)]
struct Batch {
    first: u64,
    count: u64,
    start: usize,
    /// Its header and its entries, without the padding.
    meaningful: usize,
    end: usize,
}

/// The batches of a segment that nothing has damaged yet.
fn batches(bytes: &[u8], mut next: u64) -> Vec<Batch> {
    let mut found = Vec::new();
    let mut start = 0;
    while let Some(header) = bytes.get(start..start + HEADER) {
        let word = |at: usize| header.get(at..at + 4).and_then(|word| word.try_into().ok()).map_or(0, u32::from_le_bytes);
        let first = header.get(8..16).and_then(|word| word.try_into().ok()).map_or(0, u64::from_le_bytes);
        if !header.starts_with(MAGIC) || first != next {
            break;
        }
        let (meaningful, count) = (HEADER + word(4) as usize, u64::from(word(16)));
        let end = start + meaningful.next_multiple_of(ALIGN);
        found.push(Batch { first, count, start, meaningful, end });
        next += count;
        start = end;
    }
    found
}

/// The last segment and the index of its first entry.
fn last_segment(log: &Path) -> Checked<(u64, PathBuf)> {
    let mut found = Vec::new();
    for file in must("sim", "listing the log", std::fs::read_dir(log))? {
        let path = must("sim", "listing the log", file)?.path();
        let first = path.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| stem.parse::<u64>().ok());
        if let Some(first) = first.filter(|_| path.extension().is_some_and(|e| e == "segment")) {
            found.push((first, path));
        }
    }
    match found.into_iter().max() {
        Some(last) => Ok(last),
        None => broken("I6", "the log has no segment"),
    }
}

/// The files below a folder, by their paths from `root`.
fn list(root: &Path, folder: &str, files: &mut Vec<String>) -> Checked {
    let Ok(entries) = std::fs::read_dir(root.join(folder)) else { return Ok(()) };
    for entry in entries {
        let entry = must("sim", "listing tiles", entry)?;
        let path = format!("{folder}/{}", entry.file_name().to_string_lossy());
        if entry.path().is_dir() {
            list(root, &path, files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}

/// Whether a head of `size` entries needs this file.
fn is_needed(path: &str, size: u64) -> bool {
    let tile = path.parse::<Tile>().ok().and_then(|t| Tile::in_tree(t.level, t.index, size)).map(|t| t.path());
    let bundle = path.parse::<Bundle>().ok().and_then(|b| Bundle::in_tree(b.index, size)).map(|b| b.path());
    tile.or(bundle).is_some_and(|needed| needed == path)
}

fn remove(path: &Path) -> Checked {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => broken("sim", format!("removing a file failed: {error}")),
        _ => Ok(()),
    }
}

/// The first bytes of a batch.
const MAGIC: &[u8] = b"MQB1";

/// The bytes of a batch's header.
const HEADER: usize = 24;

/// Batches start at multiples of this.
const ALIGN: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_files_of_the_head_are_needed() {
        for needed in ["tile/0/000.p/7", "tile/entries/000.p/7"] {
            assert!(is_needed(needed, 7), "{needed}");
        }
        for other in ["tile/0/000.p/6", "tile/0/000", "tile/entries/001.p/3", "tile/0/000.tmp"] {
            assert!(!is_needed(other, 7), "{other}");
        }
    }
}
