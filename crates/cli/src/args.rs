//! The command line.

mod evidence;
mod keys;

use std::path::PathBuf;

use clap::{Args as ClapArgs, Parser, Subcommand};
use marque_core::resource::{Action, ResourceId};
use marque_core::scope::Grant;
use marque_core::time::Ttl;
use marque_engine::ExportFormat;
use marque_ledger::Verifier;

pub use self::evidence::{AttestArgs, EraseArgs, PruneArgs, ReceiptCommand, ReceiptGet, ReceiptVerify, VerifyArgs};
pub use self::keys::{KeysCommand, SealArgs};

/// Govern what software agents do: identities, tasks, decisions, and a record that outsiders can verify.
#[derive(Debug, Parser)]
#[command(version, propagate_version = true, after_help = EXAMPLES)]
pub struct Args {
    /// The state directory.
    #[arg(long, global = true, env = "MARQUE_STATE", value_name = "DIR")]
    pub state: Option<PathBuf>,
    /// The person who asks; without it, the person that the state directory names as its first.
    #[arg(long, global = true, env = "MARQUE_PERSON", value_name = "PERSON")]
    pub person: Option<String>,
    /// Print JSON for machines.
    #[arg(long, global = true)]
    pub json: bool,
    #[command(subcommand)]
    pub command: Command,
}

const EXAMPLES: &str = "\
Examples:
  marque demo                                     see the whole story run
  marque serve                                    start the control plane and the gateway
  marque init governance && marque plan -f governance
  marque task start --as agent/researcher --purpose 'weekly report'
  marque run --as agent/researcher --task task_… -- python agent.py
  marque who-can invoke tool:mail/send
  marque revoke spiffe://example.org/agent/researcher --why 'behaves oddly'
  marque trace report.md

Exit codes: 0 done, 1 failed, 2 bad input (nothing changed), 3 refused by a rule, 4 not found or not whole.";

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the whole story: agents, tools, decisions, an approval, a revocation, a trace.
    Demo(DemoArgs),
    /// Start the control plane and the gateway.
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
    Plan(ManifestArgs),
    /// Apply a manifest: all of it, or nothing when anything is wrong.
    Apply(ManifestArgs),
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
        after_help = "Targets: lease_… task_… inst_… elev_… spiffe://… user:…\n\nExample:\n  marque revoke task_01JD… --why 'wrong customer'"
    )]
    Revoke {
        /// What to revoke.
        target: String,
        /// Why, for the log.
        #[arg(long, default_value = "")]
        why: String,
    },
    /// Which identities can do this, at once or with approval.
    #[command(after_help = "Example:\n  marque who-can invoke tool:mail/send")]
    WhoCan {
        /// read, write, export, invoke, infer, retrain, publish, delegate, issue
        action: Action,
        /// As tool:mail/send or dataset:customers.
        resource: ResourceId,
    },
    /// Everything that an identity may do, at once or with approval.
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
    /// What is wrong in the inventory.
    Findings,
    /// What is running.
    Status,
    /// Print a completion script.
    #[command(after_help = "Example:\n  marque completions bash > /etc/bash_completion.d/marque")]
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
}

#[derive(Debug, ClapArgs)]
pub struct DemoArgs {
    /// Where to leave everything; an earlier demo there is replaced.
    #[arg(long, default_value = "marque-demo", value_name = "DIR")]
    pub dir: PathBuf,
    /// Keep the control plane running at the end.
    #[arg(long)]
    pub serve: bool,
    #[command(subcommand)]
    pub part: Option<DemoPart>,
}

/// The demo's own processes.
#[derive(Debug, Subcommand)]
pub enum DemoPart {
    /// The tool server: customers, mail, reports, over MCP, behind an API key.
    #[command(hide = true)]
    Tools {
        #[arg(long)]
        dir: PathBuf,
        #[arg(long)]
        key_file: PathBuf,
    },
    /// An agent: an MCP client that does what it is told on standard input.
    #[command(hide = true)]
    Agent,
}

