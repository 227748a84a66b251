//! The kinds of events, and what is known of each kind.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::artifact::Artifact;
use crate::attestation::{Instance, Selector};
use crate::elevation::Elevation;
use crate::id::{ElevationId, InstanceId, ObserverId, RecordId, TaskId};
use crate::identity::{Identity, Lifecycle};
use crate::lease::Lease;
use crate::node::{Admission, NodeName};
use crate::record::{Decided, Outcome};
use crate::resource::{Resource, ResourceId};
use crate::revocation::{Epoch, Target};
use crate::spiffe::{SpiffeId, TrustDomain};
use crate::task::Task;
use crate::time::Timestamp;
use crate::{Digest, PersonId};

/// A step in the life of a signing key (SPIFFE Federation §4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AuthorityStep {
    /// Made and published; it issues nothing yet.
    Prepared,
    /// It issues; the one before it retired.
    Activated,
    /// It is used no longer, and what it issued is issued anew.
    Tainted,
    /// It is out of the bundle: nothing that it issued counts.
    Revoked,
    /// All that it issued has ended.
    Forgotten,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Body {
    /// The log began.
    LogStarted {
        /// The trust domain whose log this is.
        trust_domain: TrustDomain,
    },
    /// A person became known.
    PersonAdded {
        /// Who.
        person: PersonId,
        /// SHA-256 of the person's bootstrap credential; 256 random bits, so that the digest gives nothing away.
        credential: Digest,
    },
    /// An identity was registered or changed.
    IdentityApplied {
        /// As it is now.
        identity: Identity,
    },
    /// An identity took a step of its life.
    IdentityMoved {
        /// Which.
        identity: SpiffeId,
        /// Where to.
        to: Lifecycle,
        /// Why.
        why: String,
    },
    /// A resource was registered or changed.
    ResourceApplied {
        /// As it is now.
        resource: Resource,
    },
    /// A tool's definition was seen and registered.
    ToolPinned {
        /// Which tool.
        tool: ResourceId,
        /// The digest of its definition.
        definition: Digest,
    },
    /// A policy file was registered.
    PolicyFile {
        /// Its name.
        name: String,
        /// Its text.
        text: String,
    },
    /// The policy files in force from here on.
    PolicyActivated {
        /// Their names, in order.
        files: Vec<String>,
        /// The digest over names and texts.
        digest: Digest,
    },
    /// A process was attested.
    InstanceAttested {
        /// What it is.
        instance: Instance,
    },
    /// A process ended.
    InstanceEnded {
        /// Which.
        instance: InstanceId,
    },
    /// A process asked for an identity and got none.
    AttestationRefused {
        /// Why, with the selectors that were seen.
        why: String,
    },
    /// A node may join.
    NodeTokenMade {
        /// Which.
        node: NodeName,
        /// SHA-256 of its join token; 256 random bits, so that the digest gives nothing away.
        token: Digest,
        /// Until when the token admits.
        expires: Timestamp,
    },
    /// A node was admitted, or its SVID renewed.
    NodeJoined {
        /// Which.
        node: NodeName,
        /// How it proved that it is.
        how: Admission,
        /// What is known of it by that.
        selectors: BTreeSet<Selector>,
        /// The serial number of the X.509-SVID that it was given.
        certificate: String,
        /// Until when that counts.
        expires: Timestamp,
    },
    /// A node was banned, for good: its SVIDs count no longer, nor does any copy that it attested.
    NodeBanned {
        /// Which.
        node: NodeName,
        /// Why.
        why: String,
    },
    /// A task started.
    TaskStarted {
        /// The task.
        task: Task,
    },
    /// A task was finished before its deadline.
    TaskFinished {
        /// Which.
        task: TaskId,
    },
    /// A credential was issued.
    LeaseIssued {
        /// The lease, without any secret.
        lease: Lease,
    },
    /// A request for authority was refused before it came to a decision on a resource: a token exchange that widens.
    IssueRefused {
        /// Of whom.
        identity: SpiffeId,
        /// Why.
        why: String,
    },
    /// An action was decided (I3: before it happens).
    Decided(Box<Decided>),
    /// An action ended.
    Settled {
        /// Which.
        record: RecordId,
        /// For whom it was.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        principal: Option<PersonId>,
        /// How.
        outcome: Outcome,
    },
    /// A request was held.
    ElevationRequested {
        /// The elevation.
        elevation: Box<Elevation>,
    },
    /// A person approved.
    ElevationVoted {
        /// Which elevation.
        elevation: ElevationId,
        /// Who.
        by: PersonId,
    },
    /// Enough people approved.
    ElevationApproved {
        /// Which elevation.
        elevation: ElevationId,
        /// The last of them, who is the new task's principal.
        by: PersonId,
        /// The task that it starts.
        task: Task,
    },
    /// A person said no.
    ElevationRefused {
        /// Which elevation.
        elevation: ElevationId,
        /// Who.
        by: PersonId,
        /// Why.
        why: String,
    },
    /// Nobody decided in time.
    ElevationExpired {
        /// Which elevation.
        elevation: ElevationId,
    },
    /// A file was bound to the task that made it.
    ArtifactAttested {
        /// The file and what it was made from.
        artifact: Artifact,
    },
    /// Somebody read the log.
    LedgerRead {
        /// What was asked.
        query: String,
        /// How many entries were shown.
        rows: u64,
    },
    /// Events of an observer are missing: it numbered them, and they never came.
    Gap {
        /// Whose.
        observer: ObserverId,
        /// The first number that is missing.
        from: u64,
        /// The last.
        to: u64,
    },
    /// A person's data was erased: their name, and the keys of everything that was recorded for them.
    Erased {
        /// Who; in the log, and everywhere from then on, the pseudonym.
        person: PersonId,
        /// The pseudonym.
        pseudonym: PersonId,
    },
    /// A signing key of the trust domain took a step of its life.
    AuthorityStepped {
        /// Which step.
        step: AuthorityStep,
        /// What the key signs: `x509`, `jwt` or `wit`.
        signs: String,
        /// Its name; empty where it was made by this step.
        authority: String,
        /// The sequence of the bundle after it.
        sequence: u64,
        /// Why.
        why: String,
    },
    /// The contents of old entries were let go; their hashes stay.
    Pruned {
        /// Entries below this index.
        below: u64,
        /// The rule that says so.
        policy: String,
    },
    /// Something was revoked.
    Revoked {
        /// What.
        target: Target,
        /// The epoch of this revocation.
        epoch: Epoch,
        /// Why.
        why: String,
    },
}

