//! Issuing SVIDs. A lease is in the log before its credential is handed out.

mod wit;

pub use wit::{HeldWit, IssuedWit};

use std::net::IpAddr;

use marque_core::attestation::Instance;
use marque_core::event::{Body, By};
use marque_core::id::LeaseId;
use marque_core::lease::{CredentialClass, Lease};
use marque_core::node::SERVER_PATH;
use marque_core::scope::Scope;
use marque_core::spiffe::SpiffeId;
use marque_core::state::State;
use marque_core::time::{Cx, Timestamp, Ttl};
use marque_svid::{JwtSvidRequest, X509Request, X509Svid};
use serde_json::{Map, Value};

use crate::caller::Workload;
use crate::error::{EngineError, Result};
use crate::open::Engine;

/// An X.509-SVID with its lease.
#[derive(Debug)]
pub struct IssuedX509 {
    /// The lease.
    pub lease: LeaseId,
    /// Chain and key.
    pub svid: X509Svid,
}

/// A JWT-SVID that was found good.
#[derive(Clone, Debug)]
pub struct ValidatedJwt {
    /// Whose it is.
    pub id: SpiffeId,
    /// All its claims.
    pub claims: Map<String, Value>,
}

impl Engine {
    /// An X.509-SVID for an instance (X509-SVID §3). Its serial number is the lease's identifier.
    pub async fn x509_svid(&self, instance: &Instance) -> Result<IssuedX509> {
        self.issue_x509(instance, None).await
    }

    pub(crate) async fn issue_x509(&self, instance: &Instance, broker: Option<&Workload>) -> Result<IssuedX509> {
        let class = CredentialClass::X509Svid;
        let mut lease = self.fresh_lease(instance, class)?;
        let svid = self.authorities().issue_x509(X509Request {
            id: &instance.identity,
            dns: &[],
            ips: &[],
            ttl: life(&lease),
            now: lease.issued,
            serial: lease.id.to_bytes(),
        })?;
        lease.handle.clone_from(&svid.serial);
        lease.expires = svid.not_after.min(lease.expires);
        lease.binding = Some(marque_svid::thumbprint_b64url(&svid.thumbprint));
        self.record_lease(instance, broker, lease.clone()).await?;
        Ok(IssuedX509 { lease: lease.id, svid })
    }

    /// The server's own certificate, for its listeners: its SPIFFE ID is `spiffe://<trust domain>/marque`.
    pub fn server_svid(&self, dns: &[String], ips: &[IpAddr]) -> Result<X509Svid> {
        let mut serial = [0; 16];
        self.env.entropy.fill(&mut serial);
        let id = self.trust_domain.join(SERVER_PATH)?;
        let ttl = CredentialClass::X509Svid.max_ttl();
        Ok(self.authorities().issue_x509(X509Request { id: &id, dns, ips, ttl, now: self.now(), serial })?)
    }

    /// A JWT-SVID for an instance (JWT-SVID §3). Its `jti` is the lease's identifier.
    pub async fn jwt_svid(&self, instance: &Instance, audience: &[String]) -> Result<String> {
        self.issue_jwt(instance, None, audience).await
    }

    /// As [`Engine::jwt_svid`], for a broker that speaks for the instance (SPIFFE Broker API §6.2.1).
    pub async fn brokered_jwt_svid(&self, broker: &Workload, instance: &Instance, audience: &[String]) -> Result<String> {
        self.issue_jwt(instance, Some(broker), audience).await
    }

    async fn issue_jwt(&self, instance: &Instance, broker: Option<&Workload>, audience: &[String]) -> Result<String> {
        if audience.is_empty() || audience.iter().any(String::is_empty) {
            return Err(EngineError::Invalid("a JWT-SVID needs an audience".into()));
        }
        let class = CredentialClass::JwtSvid;
        let mut lease = self.fresh_lease(instance, class)?;
        lease.handle = lease.id.to_string();
        let token = self.authorities().issue_jwt_svid(JwtSvidRequest {
            id: &instance.identity,
            audience,
            issuer: Some(&self.options.issuer),
            jti: &lease.handle,
            now: lease.issued,
            ttl: life(&lease),
        })?;
        self.record_lease(instance, broker, lease).await?;
        Ok(token)
    }

