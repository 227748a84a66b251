//! What is kept of a set between two starts.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use marque_core::spiffe::TrustDomain;
use marque_core::time::{Timestamp, Ttl};
use serde::{Deserialize, Serialize};

use super::ring::{Entry, Phase};
use super::{AuthoritySet, Revoked, RotationPolicy};
use crate::authority::Authority;
use crate::ca::{Above, CertificateAuthority};
use crate::error::{Result, SvidError};
use crate::keys::{KeyStore, StoredKey};
use crate::stored::StoredAuthority;
use crate::token_key::TokenKey;
use crate::validity::Validity;

/// A set at rest (SPIFFE Federation §4.1). Whoever reads it can issue any identity of the trust domain, unless a device
/// keeps the keys.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoredAuthoritySet {
    version: u32,
    trust_domain: TrustDomain,
    sequence: u64,
    x509: Vec<StoredCa>,
    jwt: Vec<StoredTokenKey>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    wit: Vec<StoredTokenKey>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    revoked: Vec<StoredRevoked>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredCa {
    key: StoredKey,
    certificate: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    chain: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    roots: Vec<String>,
    life: StoredLife,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredTokenKey {
    key: StoredKey,
    not_before: Timestamp,
    not_after: Timestamp,
    life: StoredLife,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredLife {
    phase: Phase,
    prepared: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tainted: Option<Timestamp>,
    longest: Ttl,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredRevoked {
    key: String,
    not_after: Timestamp,
}

impl AuthoritySet {
    /// The set as a file keeps it (SPIFFE Federation §4.1), also where the file is of the time before sets: a
    /// [`StoredAuthority`], whose keys become active and whose issue lives as long as `policy` says.
    pub fn from_json(file: &[u8], keys: &dyn KeyStore, policy: &RotationPolicy) -> Result<Self> {
        match serde_json::from_slice::<Probe>(file)?.version {
            Some(_) => Self::from_stored(serde_json::from_slice(file)?, keys),
            None => Self::from_authority(Authority::from_stored(serde_json::from_slice::<StoredAuthority>(file)?)?, policy),
        }
    }

    /// The set as it was stored; refused when its parts do not belong together (SPIFFE Federation §4.1).
    pub fn from_stored(stored: StoredAuthoritySet, keys: &dyn KeyStore) -> Result<Self> {
        if stored.version != VERSION {
            return Err(SvidError::Stored("it is of a later version"));
        }
        let mut set = Self::empty(stored.trust_domain.clone());
        for ca in &stored.x509 {
            let above = Above { chain: ders(&ca.chain)?, roots: ders(&ca.roots)? };
            let key = keys.open(&ca.key)?;
            let authority = CertificateAuthority::assemble(set.trust_domain.clone(), key, der(&ca.certificate)?, above)?;
            set.cas.add(ca.life.entry(authority))?;
        }
        for (ring, stored) in [(&mut set.jwt, &stored.jwt), (&mut set.wit, &stored.wit)] {
            for key in stored {
                let validity = Validity { not_before: key.not_before, not_after: key.not_after };
                let token_key = TokenKey::new(set.trust_domain.clone(), keys.open(&key.key)?, validity)?;
                ring.add(key.life.entry(token_key))?;
            }
        }
        for revoked in &stored.revoked {
            let mut key = [0; 32];
            hex::decode_to_slice(&revoked.key, &mut key).map_err(|_| SvidError::Stored("a digest is not hexadecimal"))?;
            set.revoked.push(Revoked { key, not_after: revoked.not_after });
        }
        set.settled(stored.sequence)
    }

    /// The two keys of an authority that did not rotate (SPIFFE Federation §4.1): its bundle stays as it was, at the first
    /// sequence.
    pub fn from_authority(authority: Authority, policy: &RotationPolicy) -> Result<Self> {
        let mut set = Self::empty(authority.trust_domain().clone());
        let began = authority.not_before();
        let (ca, token_key) = authority.into_parts();
        set.cas.add(Entry::new(Arc::new(ca), Phase::Active, began, policy.x509_svid_max))?;
        set.jwt.add(Entry::new(Arc::new(token_key), Phase::Active, began, policy.token_max))?;
        set.settled(1)
    }

    /// The set in a form to keep (SPIFFE Federation §4.1).
    pub fn to_stored(&self) -> StoredAuthoritySet {
        let token_keys = |entries: &[Entry<TokenKey>]| {
            let stored = |entry: &Entry<TokenKey>| StoredTokenKey {
                key: entry.key.key.stored(),
                not_before: entry.key.validity.not_before,
                not_after: entry.key.validity.not_after,
                life: StoredLife::of(entry),
            };
            entries.iter().map(stored).collect()
        };
        let ca = |entry: &Entry<CertificateAuthority>| StoredCa {
            key: entry.key.key.stored(),
            certificate: STANDARD.encode(&entry.key.certificate),
            chain: entry.key.above.chain.iter().map(|der| STANDARD.encode(der)).collect(),
            roots: entry.key.above.roots.iter().map(|der| STANDARD.encode(der)).collect(),
            life: StoredLife::of(entry),
        };
        let revoked = |revoked: &Revoked| StoredRevoked { key: hex::encode(revoked.key), not_after: revoked.not_after };
        StoredAuthoritySet {
            version: VERSION,
            trust_domain: self.trust_domain.clone(),
            sequence: self.bundle.sequence,
            x509: self.cas.entries().iter().map(ca).collect(),
            jwt: token_keys(self.jwt.entries()),
            wit: token_keys(self.wit.entries()),
            revoked: self.revoked.iter().map(revoked).collect(),
        }
    }
}

impl StoredLife {
    fn of<K>(entry: &Entry<K>) -> Self {
        Self { phase: entry.phase, prepared: entry.prepared, tainted: entry.tainted, longest: entry.longest }
    }

    fn entry<K>(&self, key: K) -> Entry<K> {
        let Self { phase, prepared, tainted, longest } = *self;
        Entry { key: Arc::new(key), phase, prepared, tainted, longest }
    }
}

/// Which of the two files it is.
#[derive(Deserialize)]
struct Probe {
    version: Option<u32>,
}

fn der(text: &str) -> Result<Vec<u8>> {
    STANDARD.decode(text).map_err(|_| SvidError::Stored("a certificate is not base64"))
}

fn ders(texts: &[String]) -> Result<Vec<Vec<u8>>> {
    texts.iter().map(|text| der(text)).collect()
}

const VERSION: u32 = 1;
