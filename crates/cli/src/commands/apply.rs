//! `marque plan` and `marque apply`.

use std::path::Path;

use marque_engine::desired::Desired;
use marque_engine::{Applied, Change, ChangeKind};

use super::{Context, quoted};
use crate::failure::{Failure, Result};
use crate::manifest;
use crate::output::Tone;

pub async fn plan(context: &Context<'_>, dir: &Path) -> Result<()> {
    let desired = read(dir)?;
    let changes: Vec<Change> = context.client().await?.post("/v1/plan", &desired).await?;
    context.output.show(&changes, || {
        print(context, &changes);
        if !changes.is_empty() {
            let dir = quoted(&dir.to_string_lossy());
            context.output.line(format!("\nNothing was changed. To make it so: {} apply -f {dir}", context.marque));
        }
    });
    Ok(())
}

pub async fn apply(context: &Context<'_>, dir: &Path) -> Result<()> {
    let desired = read(dir)?;
    let applied: Applied = context.client().await?.post("/v1/apply", &desired).await?;
    context.output.show(&applied, || {
        print(context, &applied.changes);
        context.output.line(format!("{} policies {}", context.output.paint(Tone::Good, "applied;"), applied.policy));
    });
    Ok(())
}

/// All that is wrong at once, each with its file, line and field.
fn read(dir: &Path) -> Result<Desired> {
    manifest::read(dir).map_err(|errors| {
        let lines: Vec<String> = errors.iter().map(ToString::to_string).collect();
        Failure::input(format!(
            "the manifest in `{}` is not usable; nothing was changed\n  {}",
            dir.display(),
            lines.join("\n  ")
        ))
    })
}

fn print(context: &Context<'_>, changes: &[Change]) {
    let output = context.output;
    if changes.is_empty() {
        output.line("Everything is as the manifest says.");
    }
    for change in changes {
        let (tone, mark) = match change.kind {
            ChangeKind::Add => (Tone::Good, "+"),
            ChangeKind::Change => (Tone::Waiting, "~"),
            ChangeKind::Remove => (Tone::Bad, "-"),
        };
        output.line(format!("{} {}", output.paint(tone, mark), change.name));
        change.fields.iter().for_each(|field| output.line(format!("    {field}")));
    }
}
