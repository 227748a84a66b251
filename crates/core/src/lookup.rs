//! Who a process may be, and what has expired, found without looking at everything.

use std::collections::{BTreeMap, BTreeSet};

use crate::attestation::{Attestation, Instance, Selector};
use crate::id::{InstanceId, LeaseId};
use crate::identity::Identity;
use crate::lease::Lease;
use crate::node::NodeName;
use crate::spiffe::SpiffeId;
use crate::time::Timestamp;

/// Where to look in the maps of a [`State`](crate::state::State): it gives candidates, and who asks checks each of them.
#[derive(Clone, Debug, Default)]
pub struct Lookup {
    /// Each identity under one of its selectors, the one that the fewest others were under when it came.
    identities: BTreeMap<Selector, BTreeSet<SpiffeId>>,
    under: BTreeMap<SpiffeId, Selector>,
    processes: BTreeMap<Process, BTreeSet<InstanceId>>,
    ends: BTreeSet<(Timestamp, LeaseId)>,
}

/// Two states are the same when they know the same; how fast they find it is no part of that.
impl PartialEq for Lookup {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Lookup {}

/// One process for good: pid, start time, host.
type Process = (u32, u64, Option<NodeName>);

fn process(seen: &Attestation) -> Process {
    (seen.pid, seen.started, seen.node.clone())
}

impl Lookup {
    pub(crate) fn identity(&mut self, identity: &Identity) {
        if let Some(old) = self.under.remove(&identity.id)
            && let Some(there) = self.identities.get_mut(&old)
        {
            there.remove(&identity.id);
        }
        let crowd = |selector: &&Selector| self.identities.get(*selector).map_or(0, BTreeSet::len);
        // Without selectors an identity matches nothing, and is found nowhere.
        let Some(rarest) = identity.selectors.iter().min_by_key(crowd).cloned() else { return };
        self.identities.entry(rarest.clone()).or_default().insert(identity.id.clone());
        self.under.insert(identity.id.clone(), rarest);
    }

    pub(crate) fn begun(&mut self, instance: &Instance) {
        self.processes.entry(process(&instance.attestation)).or_default().insert(instance.id);
    }

    pub(crate) fn ended(&mut self, instance: &Instance) {
        let of = process(&instance.attestation);
        if let Some(there) = self.processes.get_mut(&of) {
            there.remove(&instance.id);
            if there.is_empty() {
                self.processes.remove(&of);
            }
        }
    }

    pub(crate) fn issued(&mut self, lease: &Lease) {
        self.ends.insert((lease.expires, lease.id));
    }

    /// The credentials that have expired at `now`, each told once.
    pub(crate) fn expired(&mut self, now: Timestamp) -> impl Iterator<Item = LeaseId> {
        std::iter::from_fn(move || if self.ends.first()?.0 <= now { self.ends.pop_first() } else { None }).map(|(_, id)| id)
    }

    /// The identities of which all selectors may be among `seen`, in no order that means anything.
    pub(crate) fn identities_of<'a>(&'a self, seen: &'a BTreeSet<Selector>) -> impl Iterator<Item = &'a SpiffeId> {
        seen.iter().filter_map(|selector| self.identities.get(selector)).flatten()
    }

    /// The instances that the process of an attestation has been.
    pub(crate) fn instances_of(&self, seen: &Attestation) -> impl Iterator<Item = &InstanceId> {
        self.processes.get(&process(seen)).into_iter().flatten()
    }
}
