//! `marque task`, `marque elevation`, `marque revoke`.

use marque_core::revocation::Target;
use marque_core::scope::Scope;
use marque_core::task::Task;
use marque_engine::{ElevationView, Revoked, TaskRequest};
use serde_json::{Value, json};

use super::Context;
use super::query::text;
use crate::args::{ElevationCommand, TaskCommand};
use crate::failure::{Failure, Result};
use crate::output::Tone;

pub async fn task(context: &Context<'_>, command: TaskCommand) -> Result<()> {
    let output = context.output;
    let mut client = context.client().await?;
    match command {
        TaskCommand::Start(start) => {
            let scope = (!start.scope.is_empty()).then(|| Scope::new(start.scope));
            let request =
                TaskRequest { identity: start.identity, purpose: start.purpose, scope, ttl: start.ttl, calls: start.calls };
            let task: Task = client.post("/v1/tasks", &request).await?;
            output.show(&task, || {
                output.line(format!("{} {}", output.paint(Tone::Good, "started"), task.id));
                output.line(format!("  for {}, until {}, at most: {}", task.principal, task.expires, task.scope));
                output.line(format!("  next: marque run --as {} --task {} -- COMMAND", task.actor.short(), task.id));
            });
        }
        TaskCommand::List => {
            let tasks: Vec<Value> = client.get("/v1/tasks").await?;
            output.show(&tasks, || {
                let rows: Vec<Vec<String>> = tasks
                    .iter()
                    .map(|t| ["id", "status", "actor", "principal", "purpose"].map(|f| text(t, f)).to_vec())
                    .collect();
                output.table(&["TASK", "STATUS", "ACTOR", "FOR", "PURPOSE"], &rows);
            });
        }
        TaskCommand::Finish { task } => {
            let done: () = client.post(&format!("/v1/tasks/{task}/finish"), &json!({})).await?;
            output.show(&done, || output.line(format!("{task} is finished")));
        }
    }
    Ok(())
}

pub async fn elevation(context: &Context<'_>, command: ElevationCommand) -> Result<()> {
    let output = context.output;
    let mut client = context.client().await?;
    match command {
        ElevationCommand::List => {
            let held: Vec<Value> = client.get("/v1/elevations").await?;
            output.show(&held, || held.iter().for_each(|e| print_held(context, e)));
            if held.is_empty() && !output.json {
                output.line("Nothing is held.");
            }
        }
        ElevationCommand::Approve { elevation } => {
            let view: ElevationView = client.post(&format!("/v1/elevations/{elevation}/approve"), &json!({})).await?;
            output.show(&view, || match &view.task {
                Some(task) => {
                    output.line(format!("{} {elevation}", output.paint(Tone::Good, "approved")));
                    output.line(format!("  {} allows exactly this call, once, until {}", task.id, task.expires));
                    output.line(format!("  to take it back: marque revoke {elevation}"));
                }
                None => output.line(format!(
                    "your approval counts; {} of {} are given",
                    view.elevation.votes.len(),
                    view.elevation.needs.approvals
                )),
            });
        }
        ElevationCommand::Refuse { elevation, why } => {
            let view: ElevationView = client.post(&format!("/v1/elevations/{elevation}/refuse"), &json!({ "why": why })).await?;
            output.show(&view, || output.line(format!("{} {elevation}", output.paint(Tone::Bad, "refused"))));
        }
    }
    Ok(())
}

/// What an approver must see: who asks, for whom, what exactly.
fn print_held(context: &Context<'_>, held: &Value) {
    let output = context.output;
    let standing = text(held, "standing");
    let tone = if standing == "pending" { Tone::Waiting } else { Tone::Faint };
    output.line(format!("{} {}", output.paint(tone, &standing), text(held, "id")));
    let call = held.get("call").cloned().unwrap_or_default();
    output.line(format!("  {} wants to {} {}", text(&call, "identity"), text(&call, "action"), text(&call, "resource")));
    for reason in held.get("reasons").and_then(Value::as_array).into_iter().flatten() {
        output.line(format!("  held because {} ({})", text(reason, "text"), text(reason, "policy")));
    }
    output.line(format!("  with {}", text(held, "sight")));
    if held.to_string().contains("tool-changed") {
        output.line(format!(
            "  its definition is now {}; marque tool accept {} …",
            text(&call, "definition"),
            text(&call, "resource")
        ));
    }
    if standing == "pending" {
        output.line(format!("  marque elevation approve {}", text(held, "id")));
    }
}

pub async fn revoke(context: &Context<'_>, target: &str, why: &str) -> Result<()> {
    let output = context.output;
    let target: Target = target.parse().map_err(|e| Failure::input(format!("{e}")))?;
    let revoked: Revoked = context.client().await?.post("/v1/revocations", &json!({ "target": target, "why": why })).await?;
    output.show(&revoked, || {
        output.line(format!("{} {} (epoch {})", output.paint(Tone::Bad, "revoked"), revoked.target, revoked.epoch.0));
        output.line(format!("  tasks ended: {}", revoked.tasks));
        for (class, count) in &revoked.leases {
            output.line(format!("  {}: {count} ended", class.as_str()));
        }
        for id in &revoked.suspended {
            output.line(format!("  suspended: {id}"));
        }
    });
    Ok(())
}
