//! The node's side: a source whose answers come from the server and are kept for a while.
//!
//! What was fetched is shown while the last answer of the server is younger than `max_staleness`. Then everything closes:
//! streams end with `Unavailable` and nothing is issued, until the server answers again. A process is attested by the
//! server each time it asks; only while the server cannot be reached one that is known already stays what it was.

mod answers;
mod fresh;

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use marque_core::attestation::Selector;
use marque_core::id::InstanceId;
use marque_core::time::{Timestamp, Ttl};
use marque_engine::{Clock, Env, Identified, NodeSight, NodeSync, Observer};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tonic::Status;

use super::HOLDS;
use super::home::{Home, Joined};
use super::join::{JoinError, PATIENCE, trust, whole};
use super::link::{Link, LinkError};
use super::wire::Received;
use crate::source::Bundles;

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

    /// Waits until the server has answered once.
    pub async fn reached(&self) {
        let _ = self.reached.subscribe().wait_for(|reached| *reached).await;
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
}

impl Clock for RemoteSource {
    fn now(&self) -> Timestamp {
        self.env.clock.now()
    }
}

/// How long an answer that is not held back may take.
fn patience(longest: Duration) -> Duration {
    (longest / HOLDS).clamp(Duration::from_millis(500), PATIENCE)
}

/// Before the server has said how long its answers may be shown.
const UNTOLD: Ttl = Ttl::from_seconds(60);
