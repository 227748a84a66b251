//! The X.509-SVIDs that instances hold now: whoever asks again gets the same one, until it is time for the next.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use marque_core::attestation::Instance;
use marque_core::id::InstanceId;
use marque_core::time::Timestamp;

use crate::error::Result;
use crate::issue::IssuedX509;
use crate::open::Engine;

/// An X.509-SVID with the moment from which the next one is due.
#[derive(Clone, Debug)]
pub struct HeldX509 {
    /// The SVID with its lease.
    pub issued: Arc<IssuedX509>,
    /// After half its life, a tenth of it sooner or later, so that those of one start do not stay together.
    pub due: Timestamp,
}

/// One for each instance.
#[derive(Debug, Default)]
pub(crate) struct Svids(Mutex<HashMap<InstanceId, HeldX509>>);

impl Svids {
    /// Forgets those of instances that have ended.
    pub(crate) fn retain(&self, live: impl Fn(&InstanceId) -> bool) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|id, _| live(id));
    }
}

impl Engine {
    /// The X.509-SVID that an instance holds: the last one, while it is not due, its lease is alive and its authority not
    /// tainted; otherwise a fresh one.
    pub async fn current_x509_svid(&self, instance: &Instance) -> Result<HeldX509> {
        let held = self.svids.0.lock().unwrap_or_else(PoisonError::into_inner).get(&instance.id).cloned();
        if let Some(held) = held.filter(|held| self.is_current(held)) {
            return Ok(held);
        }
        let issued = self.x509_svid(instance).await?;
        let now = self.now().micros();
        let half = issued.svid.not_after.micros().saturating_sub(now) / 2;
        let spread = (half / 5).saturating_mul(i64::from(share(instance))) / i64::from(u16::MAX);
        let due = Timestamp::from_micros(now.saturating_add(half).saturating_sub(half / 10).saturating_add(spread));
        let held = HeldX509 { issued: Arc::new(issued), due };
        self.svids.0.lock().unwrap_or_else(PoisonError::into_inner).insert(instance.id, held.clone());
        Ok(held)
    }

    fn is_current(&self, held: &HeldX509) -> bool {
        let now = self.now();
        now < held.due
            && self.x509_standing(&held.issued.svid.authority)
            && self.state().check_lease(held.issued.lease, now).is_ok()
    }
}

/// A number that differs from one instance to the next.
pub(crate) fn share(instance: &Instance) -> u16 {
    instance.id.to_bytes().last_chunk::<2>().map_or(0, |b| u16::from_be_bytes(*b))
}
