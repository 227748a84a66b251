//! The keys of a trust domain, which rotate: prepared, active, retired, forgotten.

mod plan;
mod ring;
mod stored;

use std::fmt;
use std::sync::Arc;

use marque_core::spiffe::TrustDomain;
use marque_core::time::{Timestamp, Ttl};
use serde::Serialize;

pub use plan::{RotationPolicy, Step};
use ring::{Entry, Ring};
pub use ring::{KeyKind, Phase};
pub use stored::StoredAuthoritySet;

use crate::bundle::Bundle;
use crate::ca::{AuthorityId, CertificateAuthority, X509Request, X509Svid};
use crate::error::{Result, SvidError};
use crate::keys::KeyStore;
use crate::signer::key_digest;
use crate::token_key::{JwtSvidRequest, TokenKey};
use crate::upstream::UpstreamCa;
use crate::validity::Validity;
use crate::wit::{self, WitRequest, WitSvid};

/// All keys of a trust domain: CAs (X509-SVID §3.2) and token keys (JWT-SVID §2), which rotate apart.
///
/// At any moment exactly one CA and one JWT key are active; they issue. A key is in the bundle from its preparation on,
/// before anyone meets what it issues, until all that it issued has ended (SPIFFE Federation §4.1). A set never changes:
/// [`AuthoritySet::apply`] gives the next one.
#[derive(Clone)]
pub struct AuthoritySet {
    trust_domain: TrustDomain,
    cas: Ring<CertificateAuthority>,
    jwt: Ring<TokenKey>,
    wit: Ring<TokenKey>,
    revoked: Vec<Revoked>,
    bundle: Bundle,
}

/// A CA that was revoked while a certificate of it could still be valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Revoked {
    key: [u8; 32],
    not_after: Timestamp,
}

/// With what a step is carried out.
#[derive(Clone, Copy, Debug)]
pub struct Rotation<'a> {
    /// The moment of the step.
    pub now: Timestamp,
    /// The rules.
    pub policy: &'a RotationPolicy,
    /// Where keys are made.
    pub keys: &'a dyn KeyStore,
    /// Who signs our CAs; without, they sign themselves (X509-SVID §3.2).
    pub upstream: Option<&'a UpstreamCa>,
}

/// What stands in the set, for people (SPIFFE Federation §4.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthorityStatus {
    /// What it signs.
    pub kind: KeyKind,
    /// Its name.
    pub id: AuthorityId,
    /// Where it is on its way.
    pub phase: Phase,
    /// Since when it is tainted.
    pub tainted: Option<Timestamp>,
    /// When it was prepared, and with it published.
    pub prepared: Timestamp,
    /// When it begins (RFC 5280 §4.1.2.5).
    pub not_before: Timestamp,
    /// When it ends (RFC 5280 §4.1.2.5).
    pub not_after: Timestamp,
}

/// What [`AuthoritySet::advance`] did.
#[derive(Debug)]
pub struct Advanced {
    /// The set after it.
    pub set: AuthoritySet,
    /// The steps, in order.
    pub done: Vec<Step>,
    /// What was due and could not be done.
    pub failed: Vec<(Step, SvidError)>,
}

/// How much what a key issued is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It stands.
    Good,
    /// It is to be issued again at once: its key is tainted.
    Tainted,
    /// It counts no longer: its key was revoked or forgotten, or was never ours.
    Gone,
}

impl AuthoritySet {
    /// The first keys of a trust domain, active at once (SPIFFE Federation §4.1).
    pub fn new(trust_domain: &TrustDomain, rotation: &Rotation<'_>) -> Result<Self> {
        rotation.policy.check()?;
        let mut set = Self::empty(trust_domain.clone());
        for kind in rotation.policy.kinds() {
            set.add(kind, Phase::Active, rotation)?;
        }
        set.settled(1)
    }

    fn empty(trust_domain: TrustDomain) -> Self {
        let bundle = Bundle::empty(trust_domain.clone(), 0);
        Self { trust_domain, cas: Ring::default(), jwt: Ring::default(), wit: Ring::default(), revoked: Vec::new(), bundle }
    }

    /// What is due at `now`, in order; nothing where nothing is (SPIFFE Federation §4.1).
    pub fn plan(&self, now: Timestamp, policy: &RotationPolicy) -> Vec<Step> {
        let mut steps = self.cas.plan(KeyKind::X509, now, policy);
        steps.extend(self.jwt.plan(KeyKind::Jwt, now, policy));
        let wit = self.wit.plan(KeyKind::Wit, now, policy);
        steps.extend(wit.into_iter().filter(|step| policy.wit || matches!(step, Step::Forget { .. })));
        steps
    }

