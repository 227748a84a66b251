//! `marque ledger verify`: offline, from the files alone, or from the address that serves them; a verdict for each question.

mod facts;
mod files;
mod spread;
mod verdicts;

use std::process::ExitCode;

use marque_engine::Env;
use marque_ledger::{Audit, Checkpoint, Policy, Report, Verifier, audit_log};
use serde_json::json;

use self::files::Ledger;
use self::spread::{Gathered, gather};
use self::verdicts::Found;
pub(super) use self::verdicts::{Standing, Verdict};
use super::Context;
use crate::args::VerifyArgs;
use crate::failure::{Code, Failure, Result};
use crate::files::{read, text};
use crate::output::Tone;

/// Verifies a ledger and says how it stands. Exit code 0 when nothing that was asked fails or is left unchecked.
pub fn verify(context: &Context<'_>, args: &VerifyArgs) -> Result<ExitCode> {
    let ledger = match &args.url {
        Some(url) => Ledger::at(url)?,
        None => Ledger::Dir(args.dir.clone().unwrap_or_else(|| context.state.join("ledger"))),
    };
    // Reading over the network waits; files are read as they come.
    tokio::task::block_in_place(|| judge(context, args, &ledger))
}

fn judge(context: &Context<'_>, args: &VerifyArgs, ledger: &Ledger) -> Result<ExitCode> {
    let policy = args.policy.as_ref().map(|file| read_policy(file)).transpose()?;
    let key = Key::find(args, policy.as_ref(), ledger)?;
    let origin = key.verifier.name().to_owned();
    let known = [key.verifier];
    let older = args.older.as_ref().map(|file| text(file)).transpose()?;
    // What nobody signed spoils its own question and no other.
    let (pruned, pruned_fault) = read_pruned(ledger).map_or_else(|why| (0, Some(why)), |below| (below, None));
    let audit = Audit {
        older: older.as_deref(),
        policy: policy.as_ref(),
        now: policy.as_ref().map(|_| u64::try_from(Env::system().clock.now().seconds()).unwrap_or(0)),
        max_age: args.max_age.map(|age| age.seconds()),
        minimum_index: pruned,
        ..Audit::new(&origin, &known)
    };
    let (mut findings, Gathered { facts, refused }) = gather(|on_entry| audit_log(ledger, &audit, on_entry));
    refused.iter().for_each(|(index, why)| findings.refuse(*index, why));
    let (witnessed, anchor_fault) =
        ledger.text("checkpoint.witnessed").map_or_else(|why| (None, Some(why)), |witnessed| (witnessed, None));
    let anchor = witnessed.zip(findings.checkpoint.as_ref()).map(|(note, newest)| audit.anchor(ledger, &note, newest));
    let older_size =
        older.as_ref().and_then(|note| Checkpoint::open(note, &origin, &known).ok()).map(|checkpoint| checkpoint.size);
    let found = Found {
        findings: &findings,
        facts: &facts,
        anchor: anchor.as_ref(),
        anchor_fault: anchor_fault.as_deref(),
        origin: &origin,
        key_from: &key.from,
        key_is_beside: key.is_beside,
        older_size,
        has_policy: policy.is_some(),
        has_max_age: args.max_age.is_some(),
        pruned,
        pruned_fault: pruned_fault.as_deref(),
    };
    let verdicts = found.verdicts();
    let is_ok = !verdicts.iter().any(Verdict::is_bad);
    show(context, &origin, &findings.report, key.is_beside, is_ok, &verdicts);
    Ok(if is_ok { ExitCode::SUCCESS } else { ExitCode::from(Code::NotFound as u8) })
}

