//! Lines in files of a folder. Each file is named by the first entry in it; a batch is on the disk before it counts as taken.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, TryLockError};

use marque_engine::Batch;
use tokio::sync::oneshot;

use super::SinkError;

pub(super) struct Files(Arc<Mutex<Lines>>);

impl Files {
    pub fn new(folder: PathBuf, rotate: u64) -> Self {
        Self(Arc::new(Mutex::new(Lines { folder, rotate, open: None })))
    }

    pub async fn write(&self, batch: &Arc<Batch>) -> Result<(), SinkError> {
        let batch = Arc::clone(batch);
        aside(&self.0, move |lines| lines.write(&batch)).await
    }
}

/// Runs what may hang on a thread of its own. One at a time: where an earlier one still hangs, this fails at once, so that
/// threads do not pile up and a late write does not get in between.
pub(super) async fn aside<S: Send + 'static>(
    state: &Arc<Mutex<S>>,
    work: impl FnOnce(&mut S) -> Result<(), SinkError> + Send + 'static,
) -> Result<(), SinkError> {
    if matches!(state.try_lock(), Err(TryLockError::WouldBlock)) {
        return Err(SinkError::Busy);
    }
    let (done, answer) = oneshot::channel();
    let state = Arc::clone(state);
    let run = move || {
        let written = match state.try_lock() {
            Ok(mut state) => work(&mut state),
            Err(TryLockError::Poisoned(poisoned)) => work(&mut poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => Err(SinkError::Busy),
        };
        drop(state);
        // Nobody may be waiting any more.
        let _ = done.send(written);
    };
    std::thread::Builder::new().name("export".into()).spawn(run).map_err(SinkError::io("start a thread"))?;
    answer.await.unwrap_or(Err(SinkError::CutOff))
}

struct Lines {
    folder: PathBuf,
    rotate: u64,
    open: Option<Open>,
}

/// The file that is written to, with how much of it is good.
struct Open {
    file: File,
    path: PathBuf,
    good: u64,
}

impl Lines {
    fn write(&mut self, batch: &Batch) -> Result<(), SinkError> {
        // Put back only when all went well: after an error the file is looked at anew.
        let mut open = match self.open.take() {
            Some(open) if open.good < self.rotate => open,
            Some(_) => self.create(batch.first)?,
            None => self.last(batch.first)?,
        };
        let bytes = batch.lines();
        let failed = |what: &str| SinkError::io(format!("{what} `{}`", open.path.display()));
        open.file.seek(SeekFrom::Start(open.good)).map_err(failed("write to"))?;
        open.file.write_all(&bytes).map_err(failed("write to"))?;
        open.file.sync_data().map_err(failed("sync"))?;
        open.good = open.good.saturating_add(bytes.len() as u64);
        self.open = Some(open);
        Ok(())
    }

    /// The file that was written last, without a line that a crash cut off; a new one where there is none or it is full.
    fn last(&self, first: u64) -> Result<Open, SinkError> {
        make_folder(&self.folder)?;
        let list = || SinkError::io(format!("list `{}`", self.folder.display()));
        let mut newest: Option<PathBuf> = None;
        for entry in std::fs::read_dir(&self.folder).map_err(list())? {
            let path = entry.map_err(list())?.path();
            if path.extension().is_some_and(|e| e == EXTENSION) && newest.as_ref().is_none_or(|n| *n < path) {
                newest = Some(path);
            }
        }
        let Some(path) = newest else { return self.create(first) };
        let open = Open::whole(path)?;
        if open.good < self.rotate { Ok(open) } else { self.create(first) }
    }

    fn create(&self, first: u64) -> Result<Open, SinkError> {
        make_folder(&self.folder)?;
        let path = self.folder.join(format!("{first:020}.{EXTENSION}"));
        let open = Open::whole(path)?;
        sync_folder(&self.folder)?;
        Ok(open)
    }
}

impl Open {
    /// Opens a file and cuts off what follows its last line's end: it was never noted as taken, and comes again.
    fn whole(path: PathBuf) -> Result<Self, SinkError> {
        let failed = || SinkError::io(format!("open `{}`", path.display()));
        let mut options = OpenOptions::new();
        options.create(true).truncate(false).read(true).write(true).mode(0o600);
        let mut file = options.open(&path).map_err(failed())?;
        let good = end_of_last_line(&mut file).map_err(failed())?;
        file.set_len(good).map_err(failed())?;
        Ok(Self { file, path, good })
    }
}

fn end_of_last_line(file: &mut File) -> std::io::Result<u64> {
    let mut end = file.seek(SeekFrom::End(0))?;
    let mut buffer = vec![0; CHUNK];
    while end > 0 {
        let start = end.saturating_sub(CHUNK as u64);
        let part = buffer.get_mut(..(end - start) as usize).unwrap_or_default();
        file.seek(SeekFrom::Start(start))?;
        file.read_exact(part)?;
        if let Some(at) = part.iter().rposition(|byte| *byte == b'\n') {
            return Ok(start.saturating_add(at as u64).saturating_add(1));
        }
        end = start;
    }
    Ok(0)
}

pub(super) fn make_folder(folder: &Path) -> Result<(), SinkError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.map_err(SinkError::io(format!("make `{}`", folder.display())))
}

/// Makes the names in a folder last.
pub(super) fn sync_folder(folder: &Path) -> Result<(), SinkError> {
    let synced = File::open(folder).and_then(|dir| dir.sync_all());
    synced.map_err(SinkError::io(format!("sync `{}`", folder.display())))
}

const EXTENSION: &str = "log";
const CHUNK: usize = 64 << 10;
