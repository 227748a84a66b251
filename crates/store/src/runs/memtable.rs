//! The postings that are not in a run yet: few sorted chunks, each at least twice as long as the next.

use std::sync::Arc;

use super::block::Posting;

/// Sorted postings that a reader may hold on to.
pub(super) type Chunk = Arc<Vec<Posting>>;

/// New postings, sorted a part at a time.
#[derive(Debug, Default)]
pub(super) struct Memtable {
    chunks: Vec<Chunk>,
    tail: Vec<Posting>,
}

impl Memtable {
    pub(super) fn add(&mut self, posting: Posting) {
        self.tail.push(posting);
        if self.tail.len() >= TAIL {
            self.seal();
        }
    }

    pub(super) fn len(&self) -> usize {
        self.tail.len() + self.chunks.iter().map(|chunk| chunk.len()).sum::<usize>()
    }

    /// Sorts what was added, so that [`Memtable::chunks`] has it.
    pub(super) fn seal(&mut self) {
        if self.tail.is_empty() {
            return;
        }
        let mut newest = std::mem::take(&mut self.tail);
        newest.sort_unstable();
        newest.dedup();
        while let Some(before) = self.chunks.pop_if(|before| before.len() < newest.len().saturating_mul(2)) {
            newest = merged(&before, &newest);
        }
        self.chunks.push(Arc::new(newest));
    }

    pub(super) fn chunks(&self) -> &[Chunk] {
        &self.chunks
    }

    /// Everything, in order.
    pub(super) fn all(&mut self) -> Chunk {
        self.seal();
        let mut all = self.chunks.pop().unwrap_or_default();
        while let Some(before) = self.chunks.pop() {
            all = Arc::new(merged(&before, &all));
        }
        if !all.is_empty() {
            self.chunks.push(Arc::clone(&all));
        }
        all
    }

    /// Drops postings by sequence number. Returns how many.
    pub(super) fn remove(&mut self, gone: &dyn Fn(u64) -> bool) -> u64 {
        let before = self.len();
        self.tail.retain(|posting| !gone(posting.seq));
        for chunk in &mut self.chunks {
            if chunk.iter().any(|posting| gone(posting.seq)) {
                *chunk = Arc::new(chunk.iter().filter(|posting| !gone(posting.seq)).copied().collect());
            }
        }
        self.chunks.retain(|chunk| !chunk.is_empty());
        (before - self.len()) as u64
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

/// Appends the newest sequence numbers of a key, up to so many.
pub(super) fn newest(chunk: &[Posting], key: u64, most: usize, into: &mut Vec<u64>) {
    let end = chunk.partition_point(|posting| posting.key <= key);
    let up_to = chunk.get(..end).unwrap_or_default().iter().rev();
    into.extend(up_to.take_while(|posting| posting.key == key).take(most).map(|posting| posting.seq));
}

fn merged(a: &[Posting], b: &[Posting]) -> Vec<Posting> {
    // The standard sort finds the two ordered halves and merges them.
    let mut all = [a, b].concat();
    all.sort();
    all.dedup();
    all
}

/// How many postings are sorted at once.
const TAIL: usize = 1 << 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_are_few_and_have_everything_once() {
        let mut memtable = Memtable::default();
        for n in 0..1_000_u64 {
            memtable.add(Posting { key: n.wrapping_mul(0x9e37_79b9_7f4a_7c15), seq: n });
            memtable.add(Posting { key: 5, seq: n / 2 });
            memtable.seal();
            assert!(memtable.chunks().windows(2).all(|pair| pair[0].len() >= 2 * pair[1].len()));
            assert!(memtable.chunks().len() <= 11);
        }
        let mut seqs = Vec::new();
        memtable.chunks().iter().for_each(|chunk| newest(chunk, 5, 3, &mut seqs));
        assert_eq!(seqs.iter().max(), Some(&499));
        let all = memtable.all();
        assert!(all.is_sorted() && all.len() == 1_500, "a posting added twice is there once");
        assert_eq!(memtable.remove(&|seq| seq < 10), 20);
        assert_eq!((memtable.len(), all.len()), (1_480, 1_500), "who holds the old chunk still has it");
    }
}
