//! Commits of a launched agent name the record that they hang from, and lead to it again.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::child::{called, variable};
use crate::office::Office;
use crate::process::{Said, finish};

/// What the agent writes by a tool and then commits.
const REPORT: &str = "# Weekly report\n\nThe customer register counts forty people in five towns this week, two more than in the \
    last one.\nNobody moved house, and three contracts are up for renewal before the end of autumn.\n";

#[test]
fn commits_name_their_record_and_lead_to_it() {
    let office = Office::open();
    office.world.write("manifest/report.yaml", TOOL);
    office.world.run(&["apply", "-f", &office.world.path("manifest")]).must(0, &[]);
    let repository = repository(&office, "repository");
    hook(&repository.join(".git/hooks"), "prepare-commit-msg", &office);
    hook(&repository.join(".git/hooks"), "post-commit", &office);
    let mut launched = office.probe_with("commit", &["--git-trailers"]);
    // What git is told by the environment already stays.
    launched.env("GIT_CONFIG_COUNT", "1").env("GIT_CONFIG_KEY_0", "user.name").env("GIT_CONFIG_VALUE_0", "A Robot");
    let said = finish(launched, "");
    assert_eq!(said.code, Some(0), "{said:#?}\nthe server says: {}", office.world.log_text());

    let messages = git(&repository, &["log", "--reverse", "--format=%B%x00"]).out;
    let messages: Vec<&str> = messages.split('\0').map(str::trim).filter(|message| !message.is_empty()).collect();
    assert_eq!(messages.len(), 3, "{messages:#?}");
    let record = || trailers(messages[1], "Agent-Action: rec_");
    assert_eq!((trailers(messages[0], "Agent-Task: task_").len(), trailers(messages[0], "Agent-Action").len()), (1, 0));
    assert_eq!((record().len(), trailers(messages[1], "Agent-Task").len()), (1, 0));
    // Amended once more, it still has one.
    assert_eq!(trailers(messages[2], "Agent-Action: rec_"), record());
    assert_eq!(git(&repository, &["log", "-1", "--format=%an"]).out.trim(), "A Robot");
    let ran = std::fs::read_to_string(office.world.dir().join("ran")).unwrap();
    let count = |name: &str| ran.lines().filter(|line| *line == name).count();
    assert_eq!((count("prepare-commit-msg"), count("post-commit")), (4, 4), "the repository's own hooks run too");
    let left = std::fs::read_dir(office.world.state().join("run")).unwrap().map(|entry| entry.unwrap().path());
    assert_eq!(left.filter(|path| path.extension().is_some_and(|e| e == "marque-hooks")).count(), 0);

    leads_back(&office, &repository, record()[0]);
}

/// The repository's commits, traced.
#[track_caller]
fn leads_back(office: &Office, repository: &Path, trailer: &str) {
    let record = trailer.trim_start_matches("Agent-Action: ");
    let path = repository.to_str().unwrap();
    let said = office.world.run(&["--json", "trace", "--git", path]);
    said.must(0, &[]);
    let lines: Vec<Value> = said.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let commits: Vec<&Value> = lines.iter().filter(|line| line["commit"].is_object()).collect();
    assert_eq!(commits.len(), 3, "{said:#?}");
    let [third, second, first] = [0, 1, 2].map(|n| &commits[n]["trace"]);
    assert_eq!((&first["class"], &third["class"]), (&json!("none"), &json!("none")));
    assert_eq!(second["class"], "exact");
    assert_eq!(second["chains"][0]["decided"]["record"], record);
    assert_eq!(second["chains"][0]["found"]["at"], "/params/arguments/content");
    assert_eq!((&second["receipts"][0]["record"], &third["receipts"][0]["record"]), (&json!(record), &json!(record)));
    assert_eq!(lines.last().unwrap()["totals"]["exact"], 1);

    let told = office.world.run(&["trace", "--git", path]);
    told.must(0, &["report.md lines 1–4", "agent/probe", "for alice@example.com", "in this ledger, and the text comes from it"]);
    told.must(
        0,
        &["nothing in the text agrees with it", "3 commits: 1 exact, 2 not found", "checkpoint of example.org/marque/log"],
    );
    // One commit of them, and none that is attributed.
    office.world.run(&["trace", "--git", path, "HEAD~1^!"]).must(0, &["1 commit: 1 exact"]);
    office.world.run(&["trace", "--git", path, "HEAD^!"]).must(4, &["1 commit: 1 not found"]);
    office.world.run(&["trace", "--git", path, "--", "--output=x"]).must(2, &[]);
    office.world.run(&["trace", "--git", path, "no-such-branch"]).must(2, &["git:"]);

    // The same file in a folder, beside one that nobody here wrote.
    office.world.write("found/a/report.md", REPORT);
    office.world.write("found/stray.md", "no agent wrote this, nor anything like it");
    let folder = office.world.run(&["trace", &office.world.path("found")]);
    folder.must(0, &["a/report.md ← agent/probe", "stray.md", "2 files: 1 exact, 1 not found"]);
    pictures(office);
}

