//! Approving and refusing held requests.

use marque_core::elevation::{Elevation, Status, Voted};
use marque_core::event::Body;
use marque_core::id::ElevationId;
use marque_core::state::State;
use marque_core::task::Task;
use serde::{Deserialize, Serialize};

use crate::caller::Caller;
use crate::error::{EngineError, Result};
use crate::open::Engine;

/// What a vote did.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ElevationView {
    /// The elevation as it is now.
    pub elevation: Elevation,
    /// The task that its approval started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<Task>,
}

impl Engine {
    /// A person approves a held request.
    pub async fn approve(&self, by: &Caller, id: ElevationId) -> Result<ElevationView> {
        let person = by.person()?.clone();
        let task = self
            .commit(by.by(), |state, cx| {
                let elevation = elevation(state, id)?;
                let held = state.check_task(elevation.call.task, cx.now)?;
                Ok(match elevation.approve(cx, &person, held, state.epoch)? {
                    Voted::Waiting(vote) => (None, vec![*vote]),
                    Voted::Approved(task, events) => (Some(*task), events),
                })
            })
            .await?;
        Ok(ElevationView { elevation: elevation(&self.state(), id)?.clone(), task })
    }

    /// A person refuses a held request, for good.
    pub async fn refuse(&self, by: &Caller, id: ElevationId, why: &str) -> Result<ElevationView> {
        let person = by.person()?.clone();
        self.commit(by.by(), |state, cx| Ok(((), vec![elevation(state, id)?.refuse(cx.now, &person, why)?]))).await?;
        Ok(ElevationView { elevation: elevation(&self.state(), id)?.clone(), task: None })
    }

    /// Expires what nobody decided in time.
    pub(crate) async fn expire_elevations(&self) -> Result<()> {
        let now = self.now();
        let over = |e: &&Elevation| e.status == Status::Pending && now >= e.decide_by;
        if !self.state().elevations.values().any(|e| over(&e)) {
            return Ok(());
        }
        self.commit(marque_core::event::By::System, |state, _| {
            let expired = state.elevations.values().filter(over).map(|e| Body::ElevationExpired { elevation: e.id });
            Ok(((), expired.collect()))
        })
        .await
    }
}

fn elevation(state: &State, id: ElevationId) -> Result<&Elevation> {
    state.elevations.get(&id).ok_or_else(|| EngineError::not_found("elevation", id))
}
