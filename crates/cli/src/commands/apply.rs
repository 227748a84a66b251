//! `marque plan` and `marque apply`.

use std::path::Path;

use marque_core::identity::Identity;
use marque_engine::{Applied, Change, ChangeKind};

use super::{Context, quoted};
use crate::client::Client;
use crate::failure::{Code, Failure, Result};
use crate::manifest::{self, ManifestError, Placed};
use crate::output::Tone;

pub async fn plan(context: &Context<'_>, dir: &Path) -> Result<()> {
    let manifest = read(dir)?;
    let mut client = context.client().await?;
    let planned: Result<Vec<Change>> = client.post("/v1/plan", &manifest.desired).await;
    let changes = told(planned, &mut client, &manifest, dir).await?;
    context.output.show(&changes, || {
        print(context, &changes);
        if !changes.is_empty() {
            let dir = quoted(&dir.to_string_lossy());
            context.output.line(format!("\nNothing was changed. To make it so: {} apply -f {dir}", context.marque));
        }
    });
    Ok(())
}

pub async fn apply(context: &Context<'_>, dir: &Path, why: String) -> Result<()> {
    let mut manifest = read(dir)?;
    manifest.desired.why = Some(why);
    let mut client = context.client().await?;
    let done: Result<Applied> = client.post("/v1/apply", &manifest.desired).await;
    let applied = told(done, &mut client, &manifest, dir).await?;
    context.output.show(&applied, || {
        print(context, &applied.changes);
        context.output.line(format!("{} policies {}", context.output.paint(Tone::Good, "applied;"), applied.policy));
    });
    Ok(())
}

/// All that is wrong at once, each with its file, line and field.
fn read(dir: &Path) -> Result<Placed> {
    manifest::read_placed(dir).map_err(|errors| not_usable(dir, &errors))
}

fn not_usable(dir: &Path, errors: &[ManifestError]) -> Failure {
    let lines: Vec<String> = errors.iter().map(ToString::to_string).collect();
    Failure::input(format!("the manifest in `{}` is not usable; nothing was changed\n  {}", dir.display(), lines.join("\n  ")))
}

/// What the server answered. It knows no files: where it refused the manifest for a state that an identity cannot take,
/// the place of that is told instead.
async fn told<T>(answer: Result<T>, client: &mut Client, manifest: &Placed, dir: &Path) -> Result<T> {
    let failure = match answer {
        Err(failure) if failure.code == Code::Input => failure,
        other => return other,
    };
    let Ok(known) = client.get::<Vec<Identity>>("/v1/identities").await else { return Err(failure) };
    let refused = manifest.refused_states(|name| known.iter().find(|i| i.id.short() == name).map(|i| i.state));
    Err(if refused.is_empty() { failure } else { not_usable(dir, &refused) })
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
