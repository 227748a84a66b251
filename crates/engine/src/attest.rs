//! Attestation: from what was seen of a process to the one identity that it is a copy of.

use std::collections::BTreeSet;
use std::sync::Arc;

use marque_core::attestation::{Attestation, Instance};
use marque_core::event::{Body, By};
use marque_core::id::{InstanceId, LeaseId, TaskId};
use marque_core::identity::Identity;
use marque_core::lease::CredentialClass;
use marque_core::state::{Dead, State};

use crate::attestors::{Attestor as _, Launch};
use crate::error::{EngineError, Result};
use crate::observe::{Process, start_time};
use crate::open::Engine;
use crate::serving::Identified;

/// What was seen of a process that connected.
#[derive(Clone, Debug)]
pub struct Observed(pub Attestation);

impl Engine {
    /// Looks at a process: at once where its executable is known, else off the threads that serve, for that is hashed then.
    pub async fn look(self: &Arc<Self>, process: &Process) -> Result<Observed> {
        match self.observer.glance(process)? {
            Some(seen) => Ok(Observed(seen)),
            None => {
                let process = process.clone();
                self.off(move |engine| engine.observer.attest(&process, engine.now())).await.map(Observed)
            }
        }
    }

    /// The instance that a process is, attested now: selectors that no longer match give nothing.
    ///
    /// Without a launch every active identity is considered, and more than one that fits is an error that names them.
    /// With one, only the launched identity is, and the process must descend from the launcher.
    pub async fn attest(&self, observed: Observed, launch: Option<&Launch>) -> Result<Instance> {
        let mut instances = self.attest_all(observed, launch).await?;
        match (instances.pop(), instances.last()) {
            (Some(one), None) => Ok(one),
            (Some(one), Some(other)) => Err(EngineError::Ambiguous(format!("`{}`, `{}`", other.identity, one.identity))),
            (None, _) => Err(EngineError::NoIdentity(String::new())),
        }
    }

    /// As [`Engine::attest`], for a process that may be several identities at once: each of them must have a hint that the
    /// others do not have (Workload API §5.2.1). They come in the order of their SPIFFE IDs, and there is at least one.
    pub async fn attest_all(&self, observed: Observed, launch: Option<&Launch>) -> Result<Vec<Instance>> {
        let mut attestation = observed.0;
        if let Some(launch) = launch {
            attestation = self.noted(Launch::NAME, launch.attest(attestation, self.now())).await?;
        }
        self.attest_seen(attestation, launch).await
    }

    /// The instances that the process of these copies is now, if entries have changed since; nothing while it has the same
    /// identities with the same hints. It is not looked at again: what was seen of it then counts. A copy that was revoked has
    /// no successor here: only a process that asks gets one.
    pub async fn attest_again(&self, copies: &[Identified], launch: Option<&Launch>) -> Result<Option<Vec<Instance>>> {
        let Some(first) = copies.first() else { return Ok(None) };
        let gone = || Dead::Unknown(first.instance.to_string());
        let seen = {
            let state = self.state();
            let seen = match state.check_instance(first.instance) {
                Ok(copy) => &copy.attestation,
                // It may be another identity now.
                Err(Dead::NoMatch(_)) => &state.instances.get(&first.instance).ok_or_else(gone)?.attestation,
                Err(dead) => return Err(dead.into()),
            };
            let same = |(identity, copy): (&&Identity, &Identified)| {
                identity.id == copy.identity && identity.hint.as_deref().unwrap_or_default() == copy.hint
            };
            if let Ok(now) = identify_again(&state, seen, launch)
                && now.len() == copies.len()
                && now.iter().zip(copies).all(same)
            {
                return Ok(None);
            }
            seen.clone()
        };
        self.attest_as(seen, launch, identify_again).await.map(Some)
    }

