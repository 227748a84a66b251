//! When a key is prepared, activated and forgotten.

use marque_core::time::{Timestamp, Ttl};
use serde::{Deserialize, Serialize};

use super::ring::KeyKind;
use crate::ca::AuthorityId;
use crate::error::{Result, SvidError};
use crate::validity::{Validity, minus};

/// One change of an [`crate::AuthoritySet`] (SPIFFE Federation §4.1).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "lowercase", deny_unknown_fields)]
pub enum Step {
    /// Makes a key and publishes it.
    Prepare {
        /// What it signs.
        kind: KeyKind,
    },
    /// Lets a prepared key issue; the one before it retires.
    Activate {
        /// What it signs.
        kind: KeyKind,
        /// Its name.
        id: AuthorityId,
    },
    /// Drops a key all of whose issue has ended.
    Forget {
        /// What it signed.
        kind: KeyKind,
        /// Its name.
        id: AuthorityId,
    },
    /// Uses a key no longer: what it issued is to be issued again, before the key is revoked.
    Taint {
        /// What it signs.
        kind: KeyKind,
        /// Its name.
        id: AuthorityId,
    },
    /// Takes a key out of the bundle at once: what it issued counts no longer.
    Revoke {
        /// What it signs.
        kind: KeyKind,
        /// Its name.
        id: AuthorityId,
    },
}

impl Step {
    /// What the key signs.
    pub const fn kind(&self) -> KeyKind {
        match self {
            Self::Prepare { kind }
            | Self::Activate { kind, .. }
            | Self::Forget { kind, .. }
            | Self::Taint { kind, .. }
            | Self::Revoke { kind, .. } => *kind,
        }
    }
}

/// How long keys live, and how long what they issue (SPIFFE Federation §4.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RotationPolicy {
    /// How long a CA lives.
    pub x509_lifetime: Ttl,
    /// How long a token key lives.
    pub token_lifetime: Ttl,
    /// The longest life of an X.509-SVID.
    pub x509_svid_max: Ttl,
    /// The longest life of a token of any class.
    pub token_max: Ttl,
    /// How long a key is published before it is used, unless the one before it ends or is lost: three to five times the
    /// refresh hint of the bundle (SPIFFE Federation §4.1).
    pub publish_ahead: Ttl,
    /// Whether there are keys for WIT-SVIDs. Experimental.
    pub wit: bool,
}

impl Default for RotationPolicy {
    fn default() -> Self {
        Self {
            x509_lifetime: Ttl::from_minutes(90 * 24 * 60),
            token_lifetime: Ttl::from_minutes(30 * 24 * 60),
            x509_svid_max: Ttl::from_minutes(60),
            token_max: Ttl::from_minutes(60),
            publish_ahead: Ttl::from_minutes(25),
            wit: false,
        }
    }
}

impl RotationPolicy {
    /// Refuses rules under which a key would end before what it issues, or be used before it is published.
    pub fn check(&self) -> Result<()> {
        for (lifetime, longest) in [(self.x509_lifetime, self.x509_svid_max), (self.token_lifetime, self.token_max)] {
            if longest.seconds() == 0 || longest > activation_margin(lifetime) {
                return Err(SvidError::Policy("what a key issues lives at most a sixth of the key's own life"));
            }
            let between = preparation_margin(lifetime).seconds().saturating_sub(activation_margin(lifetime).seconds());
            if self.publish_ahead.seconds() > between {
                return Err(SvidError::Policy("a key cannot be published that long before it is used"));
            }
        }
        Ok(())
    }

    /// The kinds of keys that there must be.
    pub(super) fn kinds(&self) -> Vec<KeyKind> {
        let mut kinds = vec![KeyKind::X509, KeyKind::Jwt];
        kinds.extend(self.wit.then_some(KeyKind::Wit));
        kinds
    }

    pub(super) fn longest(&self, kind: KeyKind) -> Ttl {
        match kind {
            KeyKind::X509 => self.x509_svid_max,
            KeyKind::Jwt | KeyKind::Wit => self.token_max,
        }
    }

    /// When the successor of a key is prepared.
    pub(super) fn prepare_at(&self, active: Validity) -> Timestamp {
        minus(active.not_after, preparation_margin(active.lifetime()))
    }

    /// When the successor of a key, published at `prepared`, becomes active: not before others can know it, but well before
    /// the end.
    pub(super) fn activate_at(&self, active: Validity, prepared: Timestamp) -> Timestamp {
        let margin = activation_margin(active.lifetime());
        let latest = minus(active.not_after, Ttl::from_seconds(margin.seconds() / 2));
        minus(active.not_after, margin).max(prepared.plus(self.publish_ahead)).min(latest)
    }
}

/// As SPIRE does: half the lifetime, at most 30 days.
fn preparation_margin(lifetime: Ttl) -> Ttl {
    Ttl::from_seconds(lifetime.seconds() / 2).min(Ttl::from_minutes(30 * 24 * 60))
}

/// As SPIRE does: a sixth of the lifetime, at most 7 days.
fn activation_margin(lifetime: Ttl) -> Ttl {
    Ttl::from_seconds(lifetime.seconds() / 6).min(Ttl::from_minutes(7 * 24 * 60))
}
