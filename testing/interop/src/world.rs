//! What the judges speak to: Marque, a tool server behind it, a manifest, two people.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::fault::{Fault, Result};
use crate::manifest;
use crate::process::{Server, finish, renamed};
use crate::site::{Addresses, Site, serve};
use crate::workload::{OWN, fetch_jwt_svids};

/// Everything that runs, and ends with this.
#[derive(Debug)]
pub struct World {
    /// The server.
    pub site: Site,
    python: Option<PathBuf>,
    _tools: Server,
    /// Another trust domain's bundle endpoint, written in Go.
    _publisher: Option<Server>,
    /// The last to go: the servers write into it until they have ended.
    dir: tempfile::TempDir,
}

impl World {
    /// Starts everything, and applies the manifest.
    pub fn start() -> Result<Self> {
        let binary = variable("MARQUE_BIN").ok_or_else(|| Fault::new("`MARQUE_BIN` does not name the binary"))?;
        let python = variable("MARQUE_PYTHON");
        let dir = tempfile::Builder::new().prefix("marque-interop-").tempdir()?;
        let at = dir.path();

        let key_file = at.join("office.key");
        std::fs::write(&key_file, KEY)?;
        let mut command = Command::new(&binary);
        command.args(["demo", "tools", "--dir"]).arg(at.join("office")).arg("--key-file").arg(&key_file);
        let tools = Server::start("tool server", &mut command, at)?;
        let address = tools.line()?;

        let (publisher, federation) = publisher(at)?.unzip();
        let config = configuration(at, federation.as_deref());
        let site = Site::start("world", &binary, at, at.join("server"), &config)?;

        let world = Self { site, python, _tools: tools, _publisher: publisher, dir };
        world.marque(&["secret", "set", "office-key"], KEY)?;
        world.marque(&["person", "add", BOB], "")?;
        world.apply(&address)?;
        Ok(world)
    }

    /// A server of its own, without a configuration: with nothing that is experimental.
    pub fn plain(&self) -> Result<(Server, Addresses)> {
        serve(&self.site.binary, self.dir(), "plain-server", &self.dir().join("plain-server"), &[])
    }

    /// A server on what `marque demo` leaves.
    pub fn demo(&self) -> Result<Site> {
        Site::demo(&self.site.binary, self.dir())
    }

    /// Makes the log long enough to have full tiles and a second level of them.
    pub fn lengthen(&self) -> Result<()> {
        fetch_jwt_svids(self, MORE)
    }

    fn apply(&self, tools: &str) -> Result<()> {
        let own = std::env::current_exe()?;
        let python = self.python.as_deref().map(|python| Ok::<_, Fault>((python, interpreter(python)?))).transpose()?;
        let dir = self.dir().join("manifest");
        let python = python.as_ref().map(|(program, executable)| manifest::Python { program, executable });
        let programs = self.programs()?;
        manifest::write(&dir, &own, python, &programs, tools)?;
        self.marque(&["apply", "-f", &dir.display().to_string()], "").map(drop)
    }

    /// The executables of other agents, as far as they are here: name, path, hint.
    fn programs(&self) -> Result<Vec<(String, PathBuf, Option<String>)>> {
        std::fs::create_dir_all(self.dir().join("programs"))?;
        let mut programs = Vec::new();
        for name in [WARD, PEER] {
            programs.push((name.to_owned(), renamed(self.program(name))?, None));
        }
        if let Some(go) = variable("MARQUE_GO_SPIFFE") {
            for name in [GO, GO_PEER] {
                std::fs::copy(go.join("spiffe"), self.program(name))?;
                programs.push((name.to_owned(), self.program(name), None));
            }
        }
        if variable("MARQUE_JAVA").is_some() {
            let found = finish(Command::new("sh").args(["-c", "readlink -f \"$(command -v java)\""]), "")?.well("java")?;
            programs.push((JAVA.to_owned(), PathBuf::from(found.output.trim()), None));
        }
        if let Some(python) = &self.python {
            let client = client_file("x").with_file_name("../envoy/envoy_client.py");
            let found = finish(Command::new(python).arg(client).arg("executable"), "")?.well("envoy")?;
            programs.push((ENVOY.to_owned(), PathBuf::from(found.output.trim()), None));
            // Two identities of one process, which the crate's own tests expect.
            for name in ["myservice", "myservice2"] {
                programs.push((name.to_owned(), self.program("myservice"), Some(name.to_owned())));
            }
        }
        Ok(programs)
    }

    /// Where the executable of an agent is.
    pub fn program(&self, name: &str) -> PathBuf {
        self.dir().join("programs").join(name.replace('/', "-"))
    }

    /// The path of the Workload API's socket.
    pub fn workload_socket(&self) -> PathBuf {
        PathBuf::from(self.site.addresses.workload_api.trim_start_matches("unix://"))
    }

    /// A directory for whatever a judge needs.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The interpreter of the Python clients.
    pub fn python(&self) -> Result<&Path> {
        self.python.as_deref().ok_or_else(|| Fault::new("`MARQUE_PYTHON` does not name the interpreter"))
    }