    /// Whether a process is still what was seen of it when it became these copies: it may have become another program.
    pub fn check_seen(&self, copies: &[Identified], observed: Observed, launch: Option<&Launch>) -> Result<()> {
        let mut now = observed.0;
        if let Some(launch) = launch {
            now = launch.attest(now, self.now())?;
        }
        let state = self.state();
        for copy in copies {
            let then = &state.instances.get(&copy.instance).ok_or_else(|| Dead::Unknown(copy.instance.to_string()))?.attestation;
            if (then.pid, then.started, &then.selectors) != (now.pid, now.started, &now.selectors) {
                return Err(EngineError::Forbidden(OTHER.into()));
            }
        }
        Ok(())
    }

    /// The instances of a process of which this was seen, here or on the node that it names.
    pub(crate) async fn attest_seen(&self, attestation: Attestation, launch: Option<&Launch>) -> Result<Vec<Instance>> {
        self.attest_as(attestation, launch, identify).await
    }

    async fn attest_as(&self, attestation: Attestation, launch: Option<&Launch>, who: Identify) -> Result<Vec<Instance>> {
        let by = By::System;
        let refused = match self.commit(by, |state, cx| attested(state, cx, &attestation, launch, who)).await {
            Err(error @ (EngineError::NoIdentity(_) | EngineError::Ambiguous(_))) => error,
            done => return done,
        };
        let why = refused.to_string();
        // Whoever asks again and again is told again and again, and recorded once a minute.
        if self.refusals.is_new(&why, self.now()) {
            tracing::warn!(pid = attestation.pid, "{why}");
            self.commit(By::System, |_, _| Ok(((), vec![Body::AttestationRefused { why }]))).await?;
        }
        Err(refused)
    }

    /// The lease by which a launched instance uses the gateway: one for each instance and task.
    pub async fn gateway_session(&self, instance: &Instance, task: TaskId) -> Result<LeaseId> {
        let key = (instance.id, task);
        let open = |state: &State, now| {
            let lease = self.svids.session(key)?;
            state.check_lease(lease, now).is_ok().then_some(lease)
        };
        let now = self.now();
        if let Some(lease) = open(&self.state(), now) {
            return Ok(lease);
        }
        self.commit(By::Instance(instance.id), |state, cx| {
            if let Some(lease) = open(state, cx.now) {
                return Ok((lease, Vec::new()));
            }
            state.check_instance(instance.id)?;
            let class = CredentialClass::GatewaySession;
            let (lease, event) =
                state.check_task(task, cx.now)?.lease(cx, instance, None, class, class.max_ttl(), state.epoch)?;
            // While the state is locked, so that whoever comes next finds it.
            self.svids.opened(key, lease.id);
            Ok((lease.id, vec![event]))
        })
        .await
    }

    /// Notes that processes have ended: their instances hold nothing any more.
    pub(crate) async fn reap(&self) -> Result<()> {
        let ended: Vec<InstanceId> = {
            let now = self.now();
            let state = self.state();
            let over = |i: &&Instance| match (&i.attestation.node, i.attestation.until) {
                // Of its processes a node tells; one that is silent shows nothing any more.
                (Some(node), _) => self.is_silent(node, now),
                (None, Some(until)) => now >= until,
                (None, None) => start_time(i.attestation.pid).ok() != Some(i.attestation.started),
            };
            state.instances.values().filter(over).map(|i| i.id).collect()
        };
        if ended.is_empty() {
            return Ok(());
        }
        self.svids.retain(|id| !ended.contains(id));
        self.commit(By::System, |state, _| {
            let still = ended.iter().filter(|id| state.instances.contains_key(id));
            Ok(((), still.map(|id| Body::InstanceEnded { instance: *id }).collect()))
        })
        .await?;
        self.ended.send_modify(|n| *n = n.wrapping_add(1));
        Ok(())
    }
}

