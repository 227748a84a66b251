//! `marque demo`.

use std::path::PathBuf;

use clap::{Args as ClapArgs, Subcommand};

#[derive(Debug, ClapArgs)]
pub struct DemoArgs {
    /// Where to leave everything; an earlier demo there is replaced.
    #[arg(long, default_value = "marque-demo", value_name = "DIR")]
    pub dir: PathBuf,
    /// Keep the control plane running at the end.
    #[arg(long)]
    pub serve: bool,
    #[command(subcommand)]
    pub part: Option<DemoPart>,
}

/// The demo's own processes.
#[derive(Debug, Subcommand)]
pub enum DemoPart {
    /// The tool server: customers, mail, reports, over MCP, behind an API key.
    #[command(hide = true)]
    Tools {
        #[arg(long)]
        dir: PathBuf,
        #[arg(long)]
        key_file: PathBuf,
    },
    /// An agent: an MCP client that does what it is told on standard input.
    #[command(hide = true)]
    Agent,
}
