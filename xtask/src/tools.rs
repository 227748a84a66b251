//! The workspace as Cargo describes it, and the programs that the other modules start.

use std::ffi::{OsStr, OsString};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc::RecvTimeoutError;
use std::time::Duration;

use serde::Deserialize;

use crate::report::Stopwatch;

/// What `cargo metadata` says about this workspace.
pub struct Workspace {
    /// The folder with the workspace's `Cargo.toml`.
    pub root: PathBuf,
    /// Where Cargo builds.
    pub target: PathBuf,
    /// Every member.
    pub packages: Vec<Package>,
}

/// One member of the workspace.
#[derive(Deserialize)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Where its `Cargo.toml` is.
    pub manifest_path: PathBuf,
    /// What it names in its dependency tables.
    pub dependencies: Vec<Dependency>,
}

/// One line of a dependency table.
#[derive(Deserialize)]
pub struct Dependency {
    /// The package's name, also when it is renamed.
    pub name: String,
    /// `None` is a normal dependency; else `dev` or `build`.
    pub kind: Option<String>,
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    workspace_root: PathBuf,
    target_directory: PathBuf,
}

impl Workspace {
    /// Asks Cargo.
    pub fn load() -> Result<Self, String> {
        let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../Cargo.toml");
        let output = Command::new(cargo())
            .args(["metadata", "--format-version", "1", "--no-deps", "--manifest-path"])
            .arg(manifest)
            .stderr(Stdio::inherit())
            .output()
            .map_err(|error| format!("cannot start cargo: {error}"))?;
        if !output.status.success() {
            return Err("`cargo metadata` failed".to_owned());
        }
        let metadata: Metadata =
            serde_json::from_slice(&output.stdout).map_err(|error| format!("cannot read what `cargo metadata` says: {error}"))?;
        Ok(Self { root: metadata.workspace_root, target: metadata.target_directory, packages: metadata.packages })
    }

    /// Builds the binary in the dev profile and says where it is.
    pub fn build_marque(&self) -> Result<PathBuf, String> {
        Cargo::new(self, &["build", "--quiet", "--package", "marque"]).run()?;
        Ok(self.target.join("debug/marque"))
    }
}

/// A Cargo command, run in the workspace's folder.
pub struct Cargo(Command);

impl Cargo {
    /// Cargo with these arguments.
    pub fn new(workspace: &Workspace, args: &[&str]) -> Self {
        let mut command = Command::new(cargo());
        command.args(args).current_dir(&workspace.root);
        Self(command)
    }

    /// More arguments.
    pub fn args<S: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.0.args(args);
        self
    }

    /// A variable for it and its children.
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.0.env(name, value);
        self
    }

    /// Runs it and waits; anything but success is an error that names the command. Its standard output goes to our
    /// standard error, for ours may be read by a program.
    pub fn run(self) -> Result<(), String> {
        run(self.0)
    }

    /// Runs it in our place, standard output included.
    pub fn hand_over(mut self) -> Result<(), String> {
        wait(&mut self.0)
    }

    /// Runs it and passes each line of its standard output on, as it comes.
    pub fn lines(self, limit: Duration, line: impl FnMut(&str)) -> Result<(), String> {
        lines(self.0, limit, line)
    }
}

/// The simulation with these arguments.
pub fn simulation<S: AsRef<OsStr>>(workspace: &Workspace, args: impl IntoIterator<Item = S>) -> Cargo {
    Cargo::new(workspace, &["run", "--quiet", "--package", "marque-sim", "--"]).args(args)
}

