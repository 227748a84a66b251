//! `marque ledger query`, `credential`, `credentials`, `access`: questions to the log.

use std::io::{ErrorKind, Write as _};
use std::path::Path;

use marque_core::event::{Body, Event};
use marque_engine::{CredentialHistory, CredentialUse, Entry, Page, TaskCredential, TaskCredentials};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Context;
use super::query::{encoded, text};
use crate::args::{LedgerQuery, LedgerQuestion};
use crate::failure::{Failure, Result};
use crate::files::{digest, unreadable};
use crate::output::{Output, Tone};

pub async fn ask(context: &Context<'_>, question: LedgerQuestion) -> Result<()> {
    match question {
        LedgerQuestion::Query(query) if query.all || query.follow => stream(context, &query).await,
        LedgerQuestion::Query(query) => page(context, &query).await,
        LedgerQuestion::Credential { credential, before, limit } => history(context, &credential, before, limit).await,
        LedgerQuestion::Credentials { task, no_below } => credentials(context, &task, !no_below).await,
        LedgerQuestion::Access { action, resource, at } => {
            let question = format!("action={action}&resource={}&at={}", encoded(&resource.to_string()), encoded(&at));
            let found: Value = context.client().await?.get(&format!("/v1/ledger/access?{question}")).await?;
            context.output.show(&found, || print_access(context.output, &found, &format!("{action} {resource}")));
            Ok(())
        }
    }
}

/// How far an answer goes.
#[derive(Serialize, Deserialize)]
struct End {
    covers: u64,
    size: u64,
    next: Option<u64>,
    pruned: u64,
}

async fn page(context: &Context<'_>, query: &LedgerQuery) -> Result<()> {
    let path = format!("/v1/ledger/events?{}", parameters(query)?);
    let page: Page = context.client().await?.get(&path).await?;
    let end = End { covers: page.covers, size: page.size, next: page.next, pruned: page.pruned };
    let output = context.output;
    if output.json {
        for entry in &page.entries {
            output.line(serde_json::to_string(entry)?);
        }
        output.line(serde_json::to_string(&end)?);
        return Ok(());
    }
    if !page.entries.is_empty() {
        let rows: Vec<Vec<String>> = page.entries.iter().map(|entry| row(entry).to_vec()).collect();
        output.table(&HEAD, &rows);
    }
    footer(output, page.entries.len() as u64, &end);
    Ok(())
}

/// Every match, and what comes: printed as it arrives.
async fn stream(context: &Context<'_>, query: &LedgerQuery) -> Result<()> {
    let output = context.output;
    let mut client = context.client().await?;
    if query.follow && !client.has_server() {
        return Err(Failure::input("nothing comes while no server is running: start `marque serve`, or leave --follow out"));
    }
    let path = format!("/v1/ledger/stream?{}{}", parameters(query)?, if query.follow { "&follow=true" } else { "" });
    let mut told = Told { output, partial: Vec::new(), rows: 0, end: None };
    if !output.json {
        output.line(output.paint(Tone::Faint, wide(&HEAD.map(str::to_owned))));
    }
    let mut gone = false;
    let write = |bytes: &[u8]| told.take(bytes).inspect_err(|error| gone = error.kind() == ErrorKind::BrokenPipe);
    let sent = client.download(&path, write).await;
    match sent {
        // A reader that went away, as `head` does, is no error.
        Err(_) if gone => return Ok(()),
        sent => sent?,
    }
    let cut = || Failure::failed("the answer was cut off: its last line is missing");
    let end = told.end.ok_or_else(cut)?;
    if !output.json {
        footer(output, told.rows, &end);
    }
    Ok(())
}

/// What has come of a stream of lines.
struct Told<'a> {
    output: &'a Output,
    /// The beginning of a line whose end is yet to come.
    partial: Vec<u8>,
    rows: u64,
    end: Option<End>,
}

impl Told<'_> {
    fn take(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.partial.extend_from_slice(piece);
            if piece.ends_with(b"\n") {
                let line = std::mem::take(&mut self.partial);
                self.line(&line)?;
            }
        }
        std::io::stdout().flush()
    }

    fn line(&mut self, line: &[u8]) -> std::io::Result<()> {
        let mut out = std::io::stdout().lock();
        if let Ok(end) = serde_json::from_slice::<End>(line) {
            self.end = Some(end);
            return if self.output.json { out.write_all(line) } else { Ok(()) };
        }
        self.rows = self.rows.saturating_add(1);
        if self.output.json {
            return out.write_all(line);
        }
        let entry: Entry = serde_json::from_slice(line)?;
        writeln!(out, "{}", wide(&row(&entry)))
    }
}

