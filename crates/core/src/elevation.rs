//! Elevation: the explicit step between a held request and a person's yes.
//!
//! Pending → Approved | Refused | Expired | Cancelled, one terminal transition. An approval never widens a task: it
//! starts a new, time-boxed task for exactly the call that was held.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::decision::{Needs, Reason};
use crate::event::Body;
use crate::id::{ElevationId, InstanceId, TaskId};
use crate::resource::{Action, ResourceId, Sensitivity};
use crate::revocation::Epoch;
use crate::scope::Grant;
use crate::spiffe::SpiffeId;
use crate::task::Task;
use crate::time::{Cx, Timestamp, Ttl};
use crate::{Committed, Digest, PersonId};

/// How long people have to decide before a held request expires.
pub const TIME_TO_DECIDE: Ttl = Ttl::from_minutes(60);

/// The exact call that an approval is bound to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Call {
    /// Who acts.
    pub identity: SpiffeId,
    /// Under which task.
    pub task: TaskId,
    /// The verb.
    pub action: Action,
    /// On what.
    pub resource: ResourceId,
    /// The sensitivity of the data it touches.
    pub sensitivity: Sensitivity,
    /// SHA-256 of the canonical arguments.
    pub arguments: Committed,
    /// The digest of the tool's definition as it was when the call was held.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub definition: Option<Digest>,
}

/// Where an elevation stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "status")]
pub enum Status {
    /// Waiting for people.
    Pending,
    /// Approved: the task that it started.
    Approved {
        /// The approver's task, for exactly this call.
        task: TaskId,
    },
    /// A person said no.
    Refused {
        /// Who.
        by: PersonId,
    },
    /// Nobody decided in time.
    Expired,
}

impl Status {
    /// The word.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Approved { .. } => "approved",
            Self::Refused { .. } => "refused",
            Self::Expired => "expired",
        }
    }
}

/// A held request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Elevation {
    /// Its identifier.
    pub id: ElevationId,
    /// What is asked for, exactly.
    pub call: Call,
    /// Which copy of the identity asked.
    pub instance: InstanceId,
    /// What people must give.
    pub needs: Needs,
    /// Why it was held.
    pub reasons: Vec<Reason>,
    /// A short sight of the arguments for the approver, at most 2,000 characters.
    pub sight: String,
    /// People who may not approve: whoever asked for the task or owns an identity of its chain. Frozen at request.
    pub barred: BTreeSet<PersonId>,
    /// Who approved so far.
    pub votes: BTreeSet<PersonId>,
    /// When it was held.
    pub requested: Timestamp,
    /// When it expires if nobody decides.
    pub decide_by: Timestamp,
    /// Where it stands.
    pub status: Status,
    /// The epoch at which it was held (I4).
    pub epoch: Epoch,
}

/// Why a vote was not counted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ElevationError {
    /// It has been decided, or its time is over.
    #[error("elevation `{0}` is {1}")]
    NotPending(ElevationId, &'static str),
    /// The approver asked for the task or owns an identity in its chain.
    #[error("`{0}` asked for this task or owns an identity in it, so another person must approve")]
    Barred(PersonId),
    /// One approver, one vote.
    #[error("`{0}` has approved already")]
    Twice(PersonId),
}

/// What a vote did.
#[derive(Debug)]
pub enum Voted {
    /// More people must approve.
    Waiting(Box<Body>),
    /// That was the last vote: the new task and its two events, in order.
    Approved(Box<Task>, Vec<Body>),
}

impl Elevation {
    /// A person approves.
    ///
    /// INVARIANT (I5 elevation never widens): bound to the exact call, the approver is not in the requester's chain,
    /// one vote each, expiry beats approval, and what starts is a new task.
    pub fn approve(&self, cx: &mut Cx<'_>, by: &PersonId, held: &Task, epoch: Epoch) -> Result<Voted, ElevationError> {
        self.open_at(cx.now)?;
        if self.barred.contains(by) {
            return Err(ElevationError::Barred(by.clone()));
        }
        if self.votes.contains(by) {
            return Err(ElevationError::Twice(by.clone()));
        }
        let votes = u32::try_from(self.votes.len()).unwrap_or(u32::MAX).saturating_add(1);
        let vote = Body::ElevationVoted { elevation: self.id, by: by.clone() };
        if votes < self.needs.approvals {
            return Ok(Voted::Waiting(Box::new(vote)));
        }
        let grant = Grant::exactly(self.call.action, &self.call.resource, self.call.sensitivity);
        let purpose = format!("approved {}: {}", self.needs.elevations.join(", "), held.purpose).chars().take(500).collect();
        let task = held.elevate(cx, by.clone(), self, grant, purpose, epoch);
        let approved = Body::ElevationApproved { elevation: self.id, by: by.clone(), task: task.clone() };
        Ok(Voted::Approved(Box::new(task), vec![vote, approved]))
    }

    /// A person says no: final. INVARIANT (I5 elevation never widens): denial wins.
    pub fn refuse(&self, now: Timestamp, by: &PersonId, why: &str) -> Result<Body, ElevationError> {
        self.open_at(now)?;
        Ok(Body::ElevationRefused { elevation: self.id, by: by.clone(), why: why.chars().take(500).collect() })
    }

    fn open_at(&self, now: Timestamp) -> Result<(), ElevationError> {
        if self.status != Status::Pending {
            return Err(ElevationError::NotPending(self.id, self.status.as_str()));
        }
        if now >= self.decide_by {
            return Err(ElevationError::NotPending(self.id, "expired"));
        }
        Ok(())
    }
}
