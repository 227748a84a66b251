//! Who: the trust domain's authority, the credentials it issues, and their verification.
//!
//! - [`Authority`] holds the signing keys and issues X.509-SVIDs, JWT-SVIDs and other signed tokens.
//! - [`Bundle`] is the public half of one or several authorities, in the three JSON forms that relying parties read.
//! - [`verify_x509_svid`], [`verify_jwt_svid`] and [`verify_typed`] check what is presented, against a bundle of the
//!   subject's own trust domain and at a moment that the caller gives.
//! - [`TaskClaims`] is the content of a task token.
//!
//! Nothing here reads a clock. A check that is not understood fails: INVARIANT (I7 unknown is No).

mod authority;
mod bundle;
mod error;
mod jwt;
mod keys;
mod stored;
mod token;
mod x509;

pub use authority::{Authority, JwtSvidRequest, X509Request, X509Svid};
pub use bundle::{Bundle, Curve, Jwk, JwtKey};
pub use error::{Result, SvidError};
pub use jwt::{VerifiedJwtSvid, verify_jwt_svid, verify_typed};
pub use stored::{SecretText, StoredAuthority};
pub use token::{AT_JWT_TYP, Actor, Confirmation, TaskClaims};
pub use x509::{VerifiedX509Svid, thumbprint, thumbprint_b64url, verify_x509_svid};
