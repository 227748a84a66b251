//! What a judge says, and why one is not content.

use std::fmt;

use serde::Deserialize;
use serde_json::Value;

/// What a content judge saw.
#[derive(Debug)]
pub struct Heard {
    /// The client's version, where it names it.
    pub version: Option<String>,
    /// What it saw, for people.
    pub seen: Value,
    /// The tree that it judged, where it judges a log.
    pub tree: Option<Tree>,
}

/// A tree, as a judge of a log names it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Tree {
    /// How many entries it has.
    pub size: u64,
    /// The root hash, in base64.
    pub root: String,
}

impl Heard {
    /// Seen by a client whose version is known before.
    pub fn seen(seen: impl Into<Value>) -> Self {
        Self { version: None, seen: seen.into(), tree: None }
    }

    /// Seen by a client that names its version.
    pub fn by(version: Option<String>, seen: impl Into<Value>) -> Self {
        Self { version, ..Self::seen(seen) }
    }

    /// The same, of this tree.
    pub fn of_tree(self, size: u64, root: impl fmt::Display) -> Self {
        Self { tree: Some(Tree { size, root: root.to_string() }), ..self }
    }
}

/// Why a judge is not content: one sentence for people. Any error can become one.
#[derive(Debug)]
pub struct Fault(String);

/// What may end in a fault.
pub type Result<T> = std::result::Result<T, Fault>;

impl Fault {
    /// A fault with this sentence.
    pub fn new(why: impl Into<String>) -> Self {
        Self(why.into())
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<E: std::error::Error> From<E> for Fault {
    fn from(error: E) -> Self {
        let mut text = error.to_string();
        let mut source = error.source();
        while let Some(inner) = source {
            let inner_text = inner.to_string();
            if !text.contains(&inner_text) {
                text = format!("{text}: {inner_text}");
            }
            source = inner.source();
        }
        Self(text)
    }
}

/// A fault unless something holds.
pub fn need(holds: bool, otherwise: impl Into<String>) -> Result<()> {
    if holds { Ok(()) } else { Err(Fault::new(otherwise)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_becomes_a_sentence_with_its_causes() {
        let error = std::io::Error::other("the disk is full");
        assert_eq!(Fault::from(error).to_string(), "the disk is full");
        assert!(need(true, "never").is_ok());
        assert_eq!(need(false, "it does not hold").unwrap_err().to_string(), "it does not hold");
    }
}
