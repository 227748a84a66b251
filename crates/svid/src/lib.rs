//! Who: the trust domain's authorities, the credentials they issue, and the verification of these and of others'.
//!
//! - [`AuthoritySet`] holds the signing keys, rotates them, and issues X.509-SVIDs, JWT-SVIDs and other signed tokens; its
//!   keys are wherever a [`SigningBackend`] keeps them, and its CAs sign themselves or stand below an [`UpstreamCa`].
//!   [`Authority`] is one pair of keys that does not rotate.
//! - [`Bundle`] is the public half, in the JSON forms that relying parties read and publish; a [`BundleSet`] keeps those of
//!   several trust domains apart, and a [`Relationship`] says where a foreign one comes from.
//! - [`verify_x509_svid`], [`verify_jwt_svid`], [`wit`] and [`verify_typed`] check what is presented, against a bundle of the
//!   subject's own trust domain and at a moment that the caller gives.
//! - [`oidc`] checks tokens of other issuers, [`x509pop`] certificates of other CAs, and [`join`] secrets that admit a node.
//! - [`TaskClaims`] is the content of a task token.
//!
//! Nothing here reads a clock, and only keys are drawn at random. A check that is not understood fails: INVARIANT (I7
//! unknown is No).

mod authority;
mod bundle;
mod ca;
mod error;
mod federation;
pub mod join;
mod json;
mod jwk;
mod jws;
mod jwt;
mod keys;
pub mod oidc;
mod path;
mod set;
mod signer;
mod stored;
mod token;
mod token_key;
mod upstream;
mod validity;
pub mod wit;
mod x509;
pub mod x509pop;

pub use authority::Authority;
pub use bundle::{Bundle, BundleSet, Offered};
pub use ca::{AuthorityId, X509Request, X509Svid};
pub use error::{Result, SvidError};
pub use federation::{EndpointUrl, Profile, Relationship};
pub use jwk::{Curve, Jwk, JwtKey};
pub use jwt::{VerifiedJwtSvid, verify_jwt_svid, verify_typed};
pub use keys::{KeyStore, P256Key, SigningBackend, SoftwareKeys, StoredKey};
pub use set::{
    Advanced, AuthoritySet, AuthorityStatus, KeyKind, Phase, Rotation, RotationPolicy, Standing, Step, StoredAuthoritySet,
};
pub use stored::{SecretText, StoredAuthority};
pub use token::{AT_JWT_TYP, Actor, Confirmation, TaskClaims};
pub use token_key::JwtSvidRequest;
pub use upstream::{UpstreamCa, UpstreamKey};
pub use x509::{VerifiedX509Svid, thumbprint, thumbprint_b64url, verify_x509_svid};
