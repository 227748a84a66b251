//! Verification, receipts, artifacts, and what is let go.

use std::path::PathBuf;

use clap::{Args as ClapArgs, Subcommand};
use marque_core::time::Ttl;
use marque_core::when::When;

#[derive(Debug, ClapArgs)]
pub struct VerifyArgs {
    /// The ledger's directory; without it, the state directory's.
    pub dir: Option<PathBuf>,
    /// The address that serves the ledger, in the place of a directory.
    #[arg(long, conflicts_with = "dir")]
    pub url: Option<String>,
    /// A file with the log's public key; without it, the one beside the log, which proves less.
    #[arg(long, value_name = "FILE")]
    pub key_file: Option<PathBuf>,
    /// A checkpoint that you kept: the log must continue it.
    #[arg(long, value_name = "FILE")]
    pub older: Option<PathBuf>,
    /// Which witnesses you trust, and how many of them it takes (C2SP tlog-policy).
    #[arg(long, value_name = "FILE")]
    pub policy: Option<PathBuf>,
    /// How old the newest cosignature may be, as 1h.
    #[arg(long, requires = "policy", value_parser = super::length)]
    pub max_age: Option<Ttl>,
}

#[derive(Debug, ClapArgs)]
pub struct PruneArgs {
    /// Entries from before this moment: 2026-01-01, 2026-01-01T12:00:00Z, or 365d before now.
    #[arg(long, value_name = "TIME")]
    pub before: When,
    /// Do it; without this, only say what would go.
    #[arg(long)]
    pub yes: bool,
    /// Also entries of the last six months.
    #[arg(long)]
    pub danger_short: bool,
}

#[derive(Debug, Subcommand)]
pub enum ReceiptCommand {
    /// Get one, as a C2SP .tlog-proof with the entry beside it, or as JSON.
    #[command(after_help = "Example:\n  marque receipt get rec_01JD… --out letter.tlog-proof --openings")]
    Get(ReceiptGet),
    /// Check one, without a server.
    #[command(after_help = "Example:\n  marque receipt verify letter.tlog-proof --key-file trusted-verifier --file letter.md")]
    Verify(ReceiptVerify),
}

#[derive(Debug, ClapArgs)]
pub struct ReceiptGet {
    /// The record whose decision it is of, or the index of any entry.
    pub record: String,
    /// Where to: FILE and FILE.entry, or all in one where FILE ends in .json.
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Where to put it as a COSE receipt (RFC 9942) too.
    #[arg(long, value_name = "FILE")]
    pub cose: Option<PathBuf>,
    /// Where to put the entry, in the place of FILE.entry.
    #[arg(long, value_name = "FILE")]
    pub entry: Option<PathBuf>,
    /// With what shows which content the entry commits to: FILE.openings. The log notes it.
    #[arg(long)]
    pub openings: bool,
}

#[derive(Debug, ClapArgs)]
pub struct ReceiptVerify {
    /// The receipt: a .tlog-proof, JSON or COSE.
    pub receipt: PathBuf,
    /// A file with the log's public key.
    #[arg(long, value_name = "FILE", required_unless_present = "policy")]
    pub key_file: Option<PathBuf>,
    /// Which log and witnesses you trust (C2SP tlog-policy): a quorum must have cosigned.
    #[arg(long, value_name = "FILE")]
    pub policy: Option<PathBuf>,
    /// The entry, where it is not beside the receipt.
    #[arg(long, value_name = "FILE")]
    pub entry: Option<PathBuf>,
    /// A content that the entry must commit to, as the receipt's openings show.
    #[arg(long, value_name = "CONTENT")]
    pub file: Option<PathBuf>,
}

#[derive(Debug, ClapArgs)]
pub struct AttestArgs {
    /// The file.
    pub file: PathBuf,
    /// The task that made it, ended or not.
    #[arg(long)]
    pub task: String,
    /// A file that it was made from; again for more.
    #[arg(long, value_name = "FILE")]
    pub input: Vec<PathBuf>,
    /// Where to put a statement that travels with the file (in-toto, signed by the log; DSSE).
    #[arg(long, value_name = "FILE.intoto.jsonl")]
    pub out: Option<PathBuf>,
}

#[derive(Debug, ClapArgs)]
pub struct EraseArgs {
    /// As bob@example.com.
    pub name: String,
    /// Only say what would go.
    #[arg(long, conflicts_with = "yes")]
    pub dry_run: bool,
    /// Do it, for good.
    #[arg(long)]
    pub yes: bool,
}
