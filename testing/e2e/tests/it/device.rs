//! Devices that keep keys: SoftHSM, and a TPM in software behind the PKCS#11 module of the TPM tools. What is missing here is
//! installed by `cargo xtask e2e`; without it these tests fail.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::process::{PATIENCE, Running, Said, finish, until};
use crate::world::{World, clean};

/// A token called `marque`, with an RSA key pair `seal` in it, and a file with its PIN.
pub struct Device {
    folder: PathBuf,
    module: PathBuf,
    environment: Vec<(&'static str, OsString)>,
    tpm: Option<Running>,
}

impl Device {
    /// A token of SoftHSM.
    pub fn soft(world: &World) -> Self {
        let folder = world.dir().join("soft");
        std::fs::create_dir_all(folder.join("tokens")).unwrap();
        let config = folder.join("softhsm2.conf");
        let text = format!("directories.tokendir = {}\nobjectstore.backend = file\n", folder.join("tokens").display());
        std::fs::write(&config, text).unwrap();
        let environment = vec![("SOFTHSM2_CONF", config.into_os_string())];
        let device = Self { folder, module: module("softhsm", "libsofthsm2.so"), environment, tpm: None };
        let init = ["--init-token", "--free", "--label", "marque", "--pin", PIN, "--so-pin", SO_PIN];
        let mut command = device.command("softhsm2-util");
        command.args(init);
        finish(command, "").must(0, &[]);
        device.ready()
    }

    /// A token whose keys are in a TPM.
    pub fn tpm(world: &World) -> Self {
        let folder = world.dir().join("tpm");
        for part in ["store", "state"] {
            std::fs::create_dir_all(folder.join(part)).unwrap();
        }
        let socket = folder.join("sock");
        let environment = vec![
            ("TPM2_PKCS11_STORE", folder.join("store").into_os_string()),
            ("TPM2_PKCS11_BACKEND", "esysdb".into()),
            ("TPM2_PKCS11_TCTI", format!("swtpm:path={}", socket.display()).into()),
            ("TPM2TOOLS_TCTI", format!("swtpm:path={}", socket.display()).into()),
            ("TSS2_LOG", "all+NONE".into()),
        ];
        let mut device = Self { folder, module: module("pkcs11", "libtpm2_pkcs11.so"), environment, tpm: None };
        device.start("state");
        // A TPM that is switched off without a word counts that as a wrong PIN, and locks after three.
        let mut command = device.command("tpm2_dictionarylockout");
        let patience = ["--max-tries=31", "--recovery-time=10", "--lockout-recovery-time=10", "--clear-lockout"];
        command.arg("--setup-parameters").args(patience);
        finish(command, "").must(0, &[]);
        device.tool(&["--slot-index", "0", "--init-token", "--label", "marque", "--so-pin", SO_PIN]).must(0, &[]);
        let pin = ["--login", "--login-type", "so", "--so-pin", SO_PIN, "--init-pin", "--new-pin", PIN];
        device.tool(&[&["--token-label", "marque"], &pin[..]].concat()).must(0, &[]);
        // What that left loaded goes; the kernel's resource manager would see to it.
        device.start("state");
        device.ready()
    }

    fn ready(self) -> Self {
        self.put_pin(PIN, 0o600);
        self.generate("rsa:2048", "seal");
        self
    }

    /// Starts the TPM with the state in a folder; one that runs is switched off first.
    pub fn start(&mut self, state: &str) {
        if let Some(mut running) = self.tpm.take() {
            running.stop();
        }
        let (socket, control) = (self.folder.join("sock"), self.folder.join("sock.ctrl"));
        let _ = (std::fs::remove_file(&socket), std::fs::remove_file(&control));
        std::fs::create_dir_all(self.folder.join(state)).unwrap();
        let mut command = clean(Command::new("swtpm"));
        command.args(["socket", "--tpm2", "--flags", "not-need-init,startup-clear", "--tpmstate"]);
        command.arg(format!("dir={}", self.folder.join(state).display()));
        command.arg("--server").arg(format!("type=unixio,path={}", socket.display()));
        command.arg("--ctrl").arg(format!("type=unixio,path={}", control.display()));
        let mut running = Running::start(command, &self.folder.join("swtpm.log"));
        let log = || std::fs::read_to_string(self.folder.join("swtpm.log")).unwrap_or_default();
        let settled = until(PATIENCE, || running.has_ended() || (socket.exists() && control.exists()));
        assert!(settled && !running.has_ended(), "{}", log());
        self.tpm = Some(running);
    }

