//! `marque ledger verify`: offline, from the files alone.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use marque_core::event::Event;
use marque_ledger::{LedgerError, LogFiles, Verifier, verify_log};
use serde_json::json;

use super::Context;
use crate::args::LedgerCommand;
use crate::failure::{Code, Failure, Result};
use crate::output::Tone;

pub fn ledger(context: &Context<'_>, command: LedgerCommand) -> Result<ExitCode> {
    let LedgerCommand::Verify { dir, key_file } = command;
    let dir = dir.unwrap_or_else(|| context.state.join("ledger"));
    let beside = key_file.is_none();
    let key_file = key_file.unwrap_or_else(|| dir.join("verifier"));
    let key = std::fs::read_to_string(&key_file).map_err(|e| {
        Failure::new(
            Code::NotFound,
            format!(
                "cannot read the log's public key `{}`: {e}; name a ledger's directory, or a key with --key-file",
                key_file.display()
            ),
        )
    })?;
    let verifier: Verifier = key.trim().parse().map_err(|e| Failure::input(format!("`{}`: {e}", key_file.display())))?;
    let origin = verifier.name().to_owned();
    let report = verify_log(&Files(dir.clone()), &origin, &[verifier], &mut |index, bytes| {
        Event::from_bytes(bytes).map(|_| ()).map_err(|e| format!("entry {index} is not an event: {e}"))
    });
    let root = report.root.map(|r| r.to_string());
    let faults: Vec<_> = report.faults.iter().map(|f| json!({ "path": f.path, "what": f.what })).collect();
    let value = json!({
        "ok": report.is_ok(), "origin": origin, "size": report.size, "root": root, "entries_checked": report.entries_checked,
        "tiles_checked": report.tiles_checked, "faults": faults, "key_from": if beside { "the log itself" } else { "the given file" },
    });
    let output = context.output;
    output.show(&value, || {
        if report.is_ok() {
            output.line(format!(
                "{} {} entries, {} tiles, and the signed checkpoint of {origin}",
                output.paint(Tone::Good, "✓ whole:"),
                report.entries_checked,
                report.tiles_checked
            ));
            output.line(format!("  root {}", root.as_deref().unwrap_or("-")));
        } else {
            output.line(format!(
                "{} {} of {} entries were read",
                output.paint(Tone::Bad, "✗ not whole:"),
                report.entries_checked,
                report.size
            ));
            report.faults.iter().for_each(|f| output.line(format!("  {}: {}", f.path, f.what)));
        }
        if beside {
            output.line("  The key came from beside the log. To detect a forged log, pin it: --key-file");
        }
    });
    Ok(if report.is_ok() { ExitCode::SUCCESS } else { ExitCode::from(Code::NotFound as u8) })
}

struct Files(PathBuf);

impl LogFiles for Files {
    fn read(&self, path: &str) -> marque_ledger::Result<Option<Vec<u8>>> {
        match std::fs::read(self.0.join(Path::new(path))) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(LedgerError::Read { path: path.to_owned(), reason: e.to_string() }),
        }
    }
}
