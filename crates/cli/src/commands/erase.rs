//! `marque person erase`: for good, or only what would go.

use bytes::Bytes;
use http::Method;
use marque_engine::Erasure;

use super::{Context, encoded};
use crate::args::EraseArgs;
use crate::client::Client;
use crate::failure::{Failure, Result};
use crate::output::Tone;

pub async fn erase(context: &Context<'_>, client: &mut Client, args: &EraseArgs) -> Result<()> {
    if !args.dry_run && !args.yes {
        return Err(Failure::input("this cannot be taken back: say --yes, or --dry-run to see what would go"));
    }
    let path = format!("/v1/people/{}?dry_run={}", encoded(&args.name), args.dry_run);
    let erasure: Erasure = client.send(Method::DELETE, &path, "application/json", Bytes::new()).await?;
    context.output.show(&erasure, || show(context, &args.name, &erasure));
    Ok(())
}

fn show(context: &Context<'_>, name: &str, erasure: &Erasure) {
    let output = context.output;
    let head = match erasure.done {
        true => format!("{} {name}; the log has {}", output.paint(Tone::Good, "erased"), erasure.pseudonym),
        false => format!("{} {name}; the log has {}", output.paint(Tone::Waiting, "would erase"), erasure.pseudonym),
    };
    output.line(head);
    output.line(format!("  entries whose content nobody can read any more: {}", erasure.entries));
    output.line(format!("  tasks revoked: {}", erasure.tasks));
    output.line(format!("  identities suspended: {}", erasure.identities));
    output.line(format!("  credential: {}", if erasure.credential { "removed" } else { "none" }));
}