impl Body {
    /// Whether authority depends on it: such an event is applied before its writer is answered.
    pub const fn bears_state(&self) -> bool {
        !matches!(
            self,
            Self::Settled { .. }
                | Self::AttestationRefused { .. }
                | Self::IssueRefused { .. }
                | Self::ArtifactAttested { .. }
                | Self::LedgerRead { .. }
                | Self::Gap { .. }
                | Self::AuthorityStepped { .. }
                | Self::Pruned { .. }
        )
    }

    /// Whether it must be replayed at start. Decisions are counted by the views instead.
    pub const fn is_replayed(&self) -> bool {
        self.bears_state() && !matches!(self, Self::Decided(_))
    }

    /// Where the content that an event carries stands, as JSON pointers from `what` (RFC 6901) in which `*` is every
    /// element, and `word*` every text among them that begins with the word. In the log's entry a commitment stands there
    /// instead; see `store::vault`.
    pub fn private_fields(&self) -> &'static [&'static str] {
        match self {
            Self::TaskStarted { .. } | Self::ElevationApproved { .. } => &["/task/purpose"],
            Self::InstanceAttested { .. } => MEASURED,
            // A refusal says what was seen, and so what was measured.
            Self::AttestationRefused { why } if Selector::MEASURED.iter().any(|begin| why.contains(begin)) => &["/why"],
            Self::Decided(decided) if decided.is_correlation_plain() => DECIDED,
            Self::Decided(_) => DECIDED_AND_CORRELATION,
            Self::Settled { .. } => &[
                "/outcome/response",
                "/outcome/contents/*/at",
                "/outcome/contents/*/exact",
                "/outcome/contents/*/normalised",
                "/outcome/contents/*/prints",
            ],
            Self::ElevationRequested { .. } => &["/elevation/call/arguments", "/elevation/sight"],
            Self::ElevationRefused { .. }
            | Self::Revoked { .. }
            | Self::IdentityMoved { .. }
            | Self::NodeBanned { .. }
            | Self::AuthorityStepped { .. } => &["/why"],
            Self::ArtifactAttested { .. } => &["/artifact/name", "/artifact/content", "/artifact/inputs/*"],
            Self::LedgerRead { .. } => &["/query"],
            _ => &[],
        }
    }
}

/// Those of [`Selector::MEASURED`].
const MEASURED: &[&str] =
    &["/instance/attestation/selectors/launched:argv_sha256:*", "/instance/attestation/selectors/launched:artifact_sha256:*"];

const DECIDED: &[&str] =
    &["/request", "/arguments", "/intent", "/contents/*/at", "/contents/*/exact", "/contents/*/normalised", "/contents/*/prints"];

const DECIDED_AND_CORRELATION: &[&str] = &[
    "/correlation",
    "/request",
    "/arguments",
    "/intent",
    "/contents/*/at",
    "/contents/*/exact",
    "/contents/*/normalised",
    "/contents/*/prints",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_was_measured_is_private() {
        let fields = Selector::MEASURED.map(|begin| format!("/instance/attestation/selectors/{begin}*"));
        assert_eq!(MEASURED, fields);
        assert_eq!(DECIDED_AND_CORRELATION.split_first(), Some((&"/correlation", DECIDED)));
        for (why, fields) in [("saw unix:uid:7", 0), ("saw launched:argv_sha256:09 unix:uid:7", 1)] {
            assert_eq!(Body::AttestationRefused { why: why.into() }.private_fields().len(), fields, "{why}");
        }
    }
}