    /// A command that runs one of the Python clients.
    pub fn client(&self, name: &str) -> Result<Command> {
        let mut command = Command::new(self.python()?);
        command.arg(client_file(name)).env("SPIFFE_ENDPOINT_SOCKET", &self.site.addresses.workload_api);
        Ok(command)
    }

    /// Runs one command of the CLI as alice, and takes its JSON.
    pub fn marque(&self, args: &[&str], input: &str) -> Result<Value> {
        self.site.marque(args, input)
    }

    /// Starts a task for the Python agent.
    pub fn task(&self, scope: &[&str]) -> Result<String> {
        let mut args = vec!["task", "start", "--as", PYTHON, "--purpose", "interop", "--ttl", "30m"];
        args.extend(scope.iter().flat_map(|grant| ["--scope", *grant]));
        let task = self.marque(&args, "")?;
        let id = task.get("id").and_then(Value::as_str).map(str::to_owned);
        id.ok_or_else(|| Fault::new(format!("a task was started without an id: {task}")))
    }

    /// A command that runs a Python client under `marque run`, at one service behind the gateway. Only the launched
    /// process knows the gateway's address, so a shell puts it in its place.
    pub fn launched(&self, task: &str, client: &str, service: &str) -> Result<Command> {
        let mut command = self.site.as_alice();
        command.args(["run", "--as", PYTHON, "--task", task, "--", "sh", "-c", LAUNCHED, "sh"]);
        command.arg(self.python()?).arg(client_file(client)).arg(service);
        Ok(command)
    }
}

/// The server's configuration: what is experimental, and this program as the one broker.
fn configuration(at: &Path, federation: Option<&str>) -> String {
    let socket = serde_json::json!(format!("unix://{}", at.join("broker.sock").display()));
    format!(
        "[experimental]\nwit_svid = \"{REVISION}\"\nbroker = \"{REVISION}\"\n\
         [broker]\nsocket = {socket}\nallow = [\"{OWN}\"]\n{}",
        federation.unwrap_or_default()
    )
}

/// Starts a foreign trust domain's bundle endpoint, and says how to federate with it (`https_spiffe`).
fn publisher(at: &Path) -> Result<Option<(Server, String)>> {
    let Some(go) = variable("MARQUE_GO_SPIFFE") else { return Ok(None) };
    let dir = at.join("federated");
    std::fs::create_dir_all(&dir)?;
    let mut command = Command::new(go.join("spiffe"));
    command.args(["publish", FEDERATED]).arg(&dir);
    let server = Server::start("bundle endpoint", &mut command, at)?;
    let line: Value = serde_json::from_str(&server.line()?)?;
    let field = |name: &str| line.pointer(&format!("/ready/{name}")).and_then(Value::as_str).unwrap_or_default().to_owned();
    let (url, endpoint, bundle) = (field("https_spiffe"), field("endpoint"), dir.join("bundle.json"));
    let config = format!(
        "[[federation]]\ntrust_domain = \"{FEDERATED}\"\nurl = \"{url}\"\nendpoint_id = \"{endpoint}\"\nbundle = {}\n",
        serde_json::json!(bundle)
    );
    Ok(Some((server, config)))
}

/// The executable that the kernel sees when `python` runs: that of a virtual environment is another's.
fn interpreter(python: &Path) -> Result<PathBuf> {
    let mut command = Command::new(python);
    command.args(["-c", "import os; print(os.readlink('/proc/self/exe'))"]);
    let ended = finish(&mut command, "")?.well("the interpreter")?;
    Ok(PathBuf::from(ended.output.trim()))
}

/// Where a client's program is.
pub fn client_file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("clients").join(name)
}

/// A variable of the environment that names something, if it does.
pub fn variable(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).filter(|value: &OsString| !value.is_empty()).map(PathBuf::from)
}

/// The revision of the SPIFFE specifications for what is experimental.
const REVISION: &str = "665a28f3";
/// So many JWT-SVIDs are fetched: each is one entry or more.
const MORE: u32 = 300;
/// The other trust domain.
const FEDERATED: &str = "example-federated.org";
const BOB: &str = "bob@example.com";
/// The identities of the Go program, at either of its paths.
pub const GO: &str = "agent/go";
pub const GO_PEER: &str = "agent/go-peer";
/// The identity of the Java program.
pub const JAVA: &str = "agent/java";
/// The identity of Envoy.
pub const ENVOY: &str = "service/envoy";
/// The identity of the process that the broker speaks for.
pub const WARD: &str = "agent/ward";
/// The identity of the process at the other end of a mutual TLS connection.
pub const PEER: &str = "agent/rustls-peer";
/// The identity of the Python clients.
pub const PYTHON: &str = "agent/python";
/// The tool server demands it, and only the gateway has it.
const KEY: &str = "the-key-of-the-office";
const LAUNCHED: &str =
    r#"python=$1; client=$2; service=$3; shift 3; exec "$python" "$client" "$MARQUE_GATEWAY/mcp/$service" "$@""#;
