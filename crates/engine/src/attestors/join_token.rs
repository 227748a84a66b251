//! `join_token`: a node that has the token which a person made for it.

use std::collections::BTreeSet;

use marque_core::attestation::{Attestation, Selector};
use marque_core::node::NodeName;
use marque_core::state::State;
use marque_core::time::Timestamp;
use marque_svid::SecretText;

use super::{Attestor, of_node};
use crate::digest::sha256;
use crate::error::{EngineError, Result};

/// The tokens that admit now. Each does once: what it admitted takes it out of the state.
pub(crate) struct JoinTokens<'s>(pub &'s State);

/// A token, and the node that shows it.
pub(crate) struct ShownToken<'a> {
    pub name: &'a NodeName,
    pub token: &'a SecretText,
}

impl Attestor for JoinTokens<'_> {
    const NAME: &'static str = "join_token";
    type Evidence<'a> = ShownToken<'a>;

    /// `join_token:id:…`, which tells tokens apart and gives none away.
    fn attest(&self, shown: ShownToken<'_>, now: Timestamp) -> Result<Attestation> {
        let refused = || EngineError::Unauthenticated("the join token is not this node's, was used before or has expired".into());
        let made = self.0.nodes.get(shown.name).and_then(|node| node.token.as_ref()).filter(|made| now < made.expires);
        // It has 256 random bits, so comparing digests gives nothing away.
        let digest = sha256(shown.token.danger_expose().as_bytes());
        let made = made.filter(|made| made.digest == digest).ok_or_else(refused)?;
        let id = Selector::new(Self::NAME, "id", made.digest.short())?;
        Ok(of_node(Self::NAME, shown.name, BTreeSet::from([id])))
    }
}
