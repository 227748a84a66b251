//! A state directory as it is found: who works on it, and what it says of itself.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use marque_engine::{Engine, EngineError, Env, Options};
use marque_store::StoreError;
use tokio::net::UnixStream;

use crate::args::ServeArgs;
use crate::config::Config;
use crate::failure::{Code, Failure, Result};
use crate::files::unreadable;

/// Where the API's socket is in a state directory.
pub fn api_socket(state: &Path) -> PathBuf {
    state.join("marque.sock")
}

/// Who works on a state directory.
pub enum At {
    /// A server, which answers.
    Server(UnixStream),
    /// This process.
    Here(Arc<Engine>),
}

/// The server on a state directory; or the engine, here, where nobody else holds it. Whoever holds it may be a server that
/// answers in a moment, or a command that is done in a moment. Without `options` the directory is not to be opened yet.
pub async fn reach(state: &Path, options: impl Fn() -> Result<Option<Options>>) -> Result<At> {
    let mut waited = Duration::ZERO;
    loop {
        match UnixStream::connect(api_socket(state)).await {
            Ok(stream) => return Ok(At::Server(stream)),
            Err(error) if error.kind() == ErrorKind::PermissionDenied => return Err(not_yours(state)),
            Err(_) => {}
        }
        let (patience, why) = match options()? {
            None => (GRACE, nothing(state)),
            Some(options) => match Engine::open(state, Env::system(), options).await {
                Ok(engine) => return Ok(At::Here(engine)),
                Err(EngineError::Store(StoreError::InUse { .. })) => (PATIENCE, held(state)),
                Err(other) => return Err(other.into()),
            },
        };
        if waited >= patience {
            return Err(why);
        }
        tokio::time::sleep(PAUSE).await;
        waited = waited.saturating_add(PAUSE);
    }
}

/// What a state directory says of itself.
#[derive(Debug, Default)]
pub struct About {
    pub trust_domain: Option<String>,
    /// The person whom the command line takes when nobody is named.
    pub first_person: Option<String>,
}

impl About {
    /// Of a directory that is not there, nothing is said.
    pub fn read(state: &Path) -> Result<Self> {
        Ok(Self { trust_domain: line(state, "trust-domain")?, first_person: line(state, "people/default")? })
    }

    /// Refuses what a new directory would take and this one does not: another trust domain, a person whom it does not know.
    pub fn check(&self, state: &Path, args: &ServeArgs, config: &Config) -> Result<()> {
        let asked = args.trust_domain.is_some() || config.trust_domain != Config::default().trust_domain;
        let other = config.trust_domain.to_string();
        if let Some(own) = self.trust_domain.as_ref().filter(|own| asked && **own != other) {
            let text = format!("the directory is of `{own}`, not of `{other}`: leave that out, or use another --state");
            return Err(Failure::input(text));
        }
        let person = config.administrator.name();
        if let Some(first) = self.first_person.as_deref().filter(|first| args.administrator.is_some() && *first != person)
            && !credential_file(state, person).exists()
        {
            return Err(Failure::input(format!(
                "the directory has people already, `{first}` first: leave --administrator out, and add `{person}` by \
                 `marque person add`"
            )));
        }
        Ok(())
    }
}

/// The private file with a person's credential.
pub fn credential_file(state: &Path, name: &str) -> PathBuf {
    state.join("people").join(format!("{name}.token"))
}

/// Whether there is a state directory.
pub fn is_there(state: &Path) -> Result<bool> {
    line(state, "trust-domain").map(|found| found.is_some())
}

/// A server is there already.
pub fn served(state: &Path) -> Failure {
    Failure::failed(format!("`{}` is already served: stop that server, or use another --state", state.display()))
}

fn line(state: &Path, name: &str) -> Result<Option<String>> {
    let path = state.join(name);
    match std::fs::read_to_string(&path) {
        Ok(text) => Ok(Some(text.trim().to_owned())),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
        Err(error) if error.kind() == ErrorKind::PermissionDenied => Err(not_yours(state)),
        Err(error) => Err(unreadable(&path, &error)),
    }
}

fn nothing(state: &Path) -> Failure {
    let text = format!(
        "no server is running, and `{}` is not a state directory: start `marque serve`, or name one with --state",
        state.display()
    );
    Failure::new(Code::NotFound, text)
}

fn held(state: &Path) -> Failure {
    Failure::failed(format!(
        "a marque process holds `{}` but does not answer on {}: it is starting, or is not a server",
        state.display(),
        api_socket(state).display()
    ))
}

fn not_yours(state: &Path) -> Failure {
    Failure::failed(format!("cannot read `{}`: permission denied: run this as the user who runs the server", state.display()))
}

/// How long whoever holds the directory is waited for.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a directory is waited for that a server may be making.
const GRACE: Duration = Duration::from_millis(300);
const PAUSE: Duration = Duration::from_millis(20);

#[cfg(test)]
mod tests {
    use super::*;

    fn about(state: &Path) -> About {
        std::fs::create_dir_all(state.join("people")).unwrap();
        std::fs::write(state.join("trust-domain"), "example.org\n").unwrap();
        std::fs::write(state.join("people/default"), "alice@example.com\n").unwrap();
        About::read(state).unwrap()
    }

    #[test]
    fn what_is_for_a_new_directory_only_is_refused_where_an_old_one_differs() {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path();
        assert!(!is_there(state).unwrap());
        let about = about(state);
        assert!(is_there(state).unwrap());
        let check = |trust_domain: Option<&str>, administrator: Option<&str>| {
            let owned = |text: Option<&str>| text.map(str::to_owned);
            let args =
                ServeArgs { trust_domain: owned(trust_domain), administrator: owned(administrator), ..ServeArgs::default() };
            about.check(state, &args, &Config::read(&args).unwrap())
        };
        check(None, None).unwrap();
        check(Some("example.org"), Some("alice@example.com")).unwrap();
        let refused = check(Some("other.org"), None).unwrap_err();
        assert_eq!(refused.code, Code::Input);
        assert!(refused.message.contains("the directory is of `example.org`"), "{}", refused.message);
        let refused = check(None, Some("eve@example.com")).unwrap_err();
        assert!(refused.message.contains("`alice@example.com` first"), "{}", refused.message);
        std::fs::write(credential_file(state, "eve@example.com"), "").unwrap();
        check(None, Some("eve@example.com")).unwrap();
    }

    #[test]
    fn a_new_directory_takes_what_is_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("state");
        let args = ServeArgs { trust_domain: Some("other.org".into()), ..ServeArgs::default() };
        About::read(&state).unwrap().check(&state, &args, &Config::read(&args).unwrap()).unwrap();
    }
}
