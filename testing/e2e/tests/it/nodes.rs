//! Nodes in network namespaces: each serves the Workload API on a socket of its own and reaches the server over one link.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::process::{PATIENCE, Running, marque, until};
use crate::world::{ALICE, World, clean};

/// How long a node may show what it has, in these tests.
const MAX_STALENESS: Duration = Duration::from_secs(3);
/// By how much a busy machine may be late.
const SLACK: Duration = Duration::from_secs(10);

/// A network namespace with one link to this one.
struct Net {
    name: String,
    link: String,
    /// Our address on the link.
    host: String,
}

impl Net {
    fn new(index: u32) -> Self {
        let id = std::process::id();
        let (name, link, inner) = (format!("mq{id}n{index}"), format!("mq{id}n{index}a"), format!("mq{id}n{index}b"));
        let subnet = format!("10.{}.{index}", 200 + id % 50);
        let (host, theirs) = (format!("{subnet}.1"), format!("{subnet}.2/30"));
        ip(&["netns", "add", &name]);
        // From here on it is taken down again, whatever fails.
        let net = Self { name, link, host };
        ip(&["link", "add", &net.link, "type", "veth", "peer", "name", &inner]);
        ip(&["link", "set", &inner, "netns", &net.name]);
        ip(&["addr", "add", &format!("{}/30", net.host), "dev", &net.link]);
        ip(&["-n", &net.name, "addr", "add", &theirs, "dev", &inner]);
        ip(&["-n", &net.name, "link", "set", &inner, "up"]);
        net.set("up");
        net
    }

    /// Takes the link down, or brings it up.
    fn set(&self, to: &str) {
        ip(&["link", "set", &self.link, to]);
    }

    /// A command inside.
    fn command(&self, program: &std::path::Path) -> Command {
        let mut command = clean(Command::new("ip"));
        command.args(["netns", "exec", &self.name]).arg(program);
        command
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        for args in [["link", "del", &self.link], ["netns", "del", &self.name]] {
            let _ = Command::new("ip").args(args).stderr(Stdio::null()).status();
        }
    }
}

#[track_caller]
fn ip(args: &[&str]) {
    let needs = "network namespaces need root and the package `iproute2`";
    match Command::new("ip").args(args).output() {
        Ok(done) if done.status.success() => {}
        Ok(done) => panic!("{needs}: `ip {}` says {}", args.join(" "), String::from_utf8_lossy(&done.stderr).trim()),
        Err(error) => panic!("{needs}: `ip` cannot be started: {error}"),
    }
}

/// A process that asks a Workload API when it is told to.
struct Agent(Running);

impl Agent {
    fn start(mut command: Command, socket: &str, world: &World, name: &str) -> Self {
        command.args(["demo", "agent"]).stdin(Stdio::piped());
        command.env("SPIFFE_ENDPOINT_SOCKET", socket).env("MARQUE_ISSUER", "https://somebody.example.org");
        Self(Running::start(command, &world.dir().join(format!("{name}.log"))))
    }

