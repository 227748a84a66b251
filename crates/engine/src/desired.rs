//! What a manifest asks for.

use std::collections::BTreeSet;

use marque_core::PersonId;
use marque_core::attestation::Selector;
use marque_core::identity::{Kind, Lifecycle};
use marque_core::node::NodeName;
use marque_core::resource::Resource;
use marque_core::scope::Scope;
use serde::{Deserialize, Serialize};

/// Identities, resources and policies as a manifest says they should be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Desired {
    /// Identities to register or change; others are left alone.
    pub identities: Vec<IdentitySpec>,
    /// Resources to register or change; others are left alone.
    pub resources: Vec<Resource>,
    /// All policies beside the baseline: what is not here is no longer in force.
    pub policies: Vec<PolicyText>,
    /// Why it is applied, for each step of an identity's life that this makes; `manifest` where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// An identity in a manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IdentitySpec {
    /// The SPIFFE ID's path without its leading slash, as `agent/researcher`.
    pub name: String,
    /// What sort of principal.
    pub kind: Kind,
    /// The accountable person.
    pub owner: PersonId,
    /// What it is for.
    pub purpose: String,
    /// What must be observed of a process.
    pub selectors: BTreeSet<Selector>,
    /// What tells it apart from other identities of the same process: at most 1,024 bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// The nodes that may serve it, `server` being the server's own host; without any, that one alone.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub nodes: BTreeSet<NodeName>,
    /// The most it may ever hold.
    pub ceiling: Scope,
    /// Where it should be in its life.
    pub state: Lifecycle,
}

impl IdentitySpec {
    /// Where the identity is in its life once this is applied, `now` being where it is, if it is registered. Where the
    /// step to it does not exist, what a manifest has to say instead.
    ///
    /// What is proposed or active in a manifest only goes forward: it neither takes an activation back nor lifts a
    /// suspension, so that what was revoked does not come back with the next apply.
    pub fn state_after(&self, now: Option<Lifecycle>) -> Result<Lifecycle, &'static str> {
        match (now, self.state) {
            (None, to @ (Lifecycle::Proposed | Lifecycle::Active)) => Ok(to),
            (None, _) => Err("proposed or active, for the identity is new"),
            (Some(Lifecycle::Retired), Lifecycle::Retired) => Ok(Lifecycle::Retired),
            (Some(Lifecycle::Retired), _) => Err("retired, as the identity is: its name is never used again"),
            (Some(now), Lifecycle::Proposed) => Ok(now),
            (Some(Lifecycle::Suspended), Lifecycle::Active) => Ok(Lifecycle::Suspended),
            (Some(now), to) if now == to || now.may_become(to) => Ok(to),
            (Some(_), _) => Err("proposed, active or retired, for the identity is proposed and was never active"),
        }
    }
}

/// A policy file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyText {
    /// Its path in the manifest's directory.
    pub name: String,
    /// Its text.
    pub text: String,
}
