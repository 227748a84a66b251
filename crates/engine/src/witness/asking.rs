//! The log's side: the newest checkpoint goes to the witnesses, and their cosignatures into the published files.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use marque_ledger::{Checkpoint, Note, Policy, Verifier};
use marque_store::StoreError;
use marque_store::published::Published;
use marque_store::tiles::Tiles;
use tokio::sync::watch;

use super::rounds::{Rounds, WitnessAnswer, WitnessChange, WitnessRequest, WitnessStatus};
use crate::env::Env;
use crate::error::{EngineError, Result};
use crate::open::Engine;

/// Asks the witnesses of a policy to cosign what one log publishes (C2SP tlog-witness v1.0.0, tlog-policy).
///
/// Nothing waits for a witness: no acknowledgement, and no checkpoint. Who sends the requests calls [`requests`] whenever
/// [`heads`] changes and every now and then, and [`answered`] for each of them, one at a time.
///
/// [`requests`]: Self::requests
/// [`heads`]: Self::heads
/// [`answered`]: Self::answered
#[derive(Debug)]
pub struct Witnesses {
    env: Env,
    tiles: Arc<Mutex<Tiles>>,
    rounds: Mutex<Rounds>,
    head: watch::Sender<u64>,
}

impl Witnesses {
    /// The witnesses of a policy file, for the log of this key.
    pub(super) fn new(policy: &[u8], log: Verifier, tiles: Arc<Mutex<Tiles>>, env: Env) -> Result<Self> {
        let policy = Policy::from_bytes(policy).map_err(|error| EngineError::Invalid(format!("the witness policy: {error}")))?;
        let mut rounds = Rounds::new(policy, log).map_err(EngineError::Invalid)?;
        let size = |note: String| Some(Note::parse(&note).ok()?.text.parse::<Checkpoint>().ok()?.size);
        rounds.witnessed = lock(&tiles).witnessed()?.and_then(size);
        Ok(Self { env, tiles, rounds: Mutex::new(rounds), head: watch::channel(0).0 })
    }

    /// Says that a checkpoint of this size is published.
    pub(crate) fn published(&self, size: u64) {
        self.head.send_if_modified(|head| std::mem::replace(head, size) != size);
    }

    /// Follows the size of the published checkpoint.
    pub fn heads(&self) -> watch::Receiver<u64> {
        self.head.subscribe()
    }

    /// The requests to send now (blocking).
    pub fn requests(&self) -> Result<Vec<WitnessRequest>> {
        let now = self.env.clock.now();
        let tiles = lock(&self.tiles);
        let note = match tiles.checkpoint() {
            Ok(note) => note,
            // Nothing is published yet.
            Err(StoreError::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error.into()),
        };
        // Locked after the tiles, always.
        let mut rounds = lock(&self.rounds);
        rounds.published(&note, now).map_err(StoreError::from)?;
        Ok(rounds.due(now, &tiles.reader()))
    }

    /// Takes in the answer to a request, and publishes the cosignature if there is one (blocking). Says so when the witness is
    /// in trouble from now on, or no longer.
    pub fn answered(&self, witness: usize, answer: WitnessAnswer) -> Result<Option<WitnessChange>> {
        let outcome = lock(&self.rounds).answered(witness, answer, self.env.clock.now());
        if let Some((note, is_quorum)) = outcome.publish {
            lock(&self.tiles).publish_cosigned(&note, is_quorum)?;
        }
        Ok(outcome.change)
    }

    /// How each witness is doing.
    pub fn status(&self) -> Vec<WitnessStatus> {
        lock(&self.rounds).status()
    }

    /// How many entries the newest checkpoint has that a quorum cosigned.
    pub fn witnessed(&self) -> Option<u64> {
        lock(&self.rounds).witnessed
    }
}

impl Engine {
    /// Has the log's checkpoints cosigned by the witnesses of a policy file from now on (C2SP tlog-policy): whoever calls this
    /// sends the requests.
    pub fn ask_witnesses(&self, policy: &[u8]) -> Result<Arc<Witnesses>> {
        let witnesses = Witnesses::new(policy, self.signer.verifier(), Arc::clone(&self.tiles), self.env.clone())?;
        Ok(Arc::clone(self.witnesses.get_or_init(|| Arc::new(witnesses))))
    }

    /// How each witness of the log is doing; none where none are asked.
    pub fn witnesses(&self) -> Vec<WitnessStatus> {
        self.witnesses.get().map(|witnesses| witnesses.status()).unwrap_or_default()
    }

    /// How many entries the newest checkpoint has that a quorum of the witnesses cosigned.
    pub fn witnessed(&self) -> Option<u64> {
        self.witnesses.get().and_then(|witnesses| witnesses.witnessed())
    }

    /// The published files of the log.
    pub fn published_log(&self) -> Published {
        Published::new(Arc::clone(&self.tiles))
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
