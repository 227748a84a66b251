//! The keys of one kind and the phases that they pass through.

use std::sync::Arc;

use marque_core::time::{Timestamp, Ttl};
use serde::{Deserialize, Serialize};

use super::plan::{RotationPolicy, Step};
use super::{AuthorityStatus, KEPT_LONGER, Standing};
use crate::ca::{AuthorityId, CertificateAuthority};
use crate::error::{Result, SvidError};
use crate::token_key::TokenKey;
use crate::validity::Validity;

/// What a key signs (SPIFFE Trust Domain and Bundle §4.2.2 `use`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KeyKind {
    /// X.509-SVIDs (X509-SVID §3.2).
    X509,
    /// JWT-SVIDs and the other tokens that are not WIT-SVIDs (JWT-SVID §2).
    Jwt,
    /// WIT-SVIDs (WIT-SVID §2). Experimental.
    Wit,
}

/// Where a key is on its way (SPIFFE Federation §4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// It is published and issues nothing yet.
    Prepared,
    /// It issues.
    Active,
    /// It issues no more; what it issued has ended at the moment named here.
    Retired(Timestamp),
}

/// A key with its phase.
#[derive(Debug)]
pub(super) struct Entry<K> {
    pub(super) key: Arc<K>,
    pub(super) phase: Phase,
    pub(super) prepared: Timestamp,
    pub(super) tainted: Option<Timestamp>,
    /// How long what it issues lives at most; fixed for its whole life, so that its retirement can be dated.
    pub(super) longest: Ttl,
}

impl<K> Clone for Entry<K> {
    fn clone(&self) -> Self {
        Self { key: Arc::clone(&self.key), ..*self }
    }
}

impl<K: Key> Entry<K> {
    pub(super) fn new(key: Arc<K>, phase: Phase, prepared: Timestamp, longest: Ttl) -> Self {
        Self { key, phase, prepared, tainted: None, longest }
    }

    /// Whether it could become active.
    fn is_ready(&self, now: Timestamp) -> bool {
        self.phase == Phase::Prepared && self.tainted.is_none() && now < self.key.validity().not_after
    }

    fn retire(&mut self, now: Timestamp) {
        let last = match self.phase {
            Phase::Active => now.plus(self.longest).min(self.key.validity().not_after),
            Phase::Prepared => now,
            Phase::Retired(last) => last,
        };
        self.phase = Phase::Retired(last);
    }

    fn is_over(&self, now: Timestamp) -> bool {
        match self.phase {
            Phase::Active => false,
            Phase::Prepared => now >= self.key.validity().not_after,
            Phase::Retired(last) => now > last.plus(KEPT_LONGER),
        }
    }
}

/// A key of one of the kinds.
pub(super) trait Key {
    fn id(&self) -> &AuthorityId;
    fn validity(&self) -> Validity;
}

impl Key for CertificateAuthority {
    fn id(&self) -> &AuthorityId {
        &self.id
    }

    fn validity(&self) -> Validity {
        self.validity
    }
}

impl Key for TokenKey {
    fn id(&self) -> &AuthorityId {
        &self.id
    }

    fn validity(&self) -> Validity {
        self.validity
    }
}

/// The keys of one kind, oldest first; at most one is active.
#[derive(Debug)]
pub(super) struct Ring<K>(Vec<Entry<K>>);

