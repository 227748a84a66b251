//! `launched`: a process that `marque run` started, with what its launcher told.

use std::collections::BTreeSet;

use marque_core::Digest;
use marque_core::attestation::{Attestation, Selector};
use marque_core::id::TaskId;
use marque_core::spiffe::SpiffeId;
use marque_core::time::Timestamp;
use serde::{Deserialize, Serialize};

use super::Attestor;
use crate::caller::Caller;
use crate::error::{EngineError, Result};
use crate::observe::{descends_from, start_time};
use crate::open::Engine;

/// A launch: what a person started under an identity and a task, and the process that all of it hangs from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Launch {
    /// The identity.
    pub identity: SpiffeId,
    /// The task.
    pub task: TaskId,
    /// The launcher's process.
    pub pid: u32,
    /// The launcher's start time, which with the pid names one process for good.
    pub started: u64,
    /// What is known of every process of this launch besides what is seen of it.
    pub selectors: BTreeSet<Selector>,
}

/// What a launcher tells of what it starts.
///
/// The launcher measures, and the server takes its word: it is a person's own process, and the agent is not started yet.
/// A measured file can still be changed before the agent reads it, by whoever may write it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// The launcher's user, as the kernel named it.
    pub uid: Option<u32>,
    /// SHA-256 of the command and its arguments, joined by NUL.
    pub argv: Option<Digest>,
    /// SHA-256 of each file that was measured: a model, a prompt pack.
    pub artifacts: BTreeSet<Digest>,
}

impl Launch {
    /// The launch with what its launcher told of it. Whoever can guess a command line or a file could tell its digest too, so
    /// that the log has commitments to these selectors: see [`Selector::MEASURED`].
    pub fn told(mut self, told: &Told) -> Result<Self> {
        if told.artifacts.len() > MAX_ARTIFACTS {
            return Err(EngineError::Invalid(format!("a launch has at most {MAX_ARTIFACTS} artifacts")));
        }
        let hex = |digest: &Digest| hex::encode(digest.as_bytes());
        let uid = told.uid.map(|uid| ("launcher_uid", uid.to_string()));
        let argv = told.argv.as_ref().map(|digest| ("argv_sha256", hex(digest)));
        let artifacts = told.artifacts.iter().map(|digest| ("artifact_sha256", hex(digest)));
        for (key, value) in uid.into_iter().chain(argv).chain(artifacts) {
            self.selectors.insert(Selector::new("launched", key, value)?);
        }
        Ok(self)
    }

    /// Whether the launcher started a process, at any depth, and is still the process it was.
    pub fn holds(&self, pid: u32) -> bool {
        descends_from(pid, self.pid) && start_time(self.pid).ok() == Some(self.started)
    }
}

impl Attestor for Launch {
    const NAME: &'static str = "launched";
    /// What was seen of the process.
    type Evidence<'a> = Attestation;

    /// What was seen, and what is known of this launch: it must have started the process.
    fn attest(&self, seen: Attestation, _: Timestamp) -> Result<Attestation> {
        if !self.holds(seen.pid) {
            return Err(EngineError::Forbidden(format!("process {} was not started by this launch", seen.pid)));
        }
        let mut selectors = seen.selectors;
        selectors.extend(self.selectors.iter().cloned());
        Ok(Attestation { method: Self::NAME.into(), selectors, ..seen })
    }
}

impl Engine {
    /// Checks that a person may launch an identity under a task.
    pub fn launch(&self, by: &Caller, identity: &SpiffeId, task: TaskId, pid: u32) -> Result<Launch> {
        by.person()?;
        let now = self.now();
        let state = self.state();
        let running = state.check_task(task, now)?;
        if running.actor != *identity {
            return Err(EngineError::Invalid(format!("task `{task}` is for `{}`, not for `{identity}`", running.actor)));
        }
        let started = start_time(pid).map_err(|source| EngineError::Read { what: format!("process {pid}"), source })?;
        let named = Selector::new("launched", "identity", identity.short())?;
        let selectors = BTreeSet::from([named, Selector::new("launched", "task", task)?]);
        Ok(Launch { identity: identity.clone(), task, pid, started, selectors })
    }
}

/// More files than a launch has models and prompt packs.
const MAX_ARTIFACTS: usize = 64;
