//! What the Workload API of a node answers: what the server says, or what it said last.

use std::sync::Arc;

use marque_core::time::Ttl;
use marque_engine::{Clock as _, Identified, NodeSight, OTHER_PROCESS, Process, ValidatedJwt};
use tokio::sync::watch;
use tokio::time::Instant;
use tonic::Status;

use super::{Copied, RemoteSource};
use crate::node::link::LinkError;
use crate::node::wire::{self, JwtRequest, OfInstance, Received, ValidateRequest, WireJwt, WireSvid, WireValid};
use crate::source::{Bundles, Changes, HeldSvid, Source};

impl RemoteSource {
    /// The copies of a process that are known from before.
    fn copies_of(&self, sight: &NodeSight) -> Result<Vec<Identified>, Status> {
        let known = self.open()?;
        let same = |copy: &&Copied| copy.is_of(sight) && copy.selectors == sight.selectors;
        Ok(known.copies.values().filter(same).map(|copy| copy.of.clone()).collect())
    }

    /// What is seen of a process now. One that has gone is nobody.
    async fn sight(&self, process: &Process) -> Result<NodeSight, Status> {
        let (observer, process) = (Arc::clone(&self.observer), process.clone());
        let look = tokio::task::spawn_blocking(move || observer.look(&process)).await;
        let seen = look.map_err(|_| Status::unavailable("the process could not be looked at"))?;
        let seen = seen.map_err(|e| Status::permission_denied(e.chain()))?;
        Ok(NodeSight { pid: seen.pid, started: seen.started, selectors: seen.selectors })
    }

    /// A process is these copies, and no others.
    fn remember(&self, copies: &[Identified], sight: &NodeSight) {
        let mut known = self.known();
        let count = known.copies.len();
        known.copies.retain(|id, copy| !copy.is_of(sight) || copies.iter().any(|of| of.instance == *id));
        let dropped = known.copies.len() < count;
        let new = copies.iter().any(|of| known.last.as_ref().is_none_or(|last| !last.sync.live.contains(&of.instance)));
        for of in copies {
            let svid = known.copies.remove(&of.instance).and_then(|copy| copy.svid);
            let (pid, started, selectors) = (sight.pid, sight.started, sight.selectors.clone());
            let copied = Copied { of: of.clone(), pid, started, selectors, answered: Instant::now(), svid };
            known.copies.insert(of.instance, copied);
        }
        drop(known);
        if new {
            self.attested.notify_one();
        }
        if dropped {
            self.bump_ended();
        }
    }
}

#[tonic::async_trait]
impl Source for RemoteSource {
    async fn check_seen(&self, process: &Process, copies: &[Identified]) -> Result<(), Status> {
        let sight = self.sight(process).await?;
        let known = self.open()?;
        let is_it = |copy: &Copied| copy.is_of(&sight) && copy.selectors == sight.selectors;
        let all = copies.iter().all(|of| known.copies.get(&of.instance).is_some_and(is_it));
        if all { Ok(()) } else { Err(Status::permission_denied(OTHER_PROCESS)) }
    }

    async fn attest(&self, process: &Process) -> Result<Vec<Identified>, Status> {
        drop(self.open()?);
        let sight = self.sight(process).await?;
        match self.ask::<Vec<Identified>>("/v1/node/attest", &sight).await {
            Ok(copies) if copies.is_empty() => Err(Status::permission_denied("no identity matches this process")),
            Ok(copies) => {
                self.remember(&copies, &sight);
                Ok(copies)
            }
            Err(error @ LinkError::Refused { .. }) => {
                let status = told(&error);
                if status.code() == tonic::Code::PermissionDenied {
                    self.remember(&[], &sight);
                    tracing::warn!(pid = sight.pid, "{error}");
                }
                Err(status)
            }
            Err(error) => match self.copies_of(&sight)? {
                copies if copies.is_empty() => Err(told(&error)),
                copies => Ok(copies),
            },
        }
    }

