//! The command line.

mod authority;
mod demo;
mod evidence;
mod inventory;
mod keys;
mod ledger;
mod serve;
mod svid;
mod task;

use std::path::PathBuf;

use clap::{Parser, Subcommand};
use marque_core::resource::{Action, ResourceId};

pub use self::authority::{AuthorityCommand, KeyChoice};
pub use self::demo::{DemoArgs, DemoPart};
pub use self::evidence::{AttestArgs, EraseArgs, PruneArgs, ReceiptCommand, ReceiptGet, ReceiptVerify, VerifyArgs};
pub use self::inventory::{ApplyArgs, IdentityCommand, ManifestArgs, PersonCommand, SecretCommand, Step, ToolCommand};
pub use self::keys::{KeysCommand, SealArgs};
pub use self::ledger::{ExportCommand, ExportRun, LedgerCommand, LedgerQuery, LedgerQuestion, ViewsCommand};
pub use self::serve::{CosignerArgs, KeyCommand, RootArgs, ServeArgs, WitnessArgs};
pub use self::svid::{SvidCommand, SvidFrom};
pub use self::task::{ElevationCommand, InsideArgs, RunArgs, TaskCommand, length};

/// Govern what software agents do: identities, tasks, decisions, and a record that outsiders can verify.
#[derive(Debug, Parser)]
#[command(version, propagate_version = true, after_help = EXAMPLES)]
pub struct Args {
    /// The state directory.
    #[arg(long, global = true, env = "MARQUE_STATE", value_name = "DIR", help_heading = EVERYWHERE)]
    pub state: Option<PathBuf>,
    /// The person who asks; without it, the person that the state directory names as its first.
    #[arg(long, global = true, env = "MARQUE_PERSON", value_name = "PERSON", help_heading = EVERYWHERE)]
    pub person: Option<String>,
    /// Print JSON for machines.
    #[arg(long, global = true, help_heading = EVERYWHERE)]
    pub json: bool,
    #[command(subcommand)]
    pub command: Command,
}

/// The heading of the options that every command takes.
const EVERYWHERE: &str = "Everywhere";

const EXAMPLES: &str = "\
Examples:
  marque demo                                     see the whole story run
  marque serve                                    start the control plane and the gateway
  marque init governance && marque apply -f governance
  marque task start --as agent/researcher --purpose 'weekly report'
  marque run --as agent/researcher --task task_… -- python agent.py
  marque who-can invoke tool:crm/send_email
  marque revoke agent/researcher --why 'behaves oddly'
  marque trace report.md

Exit codes: 0 done, 1 failed, 2 bad input (nothing changed), 3 refused by a rule, 4 not found or not whole.";

const SERVE: &str = "\
Port 0 is any free port. Everything else is set in the file of --config.

