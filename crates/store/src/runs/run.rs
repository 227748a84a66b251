//! A run: an immutable file of sorted postings. Its first keys are in memory, and its filter unless it is large.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use super::block::{BLOCK, Place, Posting, Postings};
use super::filter::{self, SLICE};
use super::layout::{FOOTER, Footer, Layout};
use super::manifest::{Listed, damaged, run_path};
use crate::StoreError;
use crate::error::Result;

/// A run that can be read.
#[derive(Debug)]
pub(super) struct Run {
    path: PathBuf,
    file: File,
    listed: Listed,
    footer: Footer,
    /// The first key of each block.
    first: Vec<u64>,
    filter: Filter,
}

/// The slices of the filter, one a block.
#[derive(Debug)]
enum Filter {
    Kept(Vec<u8>),
    /// In the file, with these checksums.
    Left(Vec<u32>),
}

/// What was read last, for the next key that wants the same.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    block: Option<u64>,
    bytes: Vec<u8>,
    slice: Vec<u8>,
}

impl Run {
    /// Opens a run of which the manifest says these things, and keeps its filter in memory up to this size. Blocks are
    /// checked when they are read.
    pub(super) fn open(dir: &Path, listed: Listed, filter: u64) -> Result<Self> {
        let path = run_path(dir, listed.run);
        let file = match File::open(&path) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Err(damaged(&path, "it is missing")),
            opened => opened.map_err(StoreError::io("open", &path))?,
        };
        let bytes = file.metadata().map_err(StoreError::io("read", &path))?.len();
        if bytes != listed.bytes {
            return Err(damaged(&path, &format!("it has {bytes} bytes instead of {}", listed.bytes)));
        }
        let footer = read_footer(&file, &path, listed)?;
        let (first, slice_crcs) = read_index(&file, &path, &footer)?;
        let mut run = Self { path, file, listed, footer, first, filter: Filter::Left(slice_crcs) };
        if footer.layout.blocks * SLICE as u64 <= filter {
            run.keep_filter()?;
        }
        Ok(run)
    }

    pub(super) fn listed(&self) -> Listed {
        self.listed
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn postings(&self) -> u64 {
        self.footer.postings
    }

    /// The sequence number from which its numbers count.
    pub(super) fn base(&self) -> u64 {
        self.footer.base
    }

    pub(super) fn layout(&self) -> Layout {
        self.footer.layout
    }

    /// Appends the newest sequence numbers of a key, up to so many.
    pub(super) fn newest(&self, key: u64, most: usize, scratch: &mut Scratch, into: &mut Vec<u64>) -> Result<()> {
        // The last block whose first key is not above `key`; a key with many postings began in blocks before it.
        let Some(mut block) = self.first.partition_point(|first| *first <= key).checked_sub(1) else { return Ok(()) };
        if !self.may_have(block, key, scratch)? {
            return Ok(());
        }
        let mut left = most;
        loop {
            self.load(block as u64, scratch)?;
            let mut postings = self.parse(&scratch.bytes, block as u64)?;
            let seqs: Vec<u64> = postings
                .by_ref()
                .skip_while(|posting| posting.key < key)
                .take_while(|posting| posting.key == key)
                .map(|posting| posting.seq)
                .collect();
            into.extend(seqs.iter().rev().take(left));
            left = left.saturating_sub(seqs.len());
            let begins_before = self.first.get(block) == Some(&key);
            match block.checked_sub(1) {
                Some(before) if begins_before && left > 0 => block = before,
                _ => return Ok(()),
            }
        }
    }

    /// Reads the blocks of a group, one after the other.
    pub(super) fn read_group(&self, group: u64, into: &mut Vec<u8>) -> Result<()> {
        let layout = self.layout();
        into.resize(layout.blocks_in(group) as usize * BLOCK, 0);
        self.read(layout.block(group * super::layout::GROUP), into)
    }

    /// Appends all postings of a block.
    pub(super) fn decode(&self, bytes: &[u8], block: u64, into: &mut Vec<Posting>) -> Result<()> {
        let mut postings = self.parse(bytes, block)?;
        into.extend(postings.by_ref());
        if postings.left() > 0 { Err(self.bad_block(block)) } else { Ok(()) }
    }

    fn parse<'a>(&self, bytes: &'a [u8], block: u64) -> Result<Postings<'a>> {
        let place = Place { run: self.listed.run, block, base: self.footer.base };
        Postings::of(bytes, place).ok_or_else(|| self.bad_block(block))
    }

    fn may_have(&self, block: usize, key: u64, scratch: &mut Scratch) -> Result<bool> {
        match &self.filter {
            Filter::Kept(slices) => {
                let at = block * SLICE;
                Ok(slices.get(at..at + SLICE).is_some_and(|slice| filter::may_have(slice, key)))
            }
            Filter::Left(crcs) => {
                scratch.slice.resize(SLICE, 0);
                self.read(self.layout().slice(block as u64), &mut scratch.slice)?;
                self.check_slice(&scratch.slice, block, crcs)?;
                Ok(filter::may_have(&scratch.slice, key))
            }
        }
    }

    fn load(&self, block: u64, scratch: &mut Scratch) -> Result<()> {
        if scratch.block != Some(block) {
            scratch.block = None;
            scratch.bytes.resize(BLOCK, 0);
            self.read(self.layout().block(block), &mut scratch.bytes)?;
            scratch.block = Some(block);
        }
        Ok(())
    }

    fn keep_filter(&mut self) -> Result<()> {
        let Filter::Left(crcs) = &self.filter else { return Ok(()) };
        let layout = self.layout();
        let mut slices = vec![0; layout.blocks as usize * SLICE];
        for (group, part) in (0..layout.groups()).zip(slices.chunks_mut(super::layout::GROUP as usize * SLICE)) {
            self.read(layout.slice(group * super::layout::GROUP), part)?;
        }
        for (block, slice) in slices.chunks(SLICE).enumerate() {
            self.check_slice(slice, block, crcs)?;
        }
        self.filter = Filter::Kept(slices);
        Ok(())
    }

    fn check_slice(&self, slice: &[u8], block: usize, crcs: &[u32]) -> Result<()> {
        if crcs.get(block) == Some(&crc32c::crc32c(slice)) {
            Ok(())
        } else {
            Err(damaged(&self.path, &format!("the filter of block {block} does not match its checksum")))
        }
    }

    fn read(&self, at: u64, into: &mut [u8]) -> Result<()> {
        self.file.read_exact_at(into, at).map_err(StoreError::io("read", &self.path))
    }

    fn bad_block(&self, block: u64) -> StoreError {
        damaged(&self.path, &format!("block {block} does not match its checksum"))
    }
}

