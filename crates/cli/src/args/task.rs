//! Tasks, what runs under them, and held requests.

use std::path::PathBuf;

use clap::{Args as ClapArgs, Subcommand};
use marque_core::scope::Grant;
use marque_core::time::Ttl;

#[derive(Debug, Subcommand)]
pub enum TaskCommand {
    /// Start a task.
    #[command(
        after_help = "Example:\n  marque task start --as agent/researcher --purpose 'weekly report' \\\n      --scope invoke:tool:crm/find_customer --ttl 30m"
    )]
    Start(TaskStart),
    /// List tasks, the newest first.
    List,
    /// Finish a task before its deadline, with all below it.
    #[command(after_help = "Example:\n  marque task finish task_01JD…")]
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
    /// What is allowed, as invoke:tool:crm/find_customer; again for more. Without it, all that the identity may ever do.
    #[arg(long, value_name = "GRANT")]
    pub scope: Vec<Grant>,
    /// For how long, as 30m or 2h.
    #[arg(long, value_parser = length)]
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
    /// Approve one: a new, time-boxed task starts, for exactly that call. Another person does it than the one who asked.
    #[command(
        after_help = "Example:\n  marque person add bob@example.com\n  marque elevation list\n  marque --person bob@example.com elevation approve elev_01JD…"
    )]
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

/// A length of time with its unit: `--ttl 30` meant minutes to whoever wrote it, and seconds to whoever read it.
pub fn length(text: &str) -> Result<Ttl, String> {
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(format!("`{text}` has no unit: {text}s, {text}m or {text}h"));
    }
    text.parse().map_err(|error: marque_core::ParseError| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_has_a_unit() {
        assert_eq!(length("30m"), Ok(Ttl::from_minutes(30)));
        assert_eq!(length("2h"), Ok(Ttl::from_minutes(120)));
        assert_eq!(length("30"), Err("`30` has no unit: 30s, 30m or 30h".to_owned()));
        for wrong in ["", "never", "m", "-5m"] {
            assert!(length(wrong).is_err(), "{wrong}");
        }
    }
}
