//! The node's side: joining, and a source whose answers come from the server and are kept for a while.
//!
//! What was fetched is shown while the last answer of the server is younger than `max_staleness`. Then everything closes:
//! streams end with `Unavailable` and nothing is issued, until the server answers again. A process is attested by the
//! server each time it asks; only while the server cannot be reached one that is known already stays what it was.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use marque_core::attestation::Selector;
use marque_core::id::InstanceId;
use marque_core::node::{NodeName, SERVER_PATH};
use marque_core::time::{Timestamp, Ttl};
use marque_engine::{
    Bundle, BundleSet, Clock, EngineError, Env, Identified, NodeProof, NodeSight, NodeSync, Observer, PopChallenge, PopKey,
    SecretText, ValidatedJwt, start_time,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tonic::Status;
use zeroize::Zeroizing;

use super::HOLDS;
use super::home::{Home, Joined};
use super::link::{Link, LinkError, Shown, Trust};
use super::wire::{
    self, JoinRequest, JwtRequest, OfInstance, Received, SyncRequest, ValidateRequest, WireJwt, WireSvid, WireValid,
};
use crate::serve::Peer;
use crate::source::{Bundles, Changes, HeldSvid, Source};

/// By what a node joins.
#[derive(Debug)]
pub enum Credentials {
    /// A token that a person made for it.
    Token(SecretText),
    /// A certificate of a CA that the server knows, DER, leaf first, and its key.
    Certificate {
        /// The certificates.
        chain: Vec<Vec<u8>>,
        /// The key.
        key: PopKey,
    },
}

/// Joins the server at `https://host:port`, which is known by its trust domain's bundle.
pub async fn join(
    server: &str,
    bundle: &Bundle,
    name: &NodeName,
    credentials: &Credentials,
    env: &Env,
) -> Result<Joined, JoinError> {
    let trust_domain = bundle.trust_domain.clone();
    let link = Link::new(server, trust([bundle.clone()].into_iter().collect(), &trust_domain, env)?, None)?;
    let proof = match credentials {
        Credentials::Token(token) => NodeProof::Token(token.clone()),
        Credentials::Certificate { chain, key } => {
            let challenge: PopChallenge = whole(link.ask("/v1/node/challenge", &(), PATIENCE).await?)?;
            let mut random = [0; 32];
            env.entropy.fill(&mut random);
            let leaf = chain.first().map(Vec::as_slice).unwrap_or_default();
            let answer = key.answer(&challenge, leaf, random).map_err(EngineError::from)?;
            NodeProof::Certificate { chain: chain.clone(), challenge, answer }
        }
    };
    let request = JoinRequest { name: name.clone(), proof: proof.into() };
    let svid: WireSvid = whole(link.ask("/v1/node/join", &request, PATIENCE).await?)?;
    let received = svid.received(env.clock.now()).ok_or(JoinError::Answer)?;
    let mut joined = Joined {
        server: server.to_owned(),
        trust_domain,
        name: name.clone(),
        chain: Vec::new(),
        key: SecretText::new(String::new()),
        due: received.due,
        ends: received.ends,
        bundle: bundle.to_spiffe_json().map_err(EngineError::from)?,
    };
    joined.hold(&received);
    Ok(joined)
}

/// Why a node did not join.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// The server did not answer, or said no.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// What was given to join by is of no use.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The server's answer makes no sense.
    #[error("the server's answer makes no sense")]
    Answer,
}

impl Joined {
    fn hold(&mut self, svid: &Received) {
        self.chain = svid.chain.iter().map(|der| STANDARD.encode(der)).collect();
        self.key = SecretText::new(STANDARD.encode(svid.key.as_slice()));
        (self.due, self.ends) = (svid.due, svid.ends);
    }

    fn shown(&self) -> Option<Shown> {
        let chain = self.chain.iter().map(|der| STANDARD.decode(der)).collect::<Result<_, _>>().ok()?;
        Some(Shown { chain, key: Zeroizing::new(STANDARD.decode(self.key.danger_expose()).ok()?) })
    }
}

/// A source whose answers come from the server that this node joined.
pub struct RemoteSource {
    link: Link,
    env: Env,
    observer: Arc<Observer>,
    home: Home,
    /// This node's own bound, where it is shorter than the server's.
    limit: Option<Ttl>,
    joined: Mutex<Joined>,
    known: Mutex<Known>,
    reached: watch::Sender<bool>,
    ended: watch::Sender<u64>,
    /// It never counts: the server does not tell of entries.
    entries: watch::Sender<u64>,
    bundles_changed: watch::Sender<u64>,
    /// There is a new copy.
    attested: Notify,
}