/// The end-to-end tests, with the binary built for them.
pub fn e2e(workspace: &Workspace) -> Result<Cargo, String> {
    // Nodes live in network namespaces of their own there.
    program("ip", "iproute2")?;
    program("git", "git")?;
    program("curl", "curl")?;
    // The documentation's own commands.
    program("python3", "python3")?;
    // Devices that keep keys: SoftHSM, and a TPM in software.
    program("softhsm2-util", "softhsm2")?;
    program("pkcs11-tool", "opensc")?;
    program("openssl", "openssl")?;
    program("swtpm", "swtpm")?;
    program("tpm2_dictionarylockout", "tpm2-tools")?;
    library("pkcs11/libtpm2_pkcs11.so", "libtpm2-pkcs11-1")?;
    library("libtss2-tcti-swtpm.so.0", "libtss2-tcti-swtpm0")?;
    let binary = workspace.build_marque()?;
    Ok(Cargo::new(workspace, &["test", "--package", "marque-e2e"]).env("MARQUE_BIN", binary))
}

/// Runs a command and waits for it, its standard output going to our standard error.
pub fn run(mut command: Command) -> Result<(), String> {
    command.stdout(std::io::stderr());
    wait(&mut command)
}

/// Runs a command, passes each line of its standard output on, and ends it when `limit` is over: a hang is a failure.
pub fn lines(mut command: Command, limit: Duration, mut line: impl FnMut(&str)) -> Result<(), String> {
    let shown = show(&command);
    let mut child = command.stdout(Stdio::piped()).spawn().map_err(|error| format!("cannot start `{shown}`: {error}"))?;
    let (send, receive) = std::sync::mpsc::channel();
    if let Some(output) = child.stdout.take() {
        std::thread::spawn(move || BufReader::new(output).lines().map_while(Result::ok).all(|line| send.send(line).is_ok()));
    }
    let watch = Stopwatch::start();
    while let Some(left) = limit.checked_sub(watch.elapsed()) {
        match receive.recv_timeout(left) {
            Ok(text) => line(&text),
            Err(RecvTimeoutError::Disconnected) => {
                let status = child.wait().map_err(|error| format!("cannot wait for `{shown}`: {error}"))?;
                return verdict(&shown, status);
            }
            Err(RecvTimeoutError::Timeout) => break,
        }
    }
    // It may have ended by itself in this very moment; then there is nothing left to end.
    let _ = child.kill();
    let _ = child.wait();
    Err(format!("`{shown}` was ended: it took more than {} s", limit.as_secs()))
}

fn wait(command: &mut Command) -> Result<(), String> {
    let shown = show(command);
    let status = command.status().map_err(|error| format!("cannot start `{shown}`: {error}"))?;
    verdict(&shown, status)
}

fn verdict(shown: &str, status: ExitStatus) -> Result<(), String> {
    if status.success() { Ok(()) } else { Err(format!("`{shown}` ended with {status}")) }
}

/// The Python of the interoperability clients.
pub fn python(workspace: &Workspace) -> Result<PathBuf, String> {
    python_with(workspace, "venv", "requirements.txt")
}

/// The Python of the readers of exports: an environment of its own, for its packages are many and large.
pub fn export_python(workspace: &Workspace) -> Result<PathBuf, String> {
    python_with(workspace, "venv-export", "requirements-export.txt")
}

/// The Python of one of the workspace's own virtual environments, with the pinned packages installed.
fn python_with(workspace: &Workspace, environment: &str, requirements: &str) -> Result<PathBuf, String> {
    let venv = workspace.root.join(".tools").join(environment);
    let python = venv.join("bin/python");
    let pins = workspace.root.join("testing/interop/clients").join(requirements);
    let wanted = std::fs::read(&pins).map_err(|error| format!("cannot read `{}`: {error}", pins.display()))?;
    let stamp = venv.join("requirements.installed");
    if python.exists() && std::fs::read(&stamp).is_ok_and(|installed| installed == wanted) {
        return Ok(python);
    }
    make_venv(&venv)?;
    let mut pip = Command::new(&python);
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement"]).arg(&pins);
    run(pip)?;
    std::fs::write(&stamp, wanted).map_err(|error| format!("cannot write `{}`: {error}", stamp.display()))?;
    Ok(python)
}

