//! No secret reaches an agent: not in its environment, not in its arguments, not in its open files.

use std::fs::File;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::child::variable;
use crate::office::{KEY, Office};
use crate::process::finish;
use crate::world::{ALICE, files};

#[test]
fn a_launched_process_holds_no_secret() {
    let office = Office::open();
    let mut command = office.probe("secrets");
    command.env("MARQUE_STATE", office.world.state()).env("MARQUE_PERSON", ALICE);
    let said = finish(command, "");
    said.must(0, &["LOOKED"]);
    assert!(!said.out.contains("FOUND"), "{}", said.out);
}

/// Else the one above would pass by finding nothing anywhere.
#[test]
fn the_same_search_finds_what_is_planted() {
    let office = Office::open();
    let token = office.world.state().join(format!("people/{ALICE}.token"));
    let credential = std::fs::read_to_string(&token).unwrap();
    for (place, secret) in [("credential", credential.trim()), ("key", KEY), ("jwt", "a eyJhbGciOi"), ("pem", "-----BEGIN X")] {
        let mut command = office.probe("secrets");
        command.env("PLANTED", secret);
        finish(command, "").must(0, &["LOOKED", "FOUND environment", "FOUND /proc/self/environ"]);
        let mut command = office.probe("secrets");
        command.arg(format!("--skip={secret}"));
        let said = finish(command, "");
        said.must(0, &["FOUND /proc/self/cmdline"]);
        assert!(!said.out.contains("FOUND environment"), "{place}: {}", said.out);
    }
    let said = finish_with_file(office.probe("secrets"), &token);
    assert!(said.contains("FOUND descriptor 0"), "{said}");
}

/// Runs a command whose standard input is a file.
fn finish_with_file(mut command: std::process::Command, file: &Path) -> String {
    let output = command.stdin(File::open(file).unwrap()).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// The search, inside the launch. It says `FOUND` and where for each secret, and `LOOKED` at its end.
pub fn look() {
    let folder = PathBuf::from(variable("PROBE_FOLDER").unwrap());
    let secrets = secrets(&folder);
    assert!(secrets.len() >= 7, "the search does not know the secrets");
    let found = |place: &str, bytes: &[u8]| {
        if secrets.iter().any(|secret| bytes.windows(secret.len()).any(|window| window == secret)) {
            println!("\nFOUND {place}");
        }
    };
    for (name, value) in std::env::vars_os() {
        found("environment", name.as_encoded_bytes());
        found("environment", value.as_encoded_bytes());
        assert!(name != "MARQUE_STATE" && name != "MARQUE_PERSON", "{name:?} is in the environment");
    }
    for file in ["/proc/self/environ", "/proc/self/cmdline"] {
        found(file, &std::fs::read(file).unwrap());
    }
    for entry in std::fs::read_dir("/proc/self/fd").unwrap() {
        let entry = entry.unwrap();
        // The descriptor of this very listing is gone by now; sockets and pipes hold nothing to be read again.
        let Ok(target) = std::fs::read_link(entry.path()) else { continue };
        let descriptor = format!("descriptor {}", entry.file_name().to_string_lossy());
        if target.is_file() {
            found(&descriptor, &std::fs::read(entry.path()).unwrap_or_default());
        }
        if target.starts_with(folder.join("state")) {
            println!("\nFOUND {descriptor}: {}", target.display());
        }
    }
    println!("\nLOOKED for {} secrets", secrets.len());
}

/// What must not be found: what tokens and keys begin with, and every secret of the state directory, in whole and in parts.
fn secrets(folder: &Path) -> Vec<Vec<u8>> {
    let mut secrets = vec![b"eyJ".to_vec(), b"-----BEGIN".to_vec(), KEY.as_bytes().to_vec()];
    for kept in ["people", "secrets", "keys"].map(|name| folder.join("state").join(name)) {
        for file in files(&kept) {
            if file.file_name().is_some_and(|name| name == "default") {
                continue;
            }
            let bytes = std::fs::read(&file).unwrap();
            if let Ok(Value::Object(fields)) = serde_json::from_slice(&bytes) {
                let texts = fields.iter().filter(|(name, _)| name.ends_with("_key")).filter_map(|(_, value)| value.as_str());
                secrets.extend(texts.map(|text| text.as_bytes().to_vec()));
            }
            secrets.push(bytes.trim_ascii().to_vec());
        }
    }
    secrets.retain(|secret| !secret.is_empty());
    secrets
}
