//! Tasks: the unit of authority. A task can only narrow on its way down, and every lease dies before its task.

use serde::{Deserialize, Serialize};

use crate::PersonId;
use crate::attestation::Instance;
use crate::elevation::Elevation;
use crate::event::Body;
use crate::id::{ElevationId, LeaseId, TaskId};
use crate::identity::{Identity, Lifecycle};
use crate::lease::{CredentialClass, Lease};
use crate::revocation::Epoch;
use crate::scope::{Grant, Scope};
use crate::spiffe::SpiffeId;
use crate::time::{Cx, Timestamp, Ttl};

/// The deepest chain of delegation; a root task has depth 0.
pub const MAX_DEPTH: u8 = 5;

/// No change without its event: the value after the change, and what goes into the log.
pub type Moved<T> = Result<(T, Body), TaskError>;

/// How much of something a task may use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Budget {
    /// The most tool calls; `None` is no bound of its own (a parent's bound holds all the same).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calls: Option<u64>,
}

/// A unit of work: who asked, which identity acts, why, within what bounds, until when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Task {
    /// Its identifier.
    pub id: TaskId,
    /// The task that delegated this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<TaskId>,
    /// Every task whose end ends this one, the root first; the parent is the last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lineage: Vec<TaskId>,
    /// The identity that acts.
    pub actor: SpiffeId,
    /// The person who asked; constant along a chain (I1).
    pub principal: PersonId,
    /// Why.
    pub purpose: String,
    /// What is allowed.
    pub scope: Scope,
    /// When it started.
    pub started: Timestamp,
    /// The deadline.
    pub expires: Timestamp,
    /// How far from the root.
    pub depth: u8,
    /// How much may be used.
    #[serde(default)]
    pub budget: Budget,
    /// The elevation whose approval started it. Such a task is for one call: it is not delegated and gives no lease (I5).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub elevation: Option<ElevationId>,
    /// The epoch at which it started (I4).
    pub epoch: Epoch,
}

/// What a new task is to be.
#[derive(Clone, Debug)]
pub struct Want {
    /// Why.
    pub purpose: String,
    /// What is asked for; `None` asks for all that may be had.
    pub scope: Option<Scope>,
    /// For how long.
    pub ttl: Ttl,
    /// How much may be used.
    pub budget: Budget,
}

/// Why a task was not started or a lease not given.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TaskError {
    /// More was asked for than the parent task holds (I1).
    #[error("`{0}` is wider than the parent task `{1}`")]
    WiderThanParent(Grant, TaskId),
    /// More was asked for than the identity's ceiling (I1).
    #[error("`{0}` is above the ceiling of `{1}`")]
    AboveCeiling(Grant, SpiffeId),
    /// More was asked for than the task holds (I2).
    #[error("`{0}` is wider than the task `{1}`")]
    WiderThanTask(Grant, TaskId),
    /// Nothing is left of what was asked for.
    #[error("nothing is left to grant to `{0}`")]
    Empty(SpiffeId),
    /// The identity is not active.
    #[error("`{0}` is {1}")]
    NotActive(SpiffeId, Lifecycle),
    /// The deadline has passed.
    #[error("task `{0}` has ended")]
    Ended(TaskId),
    /// The chain of delegation would be too deep.
    #[error("the chain would be deeper than {MAX_DEPTH}")]
    TooDeep,
    /// The instance is a copy of another identity.
    #[error("`{0}` may not hold a credential of task `{1}`")]
    WrongActor(SpiffeId, TaskId),
    /// The instance was launched for another task, which this one does not hang from.
    #[error("this process was launched for task `{0}`, and task `{1}` is not below it")]
    Outside(TaskId, TaskId),
    /// The task of an approval is for exactly one call.
    #[error("task `{0}` is for one approved call only")]
    OneCall(TaskId),
    /// A purpose must be given, in at most 500 characters.
    #[error("a purpose of 1 to 500 characters is needed")]
    Purpose,
}

impl Task {
    /// Starts a root task: `by` asks `actor` to do something.
    ///
    /// INVARIANT (I1 narrowing): the scope is at most the actor's ceiling.
    pub fn start(cx: &mut Cx<'_>, by: PersonId, actor: &Identity, want: Want, epoch: Epoch) -> Moved<Self> {
        let scope = narrowed(None, actor, want.scope)?;
        let task = Self {
            id: TaskId::fresh(cx),
            parent: None,
            lineage: Vec::new(),
            actor: actor.id.clone(),
            principal: by,
            purpose: checked_purpose(want.purpose)?,
            scope,
            started: cx.now,
            expires: cx.now.plus(want.ttl),
            depth: 0,
            budget: want.budget,
            elevation: None,
            epoch,
        };
        Ok((task.clone(), Body::TaskStarted { task }))
    }