/// Makes sure that a program is on the path; as root on a Debian, by installing the package that has it.
pub fn program(name: &str, package: &str) -> Result<(), String> {
    if on_path(name) {
        return Ok(());
    }
    apt_install(package)?;
    if on_path(name) { Ok(()) } else { Err(format!("`{name}` is still missing after installing `{package}`")) }
}

/// Makes sure that a shared library is below `/usr/lib`, or below one of its architectures; as root on a Debian, by installing
/// the package that has it.
fn library(name: &str, package: &str) -> Result<(), String> {
    let is_there = || {
        let folders = entries(Path::new("/usr/lib")).unwrap_or_default();
        folders.into_iter().chain([PathBuf::from("/usr/lib")]).any(|folder| folder.join(name).is_file())
    };
    if is_there() {
        return Ok(());
    }
    apt_install(package)?;
    if is_there() { Ok(()) } else { Err(format!("`{name}` is still missing after installing `{package}`")) }
}

/// What is in a folder.
pub fn entries(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let list = std::fs::read_dir(folder).and_then(|entries| entries.map(|entry| entry.map(|entry| entry.path())).collect());
    list.map_err(|error| format!("cannot list `{}`: {error}", folder.display()))
}

fn make_venv(venv: &Path) -> Result<(), String> {
    program("python3", "python3")?;
    let make = || {
        let mut command = Command::new("python3");
        command.args(["-m", "venv", "--clear"]).arg(venv);
        run(command)
    };
    // Debian's Python comes without the module that puts pip into a new environment.
    make().or_else(|_| apt_install("python3-venv").and_then(|()| make()))
}

fn apt_install(package: &str) -> Result<(), String> {
    if !on_path("apt-get") || !is_root() {
        return Err(format!("please install `{package}`: it is needed here"));
    }
    let apt = |args: &[&str]| {
        let mut command = Command::new("apt-get");
        command.args(["--yes", "--quiet"]).args(args).env("DEBIAN_FRONTEND", "noninteractive");
        run(command)
    };
    // A new machine's lists of packages may be old, or not there at all.
    apt(&["install", package]).or_else(|_| apt(&["update"]).and_then(|()| apt(&["install", package])))
}

fn is_root() -> bool {
    Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}

fn on_path(name: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(name).is_file())
}

fn cargo() -> OsString {
    std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"))
}

fn show(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name().unwrap_or(command.get_program()).to_string_lossy().into_owned();
    std::iter::once(program).chain(command.get_args().map(|arg| arg.to_string_lossy().into_owned())).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_shown_as_one_would_type_it() {
        let mut command = Command::new("/usr/bin/cargo");
        command.args(["test", "--workspace"]);
        assert_eq!(show(&command), "cargo test --workspace");
    }

    #[test]
    fn lines_pass_and_a_hang_is_ended() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo one; echo two; exit 3"]);
        let mut seen = Vec::new();
        let outcome = lines(command, Duration::from_secs(20), |line| seen.push(line.to_owned()));
        assert_eq!(seen, ["one", "two"]);
        assert!(outcome.unwrap_err().contains("3"));

        let mut command = Command::new("sleep");
        command.arg("60");
        assert!(lines(command, Duration::from_millis(50), |_| ()).unwrap_err().contains("was ended"));
    }

    #[test]
    fn metadata_is_read_with_its_kinds() {
        let text = r#"{"packages":[{"name":"a","manifest_path":"/w/crates/a/Cargo.toml","dependencies":[
            {"name":"b","kind":null},{"name":"c","kind":"dev"}]}],"workspace_root":"/w","target_directory":"/w/target","version":1}"#;
        let metadata: Metadata = serde_json::from_str(text).unwrap();
        let kinds: Vec<_> = metadata.packages[0].dependencies.iter().map(|dependency| dependency.kind.as_deref()).collect();
        assert_eq!(kinds, [None, Some("dev")]);
    }
}
