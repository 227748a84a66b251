//! One server to a state directory; the command line with it, without it, and with neither.

use std::os::unix::fs::PermissionsExt as _;

use crate::process::finish;
use crate::world::World;

#[test]
fn a_second_server_fails_and_the_first_goes_on() {
    let world = World::with_example();
    let mut first = world.serve();
    finish(world.serve_command(), "").must(1, &["is already served: stop that server, or use another --state"]);
    world.run(&["task", "start", "--as", "agent/researcher", "--purpose", "after the second"]).must(0, &["started task_"]);
    assert!(!first.has_ended(), "{}", world.log_text());
    assert!(first.stop().success());
    // The lock goes with the process.
    let mut next = world.serve();
    assert_eq!(world.json(&["task", "list"]).as_array().unwrap().len(), 1);
    assert!(next.stop().success());
}

#[test]
fn a_command_waits_for_the_server_that_was_started_with_it() {
    let world = World::with_example();
    for _ in 0..3 {
        let mut server = world.try_serve(world.serve_command());
        let task = world.json(&["task", "start", "--as", "agent/researcher", "--purpose", "at once"]);
        assert!(server.line().is_some_and(|line| line.contains("workload_api")), "no server: {}", world.log_text());
        assert_eq!(world.json(&["task", "list"])[0]["id"], task["id"]);
        assert!(server.stop().success());
    }
    // Who holds the directory and never answers is not a server.
    let lock = std::fs::File::open(world.state().join("lock")).unwrap();
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::NonBlockingLockExclusive).unwrap();
    world.run(&["status"]).must(1, &["holds", "does not answer on", "marque.sock"]);
}

#[test]
fn what_only_a_new_directory_takes_is_not_passed_over_in_silence() {
    let world = World::with_example();
    let with = |args: &[&str]| {
        let mut command = world.serve_command();
        command.args(args);
        finish(command, "")
    };
    with(&["--trust-domain", "other.org"]).must(2, &["the directory is of `example.org`"]);
    let mut command = world.command(&["serve", "--administrator", "eve@example.com"]);
    command.args(["--listen", "127.0.0.1:0", "--gateway", "127.0.0.1:0", "--console", "127.0.0.1:0"]);
    finish(command, "").must(2, &["`alice@example.com` first", "`marque person add`"]);
    let mut server = world.try_serve(world.serve_command());
    let line = server.line().unwrap();
    for word in ["\"trust_domain\":\"example.org\"", "\"first_person\":\"alice@example.com\"", "alice@example.com.token"] {
        assert!(line.contains(word), "{line}");
    }
    assert!(server.stop().success());
}

#[test]
fn an_address_in_use_is_named_with_its_option() {
    let world = World::with_example();
    let taken = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let free = "127.0.0.1:0";
    let said = world.run(&["serve", "--listen", free, "--gateway", &address, "--console", free]);
    said.must(1, &[&format!("cannot listen on `{address}`, the gateway's address"), "--gateway"]);
}

#[test]
fn commands_work_on_the_directory_when_no_server_runs() {
    let world = World::with_example();
    let task = world.json(&["task", "start", "--as", "agent/researcher", "--purpose", "without a server"]);
    let id = task["id"].as_str().unwrap();
    assert_eq!(world.json(&["task", "list"])[0]["id"], id);
    world.run(&["task", "finish", id]).must(0, &["is finished"]);
    let launch = ["run", "--as", "agent/researcher", "--task", id, "--", "true"];
    world.run(&launch).must(2, &["needs a running server", "marque serve"]);

    // Also beside the socket of a server that was killed.
    let mut server = world.serve();
    server.kill();
    assert!(world.state().join("marque.sock").exists());
    let said = world.run(&["status"]);
    said.must(0, &["server        not running; read from the files", "entries"]);
    assert!(!said.out.contains("issuer"), "{said:?}");
    let mut server = world.serve();
    assert_eq!(world.json(&["task", "list"])[0]["id"], id);
    assert!(server.stop().success());
}

#[test]
fn without_server_and_directory_the_way_on_is_named() {
    let world = World::new();
    let all: &[&[&str]] = &[&["status"], &["task", "list"], &["can", "agent/a"], &["views", "rebuild"], &["findings"]];
    for args in all {
        world.run(args).must(4, &["no server is running", "start `marque serve`"]);
    }
    assert!(!world.state().exists(), "asking made a state directory");
}

#[test]
fn what_is_secret_is_private() {
    let world = World::with_example();
    let mode = |name: &str| std::fs::metadata(world.state().join(name)).unwrap().permissions().mode() & 0o777;
    for folder in ["", "keys", "people", "log"] {
        assert_eq!(mode(folder), 0o700, "`{folder}`");
    }
    for file in ["keys/authority.json", "keys/log.key", "people/alice@example.com.token"] {
        assert_eq!(mode(file), 0o600, "`{file}`");
    }
}
