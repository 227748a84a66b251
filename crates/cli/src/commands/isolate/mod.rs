//! `marque run --isolate`: the gateway is the command's only way out.
//!
//! The launcher starts this program again, as `marque __inside`, which shuts itself in and then becomes the command:
//!
//! 1. namespaces of its own for users, network, mounts and System V objects ([`namespaces`]). On its loopback it makes the
//!    listener that the server takes over: the server accepts there, and still looks at each process that connects;
//! 2. what holds credentials is hidden: the state directory, and the usual files below the home directory;
//! 3. no capabilities, no new privileges; it writes only where it may and signals only its own ([`limits`]);
//! 4. no sockets but those of the network, which the namespace cuts: Unix sockets are reached by paths, past any network
//!    namespace, and behind them stand the session bus, container engines and agents of keys ([`limits`]).
//!
//! Whatever the kernel refuses ends it before the command runs.

mod environment;
mod limits;
mod namespaces;

use std::ffi::OsStr;
use std::io::Read as _;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use marque_server::launch::Doorway;

use super::run::not_started;
use crate::args::{InsideArgs, RunArgs};
use crate::failure::{Failure, Result};
use crate::output::Output;

/// The command that becomes the one of `args`, isolated.
pub(super) fn command(doorway: &Doorway, args: &RunArgs, state: &Path) -> Result<tokio::process::Command> {
    let gate = doorway.hand_over.as_ref().ok_or_else(|| Failure::failed("the server does not know isolated launches"))?;
    let home = std::env::var_os("HOME").filter(|home| !home.is_empty()).map(PathBuf::from);
    let hidden = hidden(state, home.as_deref())?;
    let writable = writable(&std::env::current_dir()?, home.as_deref(), &hidden, &args.allow_write)?;
    // The very file that runs, whatever has become of its path.
    let mut command = tokio::process::Command::new("/proc/self/exe");
    command.arg("__inside").arg("--gate").arg(gate);
    for path in hidden {
        command.arg("--hide").arg(path);
    }
    for path in writable {
        command.arg("--allow-write").arg(path);
    }
    command.arg("--").args(&args.command);
    for (name, _) in std::env::vars_os() {
        let kept = args.keep_env.iter().any(|kept| OsStr::new(kept) == name);
        if !kept && environment::is_credential(&name) {
            command.env_remove(name);
        }
    }
    Ok(command)
}

/// The inner half: shuts itself in and becomes the command. It must be called while the process has one thread.
pub(super) fn inside(args: &InsideArgs, output: &Output) -> Result<ExitCode> {
    let (program, arguments) = args.command.split_first().ok_or_else(|| Failure::input("name a program after `--`"))?;
    nothing_inherited()?;
    // A Unix socket by its path is in no network namespace; so is the connection that it gives.
    let server = UnixStream::connect(&args.gate).map_err(|e| Failure::failed(format!("cannot reach the server: {e}")))?;
    namespaces::enter()?;
    namespaces::loopback_up()?;
    let address = hand_over(server)?;
    for path in &args.hide {
        namespaces::hide(path)?;
    }
    namespaces::drop_capabilities()?;
    limits::files_and_signals(&args.allow_write)?;
    limits::sockets()?;
    let gateway = format!("http://{address}");
    let failed = std::process::Command::new(program).args(arguments).env("MARQUE_GATEWAY", gateway).exec();
    let _ = output.failure(&Failure::failed(format!("cannot start `{}`: {failed}", program.display())));
    Ok(not_started(&failed))
}

/// Makes the listener in the new network namespace and gives it to the server: its address.
fn hand_over(mut server: UnixStream) -> Result<std::net::SocketAddr> {
    let listener = std::net::TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0))?;
    namespaces::send(&server, &listener)?;
    server.set_read_timeout(Some(PATIENCE))?;
    server
        .read_exact(&mut [0])
        .map_err(|e| Failure::failed(format!("the server did not take the launch's listener: {e}; its log says why")))?;
    Ok(listener.local_addr()?)
}

/// An open socket or directory would lead out past everything that follows.
fn nothing_inherited() -> Result<()> {
    for entry in std::fs::read_dir("/proc/self/fd")?.flatten() {
        let number: u32 = entry.file_name().to_str().and_then(|n| n.parse().ok()).unwrap_or(0);
        let Ok(target) = std::fs::read_link(entry.path()) else { continue };
        let socket = target.to_string_lossy().starts_with("socket:");
        // The listing itself is a directory of this process.
        let directory = target.is_dir() && !target.starts_with("/proc");
        if number > 2 && (socket || directory) {
            let text = format!("descriptor {number} leads out of isolation, as an open socket or directory: close it");
            return Err(Failure::input(text));
        }
    }
    Ok(())
}

