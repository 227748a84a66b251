//! From when until when: of an authority, and of what it issues.

use marque_core::spiffe::{SpiffeId, TrustDomain};
use marque_core::time::{Timestamp, Ttl};
use time::OffsetDateTime;
use x509_parser::time::ASN1Time;

use crate::error::{Result, SvidError};

/// The span of an authority (RFC 5280 §4.1.2.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Validity {
    pub(crate) not_before: Timestamp,
    pub(crate) not_after: Timestamp,
}

impl Validity {
    /// From shortly before `now` until `ttl` after it.
    pub(crate) fn starting(now: Timestamp, ttl: Ttl) -> Self {
        Self { not_before: before(now), not_after: Timestamp::from_seconds(now.plus(ttl).seconds()) }
    }

    /// The span of a credential issued now, in whole seconds; never outside this span.
    pub(crate) fn window(self, now: Timestamp, ttl: Ttl) -> Result<Self> {
        let not_before = before(now).max(self.not_before);
        let not_after = Timestamp::from_seconds(now.plus(ttl).seconds()).min(self.not_after);
        if now < self.not_before || not_after <= now {
            return Err(SvidError::Lifetime);
        }
        Ok(Self { not_before, not_after })
    }

    /// How long it is.
    pub(crate) fn lifetime(self) -> Ttl {
        let seconds = self.not_after.seconds().saturating_sub(self.not_before.seconds());
        Ttl::from_seconds(u64::try_from(seconds).unwrap_or(0))
    }
}

/// Only a workload of the trust domain can be a subject (X509-SVID §3.1, JWT-SVID §3.1).
pub(crate) fn check_workload(id: &SpiffeId, trust_domain: &TrustDomain) -> Result<()> {
    if id.trust_domain() != trust_domain {
        return Err(SvidError::TrustDomain(id.to_string()));
    }
    if id.path().is_empty() {
        return Err(SvidError::NoPath(id.to_string()));
    }
    Ok(())
}

/// `time` earlier by `span`; saturates at the beginning of time.
pub(crate) fn minus(time: Timestamp, span: Ttl) -> Timestamp {
    let seconds = i64::try_from(span.seconds()).unwrap_or(i64::MAX);
    Timestamp::from_micros(time.micros().saturating_sub(seconds.saturating_mul(1_000_000)))
}

/// A moment that a certificate can express (RFC 5280 §4.1.2.5), as the type that rcgen takes.
pub(crate) fn date(time: Timestamp) -> Result<OffsetDateTime> {
    let seconds = time.seconds();
    if !(0..=END_OF_YEAR_9999).contains(&seconds) {
        return Err(SvidError::Lifetime);
    }
    ASN1Time::from_timestamp(seconds).map(|time| time.to_datetime()).map_err(|_| SvidError::Lifetime)
}

fn before(now: Timestamp) -> Timestamp {
    Timestamp::from_seconds(minus(now, CUSHION).seconds())
}

/// For relying parties whose clock is a little behind.
const CUSHION: Ttl = Ttl::from_seconds(10);
const END_OF_YEAR_9999: i64 = 253_402_300_799;
