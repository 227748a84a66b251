//! Configuration of the certificate of a public CA.

use std::path::PathBuf;

use marque_server::web::Web;
use serde::Deserialize;

use crate::failure::{Failure, Result};

/// `[web]`: the certificate that the token endpoint shows under some names instead of its own of the trust domain.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WebConfig {
    /// The certificate and those between it and a root, PEM, its own first. It is read again when it changes.
    pub certificate: PathBuf,
    /// Its private key, PEM, in a file that only its owner reads. It is read again when it changes.
    pub key: PathBuf,
    /// The host names, all of which the certificate has.
    pub names: Vec<String>,
}

impl WebConfig {
    /// Reads the files. `own` are the names under which the certificate of the trust domain is shown.
    pub fn open(&self, own: &[String]) -> Result<Web> {
        if self.names.is_empty() {
            return Err(Failure::input("[web] names: at least one is needed"));
        }
        if let Some(name) = self.names.iter().find(|name| own.iter().any(|ours| ours.eq_ignore_ascii_case(name))) {
            let why = "is in `names` too, and one name has one certificate";
            return Err(Failure::input(format!("[web] names: `{name}` {why}")));
        }
        Web::open(&self.certificate, &self.key, &self.names)
            .map_err(|e| Failure::input(format!("[web]: {}", marque_engine::describe(&e))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_one_certificate() {
        let refused = |names: &str| {
            let text = format!("certificate = \"absent.pem\"\nkey = \"absent.key\"\nnames = {names}\n");
            let config: WebConfig = toml::from_str(&text).unwrap();
            config.open(&["localhost".into(), "marque.internal".into()]).unwrap_err().message
        };
        assert!(refused("[]").contains("at least one is needed"));
        assert!(refused("[\"a.example\", \"Marque.internal\"]").contains("`Marque.internal` is in `names` too"));
        assert!(refused("[\"a.example\"]").contains("`absent.pem` cannot be read"));
    }
}
