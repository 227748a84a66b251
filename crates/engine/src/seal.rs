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

/// The token that is called `label`, with the PIN out of a private file: module and PIN outside of `not_in`, if that is given.
/// Whoever can write into that directory while it is closed can have nothing run that they put there.
pub fn token(module: &Path, label: &str, pin_file: &Path, not_in: Option<&Path>) -> Result<Token> {
    // One that is no file here is looked for where the system's libraries are.
    let within = |folder: &Path| module.canonicalize().is_ok_and(|m| folder.canonicalize().is_ok_and(|f| m.starts_with(f)));
    if not_in.is_some_and(within) {
        let why =
            format!("the PKCS#11 module `{}` is in the directory that it is to unseal: keep it elsewhere", module.display());
        return Err(EngineError::Invalid(why));
    }
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

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    /// Nothing is loaded that whoever has the directory could have put there.
    #[test]
    fn a_module_in_the_directory_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("state");
        std::fs::create_dir(&state).unwrap();
        let (inside, outside, pin) = (state.join("module.so"), dir.path().join("module.so"), dir.path().join("pin"));
        for file in [&inside, &outside, &pin] {
            std::fs::write(file, "1234").unwrap();
        }
        std::fs::set_permissions(&pin, std::fs::Permissions::from_mode(0o600)).unwrap();
        let link = dir.path().join("link.so");
        std::os::unix::fs::symlink(&inside, &link).unwrap();
        for module in [&inside, &link, &state.join("../state/module.so")] {
            let error = token(module, "x", &pin, Some(&state)).unwrap_err().to_string();
            assert!(error.contains("keep it elsewhere"), "{}: {error}", module.display());
        }
        for module in [outside.as_path(), Path::new("libsofthsm2.so")] {
            assert!(token(module, "x", &pin, Some(&state)).is_ok(), "{}", module.display());
        }
        assert!(token(&inside, "x", &pin, None).is_ok());
    }
}
