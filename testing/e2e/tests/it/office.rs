//! A gateway with a real tool server behind it, and this very test binary as the agent in front.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::process::{Running, Said, finish, marque};
use crate::world::{World, clean};

/// A server, a tool server that demands a key, and a task for the agent.
#[derive(Debug)]
pub struct Office {
    pub world: World,
    pub server: Running,
    /// Where the tool server listens.
    pub tools: String,
    _tools: Running,
    task: String,
    /// This test binary, where the world's user reaches it.
    agent: PathBuf,
}

impl Office {
    pub fn open() -> Self {
        Self::open_in(World::new(), std::env::current_exe().unwrap().canonicalize().unwrap())
    }

    /// As [`Self::open`], all of it but the tool server as another user. It takes root to make one.
    pub fn open_as(user: u32) -> Self {
        let world = World::of(user);
        let agent = world.dir().canonicalize().unwrap().join("agent");
        std::fs::copy(std::env::current_exe().unwrap(), &agent).unwrap();
        Self::open_in(world, agent)
    }

    fn open_in(world: World, agent: PathBuf) -> Self {
        world.write("office.key", KEY);
        let mut tools = clean(Command::new(marque()));
        tools.args(["demo", "tools", "--dir", &world.path("office"), "--key-file", &world.path("office.key")]);
        let tools = Running::start(tools, &world.dir().join("tools.log"));
        let address = tools.line().expect("the tool server says where it listens");
        let server = world.serve();
        world.write("manifest/all.yaml", &manifest(&address, world.uid(), &agent));
        world.write("manifest/all.cedar", "@id(\"within-task\")\npermit (principal, action, resource);\n");
        finish(world.command(&["secret", "set", "office-key"]), KEY).must(0, &[]);
        world.run(&["apply", "-f", &world.path("manifest")]).must(0, &["agent/probe"]);
        let task = world.json(&["task", "start", "--as", "agent/probe", "--purpose", "probing the gateway"]);
        Self { task: task["id"].as_str().unwrap().to_owned(), world, server, tools: address, _tools: tools, agent }
    }

    /// `marque run` of this test binary, which then runs the probe of this name and nothing else.
    pub fn probe(&self, name: &str) -> Command {
        self.probe_with(name, &[])
    }

    /// As [`Self::probe`], with more options for `marque run`.
    pub fn probe_with(&self, name: &str, options: &[&str]) -> Command {
        let mut command = self.world.command(&["run", "--as", "agent/probe", "--task", &self.task]);
        command.args(options).arg("--");
        command.arg(&self.agent).args(["--exact", "child::probe", "--nocapture", "--test-threads", "1"]);
        // Whatever surrounds the test is not to be found in the child.
        command.env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin");
        command.env("PROBE", name).env("PROBE_FOLDER", self.world.dir());
        command
    }

    /// Runs a probe to its end; it must pass.
    #[track_caller]
    pub fn passes(&self, name: &str) -> Said {
        let said = finish(self.probe(name), "");
        assert_eq!(said.code, Some(0), "{}\n{}\nthe server says: {}", said.out, said.err, self.world.log_text());
        said
    }

    /// Starts a probe that waits until its standard input ends.
    pub fn waiting(&self, name: &str) -> Running {
        let mut command = self.probe(name);
        command.stdin(Stdio::piped());
        Running::start(command, &self.world.dir().join("probe.log"))
    }
}

fn manifest(tools: &str, uid: u32, agent: &Path) -> String {
    format!(
        "\
identities:
  - name: agent/probe
    kind: agent
    owner: alice@example.com
    purpose: Tries what a gateway has to withstand
    selectors: [\"unix:uid:{uid}\", \"unix:path:{exe}\"]
    ceiling: [\"invoke:tool:office/*\"]
resources:
  - id: service:office
    upstream:
      http: {{ url: \"http://{tools}/mcp\", credential: {{ header: authorization, prefix: \"Bearer \", secret: office-key }} }}
  - {{ id: tool:office/customer_statistics, description: Counts and averages, risk: low }}
",
        exe = agent.display()
    )
}

/// What the tool server demands, and no agent may see.
pub const KEY: &str = "office-key-5f0c1e8a77d94b6e";
