//! Keys at rest: the secret files of a state directory, sealed under a key that something outside of it keeps.
//!
//! `seal.json` says how. It holds the directory's own sealing key, 32 random bytes, wrapped by the keeper: a file elsewhere, or
//! an RSA key that never leaves its device. Each secret file is sealed under a key of its own, made from the sealing key and a
//! fresh salt, and bound to its name. So a start asks the keeper once, and a change of keeper changes one file.
//!
//! INVARIANT (I7 unknown is No): a sealed directory that cannot be unsealed is not used, and nothing in it is made anew.

mod envelope;
mod file;
mod places;

use std::fmt;
use std::path::{Path, PathBuf};

use aws_lc_rs::aead::{AES_256_GCM, LessSafeKey, UnboundKey};
use aws_lc_rs::hmac;
use aws_lc_rs::rand::{SecureRandom as _, SystemRandom};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::dir::{StateDir, read_if_there};
use crate::error::{Result, StoreError};
pub use file::{StaticKey, read_private};

/// Who keeps what unseals a directory. None of this is secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum SealMethod {
    /// A file outside of the directory.
    Static {
        /// The file, with 32 random bytes.
        file: PathBuf,
    },
    /// A device: an HSM, a TPM, SoftHSM.
    Pkcs11 {
        /// Its PKCS#11 module.
        module: PathBuf,
        /// The token's name.
        token: String,
        /// The name of the RSA key pair in it.
        key: String,
        /// The file with the PIN.
        pin_file: PathBuf,
    },
}

impl fmt::Display for SealMethod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Static { file } => write!(f, "the key in `{}`", file.display()),
            Self::Pkcs11 { token, key, .. } => write!(f, "the key `{key}` of the token `{token}`"),
        }
    }
}

fn cipher(key: &[u8; 32]) -> Result<LessSafeKey> {
    let key = UnboundKey::new(&AES_256_GCM, key).map_err(|_| seal_error("the cipher could not make a key".to_owned()))?;
    Ok(LessSafeKey::new(key))
}

/// What a keeper said.
pub type KeeperError = Box<dyn std::error::Error + Send + Sync>;

/// Wraps the sealing key. What `wrap` returns, `unwrap_key` must take back after any restart, and nothing else may make the key
/// out of it.
pub trait Keeper {
    /// Wraps a key.
    fn wrap(&self, key: &[u8]) -> Result<Vec<u8>, KeeperError>;

    /// The key that was wrapped; an error if it was wrapped by another.
    fn unwrap_key(&self, wrapped: &[u8]) -> Result<Zeroizing<Vec<u8>>, KeeperError>;
}

/// How the secret files of a directory are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seals {
    /// Who keeps the key; without, the files are in clear, mode 0600.
    pub method: Option<SealMethod>,
    /// Sealed files.
    pub sealed: Vec<String>,
    /// Files in clear.
    pub clear: Vec<String>,
}

impl Seals {
    /// Those of a directory, also beside the process that holds it.
    pub fn of(root: &Path) -> Result<Self> {
        let method = Settings::read(root)?.map(|settings| settings.method);
        let (mut sealed, mut clear) = (Vec::new(), Vec::new());
        for name in places::files(root)? {
            if places::is_sealed(root, &name)? { sealed.push(name) } else { clear.push(name) }
        }
        Ok(Self { method, sealed, clear })
    }
}

/// What `seal.json` says.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Settings {
    version: u32,
    method: SealMethod,
    /// The sealing key's name.
    key: String,
    /// The sealing key, wrapped; hexadecimal.
    wrapped: String,
    /// Whether every file is sealed: a start finishes what was cut short.
    complete: bool,
}