    /// The same command, which finds the device.
    pub fn with(&self, mut command: Command) -> Command {
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    pub fn module(&self) -> &str {
        self.module.to_str().unwrap()
    }

    pub fn pin_file(&self) -> String {
        self.folder.join("pin").to_str().unwrap().to_owned()
    }

    /// Writes the file with the PIN.
    pub fn put_pin(&self, pin: &str, mode: u32) {
        put_private(Path::new(&self.pin_file()), format!("{pin}\n").as_bytes(), mode);
    }

    /// The arguments that seal with this device.
    pub fn seal(&self) -> Vec<String> {
        let args = ["keys", "seal", "--pkcs11", self.module(), "--token", "marque", "--key", "seal", "--pin-file"];
        args.iter().map(|arg| (*arg).to_owned()).chain([self.pin_file()]).collect()
    }

    /// Makes a key pair in the token.
    pub fn generate(&self, kind: &str, label: &str) {
        self.tool(&[&LOGIN[..], &["--keypairgen", "--key-type", kind, "--label", label]].concat()).must(0, &[label]);
    }

    /// The public key of the pair on a curve called `label`, PEM.
    pub fn public_key(&self, label: &str) -> String {
        let said = self.tool(&[&LOGIN[..], &["--list-objects", "--type", "pubkey"]].concat());
        said.must(0, &[label]);
        let name = format!("label:      {label}");
        let object = said.out.split("Public Key Object").find(|object| object.contains(&name)).unwrap();
        let point = object.lines().find_map(|line| line.trim().strip_prefix("EC_POINT:")).unwrap().trim();
        let (head, point) = match point.split_at(4) {
            ("0441", point) => ("3059301306072a8648ce3d020106082a8648ce3d030107034200", point),
            ("0461", point) => ("3076301006072a8648ce3d020106052b81040022036200", point),
            other => panic!("no point that is known here: {other:?}"),
        };
        let der = format!("{head}{point}");
        let der: Vec<u8> = (0..der.len()).step_by(2).map(|at| u8::from_str_radix(&der[at..at + 2], 16).unwrap()).collect();
        let text = STANDARD.encode(der);
        let lines: Vec<&str> = text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
        format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", lines.join("\n"))
    }

    fn tool(&self, args: &[&str]) -> Said {
        let mut command = self.command("pkcs11-tool");
        command.arg("--module").arg(&self.module).args(args);
        finish(command, "")
    }

    fn command(&self, program: &str) -> Command {
        self.with(clean(Command::new(program)))
    }
}

/// Writes a file with these rights.
pub fn put_private(path: &Path, bytes: &[u8], mode: u32) {
    use std::os::unix::fs::PermissionsExt as _;
    // One that may not be written is replaced.
    let _ = std::fs::remove_file(path);
    std::fs::write(path, bytes).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

/// A PKCS#11 module, in the folder of its kind below `/usr/lib` or below one of its architectures.
fn module(folder: &str, name: &str) -> PathBuf {
    let below = std::fs::read_dir("/usr/lib").unwrap().map(|entry| entry.unwrap().path());
    let found = below.chain([PathBuf::from("/usr/lib")]).map(|path| path.join(folder).join(name)).find(|path| path.is_file());
    found.unwrap_or_else(|| panic!("there is no `{name}`: `cargo xtask e2e` installs it"))
}

const PIN: &str = "123456";
const SO_PIN: &str = "87654321";
const LOGIN: [&str; 5] = ["--token-label", "marque", "--login", "--pin", PIN];
