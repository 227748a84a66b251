//! Tasks, what runs under them, and held requests.

use std::path::PathBuf;

use clap::{Args as ClapArgs, Subcommand};
use marque_core::scope::Grant;
use marque_core::time::Ttl;

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
