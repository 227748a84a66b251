//! What nodes ask of the server: what they may show, who a process of theirs is, and what ended.

use std::collections::{BTreeMap, BTreeSet};

use marque_core::attestation::{Attestation, Instance, Selector};
use marque_core::event::{Body, By};
use marque_core::id::InstanceId;
use marque_core::identity::Identity;
use marque_core::lease::Lease;
use marque_core::revocation::Epoch;
use marque_core::spiffe::{SpiffeId, TrustDomain};
use marque_core::state::Dead;
use marque_core::time::Ttl;
use marque_svid::{AuthorityId, AuthorityStatus, KeyKind, Standing};
use serde::{Deserialize, Serialize};

use crate::digest::sha256;
use crate::error::{EngineError, Result};
use crate::nodes::{NodePeer, check_peer};
use crate::open::Engine;

/// A running copy, with the credentials that it holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holding {
    /// The copy.
    pub instance: Instance,
    /// Its live leases.
    pub leases: Vec<Lease>,
}

/// One identity that a process has, by the copy that it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identified {
    /// The copy.
    pub instance: InstanceId,
    /// The identity.
    pub identity: SpiffeId,
    /// What tells the identity apart from the others of its process; empty where it is the only one.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub hint: String,
}

/// What a node saw of a process.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeSight {
    /// The process, on the node.
    pub pid: u32,
    /// The kernel's start time of the process there.
    pub started: u64,
    /// All facts seen, of the attestors `unix` and `systemd`.
    pub selectors: BTreeSet<Selector>,
}

/// What a node may show, in full.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeSync {
    /// Names this content: who has it needs no answer.
    pub seen: String,
    /// How long it may be shown without hearing from the server again.
    pub max_staleness: Ttl,
    /// The last epoch.
    pub epoch: Epoch,
    /// The identities that the node may serve.
    pub identities: BTreeSet<SpiffeId>,
    /// Names what these ask for: once it is another, a process may be others than it was.
    pub entries: String,
    /// The copies on the node that still count.
    pub live: BTreeSet<InstanceId>,
    /// The trust domain.
    pub trust_domain: TrustDomain,
    /// Its bundle (SPIFFE Trust Domain and Bundle §4).
    pub own: String,
    /// The bundles of other trust domains, as a map (SPIFFE Trust Domain and Bundle §5).
    pub foreign: String,
    /// The keys of which X.509-SVIDs and WIT-SVIDs may be shown; what others signed is to be fetched anew.
    pub good: BTreeSet<AuthorityId>,
}

impl Engine {
    /// The live copies, of one identity where given, and their live leases.
    pub fn holdings(&self, of: Option<&SpiffeId>) -> Vec<Holding> {
        let now = self.now();
        let state = self.state();
        let live = |i: &&Instance| state.check_instance(i.id).is_ok() && of.is_none_or(|id| i.identity == *id);
        let mut holding: BTreeMap<InstanceId, Holding> =
            state.instances.values().filter(live).map(|i| (i.id, Holding { instance: i.clone(), leases: Vec::new() })).collect();
        for lease in state.leases.values() {
            if let Some(holder) = holding.get_mut(&lease.instance)
                && state.check_lease(lease.id, now).is_ok()
            {
                holder.leases.push(lease.clone());
            }
        }
        holding.into_values().collect()
    }

    /// The identities that these copies are of, with their hints.
    pub fn identified(&self, instances: &[Instance]) -> Vec<Identified> {
        let state = self.state();
        let hint = |i: &Instance| state.identities.get(&i.identity).and_then(|i| i.hint.clone()).unwrap_or_default();
        instances.iter().map(|i| Identified { instance: i.id, identity: i.identity.clone(), hint: hint(i) }).collect()
    }

    /// The keys of which X.509-SVIDs and WIT-SVIDs may be shown.
    pub fn good_authorities(&self) -> BTreeSet<AuthorityId> {
        let set = self.authorities();
        let good = |a: &AuthorityStatus| a.kind != KeyKind::Jwt && set.standing(a.kind, &a.id) == Standing::Good;
        set.authorities().into_iter().filter(good).map(|a| a.id).collect()
    }

    /// A copy that still counts.
    pub fn instance(&self, id: InstanceId) -> Result<Instance> {
        Ok(self.state().check_instance(id)?.clone())
    }

    /// Why a copy may be shown nothing any more: it, or the task that it was launched for, no longer counts. Of one whose identity
    /// asks for other selectors now, [`Engine::attest_again`] says who its process is instead.
    pub fn ended(&self, id: InstanceId) -> Option<Dead> {
        let now = self.now();
        let state = self.state();
        match state.check_instance(id) {
            Ok(copy) => copy.task.and_then(|task| state.check_task(task, now).err()),
            Err(Dead::NoMatch(_)) => None,
            Err(dead) => Some(dead),
        }
    }

