//! The least hash of every window: robust winnowing (Schleimer, Wilkerson, Aiken 2003, section 4).

use std::collections::VecDeque;

/// A hash that may be chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Candidate {
    pub(crate) hash: u64,
    /// Its place among the hashes, counted from 0.
    pub(crate) place: usize,
    pub(crate) start: usize,
    pub(crate) end: usize,
}

/// Chooses the least hash of each window of `W` hashes that follow one another, as [`Window`] does, but from every hash
/// and at one width: most of the time is spent here.
#[derive(Clone, Debug)]
pub(crate) struct Dense<const W: usize> {
    hashes: [u64; RING],
    ranges: [(usize, usize); RING],
    seen: usize,
    /// The place and the hash that were chosen last.
    chosen: Option<(usize, u64)>,
}

impl<const W: usize> Dense<W> {
    const FITS: () = assert!(0 < W && W <= RING);

    pub(crate) fn new() -> Self {
        let () = Self::FITS;
        Self { hashes: [0; RING], ranges: [(0, 0); RING], seen: 0, chosen: None }
    }

    /// How many hashes there were.
    pub(crate) fn seen(&self) -> usize {
        self.seen
    }

    /// Takes the next hash, and gives the one that is newly chosen.
    pub(crate) fn push(&mut self, hash: u64, start: usize, end: usize) -> Option<Candidate> {
        let place = self.seen;
        if let (Some(slot), Some(range)) = (self.hashes.get_mut(place % RING), self.ranges.get_mut(place % RING)) {
            (*slot, *range) = (hash, (start, end));
        }
        self.seen += 1;
        if self.seen < W {
            return None;
        }
        match self.chosen {
            Some((last, least)) if last + W > place => {
                if least <= hash {
                    return None;
                }
                self.chosen = Some((place, hash));
                Some(Candidate { hash, place, start, end })
            }
            _ => {
                let least = self.least()?;
                self.chosen = Some((least.place, least.hash));
                Some(least)
            }
        }
    }

    /// The rightmost least of the last window, full or not.
    pub(crate) fn least(&self) -> Option<Candidate> {
        let mut least = (usize::MAX, u64::MAX);
        for place in self.seen.saturating_sub(W)..self.seen {
            let hash = self.hashes.get(place % RING).copied().unwrap_or(u64::MAX);
            least = if hash <= least.1 { (place, hash) } else { least };
        }
        let (place, hash) = least;
        let (start, end) = self.ranges.get(place % RING).copied().filter(|_| self.seen > 0)?;
        Some(Candidate { hash, place, start, end })
    }
}

/// Chooses the least hash of each window of `width` hashes that follow one another: of equal ones the one already chosen,
/// else the rightmost.
///
/// A hash chosen at a width is the least of every narrower window around it, so what a wider window chooses, a narrower
/// one has chosen too. That is why prints taken at different widths still meet.
#[derive(Clone, Debug)]
pub(crate) struct Window {
    width: usize,
    /// What may still be the least of a later window: ascending in hash and place.
    queue: VecDeque<Candidate>,
    chosen: Option<usize>,
}

impl Window {
    pub(crate) fn new(width: usize) -> Self {
        Self { width: width.max(1), queue: VecDeque::new(), chosen: None }
    }

    pub(crate) fn width(&self) -> usize {
        self.width
    }

    /// Takes the next hash, and puts what is newly chosen into `out`. Those that no narrower window chose may be left out.
    pub(crate) fn push(&mut self, next: Candidate, out: &mut Vec<Candidate>) {
        self.advance(next.place, out);
        self.insert(next);
        self.advance(next.place.saturating_add(1), out);
    }

    /// The least hash so far where no window was ever full.
    pub(crate) fn least(&self) -> Option<Candidate> {
        self.queue.front().copied()
    }

    /// Doubles the width, as though it had been so from the start. `seen` is the count of hashes so far.
    pub(crate) fn widen(&mut self, kept: &mut Vec<Candidate>, seen: usize) {
        let last = kept.last().map(|c| c.place);
        let waiting = self.queue.iter().filter(|c| last.is_none_or(|place| c.place > place));
        let past: Vec<Candidate> = kept.iter().chain(waiting).copied().collect();
        kept.clear();
        *self = Self::new(self.width.saturating_mul(2));
        for candidate in past {
            self.push(candidate, kept);
        }
        self.advance(seen, kept);
    }

