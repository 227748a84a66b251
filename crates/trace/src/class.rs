//! How sure an answer is.

use std::fmt;

/// How a text was found. Ordered: the surer, the greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// Not found.
    None,
    /// A few prints are shared, which chance or a common phrase explains as well: a hint, never an attribution.
    Weak,
    /// So many rare prints are shared that it was taken from there.
    Strong,
    /// The same letters and digits in the same order.
    Normalised,
    /// The same bytes.
    Exact,
}

impl Class {
    /// The class of fragments with this score.
    pub fn of_score(score: f64) -> Self {
        if score >= STRONG {
            Self::Strong
        } else if score >= WEAK {
            Self::Weak
        } else {
            Self::None
        }
    }

    /// Whether the answer names where a text came from. A weak fragment does not.
    pub fn is_attribution(self) -> bool {
        self >= Self::Strong
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "NONE",
            Self::Weak => "FRAGMENT weak",
            Self::Strong => "FRAGMENT strong",
            Self::Normalised => "NORMALISED",
            Self::Exact => "EXACT",
        })
    }
}

/// The least score of a strong fragment.
pub(crate) const STRONG: f64 = 4.0;

/// The least score of a weak fragment.
pub(crate) const WEAK: f64 = 2.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_weak_fragment_is_no_attribution() {
        let classes = [1.99, 2.0, 3.99, 4.0].map(Class::of_score);
        assert_eq!(classes, [Class::None, Class::Weak, Class::Weak, Class::Strong]);
        assert_eq!(classes.map(Class::is_attribution), [false, false, false, true]);
        assert!(Class::Exact > Class::Normalised && Class::Normalised > Class::Strong);
    }
}
