//! Whole Parquet files in a folder, named by the entries in them: a file appears when all of it is on the disk.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use marque_engine::Batch;

use super::SinkError;
use super::files::{aside, make_folder, sync_folder};

pub(super) struct Folder(Arc<Mutex<PathBuf>>);

impl Folder {
    pub fn new(folder: PathBuf) -> Self {
        Self(Arc::new(Mutex::new(folder)))
    }

    pub async fn write(&self, batch: &Arc<Batch>) -> Result<(), SinkError> {
        let batch = Arc::clone(batch);
        aside(&self.0, move |folder| put(folder, &batch)).await
    }
}

/// The same batch has the same name: one that comes again replaces itself.
fn put(folder: &Path, batch: &Batch) -> Result<(), SinkError> {
    make_folder(folder)?;
    let kind = if batch.pruned { "pruned.json" } else { "parquet" };
    let path = folder.join(format!("{:020}-{:020}.{kind}", batch.first, batch.next.saturating_sub(1)));
    let partial = path.with_extension("partial");
    let failed = |what: &str| SinkError::io(format!("{what} `{}`", partial.display()));
    let mut options = OpenOptions::new();
    options.create(true).truncate(true).write(true).mode(0o600);
    let mut file = options.open(&partial).map_err(failed("create"))?;
    file.write_all(batch.body()).map_err(failed("write to"))?;
    file.sync_all().map_err(failed("sync"))?;
    std::fs::rename(&partial, &path).map_err(failed("rename"))?;
    sync_folder(folder)
}
