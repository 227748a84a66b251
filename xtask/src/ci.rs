//! `cargo xtask ci`: every check, in order, each timed; the first failure ends it.

use std::collections::BTreeMap;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::report::{Report, Step};
use crate::tools::{self, Cargo, Workspace};
use crate::{Flags, Stop, arch, interop};

/// One stage: its name on the command line and what it does. What it returns is what was seen.
pub struct Stage {
    /// The name.
    pub name: &'static str,
    run: fn(&Workspace) -> Result<String, String>,
}

/// All stages, cheap ones first. All build in the dev profile: a cold release build takes minutes.
pub const STAGES: &[Stage] = &[
    Stage { name: "fmt", run: fmt },
    Stage { name: "arch", run: arch::check },
    Stage { name: "clippy", run: clippy },
    Stage { name: "test", run: test },
    Stage { name: "doc", run: doc },
    Stage { name: "build", run: build },
    Stage { name: "e2e", run: e2e },
    Stage { name: "sim", run: sim },
    Stage { name: "interop", run: |workspace| interop::check(workspace, None) },
    Stage { name: "demo", run: demo },
];

/// Runs the stages that the command line asks for.
pub fn run(workspace: &Workspace, args: &[String]) -> Result<(), Stop> {
    let flags = Flags::parse(args, &["--json"], &["--from", "--only"])?;
    flags.no_names()?;
    let stages = choose(flags.value("--from"), flags.value("--only"))?;
    let mut report = Report::new(flags.has("--json"));
    for stage in stages {
        report.begin(stage.name);
        let step = Step::time(stage.name, || (stage.run)(workspace));
        let ok = step.ok;
        report.add(step);
        if !ok {
            break;
        }
    }
    report.summary();
    match report.failed().first() {
        None => Ok(()),
        Some(name) => Err(Stop::Failed(format!("stage `{name}` failed; repeat it with `cargo xtask ci --only {name}`"))),
    }
}

fn choose(from: Option<&str>, only: Option<&str>) -> Result<&'static [Stage], Stop> {
    let find = |name: &str| {
        let names = || STAGES.iter().map(|stage| stage.name).collect::<Vec<_>>().join(" ");
        let index = STAGES.iter().position(|stage| stage.name == name);
        index.ok_or_else(|| Stop::Usage(format!("there is no stage `{name}`; the stages are {}", names())))
    };
    let stages = match (from, only) {
        (Some(_), Some(_)) => return Err(Stop::Usage("`--from` and `--only` exclude each other".to_owned())),
        (None, None) => Some(STAGES),
        (Some(name), None) => STAGES.get(find(name)?..),
        (None, Some(name)) => {
            let index = find(name)?;
            STAGES.get(index..=index)
        }
    };
    Ok(stages.unwrap_or_default())
}

fn fmt(workspace: &Workspace) -> Result<String, String> {
    Cargo::new(workspace, &["fmt", "--all", "--check"]).run().map_err(|why| format!("{why}; `cargo fmt --all` puts it right"))?;
    Ok("every file is formatted".to_owned())
}

fn clippy(workspace: &Workspace) -> Result<String, String> {
    Cargo::new(workspace, &["clippy", "--workspace", "--all-targets", "--quiet", "--", "-D", "warnings"]).run()?;
    Ok("no warnings".to_owned())
}

fn test(workspace: &Workspace) -> Result<String, String> {
    // These three have stages of their own.
    let elsewhere = ["--exclude", "marque-sim", "--exclude", "marque-e2e", "--exclude", "marque-interop"];
    Cargo::new(workspace, &["test", "--workspace"]).args(elsewhere).run()?;
    Ok("unit, integration and documentation tests pass".to_owned())
}

fn doc(workspace: &Workspace) -> Result<String, String> {
    Cargo::new(workspace, &["doc", "--workspace", "--no-deps", "--quiet"]).env("RUSTDOCFLAGS", "-D warnings").run()?;
    Ok("the documentation builds without warnings".to_owned())
}

