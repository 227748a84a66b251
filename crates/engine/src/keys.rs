//! The trust domain's keys, in private files of the state directory.

use marque_core::spiffe::TrustDomain;
use marque_core::time::{Timestamp, Ttl};
use marque_ledger::Signer;
use marque_store::StateDir;
use marque_svid::{Authority, StoredAuthority};
use zeroize::Zeroizing;

use crate::env::Env;
use crate::error::{EngineError, Result};

/// How long the self-made X.509 authority lives.
const AUTHORITY_TTL: Ttl = Ttl::from_seconds(365 * 86_400);

const AUTHORITY_FILE: &str = "keys/authority.json";
const LOG_KEY_FILE: &str = "keys/log.key";

/// The signing authority, read or made.
pub(crate) fn authority(dir: &StateDir, trust_domain: &TrustDomain, now: Timestamp) -> Result<Authority> {
    if let Some(bytes) = dir.read(AUTHORITY_FILE)?.map(Zeroizing::new) {
        let stored: StoredAuthority = serde_json::from_slice(&bytes)?;
        let authority = Authority::from_stored(stored)?;
        if authority.trust_domain() != trust_domain {
            return Err(EngineError::Invalid(format!(
                "the keys in `{}` are of trust domain `{}`, not `{trust_domain}`",
                dir.root().display(),
                authority.trust_domain()
            )));
        }
        return Ok(authority);
    }
    let authority = Authority::generate(trust_domain, now, AUTHORITY_TTL)?;
    let bytes = Zeroizing::new(serde_json::to_vec_pretty(&authority.to_stored())?);
    dir.write(AUTHORITY_FILE, &bytes)?;
    Ok(authority)
}

/// The log's checkpoint signer, read or made. Its name is the log's origin.
pub(crate) fn log_signer(dir: &StateDir, origin: &str, env: &Env) -> Result<Signer> {
    let seed = match dir.read(LOG_KEY_FILE)?.map(Zeroizing::new) {
        Some(bytes) => {
            let seed: [u8; 32] =
                bytes.as_slice().try_into().map_err(|_| EngineError::Invalid("the log's key has not 32 bytes".into()))?;
            Zeroizing::new(seed)
        }
        None => {
            let mut seed = Zeroizing::new([0; 32]);
            env.entropy.fill(seed.as_mut_slice());
            dir.write(LOG_KEY_FILE, seed.as_slice())?;
            seed
        }
    };
    Ok(Signer::from_seed(origin, *seed).map_err(marque_store::StoreError::from)?)
}
