//! `marque keys`.

use std::path::PathBuf;

use clap::{Args as ClapArgs, Subcommand};

#[derive(Debug, Subcommand)]
pub enum KeysCommand {
    /// Seal the state directory's keys under a key in a file, an HSM or a TPM; or hand them to another one.
    #[command(
        after_help = "Nothing may run on the directory. One that is not there yet is made, and its keys are never in\nclear.\n\nExamples:\n  (umask 077 && head -c 32 /dev/urandom > /mnt/usb/marque.key)\n  marque keys seal --static /mnt/usb/marque.key\n  marque keys seal --pkcs11 /usr/lib/softhsm/libsofthsm2.so --token marque --key seal \\\n      --pin-file /etc/marque/pin"
    )]
    Seal(SealArgs),
    /// Show which files are sealed, and by what.
    Show,
}

#[derive(Debug, ClapArgs)]
pub struct SealArgs {
    /// A private file with 32 random bytes, outside of the state directory.
    #[arg(long = "static", value_name = "FILE", required_unless_present = "pkcs11", conflicts_with = "pkcs11")]
    pub static_file: Option<PathBuf>,
    /// The PKCS#11 module of an HSM, of SoftHSM, or of a TPM.
    #[arg(long, value_name = "MODULE", requires = "token", requires = "key", requires = "pin_file")]
    pub pkcs11: Option<PathBuf>,
    /// The token's name.
    #[arg(long, requires = "pkcs11")]
    pub token: Option<String>,
    /// The name of an RSA key pair in the token, of 2048 bits or more.
    #[arg(long, requires = "pkcs11")]
    pub key: Option<String>,
    /// A private file with the PIN, outside of the state directory.
    #[arg(long, value_name = "FILE", requires = "pkcs11")]
    pub pin_file: Option<PathBuf>,
}
