//! Token exchange (RFC 8693): an SVID and a parent task give a child task and its task token.

use std::collections::BTreeSet;

use marque_core::decision::{Decision, Reason};
use marque_core::event::{Body, By};
use marque_core::id::{InstanceId, LeaseId, TaskId};
use marque_core::identity::{Identity, Kind};
use marque_core::lease::{CredentialClass, Lease};
use marque_core::resource::{Action, Resource};
use marque_core::scope::Scope;
use marque_core::state::State;
use marque_core::task::{Budget, Task, Want};
use marque_core::time::{Cx, Ttl};
use marque_policy::Request;
use marque_svid::{AT_JWT_TYP, Actor, Confirmation, TaskClaims};
use serde_json::{Value, json};

use crate::caller::Workload;
use crate::commit::Moves;
use crate::error::{EngineError, Result};
use crate::open::Engine;
use crate::tasks::identity;

/// A token type that can be exchanged (RFC 8693 §3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenType {
    /// `urn:ietf:params:oauth:token-type:access_token`: a task token.
    AccessToken,
    /// `urn:ietf:params:oauth:token-type:jwt`: a JWT-SVID.
    Jwt,
}

/// A request for an exchange, by a workload that proved itself with its X.509-SVID.
#[derive(Clone, Debug)]
pub struct Exchange {
    /// The workload.
    pub client: Workload,
    /// The subject token and what it is.
    pub subject: (String, TokenType),
    /// The actor token, a JWT-SVID: who is to act.
    pub actor: Option<String>,
    /// The task to hold a token of, where the subject is the workload's own JWT-SVID.
    pub task: Option<TaskId>,
    /// What is asked for; without it, all that may be had.
    pub scope: Option<Scope>,
    /// Why; without it, the parent's purpose.
    pub purpose: Option<String>,
}

/// What an exchange gives.
#[derive(Clone, Debug)]
pub struct Exchanged {
    /// The task token (RFC 9068 `at+jwt`).
    pub token: String,
    /// Its lease.
    pub lease: Lease,
    /// The task that it is of.
    pub task: Task,
}

/// How long a delegated task may live; its parent's deadline holds all the same.
const CHILD_TTL: Ttl = Ttl::from_minutes(24 * 60);

impl Engine {
    /// Exchanges a token. A refusal is an event too.
    ///
    /// With the workload's own JWT-SVID as the subject, the answer is a token of the task it was given. With a task
    /// token as the subject it is a child task: of the holder itself, or, with an actor token, of the actor, if the
    /// parent's task grants `delegate` on that identity and policy allows it.
    pub async fn exchange(&self, exchange: Exchange) -> Result<Exchanged> {
        let by = By::Instance(exchange.client.instance);
        let identity = exchange.client.identity.clone();
        let refused = match self.try_exchange(&exchange).await {
            Err(error @ (EngineError::Task(_) | EngineError::Denied(_) | EngineError::Forbidden(_) | EngineError::Dead(_))) => {
                error
            }
            done => return done,
        };
        let why = refused.to_string();
        self.commit(by, |_, _| Ok(((), vec![Body::IssueRefused { identity, why }]))).await?;
        Err(refused)
    }

    /// The lease of a task token: its signature, its audience, the key it is bound to, and that it still counts.
    pub fn authenticate_token(&self, token: &str, thumbprint: Option<&str>) -> Result<LeaseId> {
        let now = self.now();
        let claims: TaskClaims =
            marque_svid::verify_typed(token, AT_JWT_TYP, self.authorities().bundle(), &self.options.issuer, &self.gateway, now)?;
        let bound = claims.cnf.x5t_s256.as_deref();
        if bound.is_none() || bound != thumbprint {
            return Err(EngineError::Unauthenticated("this token is bound to another certificate".into()));
        }
        let lease: LeaseId = claims.jti.parse()?;
        Ok(self.state().check_lease(lease, now)?.id)
    }

    async fn try_exchange(&self, exchange: &Exchange) -> Result<Exchanged> {
        let client = &exchange.client;
        let by = By::Instance(client.instance);
        let (task, lease) = match exchange.subject.1 {
            TokenType::Jwt => {
                let svid = self.validate_jwt_svid(&exchange.subject.0, Some(&self.options.issuer))?;
                if svid.id != client.identity {
                    return Err(EngineError::Forbidden(format!(
                        "the subject token is of `{}`, not of `{}`",
                        svid.id, client.identity
                    )));
                }
                let id = exchange.task.ok_or_else(|| EngineError::Invalid("say which task with the parameter `task`".into()))?;
                self.commit(by, |state, cx| own_token(state, cx, exchange, id)).await?
            }
            TokenType::AccessToken => {
                let subject = self.subject_lease(exchange)?;
                self.commit(by, |state, cx| self.child_token(state, cx, exchange, subject)).await?
            }
        };
        let token = self.authorities().sign(AT_JWT_TYP, &self.claims(&task, &lease)?, lease.expires, lease.issued)?;
        Ok(Exchanged { token, lease, task })
    }

    /// The lease of a subject token, whose holder or named actor the client must be.
    fn subject_lease(&self, exchange: &Exchange) -> Result<LeaseId> {
        let now = self.now();
        let claims: TaskClaims = marque_svid::verify_typed(
            &exchange.subject.0,
            AT_JWT_TYP,
            self.authorities().bundle(),
            &self.options.issuer,
            &self.gateway,
            now,
        )?;
        let id: LeaseId = claims.jti.parse()?;
        match &exchange.actor {
            Some(actor) => {
                let actor = self.validate_jwt_svid(actor, Some(&self.options.issuer))?;
                if actor.id != exchange.client.identity {
                    return Err(EngineError::Forbidden(format!(
                        "the actor token is of `{}`, not of `{}`",
                        actor.id, exchange.client.identity
                    )));
                }
            }
            None if self.state().check_lease(id, now)?.instance != exchange.client.instance => {
                return Err(EngineError::Forbidden("only its holder exchanges a token without an actor token".into()));
            }
            None => {}
        }
        Ok(id)
    }