/// The picture, the lineage and the statement of one file.
#[track_caller]
fn pictures(office: &Office) {
    let world = &office.world;
    let (file, svg, prov, intoto) =
        (world.path("found/a/report.md"), world.path("report.svg"), world.path("prov.json"), world.path("intoto.json"));
    world.run(&["trace", &file, "--svg", &svg, "--prov", &prov, "--intoto", &intoto]).must(0, &["wrote", "lines 1–4"]);
    let read = |path: &str| std::fs::read_to_string(path).unwrap();
    assert!(read(&svg).starts_with("<?xml") && read(&svg).contains("lines 1–4 from A"));
    let prov: Value = serde_json::from_str(&read(&prov)).unwrap();
    assert!(prov["agent"].as_object().unwrap().contains_key("user:alice@example.com"), "{prov}");
    let envelope: Value = serde_json::from_str(&read(&intoto)).unwrap();
    assert_eq!(envelope["payloadType"], "application/vnd.in-toto+json");
    assert!(envelope["signatures"][0]["keyid"].as_str().unwrap().starts_with("example.org/marque/log+"), "{envelope}");
    let stray = world.path("found/stray.md");
    world.run(&["trace", &stray, "--intoto", &intoto]).must(4, &["no record has exactly these bytes"]);
    world.run(&["trace", &world.path("found"), "--svg", &svg]).must(2, &["is a folder"]);
}

/// Hooks that are elsewhere by `core.hooksPath` run as well, and a message that is written in an editor is named too.
#[test]
fn configured_hooks_run_and_editors_are_waited_for() {
    let office = Office::open();
    let repository = repository(&office, "repository");
    hook(&repository.join("githooks"), "commit-msg", &office);
    git(&repository, &["config", "core.hooksPath", "githooks"]).must(0, &[]);
    hook(&repository, "editor", &office);
    let mut launched = office.probe_with("commit", &["--git-trailers"]);
    launched.env("PROBE_EDITOR", repository.join("editor"));
    let said = finish(launched, "");
    assert_eq!(said.code, Some(0), "{said:#?}\nthe server says: {}", office.world.log_text());
    let message = git(&repository, &["log", "-1", "--format=%B"]).out;
    assert!(message.starts_with("Written in an editor"), "{message}");
    assert_eq!(trailers(&message, "Agent-Task: task_").len(), 1, "{message}");
    let ran = std::fs::read_to_string(office.world.dir().join("ran")).unwrap();
    assert_eq!(ran.lines().collect::<Vec<_>>(), ["editor", "commit-msg"]);
}

/// The agent, inside the launch.
pub fn commit() {
    let folder = PathBuf::from(variable("PROBE_FOLDER").unwrap());
    let repository = folder.join("repository");
    let git = |args: &[&str]| {
        let done = Command::new("git").arg("-C").arg(&repository).args(args).status().unwrap();
        assert!(done.success(), "git {args:?}");
    };
    let write = |name: &str, text: &str| std::fs::write(repository.join(name), text).unwrap();
    if let Some(editor) = variable("PROBE_EDITOR") {
        write("plan.md", "What is to be done first.\n");
        git(&["add", "plan.md"]);
        git(&["-c", &format!("core.editor={editor}"), "commit", "-q"]);
        return;
    }
    // Before it has done anything.
    write("plan.md", "First look at the register, then write about it.\n");
    git(&["add", "plan.md"]);
    git(&["commit", "-q", "-m", "Make a plan"]);
    let written = called("write_report", json!({ "name": "report.md", "content": REPORT }));
    assert_ne!(written["isError"], true, "{written}");
    write("report.md", REPORT);
    git(&["add", "report.md"]);
    git(&["commit", "-q", "-m", "Write the report"]);
    write("plan.md", "It is done.\n");
    git(&["commit", "-q", "-a", "-m", "Cross it off"]);
    git(&["commit", "-q", "--amend", "--no-edit"]);
}

/// An empty repository with a committer.
fn repository(office: &Office, name: &str) -> PathBuf {
    let path = office.world.dir().join(name);
    std::fs::create_dir(&path).unwrap();
    for args in
        [&["init", "-q", "-b", "main"][..], &["config", "user.name", "Nobody"], &["config", "user.email", "nobody@example.com"]]
    {
        git(&path, args).must(0, &[]);
    }
    path
}

fn git(repository: &Path, args: &[&str]) -> Said {
    let mut command = Command::new("git");
    command.env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin").env("GIT_CONFIG_NOSYSTEM", "1").env("HOME", repository);
    command.arg("-C").arg(repository).args(args);
    finish(command, "")
}

/// A hook that says that it ran; one called `editor` writes a message.
fn hook(folder: &Path, name: &str, office: &Office) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::create_dir_all(folder).unwrap();
    let ran = office.world.path("ran");
    let writes = if name == "editor" { "printf 'Written in an editor\\n' > \"$1\"\n" } else { "" };
    let path = folder.join(name);
    std::fs::write(&path, format!("#!/bin/sh\nprintf '{name}\\n' >> '{ran}'\n{writes}")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

/// The lines of a message that start so.
fn trailers<'a>(message: &'a str, start: &str) -> Vec<&'a str> {
    message.lines().filter(|line| line.starts_with(start)).collect()
}

const TOOL: &str = "\
resources:
  - { id: tool:office/write_report, description: Write a file into the report folder, risk: medium }
";
