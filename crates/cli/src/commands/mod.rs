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
mod task;
mod trace;
pub use trace::TraceArgs;
mod verify;
mod witness;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::CommandFactory as _;

use crate::args::{Args, Command, DemoPart};
use crate::client::Client;
use crate::config::{Config, state_dir};
use crate::failure::{Failure, Result};
use crate::output::{Output, Tone};
use crate::{demo, manifest, serve};

/// What every command works with.
struct Context<'a> {
    state: PathBuf,
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
        return isolate::inside(inside);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let done = runtime.block_on(dispatch(args, output));
    // A device that hangs is not waited for.
    runtime.shutdown_timeout(Duration::from_secs(5));
    done
}

async fn dispatch(args: Args, output: &Output) -> Result<ExitCode> {
    let context = Context { state: state_dir(args.state.as_deref()), person: args.person, output };
    match args.command {
        Command::Demo(demo) => match demo.part {
            Some(DemoPart::Tools { dir, key_file }) => demo::tool_server(dir, &key_file).await?,
            Some(DemoPart::Agent) => demo::agent().await?,
            None => demo::story(&demo, output).await?,
        },
        Command::Serve(serve) => {
            log_to_stderr();
            serve::serve(&context.state, Config::read(&serve)?, output).await?;
        }
        Command::Init { dir } => init(&dir, output)?,
        Command::Schema => output.line(serde_json::to_string_pretty(&manifest::json_schema())?),
        Command::Plan(manifest) => apply::plan(&context, &manifest.dir).await?,
        Command::Apply(apply) => apply::apply(&context, &apply.manifest.dir, apply.why).await?,
        Command::Task(command) => task::task(&context, command).await?,
        Command::Run(run) => return run::run(&context, run).await,
        Command::Inside(inside) => return isolate::inside(&inside),
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
        Command::Findings => query::findings(&context).await?,
        Command::Status => query::status(&context).await?,
        Command::Completions { shell } => clap_complete::generate(shell, &mut Args::command(), "marque", &mut std::io::stdout()),
    }
    Ok(ExitCode::SUCCESS)
}

fn init(dir: &std::path::Path, output: &Output) -> Result<()> {
    let written = manifest::write_example(dir)
        .map_err(|e| Failure::input(format!("cannot write the example to `{}`: {e}", dir.display())))?;
    output.show(&written, || {
        for file in &written {
            output.line(format!("{} {}", output.paint(Tone::Good, "wrote"), file.display()));
        }
        output.line(format!("\nEdit them, then: marque plan -f {}", dir.display()));
    });
    Ok(())
}

/// The server's log: sentences with fields, on standard error, filtered by `RUST_LOG`.
fn log_to_stderr() {
    let filter =
        tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    let _ = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).try_init();
}