impl Settings {
    fn read(root: &Path) -> Result<Option<Self>> {
        let path = root.join(SETTINGS_FILE);
        let Some(bytes) = read_if_there(&path)? else { return Ok(None) };
        let settings: Self = serde_json::from_slice(&bytes)
            .map_err(|e| StoreError::Keeper { what: format!("`{}` cannot be read", path.display()), source: Box::new(e) })?;
        if settings.version != VERSION {
            return Err(seal_error(format!("`{}` is of version {}, which is not known here", path.display(), settings.version)));
        }
        Ok(Some(settings))
    }

    fn new(method: SealMethod, key: &SealKey, keeper: &dyn Keeper, complete: bool) -> Result<Self> {
        let cannot = |source| StoreError::Keeper { what: format!("{method} cannot be used"), source };
        let wrapped = keeper.wrap(key.0.as_slice()).map_err(cannot)?;
        if keeper.unwrap_key(&wrapped).map_err(cannot)?.as_slice() != key.0.as_slice() {
            return Err(seal_error(format!("{method} does not give back what it was given")));
        }
        Ok(Self { version: VERSION, key: key.name(), wrapped: hex::encode(wrapped), method, complete })
    }

    fn unwrap_key(&self, keeper: &dyn Keeper) -> Result<SealKey> {
        let method = &self.method;
        let damaged = || seal_error(format!("the wrapped key in `{SETTINGS_FILE}` is damaged"));
        let wrapped = hex::decode(&self.wrapped).map_err(|_| damaged())?;
        let what = || format!("the keys are sealed, and {method} does not open them");
        let key = keeper.unwrap_key(&wrapped).map_err(|source| StoreError::Keeper { what: what(), source })?;
        let key = SealKey(Zeroizing::new(key.as_slice().try_into().map_err(|_| damaged())?));
        if key.name() == self.key { Ok(key) } else { Err(damaged()) }
    }
}

/// The sealing key of a directory.
pub(crate) struct SealKey(Zeroizing<[u8; 32]>);

impl SealKey {
    fn fresh() -> Result<Self> {
        Ok(Self(Zeroizing::new(random()?)))
    }

    /// Its name, which says nothing of it.
    fn name(&self) -> String {
        hex::encode(self.derived(b"marque seal name", &[]).get(..8).unwrap_or_default())
    }

    /// A key for one purpose.
    fn derived(&self, purpose: &[u8], salt: &[u8]) -> Zeroizing<[u8; 32]> {
        let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, self.0.as_slice()));
        [purpose, &[0], salt].into_iter().for_each(|part| context.update(part));
        let mut out = Zeroizing::new([0; 32]);
        out.iter_mut().zip(context.sign().as_ref()).for_each(|(to, from)| *to = *from);
        out
    }
}

impl fmt::Debug for SealKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SealKey({})", self.name())
    }
}

/// Where a directory stands.
#[derive(Debug)]
pub(crate) enum Sealing {
    /// Its secret files are in clear.
    Off,
    /// They are sealed, and the keeper was not asked yet.
    Closed(Settings),
    /// They are sealed, and can be read.
    Open(Settings, SealKey),
}

impl Sealing {
    pub(crate) fn of(root: &Path) -> Result<Self> {
        Ok(Settings::read(root)?.map_or(Self::Off, Self::Closed))
    }
}

impl StateDir {
    /// Who keeps the key of the directory's secret files, if they are sealed.
    pub fn seal_method(&self) -> Option<&SealMethod> {
        match &self.sealing {
            Sealing::Off => None,
            Sealing::Closed(settings) | Sealing::Open(settings, _) => Some(&settings.method),
        }
    }

    /// Unseals a sealed directory. A sealing that was cut short is finished: says which files were sealed now.
    pub fn unseal(&mut self, keeper: &dyn Keeper) -> Result<Vec<String>> {
        let Sealing::Closed(settings) = &self.sealing else { return Ok(Vec::new()) };
        let settings = settings.clone();
        let key = settings.unwrap_key(keeper)?;
        if !settings.complete {
            return self.seal_files(settings, key);
        }
        for name in places::files(self.root())? {
            if !places::is_sealed(self.root(), &name)? {
                return Err(in_clear(&name));
            }
        }
        self.sealing = Sealing::Open(settings, key);
        Ok(Vec::new())
    }

