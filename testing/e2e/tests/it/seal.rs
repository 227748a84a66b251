//! Keys at rest: sealed under a file, under an HSM's key and under a TPM's, and then nowhere in clear.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::device::{Device, put_private};
use crate::process::finish;
use crate::world::{World, files};

/// A state directory with keys and a secret in clear, and what must be nowhere once they are sealed.
struct Vault {
    world: World,
    /// As they stand in the files.
    stored: Vec<Vec<u8>>,
    /// The same keys in other forms.
    forms: Vec<Vec<u8>>,
    keys: Value,
    verifier: String,
}

impl Vault {
    fn new() -> Self {
        let world = World::with_example();
        finish(world.command(&["secret", "set", "crm-key"]), "a-secret-of-an-upstream").must(0, &[]);
        let read = |name: &str| std::fs::read(world.state().join(name)).unwrap();
        let mut stored = vec![read("keys/log.key"), read("keys/vault.key"), b"a-secret-of-an-upstream".to_vec()];
        let mut forms = Vec::new();
        let authority: Value = serde_json::from_slice(&read("keys/authority.json")).unwrap();
        for kind in ["x509", "jwt", "wit"] {
            for key in authority[kind].as_array().into_iter().flatten() {
                let text = key["key"].as_str().unwrap();
                let der = STANDARD.decode(text).unwrap();
                // PKCS#8 of a P-256 key: the scalar stands after 36 octets (RFC 5915 §3).
                stored.push(text.as_bytes().to_vec());
                forms.extend([der[36..68].to_vec(), der]);
            }
        }
        let keys = world.json(&["authority", "list"]);
        let verifier = String::from_utf8(read("ledger/verifier")).unwrap();
        let vault = Self { world, stored, forms, keys, verifier };
        assert_eq!(vault.found(), vault.stored.len(), "in clear, everything is found");
        vault.world.run(&["keys", "show"]).must(0, &["in clear", "keys/authority.json", "secrets/crm-key"]);
        vault
    }

    /// How many of the secrets stand in some file of the state directory, in bytes or in hexadecimal.
    fn found(&self) -> usize {
        let read = |file: PathBuf| {
            let mut bytes = std::fs::read(file).unwrap_or_default();
            // The log's files are longer than what is in them.
            bytes.truncate(bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1));
            bytes
        };
        let contents: Vec<Vec<u8>> = files(&self.world.state()).into_iter().map(read).collect();
        let stands = |needle: &[u8]| contents.iter().any(|bytes| bytes.windows(needle.len()).any(|window| window == needle));
        let hex = |needle: &[u8]| needle.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        self.stored.iter().chain(&self.forms).filter(|needle| stands(needle) || stands(hex(needle).as_bytes())).count()
    }

    /// Every secret file, as it is.
    fn sealed(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let folders = ["keys", "secrets"].map(|folder| files(&self.world.state().join(folder)));
        folders.into_iter().flatten().map(|file| (file.clone(), std::fs::read(file).unwrap())).collect()
    }

    /// Seals, and holds that nothing is in clear and everything goes on: the same keys, new ones, commands without a server.
    #[track_caller]
    fn seals(&self, args: &[String], with: impl Fn(Command) -> Command) {
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        finish(with(self.world.command(&args)), "").must(0, &["the keys are sealed by"]);
        assert_eq!(self.found(), 0, "something is in clear");
        let json = |args: &[&str]| -> Value {
            let said = finish(with(self.world.command(&[&["--json"][..], args].concat())), "");
            said.must(0, &[]);
            serde_json::from_str(&said.out).unwrap()
        };
        // Nobody serves it.
        assert_eq!(json(&["authority", "list"]), self.keys);
        let mut server = self.world.try_serve(with(self.world.serve_command()));
        assert!(server.line().is_some_and(|line| line.contains("workload_api")), "no server: {}", self.world.log_text());
        self.world.run(&args).must(1, &["is in use by another marque process"]);
        assert_eq!(json(&["authority", "list"]), self.keys);
        let more = json(&["authority", "prepare", "jwt"]);
        assert_eq!(more.as_array().unwrap().len(), self.keys.as_array().unwrap().len() + 1);
        finish(self.world.command(&["secret", "set", "crm-key"]), "a-secret-of-an-upstream").must(0, &[]);
        assert!(server.stop().success(), "{}", self.world.log_text());
        assert_eq!(json(&["authority", "list"]), more, "what was made since is kept, and opens");
        finish(with(self.world.command(&["authority", "activate", "jwt"])), "").must(0, &["active"]);
        assert_eq!(std::fs::read_to_string(self.world.state().join("ledger/verifier")).unwrap(), self.verifier);
        assert_eq!(self.found(), 0, "something is in clear");
        for (file, bytes) in self.sealed() {
            assert!(bytes.starts_with(b"marque sealed "), "{}", file.display());
        }
    }

    /// Nothing opens, and nothing is made or changed.
    #[track_caller]
    fn refuses(&self, with: impl Fn(Command) -> Command, words: &[&str]) {
        let before = self.sealed();
        finish(with(self.world.serve_command()), "").must(1, words);
        finish(with(self.world.command(&["status"])), "").must(1, words);
        assert_eq!(self.sealed(), before);
    }
}

fn as_it_is(command: Command) -> Command {
    command
}

