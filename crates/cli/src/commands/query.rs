//! `marque who-can`, `can`, `records`, `trace`, `findings`, `status`, `views`.

use marque_core::resource::{Action, ResourceId};
use marque_engine::WitnessStatus;
use serde_json::{Value, json};

use super::Context;
use crate::failure::Result;
use crate::output::Tone;

pub async fn who_can(context: &Context<'_>, action: Action, resource: &ResourceId) -> Result<()> {
    let path = format!("/v1/who-can?action={action}&resource={}", encoded(&resource.to_string()));
    let found: Vec<Value> = context.client().await?.get(&path).await?;
    context.output.show(&found, || {
        if found.is_empty() {
            context.output.line(format!("No identity can {action} {resource}."));
        }
        print_access(context, &found, "identity");
    });
    Ok(())
}

pub async fn can(context: &Context<'_>, identity: &str) -> Result<()> {
    let found: Vec<Value> = context.client().await?.get(&format!("/v1/can?identity={}", encoded(identity))).await?;
    context.output.show(&found, || {
        if found.is_empty() {
            context.output.line(format!("{identity} can do nothing."));
        }
        print_access(context, &found, "resource");
    });
    Ok(())
}

fn print_access(context: &Context<'_>, found: &[Value], subject: &str) {
    let output = context.output;
    for access in found {
        let held = text(access, "effect") == "hold";
        let word = if held { output.paint(Tone::Waiting, "with approval") } else { output.paint(Tone::Good, "allowed      ") };
        let action = if subject == "resource" { format!("{} ", text(access, "action")) } else { String::new() };
        let reasons = access.get("reasons").and_then(Value::as_array).into_iter().flatten();
        let depends = access.get("depends_on").and_then(Value::as_array).into_iter().flatten();
        let depends: Vec<String> = depends.map(|r| format!("{} {}", text(r, "policy"), text(r, "at"))).collect();
        let by: Vec<String> = reasons.map(|r| format!("{} {}", text(r, "policy"), text(r, "at"))).collect();
        let by = if depends.is_empty() {
            by.join(", ")
        } else {
            format!("{}, unless {} objects to the arguments", by.join(", "), depends.join(", "))
        };
        output.line(format!("{word}  {action}{}  {}", text(access, subject), output.paint(Tone::Faint, format!("by {by}"))));
    }
}

pub async fn records(context: &Context<'_>, task: Option<String>, identity: Option<String>, limit: u32) -> Result<()> {
    let mut path = format!("/v1/records?limit={limit}");
    for (name, value) in [("task", task), ("identity", identity)] {
        if let Some(value) = value {
            path = format!("{path}&{name}={}", encoded(&value));
        }
    }
    let records: Vec<Value> = context.client().await?.get(&path).await?;
    let output = context.output;
    output.show(&records, || {
        let row = |r: &Value| {
            let outcome = match (r.get("outcome"), text(r, "effect").as_str()) {
                (Some(outcome), _) => text(outcome, "ending"),
                (None, "allow") => "none yet".to_owned(),
                (None, _) => "-".to_owned(),
            };
            let mut row: Vec<String> = ["record", "effect", "identity", "action", "resource"].map(|f| text(r, f)).to_vec();
            row.push(outcome);
            row
        };
        if records.is_empty() {
            return output.line("No agent has done anything.");
        }
        output.table(
            &["RECORD", "DECISION", "IDENTITY", "ACTION", "RESOURCE", "OUTCOME"],
            &records.iter().map(row).collect::<Vec<_>>(),
        );
    });
    Ok(())
}

pub async fn findings(context: &Context<'_>) -> Result<()> {
    let found: Vec<Value> = context.client().await?.get("/v1/findings").await?;
    let output = context.output;
    output.show(&found, || {
        for finding in &found {
            output.line(format!("{} {}: {}", output.paint(Tone::Waiting, "!"), text(finding, "subject"), text(finding, "text")));
        }
        if found.is_empty() {
            output.line("Nothing is wrong in the inventory.");
        }
    });
    Ok(())
}

pub async fn status(context: &Context<'_>) -> Result<()> {
    let mut client = context.client().await?;
    let mut status: Value = client.get("/v1/status").await?;
    if let Some(fields) = status.as_object_mut() {
        fields.insert("server".to_owned(), client.has_server().into());
        if !client.has_server() {
            // It belongs to a server, and none runs.
            fields.remove("issuer");
        }
    }
    let output = context.output;
    output.show(&status, || {
        let server = if client.has_server() { "running" } else { "not running; read from the files" };
        output.line(format!("{:<13} {server}", "server"));
        let apart = |name: &str| matches!(name, "server" | "witnesses");
        for (name, value) in status.as_object().into_iter().flatten().filter(|(name, _)| !apart(name)) {
            output.line(format!("{name:<13} {}", value.as_str().map_or_else(|| value.to_string(), str::to_owned)));
        }
        let witnesses = status.get("witnesses").cloned().unwrap_or_default();
        for witness in serde_json::from_value::<Vec<WitnessStatus>>(witnesses).unwrap_or_default() {
            let how = match (witness.error, witness.size, witness.at) {
                (Some(error), ..) => output.paint(Tone::Bad, error),
                (None, Some(size), Some(at)) => format!("cosigned {size} entries at {at}"),
                _ => "has not answered yet".to_owned(),
            };
            output.line(format!("{:<13} {}  {how}", "witness", witness.name));
        }
    });
    Ok(())
}

pub async fn rebuild(context: &Context<'_>) -> Result<()> {
    let rebuilt: Value = context.client().await?.post("/v1/views/rebuild", &json!({})).await?;
    context.output.show(&rebuilt, || {
        context.output.line(format!("rebuilt from the log: {} entries", rebuilt.get("covers").unwrap_or(&Value::Null)))
    });
    Ok(())
}

/// A field as text; nothing when it is not there.
pub fn text(value: &Value, field: &str) -> String {
    match value.get(field) {
        Some(Value::String(text)) => text.clone(),
        None | Some(Value::Null) => String::new(),
        Some(other) => other.to_string(),
    }
}

/// A value in a query string or a path (RFC 3986 §2.1).
pub fn encoded(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~".contains(&b);
    text.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}