    /// The set after `step` (SPIFFE Federation §4.1). The sequence of its bundle has grown if its content has changed.
    ///
    /// After [`Step::Taint`] and [`Step::Revoke`] of an active key another is active, freshly made if none was prepared.
    /// What was issued before is then to be asked for its [`AuthoritySet::standing`].
    pub fn apply(&self, step: &Step, rotation: &Rotation<'_>) -> Result<Self> {
        rotation.policy.check()?;
        let now = rotation.now;
        let mut next = self.clone();
        next.revoked.retain(|revoked| revoked.not_after >= now);
        match step {
            Step::Prepare { kind } => next.add(*kind, Phase::Prepared, rotation)?,
            Step::Activate { kind, id } => next.each(*kind, |cas| cas.activate(id, now), |keys| keys.activate(id, now))?,
            Step::Forget { kind, id } => next.each(*kind, |cas| cas.forget(id, now), |keys| keys.forget(id, now))?,
            Step::Taint { kind, id } => {
                next.each(*kind, |cas| cas.taint(id, now), |keys| keys.taint(id, now))?;
                next.restore(*kind, rotation)?;
            }
            Step::Revoke { kind, id } => {
                if *kind == KeyKind::X509 {
                    let ca = &next.cas.get(id)?.key;
                    next.revoked.push(Revoked { key: key_digest(&*ca.key), not_after: ca.validity.not_after });
                }
                next.each(*kind, |cas| cas.remove(id), |keys| keys.remove(id))?;
                next.restore(*kind, rotation)?;
            }
        }
        next.settled(self.bundle.sequence)
    }

    /// Does all that is due for keys of these kinds. What fails, as when the upstream CA cannot sign, holds up nothing else
    /// (SPIFFE Federation §4.1).
    pub fn advance(&self, kinds: &[KeyKind], rotation: &Rotation<'_>) -> Advanced {
        let mut advanced = Advanced { set: self.clone(), done: Vec::new(), failed: Vec::new() };
        for _ in 0..MAX_ROUNDS {
            let before = advanced.done.len();
            advanced.failed.clear();
            let due = advanced.set.plan(rotation.now, rotation.policy);
            for step in due.into_iter().filter(|step| kinds.contains(&step.kind())) {
                match advanced.set.apply(&step, rotation) {
                    Ok(set) => {
                        advanced.set = set;
                        advanced.done.push(step);
                    }
                    Err(error) => advanced.failed.push((step, error)),
                }
            }
            if advanced.done.len() == before {
                break;
            }
        }
        advanced
    }

