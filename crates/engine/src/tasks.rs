//! Starting, delegating and finishing tasks.

use marque_core::PersonId;
use marque_core::event::Body;
use marque_core::id::TaskId;
use marque_core::identity::Identity;
use marque_core::scope::Scope;
use marque_core::spiffe::SpiffeId;
use marque_core::state::State;
use marque_core::task::{Budget, Task, Want};
use marque_core::time::Ttl;
use serde::{Deserialize, Serialize};

use crate::caller::Caller;
use crate::error::{EngineError, Result};
use crate::open::Engine;

/// What a person asks a task to be.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TaskRequest {
    /// The identity that is to act: a SPIFFE ID, or its path.
    pub identity: String,
    /// Why.
    pub purpose: String,
    /// What is allowed; without it, all that the identity may ever do.
    #[serde(default)]
    pub scope: Option<Scope>,
    /// For how many seconds; an hour without it.
    #[serde(default)]
    pub ttl: Option<Ttl>,
    /// The most tool calls.
    #[serde(default)]
    pub calls: Option<u64>,
}

/// How long a task lives when nobody says.
const DEFAULT_TTL: Ttl = Ttl::from_minutes(60);

/// The longest that a task may live.
const MAX_TTL: Ttl = Ttl::from_minutes(7 * 24 * 60);

impl Engine {
    /// Starts a root task: the caller asks an identity to do something.
    pub async fn start_task(&self, by: &Caller, request: TaskRequest) -> Result<Task> {
        let person: PersonId = by.person()?.clone();
        let actor = self.identity_named(&request.identity)?;
        let want = Want {
            purpose: request.purpose,
            scope: request.scope,
            ttl: request.ttl.unwrap_or(DEFAULT_TTL).min(MAX_TTL),
            budget: Budget { calls: request.calls },
        };
        self.commit(by.by(), |state, cx| {
            let identity = identity(state, &actor)?;
            let (task, event) = Task::start(cx, person, identity, want, state.epoch)?;
            Ok((task, vec![event]))
        })
        .await
    }

    /// Finishes a task before its deadline, with all tasks below it.
    pub async fn finish_task(&self, by: &Caller, task: TaskId) -> Result<()> {
        by.person()?;
        self.commit(by.by(), |state, _| {
            if !state.tasks.contains_key(&task) {
                return Err(EngineError::not_found("task", task));
            }
            Ok(((), vec![Body::TaskFinished { task }]))
        })
        .await?;
        self.ended.send_modify(|n| *n = n.wrapping_add(1));
        Ok(())
    }

    /// The SPIFFE ID that a person means by `name`: whole, or the path of one in this trust domain.
    pub fn identity_named(&self, name: &str) -> Result<SpiffeId> {
        let id = if name.starts_with("spiffe://") { name.parse()? } else { self.trust_domain.join(&format!("/{name}"))? };
        let known = self.state().identities.contains_key(&id);
        known.then_some(id).ok_or_else(|| EngineError::not_found("identity", name))
    }
}

pub(crate) fn identity<'a>(state: &'a State, id: &SpiffeId) -> Result<&'a Identity> {
    state.identities.get(id).ok_or_else(|| EngineError::not_found("identity", id))
}
