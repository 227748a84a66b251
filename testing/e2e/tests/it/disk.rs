//! A disk that is full, and directories that cannot be written.
//!
//! A limit on the size of files stands in for a full disk: with its signal ignored, the write that goes beyond it fails
//! with an error of the system, as one on a full disk does. Without, the signal kills the process in the middle.

use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use rustix::process::geteuid;

use crate::load;
use crate::process::{PATIENCE, finish, marque, until};
use crate::world::{World, clean};

#[test]
fn a_full_disk_ends_the_server_and_loses_nothing() {
    let world = World::with_example();
    let key = world.pinned_key();
    let mut acknowledged = Vec::new();
    // In blocks of 512 bytes: the log, or its views, will not fit.
    for (blocks, prelude) in [(700, IGNORED), (5_000, IGNORED), (8_000, KILLED)] {
        let context = format!("{blocks} blocks, {prelude:?}");
        let mut server = world.try_serve(limited(&world, blocks, prelude));
        let ready = server.line().is_some();
        if prelude == IGNORED {
            assert!(ready, "{context}: {}", world.log_text());
        }
        acknowledged.extend(load::tasks(&world, |_| {
            let ended = until(PATIENCE, || server.has_ended());
            assert!(ended, "{context}: the server goes on");
        }));
        let status = server.wait();
        if prelude == IGNORED {
            let log = world.log_text();
            assert_eq!(status.code(), Some(1), "{context}: {log}");
            let last: serde_json::Value = serde_json::from_str(log.lines().last().unwrap()).unwrap();
            assert_eq!(last["code"], 1, "{context}: {log}");
        } else {
            assert!(!status.success(), "{context}");
        }

        let mut server = world.serve();
        world.verified(&key);
        world.keeps(&acknowledged, &context);
        world.run(&["task", "start", "--as", "agent/researcher", "--purpose", "there is room again"]).must(0, &[]);
        assert!(server.stop().success(), "{context}: {}", world.log_text());
    }
    assert!(!acknowledged.is_empty(), "nothing was acknowledged, so nothing was shown");
}

#[test]
fn a_disk_that_is_full_from_the_start_is_said_and_can_be_repaired() {
    for blocks in [16, 64, 400] {
        let world = World::new();
        let said = finish(limited(&world, blocks, IGNORED), "");
        said.must(1, &["error"]);
        let mut server = world.serve();
        world.run(&["status"]).must(0, &["entries"]);
        assert!(server.stop().success(), "{blocks} blocks: {}", world.log_text());
    }
}

/// A server whose files have at most so many blocks of 512 bytes.
fn limited(world: &World, blocks: u32, prelude: &str) -> Command {
    let serve = world.serve_command();
    let mut command = clean(Command::new("sh"));
    // POSIX counts in blocks of 512 bytes; a shell that counts in 1,024 gives twice as much, which is still too little.
    command.arg("-c").arg(format!("{prelude} ulimit -c 0; ulimit -f {blocks}; exec \"$@\"")).arg("sh");
    command.arg(serve.get_program()).args(serve.get_args());
    command
}

#[test]
fn a_state_directory_below_a_file_is_an_error() {
    let world = World::new();
    world.write("state", "this is a file");
    finish(world.serve_command(), "").must(1, &["cannot make directory"]);
    world.run(&["status"]).must(4, &["is not a state directory"]);
    assert_eq!(std::fs::read_to_string(world.state()).unwrap(), "this is a file");
}

#[test]
fn a_directory_that_cannot_be_written_is_an_error() {
    let world = World::with_example();
    let before = world.entries();
    let world_readable = |path: &Path, mode| std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    // Root may write everywhere, so another user tries, with a copy of the binary that this one may read.
    let mut binary = marque();
    if geteuid().is_root() {
        binary = world.dir().join("marque");
        std::fs::copy(marque(), &binary).unwrap();
        world_readable(&binary, 0o755);
    }
    let closed = world.dir().join("closed");
    std::fs::create_dir(&closed).unwrap();
    world_readable(&closed, 0o555);
    world_readable(&world.state(), 0o555);
    world_readable(world.dir(), 0o755);
    for state in [closed.join("state"), world.state()] {
        let mut command = clean(Command::new(&binary));
        command.arg("--state").arg(&state).args(world.serve_command().get_args().skip(2));
        if geteuid().is_root() {
            command.uid(NOBODY).gid(NOBODY);
        }
        let said = finish(command, "");
        said.must(1, &["error"]);
        assert!(said.all().contains("cannot") || said.all().contains("views:"), "{said:?}");
    }
    world_readable(&world.state(), 0o700);
    assert_eq!(world.entries(), before);
}

const IGNORED: &str = "trap '' XFSZ;";
const KILLED: &str = "";
const NOBODY: u32 = 65_534;
