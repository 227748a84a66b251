//! Segment files: where each batch stands, reading back, recovery, and using old files again.

use std::collections::VecDeque;
use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::batch::{self, ALIGN};
use super::pace::Pace;
use super::{MAX_ENTRY, MAX_PRIVATE, SEGMENT_BYTES};
use crate::StoreError;
use crate::dir::{make_private_dir, private_file, sync_dir};
use crate::error::Result;

/// All segments of a log.
#[derive(Debug)]
pub struct Segments {
    dir: PathBuf,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    live: VecDeque<Arc<Segment>>,
    batches: VecDeque<Place>,
    end: u64,
    /// The first entry that the live segments may hold.
    first: u64,
    /// Files that were segments and wait to be ones again.
    ready: Vec<PathBuf>,
    spares: u64,
}

#[derive(Debug)]
pub(super) struct Segment {
    path: PathBuf,
    file: File,
}

#[derive(Debug)]
struct Place {
    first: u64,
    count: u32,
    segment: Arc<Segment>,
    offset: u64,
    bytes: usize,
}

/// Where the writer goes on: the last segment and the offset behind its last batch.
pub(super) struct Tail {
    pub segment: Arc<Segment>,
    pub offset: u64,
}

impl Segment {
    /// Writes at an offset and makes it durable.
    pub(super) fn write(&self, bytes: &[u8], offset: u64) -> Result<()> {
        self.file.write_all_at(bytes, offset).map_err(StoreError::io("write", &self.path))?;
        self.file.sync_data().map_err(StoreError::io("sync", &self.path))
    }
}

impl Segments {
    /// Reads every segment, finds the end and checks that nothing between `kept` and the end is missing.
    pub(super) fn open(dir: &Path, kept: u64) -> Result<Self> {
        make_private_dir(dir)?;
        let mut inner = Inner { end: kept, first: kept, ..Inner::default() };
        remove_spares(dir)?;
        let mut files = list(dir)?;
        files.sort();
        let mut ending = None;
        for (n, (first, path)) in files.into_iter().enumerate() {
            if n == 0 {
                if first > kept {
                    return Err(StoreError::Damaged {
                        what: format!("entries {kept} to {} are missing before `{}`", first - 1, path.display()),
                    });
                }
                (inner.end, inner.first) = (first, first);
            } else if first != inner.end {
                return Err(StoreError::Damaged {
                    what: format!("entries {} to {first} are missing before `{}`", inner.end, path.display()),
                });
            }
            ending = Some(inner.take(path)?);
        }
        if inner.end < kept {
            return Err(StoreError::Contradicted {
                what: format!("a head of {kept} entries was published, the log has {}", inner.end),
            });
        }
        // Only now: what is refused is left as it was found.
        if let Some(ending) = ending {
            ending.settle(dir)?;
        }
        Ok(Self { dir: dir.to_owned(), inner: Mutex::new(inner) })
    }

    /// The number of entries found at start, and since appended.
    pub(super) fn end(&self) -> u64 {
        self.lock().end
    }

    pub(super) fn first(&self) -> u64 {
        self.lock().first
    }

    /// Where to write next, if there is a segment.
    pub(super) fn tail(&self) -> Option<Tail> {
        let inner = self.lock();
        let segment = Arc::clone(inner.live.back()?);
        let last = inner.batches.back().filter(|p| Arc::ptr_eq(&p.segment, &segment));
        let offset = last.map_or(0, |p| p.offset.saturating_add(p.bytes as u64));
        Some(Tail { segment, offset })
    }

    /// A file that is ready to become a segment: an old one, or a new one full of zeros. Nothing once the log has ended.
    pub(super) fn prepare(&self, pace: &Pace) -> Result<Option<PathBuf>> {
        let name = {
            let mut inner = self.lock();
            if let Some(ready) = inner.ready.pop() {
                return Ok(Some(ready));
            }
            inner.spare(&self.dir)
        };
        let unready = name.with_extension("unready");
        let mut file =
            private_file().create(true).truncate(true).write(true).open(&unready).map_err(StoreError::io("create", &unready))?;
        let zeros = vec![0; PIECE as usize];
        for piece in 0..SEGMENT_BYTES / PIECE {
            if !pace.wait(piece * PIECE) {
                return Ok(None);
            }
            file.write_all(&zeros).map_err(StoreError::io("preallocate", &name))?;
            // Bit by bit: the log's own syncs would wait for a large one.
            file.sync_data().map_err(StoreError::io("preallocate", &name))?;
        }
        file.sync_all().map_err(StoreError::io("sync", &name))?;
        std::fs::rename(&unready, &name).map_err(StoreError::io("rename to", &name))?;
        Ok(Some(name))
    }

