//! Writing a run: in one pass, under a temporary name until it is durable.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use super::block::{self, BLOCK, Place, Posting};
use super::filter::SLICE;
use super::layout::{Footer, GROUP, Layout};
use super::manifest::{Listed, run_path};
use super::run::Run;
use crate::StoreError;
use crate::dir::{UNFINISHED, private_file, sync_dir};
use crate::error::Result;

/// A run while it is written. Dropped unfinished, it removes its file.
#[derive(Debug)]
pub(super) struct Writer {
    dir: PathBuf,
    temporary: PathBuf,
    file: File,
    run: u64,
    base: u64,
    postings: u64,
    last: Option<Posting>,
    block: block::Builder,
    blocks: Vec<u8>,
    slices: Vec<u8>,
    first: Vec<u64>,
    slice_crcs: Vec<u32>,
    unsynced: usize,
    finished: bool,
}

impl Writer {
    /// Begins a run whose sequence numbers are mostly from `base` on.
    pub(super) fn create(dir: &Path, run: u64, base: u64) -> Result<Self> {
        let mut temporary = run_path(dir, run).into_os_string();
        temporary.push(UNFINISHED);
        let temporary = PathBuf::from(temporary);
        let file = private_file()
            .create(true)
            .truncate(true)
            .write(true)
            .open(&temporary)
            .map_err(StoreError::io("create", &temporary))?;
        Ok(Self {
            dir: dir.to_owned(),
            temporary,
            file,
            run,
            base,
            postings: 0,
            last: None,
            block: block::Builder::new(),
            blocks: Vec::with_capacity(GROUP as usize * BLOCK),
            slices: Vec::with_capacity(GROUP as usize * SLICE),
            first: Vec::new(),
            slice_crcs: Vec::new(),
            unsynced: 0,
            finished: false,
        })
    }

    /// Appends a posting. They come in order; one that is the same as the last is not written again.
    pub(super) fn push(&mut self, posting: Posting) -> Result<()> {
        if self.last == Some(posting) {
            return Ok(());
        }
        if !self.block.push(posting, self.base) {
            self.finish_block()?;
            self.block.push(posting, self.base);
        }
        self.last = Some(posting);
        self.postings = self.postings.wrapping_add(1);
        Ok(())
    }

    /// Makes the run durable under its name and opens it. One without postings is none.
    pub(super) fn finish(mut self, filter: u64) -> Result<Option<Run>> {
        if self.postings == 0 {
            return Ok(None);
        }
        self.finish_block()?;
        self.write_group()?;
        let listed = self.write_end()?;
        self.file.sync_all().map_err(StoreError::io("sync", &self.temporary))?;
        let path = run_path(&self.dir, self.run);
        std::fs::rename(&self.temporary, &path).map_err(StoreError::io("rename to", &path))?;
        self.finished = true;
        sync_dir(&self.dir)?;
        Run::open(&self.dir, listed, filter).map(Some)
    }

    fn finish_block(&mut self) -> Result<()> {
        if self.block.is_empty() {
            return Ok(());
        }
        let place = Place { run: self.run, block: self.first.len() as u64, base: self.base };
        self.first.push(self.block.first());
        self.block.finish(place, &mut self.blocks, &mut self.slices);
        let slice = self.slices.last_chunk::<SLICE>().map_or(0, |slice| crc32c::crc32c(slice));
        self.slice_crcs.push(slice);
        if self.blocks.len() >= GROUP as usize * BLOCK { self.write_group() } else { Ok(()) }
    }

    fn write_group(&mut self) -> Result<()> {
        self.file.write_all(&self.blocks).map_err(StoreError::io("write", &self.temporary))?;
        self.file.write_all(&self.slices).map_err(StoreError::io("write", &self.temporary))?;
        self.unsynced += self.blocks.len() + self.slices.len();
        self.blocks.clear();
        self.slices.clear();
        // Written back as it grows, a large run does not stall the one that waits for its end.
        if self.unsynced >= SYNC_EVERY {
            self.unsynced = 0;
            self.file.sync_data().map_err(StoreError::io("sync", &self.temporary))?;
        }
        Ok(())
    }

    fn write_end(&mut self) -> Result<Listed> {
        let layout = Layout { blocks: self.first.len() as u64 };
        let mut end: Vec<u8> = self.first.iter().flat_map(|key| key.to_le_bytes()).collect();
        end.extend(self.slice_crcs.iter().flat_map(|crc| crc.to_le_bytes()));
        let index_crc = crc32c::crc32c(&end);
        end.extend(Footer { run: self.run, postings: self.postings, layout, base: self.base, index_crc }.encode());
        self.file.write_all(&end).map_err(StoreError::io("write", &self.temporary))?;
        let crc = end.last_chunk().map_or(0, |crc| u32::from_le_bytes(*crc));
        Ok(Listed { run: self.run, bytes: layout.bytes(), crc })
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if !self.finished {
            // If it stays, the next start discards it.
            let _ = std::fs::remove_file(&self.temporary);
        }
    }
}

const SYNC_EVERY: usize = 64 << 20;