fn show(context: &Context<'_>, origin: &str, report: &Report, is_beside: bool, is_ok: bool, verdicts: &[Verdict]) {
    let faults: Vec<_> = report.faults.iter().map(|f| json!({ "path": f.path, "what": f.what })).collect();
    let value = json!({
        "ok": is_ok,
        "origin": origin,
        "size": report.size,
        "root": report.root.map(|root| root.to_string()),
        "entries_checked": report.entries_checked,
        "entries_pruned": report.entries_pruned,
        "tiles_checked": report.tiles_checked,
        "faults": faults,
        "key_from": if is_beside { "the log itself" } else { "the given file" },
        "verdicts": verdicts,
    });
    let output = context.output;
    output.show(&value, || {
        let head = match (is_ok, report.is_ok()) {
            (true, _) => format!(
                "{} {} entries, {} tiles, and the signed checkpoint of {origin}",
                output.paint(Tone::Good, "✓ whole:"),
                report.entries_checked,
                report.tiles_checked
            ),
            (false, true) => {
                format!("{} the log of {origin}: {}", output.paint(Tone::Bad, "✗ in doubt:"), what_is_bad(verdicts))
            }
            (false, false) => format!(
                "{} {}; {} of {} entries were read",
                output.paint(Tone::Bad, "✗ not whole:"),
                what_is_bad(verdicts),
                report.entries_checked,
                report.size
            ),
        };
        output.line(head);
        verdicts.iter().for_each(|verdict| print(context, verdict));
    });
}

/// Which questions stand in the way.
fn what_is_bad(verdicts: &[Verdict]) -> String {
    let of = |standing: Standing, what: &str| {
        let names: Vec<&str> = verdicts.iter().filter(|v| v.standing == standing).map(|v| v.name).collect();
        (!names.is_empty()).then(|| format!("{} {what}", names.join(", ")))
    };
    let told = [of(Standing::Fails, "failed"), of(Standing::Unchecked, "could not be checked")];
    told.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

/// One verdict for people: a mark, its name, and what was found.
pub(super) fn print(context: &Context<'_>, verdict: &Verdict) {
    let output = context.output;
    let mark = match verdict.standing {
        Standing::Holds => output.paint(Tone::Good, "✓"),
        Standing::Fails => output.paint(Tone::Bad, "✗"),
        Standing::Unchecked | Standing::Open => output.paint(Tone::Waiting, "–"),
    };
    let unchecked = if verdict.standing == Standing::Unchecked { "could not be checked: " } else { "" };
    output.line(format!("{mark} {:<12} {unchecked}{}", verdict.name, verdict.text));
    verdict.more.iter().for_each(|more| output.line(format!("  {:<12} {more}", "")));
}

/// The log's key, and where it came from.
struct Key {
    verifier: Verifier,
    from: String,
    /// Whether it lay beside the log.
    is_beside: bool,
}

impl Key {
    /// From the file that was given, or from the policy, or from beside the log.
    fn find(args: &VerifyArgs, policy: Option<&Policy>, ledger: &Ledger) -> Result<Self> {
        let unreadable = |from: &str, why: &str| {
            let text =
                format!("cannot read the log's public key `{from}`: {why}; name a ledger's directory, or a key with --key-file");
            Failure::new(Code::NotFound, text)
        };
        let (text, from) = match (&args.key_file, policy.map(Policy::logs)) {
            (Some(file), _) => {
                let from = file.display().to_string();
                (std::fs::read_to_string(file).map_err(|e| unreadable(&from, &e.to_string()))?, from)
            }
            (None, Some([log])) => {
                return Ok(Self { verifier: log.verifier.clone(), from: "the policy".into(), is_beside: false });
            }
            (None, _) => {
                let from = ledger.place("verifier");
                let text = ledger.text("verifier").map_err(|why| unreadable(&from, &why))?;
                (text.ok_or_else(|| unreadable(&from, "it is not there"))?, from)
            }
        };
        let verifier = text.trim().parse().map_err(|e| Failure::input(format!("`{from}`: {e}")))?;
        Ok(Self { verifier, from, is_beside: args.key_file.is_none() })
    }
}

pub(super) fn read_policy(file: &std::path::Path) -> Result<Policy> {
    let bytes = read(file)?;
    Policy::from_bytes(&bytes).map_err(|e| Failure::input(format!("`{}`: {e}", file.display())))
}

/// Below which entry the log says that contents were let go, or why that cannot be told.
fn read_pruned(ledger: &Ledger) -> std::result::Result<u64, String> {
    let Some(text) = ledger.text("pruned")? else { return Ok(0) };
    text.trim().parse().map_err(|_| "`pruned` is not a number of entries".to_owned())
}
