//! The trust domain's signing keys: rotation on schedule and by command, and the bundles of other trust domains.

use std::sync::{Arc, PoisonError};

use marque_core::event::{AuthorityStep, Body, By};
use marque_core::spiffe::TrustDomain;
use marque_svid::{AuthorityId, AuthoritySet, AuthorityStatus, Bundle, BundleSet, KeyKind, Phase, Rotation, SoftwareKeys, Step};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use zeroize::Zeroizing;

use crate::caller::Caller;
use crate::error::{EngineError, Result};
use crate::open::Engine;

/// A signing key with where it stands, for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuthorityView {
    /// What it signs: `x509`, `jwt` or `wit`.
    pub kind: String,
    /// Its name.
    pub id: String,
    /// `prepared`, `active` or `retired`.
    pub phase: String,
    /// Whether it is tainted.
    pub tainted: bool,
    /// When it begins.
    pub not_before: marque_core::time::Timestamp,
    /// When it ends.
    pub not_after: marque_core::time::Timestamp,
}

/// A change of the keys that a person asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AuthorityVerb {
    /// Make the next key and publish it.
    Prepare,
    /// Let a prepared key issue.
    Activate,
    /// Use a key no longer, and issue anew what it issued.
    Taint,
    /// Take a key out of the bundle at once.
    Revoke,
}

impl Engine {
    /// The keys as they are now. What is issued and verified by one of these fits together.
    pub fn authorities(&self) -> Arc<AuthoritySet> {
        self.authority.load_full()
    }

    /// Every key, for people.
    pub fn authority_list(&self) -> Vec<AuthorityView> {
        self.authorities().authorities().iter().map(view).collect()
    }

    /// The discovery document of this trust domain's issuer (OpenID Connect Discovery §3).
    pub fn discovery_document(&self) -> Result<String> {
        let issuer = self.issuer();
        Ok(marque_svid::oidc::OwnDiscovery::new(issuer, &format!("{issuer}/oauth/jwks")).to_json()?)
    }

    /// Follows changes of the bundles, ours and others', and of what is tainted.
    pub fn watch_bundles(&self) -> watch::Receiver<u64> {
        self.bundles_changed.subscribe()
    }

    /// Changes the keys on a person's word (SPIFFE Federation §4.1). Without a name, `activate` means the prepared key, and
    /// `taint` and `revoke` the active one.
    pub async fn change_authority(
        self: &Arc<Self>,
        by: &Caller,
        verb: AuthorityVerb,
        kind: KeyKind,
        id: Option<&str>,
        why: &str,
    ) -> Result<Vec<AuthorityView>> {
        by.person()?;
        loop {
            let set = self.authorities();
            let step = asked(&set, verb, kind, id)?;
            let (from, wanted) = (Arc::clone(&set), step.clone());
            let next = self.off(move |engine| Ok(from.apply(&wanted, &engine.rotation(&SoftwareKeys))?)).await?;
            if self.change_keys(by.by(), &set, next, vec![step], why).await? {
                return Ok(self.authority_list());
            }
        }
    }

    /// Does what is due for keys of a kind: prepares, activates and forgets them. Says whether all of it was done; what failed
    /// may go well later.
    ///
    /// It waits for a device as long as that takes, and nothing waits for it: this is no part of [`Engine::tick`], and of the
    /// kinds each goes on by itself.
    pub async fn rotate(self: &Arc<Self>, kind: KeyKind) -> Result<bool> {
        loop {
            let set = self.authorities();
            if !set.plan(self.now(), &self.options.rotation).iter().any(|step| step.kind() == kind) {
                return Ok(true);
            }
            let from = Arc::clone(&set);
            let advanced = self.off(move |engine| Ok(from.advance(&[kind], &engine.rotation(&SoftwareKeys)))).await?;
            for (step, error) in &advanced.failed {
                tracing::error!("a key could not be changed ({step:?}): {error}");
            }
            let is_done = advanced.failed.is_empty();
            if advanced.done.is_empty() || self.change_keys(By::System, &set, advanced.set, advanced.done, "on schedule").await? {
                return Ok(is_done);
            }
        }
    }