/// What the command does not see: the state directory, and where credentials usually are.
fn hidden(state: &Path, home: Option<&Path>) -> Result<Vec<PathBuf>> {
    let state = state.canonicalize().map_err(|e| Failure::failed(format!("cannot read `{}`: {e}", state.display())))?;
    let usual = CREDENTIALS.iter().filter_map(|name| home?.join(name).canonicalize().ok());
    Ok(std::iter::once(state).chain(usual).collect())
}

/// Where the command may write: its working directory, what was asked for, and what every program writes to.
fn writable(here: &Path, home: Option<&Path>, hidden: &[PathBuf], more: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let here = here.canonicalize()?;
    if home.and_then(|home| home.canonicalize().ok()).unwrap_or_else(|| "/".into()).starts_with(&here) {
        let why = "an isolated command may write in its working directory, and your home directory lies within";
        return Err(Failure::input(format!("{why} `{}`: start it in a directory of its own", here.display())));
    }
    if let Some(hidden) = hidden.iter().find(|hidden| here.starts_with(hidden)) {
        return Err(Failure::input(format!("`{}` is hidden from an isolated command: start it elsewhere", hidden.display())));
    }
    let mut paths = vec![here];
    for path in more {
        paths.push(path.canonicalize().map_err(|e| Failure::input(format!("--allow-write `{}`: {e}", path.display())))?);
    }
    paths.extend(ORDINARY.iter().map(PathBuf::from).filter(|path| path.exists()));
    Ok(paths)
}

/// A refusal of the kernel or of who set it up.
fn needs(what: &str, error: impl std::fmt::Display) -> Failure {
    Failure::failed(format!("`--isolate` needs {what}, and this system refuses: {error}; the command was not started"))
}

/// Below the home directory.
const CREDENTIALS: [&str; 20] = [
    ".aws",
    ".azure",
    ".cargo/credentials.toml",
    ".config/gcloud",
    ".config/gh",
    ".config/op",
    ".config/rclone",
    ".docker",
    ".git-credentials",
    ".gnupg",
    ".kube",
    ".local/share/keyrings",
    ".local/state/marque",
    ".netrc",
    ".npmrc",
    ".password-store",
    ".pgpass",
    ".pypirc",
    ".ssh",
    ".vault-token",
];

/// Devices by name: the directory has disks too.
const ORDINARY: [&str; 10] = [
    "/tmp",
    "/dev/full",
    "/dev/null",
    "/dev/ptmx",
    "/dev/pts",
    "/dev/random",
    "/dev/shm",
    "/dev/tty",
    "/dev/urandom",
    "/dev/zero",
];

const PATIENCE: Duration = Duration::from_secs(15);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_working_directory_around_the_home_directory_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let (home, work) = (folder.path().join("home"), folder.path().join("home/work"));
        std::fs::create_dir_all(&work).unwrap();
        for around in [home.as_path(), folder.path(), Path::new("/")] {
            assert!(writable(around, Some(&home), &[], &[]).unwrap_err().message.contains("a directory of its own"));
        }
        let paths = writable(&work, Some(&home), &[], std::slice::from_ref(&home)).unwrap();
        assert_eq!(paths[..2], [work.canonicalize().unwrap(), home.canonicalize().unwrap()]);
        assert!(writable(&work, Some(&home), &[], &[home.join("missing")]).is_err());
        assert!(writable(&work, Some(&home), &[work.canonicalize().unwrap()], &[]).is_err(), "what is hidden is no place to be");
    }

    #[test]
    fn the_state_directory_and_what_there_is_of_credentials_are_hidden() {
        let folder = tempfile::tempdir().unwrap();
        let (state, home) = (folder.path().join("state"), folder.path().join("home"));
        std::fs::create_dir_all(&state).unwrap();
        std::fs::create_dir_all(home.join(".ssh")).unwrap();
        let expected = [state.clone(), home.join(".ssh")].map(|path| path.canonicalize().unwrap());
        assert_eq!(hidden(&state, Some(&home)).unwrap(), expected);
        assert_eq!(hidden(&state, None).unwrap(), expected[..1]);
        assert!(hidden(&folder.path().join("missing"), None).is_err());
    }
}
