//! Attestors: the ways to find out who is at the other end.
//!
//! | attestor | is shown | of whom |
//! |---|---|---|
//! | [`Observer`](crate::Observer) (`unix`) | a process, by its pidfd | a process of this host |
//! | [`Launch`] (`launched`) | what was seen of a process | a process that `marque run` started |
//! | `Issuers` (`oidc`) | a token of another issuer | a CI job, a pod |
//! | `JoinTokens` (`join_token`) | a token that a person made | a node |
//! | `Certificates` (`x509pop`) | a certificate, and an answer to a challenge | a node |

mod join_token;
mod launched;
mod oidc;
mod unix;
mod x509pop;

use std::collections::BTreeSet;

use marque_core::attestation::{Attestation, Selector};
use marque_core::event::{Body, By};
use marque_core::node::NodeName;
use marque_core::time::Timestamp;

use crate::error::{EngineError, Result};
use crate::open::Engine;

pub(crate) use join_token::{JoinTokens, ShownToken};
pub use launched::{Launch, Told};
pub(crate) use oidc::Issuers;
pub use oidc::TrustedIssuer;
pub(crate) use x509pop::{Certificates, ShownCertificate};

/// A way to find out who is at the other end: from evidence to what is known then, as selectors. It does not say which
/// identity that is; [`Engine::attest`] and [`Engine::join_node`] do, and they record it.
pub trait Attestor {
    /// Its name: the method in the log, and the first part of the selectors that are its own.
    const NAME: &'static str;

    /// What it is shown.
    type Evidence<'a>;

    /// What the evidence proves at `now`; an error if it proves nothing. It may read files, and never waits for the network.
    fn attest(&self, evidence: Self::Evidence<'_>, now: Timestamp) -> Result<Attestation>;
}

/// What is known of a node, which is a host and no process.
fn of_node(method: &str, name: &NodeName, selectors: BTreeSet<Selector>) -> Attestation {
    Attestation { method: method.into(), pid: 0, started: 0, selectors, until: None, node: Some(name.clone()) }
}

impl Engine {
    /// Passes on what the attestor `name` said. A refusal is told, and recorded once a minute.
    pub(crate) async fn noted(&self, name: &str, said: Result<Attestation>) -> Result<Attestation> {
        let error = match said {
            Ok(seen) => return Ok(seen),
            Err(error) => error,
        };
        let why = match &error {
            // These may repeat what was shown, which the one who asks may choose anew each time.
            EngineError::Svid(_) => format!("{name}: what was shown does not verify"),
            EngineError::Unauthenticated(_) | EngineError::Forbidden(_) => format!("{name}: {error}"),
            EngineError::Dead(_) => format!("{name}: it was banned or revoked"),
            // Nobody was refused: there was nothing to look at.
            _ => return Err(error),
        };
        tracing::warn!(attestor = name, "refused: {}", error.chain());
        if self.refusals.is_new(&why, self.now()) {
            self.commit(By::System, |_, _| Ok(((), vec![Body::AttestationRefused { why }]))).await?;
        }
        Err(error)
    }
}
