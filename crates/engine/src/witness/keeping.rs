//! The witness's side: it cosigns a checkpoint only if it continues the one before, and keeps that before it answers.

use std::collections::HashMap;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use marque_ledger::{AddCheckpoint, LedgerError, PLAIN_TEXT, Refusal, TreeHead, Verifier, WitnessSigner, witness_path};
use marque_store::StoreError;

use crate::env::Env;
use crate::error::{EngineError, Result};

/// The checkpoint of a log that was cosigned last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Its tree head.
    pub head: TreeHead,
    /// The checkpoint with the signatures of the log and of the witness.
    pub checkpoint: String,
}

/// Where a witness keeps what it cosigned last.
///
/// Contract: what [`keep`](Self::keep) has returned `Ok` for is there after a crash, and is what is read at the next start. After
/// an error it may be there or not. There is one call at a time for each log.
pub trait Keeper: fmt::Debug + Send + Sync {
    /// Keeps the newest checkpoint of a log in place of the one before.
    fn keep<'a>(&'a self, origin: &'a str, before: Option<&'a Kept>, newest: &'a Kept) -> Keeping<'a>;
}

/// A [`Keeper`] at work.
pub type Keeping<'a> = Pin<Box<dyn Future<Output = Result<()>> + Send + 'a>>;

/// A witness for some logs (C2SP tlog-witness v1.0.0).
#[derive(Debug)]
pub struct Witness {
    signer: WitnessSigner,
    env: Env,
    keeper: Arc<dyn Keeper>,
    /// By origin.
    logs: HashMap<String, Log>,
}

/// A log that the witness knows, with its keys. Whoever judges one of its checkpoints holds the lock until it is kept.
#[derive(Debug)]
struct Log {
    keys: Vec<Verifier>,
    last: tokio::sync::Mutex<Option<Kept>>,
}

/// The answer to a request (tlog-witness v1.0.0, "add-checkpoint").
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WitnessReply {
    /// The status.
    pub status: u16,
    /// The header `Content-Type`.
    pub content_type: &'static str,
    /// The body.
    pub body: String,
    /// What the people who run the witness should hear of: a signed checkpoint that is not shown to continue what was cosigned.
    pub alarm: Option<String>,
}

impl Witness {
    /// A witness for the logs of these keys, whose names are their origins, that goes on from what was kept.
    pub(super) fn new(
        signer: WitnessSigner,
        env: Env,
        logs: &[Verifier],
        keeper: Arc<dyn Keeper>,
        mut kept: HashMap<String, Kept>,
    ) -> Self {
        let mut known: HashMap<String, Log> = HashMap::new();
        for key in logs {
            let origin = key.name().to_owned();
            let last = kept.remove(&origin);
            known
                .entry(origin)
                .or_insert_with(|| Log { keys: Vec::new(), last: tokio::sync::Mutex::new(last) })
                .keys
                .push(key.clone());
        }
        Self { signer, env, keeper, logs: known }
    }

    /// The key by which its cosignatures are verified, as a policy lists it (C2SP tlog-policy, "Defining a witness").
    pub fn key(&self) -> String {
        self.signer.verifier().to_string()
    }

    /// Answers a request (tlog-witness v1.0.0, "add-checkpoint"). An error is the keeper's: nothing is cosigned then.
    pub async fn add_checkpoint(self: &Arc<Self>, body: &[u8]) -> Result<WitnessReply> {
        let request =
            std::str::from_utf8(body).map_err(|_| LedgerError::BadAddCheckpoint).and_then(|body| body.parse::<AddCheckpoint>());
        let request = match request {
            Ok(request) => request,
            Err(error) => return Ok(refused(&Refusal::Malformed(error))),
        };
        let witness = Arc::clone(self);
        // On a task of its own: a client that goes away must not leave a head that is half kept behind.
        let answered = tokio::spawn(async move { witness.judge(&request).await }).await;
        answered.map_err(|_| EngineError::Invalid("the request ended early".into()))?
    }

    /// INVARIANT (I6 the ledger is the history): what is cosigned continues all that was cosigned for this log before. The lock
    /// is held from before the request is judged until what was accepted is kept.
    async fn judge(&self, request: &AddCheckpoint) -> Result<WitnessReply> {
        let Some(log) = self.logs.get(request.origin()) else { return Ok(refused(&Refusal::UnknownOrigin)) };
        let mut last = log.last.lock().await;
        let accepted = match request.judge(&log.keys, last.as_ref().map(|kept| kept.head)) {
            Ok(accepted) => accepted,
            Err(refusal) => return Ok(WitnessReply { alarm: alarm(request, &refusal), ..refused(&refusal) }),
        };
        let seconds = self.env.clock.now().seconds().unsigned_abs();
        let cosigned = accepted.cosign(&self.signer, seconds).map_err(StoreError::from)?;
        let kept = Kept { head: cosigned.head, checkpoint: cosigned.checkpoint };
        self.keeper.keep(request.origin(), last.as_ref(), &kept).await?;
        *last = Some(kept);
        Ok(WitnessReply { status: 200, content_type: PLAIN_TEXT, body: cosigned.answer, alarm: None })
    }

    /// The checkpoint that was cosigned last for the log whose origin has this SHA-256, in lower-case hexadecimal (tlog-witness
    /// v1.0.0, "Monitor Retrieval Mechanism").
    pub async fn latest(&self, origin: &str) -> Option<String> {
        let (_, log) = self.logs.iter().find(|(name, _)| digest_of(name) == origin)?;
        log.last.lock().await.as_ref().map(|kept| kept.checkpoint.clone())
    }
}

/// SHA-256 of an origin, in lower-case hexadecimal (tlog-witness v1.0.0, "Monitor Retrieval Mechanism").
pub(super) fn digest_of(origin: &str) -> String {
    let path = witness_path(origin);
    path.split('/').next().unwrap_or_default().to_owned()
}

fn refused(refusal: &Refusal) -> WitnessReply {
    WitnessReply { status: refusal.status(), content_type: refusal.content_type(), body: refusal.body(), alarm: None }
}

/// A signed checkpoint that does not continue what was cosigned may be evidence against the log: the words have all of it.
fn alarm(request: &AddCheckpoint, refusal: &Refusal) -> Option<String> {
    let Refusal::Inconsistent(error) = refusal else { return None };
    let shown: Vec<String> = request.checkpoint.lines().map(|line| line.escape_debug().to_string()).collect();
    Some(format!("{error}, from the `{}` entries that were cosigned: {}", request.old_size, shown.join(" | ")))
}