#[derive(Debug, Default, ClapArgs)]
pub struct ServeArgs {
    /// A configuration file (TOML); the options below go before it.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The trust domain of a new state directory.
    #[arg(long)]
    pub trust_domain: Option<String>,
    /// The first person of a new state directory, as alice@example.com.
    #[arg(long)]
    pub administrator: Option<String>,
    /// The address of the token endpoint (TLS).
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<std::net::SocketAddr>,
    /// The address of the gateway (mutual TLS).
    #[arg(long, value_name = "ADDRESS")]
    pub gateway: Option<std::net::SocketAddr>,
    /// The address of the console (loopback).
    #[arg(long, value_name = "ADDRESS")]
    pub console: Option<std::net::SocketAddr>,
    /// The address of the published log on plain HTTP (loopback).
    #[arg(long, value_name = "ADDRESS")]
    pub ledger: Option<std::net::SocketAddr>,
    /// The witnesses that are to cosign the log's checkpoints, as a C2SP tlog-policy.
    #[arg(long, value_name = "FILE")]
    pub witness_policy: Option<PathBuf>,
}

/// What a witness and a root log have in common.
#[derive(Debug, ClapArgs)]
pub struct CosignerArgs {
    /// Where the keys are kept, and what was cosigned.
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// The name of the key, as witness.example/w1; needed once.
    #[arg(long)]
    pub name: Option<String>,
    /// The verifier key of a log whose checkpoints are cosigned; again for more.
    #[arg(long = "log", value_name = "VKEY")]
    pub logs: Vec<Verifier>,
}

#[derive(Debug, ClapArgs)]
#[command(args_conflicts_with_subcommands = true)]
pub struct WitnessArgs {
    #[command(flatten)]
    pub cosigner: CosignerArgs,
    /// The address, plain HTTP: beyond this host, put TLS in front of it.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8446")]
    pub listen: std::net::SocketAddr,
    #[command(subcommand)]
    pub command: Option<KeyCommand>,
}

#[derive(Debug, ClapArgs)]
#[command(args_conflicts_with_subcommands = true)]
pub struct RootArgs {
    #[command(flatten)]
    pub cosigner: CosignerArgs,
    /// The address, plain HTTP: beyond this host, put TLS in front of it.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8447")]
    pub listen: std::net::SocketAddr,
    /// The witnesses that are to cosign the root log's own checkpoints, as a C2SP tlog-policy.
    #[arg(long, value_name = "FILE")]
    pub witness_policy: Option<PathBuf>,
    #[command(subcommand)]
    pub command: Option<KeyCommand>,
}

#[derive(Debug, Subcommand)]
pub enum KeyCommand {
    /// Print the verifier key, as policies list it; it is made at first use.
    Key {
        /// Where the keys are kept.
        #[arg(long, value_name = "DIR")]
        dir: PathBuf,
        /// The name of a new key, as witness.example/w1.
        #[arg(long)]
        name: Option<String>,
    },
}

#[derive(Debug, ClapArgs)]
pub struct ManifestArgs {
    /// The directory with the manifest's YAML and Cedar files.
    #[arg(short = 'f', long = "file", value_name = "DIR")]
    pub dir: PathBuf,
}

#[derive(Debug, Subcommand)]
pub enum TaskCommand {
    /// Start a task.
    #[command(
        after_help = "Example:\n  marque task start --as agent/researcher --purpose 'weekly report' --scope 'invoke:tool:crm/*' --ttl 30m"
    )]
    Start(TaskStart),
    /// List tasks, the newest first.
    List,
    /// Finish a task before its deadline, with all below it.
    Finish {
        /// The task.
        task: String,
    },
}

#[derive(Debug, ClapArgs)]
pub struct TaskStart {
    /// The identity that is to act.
    #[arg(long = "as", value_name = "IDENTITY")]
    pub identity: String,
    /// Why.
    #[arg(long)]
    pub purpose: String,
    /// What is allowed, as invoke:tool:crm/*; again for more. Without it, all that the identity may ever do.
    #[arg(long, value_name = "GRANT")]
    pub scope: Vec<Grant>,
    /// For how long, as 30m or 2h.
    #[arg(long)]
    pub ttl: Option<Ttl>,
    /// The most tool calls.
    #[arg(long)]
    pub calls: Option<u64>,
}

