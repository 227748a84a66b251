//! Well-known packages whose documentation is worth reading, by their registries' own clients.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::Result;

/// Downloads and unpacks what is not there yet; names what could not be had.
pub fn download(base: &Path) -> Result<Vec<String>> {
    let mut missing = Vec::new();
    for (registry, packages) in [(Registry::Python, PYTHON), (Registry::Node, NODE)] {
        for package in packages {
            let folder = base.join(registry.name()).join(package.replace('/', "-"));
            if folder.join(DONE).exists() {
                continue;
            }
            eprintln!("marque-accuracy: downloading {package}");
            if let Err(error) = registry.fetch(package, &folder) {
                missing.push(format!("`{package}`: {error}"));
                let _ = fs::remove_dir_all(&folder);
            }
        }
    }
    Ok(missing)
}

/// Where packages come from.
#[derive(Clone, Copy)]
enum Registry {
    Python,
    Node,
}

impl Registry {
    fn name(self) -> &'static str {
        match self {
            Self::Python => "python",
            Self::Node => "node",
        }
    }

    /// Fetches the source of one package, which has the documentation that a built one leaves out.
    fn fetch(self, package: &str, folder: &Path) -> Result<()> {
        fs::create_dir_all(folder)?;
        let mut command = match self {
            Self::Python => {
                let mut pip = Command::new("pip");
                pip.args(["download", "--quiet", "--no-deps", "--no-binary", ":all:", "--dest", "."]);
                pip.arg(package.replace('@', "=="));
                pip
            }
            Self::Node => {
                let mut npm = Command::new("npm");
                npm.args(["pack", "--silent", package]);
                npm
            }
        };
        run(command.current_dir(folder))?;
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "gz" || extension == "tgz") {
                run(Command::new("tar").arg("xzf").arg(&path).arg("-C").arg(folder))?;
                fs::remove_file(&path)?;
            }
        }
        Ok(fs::write(folder.join(DONE), "")?)
    }
}

fn run(command: &mut Command) -> Result<()> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.stdin(Stdio::null()).output().map_err(|error| format!("cannot start `{name}`: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).lines().next_back().unwrap_or_default().to_owned();
    Err(format!("`{name}` failed: {said}").into())
}

/// Says that a package is there as a whole.
const DONE: &str = ".done";

const PYTHON: &[&str] = &[
    "Django@5.1.4",
    "Flask@3.1.0",
    "Jinja2@3.1.5",
    "Sphinx@8.1.3",
    "Werkzeug@3.1.3",
    "celery@5.4.0",
    "click@8.1.8",
    "docutils@0.21.2",
    "pytest@8.3.4",
    "requests@2.32.3",
];

const NODE: &[&str] = &[
    "@hapi/hapi@21.3.12",
    "axios@1.7.9",
    "commander@13.0.0",
    "express@4.21.2",
    "fastify@5.2.0",
    "got@14.4.5",
    "luxon@3.5.0",
    "pino@9.6.0",
    "socket.io@4.8.1",
    "undici@7.2.0",
    "winston@3.17.0",
    "ws@8.18.0",
];
