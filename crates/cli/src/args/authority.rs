//! `marque authority`.

use clap::{Args as ClapArgs, Subcommand};

#[derive(Debug, Subcommand)]
pub enum AuthorityCommand {
    /// List the keys with where they stand.
    List,
    /// Make the next key and publish it; it issues nothing yet. Done on schedule too.
    #[command(after_help = "Example:\n  marque authority prepare x509\n  marque authority activate x509")]
    Prepare(KeyChoice),
    /// Let the prepared key issue; the one before it retires. Open connections stay open.
    #[command(after_help = "Example:\n  marque authority prepare x509\n  marque authority activate x509")]
    Activate(KeyChoice),
    /// Use a key no longer: what it issued is issued anew at once, and counts until then.
    #[command(after_help = "Example:\n  marque authority list\n  marque authority taint x509 --why 'its host was entered'")]
    Taint(KeyChoice),
    /// Take a key out of the bundle at once: nothing that it issued counts any more.
    Revoke(KeyChoice),
}

#[derive(Debug, ClapArgs)]
pub struct KeyChoice {
    /// What the key signs.
    #[arg(value_enum)]
    pub kind: KeyKindArg,
    /// Its name; without it, the prepared key (activate) or the active one.
    pub key: Option<String>,
    /// Why, for the log.
    #[arg(long, default_value = "")]
    pub why: String,
}

/// What a signing key signs.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub enum KeyKindArg {
    /// X.509-SVIDs.
    X509,
    /// JWT-SVIDs and task tokens.
    Jwt,
    /// WIT-SVIDs, where they are served (experimental).
    Wit,
}

impl From<KeyKindArg> for marque_engine::KeyKind {
    fn from(kind: KeyKindArg) -> Self {
        match kind {
            KeyKindArg::X509 => Self::X509,
            KeyKindArg::Jwt => Self::Jwt,
            KeyKindArg::Wit => Self::Wit,
        }
    }
}
