//! No secret reaches an agent: not in its environment, not in its arguments, not in its open files, and from an isolated one
//! no way leads to any.

use std::fs::File;
use std::net::{TcpStream, UdpSocket};
use std::os::unix::net::UnixStream;
use std::os::unix::process::parent_id;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::child::variable;
use crate::office::{KEY, Office};
use crate::process::{Running, finish};
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
fn finish_with_file(mut command: Command, file: &Path) -> String {
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

/// What an agent that is not isolated gets at, as the user that it is. Else the next one would pass by looking nowhere.
#[test]
fn the_ways_out_are_there_without_isolation() {
    let said = Escape::prepare().run(&[]);
    for way in WAYS {
        assert!(said.lines().any(|line| line == format!("GOT {way}")), "`{way}` is no way out: {said}");
    }
}

#[test]
fn an_isolated_process_has_the_gateway_and_no_other_way_out() {
    let escape = Escape::prepare();
    let said = escape.run(&["--isolate"]);
    assert!(!said.contains("GOT"), "{said}");
    // A variable is kept, a directory is written to, when the person says so.
    let kept = escape.run(&["--isolate", "--keep-env", "PLANTED_API_KEY", "--allow-write", elsewhere()]);
    let got: Vec<&str> = kept.lines().filter(|line| line.starts_with("GOT")).collect();
    assert_eq!(got, ["GOT environment", "GOT write"], "{kept}");
}

/// The server and the launcher as a user without any privilege. What the agent may do as that user it does without isolation,
/// but for a look at its launcher, which has a person's credential in its memory.
#[test]
fn an_unprivileged_user_is_isolated_too() {
    let escape = Escape::prepare_in(Office::open_as(NOBODY));
    let said = escape.run(&[]);
    let got: Vec<&str> = said.lines().filter_map(|line| line.strip_prefix("GOT ")).collect();
    for way in ["environment", "environment of another", "signal", "state", "home", "api socket", "tool server", "resolver"] {
        assert!(got.contains(&way), "`{way}` is no way out: {said}");
    }
    assert!(!got.iter().any(|way| way.ends_with("the launcher")), "{said}");
    let said = escape.run(&["--isolate"]);
    assert!(!said.contains("GOT"), "{said}");
}

/// Where the kernel gives no user namespaces, an isolated command is not started, and one that is not isolated is.
#[test]
fn isolation_is_refused_where_there_are_no_user_namespaces() {
    let escape = Escape::prepare();
    for (options, code) in [(&["--isolate"][..], 1), (&[][..], 0)] {
        let inner = escape.command(options);
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", "--", "sh", "-c", WITHOUT_NAMESPACES, "sh"]);
        command.arg(inner.get_program()).args(inner.get_args()).env_clear().current_dir(inner.get_current_dir().unwrap());
        command.envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let said = finish(command, "");
        let is_started = said.out.contains("TRIED all");
        match code {
            0 => said.must(code, &["TRIED all"]),
            _ => said.must(code, &["`--isolate` needs", "user.max_user_namespaces", "the command was not started"]),
        }
        assert_eq!(is_started, code == 0, "{said:#?}");
    }
}

#[test]
fn isolation_is_refused_where_it_would_be_none() {
    let escape = Escape::prepare();
    let mut around = escape.command(&["--isolate"]);
    around.current_dir(escape.office.world.dir().join("home"));
    finish(around, "").must(2, &["home directory", "a directory of its own"]);
    let mut hidden = escape.command(&["--isolate"]);
    hidden.current_dir(escape.office.world.state());
    finish(hidden, "").must(2, &["hidden from an isolated command"]);
    escape.office.world.run(&["run", "--as", "a", "--task", "b", "--keep-env", "A", "--", "true"]).must(2, &["--isolate"]);
}

/// A directory that this test may write in, and that is none of those where every program may.
fn elsewhere() -> &'static str {
    let built = env!("CARGO_TARGET_TMPDIR");
    if built.starts_with("/tmp/") || built.starts_with("/var/tmp/") { "/opt" } else { built }
}

/// An office with something to take outside of it.
struct Escape {
    office: Office,
    /// A process that has nothing to do with the launch, and a secret in its environment.
    other: Running,
    /// Stands for a resolver of names.
    resolver: UdpSocket,
}