async fn history(context: &Context<'_>, credential: &str, before: Option<u64>, limit: Option<u32>) -> Result<()> {
    let mut parameters = Vec::new();
    parameters.extend(before.map(|before| format!("before={before}")));
    parameters.extend(limit.map(|limit| format!("limit={limit}")));
    let path = format!("/v1/ledger/credentials/{}?{}", encoded(credential), parameters.join("&"));
    let found: CredentialHistory = context.client().await?.get(&path).await?;
    context.output.show(&found, || print_history(context.output, &found));
    Ok(())
}

fn print_history(output: &Output, found: &CredentialHistory) {
    let lease = &found.lease;
    output.line(format!("{} {}, of {} as {}", lease.class.as_str(), lease.id, lease.identity, lease.instance));
    let task = lease.task.map_or("no task".to_owned(), |task| task.to_string());
    output.line(format!("  issued at {}, entry {}, for {task}", lease.issued, found.issued));
    match &found.ended {
        None => output.line(format!("  {} until {}", output.paint(Tone::Good, "counts"), lease.expires)),
        Some(ended) => {
            let by = ended.by.as_ref().map_or(String::new(), |by| format!(" by {by}"));
            let entry = ended.entry.map_or(String::new(), |entry| format!(", entry {entry}"));
            let said = ended.said.as_ref().map_or(String::new(), |said| format!(" ({})", plain(said)));
            let kind = output.paint(Tone::Bad, &ended.kind);
            output.line(format!("  ended at {}{entry}: {kind}{by}: {}{said}", ended.at, plain(&ended.why)));
        }
    }
    output.line(format!("  used {} times", found.uses));
    let used = |u: &CredentialUse| {
        let outcome = u.outcome.as_ref().map_or("-".to_owned(), |(_, ending)| format!("{ending:?}").to_lowercase());
        let what = format!("{} {}", u.action, u.resource);
        vec![u.index.to_string(), u.at.to_string(), u.effect.as_str().to_owned(), what, u.record.to_string(), outcome]
    };
    if !found.records.is_empty() {
        let rows: Vec<Vec<String>> = found.records.iter().map(used).collect();
        output.table(&["ENTRY", "TIME", "DECISION", "WHAT", "RECORD", "OUTCOME"], &rows);
    }
    if found.pruned > 0 {
        output.line(format!("{} of these uses were let go: only their number is left", found.pruned));
    }
    if let Some(next) = found.next {
        output.line(format!("there are older ones: --before {next}"));
    }
    output.line(format!("covers entries up to {} of {}", found.covers, found.size));
}

async fn credentials(context: &Context<'_>, task: &str, below: bool) -> Result<()> {
    let path = format!("/v1/ledger/tasks/{}/credentials?below={below}", encoded(task));
    let found: TaskCredentials = context.client().await?.get(&path).await?;
    let output = context.output;
    output.show(&found, || {
        if found.credentials.is_empty() {
            output.line(format!("{task} never held a credential."));
        } else {
            let rows: Vec<Vec<String>> = found.credentials.iter().map(held).collect();
            output.table(&["ENTRY", "CREDENTIAL", "CLASS", "IDENTITY", "ISSUED", "EXPIRES", "USES", "LAST USE"], &rows);
        }
        if found.pruned > 0 {
            output.line(format!("{} entries were let go: credentials among them may be missing", found.pruned));
        }
        output.line(format!("covers entries up to {} of {}", found.covers, found.size));
    });
    Ok(())
}

fn held(one: &TaskCredential) -> Vec<String> {
    let lease = &one.lease;
    let last = match one.last {
        None => "-".to_owned(),
        Some((_, Some(at))) => at.to_string(),
        Some((entry, None)) => format!("entry {entry}, let go"),
    };
    vec![
        one.issued.to_string(),
        lease.id.to_string(),
        lease.class.as_str().to_owned(),
        lease.identity.short().to_owned(),
        lease.issued.to_string(),
        lease.expires.to_string(),
        one.uses.to_string(),
        last,
    ]
}

