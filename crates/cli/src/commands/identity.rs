//! `marque identity`, `marque person`, `marque secret`.

use std::io::Read as _;

use http::Method;
use marque_core::attestation::Instance;
use marque_core::identity::Identity;
use marque_core::lease::Lease;
use marque_core::resource::{Resource, ResourceKind};
use marque_core::{Digest, PersonId};
use marque_engine::Holding;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::query::{encoded, text};
use super::{Context, erase};
use crate::args::{IdentityCommand, PersonCommand, SecretCommand, Step, ToolCommand};
use crate::failure::{Failure, Result};
use crate::output::Output;

pub async fn identity(context: &Context<'_>, command: IdentityCommand) -> Result<()> {
    let output = context.output;
    let mut client = context.client().await?;
    match command {
        IdentityCommand::List => {
            let identities: Vec<Identity> = client.get("/v1/identities").await?;
            output.show(&identities, || {
                let owner = |i: &Identity| i.owner.as_ref().map_or("-".to_owned(), ToString::to_string);
                let row = |i: &Identity| {
                    vec![i.id.to_string(), i.kind.as_str().into(), i.state.to_string(), owner(i), i.purpose.clone()]
                };
                output.table(&["IDENTITY", "KIND", "STATE", "OWNER", "PURPOSE"], &identities.iter().map(row).collect::<Vec<_>>());
            });
            Ok(())
        }
        IdentityCommand::Instances { identity } => {
            let instances: Vec<Holding> = client.get(&format!("/v1/instances?identity={}", encoded(&identity))).await?;
            output.show(&instances, || {
                instances.iter().for_each(|holding| show(holding, output));
                if instances.is_empty() {
                    output.line("No copy of it runs.");
                }
            });
            Ok(())
        }
        IdentityCommand::Suspend(step) => move_to(context, step, "suspended").await,
        IdentityCommand::Activate(step) => move_to(context, step, "active").await,
        IdentityCommand::Retire(step) => move_to(context, step, "retired").await,
    }
}

fn show(Holding { instance, leases }: &Holding, output: &Output) {
    let Instance { id, attestation: seen, since, task, .. } = instance;
    let whose = task.map(|task| format!(" for {task}")).unwrap_or_default();
    // No process was seen where a platform's token stands for one.
    let pid = if seen.pid == 0 { String::new() } else { format!(" pid {}", seen.pid) };
    output.line(format!("{id}{pid} since {since}, attested by {}{whose}", seen.method));
    seen.selectors.iter().for_each(|selector| output.line(format!("    {selector}")));
    for Lease { id, class, expires, .. } in leases {
        output.line(format!("    holds {id} ({}) until {expires}", class.as_str()));
    }
}

async fn move_to(context: &Context<'_>, step: Step, to: &str) -> Result<()> {
    let body = json!({ "identity": step.identity, "to": to, "why": step.why });
    let moved: Identity = context.client().await?.post("/v1/identities/state", &body).await?;
    context.output.show(&moved, || context.output.line(format!("{} is {to}", step.identity)));
    Ok(())
}

pub async fn person(context: &Context<'_>, command: PersonCommand) -> Result<()> {
    let output = context.output;
    let mut client = context.client().await?;
    match command {
        PersonCommand::List => {
            let people: Vec<PersonId> = client.get("/v1/people").await?;
            output.show(&people, || people.iter().for_each(|p| output.line(p.to_string())));
        }
        PersonCommand::Add { name } => {
            let added: Value = client.post("/v1/people", &json!({ "person": name })).await?;
            output.show(&added, || {
                output.line(format!(
                    "{} is known; their credential is in {}",
                    text(&added, "person"),
                    text(&added, "credential_file")
                ));
                output.line("Whoever can read that file is that person: hand it over, and keep no copy.");
            });
        }
        PersonCommand::Erase(args) => erase::erase(context, &mut client, &args).await?,
    }
    Ok(())
}

pub async fn secret(context: &Context<'_>, command: SecretCommand) -> Result<()> {
    let SecretCommand::Set { name } = command;
    let mut value = Zeroizing::new(String::new());
    std::io::stdin()
        .lock()
        .read_to_string(&mut value)
        .map_err(|e| Failure::input(format!("cannot read the secret from standard input: {e}")))?;
    let path = format!("/v1/secrets/{}", encoded(&name));
    let body = value.as_bytes().to_vec().into();
    let done: () = context.client().await?.send(Method::PUT, &path, "text/plain; charset=utf-8", body).await?;
    context.output.show(&done, || context.output.line(format!("stored `{name}`: the gateway uses it, no agent sees it")));
    Ok(())
}

pub async fn tool(context: &Context<'_>, command: ToolCommand) -> Result<()> {
    let output = context.output;
    let mut client = context.client().await?;
    match command {
        ToolCommand::List => {
            let resources: Vec<Resource> = client.get("/v1/resources").await?;
            let tools: Vec<Resource> = resources.into_iter().filter(|r| r.id.kind() == ResourceKind::Tool).collect();
            output.show(&tools, || {
                let risk = |r: &Resource| r.risk.map_or("unclassified".to_owned(), |risk| format!("{risk:?}").to_lowercase());
                let definition = |r: &Resource| r.definition.map_or("not seen yet".to_owned(), |d| d.to_string());
                let row = |r: &Resource| vec![r.id.to_string(), risk(r), r.sensitivity.as_str().to_owned(), definition(r)];
                output.table(&["TOOL", "RISK", "SENSITIVITY", "DEFINITION"], &tools.iter().map(row).collect::<Vec<_>>());
            });
        }
        ToolCommand::Accept { tool, definition } => {
            let definition: Digest = definition.parse().map_err(|e| Failure::input(format!("{e}")))?;
            let done: () = client.post("/v1/tools/accept", &json!({ "tool": tool, "definition": definition })).await?;
            output.show(&done, || output.line(format!("{tool} is accepted as {definition}")));
        }
    }
    Ok(())
}
