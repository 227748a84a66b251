//! The last three steps: from the file back to the person, the whole log verified, and a changed byte found.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::processes::cli;
use super::story::{ALICE, Story};
use crate::args::DemoArgs;
use crate::failure::{Failure, Result};
use crate::output::Tone;

/// From the report to alice.
pub async fn traced(story: &mut Story<'_>) -> Result<()> {
    let report = story.dir.join("office/reports/weekly.md");
    let path = report.display().to_string();
    let trace = story.marque(ALICE, &["trace", &path]).await?;
    let chain = trace.pointer("/chains/0").cloned().unwrap_or_default();
    let tasks = chain.get("tasks").and_then(Value::as_array).cloned().unwrap_or_default();
    let actors: Vec<&str> = tasks.iter().filter_map(|t| t.pointer("/task/actor")?.as_str()?.rsplit('/').next()).collect();
    let person = tasks.last().and_then(|t| t.pointer("/task/principal")?.as_str()).unwrap_or_default();
    story.must(
        person == "user:alice@example.com" && actors == ["researcher", "orchestrator"],
        "the trace does not lead to alice",
        &trace,
    )?;
    story.must(chain.pointer("/proof/verified") == Some(&json!(true)), "the trace has no proof", &trace)?;
    let source = from_register(&chain);
    story.must(source, "the report does not lead to what it was made from", &trace)?;
    let (lines, pasted) = pasted(story, &report).await?;
    let text = format!(
        "{} ← {} ← {}, and a proof that it is entry {} of the log; it was made from what find_customer answered; a paragraph \
         of it, pasted into somebody's minutes, is told by its lines, {lines}",
        "weekly.md",
        actors.join(" ← "),
        person,
        chain.pointer("/proof/index").unwrap_or(&Value::Null)
    );
    story.step("traced", &text, json!({ "report": trace, "minutes": pasted }));
    Ok(())
}

/// Whether a record was made from what the customer register answered.
fn from_register(chain: &Value) -> bool {
    let above = chain.get("upstream").and_then(Value::as_array).into_iter().flatten();
    let mut sources = above.filter(|c| c.pointer("/decided/resource") == Some(&json!("tool:office/find_customer")));
    sources.any(|c| c.pointer("/found/side") == Some(&json!("response")))
}

/// The end of the report, wrapped anew, in capitals, between what somebody else wrote: the lines that it is found in.
async fn pasted(story: &Story<'_>, report: &Path) -> Result<(String, Value)> {
    let text = std::fs::read_to_string(report)?;
    let end = text.split_once("> ").map(|(_, end)| end).unwrap_or_default();
    let minutes = story.dir.join("minutes.txt");
    let words = wrapped(&end.to_uppercase());
    std::fs::write(&minutes, format!("Minutes of the sales meeting\r\n\r\n{words}\r\n\r\nEverybody left at five.\r\n"))?;
    let trace = story.marque(ALICE, &["trace", &minutes.display().to_string()]).await?;
    let found = trace.pointer("/spans/0").cloned().unwrap_or_default();
    let line = |field: &str| found.get(field).and_then(Value::as_u64).unwrap_or_default();
    let chain = found.get("chain").and_then(Value::as_u64).unwrap_or_default();
    let of = |field: &str| trace.pointer(&format!("/chains/{chain}/decided/{field}")).and_then(Value::as_str).unwrap_or_default();
    let report = of("identity").ends_with("/agent/researcher") && of("resource") == "tool:office/write_report";
    let last = words.lines().count() as u64 + 2;
    let is_there = report && line("from") >= 3 && line("to") <= last && line("to") > line("from");
    story.must(is_there, "the pasted paragraph is not found in its lines", &trace)?;
    Ok((format!("{} to {}", line("from"), line("to")), trace))
}

/// Lines of some sixty characters.
fn wrapped(text: &str) -> String {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.is_empty() => line.push_str(word),
            Some(line) if line.len() + word.len() < 60 => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines.join("\r\n")
}

