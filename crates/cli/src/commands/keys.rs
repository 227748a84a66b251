//! `marque keys`: how the state directory's own keys are kept.

use std::path::absolute;

use marque_engine::{SealMethod, seal_keys, seals_of};

use super::Context;
use crate::args::{KeysCommand, SealArgs};
use crate::failure::{Code, Failure, Result};
use crate::output::Tone;

pub fn keys(context: &Context<'_>, command: KeysCommand) -> Result<()> {
    match command {
        KeysCommand::Seal(args) => seal(context, args),
        KeysCommand::Show => show(context),
    }
}

fn seal(context: &Context<'_>, args: SealArgs) -> Result<()> {
    let method = method(args)?;
    let now = seal_keys(&context.state, method.clone())?;
    let seals = seals_of(&context.state)?;
    let output = context.output;
    output.show(&seals, || {
        output.line(format!("{} the keys are sealed by {method}", output.paint(Tone::Good, "✓")));
        for name in &now {
            output.line(format!("  {} {name}", output.paint(Tone::Good, "sealed")));
        }
        if !now.is_empty() {
            output.line("  What stood in clear was written over. Backups and snapshots of before still have it.");
        }
    });
    Ok(())
}

fn show(context: &Context<'_>) -> Result<()> {
    if !context.state.is_dir() {
        return Err(Failure::new(Code::NotFound, format!("`{}` is not a state directory", context.state.display())));
    }
    let seals = seals_of(&context.state)?;
    let output = context.output;
    output.show(&seals, || {
        match &seals.method {
            Some(method) => output.line(format!("The keys are sealed by {method}.")),
            None => output.line("The keys are in clear, in files that only their owner reads: marque keys seal --help"),
        }
        seals.sealed.iter().for_each(|name| output.line(format!("  {} {name}", output.paint(Tone::Good, "sealed"))));
        seals.clear.iter().for_each(|name| output.line(format!("  {}  {name}", output.paint(Tone::Waiting, "clear"))));
    });
    Ok(())
}

/// What `seal.json` will say: paths that hold wherever the next command is called from.
fn method(args: SealArgs) -> Result<SealMethod> {
    if let Some(file) = args.static_file {
        return Ok(SealMethod::Static { file: absolute(file)? });
    }
    match (args.pkcs11, args.token, args.key, args.pin_file) {
        (Some(module), Some(token), Some(key), Some(pin_file)) => {
            Ok(SealMethod::Pkcs11 { module: absolute(module)?, token, key, pin_file: absolute(pin_file)? })
        }
        _ => Err(Failure::input("one of --static and --pkcs11 is needed")),
    }
}