    async fn x509_svid(&self, of: &Identified) -> Result<HeldSvid, Status> {
        let now = self.now();
        let kept = {
            let known = self.open()?;
            let copy = known.copies.get(&of.instance).ok_or_else(|| not_any_more(of))?;
            let is_good = |svid: &Received| known.last.as_ref().is_some_and(|l| l.bundles.good.contains(&svid.authority));
            copy.svid.clone().filter(|svid| now < svid.ends && is_good(svid))
        };
        if let Some(svid) = kept.clone().filter(|svid| now < svid.due) {
            return Ok(held(svid));
        }
        match self.ask::<WireSvid>("/v1/node/x509", &OfInstance { instance: of.instance }).await {
            Ok(svid) => {
                let received = svid.received(now).ok_or_else(|| Status::unavailable("the server's answer makes no sense"))?;
                if let Some(copy) = self.open()?.copies.get_mut(&of.instance) {
                    copy.svid = Some(received.clone());
                }
                Ok(held(received))
            }
            Err(error @ LinkError::Refused { .. }) => Err(told(&error)),
            // It counts for a while yet; the next look comes soon.
            Err(error) => match kept {
                Some(svid) => Ok(held(Received { due: now.plus(SOON), ..svid })),
                None => Err(told(&error)),
            },
        }
    }

    async fn jwt_svid(&self, of: &Identified, audience: &[String]) -> Result<String, Status> {
        drop(self.open()?);
        let question = JwtRequest { instance: of.instance, audience: audience.to_vec() };
        let answer = self.ask::<WireJwt>("/v1/node/jwt", &question).await;
        Ok(answer.map_err(|e| told(&e))?.svid)
    }

    async fn validate(&self, token: &str, audience: &str) -> Result<ValidatedJwt, Status> {
        drop(self.open()?);
        let question = ValidateRequest { svid: token.to_owned(), audience: audience.to_owned() };
        let valid = self.ask::<WireValid>("/v1/node/validate", &question).await.map_err(|e| told(&e))?;
        Ok(ValidatedJwt { id: valid.id, claims: valid.claims })
    }

    fn bundles(&self) -> Result<Bundles, Status> {
        let known = self.open()?;
        known.last.as_ref().map(|last| last.bundles.clone()).ok_or_else(|| Status::unavailable("there is no bundle yet"))
    }

    fn changes(&self) -> Changes {
        let [ended, entries, bundles] = [&self.ended, &self.entries, &self.bundles_changed].map(watch::Sender::subscribe);
        Changes { ended, entries, bundles }
    }

    fn ended(&self, copies: &[Identified]) -> Option<Status> {
        match self.open() {
            Err(status) => Some(status),
            Ok(known) => copies.iter().find(|copy| !known.copies.contains_key(&copy.instance)).map(not_any_more),
        }
    }

    /// While the server cannot be asked, the process is who it was.
    async fn moved(&self, copies: &[Identified]) -> Result<Option<Vec<Identified>>, Status> {
        let sight = {
            let known = self.open()?;
            let first = copies.first().and_then(|copy| known.copies.get(&copy.instance));
            let Some(first) = first else { return Ok(None) };
            NodeSight { pid: first.pid, started: first.started, selectors: first.selectors.clone() }
        };
        match self.ask::<Option<Vec<Identified>>>("/v1/node/again", &copies).await {
            Ok(Some(now)) => {
                self.remember(&now, &sight);
                Ok(Some(now))
            }
            Ok(None) => Ok(None),
            Err(error @ LinkError::Refused { .. }) => Err(told(&error)),
            Err(_) => Ok(None),
        }
    }
}

fn held(svid: Received) -> HeldSvid {
    HeldSvid { chain: svid.chain, key_pkcs8: svid.key, due: svid.due, authority: svid.authority }
}

/// The status of what the server said (Endpoint §6 and appendix A).
fn told(error: &LinkError) -> Status {
    let text = error.to_string();
    match error {
        LinkError::Refused { code, .. } => match code.as_str() {
            wire::BANNED | wire::DENIED => Status::permission_denied(text),
            wire::INVALID => Status::invalid_argument(text),
            _ => Status::unavailable(text),
        },
        _ => Status::unavailable(text),
    }
}

fn not_any_more(of: &Identified) -> Status {
    Status::permission_denied(format!("this workload is `{}` no longer", of.identity))
}

const SOON: Ttl = Ttl::from_seconds(5);