/// The log's files alone, offline, with a key that was put aside.
pub async fn verified(story: &mut Story<'_>, keep: bool) -> Result<()> {
    let key = story.dir.join("trusted-verifier");
    std::fs::copy(story.state.join("ledger/verifier"), &key)?;
    for agent in [story.orchestrator.take(), story.researcher.take()].into_iter().flatten() {
        agent.stop().await?;
    }
    if let Some(server) = story.server.take() {
        if keep { story.server = Some(server) } else { server.stop().await? }
    }
    let report = verify(story, &story.state.join("ledger"), &key).await?;
    story.must(report.0 == Some(0) && report.1.get("ok") == Some(&json!(true)), "the log does not verify", &report.1)?;
    let text = format!(
        "all {} entries, their tiles and the signed checkpoint agree, from the files alone",
        report.1.get("entries_checked").unwrap_or(&Value::Null)
    );
    story.step("verified", &text, report.1);
    Ok(())
}

/// One changed byte in a copy.
pub async fn tampered(story: &mut Story<'_>) -> Result<()> {
    let copy = story.dir.join("tampered");
    copy_dir(&story.state.join("ledger"), &copy)?;
    let bundle = largest(&copy.join("tile/entries"))?;
    let mut bytes = std::fs::read(&bundle)?;
    let middle = bytes.len() / 2;
    if let Some(byte) = bytes.get_mut(middle) {
        *byte ^= 1;
    }
    std::fs::write(&bundle, bytes)?;
    let key = story.dir.join("trusted-verifier");
    let report = verify(story, &copy, &key).await?;
    let faults = report.1.get("faults").and_then(Value::as_array).cloned().unwrap_or_default();
    story.must(report.0 == Some(4) && !faults.is_empty(), "the changed byte was not found", &report.1)?;
    let place = bundle.strip_prefix(&copy).unwrap_or(&bundle).display().to_string();
    let text = format!(
        "one bit of a copy was flipped, in {place} at byte {middle}; verification found it: {}",
        faults.first().and_then(|f| f.get("what")?.as_str()).unwrap_or_default()
    );
    story.step("tamper-found", &text, report.1);
    Ok(())
}

/// What to try next; with `--serve`, until it is told to stop.
pub async fn epilogue(story: &mut Story<'_>, args: &DemoArgs) -> Result<()> {
    if !story.output.json {
        let output = story.output;
        let dir = args.dir.display();
        output.line(format!("\nEverything is left in {}. Try:", output.paint(Tone::Strong, format!("{dir}"))));
        for command in [
            format!("marque --state {dir}/state trace {dir}/office/reports/weekly.md"),
            format!("marque --state {dir}/state trace {dir}/minutes.txt --svg minutes.svg"),
            format!("marque --state {dir}/state records"),
            format!("marque --state {dir}/state who-can invoke tool:office/send_mail"),
            format!("marque --state {dir}/state plan -f {dir}/manifest"),
            format!("marque ledger verify {dir}/tampered"),
        ] {
            output.line(format!("  {command}"));
        }
    }
    if args.serve {
        if !story.output.json {
            story.output.line("\nThe control plane keeps running; end it with ctrl-c.");
        }
        let _ = tokio::signal::ctrl_c().await;
        if let Some(server) = story.server.take() {
            server.stop().await?;
        }
    }
    if let Some(tools) = story.tools.take() {
        tools.stop().await?;
    }
    Ok(())
}

async fn verify(story: &Story<'_>, ledger: &Path, key: &Path) -> Result<(Option<i32>, Value)> {
    cli(&story.state, ALICE, &["ledger", "verify", &ledger.display().to_string(), "--key-file", &key.display().to_string()], None)
        .await
}

fn copy_dir(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_dir(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

/// The largest file below a directory: the bundle with the most entries.
fn largest(dir: &Path) -> Result<PathBuf> {
    let mut found: Vec<(u64, PathBuf)> = Vec::new();
    let mut open = vec![dir.to_owned()];
    while let Some(dir) = open.pop() {
        for entry in std::fs::read_dir(dir)? {
            let entry = entry?;
            match entry.metadata()? {
                meta if meta.is_dir() => open.push(entry.path()),
                meta => found.push((meta.len(), entry.path())),
            }
        }
    }
    found.sort();
    found.pop().map(|(_, path)| path).ok_or_else(|| Failure::failed("the log has no entries"))
}
