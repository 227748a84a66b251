//! The command line itself: help, completions, JSON, and no colour where none is wanted.

use std::process::Command;

use serde_json::Value;

use crate::process::{Said, finish, marque};
use crate::world::World;

#[test]
fn every_command_has_help_that_fits_a_terminal() {
    let all = commands(&[]);
    assert!(all.len() >= 30, "{all:?}");
    for command in &all {
        let command: Vec<&str> = command.iter().map(String::as_str).collect();
        let said = help(&command);
        said.must(0, &["Usage: marque", "--help"]);
        for line in said.out.lines() {
            assert!(line.chars().count() <= 100, "the help of {command:?} has a line that is too long: {line}");
        }
        assert!(said.err.is_empty(), "{said:?}");
    }
}

/// Every command and the commands below it, found as a user finds them.
fn commands(above: &[&str]) -> Vec<Vec<String>> {
    let text = help(above).out;
    let list = text.split_once("Commands:\n").map_or("", |(_, list)| list).split("\n\n").next().unwrap_or_default();
    let mut found = Vec::new();
    for line in list.lines().filter_map(|line| line.strip_prefix("  ")) {
        let name = line.split(' ').next().unwrap_or_default();
        // A line that continues the one above starts with more white space.
        if name.is_empty() || name == "help" {
            continue;
        }
        let command = [above, &[name]].concat();
        found.push(command.iter().map(|word| (*word).to_owned()).collect());
        found.extend(commands(&command));
    }
    found
}

fn help(command: &[&str]) -> Said {
    bare(&[command, &["--help"]].concat())
}

/// The binary with these arguments and nothing else.
fn bare(args: &[&str]) -> Said {
    let mut command = Command::new(marque());
    command.args(args).env_clear().env("PATH", "/usr/bin:/bin").env("TERM", "xterm-256color");
    finish(command, "")
}

#[test]
fn completions_are_there_for_each_shell() {
    for shell in ["bash", "zsh", "fish"] {
        let said = bare(&["completions", shell]);
        said.must(0, &["marque", "who-can", "elevation"]);
        assert!(said.out.lines().count() > 100, "{shell}");
    }
    bare(&["completions", "tea"]).must(2, &["tea", "bash"]);
}

#[test]
fn the_version_is_that_of_the_package() {
    bare(&["--version"]).must(0, &[concat!("marque ", env!("CARGO_PKG_VERSION"))]);
}

#[test]
fn the_example_is_planned_applied_and_then_as_it_should_be() {
    let world = World::new();
    let server = world.serve();
    let example = world.path("example");
    world.run(&["init", &example]).must(0, &["wrote", "identities.yaml", "plan -f"]);
    world.run(&["init", &example]).must(2, &["nothing is overwritten"]);
    let plan = world.run(&["plan", "-f", &example]);
    plan.must(0, &["+ spiffe://example.org/agent/researcher", "+ tool:crm/find_customer", "Nothing was changed"]);
    let before = world.entries();
    assert_eq!(world.run(&["plan", "-f", &example]).out, plan.out, "planning changed something");
    assert_eq!(world.entries(), before);
    world.run(&["apply", "-f", &example]).must(0, &["applied; policies sha256:"]);
    world.run(&["plan", "-f", &example]).must(0, &["Everything is as the manifest says."]);
    assert_eq!(world.json(&["plan", "-f", &example]), Value::Array(Vec::new()));
    let schema = bare(&["schema"]);
    let written = std::fs::read_to_string(world.dir().join("example/marque.schema.json")).unwrap();
    assert_eq!(schema.out.trim(), written.trim());
    drop(server);
}

#[test]
fn listings_are_json_for_machines_and_plain_text_for_pipes() {
    let world = World::with_example();
    let server = world.serve();
    world.run(&["task", "start", "--as", "agent/researcher", "--purpose", "something to list"]).must(0, &["started task_"]);
    world.write("stray.md", "no agent wrote this");
    let stray = world.path("stray.md");
    let listings: &[&[&str]] = &[
        &["status"],
        &["task", "list"],
        &["identity", "list"],
        &["identity", "instances", "agent/researcher"],
        &["person", "list"],
        &["elevation", "list"],
        &["records"],
        &["findings"],
        &["can", "agent/researcher"],
        &["who-can", "invoke", "tool:crm/find_customer"],
        &["views", "rebuild"],
        &["ledger", "verify"],
    ];
    for listing in listings {
        let value = world.json(listing);
        assert!(value.is_array() || value.is_object(), "{listing:?}: {value}");
        plain(&finish_coloured(&world, listing));
    }
    let failing: &[&[&str]] = &[&["can", "agent/nobody"], &["who-can", "fly", "tool:a/b"], &["frobnicate"], &["trace", &stray]];
    for args in failing {
        let said = finish_coloured(&world, args);
        assert_ne!(said.code, Some(0), "{said:?}");
        plain(&said);
    }
    let tasks = world.json(&["task", "list"]);
    assert_eq!(tasks[0]["purpose"], "something to list");
    let access = world.json(&["who-can", "invoke", "tool:crm/find_customer"]);
    assert_eq!(access.as_array().unwrap().len(), 2, "{access}");
    drop(server);
}

