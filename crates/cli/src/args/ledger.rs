//! The log: questions to it, exports of it, and its views.

use std::path::PathBuf;

use clap::{Args as ClapArgs, Subcommand};
use marque_core::resource::{Action, ResourceId};
use marque_engine::ExportFormat;

use super::evidence::{PruneArgs, VerifyArgs};

#[derive(Debug, Subcommand)]
pub enum LedgerCommand {
    /// Check tree, checkpoint and every entry, offline, from the files alone.
    #[command(
        after_help = "Examples:\n  marque ledger verify ./copy-of-the-ledger --key-file trusted-verifier\n  marque ledger verify --url https://log.example.org/ledger/ --policy witnesses --max-age 1h"
    )]
    Verify(VerifyArgs),
    /// Let go of the contents of old entries; their hashes stay, and every proof holds.
    #[command(after_help = "Example:\n  marque ledger prune --before 2026-01-01 --yes")]
    Prune(PruneArgs),
    #[command(flatten)]
    Ask(LedgerQuestion),
}

// Questions to the log. Each is written into it.
#[derive(Debug, Subcommand)]
pub enum LedgerQuestion {
    /// Entries that name somebody or something, the newest first. Everything that is given must hold.
    #[command(after_help = QUERIES)]
    Query(Box<LedgerQuery>),
    /// One credential: its issue, every use of it, and how it ended.
    #[command(after_help = "Example:\n  marque ledger credential lease_01JD…")]
    Credential {
        /// The credential.
        credential: String,
        /// Only uses below this entry: the next page.
        #[arg(long, value_name = "INDEX")]
        before: Option<u64>,
        /// How many uses at most, up to 1000; without it, 100.
        #[arg(long)]
        limit: Option<u32>,
    },
    /// Every credential that a task, and the tasks that hang from it, ever held.
    #[command(after_help = "Example:\n  marque ledger credentials task_01JD… --no-below")]
    Credentials {
        /// The task.
        task: String,
        /// Without the tasks that hang from it.
        #[arg(long)]
        no_below: bool,
    },
    /// Who had access to something at a moment: by the policies, tasks and credentials of then.
    #[command(
        after_help = "Examples:\n  marque ledger access invoke tool:crm/send_email --at 2026-03-01T09:30:00Z\n  marque ledger access read dataset:customers --at 7d"
    )]
    Access {
        /// read, write, export, invoke, infer, retrain, publish, delegate, issue
        action: Action,
        /// As tool:crm/send_email or dataset:customers.
        resource: ResourceId,
        /// When: 2026-03-01T09:30:00Z, 2026-03-01, or 2h, 7d before now.
        #[arg(long, value_name = "TIME")]
        at: String,
    },
}

const QUERIES: &str = "\
Times are 2026-03-01T09:30:00Z, 2026-03-01, or 2h, 7d before now.

Examples:
  marque ledger query --identity agent/researcher --since 2h
  marque ledger query --task task_01JD… --decision deny
  marque ledger query --file report.md
  marque ledger query --of-person alice@example.com --since 2026-03-01 --until 2026-04-01 \\
      --all --json > march.ndjson
  marque ledger query --kind revoked --follow";

#[derive(Debug, ClapArgs)]
pub struct LedgerQuery {
    /// The identity that acts or that it is about: a SPIFFE ID, or its path as agent/researcher.
    #[arg(long)]
    pub identity: Option<String>,
    /// The running copy.
    #[arg(long)]
    pub instance: Option<String>,
    /// The task, and the tasks that hang from it.
    #[arg(long)]
    pub task: Option<String>,
    /// Without the tasks that hang from that one.
    #[arg(long, requires = "task")]
    pub no_below: bool,
    /// The person for whom it was, or who said so.
    #[arg(long, value_name = "PERSON")]
    pub of_person: Option<String>,
    /// What was acted on, as tool:crm/send_email.
    #[arg(long)]
    pub resource: Option<String>,
    /// The credential.
    #[arg(long)]
    pub credential: Option<String>,
    /// The record: its decision and its outcome.
    #[arg(long)]
    pub record: Option<String>,
    /// allow, deny or hold.
    #[arg(long)]
    pub decision: Option<String>,
    /// The kind of event, as task_started or revoked.
    #[arg(long)]
    pub kind: Option<String>,
    /// SHA-256 of a content that it carried or of a file that it is about, as sha256:….
    #[arg(long)]
    pub digest: Option<String>,
    /// A file: the same as --digest with its digest; `-` is standard input.
    #[arg(long, conflicts_with = "digest")]
    pub file: Option<PathBuf>,
    /// Not before this time.
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,
    /// Before this time.
    #[arg(long, value_name = "TIME")]
    pub until: Option<String>,
    /// Only entries from this one on.
    #[arg(long, value_name = "INDEX")]
    pub from: Option<u64>,
    /// Only entries below this one: the next page.
    #[arg(long, value_name = "INDEX")]
    pub before: Option<u64>,
    /// The oldest first.
    #[arg(long)]
    pub oldest_first: bool,
    /// How many at most: up to 1000 on a page, and 100 without it.
    #[arg(long)]
    pub limit: Option<u32>,
    /// All of them, as a stream.
    #[arg(long, conflicts_with = "limit")]
    pub all: bool,
    /// Those that come, too: from now on, or from --since or --from on.
    #[arg(long, conflicts_with_all = ["until", "before"])]
    pub follow: bool,
}

#[derive(Debug, Subcommand)]
pub enum ExportCommand {
    /// Write entries of the log out, in a format that other systems read.
    #[command(
        after_help = "Formats: events ocsf otlp cef cloudevents parquet\n\nExample:\n  marque export run --format ocsf --from 1000 --to events.ndjson"
    )]
    Run(ExportRun),
    /// How far each export is that the server's configuration names.
    Status,
    /// Print the JSON schema of events, for readers of exports and of the log.
    Schema,
}

#[derive(Debug, ClapArgs)]
pub struct ExportRun {
    /// events, ocsf, otlp, cef, cloudevents or parquet.
    #[arg(long, value_parser = export_format)]
    pub format: ExportFormat,
    /// The first entry.
    #[arg(long, default_value_t = 0, value_name = "INDEX")]
    pub from: u64,
    /// How many entries at most.
    #[arg(long)]
    pub limit: Option<u64>,
    /// Where to; `-` is standard output.
    #[arg(long, default_value = "-", value_name = "FILE")]
    pub to: PathBuf,
    /// With the names of people, which erasing them does not take back; the file is its owner's to read.
    #[arg(long)]
    pub names: bool,
    /// With the content that the log keeps back; the file is its owner's to read.
    #[arg(long)]
    pub contents: bool,
}

fn export_format(text: &str) -> Result<ExportFormat, String> {
    let unknown = || "one of events, ocsf, otlp, cef, cloudevents, parquet is needed".to_owned();
    ExportFormat::ALL.into_iter().find(|format| format.as_str() == text).ok_or_else(unknown)
}

#[derive(Debug, Subcommand)]
pub enum ViewsCommand {
    /// Drop the views and project the log again from its first event.
    Rebuild,
}
