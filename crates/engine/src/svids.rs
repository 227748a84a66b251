//! What instances hold now, X.509-SVIDs, WIT-SVIDs and their sessions: whoever asks again gets the same one, until it is time
//! for the next.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use marque_core::attestation::Instance;
use marque_core::id::{InstanceId, LeaseId, TaskId};
use marque_core::time::Timestamp;
use marque_svid::{AuthorityId, KeyKind, Standing};

use crate::caller::Workload;
use crate::error::Result;
use crate::issue::{HeldWit, IssuedX509, check};
use crate::open::Engine;

/// An X.509-SVID with the moment from which the next one is due.
#[derive(Clone, Debug)]
pub struct HeldX509 {
    /// The SVID with its lease.
    pub issued: Arc<IssuedX509>,
    /// After half its life, a tenth of it sooner or later, so that those of one start do not stay together.
    pub due: Timestamp,
}

/// What each instance holds.
#[derive(Debug, Default)]
pub(crate) struct Svids {
    /// By the instance that they are of, and by who holds them: that instance, or a broker for it.
    x509: Mutex<HashMap<(InstanceId, InstanceId), Slot<HeldX509>>>,
    wit: Mutex<HashMap<InstanceId, Slot<HeldWit>>>,
    sessions: Mutex<HashMap<(InstanceId, TaskId), LeaseId>>,
}

/// The SVID of one instance. Whoever makes the next one keeps it locked, so that all who wait get that one.
pub(crate) type Slot<T> = Arc<tokio::sync::Mutex<Option<T>>>;

impl Svids {
    /// Forgets those of instances that have ended.
    pub(crate) fn retain(&self, live: impl Fn(&InstanceId) -> bool) {
        lock(&self.x509).retain(|(id, holder), _| live(id) && live(holder));
        lock(&self.wit).retain(|id, _| live(id));
        lock(&self.sessions).retain(|(id, _), _| live(id));
    }

    fn x509_slot(&self, instance: InstanceId, holder: InstanceId) -> Slot<HeldX509> {
        Arc::clone(lock(&self.x509).entry((instance, holder)).or_default())
    }

    /// The WIT-SVID of an instance.
    pub(crate) fn wit_slot(&self, instance: InstanceId) -> Slot<HeldWit> {
        Arc::clone(lock(&self.wit).entry(instance).or_default())
    }

    /// The lease of an instance's last session for a task; it may have ended.
    pub(crate) fn session(&self, key: (InstanceId, TaskId)) -> Option<LeaseId> {
        lock(&self.sessions).get(&key).copied()
    }

    /// Keeps the lease of a new session.
    pub(crate) fn opened(&self, key: (InstanceId, TaskId), lease: LeaseId) {
        lock(&self.sessions).insert(key, lease);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Engine {
    /// The X.509-SVID that an instance holds: the last one, while it is not due, its lease is alive and its authority not
    /// tainted; otherwise a fresh one, which is made once however many ask.
    pub async fn current_x509_svid(&self, instance: &Instance) -> Result<HeldX509> {
        self.held_x509_svid(instance, None).await
    }

    /// As [`Engine::current_x509_svid`], of what a broker holds for an instance: a credential of its own, recorded on the
    /// broker's word (SPIFFE Broker API §5.2.1).
    pub async fn brokered_x509_svid(&self, broker: &Workload, instance: &Instance) -> Result<HeldX509> {
        self.held_x509_svid(instance, Some(broker)).await
    }

    async fn held_x509_svid(&self, instance: &Instance, broker: Option<&Workload>) -> Result<HeldX509> {
        let slot = self.svids.x509_slot(instance.id, broker.map_or(instance.id, |broker| broker.instance));
        let mut last = slot.lock().await;
        let now = self.now();
        // Now, and not before the wait for whoever makes it.
        check(&self.state(), instance, broker, now)?;
        let current = |held: &&HeldX509| {
            let IssuedX509 { lease, svid } = &*held.issued;
            self.is_current(held.due, KeyKind::X509, &svid.authority, *lease)
        };
        if let Some(held) = last.as_ref().filter(current) {
            return Ok(held.clone());
        }
        let issued = self.issue_x509(instance, broker).await?;
        let due = self.due(instance, issued.svid.not_after);
        Ok(last.insert(HeldX509 { issued: Arc::new(issued), due }).clone())
    }

    /// When the successor of an SVID that begins now is due.
    pub(crate) fn due(&self, instance: &Instance, ends: Timestamp) -> Timestamp {
        let now = self.now().micros();
        let half = ends.micros().saturating_sub(now) / 2;
        let spread = (half / 5).saturating_mul(i64::from(share(instance))) / i64::from(u16::MAX);
        Timestamp::from_micros(now.saturating_add(half).saturating_sub(half / 10).saturating_add(spread))
    }

    /// Whether an SVID is still the one to show: not due, its authority not tainted, and its lease alive.
    pub(crate) fn is_current(&self, due: Timestamp, kind: KeyKind, authority: &AuthorityId, lease: LeaseId) -> bool {
        let now = self.now();
        now < due
            && self.authorities().standing(kind, authority) == Standing::Good
            && self.state().check_lease(lease, now).is_ok()
    }
}

/// A number that differs from one instance to the next.
pub(crate) fn share(instance: &Instance) -> u16 {
    instance.id.to_bytes().last_chunk::<2>().map_or(0, |b| u16::from_be_bytes(*b))
}
