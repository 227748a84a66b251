//! Reading whole runs in order, and merging several into one, a bounded step at a time.

use std::path::Path;
use std::sync::Arc;

use super::block::{BLOCK, Posting};
use super::layout::GROUP;
use super::run::Run;
use super::writer::Writer;
use crate::error::Result;

/// Reads a run from its first posting to its last.
#[derive(Debug)]
pub(super) struct Cursor {
    run: Arc<Run>,
    next: u64,
    group: Vec<u8>,
    postings: Vec<Posting>,
    at: usize,
}

impl Cursor {
    pub(super) fn new(run: Arc<Run>) -> Result<Self> {
        let mut cursor = Self { run, next: 0, group: Vec::new(), postings: Vec::new(), at: 0 };
        cursor.read_block()?;
        Ok(cursor)
    }

    /// The posting it stands at; none behind the last.
    pub(super) fn head(&self) -> Option<Posting> {
        self.postings.get(self.at).copied()
    }

    /// Goes on to the next posting.
    pub(super) fn advance(&mut self) -> Result<()> {
        self.at += 1;
        if self.at < self.postings.len() { Ok(()) } else { self.read_block() }
    }

    fn read_block(&mut self) -> Result<()> {
        self.postings.clear();
        self.at = 0;
        if self.next >= self.run.layout().blocks {
            return Ok(());
        }
        if self.next.is_multiple_of(GROUP) {
            self.run.read_group(self.next / GROUP, &mut self.group)?;
        }
        let start = (self.next % GROUP) as usize * BLOCK;
        let bytes = self.group.get(start..start + BLOCK).unwrap_or_default();
        self.run.decode(bytes, self.next, &mut self.postings)?;
        self.next += 1;
        Ok(())
    }
}

/// A merge under way. Dropped, it leaves everything as it was.
#[derive(Debug)]
pub(super) struct Merge {
    inputs: Vec<u64>,
    cursors: Vec<Cursor>,
    writer: Writer,
}

impl Merge {
    pub(super) fn start(dir: &Path, run: u64, inputs: &[Arc<Run>]) -> Result<Self> {
        let base = inputs.iter().map(|input| input.base()).min().unwrap_or_default();
        Ok(Self {
            inputs: inputs.iter().map(|input| input.listed().run).collect(),
            cursors: inputs.iter().map(|input| Cursor::new(Arc::clone(input))).collect::<Result<_>>()?,
            writer: Writer::create(dir, run, base)?,
        })
    }

    /// Merges up to so many postings; true when all are.
    pub(super) fn step(&mut self, postings: usize) -> Result<bool> {
        for _ in 0..postings {
            let heads = self.cursors.iter().enumerate().filter_map(|(n, cursor)| Some((cursor.head()?, n)));
            let Some((least, n)) = heads.min() else { return Ok(true) };
            self.writer.push(least)?;
            if let Some(cursor) = self.cursors.get_mut(n) {
                cursor.advance()?;
            }
        }
        Ok(false)
    }

    /// The merged run, durable, and the identifiers of those that it replaces.
    pub(super) fn finish(self, filter: u64) -> Result<(Option<Run>, Vec<u64>)> {
        Ok((self.writer.finish(filter)?, self.inputs))
    }
}
