//! Which of a record's texts it is that a found text agrees with.

use std::collections::{HashMap, HashSet};

use marque_core::Digest;
use marque_core::record::Content;
use marque_trace::{Class, Fingerprint, Match, Variant, Winnower};

use super::Chain;

/// The found text in all its variants, fingerprinted where that is asked for.
pub(super) struct Parts<'a> {
    variants: &'a [Variant<'a>],
    most: usize,
    taken: HashMap<usize, Fingerprint>,
}

impl<'a> Parts<'a> {
    pub(super) fn of(variants: &'a [Variant<'a>], most: usize) -> Self {
        Self { variants, most, taken: HashMap::new() }
    }

    /// By which steps the matching variant was decoded.
    pub(super) fn steps(&self, one: &Match) -> Vec<String> {
        let variant = self.variants.get(one.variant);
        variant.into_iter().flat_map(|v| v.steps()).map(|step| step.name().to_owned()).collect()
    }

    /// The text of the record that the matching variant agrees with best, as a JSON pointer.
    pub(super) fn at(&mut self, one: &Match, chain: &Chain, side: &str) -> Option<String> {
        let contents = contents(chain, side);
        let variant = self.variants.get(one.variant)?;
        let found = match one.class {
            Class::Exact => return with_digest(chain, side, &Digest::from_bytes(variant.digest())),
            Class::Normalised => {
                let digest = Digest::from_bytes(self.taken(one.variant)?.normalised);
                contents.iter().find(|content| content.normalised.digest() == Some(digest))
            }
            _ => {
                let here: HashSet<u64> = self.taken(one.variant)?.prints.iter().map(|print| print.hash).collect();
                let shared = |content: &&Content| content.prints.as_slice().iter().filter(|p| here.contains(p)).count();
                contents.iter().filter(|content| shared(content) > 0).max_by_key(shared)
            }
        };
        found.map(|content| content.at.clone())
    }

    fn taken(&mut self, index: usize) -> Option<&Fingerprint> {
        let variant = self.variants.get(index)?;
        let most = self.most;
        Some(self.taken.entry(index).or_insert_with(|| {
            let mut winnower = Winnower::new(most);
            winnower.push_bytes(variant.bytes());
            winnower.finish()
        }))
    }
}

/// The text of the record with exactly these bytes, as a JSON pointer.
pub(super) fn with_digest(chain: &Chain, side: &str, digest: &Digest) -> Option<String> {
    contents(chain, side).iter().find(|content| content.exact == *digest).map(|content| content.at.clone())
}

fn contents<'a>(chain: &'a Chain, side: &str) -> &'a [Content] {
    match side {
        "request" => chain.decided.as_ref().map_or(&[][..], |decided| decided.contents.as_slice()),
        "response" => chain.outcome.as_ref().map_or(&[][..], |outcome| outcome.contents.as_slice()),
        _ => &[],
    }
}
