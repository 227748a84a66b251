use std::os::unix::fs::PermissionsExt as _;

use tempfile::TempDir;

use super::*;

const LOG_KEY: [u8; 32] = *b"the key of the log is 32 bytes .";
const VAULT_KEY: [u8; 32] = *b"and that of the vault is as long";
const FILES: [(&str, &[u8]); 4] = [
    ("keys/authority.json", b"{ \"keys\": [\"a private key of the trust domain\"] }"),
    ("keys/log.key", &LOG_KEY),
    ("keys/vault.key", &VAULT_KEY),
    ("secrets/crm", b"s3cret-value-of-an-upstream"),
];

/// What writes may have left that did not end; the last as it was called before.
const UNFINISHED: [&str; 4] = ["keys/.vault.key.tmp", "secrets/.crm.tmp", ".witness.key.tmp", "keys/vault.key.tmp"];

/// A state directory with secret files in clear, and two keys elsewhere.
struct World {
    dir: TempDir,
}

impl World {
    fn new() -> Self {
        let world = Self { dir: tempfile::tempdir().unwrap() };
        let dir = world.lock();
        FILES.iter().for_each(|(name, bytes)| dir.write_secret(name, bytes).unwrap());
        world.put_key("one", [1; 32].as_slice(), 0o600);
        world.put_key("two", [2; 32].as_slice(), 0o400);
        world
    }

    fn root(&self) -> PathBuf {
        self.dir.path().join("state")
    }

    fn lock(&self) -> StateDir {
        StateDir::lock(&self.root()).unwrap()
    }

    fn put_key(&self, name: &str, bytes: &[u8], mode: u32) -> PathBuf {
        let path = self.dir.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    fn key(&self, name: &str) -> StaticKey {
        StaticKey::read(&self.dir.path().join(name), &self.root()).unwrap()
    }

    fn method(&self, name: &str) -> SealMethod {
        SealMethod::Static { file: self.dir.path().join(name) }
    }

    fn sealed() -> Self {
        let world = Self::new();
        assert_eq!(world.lock().seal(world.method("one"), &world.key("one")).unwrap().len(), FILES.len());
        world
    }

    fn opened(&self) -> Result<StateDir> {
        let mut dir = StateDir::lock(&self.root())?;
        dir.unseal(&self.key("one"))?;
        Ok(dir)
    }

    fn bytes(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.root().join(name)).unwrap()
    }

    fn put(&self, name: &str, bytes: &[u8]) {
        std::fs::write(self.root().join(name), bytes).unwrap();
    }

    /// The names of the files that hold one of the secrets.
    fn leaks(&self) -> Vec<String> {
        let names = places::files(&self.root()).unwrap().into_iter().chain(["seal.json".to_owned()]);
        let has = |bytes: &[u8], secret: &[u8]| {
            let hex = hex::encode(secret);
            bytes.windows(secret.len()).any(|w| w == secret) || bytes.windows(hex.len()).any(|w| w == hex.as_bytes())
        };
        names
            .filter(|name| {
                let bytes = std::fs::read(self.root().join(name)).unwrap_or_default();
                FILES.iter().any(|(_, secret)| has(&bytes, secret))
            })
            .collect()
    }

    fn edit_settings(&self, edit: impl FnOnce(&mut serde_json::Value)) {
        let mut settings = serde_json::from_slice(&self.bytes("seal.json")).unwrap();
        edit(&mut settings);
        self.put("seal.json", &serde_json::to_vec(&settings).unwrap());
    }
}

#[track_caller]
fn holds_everything(dir: &StateDir) {
    for (name, bytes) in FILES {
        assert_eq!(dir.read_secret(name).unwrap().unwrap().as_slice(), bytes, "{name}");
    }
}

#[track_caller]
fn refused<T>(result: Result<T>, words: &str) {
    let Err(error) = result else { panic!("nothing was refused for `{words}`") };
    assert!(error.to_string().contains(words), "`{error}` says nothing of `{words}`");
}