/// A command whose output goes to a pipe, with a terminal's name in its environment and no word on colour.
fn finish_coloured(world: &World, args: &[&str]) -> Said {
    let mut command = world.command(args);
    command.env_remove("NO_COLOR").env("TERM", "xterm-256color");
    finish(command, "")
}

fn plain(said: &Said) {
    assert!(!said.all().contains('\u{1b}'), "there are escape codes in a pipe: {said:?}");
    assert!(!said.all().trim().is_empty(), "nothing was said: {said:?}");
}

#[test]
fn what_is_suggested_names_the_state_directory_and_what_was_cut() {
    let world = World::new();
    let server = world.serve();
    let (state, example) = (world.state(), world.path("example"));
    let marque = format!("marque --state {}", state.display());
    world.run(&["task", "list"]).must(0, &["No task was started."]);
    world.run(&["records"]).must(0, &["No agent has done anything."]);
    world.run(&["init", &example]).must(0, &[&format!("then: {marque} plan -f {example}")]);
    world.run(&["plan", "-f", &example]).must(0, &[&format!("To make it so: {marque} apply -f {example}")]);
    world.run(&["apply", "-f", &example]).must(0, &[]);
    let start = ["task", "start", "--as", "agent/researcher", "--purpose", "x", "--ttl", "9999h"];
    world.run(&start).must(0, &["(cut to the longest, 7d)", &format!("next: {marque} run --as agent/researcher")]);
    let mut command = world.command(&start);
    command.env("MARQUE_STATE", &state);
    finish(command, "").must(0, &["next: marque run --as agent/researcher"]);
    world.run(&["status"]).must(0, &["server        running", "issuer"]);
    let task = world.json(&["task", "list"])[0]["id"].as_str().unwrap().to_owned();
    let run = |program: &str| world.run(&["run", "--as", "agent/researcher", "--task", &task, "--", program]);
    run("no-such-program").must(127, &["cannot start `no-such-program`"]);
    run("/etc/passwd").must(126, &["cannot start `/etc/passwd`"]);
    world.run(&["revoke", "agent/researcher"]).must(0, &["revoked spiffe://example.org/agent/researcher", "tasks ended: 2"]);
    let list = world.run(&["task", "list"]);
    let words: Vec<&str> = list.out.lines().skip(1).filter_map(|line| line.split_whitespace().nth(1)).collect();
    assert_eq!(words, ["suspended", "suspended"], "{list:?}");
    drop(server);
}

#[test]
fn a_file_that_was_named_by_mistake_is_not_printed() {
    let world = World::with_example();
    world.write("letter.md", "a secret that somebody keeps\nin a file\n");
    let receipt = world.path("receipt.json");
    world.run(&["receipt", "get", "0", "--out", &receipt]).must(0, &["receipt of"]);
    let said = world.run(&["receipt", "verify", &receipt, "--key-file", &world.path("letter.md")]);
    said.must(2, &["letter.md` holds no verifier key"]);
    assert!(!said.all().contains("secret"), "{said:?}");
    let said = world.run(&["ledger", "verify", "--key-file", &world.path("letter.md")]);
    said.must(2, &["letter.md"]);
    assert!(!said.all().contains("secret"), "{said:?}");
}

#[test]
fn failures_are_json_on_standard_error_for_machines() {
    let world = World::with_example();
    let said = world.run(&["--json", "can", "agent/nobody"]);
    said.must(4, &[]);
    assert!(said.out.is_empty(), "{said:?}");
    let error: Value = serde_json::from_str(&said.err).unwrap();
    assert_eq!(error["code"], 4);
    assert!(error["error"].as_str().unwrap().contains("`agent/nobody`"), "{error}");
}