Examples:
  marque serve
  marque serve --state state --trust-domain example.org --administrator alice@example.com
  marque serve --state state --listen 127.0.0.1:0 --gateway 127.0.0.1:0 --console 127.0.0.1:0";

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the whole story: agents, tools, decisions, an approval, a revocation, a trace.
    #[command(after_help = "Examples:\n  marque demo\n  marque demo --dir office --serve")]
    Demo(DemoArgs),
    /// Start the control plane and the gateway.
    #[command(after_help = SERVE)]
    Serve(ServeArgs),
    /// Write a small commented example manifest.
    #[command(after_help = "Example:\n  marque init governance\n  marque plan -f governance")]
    Init {
        /// Where to write it.
        dir: PathBuf,
    },
    /// Print the JSON schema of manifests, for editors.
    Schema,
    /// Show what applying a manifest would change.
    #[command(after_help = "Example:\n  marque plan -f governance")]
    Plan(ManifestArgs),
    /// Apply a manifest: all of it, or nothing when anything is wrong.
    #[command(
        after_help = "Example:\n  marque init governance\n  marque plan -f governance\n  marque apply -f governance --why 'the quarterly review'"
    )]
    Apply(ApplyArgs),
    /// Tasks: start, list, finish.
    #[command(subcommand)]
    Task(TaskCommand),
    /// Start a process under an identity and a task, with no secret in its hands.
    #[command(
        after_help = "Example:\n  marque run --as agent/researcher --task task_… -- python agent.py\n\nThe process gets SPIFFE_ENDPOINT_SOCKET, MARQUE_GATEWAY, MARQUE_ISSUER and MARQUE_TASK. Its MCP servers are at\n$MARQUE_GATEWAY/mcp/<service>."
    )]
    Run(RunArgs),
    /// The inner half of `marque run --isolate`.
    #[command(name = "__inside", hide = true)]
    Inside(InsideArgs),
    /// Held requests: list, approve, refuse.
    #[command(subcommand)]
    Elevation(ElevationCommand),
    /// Revoke a lease, task, instance, identity, person or approval, with everything below it.
    #[command(
        after_help = "Targets: lease_… task_… inst_… elev_… spiffe://… user:…, or an identity's path\n\nExamples:\n  marque revoke task_01JD… --why 'wrong customer'\n  marque revoke agent/researcher --why 'behaves oddly'"
    )]
    Revoke {
        /// What to revoke.
        target: String,
        /// Why, for the log.
        #[arg(long, default_value = "")]
        why: String,
    },
    /// Which identities can do this, at once or with approval.
    #[command(after_help = "Example:\n  marque who-can invoke tool:crm/send_email")]
    WhoCan {
        /// read, write, export, invoke, infer, retrain, publish, delegate, issue
        action: Action,
        /// As tool:crm/send_email or dataset:customers.
        resource: ResourceId,
    },
    /// Everything that an identity may do, at once or with approval.
    #[command(after_help = "Example:\n  marque can agent/researcher")]
    Can {
        /// A SPIFFE ID, or its path as agent/researcher.
        identity: String,
    },
    /// From a text that was found back to who wrote it, in which task, and for whom.
    #[command(
        after_help = "Examples:\n  marque trace report.md --svg report.svg\n  marque trace --json - < report.md\n  marque trace reports\n  marque trace --git . main~5..main\n\nExit code 0 where something came from here; 4 where nothing did, or only resembles what did."
    )]
    Trace(crate::commands::TraceArgs),
    /// What a launch's git hooks run.
    #[command(hide = true)]
    Hook {
        /// Which hook.
        name: String,
        /// As git gives them.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<std::ffi::OsString>,
    },
    /// What agents did: decisions and outcomes, the newest first.
    #[command(
        after_help = "Examples:\n  marque records --identity agent/researcher --limit 5\n  marque records --task task_01JD…"
    )]
    Records {
        /// Only of this task.
        #[arg(long)]
        task: Option<String>,
        /// Only of this identity.
        #[arg(long)]
        identity: Option<String>,
        /// How many at most.
        #[arg(long, default_value_t = 20)]
        limit: u32,
    },
    /// The log: verify it offline, ask it, let old contents go.
    #[command(subcommand)]
    Ledger(LedgerCommand),
    /// Receipts: get one, or check one without a server.
    #[command(subcommand)]
    Receipt(ReceiptCommand),
    /// Bind a file to the task that made it, so that it is traced to that task and to its inputs.
    #[command(after_help = "Example:\n  marque attest model.bin --task task_01JD… --input train.parquet --input base.bin")]
    Attest(AttestArgs),
    /// Exports: a range of the log in another format, how far the configured ones are, and what an event is.
    #[command(subcommand)]
    Export(ExportCommand),
    /// Run a witness: it cosigns the checkpoints of logs, each only if it continues the one before.
    #[command(
        after_help = "A C2SP tlog-witness. A log lists it in its witness policy, with the key that it prints.\n\nExamples:\n  marque witness key --dir w1 --name witness.example/w1\n  marque witness --dir w1 --name witness.example/w1 --log example.org/marque/log+7cc83a9d+AYqI…\n  marque serve --witness-policy policy"
    )]
    Witness(WitnessArgs),
    /// Run a root log: a witness whose log has the checkpoints of many logs, a tenant's each.
    #[command(
        after_help = "A tenant lists it in its witness policy, as any witness. Its own log is served under /ledger/, and\n/anchor/<hex SHA-256 of an origin> proves a tenant's newest checkpoint to be in it.\n\nExamples:\n  marque root key --dir root --name root.example\n  marque root --dir root --name root.example --log VKEY --log VKEY --witness-policy policy"
    )]
    Root(RootArgs),
    /// The views: rebuild them from the log.
    #[command(subcommand)]
    Views(ViewsCommand),
    /// Identities: list, suspend, activate, retire, list instances.
    #[command(subcommand)]
    Identity(IdentityCommand),
    /// The trust domain's signing keys: list, prepare, activate, taint, revoke.
    #[command(subcommand)]
    Authority(AuthorityCommand),
    /// How the keys are kept on the disk: seal them, show.
    #[command(subcommand)]
    Keys(KeysCommand),
    /// Nodes, other hosts on which the Workload API is served: let them join, list, ban; and be one.
    #[command(subcommand)]
    Node(crate::commands::NodeCommand),
    /// People: list, add, erase.
    #[command(subcommand)]
    Person(PersonCommand),
    /// Secrets for upstreams, given to the gateway and to no agent.
    #[command(subcommand)]
    Secret(SecretCommand),
    /// Registered tools: list them with their definitions, accept a changed one.
    #[command(subcommand)]
    Tool(ToolCommand),
    /// Fetch the SVID of this very process from the Workload API, as any SPIFFE library would.
    #[command(subcommand)]
    Svid(SvidCommand),
    /// What is wrong in the inventory.
    #[command(
        after_help = "Identities without a known owner or without selectors, tools without a risk, grants that match nothing.\n\nExample:\n  marque findings"
    )]
    Findings,
    /// What is running.
    #[command(after_help = "Examples:\n  marque status\n  marque --state state --json status")]
    Status,
    /// Print a completion script.
    #[command(after_help = "Example:\n  marque completions bash > /etc/bash_completion.d/marque")]
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
}
