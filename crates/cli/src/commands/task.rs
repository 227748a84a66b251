//! `marque task`, `marque elevation`, `marque revoke`.

use marque_core::revocation::Target;
use marque_core::scope::Scope;
use marque_core::task::Task;
use marque_core::time::Ttl;
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
                let cut = start.ttl.map_or_else(String::new, |asked| cut(&task, asked));
                output.line(format!("  for {}, until {}{cut}, at most: {}", task.principal, task.expires, task.scope));
                let marque = &context.marque;
                output.line(format!("  next: {marque} run --as {} --task {} -- COMMAND", task.actor.short(), task.id));
            });
        }
        TaskCommand::List => {
            let tasks: Vec<Value> = client.get("/v1/tasks").await?;
            output.show(&tasks, || {
                if tasks.is_empty() {
                    return output.line("No task was started.");
                }
                let row = |t: &Value| {
                    let [id, actor, principal, purpose] = ["id", "actor", "principal", "purpose"].map(|f| text(t, f));
                    vec![id, word(&text(t, "status")), actor, principal, purpose]
                };
                let rows: Vec<Vec<String>> = tasks.iter().map(row).collect();
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

/// What is said where a task lives shorter than somebody asked.
fn cut(task: &Task, asked: Ttl) -> String {
    let seconds = u64::try_from(task.expires.seconds().saturating_sub(task.started.seconds())).unwrap_or(0);
    let lives = Ttl::from_seconds(seconds);
    if lives >= asked {
        return String::new();
    }
    match seconds.checked_rem(DAY) {
        Some(0) => format!(" (cut to the longest, {}d)", seconds / DAY),
        _ => format!(" (cut to the longest, {lives})"),
    }
}

/// How a task stands, of the sentence that says so: `live`, `revoked`, `expired`, `ended`, `suspended`.
fn word(status: &str) -> String {
    status.rsplit(' ').next().unwrap_or_default().to_owned()
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
                    output.line(format!("  to take it back: {} revoke {elevation}", context.marque));
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
            "  its definition is now {}; {} tool accept {} …",
            text(&call, "definition"),
            context.marque,
            text(&call, "resource")
        ));
    }
    if standing == "pending" {
        output.line(format!("  {} elevation approve {}", context.marque, text(held, "id")));
    }
}

pub async fn revoke(context: &Context<'_>, target: &str, why: &str) -> Result<()> {
    let output = context.output;
    let parsed = target.parse::<Target>().map_err(|e| Failure::input(format!("{e}")));
    // The path of an identity is no target by itself: other commands take it, and so does this one.
    let is_path = target.contains('/') && !target.contains(':');
    let (mut client, target) = match parsed {
        Err(_) if is_path => {
            let mut client = context.client().await?;
            let status: Value = client.get("/v1/status").await?;
            let id = format!("spiffe://{}/{target}", text(&status, "trust_domain"));
            (client, id.parse::<Target>().map_err(|e| Failure::input(format!("{e}")))?)
        }
        parsed => {
            let target = parsed?;
            (context.client().await?, target)
        }
    };
    let revoked: Revoked = client.post("/v1/revocations", &json!({ "target": target, "why": why })).await?;
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

const DAY: u64 = 86_400;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_one_word() {
        let task = "task_01M8000000000000000000000A";
        for (said, expected) in [
            ("live".to_owned(), "live"),
            (format!("`{task}` was revoked"), "revoked"),
            (format!("`{task}` is not known or has ended"), "ended"),
            (format!("`{task}` has expired"), "expired"),
            ("`spiffe://example.org/agent/a` is suspended".to_owned(), "suspended"),
        ] {
            assert_eq!(word(&said), expected);
        }
    }

    #[test]
    fn a_life_that_was_cut_is_named() {
        let value = json!({
            "id": "task_01JD0000000000000000000000", "actor": "spiffe://example.org/agent/a", "principal": "user:alice@example.com",
            "purpose": "x", "scope": [], "started": 0, "expires": 7 * 24 * 3600 * 1_000_000_i64, "depth": 0, "epoch": 0,
        });
        let task: Task = serde_json::from_value(value).unwrap();
        assert_eq!(cut(&task, "9999h".parse().unwrap()), " (cut to the longest, 7d)");
        assert_eq!(cut(&task, "7d".parse().unwrap()), "");
        assert_eq!(cut(&task, "30m".parse().unwrap()), "");
    }
}