    fn insert(&mut self, next: Candidate) {
        while self.queue.back().is_some_and(|back| back.hash > next.hash) {
            self.queue.pop_back();
        }
        if self.queue.back().is_some_and(|back| back.hash == next.hash && self.chosen != Some(back.place)) {
            self.queue.pop_back();
        }
        self.queue.push_back(next);
    }

    /// Closes every window that ends before the place `end`.
    pub(crate) fn advance(&mut self, end: usize, out: &mut Vec<Candidate>) {
        while let Some(front) = self.queue.front().copied() {
            if end >= self.width && self.chosen != Some(front.place) {
                self.chosen = Some(front.place);
                out.push(front);
            }
            if front.place.saturating_add(self.width) >= end {
                break;
            }
            self.queue.pop_front();
        }
    }
}

/// A power of two, so that places in it are cheap.
const RING: usize = 64;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn candidates(hashes: &[u64]) -> Vec<Candidate> {
        hashes.iter().enumerate().map(|(place, hash)| Candidate { hash: *hash, place, start: place, end: place + 1 }).collect()
    }

    fn winnow(hashes: &[u64], width: usize) -> Vec<Candidate> {
        let (mut window, mut out) = (Window::new(width), Vec::new());
        candidates(hashes).into_iter().for_each(|c| window.push(c, &mut out));
        out
    }

    fn dense<const W: usize>(hashes: &[u64]) -> (Dense<W>, Vec<Candidate>) {
        let mut dense = Dense::new();
        let chosen = hashes.iter().enumerate().filter_map(|(place, hash)| dense.push(*hash, place, place + 1)).collect();
        (dense, chosen)
    }

    /// The paper's definition, window by window.
    fn plain(hashes: &[u64], width: usize) -> Vec<usize> {
        let mut chosen: Vec<usize> = Vec::new();
        for (start, window) in hashes.windows(width).enumerate() {
            let least = *window.iter().min().unwrap();
            if let Some(last) = chosen.last().filter(|last| **last >= start)
                && hashes[*last] == least
            {
                continue;
            }
            chosen.push(start + window.iter().rposition(|h| *h == least).unwrap());
        }
        chosen
    }

    #[test]
    fn the_example_of_the_paper() {
        let hashes = [77, 74, 42, 17, 98, 50, 17, 98, 8, 88, 67, 39, 77, 74, 42, 17, 98];
        let chosen: Vec<u64> = winnow(&hashes, 4).iter().map(|c| c.hash).collect();
        assert_eq!(chosen, [17, 17, 8, 39, 17]);
    }

    #[test]
    fn a_run_of_equal_hashes_is_chosen_once_a_window() {
        assert_eq!(winnow(&[5; 1000], 10).len(), 100);
    }

    proptest! {
        #[test]
        fn as_the_paper_defines_it(hashes in prop::collection::vec(0..20u64, 0..200), width in 1..20usize) {
            let places: Vec<usize> = winnow(&hashes, width).iter().map(|c| c.place).collect();
            prop_assert_eq!(places, plain(&hashes, width));
        }

        #[test]
        fn dense_is_the_same(hashes in prop::collection::vec(0..20u64, 0..300)) {
            let (seven, chosen) = dense::<7>(&hashes);
            prop_assert_eq!(&chosen, &winnow(&hashes, 7));
            prop_assert_eq!(dense::<64>(&hashes).1, winnow(&hashes, 64));
            // From what was chosen, a wider window chooses as from all.
            let (mut window, mut out) = (Window::new(7), chosen);
            window.widen(&mut out, seven.seen());
            let values = |chosen: Vec<Candidate>| chosen.into_iter().map(|c| c.hash).collect::<BTreeSet<_>>();
            prop_assert_eq!(values(out), values(winnow(&hashes, 14)));
        }

        #[test]
        fn widening_late_is_widening_from_the_start(
            hashes in prop::collection::vec(any::<u64>(), 0..300), width in 1..10usize, at in 0..300usize,
        ) {
            let (mut window, mut out) = (Window::new(width), Vec::new());
            for (n, candidate) in candidates(&hashes).into_iter().enumerate() {
                if n == at {
                    window.widen(&mut out, n);
                }
                window.push(candidate, &mut out);
            }
            if at >= hashes.len() {
                window.widen(&mut out, hashes.len());
            }
            prop_assert_eq!(out, winnow(&hashes, width * 2));
        }

        #[test]
        fn a_wider_window_chooses_from_a_narrower(hashes in prop::collection::vec(any::<u64>(), 0..300), width in 1..10usize) {
            let narrow = winnow(&hashes, width);
            prop_assert!(winnow(&hashes, width * 4).iter().all(|c| narrow.contains(c)));
        }
    }
}