#[derive(Debug, ClapArgs)]
pub struct RunArgs {
    /// The identity.
    #[arg(long = "as", value_name = "IDENTITY")]
    pub identity: String,
    /// The task, as `marque task start` named it.
    #[arg(long)]
    pub task: String,
    /// A file to measure before the start, as a model or a prompt pack; again for more. Its SHA-256 becomes a selector,
    /// `launched:artifact_sha256:…`, that identities can require and policies can refuse.
    #[arg(long, value_name = "FILE")]
    pub artifact: Vec<PathBuf>,
    /// Leave the gateway as the only way out: no other network, no sockets, no credentials, no writing elsewhere.
    #[arg(long)]
    pub isolate: bool,
    /// With --isolate: a directory to write in, besides the working directory and /tmp; again for more.
    #[arg(long, value_name = "DIR", requires = "isolate")]
    pub allow_write: Vec<PathBuf>,
    /// With --isolate: a variable to keep although its name is that of a credential; again for more.
    #[arg(long, value_name = "NAME", requires = "isolate")]
    pub keep_env: Vec<String>,
    /// Name the task's newest record in the commits that the program makes: `Agent-Action: rec_…`. The repositories' own hooks
    /// run as before.
    #[arg(long)]
    pub git_trailers: bool,
    /// The program and its arguments.
    #[arg(last = true, required = true)]
    pub command: Vec<std::ffi::OsString>,
}

/// What the outer half of `marque run --isolate` found out for the inner one.
#[derive(Debug, ClapArgs)]
pub struct InsideArgs {
    /// Where the server takes over the listener.
    #[arg(long)]
    pub gate: PathBuf,
    /// What is hidden.
    #[arg(long)]
    pub hide: Vec<PathBuf>,
    /// Where the command may write.
    #[arg(long)]
    pub allow_write: Vec<PathBuf>,
    /// The program and its arguments.
    #[arg(last = true, required = true)]
    pub command: Vec<std::ffi::OsString>,
}

#[derive(Debug, Subcommand)]
pub enum ElevationCommand {
    /// List held requests, the newest first.
    List,
    /// Approve one: a new, time-boxed task starts, for exactly that call.
    Approve {
        /// The elevation.
        elevation: String,
    },
    /// Refuse one, for good.
    Refuse {
        /// The elevation.
        elevation: String,
        /// Why, for the log.
        #[arg(long, default_value = "")]
        why: String,
    },
}

#[derive(Debug, Subcommand)]
pub enum LedgerCommand {
    /// Check tree, checkpoint and every entry, offline, from the files alone.
    #[command(
        after_help = "Examples:\n  marque ledger verify ./copy-of-the-ledger --key-file trusted-verifier\n  marque ledger verify --url https://log.example.org/ledger/ --policy witnesses --max-age 1h"
    )]
    Verify(VerifyArgs),
    /// Let go of the contents of old entries; their hashes stay, and every proof holds.
    #[command(after_help = "Example:\n  marque ledger prune --before 2026-01-01 --yes")]
    Prune(PruneArgs),
    #[command(flatten)]
    Ask(LedgerQuestion),
}

// Questions to the log. Each is written into it.
#[derive(Debug, Subcommand)]
pub enum LedgerQuestion {
    /// Entries that name somebody or something, the newest first. Everything that is given must hold.
    #[command(after_help = QUERIES)]
    Query(Box<LedgerQuery>),
    /// One credential: its issue, every use of it, and how it ended.
    #[command(after_help = "Example:\n  marque ledger credential lease_01JD…")]
    Credential {
        /// The credential.
        credential: String,
        /// Only uses below this entry: the next page.
        #[arg(long, value_name = "INDEX")]
        before: Option<u64>,
        /// How many uses at most, up to 1000; without it, 100.
        #[arg(long)]
        limit: Option<u32>,
    },
    /// Every credential that a task, and the tasks that hang from it, ever held.
    #[command(after_help = "Example:\n  marque ledger credentials task_01JD… --no-below")]
    Credentials {
        /// The task.
        task: String,
        /// Without the tasks that hang from it.
        #[arg(long)]
        no_below: bool,
    },
    /// Who had access to something at a moment: by the policies, tasks and credentials of then.
    #[command(
        after_help = "Examples:\n  marque ledger access invoke tool:mail/send --at 2026-03-01T09:30:00Z\n  marque ledger access read dataset:customers --at 7d"
    )]
    Access {
        /// read, write, export, invoke, infer, retrain, publish, delegate, issue
        action: Action,
        /// As tool:mail/send or dataset:customers.
        resource: ResourceId,
        /// When: 2026-03-01T09:30:00Z, 2026-03-01, or 2h, 7d before now.
        #[arg(long, value_name = "TIME")]
        at: String,
    },
}

