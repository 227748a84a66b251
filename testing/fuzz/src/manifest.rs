//! What people write.

/// A manifest of one file: read or refused with places that exist, and what is read is read again the same.
#[expect(clippy::expect_used, reason = "a target panics when a property breaks")]
pub fn manifest(data: &[u8]) {
    let dir = tempfile::tempdir().expect("a directory");
    std::fs::write(dir.path().join("m.yaml"), data).expect("a file");
    match marque_cli::manifest::read(dir.path()) {
        Ok(desired) => {
            let again = marque_cli::manifest::read(dir.path()).expect("what was read once is read again");
            assert_eq!(desired, again);
        }
        Err(errors) => {
            let lines = data.split(|b| *b == b'\n').count() as u64 + 1;
            assert!(!errors.is_empty(), "refused without a reason");
            assert!(errors.iter().all(|e| e.line.is_none_or(|line| line <= lines)), "a place behind the end: {errors:?}");
        }
    }
}
