//! Calls that were under way when a process ended: nobody carries them on, and the next opening says so.

use std::collections::BTreeMap;

use marque_core::event::{Body, By};
use marque_core::id::InstanceId;
use marque_core::record::Outcome;

use crate::error::Result;
use crate::open::Engine;

impl Engine {
    /// INVARIANT (I3 no act without a record): what was allowed and has no outcome is recorded as abandoned, as a permit that is
    /// dropped is. For an opening only, before anything is served: no permit is alive then.
    pub(crate) async fn settle_abandoned(&self) -> Result<()> {
        let (mut from, mut calls) = (0, 0_u64);
        loop {
            let open = self.fresh_views()?.unsettled(from, AT_ONCE)?;
            let Some((last, _)) = open.last() else { break };
            from = last.saturating_add(1);
            calls = calls.saturating_add(open.len() as u64);
            let mut outcomes: BTreeMap<Option<InstanceId>, Vec<Body>> = BTreeMap::new();
            for (seq, record) in open {
                let (instance, principal) = match self.views.entry(seq)?.map(|opened| opened.event.what) {
                    Some(Body::Decided(decided)) => (Some(decided.instance), Some(decided.principal)),
                    // It was let go: whose it was, nobody knows any more.
                    _ => (None, None),
                };
                let outcome = Outcome::abandoned();
                outcomes.entry(instance).or_default().push(Body::Settled { record, principal, outcome });
            }
            for (instance, bodies) in outcomes {
                self.enqueue(instance.map_or(By::System, By::Instance), |_, _| Ok(((), bodies)))?;
            }
            self.drain().await?;
        }
        if calls > 0 {
            tracing::warn!(calls, "allowed calls were under way when the last process ended: they are recorded as abandoned");
        }
        Ok(())
    }
}

/// How many are settled in one batch.
const AT_ONCE: u32 = 256;