    /// Seals the directory's secret files, from now on: says which ones. One that is sealed, and unsealed, gets another keeper.
    pub fn seal(&mut self, method: SealMethod, keeper: &dyn Keeper) -> Result<Vec<String>> {
        if let Sealing::Open(_, key) = &self.sealing {
            let next = Settings::new(method, key, keeper, true)?;
            self.put_settings(&next)?;
            if let Sealing::Open(settings, _) = &mut self.sealing {
                *settings = next;
            }
            return Ok(Vec::new());
        }
        if self.seal_method().is_some() {
            return Err(seal_error("the directory is sealed, and must be unsealed first".to_owned()));
        }
        for name in places::files(self.root())? {
            if places::is_sealed(self.root(), &name)? {
                return Err(missing(&name));
            }
        }
        let key = SealKey::fresh()?;
        let settings = Settings::new(method, &key, keeper, false)?;
        self.put_settings(&settings)?;
        self.seal_files(settings, key)
    }

    /// Every file in clear, sealed. Each is whole at every moment, in clear or sealed, and `seal.json` says that some are not.
    fn seal_files(&mut self, mut settings: Settings, key: SealKey) -> Result<Vec<String>> {
        places::tidy(self.root())?;
        let mut done = Vec::new();
        for name in places::files(self.root())? {
            if !places::is_sealed(self.root(), &name)? {
                places::seal_in_place(self.root(), &name, &key)?;
                done.push(name);
            }
        }
        settings.complete = true;
        self.put_settings(&settings)?;
        self.sealing = Sealing::Open(settings, key);
        Ok(done)
    }

    fn put_settings(&self, settings: &Settings) -> Result<()> {
        self.write(SETTINGS_FILE, &serde_json::to_vec_pretty(settings).map_err(StoreError::Encode)?)
    }

    /// A secret file's content, if there is one.
    pub fn read_secret(&self, name: &str) -> Result<Option<Zeroizing<Vec<u8>>>> {
        let Some(bytes) = self.read(name)?.map(Zeroizing::new) else { return Ok(None) };
        match (&self.sealing, envelope::is_sealed(&bytes)) {
            (Sealing::Off, false) => Ok(Some(bytes)),
            (Sealing::Off, true) => Err(missing(name)),
            (Sealing::Closed(_), _) => Err(seal_error(format!("`{name}` is sealed"))),
            (Sealing::Open(..), false) => Err(in_clear(name)),
            (Sealing::Open(_, key), true) => envelope::open(key, name, &bytes).map(Some),
        }
    }

    /// Writes a secret file: in clear, mode 0600, or sealed.
    pub fn write_secret(&self, name: &str, bytes: &[u8]) -> Result<()> {
        match &self.sealing {
            Sealing::Off => self.write(name, bytes),
            Sealing::Closed(_) => Err(seal_error(format!("`{name}` is not written: the keys are sealed"))),
            Sealing::Open(_, key) => self.write(name, &envelope::seal(key, name, bytes)?),
        }
    }
}

fn random<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).map_err(|_| seal_error("the system gives no random bytes".to_owned()))?;
    Ok(bytes)
}

fn seal_error(what: String) -> StoreError {
    StoreError::Seal { what }
}

fn in_clear(name: &str) -> StoreError {
    seal_error(format!("`{name}` is in clear, though the keys of this directory are sealed: it was not written here"))
}

fn missing(name: &str) -> StoreError {
    seal_error(format!("`{name}` is sealed, and `{SETTINGS_FILE}`, which says how, is missing: put it back from a backup"))
}

const SETTINGS_FILE: &str = "seal.json";
const VERSION: u32 = 1;

#[cfg(test)]
mod tests;
