//! Steps of processes: being attested, getting SVIDs and sessions.

use std::collections::BTreeSet;

use marque_core::attestation::{Attestation, Instance, Selector};
use marque_core::id::{LeaseId, TaskId};
use marque_core::identity::Lifecycle;
use marque_core::lease::{CredentialClass, Lease};
use marque_core::time::Ttl;
use marque_engine::{Observed, Workload, start_time};

use crate::always::is_accepted;
use crate::journal::{Checked, broken, must};
use crate::model::{Credential, Form};
use crate::sim::Sim;
use crate::words;

impl Sim<'_> {
    /// A process comes by; now and then one that nobody knows.
    pub async fn attest(&mut self) -> Checked<String> {
        let engine = self.engine()?;
        let name = if self.rng.chance(8) { "nobody" } else { self.rng.one(words::IDENTITIES) };
        let id = words::identity(name);
        let active = self.model.identities.get(&id).is_some_and(|i| i.state == Lifecycle::Active);
        match engine.attest(Observed(seen(name)?), None).await {
            Ok(instance) => {
                self.check("I7", active && instance.identity == id, || {
                    format!("`{name}` was attested as `{}`", instance.identity)
                })?;
                let dead = self.model.dead_instances.contains(&instance.id);
                self.check("I4", !dead, || format!("`{}` has ended and was attested again", instance.id))?;
                let known = self.model.instances.get(&instance.id);
                self.check("I6", known.is_none_or(|known| *known == instance), || format!("`{}` has changed", instance.id))?;
                let text = format!("{name} is {}", instance.id);
                self.model.instances.insert(instance.id, instance);
                self.acknowledged()?;
                Ok(text)
            }
            Err(error) => {
                self.check("I6", !active, || format!("`{name}` is active and was not attested: {}", error.chain()))?;
                Ok(format!("{name}: refused"))
            }
        }
    }

    /// Something harmless is acknowledged, so that everything queued before it is durable.
    pub async fn flush(&mut self) -> Checked {
        match self.engine()?.attest(Observed(seen("nobody")?), None).await {
            Ok(instance) => broken("I7", format!("`nobody` was attested as `{}`", instance.identity)),
            Err(_) => Ok(()),
        }
    }

    /// A process gets an X.509-SVID.
    pub async fn certificate(&mut self) -> Checked<String> {
        let Some(instance) = self.some_instance() else { return Ok("no process".into()) };
        let engine = self.engine()?;
        let issued = match engine.x509_svid(&instance).await {
            Ok(issued) => issued,
            Err(error) => return Ok(format!("{}: refused, {error}", instance.identity.short())),
        };
        let Some(lease) = engine.state().leases.get(&issued.lease).cloned() else {
            return broken("I6", format!("lease `{}` was issued and is not there", issued.lease));
        };
        let dead = self.model.dead_instances.contains(&instance.id);
        self.check("I4", !dead, || format!("`{}` has ended and got a certificate", instance.id))?;
        self.check("I2", issued.svid.not_after <= lease.expires, || format!("the certificate outlives its lease {}", lease.id))?;
        let text = format!("{} for {}", lease.id, instance.identity.short());
        self.issued(lease, Form::Certificate(issued.svid.chain))?;
        Ok(text)
    }

    /// A process gets a JWT-SVID.
    pub async fn jwt_svid(&mut self) -> Checked<String> {
        let Some(instance) = self.some_instance() else { return Ok("no process".into()) };
        let token = self.jwt_of(&instance).await?;
        Ok(format!("{}{}", instance.identity.short(), if token.is_some() { "" } else { ": refused" }))
    }

    /// A JWT-SVID for an instance, if it may have one.
    pub async fn jwt_of(&mut self, instance: &Instance) -> Checked<Option<String>> {
        let engine = self.engine()?;
        let Ok(token) = engine.jwt_svid(instance, &[words::ISSUER.to_owned()]).await else { return Ok(None) };
        let dead = self.model.dead_instances.contains(&instance.id);
        self.check("I4", !dead, || format!("`{}` has ended and got a JWT-SVID", instance.id))?;
        let valid = must("I6", "validating a fresh JWT-SVID", engine.validate_jwt_svid(&token, Some(words::ISSUER)))?;
        self.check("I6", valid.id == instance.identity, || {
            format!("a JWT-SVID of `{}` is of `{}`", instance.identity, valid.id)
        })?;
        let id = valid.claims.get("jti").and_then(|jti| jti.as_str()).unwrap_or_default();
        let id: LeaseId = must("I6", "parsing the name of a JWT-SVID", id.parse())?;
        let Some(lease) = engine.state().leases.get(&id).cloned() else {
            return broken("I6", format!("lease `{id}` is not there"));
        };
        self.issued(lease, Form::Jwt(token.clone()))?;
        Ok(Some(token))
    }

    /// A process gets the gateway's session for a task, as a launched one does.
    pub async fn session(&mut self) -> Checked<String> {
        let Some(instance) = self.some_instance() else { return Ok("no process".into()) };
        let Some(task) = self.some_task(&instance) else { return Ok("no task".into()) };
        let engine = self.engine()?;
        let id = match engine.gateway_session(&instance, task).await {
            Ok(id) => id,
            Err(error) => return Ok(format!("{task}: refused, {error}")),
        };
        let Some(lease) = engine.state().leases.get(&id).cloned() else {
            return broken("I6", format!("lease `{id}` is not there"));
        };
        let fits = lease.task == Some(task) && lease.instance == instance.id && lease.class == CredentialClass::GatewaySession;
        self.check("I2", fits, || format!("a session of `{task}` is {lease:?}"))?;
        let ended = self.model.dead_tasks.contains(&task) || self.model.dead_instances.contains(&instance.id);
        self.check("I4", !ended, || format!("a session of `{task}` for `{}`, which has ended", instance.id))?;
        match self.model.credentials.get(&id).map(|c| c.lease == lease) {
            Some(same) => self.check("I2", same, || format!("session `{id}` has changed"))?,
            None => self.issued(lease, Form::Session)?,
        }
        let dead = self.model.dead.contains(&id);
        self.check("I4", !dead, || format!("session `{id}` has ended and was given out again"))?;
        Ok(format!("{id} of {task} for {}", instance.identity.short()))
    }

    /// A credential that the engine acknowledged: I2, and nothing of it has ended.
    pub fn issued(&mut self, lease: Lease, form: Form) -> Checked {
        let id = lease.id;
        self.check("I6", !self.model.credentials.contains_key(&id), || format!("lease `{id}` was issued twice"))?;
        let longest = lease.issued.plus(lease.class.max_ttl());
        self.check("I2", lease.expires <= longest, || format!("lease `{id}` lives until {}", lease.expires))?;
        let dead = self.model.dead_instances.contains(&lease.instance);
        self.check("I4", !dead && lease.epoch >= self.model.epoch, || format!("lease `{id}` hangs from what has ended"))?;
        match lease.task {
            None => {
                self.check("I2", lease.scope.is_empty(), || format!("lease `{id}` is of no task and allows {}", lease.scope))?
            }
            Some(task) => self.lease_fits(&lease, task)?,
        }
        let credential = Credential { lease, form };
        let engine = self.engine()?;
        // Tokens count in whole seconds: one that lives for less than two may be over at once.
        let lasts = credential.lease.expires > engine.now().plus(Ttl::from_seconds(2));
        if lasts && !matches!(credential.form, Form::Session) {
            self.check("I6", is_accepted(&engine, &credential), || format!("lease `{id}` is fresh and not accepted"))?;
        }
        self.model.credentials.insert(id, credential);
        self.journal.count("credentials");
        self.acknowledged()
    }

    fn lease_fits(&self, lease: &Lease, id: TaskId) -> Checked {
        let Some(task) = self.model.tasks.get(&id) else {
            return broken("I6", format!("lease `{}` of unknown task `{id}`", lease.id));
        };
        let ended = self.model.dead_tasks.contains(&id);
        self.check("I4", !ended, || format!("lease `{}` of task `{id}`, which has ended", lease.id))?;
        self.check("I2", lease.identity == task.actor, || format!("lease `{}` is of `{}`", lease.id, lease.identity))?;
        self.check("I2", lease.expires <= task.expires, || format!("lease `{}` outlives task `{id}`", lease.id))?;
        self.check("I2", task.scope.covers(&lease.scope), || {
            format!("lease `{}` has `{}`: `{}`", lease.id, lease.scope, task.scope)
        })?;
        self.narrower("the lease", &lease.scope, &[("the task", &task.scope)])
    }

    /// A workload that proves itself with one of the wanted certificates.
    pub fn client(&mut self, wanted: impl Fn(&Lease) -> bool) -> Checked<Option<Workload>> {
        let is_wanted = |c: &&Credential| matches!(c.form, Form::Certificate(_)) && wanted(&c.lease);
        let certificates: Vec<Credential> = self.model.credentials.values().filter(is_wanted).cloned().collect();
        let Some(Credential { lease, form: Form::Certificate(chain) }) = self.rng.recent(&certificates) else { return Ok(None) };
        let chain: Vec<&[u8]> = chain.iter().map(Vec::as_slice).collect();
        let Ok(workload) = self.engine()?.authenticate_certificate(&chain) else { return Ok(None) };
        let id = lease.id;
        self.check("I4", !self.model.dead.contains(&id), || format!("certificate `{id}` has ended and is accepted"))?;
        let same = workload.lease == id && workload.instance == lease.instance && workload.identity == lease.identity;
        self.check("I6", same, || format!("certificate `{id}` is taken for {workload:?}"))?;
        Ok(Some(workload))
    }

    /// A process, mostly one of the latest.
    pub fn some_instance(&mut self) -> Option<Instance> {
        let instances: Vec<Instance> = self.model.instances.values().cloned().collect();
        self.rng.recent(&instances)
    }

    /// A task, mostly one of the latest of which the instance's identity is the actor.
    pub fn some_task(&mut self, instance: &Instance) -> Option<TaskId> {
        let any = self.rng.chance(10);
        let tasks: Vec<TaskId> =
            self.model.tasks.values().filter(|t| any || t.actor == instance.identity).map(|t| t.id).collect();
        self.rng.recent(&tasks)
    }
}

/// What is seen of the process that stands for an identity's copy: this process, at another path.
fn seen(name: &str) -> Checked<Attestation> {
    let pid = std::process::id();
    let started = must("sim", "reading the start of this process", start_time(pid))?;
    let user = must("sim", "naming a selector", Selector::new("unix", "uid", 1000))?;
    Ok(Attestation {
        method: "unix".into(),
        pid,
        started,
        selectors: BTreeSet::from([words::selector(name), user]),
        until: None,
        node: None,
    })
}