    /// Checks a JWT-SVID by the bundle of its own trust domain: signature, claims and audience. One of this trust domain
    /// must have a lease that is alive, too.
    pub fn validate_any_jwt_svid(&self, token: &str, audience: Option<&str>) -> Result<ValidatedJwt> {
        match self.foreign_bundles().verify_jwt_svid(token, audience, self.now()) {
            Ok(verified) => Ok(ValidatedJwt { id: verified.id, claims: verified.claims }),
            Err(_) => self.validate_jwt_svid(token, audience),
        }
    }

    /// Checks a JWT-SVID of this trust domain: signature, claims, audience, and that its lease is alive.
    pub fn validate_jwt_svid(&self, token: &str, audience: Option<&str>) -> Result<ValidatedJwt> {
        let now = self.now();
        let verified = marque_svid::verify_jwt_svid(token, self.authorities().bundle(), audience, now)?;
        self.check_token("JWT-SVID", &verified.claims, &verified.id, now)?;
        Ok(ValidatedJwt { id: verified.id, claims: verified.claims })
    }

    /// That the lease which a token of ours is of is alive, and of whom the token names.
    fn check_token(&self, what: &str, claims: &Map<String, Value>, id: &SpiffeId, now: Timestamp) -> Result<()> {
        let jti = claims.get("jti").and_then(|j| j.as_str()).unwrap_or_default();
        let lease: LeaseId = jti.parse().map_err(|_| EngineError::Unauthenticated(format!("this {what} was not issued here")))?;
        if self.state().check_lease(lease, now)?.identity != *id {
            return Err(EngineError::Unauthenticated(format!("this {what} names another identity than its lease")));
        }
        Ok(())
    }

    /// A lease without a scope of its own: an SVID proves who its holder is, and allows nothing.
    fn fresh_lease(&self, instance: &Instance, class: CredentialClass) -> Result<Lease> {
        let (lease, _) = self.enqueue(By::Instance(instance.id), |state, cx| {
            let lease = lease(state, cx, instance, class)?;
            Ok((lease, Vec::new()))
        })?;
        Ok(lease)
    }

    /// On whose word: the instance's own, or that of the broker that fetches the credential for it, and has it then.
    ///
    /// INVARIANT (I4 revocation is monotone): the fence. What was revoked while the key was made is not handed out.
    async fn record_lease(&self, instance: &Instance, broker: Option<&Workload>, lease: Lease) -> Result<()> {
        let by = broker.map_or(instance.id, |broker| broker.instance);
        self.commit(By::Instance(by), |state, cx| {
            check(state, instance, broker, cx.now)?;
            let holder = broker.map(|broker| broker.instance);
            Ok(((), vec![Body::LeaseIssued { lease: Lease { holder, ..lease } }]))
        })
        .await
    }
}

/// How long a credential lives: no longer than its lease (INVARIANT (I2 leases die first)).
fn life(lease: &Lease) -> Ttl {
    let seconds = lease.expires.seconds().saturating_sub(lease.issued.seconds());
    Ttl::from_seconds(u64::try_from(seconds).unwrap_or(0))
}

fn lease(state: &State, cx: &mut Cx<'_>, instance: &Instance, class: CredentialClass) -> Result<Lease> {
    let mut expires = cx.now.plus(class.max_ttl());
    if let Some(until) = instance.attestation.until {
        // What a token attested is over when the token is, for third parties, too.
        expires = expires.min(until);
    }
    check(state, instance, None, cx.now)?;
    if let Some(task) = instance.task {
        // INVARIANT (I2 leases die first).
        expires = expires.min(state.check_task(task, cx.now)?.expires);
    }
    Ok(Lease {
        id: LeaseId::fresh(cx),
        class,
        identity: instance.identity.clone(),
        instance: instance.id,
        holder: None,
        task: instance.task,
        scope: Scope::default(),
        issued: cx.now,
        expires,
        handle: String::new(),
        binding: None,
        epoch: state.epoch,
    })
}

/// Whether an instance may have a credential now: it counts, and its task; and whether a broker still counts that has it then.
pub(crate) fn check(state: &State, instance: &Instance, broker: Option<&Workload>, now: Timestamp) -> Result<()> {
    state.check_instance(instance.id)?;
    if let Some(task) = instance.task {
        state.check_task(task, now)?;
    }
    if let Some(broker) = broker {
        state.check_lease(broker.lease, now)?;
    }
    Ok(())
}
