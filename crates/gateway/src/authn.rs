//! Who asks: a launched instance on its own listener, or a task token on mutual TLS.

use http::HeaderMap;
use http::header::AUTHORIZATION;
use marque_core::id::LeaseId;
use marque_engine::{Engine, EngineError};

/// What is known of a connection's other end before it says anything.
#[derive(Clone, Debug)]
pub enum Peer {
    /// A launched instance, attested by the kernel; the lease of its gateway session.
    Session(LeaseId),
    /// A TLS client; the thumbprint of its certificate (RFC 8705 `x5t#S256`).
    Tls {
        /// Base64url SHA-256 of the certificate.
        thumbprint: String,
    },
}

impl Peer {
    /// The lease that a request acts by.
    pub(crate) fn lease(&self, engine: &Engine, headers: &HeaderMap) -> Result<LeaseId, EngineError> {
        let thumbprint = match self {
            Self::Session(lease) => return Ok(*lease),
            Self::Tls { thumbprint } => thumbprint,
        };
        let missing = || EngineError::Unauthenticated("send a task token as `Authorization: Bearer …`".into());
        let mut values = headers.get_all(AUTHORIZATION).iter();
        let value = values.next().and_then(|v| v.to_str().ok()).ok_or_else(missing)?;
        let (scheme, token) = value.split_once(' ').ok_or_else(missing)?;
        if !scheme.eq_ignore_ascii_case("bearer") || values.next().is_some() {
            return Err(missing());
        }
        engine.authenticate_token(token.trim(), Some(thumbprint))
    }
}
