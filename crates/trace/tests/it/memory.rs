//! An index in memory, and texts to put into it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::convert::Infallible;

use marque_trace::{Attribution, Index, Limits, Posting, Winnower, attribute, variants};

/// Every document under each of its digests and prints.
#[derive(Default)]
pub struct Memory {
    exact: HashMap<[u8; 32], Vec<u64>>,
    normalised: HashMap<[u8; 32], Vec<u64>>,
    prints: BTreeMap<u64, BTreeSet<u64>>,
}

impl Memory {
    pub fn of(texts: &[&str]) -> Self {
        let mut memory = Self::default();
        for (document, text) in (1..).zip(texts) {
            memory.add(document, text);
        }
        memory
    }

    pub fn add(&mut self, document: u64, text: &str) {
        let mut winnower = Winnower::new(512);
        winnower.push(text);
        let taken = winnower.finish();
        let exact = variants(text.as_bytes(), &Limits::default()).variants[0].digest();
        self.exact.entry(exact).or_default().push(document);
        self.normalised.entry(taken.normalised).or_default().push(document);
        for print in taken.prints {
            self.prints.entry(print.hash).or_default().insert(document);
        }
    }

    pub fn attribute(&mut self, bytes: &[u8]) -> Attribution {
        let decoded = variants(bytes, &Limits::default());
        attribute(&decoded.variants, 16_384, self).unwrap()
    }
}

impl Index for Memory {
    type Error = Infallible;

    fn exact(&mut self, digest: &[u8; 32]) -> Result<Vec<u64>, Infallible> {
        Ok(self.exact.get(digest).cloned().unwrap_or_default())
    }

    fn normalised(&mut self, digest: &[u8; 32]) -> Result<Vec<u64>, Infallible> {
        Ok(self.normalised.get(digest).cloned().unwrap_or_default())
    }

    fn prints(&mut self, hashes: &[u64]) -> Result<Vec<Posting>, Infallible> {
        assert!(hashes.is_sorted_by(|a, b| a < b), "sorted, and each once");
        let known = hashes.iter().filter_map(|hash| Some((*hash, self.prints.get(hash)?)));
        let posting = |(hash, documents): (u64, &BTreeSet<u64>)| Posting {
            hash,
            documents: documents.iter().copied().collect(),
            spread: documents.len() as u64,
        };
        Ok(known.map(posting).collect())
    }
}

/// Lines of words that no other seed makes.
pub fn prose(seed: u64, lines: usize) -> String {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as usize % below
    };
    let mut out = String::new();
    for _ in 0..lines {
        for word in 0..8 {
            out.push_str(if word == 0 { "" } else { " " });
            for _ in 0..2 + next(3) {
                out.push_str(SYLLABLES[next(SYLLABLES.len())]);
            }
        }
        out.push_str(".\n");
    }
    out
}

const SYLLABLES: [&str; 24] = [
    "ka", "lo", "mi", "ten", "ra", "sol", "vé", "du", "ba", "shi", "or", "el", "qua", "nim", "pu", "zer", "ing", "tre", "fa",
    "wo", "gly", "her", "ost", "ü",
];