    #[track_caller]
    fn ask(&mut self, order: &str) -> Value {
        self.0.say(&format!(r#"{{"do":"{order}"}}"#));
        let line = self.0.line().expect("an agent answers");
        serde_json::from_str(&line).unwrap()
    }

    /// The identity of its X.509-SVID, or why it has none.
    #[track_caller]
    fn fetch(&mut self) -> Result<String, String> {
        let answer = self.ask("fetch");
        let text = |field: &str| answer[field].as_str().unwrap_or_default().to_owned();
        if answer["ok"] == true { Ok(text("spiffe_id")) } else { Err(text("error")) }
    }
}

/// A node with a process on it that may be somebody, and one that may not.
struct Node {
    name: String,
    net: Net,
    running: Running,
    entitled: Agent,
    stranger: Agent,
}

impl Node {
    fn join(world: &World, index: u32, port: &str) -> Self {
        let name = format!("n{index}");
        let net = Net::new(index);
        let file = |file: &str| world.path(&format!("{name}-{file}"));
        world.run(&["node", "token", &name, "--token-file", &file("token"), "--bundle", &file("bundle")]).must(0, &[&name]);
        let server = format!("https://{}:{port}", net.host);
        let mut command = net.command(&marque());
        command.args(["--json", "node", "join", "--server", &server, "--name", &name, "--bundle", &file("bundle")]);
        command.args(["--token-file", &file("token"), "--dir", &file("dir")]);
        let log = PathBuf::from(file("log"));
        let running = Running::start(command, &log);
        let said = || std::fs::read_to_string(&log).unwrap_or_default();
        let line = running.line().unwrap_or_else(|| panic!("node {name} is not ready: {}", said()));
        let ready: Value = serde_json::from_str(&line).unwrap();
        let socket = ready["workload_api"].as_str().unwrap().to_owned();
        let agent = |which: &str| Agent::start(net.command(&program(world, which)), &socket, world, &format!("{name}-{which}"));
        let (entitled, stranger) = (agent("entitled"), agent("stranger"));
        Self { name, net, running, entitled, stranger }
    }
}

/// The binary at a path of its own, by which the kernel tells it apart.
fn program(world: &World, name: &str) -> PathBuf {
    let path = world.dir().canonicalize().unwrap().join("bin").join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    if !path.exists() && std::fs::hard_link(marque(), &path).is_err() {
        std::fs::copy(marque(), &path).unwrap();
    }
    path
}

fn manifest(world: &World) -> String {
    let (entitled, stranger) = (program(world, "entitled"), program(world, "stranger"));
    format!(
        "\
identities:
  - name: agent/entitled
    kind: agent
    owner: alice@example.com
    purpose: Runs on three hosts
    selectors: [\"unix:path:{}\"]
    nodes: [n0, n1, n2]
  - name: agent/home
    kind: agent
    owner: alice@example.com
    purpose: Runs on the server's own host alone
    selectors: [\"unix:path:{}\"]
",
        entitled.display(),
        stranger.display()
    )
}

#[test]
#[expect(clippy::disallowed_methods, reason = "how long a node stays open is measured in real time")]
fn nodes_serve_close_heal_and_are_banned() {
    let world = World::new();
    world.write("serve.toml", &format!("[node]\nmax_staleness = \"{}s\"\n", MAX_STALENESS.as_secs()));
    let local = "127.0.0.1:0";
    let config = world.path("serve.toml");
    let args = ["--json", "serve", "--config", &config, "--administrator", ALICE, "--listen", "0.0.0.0:0"];
    let server = world.try_serve(world.command(&[&args[..], &["--gateway", local, "--console", local]].concat()));
    let line = server.line().unwrap_or_else(|| panic!("no server: {}", world.log_text()));
    let addresses: Value = serde_json::from_str(&line).unwrap();
    let port = addresses["issuer"].as_str().unwrap().rsplit_once(':').unwrap().1.to_owned();
    world.write("manifest/all.yaml", &manifest(&world));
    world.run(&["apply", "-f", &world.path("manifest")]).must(0, &["agent/entitled"]);

    let mut nodes: Vec<Node> = (0..3).map(|index| Node::join(&world, index, &port)).collect();
    for node in &mut nodes {
        assert!(node.entitled.fetch().is_ok_and(|id| id.ends_with("/agent/entitled")), "{}", node.name);
        let both = node.entitled.ask("attest");
        assert_eq!(both["ok"], true, "X.509-SVID and JWT-SVID on {}: {both}", node.name);
        let refused = node.stranger.fetch().unwrap_err();
        assert!(refused.starts_with("PermissionDenied"), "{}: {refused}", node.name);
    }
    // The stranger is one only there: its identity names no node.
    let home = addresses["workload_api"].as_str().unwrap();
    let mut at_home = Agent::start(clean(Command::new(program(&world, "stranger"))), home, &world, "home");
    assert!(at_home.fetch().is_ok_and(|id| id.ends_with("/agent/home")));
    assert_eq!(world.json(&["identity", "instances", "agent/entitled"]).as_array().unwrap().len(), 3);

    // A node that is cut off closes in time, and is alone with it.
    let cut = Instant::now();
    nodes[0].net.set("down");
    let mut last = Ok(String::new());
    let closed = until(PATIENCE, || {
        last = nodes[0].entitled.fetch();
        last.is_err()
    });
    assert!(closed && cut.elapsed() < MAX_STALENESS + SLACK, "n0 is open after {:?}", cut.elapsed());
    assert!(last.as_ref().is_err_and(|why| why.starts_with("Unavailable")), "{last:?}");
    assert!(nodes[0].stranger.fetch().is_err_and(|why| why.starts_with("Unavailable")), "nobody is told anything");
    for node in &mut nodes[1..] {
        assert!(node.entitled.fetch().is_ok(), "{}", node.name);
    }
    let standing = |name: &str| {
        let list = world.json(&["node", "list"]);
        let found = list.as_array().unwrap().iter().find(|node| node["name"] == name).cloned().unwrap();
        found["standing"].as_str().unwrap().to_owned()
    };
    assert!(until(PATIENCE, || standing("n0") == "silent"), "the server misses it, too");
    let copies = || world.json(&["identity", "instances", "agent/entitled"]).as_array().unwrap().len();
    assert!(until(PATIENCE, || copies() == 2), "what it attested has ended");
    assert!(nodes[0].entitled.fetch().is_err(), "it stays closed");

    // And opens again.
    nodes[0].net.set("up");
    assert!(until(PATIENCE, || nodes[0].entitled.fetch().is_ok()), "n0 does not come back");
    assert_eq!(nodes[0].entitled.ask("attest")["ok"], true);
    assert!(nodes[0].stranger.fetch().is_err_and(|why| why.starts_with("PermissionDenied")));
    assert_eq!(standing("n0"), "joined");

    // A banned one has nothing from the moment when the ban is acknowledged.
    world.run(&["node", "ban", "n1", "--why", "its disk was taken"]).must(0, &["banned", "n1"]);
    let refused = nodes[1].entitled.fetch();
    assert!(refused.is_err(), "{refused:?}");
    let ended = nodes[1].running.wait();
    assert_eq!(ended.code(), Some(3));
    let log = std::fs::read_to_string(world.path("n1-log")).unwrap();
    assert!(log.contains("banned"), "{log}");
    assert_eq!(standing("n1"), "banned");
    world.run(&["node", "token", "n1"]).must(3, &["banned"]);
    for node in [0, 2] {
        assert!(nodes[node].entitled.fetch().is_ok(), "n{node}");
    }

    // A node that is started again goes on with its SVID: its token is used up.
    assert!(nodes[2].running.stop().success());
    let mut again = nodes[2].net.command(&marque());
    let server = format!("https://{}:{port}", nodes[2].net.host);
    let (bundle, dir) = (world.path("n2-bundle"), world.path("n2-dir"));
    again.args(["--json", "node", "join", "--server", &server, "--name", "n2", "--bundle", &bundle, "--dir", &dir]);
    again.args(["--token-file", &world.path("n2-token")]);
    let again = Running::start(again, &world.dir().join("n2-again.log"));
    assert!(again.line().is_some_and(|line| line.contains("workload_api")));
    assert!(nodes[2].entitled.fetch().is_ok());
}
