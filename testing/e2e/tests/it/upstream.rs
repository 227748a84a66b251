//! An upstream CA whose key is on disk, in an HSM, and in a TPM.

use std::path::Path;
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::device::{Device, put_private};
use crate::process::finish;
use crate::world::World;

#[test]
fn its_key_on_disk() {
    let world = World::new();
    let pki = Pki::new(&world);
    let key = world.path("ca.key");
    pki.openssl(&["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384", "-out", &key]);
    let text = std::fs::read(&key).unwrap();
    pki.openssl(&["pkey", "-in", &key, "-pubout", "-out", &world.path("ca.pub")]);
    pki.certify(&world.path("ca.pub"));
    pki.configure(&format!("key = {key:?}\n"));
    put_private(Path::new(&key), &text, 0o644);
    finish(pki.serve(), "").must(2, &["can be read by others: chmod 600 it"]);
    put_private(Path::new(&key), &text, 0o600);
    pki.signs(|command| command);
    pki.configure("");
    finish(pki.serve(), "").must(2, &["one of `key` and `pkcs11` is needed"]);
}

#[test]
fn its_key_in_an_hsm() {
    let world = World::new();
    let device = Device::soft(&world);
    for kind in ["EC:prime256v1", "EC:secp384r1"] {
        let label = kind.trim_start_matches("EC:");
        device.generate(kind, label);
        signs_by(&world, &device, label);
        std::fs::remove_dir_all(world.state()).unwrap();
    }
    let pki = Pki::new(&world);
    world.write("ca.pub", &device.public_key("secp384r1"));
    pki.certify(&world.path("ca.pub"));
    let refused = |key: &str, words: &[&str]| {
        pki.configure(&in_device(&device, key));
        finish(device.with(pki.serve()), "").must(2, words);
        assert!(!world.state().join("keys/authority.json").exists(), "an authority was made without its upstream");
    };
    refused("prime256v1", &["its certificate is of another key"]);
    refused("absent", &["0 keys of the kind EC", "`absent`"]);
    refused("seal", &["0 keys of the kind EC"]);
    device.put_pin("123456", 0o640);
    refused("secp384r1", &["can be read by others"]);
    device.put_pin("654321", 0o600);
    refused("secp384r1", &["the token refuses the PIN"]);
}

#[test]
fn its_key_in_a_tpm() {
    let world = World::new();
    let device = Device::tpm(&world);
    device.generate("EC:prime256v1", "ca");
    signs_by(&world, &device, "ca");
}

#[track_caller]
fn signs_by(world: &World, device: &Device, label: &str) {
    let pki = Pki::new(world);
    world.write("ca.pub", &device.public_key(label));
    pki.certify(&world.path("ca.pub"));
    pki.configure(&in_device(device, label));
    pki.signs(|command| device.with(command));
}

fn in_device(device: &Device, key: &str) -> String {
    let (module, pin_file) = (device.module(), device.pin_file());
    format!("pkcs11 = {{ module = {module:?}, token = \"marque\", key = {key:?}, pin_file = {pin_file:?} }}\n")
}

/// A root CA of openssl's, and what it certifies.
struct Pki<'w> {
    world: &'w World,
}

impl<'w> Pki<'w> {
    fn new(world: &'w World) -> Self {
        let pki = Self { world };
        let (key, root) = (world.path("root.key"), world.path("root.pem"));
        let usage = "keyUsage=critical,keyCertSign";
        let new = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30"];
        pki.openssl(&[&new[..], &["-subj", "/CN=Root", "-addext", usage, "-keyout", &key, "-out", &root]].concat());
        pki
    }

    /// Certifies a public key as the upstream CA's.
    fn certify(&self, public: &str) {
        let path = |name: &str| self.world.path(name);
        self.world
            .write("ca.ext", "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign\nsubjectKeyIdentifier=hash\n");
        let (root, key, extensions, out) = (path("root.pem"), path("root.key"), path("ca.ext"), path("ca.pem"));
        let new =
            ["x509", "-new", "-force_pubkey", public, "-subj", "/O=Example/CN=Upstream", "-days", "20", "-extfile", &extensions];
        self.openssl(&[&new[..], &["-CA", &root, "-CAkey", &key, "-out", &out]].concat());
    }

    fn configure(&self, key: &str) {
        let (certificate, roots) = (self.world.path("ca.pem"), self.world.path("root.pem"));
        let text = format!("[authority.upstream]\ncertificate = {certificate:?}\nroots = {roots:?}\n{key}");
        self.world.write("marque.toml", &text);
    }

    fn serve(&self) -> Command {
        let mut command = self.world.serve_command();
        command.arg("--config").arg(self.world.path("marque.toml"));
        command
    }

    /// The first CA of a new trust domain, and one that is prepared while it runs, are certified by the upstream CA.
    #[track_caller]
    fn signs(&self, with: impl Fn(Command) -> Command) {
        let mut server = self.world.try_serve(with(self.serve()));
        assert!(server.line().is_some_and(|line| line.contains("workload_api")), "no server: {}", self.world.log_text());
        self.world.run(&["authority", "prepare", "x509"]).must(0, &["prepared"]);
        assert!(server.stop().success(), "{}", self.world.log_text());
        let authority = std::fs::read(self.world.state().join("keys/authority.json")).unwrap();
        let authority: Value = serde_json::from_slice(&authority).unwrap();
        let cas = authority["x509"].as_array().unwrap();
        assert_eq!(cas.len(), 2);
        let (root, upstream, ours) = (self.world.path("root.pem"), self.world.path("ca.pem"), self.world.path("ours.der"));
        for ca in cas {
            std::fs::write(&ours, STANDARD.decode(ca["certificate"].as_str().unwrap()).unwrap()).unwrap();
            let pem = self.world.path("ours.pem");
            self.openssl(&["x509", "-inform", "DER", "-in", &ours, "-out", &pem]);
            self.openssl(&["verify", "-CAfile", &root, "-untrusted", &upstream, &pem]);
        }
    }

    #[track_caller]
    fn openssl(&self, args: &[&str]) {
        let mut command = Command::new("openssl");
        command.args(args);
        finish(command, "").must(0, &[]);
    }
}
