//! Text that was made from another, and which place in it each of its bytes came from.

use std::ops::Range;

/// From places in a text to places in the one it was made of. Never descends.
#[derive(Clone, Debug)]
pub(super) struct Map {
    /// Where pieces start here and there. From there on, both advance together.
    pieces: Vec<(usize, usize)>,
}

impl Map {
    /// Every place stays.
    pub(super) fn identity() -> Self {
        Self { pieces: vec![(0, 0)] }
    }

    /// The place there of a place here.
    pub(super) fn there(&self, here: usize) -> usize {
        let next = self.pieces.partition_point(|(start, _)| *start <= here);
        let Some((start, there)) = next.checked_sub(1).and_then(|n| self.pieces.get(n)) else { return here };
        let place = there.saturating_add(here - start);
        match self.pieces.get(next) {
            // Where a long piece was replaced by a short one, or the other way round, the next piece bounds this one.
            Some((_, bound)) => place.min(bound.saturating_sub(1)).max(*there),
            None => place,
        }
    }

    /// First this, then `outer`.
    pub(super) fn after(&self, outer: &Self) -> Self {
        let mut pieces: Vec<(usize, usize)> = Vec::with_capacity(self.pieces.len());
        for (n, (start, middle)) in self.pieces.iter().enumerate() {
            let end = self.pieces.get(n + 1).map_or(usize::MAX, |(next, _)| *next);
            add(&mut pieces, *start, outer.there(*middle));
            let first = outer.pieces.partition_point(|(begin, _)| begin <= middle);
            for (begin, there) in outer.pieces.iter().skip(first) {
                let here = start.saturating_add(begin - middle);
                if here >= end {
                    break;
                }
                add(&mut pieces, here, *there);
            }
        }
        Self { pieces }
    }
}

/// Adds a piece, unless it goes on where the last one is going.
fn add(pieces: &mut Vec<(usize, usize)>, here: usize, there: usize) {
    let goes_on = pieces.last().is_some_and(|(h, t)| here >= *h && there == t.saturating_add(here - h));
    if !goes_on {
        pieces.push((here, there));
    }
}

/// A text in the making.
#[derive(Debug, Default)]
pub(super) struct Mapped {
    bytes: Vec<u8>,
    pieces: Vec<(usize, usize)>,
}

impl Mapped {
    /// Takes over a range of the source as it is.
    pub(super) fn copy(&mut self, source: &[u8], range: Range<usize>) {
        let start = range.start;
        let piece = source.get(range).unwrap_or_default();
        if !piece.is_empty() {
            add(&mut self.pieces, self.bytes.len(), start);
            self.bytes.extend_from_slice(piece);
        }
    }

    /// Puts what stands for the source at `from`.
    pub(super) fn put(&mut self, piece: &[u8], from: usize) {
        if !piece.is_empty() {
            // Whatever follows starts a piece of its own, for it need not go on from here.
            self.pieces.push((self.bytes.len(), from));
            self.bytes.extend_from_slice(piece);
        }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Takes off a last byte.
    pub(super) fn pop(&mut self, byte: u8) {
        if self.bytes.last() == Some(&byte) {
            self.bytes.pop();
        }
    }

    pub(super) fn into_parts(self) -> (Vec<u8>, Map) {
        (self.bytes, Map { pieces: self.pieces })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_lead_to_their_sources() {
        let source = b"abc&amp;def";
        let mut text = Mapped::default();
        text.copy(source, 1..3);
        text.put(b"&", 3);
        text.copy(source, 8..11);
        let (bytes, map) = text.into_parts();
        assert_eq!(bytes, b"bc&def");
        assert_eq!([0, 1, 2, 3, 5].map(|at| map.there(at)), [1, 2, 3, 8, 10]);
    }

    #[test]
    fn maps_follow_one_another() {
        // The source is `..ab..cd..`: first the dots go, then the middle two letters are taken.
        let outer = Map { pieces: vec![(0, 2), (2, 6)] };
        let inner = Map { pieces: vec![(0, 1)] };
        let both = inner.after(&outer);
        assert_eq!([0, 1].map(|at| both.there(at)), [3, 6]);
        let same = Map::identity().after(&outer);
        assert_eq!([0, 1, 2, 3].map(|at| same.there(at)), [2, 3, 6, 7]);
    }
}