fn attested(
    state: &State,
    cx: &mut marque_core::time::Cx<'_>,
    attestation: &Attestation,
    launch: Option<&Launch>,
    who: Identify,
) -> Result<(Vec<Instance>, Vec<Body>)> {
    if let Some(node) = &attestation.node {
        state.check_node(node)?;
    }
    let mut moves = (Vec::new(), Vec::new());
    for identity in who(state, attestation, launch)? {
        let (instance, event) = one(state, cx, attestation, identity, launch.map(|l| l.task));
        moves.0.push(instance);
        moves.1.extend(event);
    }
    Ok(moves)
}

/// The instance of one identity that a process is: the one it was when it was last seen, or a new one.
fn one(
    state: &State,
    cx: &mut marque_core::time::Cx<'_>,
    attestation: &Attestation,
    identity: &Identity,
    task: Option<TaskId>,
) -> (Instance, Option<Body>) {
    let mut known = copies_of(state, attestation, identity, task);
    if let Some(known) = known.find(|i| state.check_instance(i.id).is_ok()) {
        return (known.clone(), None);
    }
    let instance = Instance {
        id: InstanceId::fresh(cx),
        identity: identity.id.clone(),
        attestation: attestation.clone(),
        task,
        since: cx.now,
        epoch: state.epoch,
    };
    (instance.clone(), Some(Body::InstanceAttested { instance }))
}

/// What the process has been as this identity, with the same seen of it: copies that have not ended, revoked ones too.
fn copies_of<'a>(
    state: &'a State,
    attestation: &'a Attestation,
    identity: &'a Identity,
    task: Option<TaskId>,
) -> impl Iterator<Item = &'a Instance> {
    let same =
        move |i: &&Instance| i.identity == identity.id && i.task == task && i.attestation.selectors == attestation.selectors;
    state.instances_of(attestation).filter(same)
}

/// Which identities a process is.
type Identify = for<'a, 'b, 'c> fn(&'a State, &'b Attestation, Option<&'c Launch>) -> Result<Vec<&'a Identity>>;

/// As [`identify`], for a process that did not ask: without the identities of which every copy that it has been was revoked.
///
/// INVARIANT (I4 revocation is monotone): what was revoked does not come back on its own.
fn identify_again<'a>(state: &'a State, attestation: &Attestation, launch: Option<&Launch>) -> Result<Vec<&'a Identity>> {
    let mut found = identify(state, attestation, launch)?;
    let mut over = None;
    found.retain(|identity| {
        let mut dead = None;
        for copy in copies_of(state, attestation, identity, launch.map(|l| l.task)) {
            match state.check_instance(copy.id) {
                Ok(_) => return true,
                Err(why) => dead = Some(why),
            }
        }
        let is_new = dead.is_none();
        over = dead.or(over.take());
        is_new
    });
    match over {
        Some(dead) if found.is_empty() => Err(dead.into()),
        _ => Ok(found),
    }
}

/// The active identities for the place where the process was seen whose selectors were all seen: one, or several that a
/// hint of their own tells apart.
fn identify<'a>(state: &'a State, attestation: &Attestation, launch: Option<&Launch>) -> Result<Vec<&'a Identity>> {
    let (seen, node) = (&attestation.selectors, attestation.node.as_ref());
    let considered = |i: &&Identity| i.runs_on(node) && launch.is_none_or(|l| l.identity == i.id);
    let found: Vec<&Identity> = state.identities_matching(seen).into_iter().filter(considered).collect();
    if found.is_empty() {
        return Err(EngineError::no_identity(seen));
    }
    let hints: BTreeSet<&str> = found.iter().filter_map(|i| i.hint.as_deref()).collect();
    if found.len() == 1 || hints.len() == found.len() {
        return Ok(found);
    }
    Err(EngineError::Ambiguous(found.iter().map(|i| format!("`{}`", i.id)).collect::<Vec<_>>().join(", ")))
}

/// Said to a process of which something else is seen now than when it connected.
pub const OTHER: &str = "this process is not what it was when it was attested: connect again";