fn build(workspace: &Workspace) -> Result<String, String> {
    let binary = workspace.build_marque()?;
    Ok(format!("{}", binary.display()))
}

fn e2e(workspace: &Workspace) -> Result<String, String> {
    tools::e2e(workspace)?.run()?;
    Ok("the story holds from end to end".to_owned())
}

fn sim(workspace: &Workspace) -> Result<String, String> {
    tools::simulation(workspace, ["--seeds", SEEDS]).run()?;
    Ok(format!("{SEEDS} seeds, every invariant after every step"))
}

fn demo(workspace: &Workspace) -> Result<String, String> {
    let binary = workspace.build_marque()?;
    let folder = Folder::new("marque-demo")?;
    let mut command = Command::new(binary);
    command.args(["demo", "--json", "--dir"]).arg(&folder.0);
    let mut steps = Steps::default();
    tools::lines(command, DEMO_LIMIT, |line| steps.read(line))?;
    steps.judge()
}

/// The demo's steps, as read from its output.
#[derive(Default)]
struct Steps(BTreeMap<String, bool>);

impl Steps {
    /// Takes one line; what is not a named step with a verdict is not one.
    fn read(&mut self, line: &str) {
        let Ok(object) = serde_json::from_str::<Value>(line) else { return };
        let name = ["name", "step"].iter().find_map(|key| object.get(key).and_then(Value::as_str));
        if let (Some(name), Some(ok)) = (name, object.get("ok").and_then(Value::as_bool)) {
            let all = self.0.entry(name.to_owned()).or_insert(true);
            *all = *all && ok;
        }
    }

    fn judge(&self) -> Result<String, String> {
        let failed: Vec<_> = self.0.iter().filter(|(_, ok)| !**ok).map(|(name, _)| name.as_str()).collect();
        if !failed.is_empty() {
            return Err(format!("these steps of the demo failed: {}", failed.join(", ")));
        }
        if self.0.len() != DEMO_STEPS {
            let seen: Vec<_> = self.0.keys().map(String::as_str).collect();
            return Err(format!("the demo has {DEMO_STEPS} named steps, but {} came: {}", seen.len(), seen.join(", ")));
        }
        Ok(format!("all {DEMO_STEPS} steps of the demo are ok"))
    }
}

/// A folder that goes when it is no longer needed.
struct Folder(std::path::PathBuf);

impl Folder {
    fn new(prefix: &str) -> Result<Self, String> {
        let path = std::env::temp_dir().join(format!("{prefix}-{}", std::process::id()));
        std::fs::create_dir(&path).map_err(|error| format!("cannot make `{}`: {error}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // A folder left behind is no reason to fail a stage that passed.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

const SEEDS: &str = "200";
const DEMO_STEPS: usize = 12;
const DEMO_LIMIT: Duration = Duration::from_secs(180);

#[cfg(test)]
mod tests {
    use super::*;

    fn names(from: Option<&str>, only: Option<&str>) -> Vec<&'static str> {
        choose(from, only).map(|stages| stages.iter().map(|stage| stage.name).collect()).unwrap_or_default()
    }

    #[test]
    fn stages_are_chosen_by_name() {
        assert_eq!(names(None, None).len(), STAGES.len());
        assert_eq!(names(Some("sim"), None), ["sim", "interop", "demo"]);
        assert_eq!(names(None, Some("arch")), ["arch"]);
        assert!(choose(Some("nothing"), None).is_err());
        assert!(choose(Some("fmt"), Some("arch")).is_err());
    }

    #[test]
    fn the_demo_passes_only_with_all_of_its_steps() {
        let mut steps = Steps::default();
        steps.read("starting the server");
        for step in 0..DEMO_STEPS {
            assert!(steps.judge().is_err());
            steps.read(&format!(r#"{{"step":{step},"name":"step {step}","ok":true,"seen":"","ms":1}}"#));
        }
        assert!(steps.judge().is_ok());
        steps.read(r#"{"name":"step 3","ok":false}"#);
        steps.read(r#"{"name":"step 3","ok":true}"#);
        assert!(steps.judge().unwrap_err().contains("step 3"));
    }
}
