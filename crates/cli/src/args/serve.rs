//! What runs until it is stopped: the server, a witness, a root log.

use std::path::PathBuf;

use clap::{Args as ClapArgs, Subcommand};
use marque_ledger::Verifier;

#[derive(Debug, Default, ClapArgs)]
pub struct ServeArgs {
    /// A configuration file (TOML); the options below go before it.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The trust domain of a new state directory.
    #[arg(long)]
    pub trust_domain: Option<String>,
    /// The first person of a new state directory, as alice@example.com.
    #[arg(long)]
    pub administrator: Option<String>,
    /// The address of the token endpoint (TLS).
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<std::net::SocketAddr>,
    /// The address of the gateway (mutual TLS).
    #[arg(long, value_name = "ADDRESS")]
    pub gateway: Option<std::net::SocketAddr>,
    /// The address of the console (loopback).
    #[arg(long, value_name = "ADDRESS")]
    pub console: Option<std::net::SocketAddr>,
    /// The address of the published log on plain HTTP (loopback).
    #[arg(long, value_name = "ADDRESS")]
    pub ledger: Option<std::net::SocketAddr>,
    /// The witnesses that are to cosign the log's checkpoints, as a C2SP tlog-policy.
    #[arg(long, value_name = "FILE")]
    pub witness_policy: Option<PathBuf>,
}

/// What a witness and a root log have in common.
#[derive(Debug, ClapArgs)]
pub struct CosignerArgs {
    /// Where the keys are kept, and what was cosigned.
    #[arg(long, value_name = "DIR", global = true)]
    pub dir: Option<PathBuf>,
    /// The name of the key, as witness.example/w1; needed once.
    #[arg(long, global = true)]
    pub name: Option<String>,
    /// The verifier key of a log whose checkpoints are cosigned; again for more.
    #[arg(long = "log", value_name = "VKEY")]
    pub logs: Vec<Verifier>,
}

#[derive(Debug, ClapArgs)]
pub struct WitnessArgs {
    #[command(flatten)]
    pub cosigner: CosignerArgs,
    /// The address, plain HTTP: beyond this host, put TLS in front of it.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8446")]
    pub listen: std::net::SocketAddr,
    #[command(subcommand)]
    pub command: Option<KeyCommand>,
}

#[derive(Debug, ClapArgs)]
pub struct RootArgs {
    #[command(flatten)]
    pub cosigner: CosignerArgs,
    /// The address, plain HTTP: beyond this host, put TLS in front of it.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8447")]
    pub listen: std::net::SocketAddr,
    /// The witnesses that are to cosign the root log's own checkpoints, as a C2SP tlog-policy.
    #[arg(long, value_name = "FILE")]
    pub witness_policy: Option<PathBuf>,
    #[command(subcommand)]
    pub command: Option<KeyCommand>,
}

#[derive(Debug, Subcommand)]
pub enum KeyCommand {
    /// Print the verifier key, as policies list it; it is made at first use.
    Key,
}
