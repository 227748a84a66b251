//! What must hold after every step.

use marque_core::finding::Problem;
use marque_core::id::LeaseId;
use marque_core::identity::Lifecycle;
use marque_core::resource::Action;
use marque_core::revocation::Target;
use marque_engine::{Engine, State};

use crate::journal::Checked;
use crate::model::{Attempt, Credential, Form};
use crate::sim::Sim;
use crate::words;

impl Sim<'_> {
    /// All of it.
    pub async fn always(&mut self) -> Checked {
        let engine = self.engine()?;
        let state = engine.state().clone();
        self.epochs_only_grow(&state)?;
        self.authority_is_as_acknowledged(&state, &engine)?;
        self.inventory_is_as_acknowledged(&state)?;
        self.owners_are_known_or_found(&engine)?;
        self.dead_act_no_more(&engine).await?;
        self.none_is_accepted(2)?;
        let root = self.root().to_owned();
        self.ledger.observe(&root, self.journal)
    }

    /// I4: neither the last epoch nor a target's ever goes back.
    fn epochs_only_grow(&self, state: &State) -> Checked {
        self.check("I4", state.epoch == self.model.epoch, || {
            format!("the epoch is {:?}, not {:?}", state.epoch, self.model.epoch)
        })?;
        for (target, epoch) in &self.model.revocations {
            let found = state.revocations.get(target);
            self.check("I4", found >= Some(epoch), || format!("`{target}` was revoked at {epoch:?}, the state says {found:?}"))?;
        }
        Ok(())
    }

    /// I1, I2, I5, I6: tasks, processes and credentials are as they were given out; none changes, none comes from nowhere,
    /// and none is gone before its time.
    fn authority_is_as_acknowledged(&self, state: &State, engine: &Engine) -> Checked {
        let now = engine.now();
        let model = &self.model;
        for task in state.tasks.values() {
            self.check("I5", model.tasks.get(&task.id) == Some(task), || format!("task `{}` is not as it started", task.id))?;
        }
        for task in model.tasks.values().filter(|t| now < t.expires && !model.finished.contains(&t.id)) {
            self.check("I6", state.tasks.contains_key(&task.id), || format!("task `{}` is gone before its deadline", task.id))?;
        }
        for lease in state.leases.values() {
            let known = model.credentials.get(&lease.id).map(|c| &c.lease);
            self.check("I2", known == Some(lease), || format!("lease `{}` is not as it was issued", lease.id))?;
        }
        for credential in model.credentials.values().filter(|c| now < c.lease.expires) {
            let id = credential.lease.id;
            self.check("I6", state.leases.contains_key(&id), || format!("lease `{id}` is gone before its time"))?;
        }
        self.check("I6", state.instances == model.instances, || "the running copies are not those that were attested".into())
    }

    /// I6: identities, people, resources and policies are as they were applied.
    fn inventory_is_as_acknowledged(&self, state: &State) -> Checked {
        let model = &self.model;
        self.check("I6", state.people.keys().eq(&model.people), || "the people are not those who were added".into())?;
        self.check("I6", state.identities.keys().eq(model.identities.keys()), || "identities are missing".into())?;
        for (identity, known) in state.identities.values().zip(model.identities.values()) {
            let same = identity.owner.as_ref() == Some(&known.owner)
                && identity.ceiling == known.ceiling
                && identity.state == known.state;
            self.check("I6", same, || format!("`{}` is {identity:?}, acknowledged was {known:?}", identity.id))?;
        }
        self.check("I6", state.resources == model.resources, || "the resources are not as they were applied".into())?;
        let policy = state.policy.as_ref().map(|(_, digest)| *digest);
        let same = model.policy.is_none() || policy == model.policy;
        self.check("I6", same, || format!("policy {policy:?} is in force, {:?} was applied", model.policy))
    }

    /// I8: an identity whose owner is not known is always among the findings, and no other is.
    fn owners_are_known_or_found(&self, engine: &Engine) -> Checked {
        let findings = engine.findings();
        for (id, known) in &self.model.identities {
            let revoked = self.model.revocations.contains_key(&Target::Owner(known.owner.clone()));
            let missing = known.state != Lifecycle::Retired && (revoked || !self.model.people.contains(&known.owner));
            let subject = id.to_string();
            let found = findings.iter().any(|f| f.problem == Problem::NoOwner && f.subject == subject);
            self.check("I8", found == missing, || format!("`{id}` is of `{}`: found {found}, should be {missing}", known.owner))?;
        }
        Ok(())
    }

    /// I4: nothing that has ended for good acts, is shown a tool or is let in.
    async fn dead_act_no_more(&mut self, engine: &std::sync::Arc<Engine>) -> Checked {
        let (tool, service) = (words::resource("tool:crm/find"), words::resource("service:crm"));
        let with_task = |id: &&LeaseId| self.model.credentials.get(*id).is_some_and(|c| c.lease.task.is_some());
        let dead: Vec<LeaseId> = self.model.dead.iter().filter(with_task).copied().collect();
        // Some old ones by chance, and the newest.
        let some: Vec<LeaseId> = (0..6).filter_map(|_| self.rng.pick(&dead)).chain(dead.iter().rev().take(6).copied()).collect();
        for lease in some {
            let definition = Some(words::definition(&tool, 0));
            let arguments = serde_json::Value::Null;
            let attempt = Attempt { lease, action: Action::Invoke, resource: tool.clone(), arguments, definition };
            let refused = engine.authorize(attempt.request()).await.is_err();
            self.check("I4", refused, || format!("`{lease}` has ended and was decided for"))?;
            let hidden = !engine.would_show(lease, &tool) && engine.passage(lease, &service).is_err();
            self.check("I4", hidden, || format!("`{lease}` has ended and is let in"))?;
        }
        let instances: Vec<_> = self.model.dead_instances.iter().copied().collect();
        if let Some(instance) = self.rng.pick(&instances).and_then(|id| self.model.instances.get(&id).cloned()) {
            let issued = engine.jwt_svid(&instance, &[words::ISSUER.to_owned()]).await;
            self.check("I4", issued.is_err(), || format!("`{}` has ended and got a JWT-SVID", instance.id))?;
        }
        Ok(())
    }

    /// I4: some of what has ended for good is presented again, the newest among it.
    pub fn none_is_accepted(&mut self, most: usize) -> Checked {
        let engine = self.engine()?;
        let dead: Vec<LeaseId> = self.model.dead.iter().copied().collect();
        let some: Vec<LeaseId> = match most {
            _ if dead.len() <= most => dead,
            0..=3 => (0..most).filter_map(|_| self.rng.pick(&dead)).collect(),
            _ => dead.iter().rev().take(most).copied().collect(),
        };
        for lease in some {
            let Some(credential) = self.model.credentials.get(&lease) else { continue };
            let accepted = is_accepted(&engine, credential);
            self.check("I4", !accepted, || format!("`{lease}` has ended and is accepted: {:?}", credential.lease))?;
        }
        Ok(())
    }
}

/// Whether a credential is taken where its class is presented.
pub fn is_accepted(engine: &Engine, credential: &Credential) -> bool {
    match &credential.form {
        Form::Certificate(chain) => {
            let chain: Vec<&[u8]> = chain.iter().map(Vec::as_slice).collect();
            engine.authenticate_certificate(&chain).is_ok()
        }
        Form::Jwt(token) => engine.validate_jwt_svid(token, Some(words::ISSUER)).is_ok(),
        Form::Token(token, thumbprint) => engine.authenticate_token(token, Some(thumbprint)).is_ok(),
        Form::Session => engine.passage(credential.lease.id, &words::resource("service:crm")).is_ok(),
    }
}
