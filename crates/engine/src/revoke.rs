//! Revocation: one event, whatever hangs below it.

use std::collections::BTreeSet;

use marque_core::event::Body;
use marque_core::identity::Lifecycle;
use marque_core::lease::CredentialClass;
use marque_core::revocation::{Epoch, Target};
use marque_core::spiffe::SpiffeId;
use marque_core::state::State;
use marque_core::time::Timestamp;
use serde::{Deserialize, Serialize};

use crate::caller::Caller;
use crate::error::{EngineError, Result};
use crate::open::Engine;

/// What a revocation ended, counted right after it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revoked {
    /// What was revoked.
    pub target: Target,
    /// Its epoch.
    pub epoch: Epoch,
    /// Tasks that ended with it.
    pub tasks: usize,
    /// Credentials that ended with it, by class.
    pub leases: std::collections::BTreeMap<CredentialClass, usize>,
    /// Identities that are suspended by it.
    pub suspended: BTreeSet<SpiffeId>,
}

impl Engine {
    /// Revokes a target with everything below it. Once this returns, nothing that hung from it is accepted again: not
    /// by the gateway, not by the token endpoint, not by `ValidateJWTSVID`; streams under way are cut.
    ///
    /// INVARIANT (I4 revocation is monotone): each revocation takes the next epoch, in the log's order.
    pub async fn revoke(&self, by: &Caller, target: Target, why: &str) -> Result<Revoked> {
        by.person()?;
        let revoked = self
            .commit(by.by(), |state, cx| {
                known(state, &target)?;
                let epoch = state.epoch.next();
                let body = Body::Revoked { target: target.clone(), epoch, why: why.chars().take(500).collect() };
                Ok((self.counted(state, cx.now, &target, epoch, &body), vec![body]))
            })
            .await?;
        self.ended.send_modify(|n| *n = n.wrapping_add(1));
        Ok(revoked)
    }

    /// Suspends, activates or retires an identity.
    pub async fn move_identity(&self, by: &Caller, name: &str, to: Lifecycle, why: &str) -> Result<()> {
        by.person()?;
        let id = self.identity_named(name)?;
        self.commit(by.by(), |state, _| {
            let from = state.identities.get(&id).map(|i| i.state).ok_or_else(|| EngineError::not_found("identity", &id))?;
            if !from.may_become(to) {
                return Err(EngineError::Invalid(format!("`{id}` is {from} and cannot become {to}")));
            }
            Ok(((), vec![Body::IdentityMoved { identity: id.clone(), to, why: why.chars().take(500).collect() }]))
        })
        .await?;
        self.ended.send_modify(|n| *n = n.wrapping_add(1));
        Ok(())
    }

    /// What the revocation would end: the difference between now and the state after it.
    fn counted(&self, state: &State, now: Timestamp, target: &Target, epoch: Epoch, body: &Body) -> Revoked {
        let mut after = state.clone();
        let mut zero = || 0_u128;
        let id = marque_core::id::EventId::fresh(&mut marque_core::time::Cx::new(now, &mut zero));
        let by = marque_core::event::By::System;
        after.apply(&marque_core::event::Event { id, v: marque_core::event::SCHEMA, ts: now, by, what: body.clone() });
        let tasks =
            state.tasks.keys().filter(|t| state.check_task(**t, now).is_ok() && after.check_task(**t, now).is_err()).count();
        let mut leases = std::collections::BTreeMap::new();
        for lease in state.leases.values() {
            if state.check_lease(lease.id, now).is_ok() && after.check_lease(lease.id, now).is_err() {
                *leases.entry(lease.class).or_default() += 1;
            }
        }
        let is_suspended = |s: &State, i: &SpiffeId| s.identities.get(i).is_some_and(|i| i.state == Lifecycle::Suspended);
        let suspended = after.identities.keys().filter(|i| is_suspended(&after, i) && !is_suspended(state, i)).cloned().collect();
        Revoked { target: target.clone(), epoch, tasks, leases, suspended }
    }
}

/// A typing mistake must not look like a revocation that worked.
fn known(state: &State, target: &Target) -> Result<()> {
    let known = match target {
        Target::Lease(id) => state.leases.contains_key(id),
        Target::Task(id) => state.tasks.contains_key(id),
        Target::Instance(id) => state.instances.contains_key(id),
        Target::Identity(id) => state.identities.contains_key(id),
        Target::Owner(person) => {
            state.people.contains_key(person) || state.identities.values().any(|i| i.owner.as_ref() == Some(person))
        }
        Target::Elevation(id) => state.elevations.contains_key(id),
    };
    if known { Ok(()) } else { Err(EngineError::not_found("target", target)) }
}