    /// A copy of this node that still counts; one of another node is none of its business.
    pub fn node_instance(&self, peer: &NodePeer, id: InstanceId) -> Result<Instance> {
        let now = self.now();
        let state = self.state();
        check_peer(&state, peer, now)?;
        let instance = state.check_instance(id)?;
        if instance.attestation.node.as_ref() != Some(&peer.name) {
            return Err(EngineError::Forbidden(format!("`{id}` does not run on node `{}`", peer.name)));
        }
        Ok(instance.clone())
    }

    /// What a node may show now.
    pub fn node_sync(&self, peer: &NodePeer) -> Result<NodeSync> {
        let set = self.authorities();
        let (own, foreign) = (set.bundle().to_spiffe_json()?, self.foreign_bundles().to_map_json()?);
        let good = self.good_authorities();
        let now = self.now();
        let mut sync = {
            let state = self.state();
            check_peer(&state, peer, now)?;
            let here = |i: &&Instance| i.attestation.node.as_ref() == Some(&peer.name);
            let live = state.instances.values().filter(here).filter(|i| state.check_instance(i.id).is_ok());
            let entitled: Vec<&Identity> = state.identities.values().filter(|i| i.runs_on(Some(&peer.name))).collect();
            let entries: Vec<_> = entitled.iter().map(|i| (&i.id, &i.selectors, &i.hint, i.state)).collect();
            NodeSync {
                seen: String::new(),
                max_staleness: self.max_staleness(),
                epoch: state.epoch,
                identities: entitled.iter().map(|i| i.id.clone()).collect(),
                entries: sha256(&serde_json::to_vec(&entries)?).to_string(),
                live: live.map(|i| i.id).collect(),
                trust_domain: self.trust_domain.clone(),
                own,
                foreign,
                good,
            }
        };
        sync.seen = sha256(&serde_json::to_vec(&sync)?).to_string();
        Ok(sync)
    }

    /// The copies that a process of a node is, attested by what the node saw of it. Only identities that name the node are
    /// considered, whatever it says that it saw.
    pub async fn attest_on_node(&self, peer: &NodePeer, sight: NodeSight) -> Result<Vec<Identified>> {
        let now = self.now();
        let of_node = check_peer(&self.state(), peer, now)?.selectors.clone();
        let seen_there = |s: &&Selector| SEEN_THERE.iter().any(|attestor| s.as_str().starts_with(attestor));
        if let Some(other) = sight.selectors.iter().find(|s| !seen_there(s)) {
            return Err(EngineError::Invalid(format!("`{other}` is not for a node to see")));
        }
        if sight.selectors.len() > MOST_SELECTORS {
            return Err(EngineError::Invalid(format!("at most {MOST_SELECTORS} selectors")));
        }
        let NodeSight { pid, started, mut selectors } = sight;
        selectors.insert(Selector::new("node", "name", &peer.name)?);
        selectors.extend(of_node);
        let node = Some(peer.name.clone());
        let seen = Attestation { method: "unix".into(), pid, started, selectors, until: None, node };
        let instances = self.attest_seen(seen, None).await?;
        Ok(self.identified(&instances))
    }

    /// The copies that the process of these is now, if its entries have changed since; nothing while it is who it was.
    pub async fn attest_again_on_node(&self, peer: &NodePeer, copies: &[Identified]) -> Result<Option<Vec<Identified>>> {
        for copy in copies {
            self.node_instance(peer, copy.instance)?;
        }
        Ok(self.attest_again(copies, None).await?.map(|instances| self.identified(&instances)))
    }

    /// A node says that processes have ended: their copies hold nothing any more.
    pub async fn end_on_node(&self, peer: &NodePeer, said: &BTreeSet<InstanceId>) -> Result<()> {
        let ended = self
            .commit(By::System, |state, cx| {
                check_peer(state, peer, cx.now)?;
                let theirs =
                    |i: &&InstanceId| state.instances.get(i).is_some_and(|i| i.attestation.node.as_ref() == Some(&peer.name));
                let ended: BTreeSet<InstanceId> = said.iter().filter(theirs).copied().collect();
                let bodies = ended.iter().map(|id| Body::InstanceEnded { instance: *id }).collect();
                Ok((ended, bodies))
            })
            .await?;
        if !ended.is_empty() {
            self.let_instances_go(&ended);
        }
        Ok(())
    }
}

/// The attestors of a node. Of launches, tokens and itself it says nothing that counts.
const SEEN_THERE: [&str; 2] = ["unix:", "systemd:"];
const MOST_SELECTORS: usize = 256;
