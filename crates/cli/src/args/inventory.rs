//! What is registered, by a manifest or one by one: identities, people, tools, secrets.

use std::path::PathBuf;

use clap::{Args as ClapArgs, Subcommand};
use marque_core::resource::ResourceId;

use super::evidence::EraseArgs;

#[derive(Debug, ClapArgs)]
pub struct ManifestArgs {
    /// The directory with the manifest's YAML and Cedar files.
    #[arg(short = 'f', long = "file", value_name = "DIR")]
    pub dir: PathBuf,
}

#[derive(Debug, ClapArgs)]
pub struct ApplyArgs {
    #[command(flatten)]
    pub manifest: ManifestArgs,
    /// Why, for the log, with each identity that this suspends, activates or retires.
    #[arg(long, default_value = "manifest")]
    pub why: String,
}

#[derive(Debug, Subcommand)]
pub enum IdentityCommand {
    /// List identities.
    List,
    /// List the live instances of an identity, with what was observed of each.
    #[command(after_help = "Example:\n  marque identity instances agent/researcher")]
    Instances {
        /// The identity.
        identity: String,
    },
    /// Suspend one: it holds nothing until it is activated.
    #[command(after_help = "Example:\n  marque identity suspend agent/researcher --why 'odd calls since Monday'")]
    Suspend(Step),
    /// Activate a proposed or suspended one.
    #[command(after_help = "Example:\n  marque identity activate agent/researcher --why 'the calls were a test'")]
    Activate(Step),
    /// Retire one for good; its name is never used again.
    #[command(after_help = "Example:\n  marque identity retire agent/researcher --why 'agent/analyst took over'")]
    Retire(Step),
}

#[derive(Debug, ClapArgs)]
pub struct Step {
    /// The identity.
    pub identity: String,
    /// Why, for the log.
    #[arg(long)]
    pub why: String,
}

#[derive(Debug, Subcommand)]
pub enum PersonCommand {
    /// List people.
    List,
    /// Make a person known; their credential is written to a private file of the state directory.
    #[command(after_help = "Example:\n  marque person add bob@example.com\n  marque --person bob@example.com elevation list")]
    Add {
        /// As bob@example.com.
        name: String,
    },
    /// Erase a person: their name, and the key of everything that was recorded for them.
    #[command(
        after_help = "What hangs from them is revoked first. The log stays whole and every proof holds;\nwhat was sealed for them is lost for good.\n\nExample:\n  marque person erase bob@example.com --yes"
    )]
    Erase(EraseArgs),
}

#[derive(Debug, Subcommand)]
pub enum ToolCommand {
    /// List tools with their risk and the digest of the definition that was registered.
    #[command(after_help = "Example:\n  marque tool list")]
    List,
    /// Accept a tool's definition as its server has it now, so that calls are no longer held.
    #[command(
        after_help = "The digest stands in the held call: marque elevation list\n\nExample:\n  marque tool accept tool:crm/find_customer sha256:…"
    )]
    Accept {
        /// As tool:crm/find_customer.
        tool: ResourceId,
        /// The definition's digest, as sha256:….
        definition: String,
    },
}

#[derive(Debug, Subcommand)]
pub enum SecretCommand {
    /// Store a secret, read from standard input.
    #[command(after_help = "Example:\n  marque secret set crm-token < token.txt")]
    Set {
        /// Its name, as manifests write it.
        name: String,
    },
}
