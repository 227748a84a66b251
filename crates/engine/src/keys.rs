//! The trust domain's keys, in private files of the state directory, sealed where that is asked for.

use marque_core::id::ObserverId;
use marque_core::spiffe::TrustDomain;
use marque_core::time::{Cx, Timestamp};
use marque_ledger::Signer;
use marque_store::StateDir;
use marque_svid::{AuthoritySet, Bundle, BundleSet, Rotation, SoftwareKeys};
use zeroize::Zeroizing;

use crate::env::Env;
use crate::error::{EngineError, Result};
use crate::open::Options;

pub(crate) const AUTHORITY_FILE: &str = "keys/authority.json";
const LOG_KEY_FILE: &str = "keys/log.key";
const VAULT_KEY_FILE: &str = "keys/vault.key";
const OBSERVER_FILE: &str = "observer";

/// The signing keys, read or made.
pub(crate) fn authorities(dir: &StateDir, trust_domain: &TrustDomain, options: &Options, now: Timestamp) -> Result<AuthoritySet> {
    let policy = &options.rotation;
    if let Some(bytes) = dir.read_secret(AUTHORITY_FILE)? {
        let set = AuthoritySet::from_json(&bytes, &SoftwareKeys, policy)?;
        if set.trust_domain() != trust_domain {
            return Err(EngineError::Invalid(format!(
                "the keys in `{}` are of trust domain `{}`, not `{trust_domain}`",
                dir.root().display(),
                set.trust_domain()
            )));
        }
        return Ok(set);
    }
    let rotation = Rotation { now, policy, keys: &SoftwareKeys, upstream: options.upstream.as_deref() };
    let set = AuthoritySet::new(trust_domain, &rotation)?;
    let bytes = Zeroizing::new(serde_json::to_vec_pretty(&set.to_stored())?);
    dir.write_secret(AUTHORITY_FILE, &bytes)?;
    Ok(set)
}

/// The bundles of other trust domains, as they were last fetched. A file that does not read is no bundle.
pub(crate) fn foreign_bundles(dir: &StateDir) -> Result<BundleSet> {
    let mut bundles = BundleSet::default();
    let Ok(files) = std::fs::read_dir(dir.root().join("federation")) else { return Ok(bundles) };
    for file in files.flatten() {
        let name = file.file_name().to_string_lossy().into_owned();
        let Some(Ok(trust_domain)) = name.strip_suffix(".json").map(str::parse::<TrustDomain>) else { continue };
        if let Some(bytes) = dir.read(&format!("federation/{name}"))? {
            bundles.put(Bundle::from_spiffe_json(trust_domain, &bytes)?);
        }
    }
    Ok(bundles)
}

/// The key of the vault: of pseudonyms, of the index of contents, and of everybody's own key.
pub(crate) fn vault_key(dir: &StateDir, env: &Env) -> Result<Zeroizing<[u8; 32]>> {
    secret(dir, env, VAULT_KEY_FILE)
}

/// Who numbers the events written here: one name for a state directory's whole life.
pub(crate) fn observer(dir: &StateDir, env: &Env, now: Timestamp) -> Result<ObserverId> {
    if let Some(bytes) = dir.read(OBSERVER_FILE)? {
        return Ok(String::from_utf8_lossy(&bytes).trim().parse()?);
    }
    let mut bytes = [0; 16];
    env.entropy.fill(&mut bytes);
    let mut fresh = || u128::from_le_bytes(bytes);
    let id = ObserverId::fresh(&mut Cx::new(now, &mut fresh));
    dir.write(OBSERVER_FILE, format!("{id}\n").as_bytes())?;
    Ok(id)
}

/// 32 random bytes in a private file, read or made.
pub(crate) fn secret(dir: &StateDir, env: &Env, file: &str) -> Result<Zeroizing<[u8; 32]>> {
    if let Some(bytes) = dir.read_secret(file)? {
        let key = bytes.as_slice().try_into().map_err(|_| EngineError::Invalid(format!("`{file}` has not 32 bytes")))?;
        return Ok(Zeroizing::new(key));
    }
    let mut key = Zeroizing::new([0; 32]);
    env.entropy.fill(key.as_mut_slice());
    dir.write_secret(file, key.as_slice())?;
    Ok(key)
}

/// The log's checkpoint signer, read or made. Its name is the log's origin.
pub(crate) fn log_signer(dir: &StateDir, origin: &str, env: &Env) -> Result<Signer> {
    let seed = secret(dir, env, LOG_KEY_FILE)?;
    Ok(Signer::from_seed(origin, *seed).map_err(marque_store::StoreError::from)?)
}