/// What the server said last.
#[derive(Default)]
struct Known {
    last: Option<Last>,
    copies: HashMap<InstanceId, Copied>,
    /// Why it is over for good.
    over: Option<String>,
}

struct Last {
    sync: NodeSync,
    bundles: Bundles,
    asked: Moment,
}

/// By both clocks: one goes on while the host sleeps, the other when somebody sets it back.
#[derive(Clone, Copy)]
struct Moment {
    wall: Timestamp,
    steady: Instant,
}

/// A copy that runs here.
struct Copied {
    of: Identified,
    pid: u32,
    started: u64,
    selectors: BTreeSet<Selector>,
    answered: Instant,
    svid: Option<Received>,
}

impl Copied {
    fn is_of(&self, sight: &NodeSight) -> bool {
        self.pid == sight.pid && self.started == sight.started
    }
}

impl std::fmt::Debug for RemoteSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RemoteSource({:?})", self.link)
    }
}

impl RemoteSource {
    /// The source of a node that has joined. It shows nothing before [`RemoteSource::run`] has reached the server.
    pub fn new(joined: Joined, home: Home, env: Env, limit: Option<Ttl>) -> Result<Arc<Self>, JoinError> {
        let trust = trust(joined.bundles()?, &joined.trust_domain, &env)?;
        let shown = joined.shown().ok_or(JoinError::Answer)?;
        let link = Link::new(&joined.server, trust, Some(shown))?;
        Ok(Arc::new(Self {
            link,
            env,
            observer: Arc::default(),
            home,
            limit,
            joined: Mutex::new(joined),
            known: Mutex::default(),
            reached: watch::channel(false).0,
            ended: watch::channel(0).0,
            entries: watch::channel(0).0,
            bundles_changed: watch::channel(0).0,
            attested: Notify::new(),
        }))
    }

    /// Keeps what is shown fresh, until the server says that this node is none of its own any more: then it says why.
    pub async fn run(&self) -> String {
        tokio::select! {
            why = self.follow() => why,
            why = self.look_after() => why,
            why = self.renew() => why,
        }
    }

    /// Waits until the server has answered once.
    pub async fn reached(&self) {
        let _ = self.reached.subscribe().wait_for(|reached| *reached).await;
    }

    /// Asks for what is new, again and again; after a failure at growing distances.
    async fn follow(&self) -> String {
        let mut pause = FIRST_PAUSE;
        loop {
            if self.now() >= self.joined().ends {
                return self.end("this node's SVID has expired: make a new token and join again".into());
            }
            let (seen, longest) = {
                let known = self.known();
                // A copy the last answer did not name may be over already: only a whole answer tells.
                let seen = known.last.as_ref().filter(|last| known.copies.keys().all(|id| last.sync.live.contains(id)));
                (seen.map(|last| last.sync.seen.clone()), self.longest(&known))
            };
            let hold = longest / HOLDS;
            let asked = Moment { wall: self.now(), steady: Instant::now() };
            let question = SyncRequest { seen, hold_millis: u64::try_from(hold.as_millis()).unwrap_or(u64::MAX) };
            let answer = tokio::select! {
                answer = self.link.ask::<NodeSync>("/v1/node/sync", &question, hold + patience(longest)) => answer,
                // The server compares with what was seen before this copy, and would not tell that it has ended.
                () = self.attested.notified() => continue,
            };
            let failed = match answer {
                Ok(sync) => self.take(sync, asked).err().map(|e| e.chain()),
                Err(LinkError::Refused { code, message }) if matches!(code.as_str(), wire::BANNED | wire::UNAUTHENTICATED) => {
                    return self.end(message);
                }
                Err(error) => Some(error.to_string()),
            };
            match failed {
                None => {
                    self.reached.send_replace(true);
                    pause = FIRST_PAUSE;
                }
                Some(why) => {
                    if self.reached.send_replace(false) || pause == FIRST_PAUSE {
                        tracing::warn!("the server is asked again: {why}");
                    }
                    tokio::time::sleep(self.jitter(pause)).await;
                    pause = (pause * 2).min(longest / 4).min(LONGEST_PAUSE).max(FIRST_PAUSE * 2);
                }
            }
        }
    }