impl<K> Default for Ring<K> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<K> Clone for Ring<K> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<K: Key> Ring<K> {
    pub(super) fn entries(&self) -> &[Entry<K>] {
        &self.0
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = &K> {
        self.0.iter().map(|entry| &*entry.key)
    }

    pub(super) fn active(&self) -> Result<&Entry<K>> {
        let mut active = self.0.iter().filter(|entry| entry.phase == Phase::Active);
        match (active.next(), active.next()) {
            (Some(one), None) => Ok(one),
            (None, _) => Err(SvidError::NoAuthority),
            _ => Err(SvidError::Stored("two keys of one kind are active")),
        }
    }

    pub(super) fn get(&self, id: &AuthorityId) -> Result<&Entry<K>> {
        self.0.iter().find(|entry| entry.key.id() == id).ok_or_else(|| unknown(id))
    }

    pub(super) fn add(&mut self, entry: Entry<K>) -> Result<()> {
        if self.get(entry.key.id()).is_ok() {
            return Err(SvidError::Stored("two keys have one name"));
        }
        self.0.push(entry);
        Ok(())
    }

    /// The prepared key begins to issue and the one before it retires.
    pub(super) fn activate(&mut self, id: &AuthorityId, now: Timestamp) -> Result<()> {
        if !self.get(id)?.is_ready(now) {
            return Err(unknown(id));
        }
        for entry in &mut self.0 {
            if entry.key.id() == id {
                entry.phase = Phase::Active;
            } else if entry.phase == Phase::Active {
                entry.retire(now);
            }
        }
        Ok(())
    }

    /// Leaves the bundle once all that it issued has ended.
    pub(super) fn forget(&mut self, id: &AuthorityId, now: Timestamp) -> Result<()> {
        if !self.get(id)?.is_over(now) {
            return Err(unknown(id));
        }
        self.remove(id)
    }

    /// Is used no longer, but stays in the bundle until what it issued is replaced.
    pub(super) fn taint(&mut self, id: &AuthorityId, now: Timestamp) -> Result<()> {
        let entry = self.0.iter_mut().find(|entry| entry.key.id() == id).ok_or_else(|| unknown(id))?;
        entry.retire(now);
        entry.tainted.get_or_insert(now);
        Ok(())
    }

    pub(super) fn remove(&mut self, id: &AuthorityId) -> Result<()> {
        self.get(id)?;
        self.0.retain(|entry| entry.key.id() != id);
        Ok(())
    }

    /// Activates a prepared key if none is active; whether one is active now.
    pub(super) fn restore(&mut self, now: Timestamp) -> bool {
        if self.active().is_err()
            && let Some(ready) = self.0.iter_mut().find(|entry| entry.is_ready(now))
        {
            ready.phase = Phase::Active;
        }
        self.active().is_ok()
    }

    pub(super) fn standing(&self, id: &AuthorityId) -> Standing {
        match self.get(id) {
            Ok(entry) if entry.tainted.is_some() => Standing::Tainted,
            Ok(_) => Standing::Good,
            Err(_) => Standing::Gone,
        }
    }

    pub(super) fn status(&self, kind: KeyKind) -> Vec<AuthorityStatus> {
        let status = |entry: &Entry<K>| AuthorityStatus {
            kind,
            id: entry.key.id().clone(),
            phase: entry.phase,
            tainted: entry.tainted,
            prepared: entry.prepared,
            not_before: entry.key.validity().not_before,
            not_after: entry.key.validity().not_after,
        };
        self.0.iter().map(status).collect()
    }

    pub(super) fn plan(&self, kind: KeyKind, now: Timestamp, policy: &RotationPolicy) -> Vec<Step> {
        let over = self.0.iter().filter(|entry| entry.is_over(now));
        let mut steps: Vec<Step> = over.map(|entry| Step::Forget { kind, id: entry.key.id().clone() }).collect();
        let ready = self.0.iter().find(|entry| entry.is_ready(now));
        let active = self.active().ok();
        match (active, ready) {
            (Some(active), None) if now < policy.prepare_at(active.key.validity()) => {}
            (_, None) => steps.push(Step::Prepare { kind }),
            (active, Some(ready)) => {
                let due = active.map(|active| policy.activate_at(active.key.validity(), ready.prepared));
                if due.is_none_or(|due| now >= due) {
                    steps.push(Step::Activate { kind, id: ready.key.id().clone() });
                }
            }
        }
        steps
    }
}

fn unknown(id: &AuthorityId) -> SvidError {
    SvidError::NoSuchAuthority(crate::error::shown(id.as_str()))
}