    /// Makes a prepared file the segment that begins at entry `first`.
    pub(super) fn begin(&self, spare: &Path, first: u64) -> Result<Tail> {
        let path = self.dir.join(format!("{first:020}.segment"));
        std::fs::rename(spare, &path).map_err(StoreError::io("rename to", &path))?;
        sync_dir(&self.dir)?;
        let segment = Arc::new(open(&path)?);
        self.lock().live.push_back(Arc::clone(&segment));
        Ok(Tail { segment, offset: 0 })
    }

    /// Takes note of a durable batch.
    pub(super) fn wrote(&self, tail: &Tail, first: u64, count: u32, bytes: usize) {
        let mut inner = self.lock();
        inner.batches.push_back(Place { first, count, segment: Arc::clone(&tail.segment), offset: tail.offset, bytes });
        inner.end = first.saturating_add(u64::from(count));
    }

    pub(super) fn read(&self, from: u64, until: u64, bytes: usize) -> Result<Vec<(u64, Vec<u8>)>> {
        let mut out = Vec::new();
        let mut taken = 0;
        let mut next = from;
        while next < until && taken < bytes {
            let Some((first, payload)) = self.batch_with(next)? else { break };
            let indexed = (first..).zip(batch::entries(&payload)).filter(|(index, _)| (next..until).contains(index));
            for (index, entry) in indexed {
                taken += entry.len();
                out.push((index, entry.to_vec()));
            }
            next = out.last().map_or(until, |(index, _)| index.saturating_add(1));
        }
        Ok(out)
    }

    /// The batch that holds entry `index`.
    fn batch_with(&self, index: u64) -> Result<Option<(u64, Vec<u8>)>> {
        let (segment, offset, bytes, first) = {
            let inner = self.lock();
            let at = inner.batches.partition_point(|p| p.first.saturating_add(u64::from(p.count)) <= index);
            match inner.batches.get(at) {
                Some(p) if p.first <= index => (Arc::clone(&p.segment), p.offset, p.bytes, p.first),
                _ => return Ok(None),
            }
        };
        let mut buffer = vec![0; bytes];
        segment.file.read_exact_at(&mut buffer, offset).map_err(StoreError::io("read", &segment.path))?;
        match batch::decode(&buffer) {
            Some((found, payload)) if found.first == first => Ok(Some((first, payload.to_vec()))),
            // The segment was retired while it was read: its entries are in the tiles.
            _ if index < self.first() => Ok(None),
            _ => Err(StoreError::Damaged { what: format!("the batch of entry {index} in `{}`", segment.path.display()) }),
        }
    }

