//! WIT-SVIDs (WIT-SVID §4), experimental. Each instance has its own, with a key of its own: none is shared between instances,
//! which the specification would allow, so that a lease names one copy.

use std::sync::Arc;

use marque_core::attestation::Instance;
use marque_core::id::LeaseId;
use marque_core::lease::CredentialClass;
use marque_core::time::Timestamp;
use marque_svid::wit::{Expectation, Presentation, VerifiedWit, WitRequest, WitSvid, verify_wit_svid};
use marque_svid::{AuthorityId, KeyKind};

use super::{check, life};
use crate::error::{EngineError, Result};
use crate::open::Engine;

/// A WIT-SVID with its lease.
#[derive(Debug)]
pub struct IssuedWit {
    /// The lease, which is the token's `jti`.
    pub lease: LeaseId,
    /// The key that signed it.
    pub authority: AuthorityId,
    /// Token and key.
    pub svid: WitSvid,
}

/// A WIT-SVID with the moment from which the next one is due.
#[derive(Clone, Debug)]
pub struct HeldWit {
    /// The SVID with its lease.
    pub issued: Arc<IssuedWit>,
    /// As of an X.509-SVID.
    pub due: Timestamp,
}

impl Engine {
    /// Whether WIT-SVIDs are issued.
    pub fn serves_wit(&self) -> bool {
        self.options.rotation.wit
    }

    /// A WIT-SVID for an instance, with a fresh key (Workload API §7.2.1). Its `jti` is the lease's identifier.
    pub async fn wit_svid(&self, instance: &Instance) -> Result<IssuedWit> {
        if !self.serves_wit() {
            return Err(EngineError::Invalid("WIT-SVIDs are not issued: `[experimental]` does not ask for them".into()));
        }
        let mut lease = self.fresh_lease(instance, CredentialClass::WitSvid)?;
        lease.handle = lease.id.to_string();
        let set = self.authorities();
        let authority = set.active(KeyKind::Wit)?;
        let svid =
            set.issue_wit_svid(WitRequest { id: &instance.identity, jti: &lease.handle, now: lease.issued, ttl: life(&lease) })?;
        lease.expires = svid.expires.min(lease.expires);
        let id = lease.id;
        self.record_lease(instance, None, lease).await?;
        Ok(IssuedWit { lease: id, authority, svid })
    }

    /// The WIT-SVID that an instance holds: the last one, while it is not due, its lease is alive and its key not tainted;
    /// otherwise a fresh one.
    pub async fn current_wit_svid(&self, instance: &Instance) -> Result<HeldWit> {
        let slot = self.svids.wit_slot(instance.id);
        let mut last = slot.lock().await;
        let now = self.now();
        check(&self.state(), instance, None, now)?;
        let current = |held: &&HeldWit| {
            let IssuedWit { lease, authority, .. } = &*held.issued;
            self.is_current(held.due, KeyKind::Wit, authority, *lease)
        };
        if let Some(held) = last.as_ref().filter(current) {
            return Ok(held.clone());
        }
        let issued = self.wit_svid(instance).await?;
        let due = self.due(instance, issued.svid.expires);
        Ok(last.insert(HeldWit { issued: Arc::new(issued), due }).clone())
    }

    /// Checks a WIT-SVID of this trust domain with the proof that came with it, and that its lease is alive (WIT-SVID §4,
    /// §7.1). Without the proof it names nobody.
    pub fn validate_wit_svid(&self, shown: Presentation<'_>, expected: &Expectation<'_>) -> Result<VerifiedWit> {
        let verified = verify_wit_svid(shown.wit, self.authorities().bundle(), expected.now)?.prove(shown.proof, expected)?;
        self.check_token("WIT-SVID", &verified.claims, &verified.id, expected.now)?;
        Ok(verified)
    }
}