    /// The file first, then the log, then the keys: what issues has been published, and what was published is kept. Not done
    /// where the keys are others than those that the next ones were made from: no device is waited for under the lock.
    async fn change_keys(
        &self,
        by: By,
        from: &Arc<AuthoritySet>,
        next: AuthoritySet,
        steps: Vec<Step>,
        why: &str,
    ) -> Result<bool> {
        let _one_at_a_time = self.changing.lock().await;
        if !Arc::ptr_eq(from, &self.authorities()) {
            return Ok(false);
        }
        let bytes = Zeroizing::new(serde_json::to_vec_pretty(&next.to_stored())?);
        self.dir.write_secret(crate::keys::AUTHORITY_FILE, &bytes)?;
        let sequence = next.bundle().sequence;
        let why: String = why.chars().take(500).collect();
        let body = |step: &Step| {
            let (step, kind, id) = told(step);
            let authority = id.map(|id| id.to_string()).unwrap_or_default();
            Body::AuthorityStepped { step, signs: kind_name(kind).to_owned(), authority, sequence, why: why.clone() }
        };
        let bodies: Vec<Body> = steps.iter().map(body).collect();
        self.commit(by, |_, _| Ok(((), bodies))).await?;
        self.authority.store(Arc::new(next));
        self.bundles_changed.send_modify(|n| *n = n.wrapping_add(1));
        Ok(true)
    }

    fn rotation<'a>(&'a self, keys: &'a SoftwareKeys) -> Rotation<'a> {
        Rotation { now: self.now(), policy: &self.options.rotation, keys, upstream: self.options.upstream.as_deref() }
    }

    /// The bundles of other trust domains, as they were last fetched.
    pub fn foreign_bundles(&self) -> BundleSet {
        self.foreign.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes in the bundle that another trust domain publishes (SPIFFE Federation §4.2); it is kept for the next start.
    pub fn offer_bundle(&self, bundle: Bundle) -> Result<()> {
        if bundle.trust_domain == self.trust_domain {
            return Err(EngineError::Invalid(format!("`{}` is this trust domain", bundle.trust_domain)));
        }
        let (name, document) = (bundle_file(&bundle.trust_domain), bundle.to_spiffe_json()?);
        let offered = self.foreign.write().unwrap_or_else(PoisonError::into_inner).offer(bundle)?;
        if offered == marque_svid::Offered::Taken {
            self.dir.write(&name, document.as_bytes())?;
            self.bundles_changed.send_modify(|n| *n = n.wrapping_add(1));
        }
        Ok(())
    }
}

/// The step that a person asks for.
fn asked(set: &AuthoritySet, verb: AuthorityVerb, kind: KeyKind, id: Option<&str>) -> Result<Step> {
    let (keys, name) = (set.authorities(), kind_name(kind));
    let find =
        |wanted: &dyn Fn(&AuthorityStatus) -> bool| keys.iter().find(|k| k.kind == kind && wanted(k)).map(|k| k.id.clone());
    // By its name, or else the one in this phase.
    let key = |phase: Phase, none: String| match id {
        Some(id) => {
            let unknown = || EngineError::not_found("key", id.chars().take(80).flat_map(char::escape_debug).collect::<String>());
            find(&|key: &AuthorityStatus| key.id.as_str() == id).ok_or_else(unknown)
        }
        None => find(&|key: &AuthorityStatus| key.phase == phase).ok_or(EngineError::Invalid(none)),
    };
    let active = || key(Phase::Active, format!("no {name} key is active: see `marque authority list`"));
    Ok(match verb {
        AuthorityVerb::Prepare => Step::Prepare { kind },
        AuthorityVerb::Activate => {
            let none = format!("no {name} key is prepared: prepare one with `marque authority prepare {name}`");
            Step::Activate { kind, id: key(Phase::Prepared, none)? }
        }
        AuthorityVerb::Taint => Step::Taint { kind, id: active()? },
        AuthorityVerb::Revoke => Step::Revoke { kind, id: active()? },
    })
}

/// The file of a foreign bundle.
pub(crate) fn bundle_file(trust_domain: &TrustDomain) -> String {
    format!("federation/{trust_domain}.json")
}

fn view(status: &AuthorityStatus) -> AuthorityView {
    let phase = match status.phase {
        Phase::Prepared => "prepared",
        Phase::Active => "active",
        Phase::Retired(_) => "retired",
    };
    AuthorityView {
        kind: kind_name(status.kind).to_owned(),
        id: status.id.to_string(),
        phase: phase.to_owned(),
        tainted: status.tainted.is_some(),
        not_before: status.not_before,
        not_after: status.not_after,
    }
}

fn told(step: &Step) -> (AuthorityStep, KeyKind, Option<&AuthorityId>) {
    match step {
        Step::Prepare { kind } => (AuthorityStep::Prepared, *kind, None),
        Step::Activate { kind, id } => (AuthorityStep::Activated, *kind, Some(id)),
        Step::Forget { kind, id } => (AuthorityStep::Forgotten, *kind, Some(id)),
        Step::Taint { kind, id } => (AuthorityStep::Tainted, *kind, Some(id)),
        Step::Revoke { kind, id } => (AuthorityStep::Revoked, *kind, Some(id)),
    }
}

const fn kind_name(kind: KeyKind) -> &'static str {
    match kind {
        KeyKind::X509 => "x509",
        KeyKind::Jwt => "jwt",
        KeyKind::Wit => "wit",
    }
}