    /// The trust domain (SPIFFE-ID §3.1).
    pub fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }

    /// The public half of all keys (SPIFFE Trust Domain and Bundle §4).
    pub fn bundle(&self) -> &Bundle {
        &self.bundle
    }

    /// All keys, for people (SPIFFE Federation §4.1).
    pub fn authorities(&self) -> Vec<AuthorityStatus> {
        let mut all = self.cas.status(KeyKind::X509);
        all.extend(self.jwt.status(KeyKind::Jwt));
        all.extend(self.wit.status(KeyKind::Wit));
        all
    }

    /// What that which the key `id` issued is worth now.
    pub fn standing(&self, kind: KeyKind, id: &AuthorityId) -> Standing {
        match kind {
            KeyKind::X509 => self.cas.standing(id),
            KeyKind::Jwt => self.jwt.standing(id),
            KeyKind::Wit => self.wit.standing(id),
        }
    }

    /// Issues an X.509-SVID by the active CA (X509-SVID §3.1, §4).
    pub fn issue_x509(&self, request: X509Request<'_>) -> Result<X509Svid> {
        let active = self.cas.active()?;
        active.key.issue(request, Some(active.longest))
    }

    /// Issues a JWT-SVID by the active JWT key (JWT-SVID §2, §3).
    pub fn issue_jwt_svid(&self, request: JwtSvidRequest<'_>) -> Result<String> {
        let active = self.jwt.active()?;
        active.key.issue_jwt_svid(request, Some(active.longest))
    }

    /// Issues a WIT-SVID by the active WIT key, if there is one (WIT-SVID §4). Experimental.
    pub fn issue_wit_svid(&self, request: WitRequest<'_>) -> Result<WitSvid> {
        let active = self.wit.active()?;
        wit::issue(&active.key, request, active.longest)
    }

    /// Signs a token of another class, such as `at+jwt`, by the active JWT key (RFC 7515 §3.1, RFC 9068 §2.1).
    ///
    /// The claims must end at `expires`, and that no later than [`AuthoritySet::token_limit`].
    pub fn sign(&self, typ: &str, claims: &impl Serialize, expires: Timestamp, now: Timestamp) -> Result<String> {
        if expires <= now || expires > self.token_limit(now)? {
            return Err(SvidError::Lifetime);
        }
        self.jwt.active()?.key.sign(typ, claims)
    }

    /// Until when a token that is issued now may live: no longer than its key is published (SPIFFE Federation §4.1).
    pub fn token_limit(&self, now: Timestamp) -> Result<Timestamp> {
        let active = self.jwt.active()?;
        Ok(active.key.validity.window(now, active.longest)?.not_after)
    }

    /// The name of the active key of a kind.
    pub fn active(&self, kind: KeyKind) -> Result<AuthorityId> {
        match kind {
            KeyKind::X509 => Ok(self.cas.active()?.key.id.clone()),
            KeyKind::Jwt => Ok(self.jwt.active()?.key.id.clone()),
            KeyKind::Wit => Ok(self.wit.active()?.key.id.clone()),
        }
    }

    /// Makes a key and puts it into its ring.
    fn add(&mut self, kind: KeyKind, phase: Phase, rotation: &Rotation<'_>) -> Result<()> {
        let Rotation { now, policy, keys, upstream } = *rotation;
        let longest = policy.longest(kind);
        let trust_domain = &self.trust_domain;
        if kind == KeyKind::X509 {
            let ttl = policy.x509_lifetime;
            // Before a device makes a key that nobody would need.
            upstream.map(|upstream| upstream.window(now, ttl)).transpose()?;
            let key = keys.generate(kind)?;
            let ca = match upstream {
                Some(upstream) => CertificateAuthority::below(upstream, trust_domain, key, now, ttl),
                None => CertificateAuthority::self_signed(trust_domain, key, now, ttl),
            };
            return self.cas.add(Entry::new(Arc::new(ca?), phase, now, longest));
        }
        let validity = Validity::starting(now, policy.token_lifetime);
        let key = Arc::new(TokenKey::new(trust_domain.clone(), keys.generate(kind)?, validity)?);
        let ring = if kind == KeyKind::Jwt { &mut self.jwt } else { &mut self.wit };
        ring.add(Entry::new(key, phase, now, longest))
    }

    /// Sees to it that a key of the kind is active, after the one that was is tainted or revoked.
    fn restore(&mut self, kind: KeyKind, rotation: &Rotation<'_>) -> Result<()> {
        let now = rotation.now;
        let restored = self.each(kind, |cas| Ok(cas.restore(now)), |keys| Ok(keys.restore(now)))?;
        let wanted = rotation.policy.kinds().contains(&kind);
        if wanted && !restored { self.add(kind, Phase::Active, rotation) } else { Ok(()) }
    }

    fn each<T>(
        &mut self,
        kind: KeyKind,
        on_cas: impl FnOnce(&mut Ring<CertificateAuthority>) -> Result<T>,
        on_keys: impl FnOnce(&mut Ring<TokenKey>) -> Result<T>,
    ) -> Result<T> {
        match kind {
            KeyKind::X509 => on_cas(&mut self.cas),
            KeyKind::Jwt => on_keys(&mut self.jwt),
            KeyKind::Wit => on_keys(&mut self.wit),
        }
    }

    /// The set with the bundle of its keys, whose sequence is `sequence` or, if the content is another, the next.
    fn settled(mut self, sequence: u64) -> Result<Self> {
        self.cas.active()?;
        self.jwt.active()?;
        let mut bundle = Bundle::empty(self.trust_domain.clone(), self.bundle.sequence);
        for ca in self.cas.keys() {
            for root in ca.roots() {
                if !bundle.x509_authorities.iter().any(|known| known == root) {
                    bundle.x509_authorities.push(root.to_vec());
                }
            }
        }
        bundle.jwt_keys = self.jwt.keys().map(TokenKey::public).collect();
        bundle.wit_keys = self.wit.keys().map(TokenKey::public).collect();
        bundle.revoked_signers = self.revoked.iter().map(|revoked| revoked.key).collect();
        let changed = bundle != self.bundle;
        bundle.sequence = if changed && self.bundle.sequence != 0 { sequence.saturating_add(1) } else { sequence.max(1) };
        self.bundle = bundle;
        Ok(self)
    }
}

impl fmt::Debug for AuthoritySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthoritySet")
            .field("trust_domain", &self.trust_domain)
            .field("sequence", &self.bundle.sequence)
            .field("authorities", &self.authorities())
            .finish_non_exhaustive()
    }
}

/// Each round of a plan may make the next one possible: prepare, activate, forget.
const MAX_ROUNDS: usize = 4;

/// How long after its last issue has ended a key is kept: for relying parties whose clock is behind.
const KEPT_LONGER: Ttl = Ttl::from_seconds(60);

#[cfg(test)]
mod tests;
