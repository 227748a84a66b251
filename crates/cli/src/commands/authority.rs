//! `marque authority`: the trust domain's signing keys.

use marque_engine::{AuthorityView, KeyKind};
use serde_json::json;

use super::Context;
use crate::args::{AuthorityCommand, KeyChoice};
use crate::failure::Result;
use crate::output::Tone;

pub async fn authority(context: &Context<'_>, command: AuthorityCommand) -> Result<()> {
    let mut client = context.client().await?;
    let keys: Vec<AuthorityView> = match command {
        AuthorityCommand::List => client.get("/v1/authorities").await?,
        AuthorityCommand::Prepare(choice) => client.post("/v1/authorities", &body("prepare", &choice)).await?,
        AuthorityCommand::Activate(choice) => client.post("/v1/authorities", &body("activate", &choice)).await?,
        AuthorityCommand::Taint(choice) => client.post("/v1/authorities", &body("taint", &choice)).await?,
        AuthorityCommand::Revoke(choice) => client.post("/v1/authorities", &body("revoke", &choice)).await?,
    };
    context.output.show(&keys, || {
        let row = |k: &AuthorityView| {
            let phase = if k.tainted { format!("{}, tainted", k.phase) } else { k.phase.clone() };
            vec![k.kind.clone(), k.id.clone(), phase, k.not_before.to_string(), k.not_after.to_string()]
        };
        context.output.table(&["KIND", "KEY", "PHASE", "FROM", "UNTIL"], &keys.iter().map(row).collect::<Vec<_>>());
        if keys.iter().any(|k| k.tainted) {
            context.output.line(context.output.paint(Tone::Waiting, "SVIDs of tainted keys are being issued anew."));
        }
    });
    Ok(())
}

fn body(verb: &str, choice: &KeyChoice) -> serde_json::Value {
    let kind: KeyKind = choice.kind.into();
    json!({ "verb": verb, "kind": kind, "id": choice.key, "why": choice.why })
}
