//! An index in memory.

use std::collections::HashMap;
use std::convert::Infallible;

use marque_trace::{COMMON, Fingerprint, Index, Limits, Posting, Winnower, fingerprints, variants};

/// What is registered. A document's number is its place.
#[derive(Default)]
pub struct Memory {
    exact: HashMap<[u8; 32], Vec<u64>>,
    normalised: HashMap<[u8; 32], Vec<u64>>,
    prints: HashMap<u64, Vec<u64>>,
}

impl Memory {
    /// Registers a text.
    pub fn add(&mut self, document: u64, text: &str, taken: &Fingerprint) {
        if let Some(found) = variants(text.as_bytes(), &Limits { variants: 1, ..Limits::default() }).variants.first() {
            self.exact.entry(found.digest()).or_default().push(document);
        }
        self.normalised.entry(taken.normalised).or_default().push(document);
        for print in &taken.prints {
            let documents = self.prints.entry(print.hash).or_default();
            if documents.last() != Some(&document) {
                documents.push(document);
            }
        }
    }
}

impl Memory {
    /// The document with the most in common, however little that is; none where two have the same.
    pub fn best(&self, text: &str) -> Option<u64> {
        let mut scores: HashMap<u64, f64> = HashMap::new();
        for print in fingerprints(text, usize::MAX) {
            let documents = self.prints.get(&print.hash).map(Vec::as_slice).unwrap_or_default();
            if documents.len() <= usize::try_from(COMMON).unwrap_or(usize::MAX) {
                documents.iter().for_each(|d| *scores.entry(*d).or_default() += 1.0 / documents.len() as f64);
            }
        }
        let best = scores.values().copied().fold(0.0, f64::max);
        let mut first = scores.into_iter().filter(|(_, score)| *score == best).map(|(document, _)| document);
        first.next().filter(|_| first.next().is_none())
    }
}

/// The fingerprint of an output, as a gateway takes it.
pub fn fingerprint(text: &str) -> Fingerprint {
    let mut winnower = Winnower::new(MOST_OF_AN_OUTPUT);
    winnower.push(text);
    winnower.finish()
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
        let known = hashes.iter().filter_map(|hash| Some((*hash, self.prints.get(hash)?)));
        let posting = |(hash, documents): (u64, &Vec<u64>)| Posting {
            hash,
            spread: u64::try_from(documents.len()).unwrap_or(u64::MAX),
            documents: documents.clone(),
        };
        Ok(known.map(posting).collect())
    }
}

const MOST_OF_AN_OUTPUT: usize = 512;
