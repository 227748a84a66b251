//! How the keys of a state directory are sealed, and the files that are.

use std::error::Error;
use std::fs::DirBuilder;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::Path;
use std::sync::LazyLock;

use marque_store::StateDir;
use marque_store::seal::{SealMethod, Seals, StaticKey};

use crate::mutate::edited;

/// `seal.json`: bytes as they come, and the good file with some bytes changed. Where it unseals the directory, the one key that
/// ever sealed it was found.
#[expect(clippy::expect_used, reason = "a target panics when a property breaks")]
pub fn store_seal(data: &[u8]) {
    for settings in [data.to_vec(), edited(&SAMPLE.settings, data)] {
        let dir = tempfile::tempdir().expect("a directory");
        let root = dir.path().join("state");
        lay(&root, &settings, &SAMPLE.sealed).expect("files");
        match opened(&root) {
            Some(state) => {
                assert!(state.seal_method().is_some() && Seals::of(&root).is_ok_and(|seals| seals.sealed == [FILE]));
                let secret = state.read_secret(FILE).expect("what was sealed opens").expect("it is there");
                assert_eq!(secret.as_slice(), SECRET);
            }
            None => assert!(settings != SAMPLE.settings, "the good settings are refused"),
        }
    }
}

/// A sealed file: as it comes, and the good one with some bytes changed. Nothing opens but what was sealed, under its own name,
/// written in the one way in which it was.
#[expect(clippy::expect_used, reason = "a target panics when a property breaks")]
pub fn store_sealed(data: &[u8]) {
    for file in [data.to_vec(), edited(&SAMPLE.sealed, data)] {
        let dir = tempfile::tempdir().expect("a directory");
        let root = dir.path().join("state");
        lay(&root, &SAMPLE.settings, &file).expect("files");
        let secret = opened(&root).and_then(|state| state.read_secret(FILE).ok().flatten());
        assert_eq!(secret.is_some(), file == SAMPLE.sealed, "{}", file.escape_ascii());
        assert!(secret.is_none_or(|secret| secret.as_slice() == SECRET));
        std::fs::rename(root.join(FILE), root.join(OTHER)).expect("another name");
        let other = opened(&root).and_then(|state| state.read_secret(OTHER).ok().flatten());
        assert!(other.is_none(), "a file opens under another name");
    }
}

/// A directory with this `seal.json` and this secret.
fn lay(root: &Path, settings: &[u8], secret: &[u8]) -> std::io::Result<()> {
    let keys = root.join("keys");
    DirBuilder::new().recursive(true).mode(0o700).create(keys)?;
    std::fs::write(root.join(SETTINGS), settings)?;
    std::fs::write(root.join(FILE), secret)
}

/// The directory, if it can be unsealed.
fn opened(root: &Path) -> Option<StateDir> {
    let mut state = StateDir::lock(root).ok()?;
    state.unseal(&SAMPLE.keeper).ok().map(|_| state)
}

/// A sealed directory's files, and who keeps its key.
struct Sample {
    keeper: StaticKey,
    settings: Vec<u8>,
    sealed: Vec<u8>,
}

impl Sample {
    fn make() -> Result<Self, Box<dyn Error>> {
        // The directory goes when this has been made: what is read later is in memory.
        let dir = tempfile::tempdir()?;
        let (root, key) = (dir.path().join("state"), dir.path().join("key"));
        std::fs::write(&key, [5_u8; 32])?;
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600))?;
        let mut state = StateDir::lock(&root)?;
        state.write_secret(FILE, SECRET)?;
        let keeper = StaticKey::read(&key, &root)?;
        state.seal(SealMethod::Static { file: "/run/marque/seal.key".into() }, &keeper)?;
        let (settings, sealed) = (std::fs::read(root.join(SETTINGS))?, std::fs::read(root.join(FILE))?);
        Ok(Self { keeper, settings, sealed })
    }
}

static SAMPLE: LazyLock<Sample> = LazyLock::new(sample);

#[expect(clippy::expect_used, reason = "the sample is fixed")]
fn sample() -> Sample {
    Sample::make().expect("the sample can be made")
}

const SETTINGS: &str = "seal.json";
const FILE: &str = "keys/log.key";
const OTHER: &str = "keys/vault.key";
const SECRET: &[u8] = b"the key of the log is 32 bytes .";
