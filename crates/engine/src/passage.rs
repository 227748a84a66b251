//! Passages: the right to a protocol's own messages, by which no action happens.

use marque_core::id::{InstanceId, LeaseId, TaskId};
use marque_core::resource::{ResourceId, ResourceKind, Upstream};

use crate::error::{EngineError, Result};
use crate::open::Engine;

/// The right to exchange a protocol's own messages with a service: to open a session, to ask for its list of tools. No
/// action happens by it.
#[derive(Clone, Copy, Debug)]
pub struct Passage {
    lease: LeaseId,
    task: TaskId,
    instance: InstanceId,
}

impl Passage {
    /// Whose it is: the instance and the task, for binding sessions.
    pub fn holder(&self) -> (InstanceId, TaskId) {
        (self.instance, self.task)
    }

    /// Whether nothing that it hangs from has been revoked since.
    pub fn alive(&self, engine: &Engine) -> bool {
        let now = engine.now();
        engine.state().check_lease(self.lease, now).is_ok()
    }
}

impl Engine {
    /// A passage to `service` for a live credential whose task grants something there: the service, or one of its tools.
    pub fn passage(&self, lease: LeaseId, service: &ResourceId) -> Result<Passage> {
        let now = self.now();
        let state = self.state();
        let lease = state.check_lease(lease, now)?;
        let no_task = || EngineError::Forbidden("this credential is of no task and allows nothing".into());
        let task = lease.task.ok_or_else(no_task)?;
        let below = format!("{}/", service.name());
        let here = |id: &&ResourceId| *id == service || (id.kind() == ResourceKind::Tool && id.name().starts_with(&below));
        let granted = |id: &ResourceId| lease.scope.grants().any(|g| g.pattern().matches(id));
        if !state.resources.keys().filter(here).any(granted) {
            return Err(EngineError::Forbidden(format!("the task grants nothing on `{service}`")));
        }
        Ok(Passage { lease: lease.id, task, instance: lease.instance })
    }

    /// How a registered service is reached.
    pub fn upstream(&self, service: &ResourceId) -> Option<Upstream> {
        self.state().resources.get(service)?.upstream.clone()
    }
}