    /// Takes in an answer; nothing new is an answer, too.
    fn take(&self, sync: Option<NodeSync>, asked: Moment) -> Result<(), EngineError> {
        let fresh = sync.map(|sync| self.read(sync, asked)).transpose()?;
        let own = fresh.as_ref().map(|last| last.bundles.own.clone());
        let (new_bundles, dropped) = {
            let mut known = self.known();
            let mut new_bundles = false;
            if let Some(fresh) = fresh {
                let before = known.last.as_ref();
                if before.is_none_or(|before| before.sync.identities != fresh.sync.identities) {
                    tracing::info!(identities = ?fresh.sync.identities, epoch = fresh.sync.epoch.0, "this node may serve");
                }
                new_bundles = before.is_none_or(|before| before.bundles != fresh.bundles);
                known.last = Some(fresh);
            } else if let Some(last) = &mut known.last {
                last.asked = asked;
            }
            let Known { last, copies, .. } = &mut *known;
            let count = copies.len();
            if let Some(last) = last {
                // One that was attested while the server was being asked may not be in the answer yet.
                copies.retain(|id, copy| last.sync.live.contains(id) || copy.answered > asked.steady);
            }
            (new_bundles, copies.len() < count)
        };
        if dropped {
            self.bump_ended();
        }
        if new_bundles && let Some(own) = own {
            let document = own.to_spiffe_json()?;
            self.link.trust([own].into_iter().collect());
            self.keep(|joined| joined.bundle = document);
            self.bundles_changed.send_modify(|n| *n = n.wrapping_add(1));
        }
        Ok(())
    }

    fn read(&self, sync: NodeSync, asked: Moment) -> Result<Last, EngineError> {
        if sync.trust_domain != self.joined().trust_domain {
            return Err(EngineError::Invalid(format!("the server is of `{}` now", sync.trust_domain)));
        }
        let own = Bundle::from_spiffe_json(sync.trust_domain.clone(), sync.own.as_bytes())?;
        let foreign = BundleSet::from_map_json(sync.foreign.as_bytes())?;
        let bundles = Bundles { own, foreign, good: sync.good.clone() };
        Ok(Last { sync, bundles, asked })
    }

    /// Closes when the time is over, and tells the server of processes that have ended.
    async fn look_after(&self) -> String {
        let mut closed = true;
        for beat in 1_u32.. {
            tokio::time::sleep(LOOK).await;
            let now_closed = self.closed(&self.known());
            match (&now_closed, closed) {
                (Some(status), false) => {
                    tracing::warn!("nothing is shown: {}", status.message());
                    self.bump_ended();
                }
                (None, true) => tracing::info!("identities are shown"),
                _ => {}
            }
            closed = now_closed.is_some();
            if beat % 5 == 0 && !closed {
                self.report_ended().await;
            }
        }
        String::new()
    }

    async fn report_ended(&self) {
        let here: Vec<(InstanceId, u32, u64)> = {
            let known = self.known();
            known.copies.values().map(|copy| (copy.of.instance, copy.pid, copy.started)).collect()
        };
        let gone = move || {
            let over = |(_, pid, started): &(InstanceId, u32, u64)| start_time(*pid).ok() != Some(*started);
            here.into_iter().filter(over).map(|(id, ..)| id).collect::<BTreeSet<_>>()
        };
        let Ok(ended) = tokio::task::spawn_blocking(gone).await else { return };
        if ended.is_empty() {
            return;
        }
        // What the server was not told now is told at the next look.
        if self.ask::<()>("/v1/node/ended", &ended).await.is_ok() {
            self.known().copies.retain(|id, _| !ended.contains(id));
            self.bump_ended();
        }
    }

    /// Renews the node's own SVID after half its life.
    async fn renew(&self) -> String {
        loop {
            let left = self.joined().due.micros().saturating_sub(self.now().micros());
            if left > 0 {
                tokio::time::sleep(Duration::from_micros(left.unsigned_abs()).min(LONGEST_SLEEP)).await;
                continue;
            }
            let renewed = self.ask::<WireSvid>("/v1/node/renew", &()).await;
            match renewed.map(|svid| svid.received(self.now())) {
                Ok(Some(svid)) => {
                    self.keep(|joined| joined.hold(&svid));
                    self.link.show(Shown { chain: svid.chain, key: svid.key }).await;
                }
                Ok(None) => tracing::warn!("the server's answer to a renewal makes no sense"),
                Err(error) => tracing::warn!("this node's SVID is not renewed yet: {error}"),
            }
            tokio::time::sleep(LONGEST_PAUSE).await;
        }
    }

    /// Changes what the next start finds.
    fn keep(&self, change: impl FnOnce(&mut Joined)) {
        let mut joined = self.joined();
        change(&mut joined);
        if let Err(error) = self.home.save(&joined) {
            tracing::error!("what this node knows is not kept for the next start: {error}");
        }
    }

    fn end(&self, why: String) -> String {
        self.known().over = Some(why.clone());
        self.bump_ended();
        why
    }

