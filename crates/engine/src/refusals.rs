//! Refusals that come again and again.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Mutex, PoisonError};

use marque_core::time::{Timestamp, Ttl};

/// Remembers what was refused lately, so that a caller who does not stop cannot fill the log.
#[derive(Debug, Default)]
pub(crate) struct Refusals(Mutex<HashMap<u64, Timestamp>>);

impl Refusals {
    /// Whether this has not been said within the last minute; then it counts as said now.
    pub(crate) fn is_new(&self, why: &str, now: Timestamp) -> bool {
        let mut hasher = DefaultHasher::new();
        why.hash(&mut hasher);
        let mut said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if said.len() >= MOST {
            said.retain(|_, until| now < *until);
        }
        // With very many different refusals at once none is remembered, and each is recorded.
        if said.len() >= MOST {
            return true;
        }
        let until = said.entry(hasher.finish()).or_default();
        let is_new = now >= *until;
        if is_new {
            *until = now.plus(QUIET);
        }
        is_new
    }
}

const MOST: usize = 4096;
const QUIET: Ttl = Ttl::from_minutes(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_refusal_is_new_once_a_minute() {
        let refusals = Refusals::default();
        let at = |seconds: i64| Timestamp::from_seconds(1_000_000 + seconds);
        assert!(refusals.is_new("a", at(0)));
        assert!(!refusals.is_new("a", at(59)));
        assert!(refusals.is_new("b", at(59)));
        assert!(refusals.is_new("a", at(60)));
    }
}
