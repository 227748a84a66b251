//! What is acted on, and the closed list of verbs.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::words::as_text;
use crate::{Digest, ParseError, PersonId};

/// The verb of a request, from a closed list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// Read data.
    Read,
    /// Write data.
    Write,
    /// Move data out.
    Export,
    /// Call a tool or a service.
    Invoke,
    /// Ask a model.
    Infer,
    /// Change a model.
    Retrain,
    /// Alter or release an output.
    Publish,
    /// Start a child task for another identity.
    Delegate,
    /// Have a credential issued.
    Issue,
}

impl Action {
    /// All nine verbs.
    pub const ALL: [Self; 9] = [
        Self::Read,
        Self::Write,
        Self::Export,
        Self::Invoke,
        Self::Infer,
        Self::Retrain,
        Self::Publish,
        Self::Delegate,
        Self::Issue,
    ];

    /// The verb as it is written everywhere.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Export => "export",
            Self::Invoke => "invoke",
            Self::Infer => "infer",
            Self::Retrain => "retrain",
            Self::Publish => "publish",
            Self::Delegate => "delegate",
            Self::Issue => "issue",
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Action {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let expected = "an action: read, write, export, invoke, infer, retrain, publish, delegate, issue";
        Self::ALL.into_iter().find(|a| a.as_str() == text).ok_or_else(|| ParseError::new(expected, text))
    }
}

/// What sort of thing a resource is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ResourceKind {
    /// Data with a sensitivity.
    Dataset,
    /// Something callable, with a risk.
    Tool,
    /// A model that is acted on.
    Model,
    /// A server that offers tools.
    Service,
    /// Something that was produced.
    Output,
    /// An identity, as the object of `delegate`.
    Identity,
    /// A credential class, as the object of `issue`.
    Credential,
}

impl ResourceKind {
    /// All kinds.
    pub const ALL: [Self; 7] =
        [Self::Dataset, Self::Tool, Self::Model, Self::Service, Self::Output, Self::Identity, Self::Credential];

    /// The word before the colon.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Dataset => "dataset",
            Self::Tool => "tool",
            Self::Model => "model",
            Self::Service => "service",
            Self::Output => "output",
            Self::Identity => "identity",
            Self::Credential => "credential",
        }
    }
}

/// Names a resource: `kind:name`, the name in segments of `[A-Za-z0-9._-]` divided by `/`, at most 256 bytes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ResourceId {
    kind: ResourceKind,
    name: String,
}

impl ResourceId {
    /// A resource of `kind` called `name`.
    pub fn new(kind: ResourceKind, name: &str) -> Result<Self, ParseError> {
        if name.len() > MAX_NAME || !name.split('/').all(is_segment) {
            return Err(ParseError::new("a resource name of segments of letters, digits, `.`, `_`, `-`", name));
        }
        Ok(Self { kind, name: name.to_owned() })
    }

    /// The kind.
    pub fn kind(&self) -> ResourceKind {
        self.kind
    }

    /// The name, without the kind.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl fmt::Display for ResourceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.kind.as_str(), self.name)
    }
}

impl fmt::Debug for ResourceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for ResourceId {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let error = || ParseError::new("a resource as `tool:crm/find_customer`", text);
        let (kind, name) = text.split_once(':').ok_or_else(error)?;
        let kind = ResourceKind::ALL.into_iter().find(|k| k.as_str() == kind).ok_or_else(error)?;
        Self::new(kind, name).map_err(|_| error())
    }
}

as_text!(ResourceId);

/// How much harm disclosure does, 0 to 3.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Sensitivity {
    /// May be known by anybody.
    #[default]
    Public,
    /// For the organisation.
    Internal,
    /// For those who need it.
    Confidential,
    /// The most harm: personal data, secrets.
    Restricted,
}

impl Sensitivity {
    /// 0 (public) to 3 (restricted).
    pub const fn level(self) -> i64 {
        self as i64
    }

    /// The word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Internal => "internal",
            Self::Confidential => "confidential",
            Self::Restricted => "restricted",
        }
    }
}

impl FromStr for Sensitivity {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        [Self::Public, Self::Internal, Self::Confidential, Self::Restricted]
            .into_iter()
            .find(|s| s.as_str() == text)
            .ok_or_else(|| ParseError::new("public, internal, confidential or restricted", text))
    }
}

/// How much harm a wrong call does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Risk {
    /// Reads only, nothing leaves.
    Low,
    /// Writes that can be undone.
    Medium,
    /// Destructive, or something leaves the organisation.
    High,
}

impl Risk {
    /// 0 (low) to 2 (high).
    pub const fn level(self) -> i64 {
        self as i64
    }
}

/// A registered resource and what policy may know of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Resource {
    /// Its name.
    pub id: ResourceId,
    /// What it is, for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// The sensitivity of the data it is or touches.
    #[serde(default)]
    pub sensitivity: Sensitivity,
    /// Whether it is or touches personal data.
    #[serde(default)]
    pub personal: bool,
    /// The risk of calling it. `None` is unclassified: every call is denied (I7).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub risk: Option<Risk>,
    /// Whether a call can move data out of the organisation.
    #[serde(default)]
    pub egress: bool,
    /// The datasets that a tool reads or writes.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub touches: BTreeSet<ResourceId>,
    /// The accountable person, where one is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<PersonId>,
    /// How a service is reached; services only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upstream: Option<Upstream>,
    /// The digest of a tool's definition as it was when registered (canonical JSON, SHA-256).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub definition: Option<Digest>,
}

impl Resource {
    /// A resource of which nothing is known but its name: what nobody registered, or an identity as the object of
    /// `delegate`.
    pub fn bare(id: ResourceId) -> Self {
        Self {
            id,
            description: String::new(),
            sensitivity: Sensitivity::default(),
            personal: false,
            risk: None,
            egress: false,
            touches: BTreeSet::new(),
            owner: None,
            upstream: None,
            definition: None,
        }
    }
}

/// Where a service's MCP server is, and the credential that the gateway gives it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum Upstream {
    /// An MCP server over streamable HTTP.
    Http {
        /// Its address, `http://` or `https://`.
        url: String,
        /// What to put into a request header.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        credential: Option<InjectedHeader>,
    },
    /// An MCP server that the gateway starts and speaks to over its standard streams.
    Stdio {
        /// The program.
        command: String,
        /// Its arguments.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        args: Vec<String>,
        /// Environment variables set from stored secrets: variable name to secret name.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        secrets: Vec<InjectedVariable>,
    },
}

/// A header that the gateway sets on requests to an upstream: the agent never sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InjectedHeader {
    /// The header's name, as `authorization`.
    pub header: String,
    /// What stands before the secret, as `Bearer `.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub prefix: String,
    /// The name of a secret stored with `marque secret set`.
    pub secret: String,
}

/// An environment variable of a started upstream that holds a secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InjectedVariable {
    /// The variable's name.
    pub variable: String,
    /// The name of a secret stored with `marque secret set`.
    pub secret: String,
}

pub(crate) fn is_segment(segment: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    !matches!(segment, "" | "." | "..") && segment.bytes().all(allowed)
}

pub(crate) const MAX_NAME: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resource_names_are_plain() {
        assert_eq!("tool:crm/find".parse::<ResourceId>().unwrap().to_string(), "tool:crm/find");
        for bad in ["tool", "tool:", "tool:/a", "tool:a/", "tool:a//b", "tool:../a", "what:a", "tool:a*", "tool:a b"] {
            assert!(bad.parse::<ResourceId>().is_err(), "{bad}");
        }
    }
}
