//! `marque run`: a process under an identity and a task. The launcher stays its parent, and what it opened ends with it.

use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitCode;

use marque_server::launch::Doorway;
use serde_json::{Value, json};
use tokio::signal::unix::{SignalKind, signal};

use super::hook::Hooks;
use super::{Context, isolate, measure};
use crate::args::RunArgs;
use crate::failure::{Failure, Result};

pub async fn run(context: &Context<'_>, args: RunArgs) -> Result<ExitCode> {
    let (program, arguments) = args.command.split_first().ok_or_else(|| Failure::input("name a program after `--`"))?;
    let mut client = context.client().await?;
    let launch = json!({
        "identity": args.identity,
        "task": args.task,
        "isolated": args.isolate,
        "argv_sha256": measure::argv(&args.command),
        "artifacts": measure::artifacts(&args.artifact)?,
    });
    let doorway: Doorway = client.post("/v1/launches", &launch).await?;
    let status: Value = client.get("/v1/status").await?;
    // An isolated command does not see the state directory.
    let hooks_in = if args.isolate { std::env::temp_dir() } else { context.state.join("run") };
    let hooks = if args.git_trailers { Some(Hooks::install(&hooks_in)?) } else { None };
    // Processes that outlive their parent come back to this one, so that they stay within the launch.
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    // It has a person's credential in its memory.
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)?;
    let mut command = if args.isolate {
        isolate::command(&doorway, &args, &context.state)?
    } else {
        let mut command = tokio::process::Command::new(program);
        command.args(arguments).env("SPIFFE_ENDPOINT_SOCKET", &doorway.workload_api);
        command
    };
    for ours in ["MARQUE_STATE", "MARQUE_PERSON"] {
        command.env_remove(ours);
    }
    if let Some(hooks) = &hooks {
        command.envs(hooks.environment(std::env::var_os("GIT_CONFIG_COUNT").as_deref())?);
    }
    if let Some(gateway) = &doorway.gateway {
        command.env("MARQUE_GATEWAY", gateway);
    }
    command.env("MARQUE_TASK", &args.task);
    command.env("MARQUE_ISSUER", super::query::text(&status, "issuer"));
    let name = program.to_string_lossy().into_owned();
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) => {
            let _ = context.output.failure(&Failure::failed(format!("cannot start `{name}`: {error}")));
            return Ok(not_started(&error));
        }
    };
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let ended = loop {
        tokio::select! {
            ended = child.wait() => break ended?,
            _ = terminate.recv() => stop(&child),
            // The terminal has sent it to the child too.
            _ = interrupt.recv() => {}
        }
    };
    let code = ended.code().unwrap_or_else(|| 128 + ended.signal().unwrap_or(0));
    Ok(ExitCode::from(u8::try_from(code).unwrap_or(1)))
}

/// As shells say it: 127 where there is no such program, 126 where it cannot be run.
pub(super) fn not_started(error: &std::io::Error) -> ExitCode {
    ExitCode::from(if error.kind() == std::io::ErrorKind::NotFound { 127 } else { 126 })
}

fn stop(child: &tokio::process::Child) {
    if let Some(pid) = child.id().and_then(|id| i32::try_from(id).ok()).and_then(rustix::process::Pid::from_raw) {
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
    }
}