#[test]
fn under_a_key_in_a_file() {
    let vault = Vault::new();
    let file = vault.world.path("seal.key");
    let args = ["keys", "seal", "--static", &file].map(str::to_owned);
    let path = Path::new(&file);
    let bad: [(&[u8], u32, &str); 3] = [
        (&[7; 32], 0o644, "can be read by others: chmod 600 it"),
        (&[7; 32], 0o640, "can be read by others"),
        (&[7; 31], 0o600, "has 31 bytes"),
    ];
    for (bytes, mode, words) in bad {
        put_private(path, bytes, mode);
        vault.world.run(&["keys", "seal", "--static", &file]).must(1, &[words]);
    }
    let inside = vault.world.state().join("seal.key");
    put_private(&inside, &[7; 32], 0o600);
    vault.world.run(&["keys", "seal", "--static", inside.to_str().unwrap()]).must(1, &["keep it elsewhere"]);
    std::fs::remove_file(inside).unwrap();
    vault.world.run(&["keys", "seal"]).must(2, &["--static"]);
    vault.world.run(&["keys", "seal", "--pkcs11", "module.so"]).must(2, &["--token"]);
    assert_eq!(vault.found(), vault.stored.len(), "nothing was done");

    put_private(path, &[7; 32], 0o600);
    vault.seals(&args, as_it_is);
    vault.world.run(&["keys", "show"]).must(0, &["sealed by the key in", "keys/log.key"]);

    put_private(path, &[8; 32], 0o600);
    vault.refuses(as_it_is, &["does not open them", "not the key that they were sealed with"]);
    put_private(path, &[7; 32], 0o604);
    vault.refuses(as_it_is, &["can be read by others"]);
    std::fs::remove_file(path).unwrap();
    vault.refuses(as_it_is, &["cannot open", "seal.key"]);
    put_private(path, &[7; 32], 0o600);
    let settings = vault.world.state().join("seal.json");
    let said = std::fs::read(&settings).unwrap();
    std::fs::remove_file(&settings).unwrap();
    vault.refuses(as_it_is, &["is sealed", "seal.json", "is missing"]);
    std::fs::write(&settings, said).unwrap();
    vault.world.run(&["status"]).must(0, &[]);
}

#[test]
fn under_a_key_of_an_hsm() {
    let vault = Vault::new();
    let device = Device::soft(&vault.world);
    let file = vault.world.path("seal.key");
    put_private(Path::new(&file), &[7; 32], 0o600);
    vault.world.run(&["keys", "seal", "--static", &file]).must(0, &[]);
    // From a file to the device; the file is needed for the last time.
    vault.seals(&device.seal(), |command| device.with(command));
    std::fs::remove_file(&file).unwrap();
    let empty = vault.world.path("empty.conf");
    vault.world.write("empty.conf", &format!("directories.tokendir = {}\n", vault.world.path("empty")));
    std::fs::create_dir(vault.world.path("empty")).unwrap();
    let gone = |mut command: Command| {
        command.env("SOFTHSM2_CONF", &empty);
        command
    };
    vault.refuses(gone, &["does not open them", "0 tokens are called `marque`"]);
    device.put_pin("000000", 0o600);
    vault.refuses(|command| device.with(command), &["does not open them", "the token refuses the PIN", "PinIncorrect"]);
    device.put_pin("123456", 0o644);
    vault.refuses(|command| device.with(command), &["can be read by others"]);
    device.put_pin("123456", 0o600);
    finish(device.with(vault.world.command(&["status"])), "").must(0, &[]);
    // Another key, which did not seal this.
    device.generate("rsa:2048", "other");
    let settings = vault.world.state().join("seal.json");
    let text = std::fs::read_to_string(&settings).unwrap();
    std::fs::write(&settings, text.replace("\"seal\"", "\"other\"")).unwrap();
    vault.refuses(|command| device.with(command), &["does not open them", "the token cannot decrypt"]);
    std::fs::write(&settings, text.replace("\"seal\"", "\"absent\"")).unwrap();
    vault.refuses(|command| device.with(command), &["0 keys of the kind RSA", "`absent`"]);
}

#[test]
fn under_a_key_of_a_tpm() {
    let vault = Vault::new();
    let mut device = Device::tpm(&vault.world);
    vault.seals(&device.seal(), |command| device.with(command));
    // The machine starts again.
    device.start("state");
    finish(device.with(vault.world.command(&["status"])), "").must(0, &[]);
    // The disk, with the store of the TPM's tools, in another machine.
    device.start("another");
    vault.refuses(|command| device.with(command), &["does not open them"]);
    device.start("state");
    device.put_pin("000000", 0o600);
    finish(device.with(vault.world.command(&["status"])), "").must(1, &["does not open them", "the token refuses the PIN"]);
}

/// Sealed before the first start, a directory never has a key in clear.
#[test]
fn before_the_first_start() {
    let world = World::new();
    let file = world.path("seal.key");
    put_private(Path::new(&file), &[7; 32], 0o600);
    world.run(&["keys", "seal", "--static", &file]).must(0, &["the keys are sealed by"]);
    let mut server = world.serve();
    world.run(&["init", &world.path("example")]).must(0, &[]);
    world.run(&["apply", "-f", &world.path("example")]).must(0, &["agent/researcher"]);
    assert!(server.stop().success());
    let keys = files(&world.state().join("keys"));
    assert_eq!(keys.len(), 3, "{keys:?}");
    assert!(keys.iter().all(|file| std::fs::read(file).unwrap().starts_with(b"marque sealed ")));
    world.run(&["status"]).must(0, &["entries"]);
}
