//! Revocation: one event, whatever hangs below it.

use std::collections::{BTreeMap, BTreeSet};

use marque_core::event::Body;
use marque_core::identity::{Identity, Lifecycle};
use marque_core::lease::CredentialClass;
use marque_core::revocation::{Epoch, Target};
use marque_core::spiffe::SpiffeId;
use marque_core::state::State;
use serde::{Deserialize, Serialize};

use crate::caller::Caller;
use crate::error::{EngineError, Result};
use crate::open::Engine;

/// What a revocation ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revoked {
    /// What was revoked.
    pub target: Target,
    /// Its epoch.
    pub epoch: Epoch,
    /// Tasks that hung from it.
    pub tasks: usize,
    /// Credentials that hung from it and had not expired, by class.
    pub leases: BTreeMap<CredentialClass, usize>,
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
        let (mut revoked, before) = self
            .commit(by.by(), |state, _| {
                known(state, &target)?;
                let epoch = state.epoch.next();
                let body = Body::Revoked { target: target.clone(), epoch, why: why.chars().take(500).collect() };
                let before = state.revocations.get(&target).copied().unwrap_or_default();
                let active = |i: &&Identity| i.state == Lifecycle::Active;
                let suspended = state.hit_identities(&target).filter(active).map(|i| i.id.clone()).collect();
                Ok((
                    (Revoked { target: target.clone(), epoch, tasks: 0, leases: BTreeMap::new(), suspended }, before),
                    vec![body],
                ))
            })
            .await?;
        self.ended.send_modify(|n| *n = n.wrapping_add(1));
        if matches!(revoked.target, Target::Identity(_) | Target::Owner(_)) {
            self.entries.send_modify(|n| *n = n.wrapping_add(1));
        }
        self.count_below(&mut revoked, before);
        Ok(revoked)
    }

    /// Counts what hung from the target: after the fact, so that a large tree costs the revocation nothing.
    /// What carries an epoch below `before` had ended with an earlier revocation of the same target.
    fn count_below(&self, revoked: &mut Revoked, before: Epoch) {
        let state = self.state();
        revoked.tasks = state.tasks.values().filter(|t| t.epoch >= before && state.task_hangs_from(t, &revoked.target)).count();
        for lease in state.leases.values().filter(|l| l.epoch >= before && state.lease_hangs_from(l, &revoked.target)) {
            *revoked.leases.entry(lease.class).or_default() += 1;
        }
    }

    /// Suspends, activates or retires an identity, and says why. Gives it as it is then.
    pub async fn move_identity(&self, by: &Caller, name: &str, to: Lifecycle, why: &str) -> Result<Identity> {
        by.person()?;
        let id = self.identity_named(name)?;
        let why = reason(why).ok_or_else(|| EngineError::Invalid(format!("say why `{id}` becomes {to}: `why` is empty")))?;
        let moved = self
            .commit(by.by(), |state, _| {
                let old = state.identities.get(&id).ok_or_else(|| EngineError::not_found("identity", &id))?;
                if !old.state.may_become(to) {
                    return Err(EngineError::Invalid(format!("`{id}` is {} and cannot become {to}", old.state)));
                }
                let moved = Identity { state: to, ..old.clone() };
                Ok((moved, vec![Body::IdentityMoved { identity: id.clone(), to, why: why.clone() }]))
            })
            .await?;
        self.ended.send_modify(|n| *n = n.wrapping_add(1));
        self.entries.send_modify(|n| *n = n.wrapping_add(1));
        Ok(moved)
    }
}

/// What a person says as the reason for a step, fit for the log; nothing where they say none.
pub(crate) fn reason(why: &str) -> Option<String> {
    let why = why.trim();
    (!why.is_empty()).then(|| why.chars().take(500).collect())
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