    /// Starts a child task for the identity `to`.
    ///
    /// INVARIANT (I1 narrowing): `child.scope ⊑ self.scope ⊓ to.ceiling`, `child.expires ≤ self.expires`,
    /// `child.depth = self.depth + 1 ≤ MAX_DEPTH`, `child.principal = self.principal`.
    pub fn delegate(&self, cx: &mut Cx<'_>, to: &Identity, want: Want, epoch: Epoch) -> Moved<Self> {
        self.live_at(cx.now)?;
        self.not_elevated()?;
        let depth = self.depth.checked_add(1).filter(|d| *d <= MAX_DEPTH).ok_or(TaskError::TooDeep)?;
        let scope = narrowed(Some(self), to, want.scope)?;
        let task = Self {
            id: TaskId::fresh(cx),
            parent: Some(self.id),
            lineage: self.with_self(),
            actor: to.id.clone(),
            principal: self.principal.clone(),
            purpose: checked_purpose(want.purpose)?,
            scope,
            started: cx.now,
            expires: cx.now.plus(want.ttl).min(self.expires),
            depth,
            budget: want.budget,
            elevation: None,
            epoch,
        };
        Ok((task.clone(), Body::TaskStarted { task }))
    }

    /// Starts the task of an approved elevation: the approver's own, for exactly one grant, ending with this task.
    ///
    /// INVARIANT (I5 elevation never widens): this task is left as it is; the new one has the approver as its
    /// principal and this task in its lineage, so that revoking either ends it.
    pub(crate) fn elevate(
        &self,
        cx: &mut Cx<'_>,
        approver: PersonId,
        approved: &Elevation,
        grant: Grant,
        purpose: String,
        epoch: Epoch,
    ) -> Self {
        Self {
            id: TaskId::fresh(cx),
            parent: None,
            lineage: self.with_self(),
            actor: self.actor.clone(),
            principal: approver,
            purpose,
            scope: Scope::new([grant]),
            started: cx.now,
            expires: cx.now.plus(approved.needs.ttl).min(self.expires),
            depth: self.depth,
            budget: Budget { calls: Some(1) },
            elevation: Some(approved.id),
            epoch,
        }
    }

    /// Gives an instance of the actor a credential of this task. What was launched for a task gets those of that task and of what
    /// is below it, and of no other.
    ///
    /// INVARIANT (I2 leases die first): `lease.scope ⊑ self.scope`, `lease.expires ≤ min(self.expires, class maximum)`.
    pub fn lease(
        &self,
        cx: &mut Cx<'_>,
        to: &Instance,
        want: Option<Scope>,
        class: CredentialClass,
        ttl: Ttl,
        epoch: Epoch,
    ) -> Moved<Lease> {
        self.live_at(cx.now)?;
        self.not_elevated()?;
        if to.identity != self.actor {
            return Err(TaskError::WrongActor(to.identity.clone(), self.id));
        }
        if let Some(launched) = to.task.filter(|launched| *launched != self.id && !self.lineage.contains(launched)) {
            return Err(TaskError::Outside(launched, self.id));
        }
        let scope = match want {
            None => self.scope.clone(),
            Some(want) => match self.scope.first_beyond(&want) {
                Some(grant) => return Err(TaskError::WiderThanTask(grant.clone(), self.id)),
                None => want,
            },
        };
        let ttl = ttl.min(class.max_ttl());
        let expires = cx.now.plus(ttl).min(self.expires);
        let lease = Lease {
            id: LeaseId::fresh(cx),
            class,
            identity: self.actor.clone(),
            instance: to.id,
            holder: None,
            task: Some(self.id),
            scope,
            issued: cx.now,
            expires: to.attestation.until.map_or(expires, |until| expires.min(until)),
            handle: String::new(),
            binding: None,
            epoch,
        };
        Ok((lease.clone(), Body::LeaseIssued { lease }))
    }

    /// Whether the deadline has not passed.
    pub fn live_at(&self, now: Timestamp) -> Result<(), TaskError> {
        if now < self.expires { Ok(()) } else { Err(TaskError::Ended(self.id)) }
    }

    /// INVARIANT (I5 elevation never widens): what was approved is one call, made by the held task's own credential.
    fn not_elevated(&self) -> Result<(), TaskError> {
        if self.elevation.is_none() { Ok(()) } else { Err(TaskError::OneCall(self.id)) }
    }

    /// The lineage of a task that hangs below this one.
    fn with_self(&self) -> Vec<TaskId> {
        self.lineage.iter().copied().chain([self.id]).collect()
    }
}

/// The scope that a new task gets, or the grant that stands in its way.
fn narrowed(parent: Option<&Task>, actor: &Identity, want: Option<Scope>) -> Result<Scope, TaskError> {
    if actor.state != Lifecycle::Active {
        return Err(TaskError::NotActive(actor.id.clone(), actor.state));
    }
    let scope = match (want, parent) {
        (None, None) => actor.ceiling.clone(),
        (None, Some(parent)) => parent.scope.meet(&actor.ceiling),
        (Some(want), parent) => {
            if let Some(parent) = parent
                && let Some(grant) = parent.scope.first_beyond(&want)
            {
                return Err(TaskError::WiderThanParent(grant.clone(), parent.id));
            }
            if let Some(grant) = actor.ceiling.first_beyond(&want) {
                return Err(TaskError::AboveCeiling(grant.clone(), actor.id.clone()));
            }
            want
        }
    };
    if scope.is_empty() { Err(TaskError::Empty(actor.id.clone())) } else { Ok(scope) }
}

fn checked_purpose(purpose: String) -> Result<String, TaskError> {
    let length = purpose.trim().chars().count();
    if (1..=500).contains(&length) { Ok(purpose) } else { Err(TaskError::Purpose) }
}
