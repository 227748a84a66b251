//! `marque ledger`: verify it, ask it, and let old contents go.

use std::process::ExitCode;

use marque_engine::{Env, PruneRequest, Pruning};

use super::{Context, ledger_query, verify};
use crate::args::{LedgerCommand, PruneArgs};
use crate::failure::Result;
use crate::output::Tone;

pub async fn ledger(context: &Context<'_>, command: LedgerCommand) -> Result<ExitCode> {
    match command {
        LedgerCommand::Verify(args) => verify::verify(context, &args),
        LedgerCommand::Prune(args) => prune(context, &args).await.map(|()| ExitCode::SUCCESS),
        LedgerCommand::Ask(question) => ledger_query::ask(context, question).await.map(|()| ExitCode::SUCCESS),
    }
}

async fn prune(context: &Context<'_>, args: &PruneArgs) -> Result<()> {
    let before = args.before.at(Env::system().clock.now());
    let request = PruneRequest { before, dry_run: !args.yes, danger_short: args.danger_short };
    let pruning: Pruning = context.client().await?.post("/v1/ledger/prune", &request).await?;
    let output = context.output;
    output.show(&pruning, || {
        let (from, last) = (pruning.from, pruning.below.saturating_sub(1));
        match (pruning.entries(), pruning.done) {
            (0, _) => output.line(format!("No whole bundle of 256 entries is from before {before}.")),
            (entries, true) => {
                output.line(format!(
                    "{} the contents of {entries} entries, {from} to {last}",
                    output.paint(Tone::Good, "let go of")
                ));
                output.line("  their hashes stay, and every proof holds");
            }
            (entries, false) => {
                output.line(format!("the contents of {entries} entries would go, {from} to {last}; say --yes to let them go"));
            }
        }
    });
    Ok(())
}
