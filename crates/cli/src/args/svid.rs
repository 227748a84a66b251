//! What this very process gets from the Workload API.

use std::path::PathBuf;

use clap::{Args as ClapArgs, Subcommand};

#[derive(Debug, Subcommand)]
pub enum SvidCommand {
    /// An X.509-SVID: whose it is, and with --out the certificates and the key.
    #[command(after_help = "Example:\n  marque svid x509 --out svid\n  openssl verify -CAfile svid/bundle.pem svid/svid.pem")]
    X509 {
        #[command(flatten)]
        from: SvidFrom,
        /// A folder for svid.pem, key.pem and bundle.pem.
        #[arg(long, value_name = "DIR")]
        out: Option<PathBuf>,
    },
    /// A JWT-SVID, on standard output.
    #[command(after_help = "Example:\n  marque svid jwt --audience https://api.example.org")]
    Jwt {
        #[command(flatten)]
        from: SvidFrom,
        /// Whom it is for.
        #[arg(long)]
        audience: String,
    },
}

#[derive(Debug, ClapArgs)]
pub struct SvidFrom {
    /// The Workload API, as unix:///run/marque/workload.sock; without it, the server of the state directory.
    #[arg(long, value_name = "ADDRESS", env = "SPIFFE_ENDPOINT_SOCKET")]
    pub socket: Option<String>,
}
