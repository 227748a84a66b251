//! The names of the kinds of events.

use super::Body;

impl Body {
    /// Every kind, as it is written.
    pub const KINDS: &'static [&'static str] = &[
        "log_started",
        "person_added",
        "identity_applied",
        "identity_moved",
        "resource_applied",
        "tool_pinned",
        "policy_file",
        "policy_activated",
        "instance_attested",
        "instance_ended",
        "attestation_refused",
        "node_token_made",
        "node_joined",
        "node_banned",
        "task_started",
        "task_finished",
        "lease_issued",
        "issue_refused",
        "decided",
        "settled",
        "elevation_requested",
        "elevation_voted",
        "elevation_approved",
        "elevation_refused",
        "elevation_expired",
        "artifact_attested",
        "ledger_read",
        "gap",
        "erased",
        "authority_stepped",
        "pruned",
        "revoked",
    ];

    /// The kind as it is written.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::LogStarted { .. } => "log_started",
            Self::PersonAdded { .. } => "person_added",
            Self::IdentityApplied { .. } => "identity_applied",
            Self::IdentityMoved { .. } => "identity_moved",
            Self::ResourceApplied { .. } => "resource_applied",
            Self::ToolPinned { .. } => "tool_pinned",
            Self::PolicyFile { .. } => "policy_file",
            Self::PolicyActivated { .. } => "policy_activated",
            Self::InstanceAttested { .. } => "instance_attested",
            Self::InstanceEnded { .. } => "instance_ended",
            Self::AttestationRefused { .. } => "attestation_refused",
            Self::NodeTokenMade { .. } => "node_token_made",
            Self::NodeJoined { .. } => "node_joined",
            Self::NodeBanned { .. } => "node_banned",
            Self::TaskStarted { .. } => "task_started",
            Self::TaskFinished { .. } => "task_finished",
            Self::LeaseIssued { .. } => "lease_issued",
            Self::IssueRefused { .. } => "issue_refused",
            Self::Decided(_) => "decided",
            Self::Settled { .. } => "settled",
            Self::ElevationRequested { .. } => "elevation_requested",
            Self::ElevationVoted { .. } => "elevation_voted",
            Self::ElevationApproved { .. } => "elevation_approved",
            Self::ElevationRefused { .. } => "elevation_refused",
            Self::ElevationExpired { .. } => "elevation_expired",
            Self::ArtifactAttested { .. } => "artifact_attested",
            Self::LedgerRead { .. } => "ledger_read",
            Self::Gap { .. } => "gap",
            Self::Erased { .. } => "erased",
            Self::AuthorityStepped { .. } => "authority_stepped",
            Self::Pruned { .. } => "pruned",
            Self::Revoked { .. } => "revoked",
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_kind_is_listed() {
        let error = serde_json::from_str::<Body>(r#"{"kind":"?"}"#).unwrap_err().to_string();
        // As "unknown variant `?`, expected one of `a`, `b`".
        let known: BTreeSet<&str> = error.split('`').skip(3).step_by(2).collect();
        assert_eq!(known, BTreeSet::from_iter(Body::KINDS.iter().copied()), "{error}");
        assert_eq!(known.len(), Body::KINDS.len(), "each once");
    }
}
