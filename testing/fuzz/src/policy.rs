//! Policies as people write them.

use marque_core::Digest;
use marque_policy::{BASELINE, PolicyFile, Snapshot};

/// [`Snapshot::load`]: a set of policies that is refused is refused with a line that the file has.
pub fn policy_load(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let file = PolicyFile { name: "fuzz.cedar".to_owned(), text: text.to_owned() };
    let digest = Digest::from_bytes([7; 32]);
    match Snapshot::load(&[file], digest) {
        Ok(snapshot) => {
            assert!(snapshot.len() >= BASELINE.matches("@id(").count(), "the baseline is not whole");
            assert_eq!(snapshot.digest(), digest);
        }
        Err(error) => {
            assert_eq!(error.file, "fuzz.cedar");
            let lines = text.bytes().filter(|byte| *byte == b'\n').count() + 1;
            assert!((1..=lines).contains(&error.line), "line {} of {lines}: {error}", error.line);
            assert!(!error.message.is_empty());
        }
    }
}
