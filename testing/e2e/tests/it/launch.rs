//! What a child of an agent finds at its launch's own socket: credentials for that launch's task, and for no other.

use std::process::Command;

use crate::process::{PATIENCE, finish, marque, until};
use crate::world::World;

#[test]
fn what_a_child_fetches_works_in_its_task_alone() {
    let world = World::new();
    let _server = world.serve();
    world.write("manifest/all.yaml", MANIFEST);
    world.write("manifest/all.cedar", "@id(\"within-task\")\npermit (principal, action, resource);\n");
    world.run(&["apply", "-f", &world.path("manifest")]).must(0, &["agent/shell"]);
    let task = || world.json(&["task", "start", "--as", "agent/shell", "--purpose", "test"])["id"].as_str().unwrap().to_owned();
    let (its, other) = (task(), task());

    let run = world.command(&[
        "run",
        "--as",
        "agent/shell",
        "--task",
        &its,
        "--",
        "sh",
        "-c",
        &format!("{ASK}{CHILD}"),
        "sh",
        &its,
        &other,
    ]);
    let said = finish(inside(run, &world), "");
    let answers: Vec<&str> = said.out.lines().collect();
    assert_eq!(answers.len(), 2, "{said:#?}");
    assert!(answers[0].starts_with("{\"access_token\":\"eyJ"), "the control: {}", answers[0]);
    assert!(!answers[1].contains("access_token") && answers[1].contains("was launched for task"), "{}", answers[1]);

    // What it wrote down is worth nothing once its processes have ended.
    let again = || {
        let mut command = Command::new("sh");
        command.args(["-c", &format!("{ASK}ask $1"), "sh", &its]).env("MARQUE_ISSUER", issuer(&world));
        finish(inside(command, &world), "").out
    };
    assert!(until(PATIENCE, || !again().contains("access_token")), "{}", again());
}

fn issuer(world: &World) -> String {
    world.json(&["status"])["issuer"].as_str().unwrap().to_owned()
}

/// In the world's folder, where it finds this build's program.
fn inside(mut command: Command, world: &World) -> Command {
    let binaries = marque().parent().unwrap().to_owned();
    command.env("PATH", format!("{}:/usr/local/bin:/usr/bin:/bin", binaries.display())).current_dir(world.dir());
    command
}

const MANIFEST: &str = "\
identities:
  - name: agent/shell
    kind: agent
    owner: alice@example.com
    purpose: Looks for credentials
    selectors: [\"launched:identity:agent/shell\"]
    ceiling: [\"invoke:tool:office/*\"]
resources: []
";

/// Asks for a token of the task that it is given.
const ASK: &str = "\
ask() {
  curl --silent --cacert svid/bundle.pem --cert svid/svid.pem --key svid/key.pem $MARQUE_ISSUER/oauth/token \\
    -d grant_type=urn:ietf:params:oauth:grant-type:token-exchange -d subject_token_type=urn:ietf:params:oauth:token-type:jwt \\
    --data-urlencode subject_token@jwt -d task=$1
  echo
}
";

const CHILD: &str = "\
marque svid x509 --out svid > /dev/null
printf %s \"$(marque svid jwt --audience $MARQUE_ISSUER)\" > jwt
ask $1
ask $2
";