    /// A child task and its first lease, in one append.
    fn child_token(&self, state: &State, cx: &mut Cx<'_>, exchange: &Exchange, subject: LeaseId) -> Result<Moves<(Task, Lease)>> {
        let shown = state.check_lease(exchange.client.lease, cx.now)?;
        let subject = state.check_lease(subject, cx.now)?;
        let parent = subject.task.ok_or_else(|| EngineError::Invalid("the subject token is of no task".into()))?;
        let parent = state.check_task(parent, cx.now)?;
        // INVARIANT (I1 narrowing): a token may be narrower than its task, and no child is wider than its token.
        let parent = &Task { scope: parent.scope.meet(&subject.scope), ..parent.clone() };
        let instance = state.check_instance(exchange.client.instance)?;
        let actor = identity(state, &exchange.client.identity)?;
        if parent.actor != actor.id {
            self.may_delegate(state, parent, subject.instance, actor)?;
        }
        let want = Want {
            purpose: exchange.purpose.clone().unwrap_or_else(|| parent.purpose.clone()),
            scope: exchange.scope.clone(),
            ttl: CHILD_TTL,
            budget: Budget::default(),
        };
        let (task, started) = parent.delegate(cx, actor, want, state.epoch)?;
        let class = CredentialClass::TaskToken;
        let (lease, _) = task.lease(cx, instance, None, class, class.max_ttl(), state.epoch)?;
        let lease = bound(lease, exchange, shown);
        Ok(((task, lease.clone()), vec![started, Body::LeaseIssued { lease }]))
    }

    fn may_delegate(&self, state: &State, parent: &Task, by: InstanceId, to: &Identity) -> Result<()> {
        let from = identity(state, &parent.actor)?;
        let seen = &state.check_instance(by)?.attestation.selectors;
        let resource = to.resource().ok_or_else(|| EngineError::Invalid(format!("`{}` cannot be named as a resource", to.id)))?;
        let facts = Resource::bare(resource);
        let decision = self.policy.load().decide(&Request {
            identity: from,
            seen,
            task: parent,
            chain: &state.chain(parent),
            action: Action::Delegate,
            resource: &facts,
            delegate_to: Some(to),
            changed: false,
            arguments: &Value::Null,
            approved: &BTreeSet::new(),
            calls_left: state.calls_left(parent),
        });
        match decision {
            Decision::Allow { .. } => Ok(()),
            Decision::Deny { by } => Err(EngineError::Denied(by)),
            Decision::Hold { mut by, .. } => {
                by.push(Reason::built_in("delegate", "a delegation cannot wait for approval: ask for a task that allows it"));
                Err(EngineError::Denied(by))
            }
        }
    }

    /// The claims of a task token: RFC 9068, with `act` of RFC 8693 §4.1 nested from the actor outwards.
    fn claims(&self, task: &Task, lease: &Lease) -> Result<TaskClaims> {
        let state = self.state();
        let mut act = None;
        for id in state.chain(task) {
            let profile = match state.identities.get(&id).map(|i| i.kind) {
                Some(Kind::Agent | Kind::Model) => "ai_agent",
                _ => "service",
            };
            let issuer = self.options.issuer.clone();
            act = Some(Box::new(Actor { sub: id.to_string(), iss: issuer, sub_profile: Some(profile.to_owned()), act }));
        }
        let grants: Vec<String> = lease.scope.grants().map(ToString::to_string).collect();
        Ok(TaskClaims {
            iss: self.options.issuer.clone(),
            sub: task.principal.to_string(),
            aud: vec![self.gateway.clone(), self.options.issuer.clone()],
            client_id: lease.identity.to_string(),
            jti: lease.id.to_string(),
            iat: lease.issued.seconds(),
            exp: lease.expires.seconds(),
            scope: lease.scope.to_string(),
            authorization_details: json!([{ "type": "urn:marque:grants", "grants": grants }]),
            cnf: Confirmation { x5t_s256: lease.binding.clone() },
            act,
            task: task.id.to_string(),
            lineage: task.lineage.iter().map(ToString::to_string).collect(),
            epoch: lease.epoch.0,
            depth: task.depth,
        })
    }
}

/// A lease of the task that the workload was given.
fn own_token(state: &State, cx: &mut Cx<'_>, exchange: &Exchange, id: TaskId) -> Result<Moves<(Task, Lease)>> {
    let shown = state.check_lease(exchange.client.lease, cx.now)?;
    let task = state.check_task(id, cx.now)?;
    let instance = state.check_instance(exchange.client.instance)?;
    let class = CredentialClass::TaskToken;
    let (lease, _) = task.lease(cx, instance, exchange.scope.clone(), class, class.max_ttl(), state.epoch)?;
    let lease = bound(lease, exchange, shown);
    Ok(((task.clone(), lease.clone()), vec![Body::LeaseIssued { lease }]))
}

/// The lease, bound to the client's key (RFC 8705 §3.1) and named by its own identifier. Whoever has the certificate that was
/// shown has the token.
///
/// INVARIANT (I4 revocation is monotone): a connection outlives what was shown on it, so that its lease is checked at each use.
fn bound(lease: Lease, exchange: &Exchange, shown: &Lease) -> Lease {
    let binding = Some(exchange.client.thumbprint.clone());
    Lease { handle: lease.id.to_string(), binding, holder: shown.holder, ..lease }
}
