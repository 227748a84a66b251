//! What people write.

use std::path::PathBuf;

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

/// A configuration file: nothing in it is passed over, and what speaks plain HTTP stays on loopback.
#[expect(clippy::expect_used, reason = "a target panics when a property breaks")]
pub fn configuration(data: &[u8]) {
    let dir = tempfile::tempdir().expect("a directory");
    let write = |name: &str, bytes: &[u8]| -> PathBuf {
        let path = dir.path().join(name);
        std::fs::write(&path, bytes).expect("a file");
        path
    };
    match marque_cli::configuration(&write("marque.toml", data)) {
        Ok(config) => {
            assert!(config.console.ip().is_loopback(), "{}", config.console);
            assert!(config.ledger.is_none_or(|address| address.ip().is_loopback()), "{:?}", config.ledger);
            let names: Vec<&str> = config.export.iter().map(|export| export.name.as_str()).collect();
            assert!(names.iter().enumerate().all(|(n, name)| !names.iter().take(n).any(|other| other == name)), "{names:?}");
            // Whatever table the file ends with.
            let more = write("more.toml", &[data, b"\nno-such-setting = 1\n"].concat());
            assert!(marque_cli::configuration(&more).is_err(), "a setting that there is not is passed over");
        }
        Err(why) => assert!(!why.is_empty(), "refused without a reason"),
    }
}