    fn bump_ended(&self) {
        self.ended.send_modify(|n| *n = n.wrapping_add(1));
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn joined(&self) -> MutexGuard<'_, Joined> {
        self.joined.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How long what the server said may be shown.
    fn longest(&self, known: &Known) -> Duration {
        let server = known.last.as_ref().map_or(UNTOLD, |last| last.sync.max_staleness);
        Duration::from_secs(self.limit.map_or(server, |limit| limit.min(server)).seconds())
    }

    /// Why nothing may be shown now.
    fn closed(&self, known: &Known) -> Option<Status> {
        if let Some(why) = &known.over {
            return Some(Status::permission_denied(why.clone()));
        }
        let Some(last) = &known.last else {
            return Some(Status::unavailable("the server has not been reached yet"));
        };
        let longest = self.longest(known);
        let wall = self.now().micros().saturating_sub(last.asked.wall.micros());
        let over = last.asked.steady.elapsed() >= longest || u128::from(wall.max(0).unsigned_abs()) >= longest.as_micros();
        over.then(|| Status::unavailable(format!("the server has not answered for {} s", longest.as_secs())))
    }

    fn open(&self) -> Result<MutexGuard<'_, Known>, Status> {
        let known = self.known();
        match self.closed(&known) {
            Some(status) => Err(status),
            None => Ok(known),
        }
    }

    async fn ask<T: DeserializeOwned>(&self, path: &str, question: &impl Serialize) -> Result<T, LinkError> {
        if !*self.reached.borrow() {
            let server = self.joined().server.clone();
            return Err(LinkError::Unreachable { server, why: "it did not answer the last time".into() });
        }
        let longest = self.longest(&self.known());
        whole(self.link.ask(path, question, patience(longest)).await?)
    }

    /// The copies of a process that are known from before.
    fn copies_of(&self, sight: &NodeSight) -> Result<Vec<Identified>, Status> {
        let known = self.open()?;
        let same = |copy: &&Copied| copy.is_of(sight) && copy.selectors == sight.selectors;
        Ok(known.copies.values().filter(same).map(|copy| copy.of.clone()).collect())
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

    /// A part of a pause that differs each time: when a server comes back, not every node comes at once.
    fn jitter(&self, pause: Duration) -> Duration {
        let mut byte = [0; 1];
        self.env.entropy.fill(&mut byte);
        pause.mul_f64(0.5 + f64::from(u8::from_be_bytes(byte)) / 255.0)
    }
}

impl Clock for RemoteSource {
    fn now(&self) -> Timestamp {
        self.env.clock.now()
    }
}

#[tonic::async_trait]
impl Source for RemoteSource {
    async fn attest(&self, peer: Peer) -> Result<Vec<Identified>, Status> {
        drop(self.open()?);
        let observer = Arc::clone(&self.observer);
        let look = tokio::task::spawn_blocking(move || observer.look(peer.pid)).await;
        let seen = look.map_err(|_| Status::unavailable("the process could not be looked at"))?;
        // A process that has gone is nobody.
        let seen = seen.map_err(|e| Status::permission_denied(e.chain()))?;
        let sight = NodeSight { pid: seen.pid, started: seen.started, selectors: seen.selectors };
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

    /// The server tells a node of copies that end, and not of entries that change: a process learns that when it asks again.
    async fn moved(&self, _: &[Identified]) -> Result<Option<Vec<Identified>>, Status> {
        Ok(None)
    }
}

fn trust(bundles: BundleSet, of: &marque_core::spiffe::TrustDomain, env: &Env) -> Result<Arc<Trust>, EngineError> {
    let server = of.join(SERVER_PATH)?;
    Ok(Arc::new(Trust { server, bundles: std::sync::RwLock::new(bundles), clock: Arc::clone(&env.clock) }))
}

fn held(svid: Received) -> HeldSvid {
    HeldSvid { chain: svid.chain, key_pkcs8: svid.key, due: svid.due, authority: svid.authority }
}

fn whole<T>(answer: Option<T>) -> Result<T, LinkError> {
    let nothing = || LinkError::Refused { code: wire::FAILED.into(), message: "the server answered nothing".into() };
    answer.ok_or_else(nothing)
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

/// How long an answer that is not held back may take.
fn patience(longest: Duration) -> Duration {
    (longest / HOLDS).clamp(Duration::from_millis(500), PATIENCE)
}

const PATIENCE: Duration = Duration::from_secs(5);
/// Before the server has said how long its answers may be shown.
const UNTOLD: Ttl = Ttl::from_seconds(60);
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
const LONGEST_SLEEP: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(200);
const SOON: Ttl = Ttl::from_seconds(5);