fn print_access(output: &Output, found: &Value, question: &str) {
    let list = |field: &str| found.get(field).and_then(Value::as_array).cloned().unwrap_or_default();
    let is = |field: &str| found.get(field).and_then(Value::as_bool).unwrap_or_default();
    let effect = |of: &Value| match text(of, "effect").as_str() {
        "hold" => output.paint(Tone::Waiting, "with approval"),
        _ => output.paint(Tone::Good, "allowed      "),
    };
    let (could, had) = (list("could"), list("had"));
    let of = match found.get("policy").and_then(Value::as_str) {
        _ if text(found, "entries") == "0" => "before the log began".to_owned(),
        Some(policy) => format!("as of entry {} and policies {policy}", text(found, "entries")),
        None => format!("as of entry {}, before there were policies", text(found, "entries")),
    };
    output.line(format!("{question}, {of}"));
    if !is("registered") {
        output.line("It was not registered then: nobody had access.");
    }
    for one in &had {
        output.line(format!("{}  {}  {} for {}", effect(one), text(one, "identity"), text(one, "task"), text(one, "principal")));
        output.line(format!("  until {}: {}", text(one, "expires"), plain(&text(one, "purpose"))));
        for lease in one.get("leases").and_then(Value::as_array).into_iter().flatten() {
            let (class, id, expires) = (text(lease, "class"), text(lease, "lease"), text(lease, "expires"));
            output.line(format!("  with {class} {id} until {expires}"));
        }
    }
    if had.is_empty() && is("registered") {
        output.line("No task that was alive then granted it.");
    }
    let could: Vec<String> = could.iter().map(|one| text(one, "identity")).collect();
    if !could.is_empty() {
        output.line(format!("by the policies of then, a task could have granted it to: {}", could.join(", ")));
    }
    if !is("same_rules") {
        output.line("The rules that come with the server have changed since: this is by its rules of now.");
    }
    if text(found, "pruned") != "0" {
        output.line(format!("{} entries of then were let go: credentials may be missing", text(found, "pruned")));
    }
}

/// The question as the API takes it.
fn parameters(query: &LedgerQuery) -> Result<String> {
    let digest = match &query.file {
        Some(file) => Some(digest_of(file)?),
        None => query.digest.clone(),
    };
    let order = if query.oldest_first || query.follow { Some("asc".to_owned()) } else { None };
    let below = query.no_below.then(|| "false".to_owned());
    let number = |value: Option<u64>| value.map(|value| value.to_string());
    let given = [
        ("identity", query.identity.clone()),
        ("instance", query.instance.clone()),
        ("task", query.task.clone()),
        ("below", below),
        ("person", query.of_person.clone()),
        ("resource", query.resource.clone()),
        ("credential", query.credential.clone()),
        ("record", query.record.clone()),
        ("decision", query.decision.clone()),
        ("kind", query.kind.clone()),
        ("digest", digest),
        ("since", query.since.clone()),
        ("until", query.until.clone()),
        ("from", number(query.from)),
        ("before", number(query.before)),
        ("order", order),
        ("limit", number(query.limit.map(u64::from))),
    ];
    let pairs = given.iter().filter_map(|(name, value)| Some(format!("{name}={}", encoded(value.as_deref()?))));
    Ok(pairs.collect::<Vec<_>>().join("&"))
}

fn digest_of(file: &Path) -> Result<String> {
    let read = if file == Path::new("-") { digest(std::io::stdin()) } else { std::fs::File::open(file).and_then(digest) };
    Ok(read.map_err(|e| unreadable(file, &e))?.0.to_string())
}

fn footer(output: &Output, rows: u64, end: &End) {
    if rows == 0 {
        output.line("No entry matches.");
    }
    if end.pruned > 0 {
        output.line(output.paint(Tone::Waiting, format!("{} entries of that range were let go and cannot be shown", end.pruned)));
    }
    if let Some(next) = end.next {
        output.line(format!("there are more: --before {next} (--from with --oldest-first), or --all"));
    }
    output.line(format!("covers entries up to {} of {}", end.covers, end.size));
}

/// One entry for people.
fn row(entry: &Entry) -> [String; 6] {
    let Some(event) = &entry.event else {
        let gone = "let go".to_owned();
        return [entry.index.to_string(), "-".to_owned(), gone, "-".to_owned(), entry.leaf_hash.clone(), String::new()];
    };
    let mut decision = match &event.what {
        Body::Decided(decided) => decided.effect.as_str().to_owned(),
        _ => String::new(),
    };
    if entry.erased {
        decision = format!("{decision} (erased)").trim_start().to_owned();
    }
    let kind = event.what.kind().to_owned();
    [entry.index.to_string(), event.ts.to_string(), kind, plain(&who(event)), plain(&what(event)), decision]
}

fn who(event: &Event) -> String {
    match &event.what {
        Body::Decided(decided) => format!("{} for {}", decided.identity.short(), decided.principal.name()),
        Body::LeaseIssued { lease } => lease.identity.short().to_owned(),
        Body::InstanceAttested { instance } => instance.identity.short().to_owned(),
        Body::IssueRefused { identity, .. } => identity.short().to_owned(),
        _ => event.by.to_string(),
    }
}

