//! The key of an upstream CA in a device, as the configuration names it.

use std::path::PathBuf;
use std::sync::Arc;

use marque_engine::{Curve, EcCurve, EcKey, SvidError, UpstreamKey, describe};
use serde::Deserialize;

use crate::failure::{Failure, Result};

/// `pkcs11 = { … }`: a key that an HSM, SoftHSM or a TPM keeps.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pkcs11Config {
    /// The device's PKCS#11 module, a shared library.
    pub module: PathBuf,
    /// The token's name.
    pub token: String,
    /// The key pair's name, of the private and of the public key.
    pub key: String,
    /// A file with the PIN, that only its owner reads.
    pub pin_file: PathBuf,
}

impl Pkcs11Config {
    /// The key, found in the token.
    pub fn upstream_key(&self) -> Result<Arc<dyn UpstreamKey>> {
        let failed = |e: &dyn std::error::Error| Failure::input(format!("[authority.upstream]: {}", describe(e)));
        let token = marque_engine::token(&self.module, &self.token, &self.pin_file, None).map_err(|e| failed(&e))?;
        Ok(Arc::new(DeviceKey(token.ec_key(&self.key).map_err(|e| failed(&e))?)))
    }
}

#[derive(Debug)]
struct DeviceKey(EcKey);

impl UpstreamKey for DeviceKey {
    fn curve(&self) -> Curve {
        match self.0.curve() {
            EcCurve::P256 => Curve::P256,
            EcCurve::P384 => Curve::P384,
        }
    }

    fn point(&self) -> &[u8] {
        self.0.point()
    }

    fn sign_raw(&self, message: &[u8]) -> std::result::Result<Vec<u8>, SvidError> {
        self.0.sign(message).map_err(|e| SvidError::Backend(Box::new(e)))
    }
}
