//! Keys that a device keeps, through its PKCS#11 module: SoftHSM's, an HSM's, or that of a TPM.
//!
//! A [`Token`] wraps small secrets with an RSA key ([`Token::encrypt`]) and signs with a key on P-256 or P-384
//! ([`Token::ec_key`]); the keys never leave it.
//!
//! Every call initialises the module, logs in, does one thing, and leaves again. So the device may go and come back, no
//! session is open between two calls, and a TPM keeps nothing loaded. The calls of one process follow each other.

mod ec;
mod error;
mod oaep;
mod token;

pub use ec::{EcCurve, EcKey};
pub use error::{DeviceError, Result};
pub use token::Token;