fn what(event: &Event) -> String {
    match &event.what {
        Body::LogStarted { trust_domain } => trust_domain.to_string(),
        Body::PersonAdded { person, .. } => person.to_string(),
        Body::IdentityApplied { identity } => format!("{} {}", identity.id.short(), identity.state),
        Body::IdentityMoved { identity, to, why } => format!("{} {to}: {why}", identity.short()),
        Body::ResourceApplied { resource } => resource.id.to_string(),
        Body::ToolPinned { tool, definition } => format!("{tool} {}", definition.short()),
        Body::PolicyFile { name, .. } => name.clone(),
        Body::PolicyActivated { files, digest } => format!("{} of {}", digest.short(), files.join(" ")),
        Body::InstanceAttested { instance } => instance.id.to_string(),
        Body::InstanceEnded { instance } => instance.to_string(),
        Body::AttestationRefused { why } | Body::IssueRefused { why, .. } => why.clone(),
        Body::TaskStarted { task } => format!("{} {}: {}", task.id, task.actor.short(), task.purpose),
        Body::TaskFinished { task } => task.to_string(),
        Body::LeaseIssued { lease } => format!("{} {}", lease.class.as_str(), lease.id),
        Body::Decided(decided) => format!("{} {}", decided.action, decided.resource),
        Body::Settled { record, outcome, .. } => format!("{record} {}", format!("{:?}", outcome.ending).to_lowercase()),
        Body::ElevationRequested { elevation } => {
            format!("{} {} {}", elevation.id, elevation.call.action, elevation.call.resource)
        }
        Body::ElevationVoted { elevation, .. } | Body::ElevationExpired { elevation } => elevation.to_string(),
        Body::ElevationApproved { elevation, task, .. } => format!("{elevation} {}", task.id),
        Body::ElevationRefused { elevation, why, .. } => format!("{elevation}: {why}"),
        Body::ArtifactAttested { artifact } => artifact.name.clone(),
        Body::LedgerRead { query, rows } => format!("{rows} entries: {query}"),
        Body::Gap { observer, from, to } => format!("{observer} {from} to {to}"),
        Body::Erased { pseudonym, .. } => pseudonym.to_string(),
        Body::Pruned { below, policy } => format!("below {below}: {policy}"),
        Body::Revoked { target, why, .. } => format!("{target}: {why}"),
        _ => String::new(),
    }
}

/// A text that does nothing to a terminal, and leaves room for others.
fn plain(text: &str) -> String {
    let mut plain: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    if plain.chars().count() > WIDEST {
        plain = plain.chars().take(WIDEST - 1).chain(['…']).collect();
    }
    plain
}

/// A row whose neighbours are not known yet.
fn wide([index, time, kind, who, what, decision]: &[String; 6]) -> String {
    format!("{index:>9}  {time:<24}  {kind:<20}  {who:<32}  {what:<48}  {decision}").trim_end().to_owned()
}

const HEAD: [&str; 6] = ["INDEX", "TIME", "KIND", "WHO", "WHAT", "DECISION"];
const WIDEST: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;

    /// Lines come in pieces that know nothing of lines.
    #[test]
    fn lines_are_put_together_again() {
        let entry = Entry { index: 7, leaf_hash: "x".into(), event: None, subject: None, erased: false, pruned: true };
        let end = End { covers: 9, size: 10, next: None, pruned: 1 };
        let text = format!("{}\n{}\n", serde_json::to_string(&entry).unwrap(), serde_json::to_string(&end).unwrap());
        for cut in 1..text.len() {
            let mut told = Told { output: &Output::new(false), partial: Vec::new(), rows: 0, end: None };
            let (first, rest) = text.as_bytes().split_at(cut);
            told.take(first).unwrap();
            assert!(told.end.is_none() || rest.is_empty(), "at {cut}");
            told.take(rest).unwrap();
            assert_eq!((told.rows, told.end.map(|e| (e.covers, e.size))), (1, Some((9, 10))), "at {cut}");
        }
    }

    #[test]
    fn what_others_wrote_does_nothing_to_a_terminal() {
        assert_eq!(plain("a\u{1b}[31m\nb"), "a [31m b");
        assert_eq!(plain(&"x".repeat(500)).chars().count(), WIDEST);
        assert_eq!(plain(&"x".repeat(WIDEST)), "x".repeat(WIDEST));
    }
}
