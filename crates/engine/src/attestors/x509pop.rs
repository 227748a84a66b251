//! `x509pop`: a node that has a certificate of a configured CA, and its key.

use marque_core::attestation::{Attestation, Selector};
use marque_core::node::NodeName;
use marque_core::time::Timestamp;
use marque_svid::x509pop::{Answer, Challenge, PopVerifier};

use super::{Attestor, of_node};
use crate::error::{EngineError, Result};

/// The CAs that are configured for nodes.
pub(crate) struct Certificates<'c>(pub &'c PopVerifier);

/// A certificate, and the answer to a challenge that was open until now.
pub(crate) struct ShownCertificate<'a> {
    pub name: &'a NodeName,
    pub chain: &'a [Vec<u8>],
    pub challenge: &'a Challenge,
    pub answer: &'a Answer,
}

impl Attestor for Certificates<'_> {
    const NAME: &'static str = "x509pop";
    type Evidence<'a> = ShownCertificate<'a>;

    /// `x509pop:subject:cn:…` and more; the common name must be the node's.
    fn attest(&self, shown: ShownCertificate<'_>, now: Timestamp) -> Result<Attestation> {
        let chain: Vec<&[u8]> = shown.chain.iter().map(Vec::as_slice).collect();
        let proved = self.0.verify(&chain, shown.challenge.clone(), shown.answer, now)?;
        let named = Selector::new(Self::NAME, "subject", format_args!("cn:{}", shown.name))?;
        if !proved.selectors.contains(&named) {
            return Err(EngineError::Unauthenticated("the certificate's common name is not the node's".into()));
        }
        Ok(of_node(Self::NAME, shown.name, proved.selectors))
    }
}