fn read_footer(file: &File, path: &Path, listed: Listed) -> Result<Footer> {
    let mut bytes = [0; FOOTER];
    let at = listed.bytes.checked_sub(FOOTER as u64).ok_or_else(|| damaged(path, "it has no footer"))?;
    file.read_exact_at(&mut bytes, at).map_err(StoreError::io("read", path))?;
    let footer = Footer::decode(&bytes).ok_or_else(|| damaged(path, "its footer does not match its checksum"))?;
    let is_listed = bytes.last_chunk().map(|crc| u32::from_le_bytes(*crc)) == Some(listed.crc);
    // Counts are added up, and a posting takes a byte at least.
    let has_room = footer.postings <= footer.layout.blocks.saturating_mul(BLOCK as u64);
    if is_listed && has_room && footer.run == listed.run && footer.layout.bytes() == listed.bytes {
        Ok(footer)
    } else {
        Err(damaged(path, "it is not the run that the manifest lists"))
    }
}

/// The first key and the checksum of the filter of each block.
fn read_index(file: &File, path: &Path, footer: &Footer) -> Result<(Vec<u64>, Vec<u32>)> {
    let layout = footer.layout;
    let mut bytes = vec![0; layout.index_bytes() as usize];
    file.read_exact_at(&mut bytes, layout.index()).map_err(StoreError::io("read", path))?;
    if crc32c::crc32c(&bytes) != footer.index_crc {
        return Err(damaged(path, "its index does not match its checksum"));
    }
    let (keys, crcs) = bytes.split_at_checked(layout.blocks as usize * 8).unwrap_or_default();
    let keys = keys.as_chunks().0.iter().map(|key| u64::from_le_bytes(*key)).collect();
    Ok((keys, crcs.as_chunks().0.iter().map(|crc| u32::from_le_bytes(*crc)).collect()))
}
