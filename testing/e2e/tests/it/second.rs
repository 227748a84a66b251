//! One server to a state directory; the command line with it, without it, and with neither.

use std::os::unix::fs::PermissionsExt as _;

use crate::process::finish;
use crate::world::World;

#[test]
fn a_second_server_fails_and_the_first_goes_on() {
    let world = World::with_example();
    let mut first = world.serve();
    finish(world.serve_command(), "").must(1, &["state directory", "is in use by another marque process"]);
    world.run(&["task", "start", "--as", "agent/researcher", "--purpose", "after the second"]).must(0, &["started task_"]);
    assert!(!first.has_ended(), "{}", world.log_text());
    assert!(first.stop().success());
    // The lock goes with the process.
    let mut next = world.serve();
    assert_eq!(world.json(&["task", "list"]).as_array().unwrap().len(), 1);
    assert!(next.stop().success());
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
    world.run(&["status"]).must(0, &["entries"]);
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
