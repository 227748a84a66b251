//! Decisions: allow, deny or hold, always with reasons.

use serde::{Deserialize, Serialize};

use crate::time::Ttl;

/// Why a decision fell: the rule, and what it says.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reason {
    /// The policy's `@id`, or a built-in rule's name.
    pub policy: String,
    /// One sentence for people and agents.
    pub text: String,
    /// Where the policy stands, as `baseline.cedar:12`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
}

impl Reason {
    /// A reason of a rule that is built in.
    pub fn built_in(policy: &str, text: impl Into<String>) -> Self {
        Self { policy: policy.to_owned(), text: text.into(), at: None }
    }
}

/// What a person must give before a held request may go on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Needs {
    /// The names of the soft rules that hold it (`@elevation`), all of which an approval discharges.
    pub elevations: Vec<String>,
    /// How many people must approve: the most that any of the rules demands.
    pub approvals: u32,
    /// How long the approval may be used: the shortest that any of the rules allows.
    pub ttl: Ttl,
}

/// The answer to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It may happen.
    Allow {
        /// The permits that say so.
        by: Vec<Reason>,
    },
    /// It may not happen.
    Deny {
        /// What forbids it, or that nothing permits it.
        by: Vec<Reason>,
    },
    /// It may happen if a person says so.
    Hold {
        /// The soft rules that hold it.
        by: Vec<Reason>,
        /// What the person must give.
        needs: Needs,
    },
}

impl Decision {
    /// A denial by a built-in rule.
    pub fn deny(policy: &str, text: impl Into<String>) -> Self {
        Self::Deny { by: vec![Reason::built_in(policy, text)] }
    }

    /// The reasons, whatever the answer.
    pub fn reasons(&self) -> &[Reason] {
        match self {
            Self::Allow { by } | Self::Deny { by } | Self::Hold { by, .. } => by,
        }
    }

    /// The answer without its reasons.
    pub const fn effect(&self) -> Effect {
        match self {
            Self::Allow { .. } => Effect::Allow,
            Self::Deny { .. } => Effect::Deny,
            Self::Hold { .. } => Effect::Hold,
        }
    }
}

/// The answer of a decision, as it is written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Effect {
    /// Allowed.
    Allow,
    /// Denied.
    Deny,
    /// Held for a person.
    Hold,
}

impl Effect {
    /// The word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
            Self::Hold => "hold",
        }
    }
}
