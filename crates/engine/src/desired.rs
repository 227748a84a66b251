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
    /// Proposed or active.
    pub state: Lifecycle,
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
