//! The commands, a file per noun.

mod apply;
mod attest;
mod authority;
mod erase;
mod export;
mod hook;
mod identity;
mod isolate;
mod keys;
mod ledger;
mod ledger_query;
mod measure;
mod node;
pub use node::NodeCommand;
mod query;
pub use query::encoded;
mod receipt;
mod root;
mod run;
mod svid;
mod task;
mod trace;
pub use trace::TraceArgs;
mod verify;
mod witness;

use std::ffi::OsStr;
use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::CommandFactory as _;

use crate::args::{Args, Command, DemoPart};
use crate::client::Client;
use crate::config::state_dir;
use crate::failure::{Failure, Result};
use crate::output::{Output, Tone, coloured};
use crate::{demo, manifest, serve};

/// What every command works with.
struct Context<'a> {
    state: PathBuf,
    /// How the next command begins, where one is suggested.
    marque: String,
    person: Option<String>,
    output: &'a Output,
}

impl Context<'_> {
    async fn client(&self) -> Result<Client> {
        Client::connect(&self.state, self.person.as_deref()).await
    }
}

/// Runs the command.
pub fn run(args: Args, output: &Output) -> Result<ExitCode> {
    // Before there is a second thread: only a process with one may leave its user namespace.
    if let Command::Inside(inside) = &args.command {
        return isolate::inside(inside, output);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let done = runtime.block_on(dispatch(args, output));
    // A device that hangs is not waited for.
    runtime.shutdown_timeout(Duration::from_secs(5));
    done
}

async fn dispatch(args: Args, output: &Output) -> Result<ExitCode> {
    let marque = again(args.state.as_deref(), std::env::var_os("MARQUE_STATE").as_deref());
    let context = Context { state: state_dir(args.state.as_deref()), marque, person: args.person, output };
    match args.command {
        Command::Demo(demo) => match demo.part {
            Some(DemoPart::Tools { dir, key_file }) => demo::tool_server(dir, &key_file).await?,
            Some(DemoPart::Agent) => demo::agent().await?,
            None => demo::story(&demo, output).await?,
        },
        Command::Serve(serve) => {
            log_to_stderr();
            serve::serve(&context.state, &serve, output).await?;
        }
        Command::Init { dir } => init(&context.marque, &dir, output)?,
        Command::Schema => output.line(serde_json::to_string_pretty(&manifest::json_schema())?),
        Command::Plan(manifest) => apply::plan(&context, &manifest.dir).await?,
        Command::Apply(apply) => apply::apply(&context, &apply.manifest.dir, apply.why).await?,
        Command::Task(command) => task::task(&context, command).await?,
        Command::Run(run) => return run::run(&context, run).await,
        Command::Inside(inside) => return isolate::inside(&inside, output),
        Command::Elevation(command) => task::elevation(&context, command).await?,
        Command::Revoke { target, why } => task::revoke(&context, &target, &why).await?,
        Command::WhoCan { action, resource } => query::who_can(&context, action, &resource).await?,
        Command::Can { identity } => query::can(&context, &identity).await?,
        Command::Trace(args) => return trace::trace(&context, &args).await,
        Command::Hook { name, arguments } => hook::hook(&name, &arguments).await?,
        Command::Records { task, identity, limit } => query::records(&context, task, identity, limit).await?,
        Command::Ledger(command) => return ledger::ledger(&context, command).await,
        Command::Receipt(command) => return receipt::receipt(&context, command).await,
        Command::Attest(args) => attest::attest(&context, &args).await?,
        Command::Export(command) => export::export(&context, command).await?,
        Command::Witness(args) => witness::witness(args, output).await?,
        Command::Root(args) => root::root(args, output).await?,
        Command::Views(_) => query::rebuild(&context).await?,
        Command::Node(command) => return node::node(&context, command).await,
        Command::Authority(command) => authority::authority(&context, command).await?,
        Command::Keys(command) => keys::keys(&context, command)?,
        Command::Identity(command) => identity::identity(&context, command).await?,
        Command::Person(command) => identity::person(&context, command).await?,
        Command::Secret(command) => identity::secret(&context, command).await?,
        Command::Tool(command) => identity::tool(&context, command).await?,
        Command::Svid(command) => svid::run(&context, command).await?,
        Command::Findings => query::findings(&context).await?,
        Command::Status => query::status(&context).await?,
        Command::Completions { shell } => clap_complete::generate(shell, &mut Args::command(), "marque", &mut std::io::stdout()),
    }
    Ok(ExitCode::SUCCESS)
}

/// The program over the same state directory; what the environment says holds for the next command too.
fn again(state: Option<&Path>, environment: Option<&OsStr>) -> String {
    match state.filter(|state| Some(state.as_os_str()) != environment) {
        Some(state) => format!("marque --state {}", quoted(&state.to_string_lossy())),
        None => "marque".to_owned(),
    }
}

/// A word as a shell takes it.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "/._-+=:,@%~".contains(c);
    if !word.is_empty() && word.chars().all(plain) && !word.starts_with('~') {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}

fn init(marque: &str, dir: &Path, output: &Output) -> Result<()> {
    let written = manifest::write_example(dir)
        .map_err(|e| Failure::input(format!("cannot write the example to `{}`: {e}", dir.display())))?;
    output.show(&written, || {
        for file in &written {
            output.line(format!("{} {}", output.paint(Tone::Good, "wrote"), file.display()));
        }
        output.line(format!("\nEdit them, then: {marque} plan -f {}", quoted(&dir.to_string_lossy())));
    });
    Ok(())
}

/// The server's log: sentences with fields, on standard error, filtered by `RUST_LOG`.
fn log_to_stderr() {
    let filter =
        tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    let ansi = coloured(std::io::stderr().is_terminal());
    let _ = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(ansi).try_init();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_suggested_works_as_it_stands() {
        let state = Some(Path::new("state"));
        assert_eq!(again(None, None), "marque");
        assert_eq!(again(state, None), "marque --state state");
        assert_eq!(again(state, Some(OsStr::new("state"))), "marque");
        assert_eq!(again(state, Some(OsStr::new("other"))), "marque --state state");
        assert_eq!(again(Some(Path::new("my state")), None), "marque --state 'my state'");
        assert_eq!(quoted("it's"), r"'it'\''s'");
        assert_eq!(quoted(""), "''");
    }
}
