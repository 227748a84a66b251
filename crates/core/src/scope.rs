//! Scope: a set of grants, ordered by what it covers. A lattice with `covers` (⊒) and `meet` (⊓), and no union:
//! authority can only narrow.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::ParseError;
use crate::resource::{Action, MAX_NAME, ResourceId, ResourceKind, Sensitivity, is_segment};
use crate::words::as_text;

/// Which resources a grant speaks of: one, or all below a prefix.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pattern {
    kind: ResourceKind,
    /// The name, or what stands before the closing `*`.
    prefix: String,
    wildcard: bool,
}

impl Pattern {
    /// The pattern that only `resource` matches.
    pub fn exactly(resource: &ResourceId) -> Self {
        Self { kind: resource.kind(), prefix: resource.name().to_owned(), wildcard: false }
    }

    /// Whether `resource` is one of those meant.
    pub fn matches(&self, resource: &ResourceId) -> bool {
        self.covers(&Self::exactly(resource))
    }

    /// Whether all that `other` means is meant here too.
    pub fn covers(&self, other: &Self) -> bool {
        self.kind == other.kind
            && if self.wildcard { other.prefix.starts_with(&self.prefix) } else { !other.wildcard && self.prefix == other.prefix }
    }

    /// What both mean. Patterns are nested or disjoint, so it is the narrower of the two, or nothing.
    fn meet(&self, other: &Self) -> Option<Self> {
        if self.covers(other) {
            Some(other.clone())
        } else if other.covers(self) {
            Some(self.clone())
        } else {
            None
        }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}{}", self.kind.as_str(), self.prefix, if self.wildcard { "*" } else { "" })
    }
}

impl FromStr for Pattern {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let error = || ParseError::new("a resource or a prefix as `tool:crm/*`", text);
        let (kind, name) = text.split_once(':').ok_or_else(error)?;
        let kind = ResourceKind::ALL.into_iter().find(|k| k.as_str() == kind).ok_or_else(error)?;
        if name.len() > MAX_NAME {
            return Err(error());
        }
        // A wildcard stands for whole segments: `crm/*` or `*`, never `cr*`.
        let (prefix, wildcard) = match name.strip_suffix('*') {
            Some(prefix) => (prefix, true),
            None => (name, false),
        };
        let segments = if wildcard { prefix.strip_suffix('/') } else { Some(prefix) };
        let good = match segments {
            Some(segments) => segments.split('/').all(is_segment),
            None => prefix.is_empty(),
        };
        if good { Ok(Self { kind, prefix: prefix.to_owned(), wildcard }) } else { Err(error()) }
    }
}

/// Actions on resources, up to a sensitivity. Written `invoke,read:tool:crm/*;sensitivity=internal`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Grant {
    actions: BTreeSet<Action>,
    pattern: Pattern,
    /// The most sensitive data that may be touched; without a bound, restricted.
    sensitivity: Sensitivity,
}

impl Grant {
    /// The grant of one action on one resource, at a sensitivity: what a single request asks for.
    pub fn exactly(action: Action, resource: &ResourceId, sensitivity: Sensitivity) -> Self {
        Self { actions: BTreeSet::from([action]), pattern: Pattern::exactly(resource), sensitivity }
    }

    /// The actions.
    pub fn actions(&self) -> &BTreeSet<Action> {
        &self.actions
    }

    /// The resources.
    pub fn pattern(&self) -> &Pattern {
        &self.pattern
    }

    /// The most sensitive data that may be touched.
    pub fn sensitivity(&self) -> Sensitivity {
        self.sensitivity
    }

    fn covers_for(&self, action: Action, other: &Self) -> bool {
        self.actions.contains(&action) && self.pattern.covers(&other.pattern) && self.sensitivity >= other.sensitivity
    }

    fn meet(&self, other: &Self) -> Option<Self> {
        let actions: BTreeSet<Action> = self.actions.intersection(&other.actions).copied().collect();
        let pattern = self.pattern.meet(&other.pattern)?;
        (!actions.is_empty()).then(|| Self { actions, pattern, sensitivity: self.sensitivity.min(other.sensitivity) })
    }
}

impl fmt::Display for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, action) in self.actions.iter().enumerate() {
            write!(f, "{}{action}", if i == 0 { "" } else { "," })?;
        }
        write!(f, ":{}", self.pattern)?;
        if self.sensitivity < Sensitivity::Restricted {
            write!(f, ";sensitivity={}", self.sensitivity.as_str())?;
        }
        Ok(())
    }
}

impl FromStr for Grant {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let error = || ParseError::new("a grant as `invoke:tool:crm/*` or `read,write:dataset:crm;sensitivity=internal`", text);
        let (body, bound) = match text.split_once(';') {
            Some((body, bound)) => (body, Some(bound)),
            None => (text, None),
        };
        let (actions, pattern) = body.split_once(':').ok_or_else(error)?;
        let actions: BTreeSet<Action> = actions.split(',').map(str::parse).collect::<Result<_, _>>()?;
        let sensitivity = match bound.map(|b| b.strip_prefix("sensitivity=").ok_or_else(error)) {
            Some(word) => word?.parse()?,
            None => Sensitivity::Restricted,
        };
        Ok(Self { actions, pattern: pattern.parse()?, sensitivity })
    }
}

as_text!(Grant);

/// What a task, a ceiling or a credential allows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Scope(BTreeSet<Grant>);

impl Scope {
    /// The scope of these grants.
    pub fn new(grants: impl IntoIterator<Item = Grant>) -> Self {
        Self(grants.into_iter().collect())
    }

    /// The grants.
    pub fn grants(&self) -> impl Iterator<Item = &Grant> {
        self.0.iter()
    }

    /// Whether nothing is granted.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether all that `other` grants is granted here (`self ⊒ other`).
    ///
    /// Conservative: each action of each grant must be covered by one grant, never by several together.
    pub fn covers(&self, other: &Self) -> bool {
        self.first_beyond(other).is_none()
    }

    /// The first grant of `other` that is not covered here, for messages.
    pub fn first_beyond<'a>(&self, other: &'a Self) -> Option<&'a Grant> {
        other.0.iter().find(|g| !g.actions.iter().all(|a| self.0.iter().any(|h| h.covers_for(*a, g))))
    }

    /// Whether `action` on `resource`, which touches data of `sensitivity`, is granted.
    pub fn allows(&self, action: Action, resource: &ResourceId, sensitivity: Sensitivity) -> bool {
        self.0.iter().any(|g| g.actions.contains(&action) && g.sensitivity >= sensitivity && g.pattern.matches(resource))
    }

    /// The most that both grant (`self ⊓ other`).
    #[must_use]
    pub fn meet(&self, other: &Self) -> Self {
        Self(self.0.iter().flat_map(|a| other.0.iter().filter_map(|b| a.meet(b))).collect())
    }
}

impl fmt::Display for Scope {
    /// Grants divided by spaces: the form of OAuth's `scope` (RFC 6749 §3.3).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, grant) in self.0.iter().enumerate() {
            write!(f, "{}{grant}", if i == 0 { "" } else { " " })?;
        }
        Ok(())
    }
}

impl FromStr for Scope {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        text.split_whitespace().map(str::parse).collect::<Result<BTreeSet<_>, _>>().map(Self)
    }
}
