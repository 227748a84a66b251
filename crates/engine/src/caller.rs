//! Who calls: a person with a bootstrap credential, or a workload with an SVID.

use marque_core::PersonId;
use marque_core::event::By;
use marque_core::id::{InstanceId, LeaseId};
use marque_core::spiffe::SpiffeId;

use crate::digest::sha256;
use crate::error::{EngineError, Result};
use crate::open::Engine;

/// A caller who has proved who they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Caller {
    /// A person.
    Person(PersonId),
    /// A running copy of an identity.
    Workload(Workload),
}

/// A workload, proved by its X.509-SVID.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workload {
    /// The SVID's lease.
    pub lease: LeaseId,
    /// Which copy.
    pub instance: InstanceId,
    /// Of which identity.
    pub identity: SpiffeId,
    /// Base64url SHA-256 of the certificate (RFC 8705 `x5t#S256`).
    pub thumbprint: String,
}

impl Caller {
    /// For the log.
    pub fn by(&self) -> By {
        match self {
            Self::Person(person) => By::Person(person.clone()),
            Self::Workload(workload) => By::Instance(workload.instance),
        }
    }

    /// The person, or a refusal.
    pub fn person(&self) -> Result<&PersonId> {
        match self {
            Self::Person(person) => Ok(person),
            Self::Workload(w) => Err(EngineError::Forbidden(format!("`{}` is not a person", w.identity))),
        }
    }
}

impl Engine {
    /// The person whose bootstrap credential this is.
    pub fn authenticate_person(&self, credential: &str) -> Result<Caller> {
        // The credential has 256 random bits, so looking its digest up gives nothing away.
        let digest = sha256(credential.as_bytes());
        let state = self.state();
        let found = state.people.iter().find(|(_, d)| **d == digest).map(|(p, _)| p.clone());
        found.map(Caller::Person).ok_or_else(|| EngineError::Unauthenticated("this credential is nobody's".into()))
    }

    /// A name that nobody guesses: 256 random bits, in hex.
    pub fn random_name(&self) -> String {
        let mut bytes = [0; 32];
        self.env.entropy.fill(&mut bytes);
        hex::encode(bytes)
    }

    /// The workload whose certificate chain this is: signed by this trust domain, issued here, and not revoked.
    pub fn authenticate_certificate(&self, chain: &[&[u8]]) -> Result<Workload> {
        let now = self.now();
        let verified = marque_svid::verify_x509_svid(chain, self.authorities().bundle(), now)?;
        let unknown = || EngineError::Unauthenticated(format!("certificate `{}` was not issued here", verified.serial));
        let lease = LeaseId::from_bytes(serial_bytes(&verified.serial).ok_or_else(unknown)?);
        let state = self.state();
        let lease = state.check_lease(lease, now)?;
        if lease.identity != verified.id {
            return Err(unknown());
        }
        Ok(Workload {
            lease: lease.id,
            instance: lease.instance,
            identity: verified.id,
            thumbprint: marque_svid::thumbprint_b64url(&verified.thumbprint),
        })
    }
}

/// The thumbprint of a certificate, as tokens are bound to it (RFC 8705 `x5t#S256`).
pub fn certificate_thumbprint(leaf: &[u8]) -> String {
    marque_svid::thumbprint_b64url(&marque_svid::thumbprint(leaf))
}

/// The lease that a serial number names: the identifier's 16 bytes, whose two highest bits the authority sets to `01`
/// so that the number is positive and always of one length. They are zero in every identifier before the year 4199.
fn serial_bytes(hex_text: &str) -> Option<[u8; 16]> {
    let mut bytes = [0; 16];
    hex::decode_to_slice(hex_text, &mut bytes).ok()?;
    let [first, ..] = &mut bytes;
    *first &= 0b0011_1111;
    Some(bytes)
}