    pub(super) fn retire(&self, kept: u64) -> Result<()> {
        loop {
            let (old, spare) = {
                let mut inner = self.lock();
                let Some(oldest) = inner.live.front().cloned().filter(|_| inner.live.len() > 1) else { return Ok(()) };
                let behind = inner.batches.iter().find(|p| !Arc::ptr_eq(&p.segment, &oldest)).map_or(inner.end, |p| p.first);
                if behind > kept {
                    return Ok(());
                }
                inner.live.pop_front();
                inner.batches.retain(|p| !Arc::ptr_eq(&p.segment, &oldest));
                inner.first = behind;
                (oldest, (inner.ready.len() < MOST_READY).then(|| inner.spare(&self.dir)))
            };
            // Its old batches have lower indices and are never taken for new ones.
            match spare {
                Some(spare) => {
                    std::fs::rename(&old.path, &spare).map_err(StoreError::io("rename to", &spare))?;
                    self.lock().ready.push(spare);
                }
                None => std::fs::remove_file(&old.path).map_err(StoreError::io("remove", &old.path))?,
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// A new name for a file that is no segment.
    fn spare(&mut self, dir: &Path) -> PathBuf {
        self.spares = self.spares.saturating_add(1);
        dir.join(format!("spare-{}", self.spares))
    }

    /// Takes in one segment found at start, and says how it ends: only the end of the last one is settled.
    fn take(&mut self, path: PathBuf) -> Result<Ending> {
        let segment = Arc::new(open(&path)?);
        let bytes = std::fs::read(&path).map_err(StoreError::io("read", &path))?;
        let (mut offset, mut last) = (0, 0);
        while let Some((found, _)) = bytes.get(offset..).and_then(batch::decode).filter(|(f, _)| f.first == self.end) {
            self.batches.push_back(Place {
                first: found.first,
                count: found.count,
                segment: Arc::clone(&segment),
                offset: offset as u64,
                bytes: found.bytes,
            });
            self.end = self.end.saturating_add(u64::from(found.count));
            last = offset;
            offset += found.bytes;
        }
        // What follows a torn batch was never written: the next batch starts only after the last is durable. A good
        // batch further on means that this one was acknowledged once and is damaged now.
        let later = (offset..bytes.len())
            .step_by(ALIGN)
            .filter_map(|at| batch::decode(bytes.get(at..)?))
            .find(|(f, _)| f.first > self.end);
        if let Some((found, _)) = later {
            return Err(StoreError::Damaged {
                what: format!(
                    "entry {} in `{}` at byte {offset}, before entry {} which is good",
                    self.end,
                    path.display(),
                    found.first
                ),
            });
        }
        self.live.push_back(Arc::clone(&segment));
        let torn = bytes.get(offset..).unwrap_or_default().iter().rposition(|b| *b != 0).map_or(0, |n| n + 1);
        let mut batch = bytes.get(last..offset.min(bytes.len())).unwrap_or_default().to_vec();
        // A file that was cut short within the padding gets it back: it is read with the batch.
        batch.resize(offset.saturating_sub(last), 0);
        Ok(Ending { segment, at: last as u64, batch, torn })
    }
}

/// How a segment ends, as found at start.
struct Ending {
    segment: Arc<Segment>,
    /// Where its last batch stands.
    at: u64,
    batch: Vec<u8>,
    /// How many bytes behind it are left of a torn one.
    torn: usize,
}

impl Ending {
    /// Makes the end of the log durable before anything goes on from it.
    ///
    /// The last batch may have been read from memory only: whoever wrote it was killed before its sync, or was told that the
    /// sync failed, after which the system takes the pages for clean and no later sync writes them. So it is written once more.
    /// What is left of a torn batch becomes zeros, so that it can never be mistaken for data.
    fn settle(self, dir: &Path) -> Result<()> {
        // The name of the segment may be as new.
        sync_dir(dir)?;
        let Self { segment, at, mut batch, torn } = self;
        batch.resize(batch.len().saturating_add(torn), 0);
        if batch.is_empty() { Ok(()) } else { segment.write(&batch, at) }
    }
}

fn open(path: &Path) -> Result<Segment> {
    let file = private_file().read(true).write(true).open(path).map_err(StoreError::io("open", path))?;
    let length = file.metadata().map_err(StoreError::io("read", path))?.len();
    if length > SEGMENT_BYTES.saturating_add((MAX_ENTRY + MAX_PRIVATE) as u64) {
        return Err(StoreError::Damaged {
            what: format!("`{}` has {length} bytes, a segment has {SEGMENT_BYTES}", path.display()),
        });
    }
    Ok(Segment { path: path.to_owned(), file })
}

/// Prepared files of an earlier run: how much of them was written is not known.
fn remove_spares(dir: &Path) -> Result<()> {
    for entry in std::fs::read_dir(dir).map_err(StoreError::io("list", dir))? {
        let path = entry.map_err(StoreError::io("list", dir))?.path();
        if path.file_name().and_then(|n| n.to_str()).is_some_and(|n| n.starts_with("spare-")) {
            std::fs::remove_file(&path).map_err(StoreError::io("remove", &path))?;
        }
    }
    Ok(())
}

fn list(dir: &Path) -> Result<Vec<(u64, PathBuf)>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(StoreError::io("list", dir))? {
        let path = entry.map_err(StoreError::io("list", dir))?.path();
        let stem = path.file_stem().and_then(|s| s.to_str()).and_then(|s| s.parse().ok());
        if let (Some(first), Some("segment")) = (stem, path.extension().and_then(|e| e.to_str())) {
            found.push((first, path));
        }
    }
    Ok(found)
}

/// How much of a new file is written at a time.
pub(super) const PIECE: u64 = 512 << 10;
/// As many old files are kept at most: a busy log is retired once a second, and fills some segments in one.
const MOST_READY: usize = 4;
