//! Steps at the token endpoint: a token of one's own task, and child tasks.

use marque_core::attestation::Instance;
use marque_core::id::TaskId;
use marque_core::resource::{Action, ResourceId, ResourceKind, Sensitivity};
use marque_core::scope::Scope;
use marque_core::task::{MAX_DEPTH, Task};
use marque_engine::{Exchange, Exchanged, TokenType, Workload};

use crate::journal::{Checked, broken};
use crate::model::{Credential, Form};
use crate::sim::Sim;
use crate::words;

impl Sim<'_> {
    /// A workload exchanges its JWT-SVID for a token of a task.
    pub async fn own_token(&mut self) -> Checked<String> {
        let Some(client) = self.client(|_| true)? else { return Ok("no certificate".into()) };
        let Some(instance) = self.instance_of(&client) else { return broken("I6", "a certificate of an unknown process") };
        let Some(task) = self.some_task(&instance) else { return Ok("no task".into()) };
        let Some(jwt) = self.jwt_of(&instance).await? else { return Ok("no JWT-SVID".into()) };
        let Some(held) = self.model.tasks.get(&task).cloned() else { return broken("sim", "the task is not known") };
        let scope = self.wanted(&held.scope);
        let exchange = Exchange {
            client: client.clone(),
            subject: (jwt, TokenType::Jwt),
            actor: None,
            task: Some(task),
            scope: scope.clone(),
            purpose: None,
        };
        match self.engine()?.exchange(exchange).await {
            Ok(got) => {
                self.check("I2", held.actor == client.identity, || {
                    format!("`{}` got a token of `{}`", client.identity, held.actor)
                })?;
                self.check("I5", got.task == held, || format!("task `{task}` has changed: {:?}", got.task))?;
                self.check("I2", got.lease.task == Some(task), || format!("a token of `{task}` is {:?}", got.lease))?;
                self.as_wanted("I2", scope.as_ref(), &got.lease.scope, &held.scope)?;
                let text = format!("{} of {task} for {}: {}", got.lease.id, client.identity.short(), got.lease.scope);
                self.took(got, &client)?;
                Ok(text)
            }
            Err(error) => Ok(format!("{task} for {}: refused, {error}", client.identity.short())),
        }
    }

    /// A token is exchanged for one of a child task: by its holder, or by another with an actor token. Some try what
    /// they must not get.
    pub async fn child(&mut self) -> Checked<String> {
        let tokens: Vec<Credential> =
            self.model.credentials.values().filter(|c| matches!(c.form, Form::Token(..))).cloned().collect();
        let Some(Credential { lease: subject, form: Form::Token(token, _) }) = self.rng.recent(&tokens) else {
            return Ok("no token".into());
        };
        let Some(parent) = subject.task.and_then(|id| self.model.tasks.get(&id).cloned()) else {
            return broken("I6", format!("token `{}` is of no known task", subject.id));
        };
        let (with_actor, holder) = (self.rng.chance(65), subject.instance);
        let only_holder = !with_actor && self.rng.chance(85);
        let Some(client) = self.client(|lease| !only_holder || lease.instance == holder)? else {
            return Ok("no certificate".into());
        };
        let speaker = if with_actor { self.speaker(&client) } else { None };
        let actor = match &speaker {
            Some(instance) => self.jwt_of(instance).await?,
            None => None,
        };
        let scope = self.wanted(&parent.scope);
        let subject_token = (token, TokenType::AccessToken);
        let purpose = self.rng.chance(50).then(|| "a part of it".to_owned());
        let exchange = Exchange {
            client: client.clone(),
            subject: subject_token,
            actor: actor.clone(),
            task: None,
            scope: scope.clone(),
            purpose,
        };
        match self.engine()?.exchange(exchange).await {
            Ok(got) => {
                let may = match (&actor, &speaker) {
                    (Some(_), Some(speaker)) => speaker.identity == client.identity,
                    _ => client.instance == holder,
                };
                self.check("I1", may, || format!("`{}` exchanged a token of `{holder}`", client.identity))?;
                let dead = self.model.dead.contains(&subject.id);
                self.check("I4", !dead, || format!("token `{}` has ended and was exchanged", subject.id))?;
                self.child_fits(&parent, &got.task, &client)?;
                self.narrower("the child", &got.task.scope, &[("the token that it was exchanged for", &subject.scope)])?;
                if let Some(want) = &scope {
                    self.check("I1", got.task.scope == *want, || format!("`{}` is not what was asked for", got.task.scope))?;
                }
                let text = format!("{} of {} for {}: {}", got.task.id, parent.id, client.identity.short(), got.task.scope);
                self.started(got.task.clone())?;
                self.took(got, &client)?;
                self.journal.count("child tasks");
                Ok(text)
            }
            Err(error) => Ok(format!("of {} for {}: refused, {error}", parent.id, client.identity.short())),
        }
    }

    /// I1: a child is within its parent and its actor's ceiling, ends no later, has the same principal, and is the next link.
    fn child_fits(&self, parent: &Task, child: &Task, client: &Workload) -> Checked {
        let known = self.model.identities.get(&child.actor);
        let ceiling = known.map(|i| i.ceiling.clone()).unwrap_or_default();
        self.narrower("the child", &child.scope, &[("its parent", &parent.scope), ("the actor's ceiling", &ceiling)])?;
        self.check("I1", child.actor == client.identity, || format!("`{}` acts, `{}` asked", child.actor, client.identity))?;
        self.check("I1", child.expires <= parent.expires, || format!("`{}` ends after `{}`", child.id, parent.id))?;
        self.check("I1", child.principal == parent.principal, || format!("`{}` is for `{}`", child.id, child.principal))?;
        let deeper = parent.depth.checked_add(1) == Some(child.depth) && child.depth <= MAX_DEPTH;
        self.check("I1", deeper, || format!("`{}` has depth {}, its parent {}", child.id, child.depth, parent.depth))?;
        let lineage: Vec<TaskId> = parent.lineage.iter().copied().chain([parent.id]).collect();
        let linked = child.parent == Some(parent.id) && child.lineage == lineage;
        self.check("I1", linked, || format!("`{}` hangs from {:?}, not from {lineage:?}", child.id, child.lineage))?;
        let other = child.actor != parent.actor;
        let to = ResourceId::new(ResourceKind::Identity, child.actor.short());
        let granted = to.is_ok_and(|to| parent.scope.allows(Action::Delegate, &to, Sensitivity::Public));
        self.check("I1", !other || granted, || format!("`{}` was delegated to `{}` without a grant", parent.id, child.actor))
    }

    /// A token that was given: I2 by its lease.
    fn took(&mut self, got: Exchanged, client: &Workload) -> Checked {
        let (lease, task) = (got.lease, got.task.id);
        self.check("I2", lease.task == Some(task), || format!("a token of `{task}` has lease {lease:?}"))?;
        let held = lease.instance == client.instance && lease.identity == client.identity;
        self.check("I2", held, || format!("a token of `{}` has lease {lease:?}", client.instance))?;
        self.check("I2", lease.binding.as_ref() == Some(&client.thumbprint), || format!("lease `{}` is not bound", lease.id))?;
        self.journal.count("task tokens");
        self.issued(lease, Form::Token(got.token, client.thumbprint.clone()))
    }

    /// What was asked for is what is given, and never more than there is.
    fn as_wanted(&self, invariant: &'static str, want: Option<&Scope>, got: &Scope, all: &Scope) -> Checked {
        let expected = want.unwrap_or(all);
        self.check(invariant, got == expected && all.covers(got), || format!("`{got}` was given, `{expected}` was asked for"))
    }

    /// Nothing in particular, one grant of what there is, or anything at all.
    fn wanted(&mut self, of: &Scope) -> Option<Scope> {
        match self.rng.below(10) {
            0..=5 => None,
            6 | 7 => {
                let grants: Vec<_> = of.grants().cloned().collect();
                self.rng.pick(&grants).map(|grant| Scope::new([grant]))
            }
            _ => Some(words::some_scope(&mut self.rng)),
        }
    }

    /// Whose JWT-SVID is the actor token: mostly the client's own.
    fn speaker(&mut self, client: &Workload) -> Option<Instance> {
        if self.rng.chance(85) { self.instance_of(client) } else { self.some_instance() }
    }

    fn instance_of(&self, client: &Workload) -> Option<Instance> {
        self.model.instances.get(&client.instance).cloned()
    }
}
