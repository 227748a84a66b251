//! Chance and time, all from one seed.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Mutex, PoisonError};

use marque_core::time::Timestamp;
use marque_engine::{Clock, Entropy};

/// SplitMix64: small, and the same on every machine.
#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    /// The generator of a seed; each `stream` of one seed is another.
    pub fn new(seed: u64, stream: u64) -> Self {
        let mut rng = Self(seed ^ stream.rotate_left(32));
        rng.draw();
        rng
    }

    /// 64 bits.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`; 0 when that is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        let drawn = self.draw();
        if bound == 0 { 0 } else { drawn % bound }
    }

    /// Yes, so many times in a hundred.
    pub fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// One of these, if there are any.
    pub fn pick<T: Clone>(&mut self, of: &[T]) -> Option<T> {
        of.get(self.below(of.len() as u64) as usize).cloned()
    }

    /// One of the last few of these: what is old has mostly ended.
    pub fn recent<T: Clone>(&mut self, of: &[T]) -> Option<T> {
        let few = of.len().saturating_sub(6);
        self.pick(of.get(few..).unwrap_or_default())
    }

    /// One of these.
    #[expect(clippy::indexing_slicing, reason = "the place is below the length")]
    pub fn one<T: Copy, const N: usize>(&mut self, of: [T; N]) -> T {
        of[self.below(N as u64) as usize]
    }

    /// So many bytes.
    pub fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.draw() as u8).collect()
    }
}

/// The clock that the engine is given: it stands still until it is moved, and may be moved back.
#[derive(Debug)]
pub struct SimClock(AtomicI64);

impl SimClock {
    /// A clock that shows `start`.
    pub fn new(start: Timestamp) -> Self {
        Self(AtomicI64::new(start.micros()))
    }

    /// Moves it by so many microseconds, back when they are negative.
    pub fn shift(&self, micros: i64) {
        self.0.fetch_add(micros, Ordering::Relaxed);
    }
}

impl Clock for SimClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.0.load(Ordering::Relaxed))
    }
}

/// The randomness that the engine is given.
#[derive(Debug)]
pub struct SimEntropy(Mutex<Rng>);

impl SimEntropy {
    /// The randomness of a generator.
    pub fn new(rng: Rng) -> Self {
        Self(Mutex::new(rng))
    }
}

impl Entropy for SimEntropy {
    fn fill(&self, bytes: &mut [u8]) {
        let mut rng = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        bytes.fill_with(|| rng.draw() as u8);
    }
}
