//! Identities: registered non-human principals.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::PersonId;
use crate::attestation::Selector;
use crate::node::NodeName;
use crate::resource::{ResourceId, ResourceKind};
use crate::revocation::Epoch;
use crate::scope::Scope;
use crate::spiffe::SpiffeId;

/// What sort of principal an identity is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Software that decides what to do next.
    Agent,
    /// A model that acts.
    Model,
    /// One step of a pipeline.
    PipelineStep,
    /// A long-running service.
    Service,
    /// A vendor's OAuth application or service principal.
    Connector,
}

impl Kind {
    /// The word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::Model => "model",
            Self::PipelineStep => "pipeline-step",
            Self::Service => "service",
            Self::Connector => "connector",
        }
    }
}

/// Where an identity is in its life: Proposed → Active ⇄ Suspended → Retired.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Lifecycle {
    /// Registered, not yet in use.
    Proposed,
    /// May be attested and hold credentials.
    Active,
    /// Holds nothing for now.
    Suspended,
    /// Ended for good; the name is never used again.
    Retired,
}

impl Lifecycle {
    /// Whether the step from here to `next` exists. Retired is terminal.
    pub const fn may_become(self, next: Self) -> bool {
        matches!(
            (self, next),
            (Self::Proposed, Self::Active | Self::Retired)
                | (Self::Active, Self::Suspended | Self::Retired)
                | (Self::Suspended, Self::Active | Self::Retired)
        )
    }

    /// The word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Proposed => "proposed",
            Self::Active => "active",
            Self::Suspended => "suspended",
            Self::Retired => "retired",
        }
    }
}

impl fmt::Display for Lifecycle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A registered non-human principal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    /// Its SPIFFE ID.
    pub id: SpiffeId,
    /// What sort of principal it is.
    pub kind: Kind,
    /// The accountable person (I8).
    pub owner: Option<PersonId>,
    /// What it is for.
    pub purpose: String,
    /// What must be observed of a process for it to be an instance; all of them.
    pub selectors: BTreeSet<Selector>,
    /// What a process that is several identities at once tells them apart by (Workload API §5.2.1). Only identities that
    /// each have a hint of their own may match one process together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// The nodes that may serve it, `server` being the server's own host; without any, that one alone.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub nodes: BTreeSet<NodeName>,
    /// The most it may ever hold.
    pub ceiling: Scope,
    /// Where it is in its life.
    pub state: Lifecycle,
    /// Credentials that carry an older epoch are dead (I4).
    pub epoch: Epoch,
}

impl Identity {
    /// This identity as the object of `delegate`.
    pub fn resource(&self) -> Option<ResourceId> {
        ResourceId::new(ResourceKind::Identity, self.id.short()).ok()
    }

    /// Whether a process of which `observed` is known may be an instance.
    ///
    /// An identity without selectors matches nothing (INVARIANT (I7 unknown is No)).
    pub fn matches(&self, observed: &BTreeSet<Selector>) -> bool {
        !self.selectors.is_empty() && self.selectors.is_subset(observed)
    }

    /// Whether a node, or without one the server's own host, may serve it.
    pub fn runs_on(&self, node: Option<&NodeName>) -> bool {
        match node {
            Some(node) => self.nodes.contains(node),
            None => self.nodes.is_empty() || self.nodes.iter().any(NodeName::is_server),
        }
    }
}