const QUERIES: &str = "\
Times are 2026-03-01T09:30:00Z, 2026-03-01, or 2h, 7d before now.

Examples:
  marque ledger query --identity agent/researcher --since 2h
  marque ledger query --task task_01JD… --decision deny
  marque ledger query --file report.md
  marque ledger query --of-person alice@example.com --since 2026-03-01 --until 2026-04-01 --all --json > march.ndjson
  marque ledger query --kind revoked --follow";

#[derive(Debug, ClapArgs)]
pub struct LedgerQuery {
    /// The identity that acts or that it is about: a SPIFFE ID, or its path as agent/researcher.
    #[arg(long)]
    pub identity: Option<String>,
    /// The running copy.
    #[arg(long)]
    pub instance: Option<String>,
    /// The task, and the tasks that hang from it.
    #[arg(long)]
    pub task: Option<String>,
    /// Without the tasks that hang from that one.
    #[arg(long, requires = "task")]
    pub no_below: bool,
    /// The person for whom it was, or who said so.
    #[arg(long, value_name = "PERSON")]
    pub of_person: Option<String>,
    /// What was acted on, as tool:mail/send.
    #[arg(long)]
    pub resource: Option<String>,
    /// The credential.
    #[arg(long)]
    pub credential: Option<String>,
    /// The record: its decision and its outcome.
    #[arg(long)]
    pub record: Option<String>,
    /// allow, deny or hold.
    #[arg(long)]
    pub decision: Option<String>,
    /// The kind of event, as task_started or revoked.
    #[arg(long)]
    pub kind: Option<String>,
    /// SHA-256 of a content that it carried or of a file that it is about, as sha256:….
    #[arg(long)]
    pub digest: Option<String>,
    /// A file: the same as --digest with its digest; `-` is standard input.
    #[arg(long, conflicts_with = "digest")]
    pub file: Option<PathBuf>,
    /// Not before this time.
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,
    /// Before this time.
    #[arg(long, value_name = "TIME")]
    pub until: Option<String>,
    /// Only entries from this one on.
    #[arg(long, value_name = "INDEX")]
    pub from: Option<u64>,
    /// Only entries below this one: the next page.
    #[arg(long, value_name = "INDEX")]
    pub before: Option<u64>,
    /// The oldest first.
    #[arg(long)]
    pub oldest_first: bool,
    /// How many at most: up to 1000 on a page, and 100 without it.
    #[arg(long)]
    pub limit: Option<u32>,
    /// All of them, as a stream.
    #[arg(long, conflicts_with = "limit")]
    pub all: bool,
    /// Those that come, too: from now on, or from --since or --from on.
    #[arg(long, conflicts_with_all = ["until", "before"])]
    pub follow: bool,
}

#[derive(Debug, Subcommand)]
pub enum ExportCommand {
    /// Write entries of the log out, in a format that other systems read.
    #[command(
        after_help = "Formats: events ocsf otlp cef cloudevents parquet\n\nExample:\n  marque export run --format ocsf --from 1000 --to events.ndjson"
    )]
    Run(ExportRun),
    /// How far each export is that the server's configuration names.
    Status,
    /// Print the JSON schema of events, for readers of exports and of the log.
    Schema,
}

#[derive(Debug, ClapArgs)]
pub struct ExportRun {
    /// events, ocsf, otlp, cef, cloudevents or parquet.
    #[arg(long, value_parser = export_format)]
    pub format: ExportFormat,
    /// The first entry.
    #[arg(long, default_value_t = 0, value_name = "INDEX")]
    pub from: u64,
    /// How many entries at most.
    #[arg(long)]
    pub limit: Option<u64>,
    /// Where to; `-` is standard output.
    #[arg(long, default_value = "-", value_name = "FILE")]
    pub to: PathBuf,
    /// With the names of people, which erasing them does not take back.
    #[arg(long)]
    pub names: bool,
    /// With the content that the log keeps back.
    #[arg(long)]
    pub contents: bool,
}