#[test]
fn what_is_sealed_opens_with_its_key_alone() {
    let world = World::new();
    assert_eq!(world.leaks().len(), FILES.len(), "the search finds what is in clear");
    holds_everything(&world.lock());
    let link = world.dir.path().join("link");
    std::fs::hard_link(world.root().join("keys/log.key"), &link).unwrap();
    for unfinished in UNFINISHED {
        std::fs::write(world.root().join(unfinished), VAULT_KEY).unwrap();
    }

    let mut dir = world.lock();
    assert_eq!(dir.seal(world.method("one"), &world.key("one")).unwrap(), FILES.map(|(name, _)| name));
    holds_everything(&dir);
    dir.write_secret("secrets/later", b"another secret").unwrap();
    drop(dir);
    assert_eq!(world.leaks(), Vec::<String>::new());
    assert_eq!(std::fs::read(link).unwrap(), [0; 32], "what stood in clear is written over");
    for unfinished in UNFINISHED {
        assert!(!world.root().join(unfinished).exists(), "{unfinished}");
    }
    let mode = std::fs::metadata(world.root().join("keys/log.key")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    let dir = world.lock();
    refused(dir.read_secret("keys/log.key"), "is sealed");
    refused(dir.write_secret("keys/new.key", b"x"), "is not written");
    drop(dir);
    let before = world.bytes("keys/log.key");
    refused(world.lock().unseal(&world.key("two")), "does not open them");
    assert_eq!(world.bytes("keys/log.key"), before);
    let dir = world.opened().unwrap();
    holds_everything(&dir);
    assert_eq!(dir.read_secret("secrets/later").unwrap().unwrap().as_slice(), b"another secret");
    assert_eq!(dir.read_secret("secrets/none").unwrap(), None);
    let seals = Seals::of(&world.root()).unwrap();
    assert_eq!((seals.method, seals.sealed.len(), seals.clear.len()), (Some(world.method("one")), 5, 0));
}

/// Writing a file leaves every other as it is, whatever it is called.
#[test]
fn a_secret_may_be_called_as_a_file_that_is_written() {
    let world = World::new();
    let mut dir = world.lock();
    dir.write_secret("secrets/crm.tmp", b"another").unwrap();
    dir.write_secret("secrets/crm", b"the first, written again").unwrap();
    assert_eq!(dir.read_secret("secrets/crm.tmp").unwrap().unwrap().as_slice(), b"another");
    assert!(dir.seal(world.method("one"), &world.key("one")).unwrap().contains(&"secrets/crm.tmp".to_owned()));
    dir.write_secret("secrets/crm", b"and sealed").unwrap();
    assert_eq!(dir.read_secret("secrets/crm.tmp").unwrap().unwrap().as_slice(), b"another");
    drop(dir);
    // What is put there in clear under such a name is no file that was being written.
    world.put("secrets/crm.tmp", b"another");
    refused(world.opened(), "is in clear");
}

#[test]
fn every_flipped_bit_of_a_file_is_found() {
    let world = World::sealed();
    let dir = world.opened().unwrap();
    let good = world.bytes("keys/log.key");
    for at in 0..good.len() {
        for bit in 0..8 {
            let mut bad = good.clone();
            bad[at] ^= 1 << bit;
            world.put("keys/log.key", &bad);
            assert!(dir.read_secret("keys/log.key").is_err(), "bit {bit} of byte {at}");
        }
    }
    for bad in [&good[..good.len() - 1], &good[..20], &[&good[..], b"\n"].concat()] {
        world.put("keys/log.key", bad);
        assert!(dir.read_secret("keys/log.key").is_err());
    }
    world.put("keys/log.key", &good);
    holds_everything(&dir);
}

#[test]
fn every_change_of_the_settings_is_found() {
    let world = World::sealed();
    let good = world.bytes("seal.json");
    for field in ["key", "wrapped"] {
        let length = serde_json::from_slice::<serde_json::Value>(&good).unwrap()[field].as_str().unwrap().len();
        for at in 0..length {
            world.edit_settings(|settings| {
                let mut text = settings[field].as_str().unwrap().to_owned().into_bytes();
                text[at] ^= 1;
                settings[field] = String::from_utf8(text).unwrap().into();
            });
            assert!(world.opened().is_err(), "{field}, character {at}");
            world.put("seal.json", &good);
        }
    }
    let changes: [(&str, serde_json::Value); 4] =
        [("version", 2.into()), ("complete", "yes".into()), ("method", "static".into()), ("more", 1.into())];
    for (field, value) in changes {
        world.edit_settings(|settings| settings[field] = value);
        assert!(world.opened().is_err(), "{field}");
        world.put("seal.json", &good);
    }
    world.put("seal.json", b"");
    assert!(world.opened().is_err());
    world.put("seal.json", &good);
    holds_everything(&world.opened().unwrap());
}

#[test]
fn a_file_is_bound_to_its_name_and_to_its_directory() {
    let (world, other) = (World::sealed(), World::sealed());
    let (log, vault) = (world.bytes("keys/log.key"), world.bytes("keys/vault.key"));
    world.put("keys/log.key", &vault);
    world.put("keys/vault.key", &log);
    let dir = world.opened().unwrap();
    refused(dir.read_secret("keys/log.key"), "another file under this name");
    refused(dir.read_secret("keys/vault.key"), "another file under this name");
    world.put("keys/log.key", &other.bytes("keys/log.key"));
    refused(dir.read_secret("keys/log.key"), "under another key");
}

#[test]
fn without_its_settings_nothing_is_read_or_made() {
    let world = World::sealed();
    std::fs::remove_file(world.root().join("seal.json")).unwrap();
    let mut dir = world.lock();
    refused(dir.read_secret("keys/log.key"), "is missing");
    refused(dir.seal(world.method("one"), &world.key("one")), "is missing");
}

#[test]
fn what_is_put_there_in_clear_is_refused() {
    let world = World::sealed();
    let dir = world.opened().unwrap();
    world.put("keys/log.key", &[9; 32]);
    refused(dir.read_secret("keys/log.key"), "is in clear");
    drop(dir);
    refused(world.opened(), "is in clear");
}

/// Cut short after any file: each is readable, and the next start seals the rest.
#[test]
fn a_sealing_that_was_cut_short_is_finished() {
    for sealed in 0..=FILES.len() {
        let world = World::sealed();
        world.edit_settings(|settings| settings["complete"] = false.into());
        FILES[sealed..].iter().for_each(|(name, bytes)| world.put(name, bytes));
        let mut dir = world.lock();
        assert_eq!(dir.unseal(&world.key("one")).unwrap().len(), FILES.len() - sealed);
        holds_everything(&dir);
        drop(dir);
        assert_eq!(world.leaks(), Vec::<String>::new());
        assert!(world.lock().unseal(&world.key("one")).unwrap().is_empty(), "finished");
    }
}

#[test]
fn another_keeper_takes_over_and_the_first_is_out() {
    let world = World::sealed();
    let before = world.bytes("keys/log.key");
    let mut dir = world.opened().unwrap();
    assert!(dir.seal(world.method("two"), &world.key("two")).unwrap().is_empty());
    assert_eq!(dir.seal_method(), Some(&world.method("two")));
    drop(dir);
    assert_eq!(world.bytes("keys/log.key"), before, "the files stay as they are");
    refused(world.opened(), "does not open them");
    let mut dir = world.lock();
    refused(dir.seal(world.method("one"), &world.key("one")), "must be unsealed first");
    dir.unseal(&world.key("two")).unwrap();
    holds_everything(&dir);
}

#[test]
fn a_new_directory_never_has_a_key_in_clear() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("state");
    let path = dir.path().join("key");
    std::fs::write(&path, [3; 32]).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    let mut state = StateDir::lock(&root).unwrap();
    let keeper = StaticKey::read(&path, &root).unwrap();
    assert!(state.seal(SealMethod::Static { file: path }, &keeper).unwrap().is_empty());
    state.write_secret("keys/log.key", &LOG_KEY).unwrap();
    assert!(envelope::is_sealed(&std::fs::read(root.join("keys/log.key")).unwrap()));
    assert_eq!(state.read_secret("keys/log.key").unwrap().unwrap().as_slice(), LOG_KEY);
}

#[test]
fn a_key_that_others_read_or_that_travels_with_the_directory_is_none() {
    let world = World::new();
    let read = |path: &Path| StaticKey::read(path, &world.root());
    for mode in [0o640, 0o604, 0o620, 0o602, 0o601, 0o644, 0o666] {
        refused(read(&world.put_key("exposed", &[1; 32], mode)), "can be read by others: chmod 600 it");
    }
    refused(read(&world.put_key("short", &[1; 31], 0o600)), "has 31 bytes");
    refused(read(&world.put_key("long", &[1; 33], 0o600)), "has 33 bytes");
    refused(read(&world.put_key("state/inside", &[1; 32], 0o600)), "keep it elsewhere");
    let link = world.dir.path().join("link");
    std::os::unix::fs::symlink(world.root().join("inside"), &link).unwrap();
    refused(read(&link), "keep it elsewhere");
    refused(read(world.dir.path()), "is not a file");
    assert!(read(&world.dir.path().join("absent")).is_err());
}
