//! Secrets for upstreams: stored in private files, sealed as the keys are, given to the gateway, never to an agent.

use secrecy::{ExposeSecret as _, SecretString};

use crate::error::{EngineError, Result};
use crate::open::Engine;

/// A stored secret, for the gateway to inject. It does not print.
#[derive(Clone, Debug)]
pub struct InjectedSecret(SecretString);

impl InjectedSecret {
    /// The secret itself: to be put into a request to the upstream, and nowhere else.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

impl Engine {
    /// Stores a secret under a name.
    pub fn store_secret(&self, name: &str, value: &str) -> Result<()> {
        let value = value.trim_end_matches(['\r', '\n']);
        if value.is_empty() || value.chars().any(char::is_control) {
            return Err(EngineError::Invalid("a secret is one line of text that is not empty".into()));
        }
        Ok(self.dir.write_secret(&path(name)?, value.as_bytes())?)
    }

    /// A stored secret.
    pub fn secret(&self, name: &str) -> Result<InjectedSecret> {
        let bytes = self.dir.read_secret(&path(name)?)?.ok_or_else(|| EngineError::not_found("secret", name))?;
        let text = std::str::from_utf8(&bytes).map_err(|_| EngineError::Invalid(format!("secret `{name}` is not text")))?;
        Ok(InjectedSecret(SecretString::from(text.to_owned())))
    }
}

fn path(name: &str) -> Result<String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if name.is_empty() || name.len() > 64 || name.starts_with('.') || !name.chars().all(plain) {
        return Err(EngineError::Invalid(format!("`{name}` is not a name for a secret: use letters, digits, `-`, `_`, `.`")));
    }
    Ok(format!("secrets/{name}"))
}
