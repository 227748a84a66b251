//! `marque trace`: from what somebody found back to the record, the tasks and the person.

use std::io::Read as _;
use std::path::Path;
use std::process::ExitCode;

use http::Method;
use marque_core::record::Ending;
use marque_engine::{Chain, Trace, TraceClass};

use super::Context;
use crate::failure::{Code, Failure, Result};
use crate::output::Tone;

pub async fn trace(context: &Context<'_>, file: &Path) -> Result<ExitCode> {
    let mut bytes = Vec::new();
    let read = if file == Path::new("-") {
        std::io::stdin().lock().read_to_end(&mut bytes).map(|_| ())
    } else {
        std::fs::read(file).map(|b| bytes = b)
    };
    read.map_err(|e| Failure::input(format!("cannot read `{}`: {e}", file.display())))?;
    let found: Trace = context.client().await?.send(Method::POST, "/v1/trace", "application/octet-stream", bytes.into()).await?;
    context.output.show(&found, || print_trace(context, &found));
    Ok(if found.class == TraceClass::None { ExitCode::from(Code::NotFound as u8) } else { ExitCode::SUCCESS })
}

fn print_trace(context: &Context<'_>, found: &Trace) {
    let output = context.output;
    let how = match found.class {
        TraceClass::Exact => output.paint(Tone::Good, "exact"),
        TraceClass::Normalised => output.paint(Tone::Good, "the same letters and digits"),
        TraceClass::Strong => output.paint(Tone::Good, "parts of it"),
        TraceClass::Weak => output.paint(Tone::Waiting, "resembles, which is no attribution"),
        TraceClass::None => output.paint(Tone::Bad, "not found"),
    };
    let pruned = if found.pruned > 0 { format!("; the first {} are let go", found.pruned) } else { String::new() };
    output.line(format!("{}  {how}, in a ledger of {} entries{pruned}", found.digest, found.covers));
    found.chains.iter().for_each(|chain| print_chain(context, chain));
}

/// The way from the output to the person.
fn print_chain(context: &Context<'_>, chain: &Chain) {
    let output = context.output;
    let arrow = output.paint(Tone::Faint, "←");
    if let Some(decided) = &chain.decided {
        output.line(format!("{arrow} record  {}  {} {} at {}", decided.record, decided.action, decided.resource, chain.at));
        let reasons: Vec<String> = decided.reasons.iter().map(|r| format!("{} ({})", r.policy, r.text)).collect();
        output.line(format!("  {} by {}; policies {}", decided.effect.as_str(), reasons.join(", "), decided.policy.short()));
    }
    if let Some(artifact) = &chain.artifact {
        output.line(format!("{arrow} artifact  {}  {} bytes, attested at {}", artifact.name, artifact.bytes, chain.at));
    }
    if let Some(outcome) = &chain.outcome
        && outcome.ending != Ending::Answered
    {
        output.line(output.paint(Tone::Waiting, format!("  the call ended as {:?}", outcome.ending)));
    }
    if let Some(instance) = &chain.instance {
        output.line(format!(
            "{arrow} instance  {}  {} as pid {}, {}",
            instance.id, instance.identity, instance.attestation.pid, instance.attestation.method
        ));
    }
    if let Some(lease) = &chain.lease {
        output.line(format!("{arrow} lease  {}  {}", lease.id, lease.class.as_str()));
    }
    for step in &chain.tasks {
        let task = &step.task;
        let what = step.elevation.map_or("task".to_owned(), |e| format!("task of approved {e}"));
        output.line(format!("{arrow} {what}  {}  {}: {}", task.id, task.actor, task.purpose));
    }
    if let Some(first) = chain.tasks.last() {
        output.line(format!("{arrow} asked for by {}", output.paint(Tone::Strong, first.task.principal.to_string())));
    }
    match &chain.proof {
        Some(proof) if proof.verified => {
            output.line(format!(
                "  {} entry {} of {}, root {}",
                output.paint(Tone::Good, "✓ proved:"),
                proof.index,
                proof.size,
                proof.root
            ));
        }
        Some(proof) => output.line(output.paint(Tone::Bad, format!("  ✗ entry {} does not verify", proof.index))),
        None => output.line("  not in a checkpoint yet: ask again in a second"),
    }
}
