//! Findings: something wrong in the inventory, with what proves it.

use std::fmt;

use serde::Serialize;

use crate::identity::Lifecycle;
use crate::resource::ResourceKind;
use crate::revocation::Target;
use crate::state::State;

/// What is wrong.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Problem {
    /// An identity without an owner who is known here (I8).
    NoOwner,
    /// An identity that no process can be attested as.
    NoSelectors,
    /// A tool without a risk: every call of it is refused (I7).
    Unclassified,
    /// A grant of a ceiling that matches no registered resource.
    DanglingGrant,
}

/// Something wrong in the inventory.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Finding {
    /// What is wrong.
    pub problem: Problem,
    /// With what.
    pub subject: String,
    /// In words.
    pub text: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.subject, self.text)
    }
}

/// All findings of a state, in order.
///
/// INVARIANT (I8 every identity has an owner): an identity without a live owner is always among them.
pub fn findings(state: &State) -> Vec<Finding> {
    let mut found = Vec::new();
    for identity in state.identities.values().filter(|i| i.state != Lifecycle::Retired) {
        let subject = identity.id.to_string();
        match &identity.owner {
            Some(owner) if state.revocations.contains_key(&Target::Owner(owner.clone())) => found.push(Finding {
                problem: Problem::NoOwner,
                subject: subject.clone(),
                text: format!("its owner `{owner}` was revoked"),
            }),
            Some(owner) if state.people.contains_key(owner) => {}
            Some(owner) => found.push(Finding {
                problem: Problem::NoOwner,
                subject: subject.clone(),
                text: format!("its owner `{owner}` is not a person known here"),
            }),
            None => found.push(Finding { problem: Problem::NoOwner, subject: subject.clone(), text: "it has no owner".into() }),
        }
        if identity.selectors.is_empty() {
            found.push(Finding {
                problem: Problem::NoSelectors,
                subject: subject.clone(),
                text: "it has no selectors, so nothing is attested as it".into(),
            });
        }
        for grant in identity.ceiling.grants() {
            let names_something = state.resources.keys().any(|r| grant.pattern().matches(r))
                || state.identities.values().filter_map(|i| i.resource()).any(|r| grant.pattern().matches(&r));
            if !names_something {
                found.push(Finding {
                    problem: Problem::DanglingGrant,
                    subject: subject.clone(),
                    text: format!("its ceiling grants `{grant}`, which matches nothing registered"),
                });
            }
        }
    }
    for resource in state.resources.values().filter(|r| r.id.kind() == ResourceKind::Tool && r.risk.is_none()) {
        found.push(Finding {
            problem: Problem::Unclassified,
            subject: resource.id.to_string(),
            text: "it has no risk, so every call is refused".into(),
        });
    }
    found.sort();
    found
}
