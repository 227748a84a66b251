//! A token, and one call to it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error, RvError};
use cryptoki::object::{Attribute, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, UserType};
use secrecy::SecretString;

use crate::error::{DeviceError, Result};

/// A token by its name, and what opens it.
#[derive(Clone, Debug)]
pub struct Token {
    module: PathBuf,
    label: String,
    pin: SecretString,
}

/// The modules that were loaded. They stay so, for not every one can be loaded twice; each is initialised only for the time of
/// a call, and holding this is the right to do so.
static LOADED: Mutex<BTreeMap<PathBuf, Pkcs11>> = Mutex::new(BTreeMap::new());

impl Token {
    /// The token that is called `label` (CKA_LABEL), behind the module in a file. Nothing is asked of it yet.
    pub fn new(module: &Path, label: &str, pin: SecretString) -> Self {
        Self { module: module.to_owned(), label: label.to_owned(), pin }
    }

    /// One call: `act` with a session that is logged in.
    pub(crate) fn call<T>(&self, act: impl FnOnce(&Session) -> Result<T>) -> Result<T> {
        let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
        let module = match loaded.get(&self.module) {
            Some(module) => module.clone(),
            None => {
                let module = Pkcs11::new(&self.module)
                    .map_err(|error| DeviceError::Module { path: self.module.clone(), source: Box::new(error) })?;
                loaded.insert(self.module.clone(), module.clone());
                module
            }
        };
        let initialise = CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK);
        match module.initialize(initialise) {
            // An earlier call could not end it, and nobody else in this process uses it.
            Ok(()) | Err(Error::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => {}
            Err(error) => return Err(DeviceError::refused("begin")(error)),
        }
        let done = self.in_session(&module, act);
        // Ends every session. What was done is done, also if this fails.
        let _ = module.finalize();
        done
    }

    fn in_session<T>(&self, module: &Pkcs11, act: impl FnOnce(&Session) -> Result<T>) -> Result<T> {
        let no_list = DeviceError::refused("list its slots");
        let mut slots = Vec::new();
        for slot in module.get_slots_with_initialized_token().map_err(&no_list)? {
            if module.get_token_info(slot).map_err(&no_list)?.label() == self.label {
                slots.push(slot);
            }
        }
        let [slot] = slots.as_slice() else {
            return Err(DeviceError::NoToken { label: self.label.clone(), count: slots.len() });
        };
        let session = module.open_ro_session(*slot).map_err(DeviceError::refused("open a session"))?;
        session.login(UserType::User, Some(&self.pin)).map_err(DeviceError::login)?;
        let done = act(&session);
        // The end of the session does so too.
        let _ = session.logout();
        done
    }
}

/// The one key of this kind and name.
pub(crate) fn find(session: &Session, class: ObjectClass, (kind, name): Kind, label: &str) -> Result<ObjectHandle> {
    let wanted = [Attribute::Class(class), Attribute::KeyType(kind), Attribute::Label(label.as_bytes().to_vec())];
    let found = session.find_objects(&wanted).map_err(DeviceError::refused("look for a key"))?;
    match found.as_slice() {
        [key] => Ok(*key),
        all => Err(DeviceError::NoKey { kind: name, label: label.to_owned(), count: all.len() }),
    }
}

/// A kind of key, and its name for people.
pub(crate) type Kind = (KeyType, &'static str);
