//! No sequence of operations gives an SVID to a process whose selectors do not match at that moment.

use std::collections::{BTreeMap, BTreeSet};

use marque_core::attestation::{Instance, Selector};
use marque_core::revocation::Target;
use marque_engine::desired::{Desired, IdentitySpec};
use proptest::prelude::*;

use super::world::{World, agent, observed};

#[derive(Clone, Debug)]
enum Step {
    /// An identity is registered, or gets other selectors.
    Apply(usize, BTreeSet<&'static str>),
    /// A process asks: it is attested, and gets both SVIDs.
    Ask(BTreeSet<&'static str>),
    /// A copy that was attested before asks for more without being attested again.
    Again(usize),
    /// Whatever an identity holds is revoked.
    Revoke(usize),
    /// A running copy is revoked.
    End(usize),
    Wait(i64),
}

const NAMES: [&str; 3] = ["agent/a", "agent/b", "agent/c"];
const FACTS: [&str; 4] = ["unix:uid:1", "unix:uid:2", "unix:path:/a", "unix:path:/b"];

fn facts(least: usize) -> impl Strategy<Value = BTreeSet<&'static str>> {
    prop::sample::subsequence(FACTS.to_vec(), least..=4).prop_map(BTreeSet::from_iter)
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0_usize..3, facts(1)).prop_map(|(n, facts)| Step::Apply(n, facts)),
        4 => facts(0).prop_map(Step::Ask),
        3 => (0_usize..8).prop_map(Step::Again),
        1 => (0_usize..3).prop_map(Step::Revoke),
        1 => (0_usize..8).prop_map(Step::End),
        1 => (1_i64..4000).prop_map(Step::Wait),
    ]
}

/// What the world should know.
#[derive(Default)]
struct Model {
    /// The selectors of those that are active.
    active: BTreeMap<&'static str, BTreeSet<&'static str>>,
    /// The copies, with what was seen of them.
    copies: Vec<(Instance, BTreeSet<&'static str>)>,
    given: usize,
}

impl Model {
    fn matching(&self, seen: &BTreeSet<&'static str>) -> Vec<&'static str> {
        self.active.iter().filter(|(_, selectors)| selectors.is_subset(seen)).map(|(name, _)| *name).collect()
    }

    async fn take(&mut self, world: &World, step: Step) -> Result<(), TestCaseError> {
        match step {
            Step::Apply(n, selectors) => {
                let name = NAMES[n];
                let parsed: BTreeSet<Selector> = selectors.iter().map(|fact| fact.parse().unwrap()).collect();
                let identity = IdentitySpec { selectors: parsed, ..agent(name, "invoke:tool:*") };
                let desired = Desired { identities: vec![identity], ..Desired::default() };
                world.engine.apply(&world.admin, &desired).await.unwrap();
                // What was suspended stays so until somebody activates it.
                let id = format!("spiffe://example.org/{name}").parse().unwrap();
                if world.state().identities[&id].state == marque_core::identity::Lifecycle::Active {
                    self.active.insert(name, selectors);
                }
            }
            Step::Ask(seen) => {
                let list: Vec<&str> = seen.iter().copied().collect();
                let attested = world.engine.attest(observed(&list), None).await;
                let matching = self.matching(&seen);
                prop_assert_eq!(attested.is_ok(), matching.len() == 1, "{:?} matches {:?}", seen, matching);
                if let Ok(instance) = attested {
                    prop_assert_eq!(instance.identity.short().to_string(), matching[0]);
                    prop_assert!(world.engine.jwt_svid(&instance, &["a".to_owned()]).await.is_ok());
                    prop_assert!(world.engine.current_x509_svid(&instance).await.is_ok());
                    self.given += 1;
                    self.copies.push((instance, seen));
                }
            }
            Step::Again(k) => {
                let Some((instance, seen)) = self.copies.get(k) else { return Ok(()) };
                let jwt = world.engine.jwt_svid(instance, &["a".to_owned()]).await;
                let x509 = world.engine.current_x509_svid(instance).await;
                let name = instance.identity.short().to_string();
                let matches = self.active.iter().any(|(active, selectors)| *active == name && selectors.is_subset(seen));
                prop_assert!(matches || (jwt.is_err() && x509.is_err()), "{} by {:?}", name, seen);
            }
            Step::Revoke(n) => {
                let target = Target::Identity(format!("spiffe://example.org/{}", NAMES[n]).parse().unwrap());
                if world.engine.revoke(&world.admin, target, "test").await.is_ok() {
                    self.active.remove(NAMES[n]);
                }
            }
            Step::End(k) => {
                if let Some((instance, _)) = self.copies.get(k) {
                    let target = Target::Instance(instance.id);
                    let _ = world.engine.revoke(&world.admin, target, "test").await;
                    prop_assert!(world.engine.jwt_svid(instance, &["a".to_owned()]).await.is_err());
                }
            }
            Step::Wait(seconds) => world.advance(seconds),
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn an_svid_goes_only_to_who_matches_now(steps in prop::collection::vec(step(), 1..30)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (world, mut model) = (World::empty().await, Model::default());
            for step in steps {
                model.take(&world, step).await?;
            }
            Ok::<(), TestCaseError>(())
        })?;
    }
}
