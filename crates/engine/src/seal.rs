//! Keys at rest: who keeps what unseals a directory, and how its keys are sealed.

use std::path::Path;

use marque_pkcs11::Token;
use marque_store::StateDir;
use marque_store::seal::{Keeper, KeeperError, SealMethod, Seals, StaticKey, read_private};
use secrecy::SecretString;
use zeroize::Zeroizing;

use crate::error::{EngineError, Result};

/// Locks a state directory, and unseals it where it is sealed.
pub(crate) fn open_dir(root: &Path) -> Result<StateDir> {
    let mut dir = StateDir::lock(root)?;
    let Some(method) = dir.seal_method().cloned() else { return Ok(dir) };
    let sealed = dir.unseal(&*keeper(&method, root)?)?;
    if !sealed.is_empty() {
        tracing::warn!("the keys were not all sealed, and are now: {}", sealed.join(", "));
    }
    Ok(dir)
}

/// Seals the keys of a directory that no other process holds, or hands them to another keeper: says which files were in clear
/// until now. A directory that is not there yet is made, so that its keys are never in clear.
pub fn seal_keys(root: &Path, method: SealMethod) -> Result<Vec<String>> {
    let mut dir = open_dir(root)?;
    let keeper = keeper(&method, root)?;
    Ok(dir.seal(method, &*keeper)?)
}

/// How the keys of a directory are kept, also beside the process that holds it.
pub fn seals_of(root: &Path) -> Result<Seals> {
    Ok(Seals::of(root)?)
}

/// The token that is called `label`, with the PIN out of a private file: outside of `not_in`, if that is given.
pub fn token(module: &Path, label: &str, pin_file: &Path, not_in: Option<&Path>) -> Result<Token> {
    let pin = read_private(pin_file, not_in)?;
    let pin = std::str::from_utf8(&pin).map_err(|_| EngineError::Invalid(format!("`{}` is no PIN", pin_file.display())))?;
    Ok(Token::new(module, label, SecretString::from(pin.trim_end_matches(['\r', '\n']).to_owned())))
}

fn keeper(method: &SealMethod, root: &Path) -> Result<Box<dyn Keeper>> {
    let keeper: Box<dyn Keeper> = match method {
        SealMethod::Static { file } => Box::new(StaticKey::read(file, root)?),
        SealMethod::Pkcs11 { module, token: label, key, pin_file } => {
            Box::new(Device { token: token(module, label, pin_file, Some(root))?, key: key.clone() })
        }
    };
    Ok(keeper)
}

/// An RSA key pair of a token.
struct Device {
    token: Token,
    key: String,
}

impl Keeper for Device {
    fn wrap(&self, key: &[u8]) -> std::result::Result<Vec<u8>, KeeperError> {
        Ok(self.token.encrypt(&self.key, key)?)
    }

    fn unwrap_key(&self, wrapped: &[u8]) -> std::result::Result<Zeroizing<Vec<u8>>, KeeperError> {
        Ok(self.token.decrypt(&self.key, wrapped)?)
    }
}
