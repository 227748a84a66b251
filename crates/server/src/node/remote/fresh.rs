//! What keeps the answers fresh: asking the server for what is new, looking after the processes of this host, and renewing the
//! node's own SVID.

use std::collections::BTreeSet;
use std::time::Duration;

use marque_core::id::InstanceId;
use marque_engine::{Bundle, BundleSet, Clock as _, EngineError, NodeSync, start_time};
use tokio::time::Instant;

use super::{Known, Last, Moment, RemoteSource, patience};
use crate::node::HOLDS;
use crate::node::home::Joined;
use crate::node::link::{LinkError, Shown};
use crate::node::wire::{self, SyncRequest, WireSvid};
use crate::source::Bundles;

impl RemoteSource {
    /// Keeps what is shown fresh, until the server says that this node is none of its own any more: then it says why.
    pub async fn run(&self) -> String {
        tokio::select! {
            why = self.follow() => why,
            why = self.look_after() => why,
            why = self.renew() => why,
        }
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
        let (new_bundles, new_entries, dropped) = {
            let mut known = self.known();
            let (mut new_bundles, mut new_entries) = (false, false);
            if let Some(fresh) = fresh {
                let before = known.last.as_ref();
                if before.is_none_or(|before| before.sync.identities != fresh.sync.identities) {
                    tracing::info!(identities = ?fresh.sync.identities, epoch = fresh.sync.epoch.0, "this node may serve");
                }
                new_bundles = before.is_none_or(|before| before.bundles != fresh.bundles);
                new_entries = before.is_some_and(|before| before.sync.entries != fresh.sync.entries);
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
            (new_bundles, new_entries, copies.len() < count)
        };
        if new_entries {
            self.entries.send_modify(|n| *n = n.wrapping_add(1));
        }
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

    /// A part of a pause that differs each time: when a server comes back, not every node comes at once.
    fn jitter(&self, pause: Duration) -> Duration {
        let mut byte = [0; 1];
        self.env.entropy.fill(&mut byte);
        pause.mul_f64(0.5 + f64::from(u8::from_be_bytes(byte)) / 255.0)
    }
}

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
const LONGEST_SLEEP: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(200);