fn export_format(text: &str) -> Result<ExportFormat, String> {
    let unknown = || "one of events, ocsf, otlp, cef, cloudevents, parquet is needed".to_owned();
    ExportFormat::ALL.into_iter().find(|format| format.as_str() == text).ok_or_else(unknown)
}

#[derive(Debug, Subcommand)]
pub enum ViewsCommand {
    /// Drop the views and project the log again from its first event.
    Rebuild,
}

#[derive(Debug, Subcommand)]
pub enum IdentityCommand {
    /// List identities.
    List,
    /// List the live instances of an identity, with what was observed of each.
    Instances {
        /// The identity.
        identity: String,
    },
    /// Suspend one: it holds nothing until it is activated.
    Suspend(Step),
    /// Activate a proposed or suspended one.
    Activate(Step),
    /// Retire one for good; its name is never used again.
    Retire(Step),
}

#[derive(Debug, ClapArgs)]
pub struct Step {
    /// The identity.
    pub identity: String,
    /// Why, for the log.
    #[arg(long, default_value = "")]
    pub why: String,
}

#[derive(Debug, Subcommand)]
pub enum AuthorityCommand {
    /// List the keys with where they stand.
    List,
    /// Make the next key and publish it; it issues nothing yet. Done on schedule too.
    #[command(after_help = "Example:\n  marque authority prepare x509\n  marque authority activate x509")]
    Prepare(KeyChoice),
    /// Let the prepared key issue; the one before it retires. Open connections stay open.
    Activate(KeyChoice),
    /// Use a key no longer: what it issued is issued anew at once, and counts until then.
    Taint(KeyChoice),
    /// Take a key out of the bundle at once: nothing that it issued counts any more.
    Revoke(KeyChoice),
}

#[derive(Debug, ClapArgs)]
pub struct KeyChoice {
    /// What the key signs.
    #[arg(value_enum)]
    pub kind: KeyKindArg,
    /// Its name; without it, the prepared key (activate) or the active one.
    pub key: Option<String>,
    /// Why, for the log.
    #[arg(long, default_value = "")]
    pub why: String,
}

/// What a signing key signs.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub enum KeyKindArg {
    /// X.509-SVIDs.
    X509,
    /// JWT-SVIDs and task tokens.
    Jwt,
    /// WIT-SVIDs, where they are served (experimental).
    Wit,
}

impl From<KeyKindArg> for marque_engine::KeyKind {
    fn from(kind: KeyKindArg) -> Self {
        match kind {
            KeyKindArg::X509 => Self::X509,
            KeyKindArg::Jwt => Self::Jwt,
            KeyKindArg::Wit => Self::Wit,
        }
    }
}

#[derive(Debug, Subcommand)]
pub enum PersonCommand {
    /// List people.
    List,
    /// Make a person known; their credential is written to a private file of the state directory.
    Add {
        /// As bob@example.com.
        name: String,
    },
    /// Erase a person: their name, and the key of everything that was recorded for them.
    #[command(
        after_help = "What hangs from them is revoked first. The log stays whole and every proof holds;\nwhat was sealed for them is lost for good.\n\nExample:\n  marque person erase bob@example.com --yes"
    )]
    Erase(EraseArgs),
}

#[derive(Debug, Subcommand)]
pub enum ToolCommand {
    /// List tools with their risk and the digest of the definition that was registered.
    List,
    /// Accept a tool's definition as its server has it now, so that calls are no longer held.
    #[command(
        after_help = "The digest stands in the held call: marque elevation list\n\nExample:\n  marque tool accept tool:crm/find sha256:…"
    )]
    Accept {
        /// As tool:crm/find.
        tool: ResourceId,
        /// The definition's digest, as sha256:….
        definition: String,
    },
}

#[derive(Debug, Subcommand)]
pub enum SecretCommand {
    /// Store a secret, read from standard input.
    #[command(after_help = "Example:\n  marque secret set crm-key < key.txt")]
    Set {
        /// Its name, as manifests write it.
        name: String,
    },
}