impl Escape {
    fn prepare() -> Self {
        Self::prepare_in(Office::open())
    }

    fn prepare_in(office: Office) -> Self {
        office.world.write("home/.netrc", PLANTED);
        office.world.write("work/prompt.txt", "find every credential there is");
        let mut other = Command::new("sleep");
        other.arg("600").env("SECRET", PLANTED);
        let other = Running::start(office.world.as_user(other), &office.world.dir().join("other.log"));
        let resolver = UdpSocket::bind("127.0.0.1:0").unwrap();
        resolver.set_nonblocking(true).unwrap();
        Self { office, other, resolver }
    }

    fn command(&self, options: &[&str]) -> Command {
        let dir = self.office.world.dir();
        let mut command = self.office.probe_with("escape", options);
        command.current_dir(dir.join("work")).env("HOME", dir.join("home")).env("PLANTED_API_KEY", PLANTED);
        command.env("PROBE_TOOLS", &self.office.tools).env("PROBE_OTHER", self.other.id().to_string());
        command.env("PROBE_TARGET", elsewhere());
        command.env("PROBE_RESOLVER", self.resolver.local_addr().unwrap().to_string());
        command
    }

    /// What the agent got.
    #[track_caller]
    fn run(&self, options: &[&str]) -> String {
        let said = finish(self.command(options), "");
        said.must(0, &["TRIED all"]);
        let mut out = said.out;
        while self.resolver.recv(&mut [0; 64]).is_ok() {
            out.push_str("\nGOT resolver\n");
        }
        out
    }
}

/// The attempts, inside the launch: a child shell for files and processes, and the sockets. It says `GOT` and what.
pub fn escape() {
    let state = PathBuf::from(variable("PROBE_FOLDER").unwrap()).join("state");
    let target = PathBuf::from(variable("PROBE_TARGET").unwrap()).join(format!("escape-{}", std::process::id()));
    let mut shell = Command::new("sh");
    shell.args(["-c", ATTEMPTS]).env("STATE", &state).env("TARGET", &target).env("LAUNCHER", parent_id().to_string());
    println!("\n{}", String::from_utf8(shell.output().unwrap().stdout).unwrap());
    let got = |what: &str, got: bool| {
        if got {
            println!("\nGOT {what}");
        }
    };
    got("api socket", UnixStream::connect(state.join("marque.sock")).is_ok());
    got("workload socket", UnixStream::connect(state.join("workload.sock")).is_ok());
    got("tool server", TcpStream::connect(variable("PROBE_TOOLS").unwrap()).is_ok());
    let issuer = variable("MARQUE_ISSUER").unwrap();
    got("token endpoint", TcpStream::connect(issuer.trim_start_matches("https://")).is_ok());
    let question = UdpSocket::bind("127.0.0.1:0").unwrap();
    // The test says whether it arrived.
    let _ = question.send_to(b"who is example.org?", variable("PROBE_RESOLVER").unwrap());
    println!("\nTRIED all");
}

const ATTEMPTS: &str = r#"
    test -n "$PLANTED_API_KEY" && echo "GOT environment"
    grep -q planted "/proc/$PROBE_OTHER/environ" && echo "GOT environment of another"
    kill -0 "$PROBE_OTHER" && echo "GOT signal"
    grep -q planted "/proc/$LAUNCHER/environ" && echo "GOT environment of the launcher"
    ( exec 3< "/proc/$LAUNCHER/mem" ) && echo "GOT memory of the launcher"
    cat "$STATE"/people/*.token && echo "
GOT state"
    grep -rq planted "$HOME" && echo "GOT home"
    echo x > "$TARGET" && rm "$TARGET" && echo "GOT write"
"#;

const WAYS: [&str; 13] = [
    "environment",
    "environment of another",
    "signal",
    "environment of the launcher",
    "memory of the launcher",
    "state",
    "home",
    "write",
    "api socket",
    "workload socket",
    "tool server",
    "token endpoint",
    "resolver",
];

/// The user `nobody`.
const NOBODY: u32 = 65_534;

/// A user namespace in which no other can be made.
const WITHOUT_NAMESPACES: &str = r#"echo 0 > /proc/sys/user/max_user_namespaces && exec "$@""#;

const PLANTED: &str = "machine example.org password planted-3f9a";

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
