//! Who can, and what can an identity: asked of the same policies as every call.

use marque_core::finding::{Finding, findings};
use marque_core::resource::{Action, ResourceId};
use marque_policy::Access;

use crate::error::{EngineError, Result};
use crate::open::Engine;
use crate::tasks::identity;

impl Engine {
    /// The identities that may `action` on `resource`, at once or with approval.
    pub fn who_can(&self, action: Action, resource: &ResourceId) -> Result<Vec<Access>> {
        let state = self.state();
        let known =
            state.resources.contains_key(resource) || state.identities.values().any(|i| i.resource().as_ref() == Some(resource));
        if !known {
            return Err(EngineError::not_found("resource", resource));
        }
        Ok(self.policy.load().who_can(&state, action, resource))
    }

    /// Everything that an identity may do, at once or with approval.
    pub fn can(&self, name: &str) -> Result<Vec<Access>> {
        let id = self.identity_named(name)?;
        let state = self.state();
        Ok(self.policy.load().can(&state, identity(&state, &id)?))
    }

    /// What is wrong in the inventory.
    pub fn findings(&self) -> Vec<Finding> {
        findings(&self.state())
    }
}
