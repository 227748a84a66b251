//! `marque export`: a range of the log in another format, how far the configured exports are, and the schema of events.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use serde_json::Value;

use super::Context;
use super::query::text;
use crate::args::{ExportCommand, ExportRun};
use crate::failure::{Failure, Result};

pub async fn export(context: &Context<'_>, command: ExportCommand) -> Result<()> {
    match command {
        ExportCommand::Run(run) => write_out(context, &run).await,
        ExportCommand::Status => status(context).await,
        ExportCommand::Schema => {
            context.output.line(serde_json::to_string_pretty(&marque_engine::event_schema())?);
            Ok(())
        }
    }
}

async fn write_out(context: &Context<'_>, run: &ExportRun) -> Result<()> {
    let limit = run.limit.map_or(String::new(), |limit| format!("&limit={limit}"));
    let (format, from, names, contents) = (run.format.as_str(), run.from, run.names, run.contents);
    let path = format!("/v1/ledger/export?format={format}&from={from}{limit}&names={names}&contents={contents}");
    let mut client = context.client().await?;
    if run.to == Path::new("-") {
        let mut out = std::io::stdout();
        client.download(&path, |bytes| out.write_all(bytes)).await?;
        return Ok(out.flush()?);
    }
    // The file appears when all of it is there.
    let mut partial = run.to.clone().into_os_string();
    partial.push(".partial");
    let cannot = |e: std::io::Error| Failure::failed(format!("cannot write `{}`: {e}", run.to.display()));
    // One that was left behind is of no use, and perhaps others may read it.
    let _ = std::fs::remove_file(&partial);
    let mode = if names || contents { 0o600 } else { 0o666 };
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&partial).map_err(cannot)?;
    let mut size = 0_u64;
    let taken = client.download(&path, |bytes| {
        size = size.saturating_add(bytes.len() as u64);
        file.write_all(bytes)
    });
    if let Err(failure) = taken.await {
        // What is not whole is of no use.
        let _ = std::fs::remove_file(&partial);
        return Err(failure);
    }
    file.sync_all().map_err(cannot)?;
    std::fs::rename(&partial, &run.to).map_err(cannot)?;
    let written = serde_json::json!({ "file": run.to, "bytes": size });
    context.output.show(&written, || context.output.line(format!("wrote {} ({size} bytes)", run.to.display())));
    Ok(())
}

async fn status(context: &Context<'_>) -> Result<()> {
    let exports: Vec<Value> = context.client().await?.get("/v1/exports").await?;
    let output = context.output;
    output.show(&exports, || {
        if exports.is_empty() {
            return output.line("There is no export: name one in the server's configuration.");
        }
        let row = |export: &Value| {
            let running = export.get("running").and_then(Value::as_bool).unwrap_or_default();
            let failing = text(export, "failures") != "0";
            let state = match (running, failing) {
                (false, _) => "not running",
                (true, true) => "failing",
                (true, false) => "running",
            };
            let seconds = format!("{} s", text(export, "seconds_behind"));
            let (name, cursor, behind) = (text(export, "name"), text(export, "cursor"), text(export, "behind"));
            vec![name, state.to_owned(), cursor, behind, seconds, text(export, "last_error")]
        };
        let rows: Vec<Vec<String>> = exports.iter().map(row).collect();
        output.table(&["EXPORT", "STATE", "CURSOR", "BEHIND", "FOR", "LAST ERROR"], &rows);
    });
    Ok(())
}
