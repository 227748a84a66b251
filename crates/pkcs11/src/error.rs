//! The one error of this crate.

use std::path::PathBuf;

use cryptoki::error::{Error, RvError};

/// The result of this crate.
pub type Result<T> = std::result::Result<T, DeviceError>;

/// What a device could not or would not do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DeviceError {
    /// The module is not there, or is none.
    #[error("cannot load the PKCS#11 module `{}`", path.display())]
    Module {
        /// The file.
        path: PathBuf,
        /// What the loader said.
        source: Box<Error>,
    },
    /// No token, or more than one, is called so.
    #[error("{count} tokens are called `{label}`")]
    NoToken {
        /// The name.
        label: String,
        /// How many.
        count: usize,
    },
    /// No key, or more than one, is called so.
    #[error("the token has {count} keys of the kind {kind} that are called `{label}`")]
    NoKey {
        /// The kind.
        kind: &'static str,
        /// The name.
        label: String,
        /// How many.
        count: usize,
    },
    /// The PIN does not open the token. Tokens lock after a few of these, so nothing is tried twice.
    #[error("the token refuses the PIN ({why})")]
    Pin {
        /// What it said.
        why: String,
    },
    /// The token did not do what was asked of it.
    #[error("the token cannot {what} ({why})")]
    Refused {
        /// What was asked.
        what: &'static str,
        /// What it said.
        why: String,
    },
    /// The token answered something that cannot be.
    #[error("the token's answer makes no sense: {0}")]
    Answer(&'static str),
}

impl DeviceError {
    /// What the token said when it was asked to do `what`.
    pub(crate) fn refused(what: &'static str) -> impl Fn(Error) -> Self {
        move |error| Self::Refused { what, why: said(&error) }
    }

    pub(crate) fn login(error: Error) -> Self {
        use RvError::{PinExpired, PinIncorrect, PinInvalid, PinLenRange, PinLocked};
        match error {
            Error::Pkcs11(PinIncorrect | PinInvalid | PinLenRange | PinExpired | PinLocked, _) => Self::Pin { why: said(&error) },
            other => Self::refused("log in")(other),
        }
    }
}

/// The code's name; the standard's own text of it is a paragraph.
fn said(error: &Error) -> String {
    match error {
        Error::Pkcs11(code, function) => format!("C_{function:?}: {code:?}"),
        other => other.to_string(),
    }
}
