//! Which witness is asked for what, and what its answer means (C2SP tlog-witness v1.0.0, "add-checkpoint"). No I/O, no clock.
//!
//! All witnesses are asked for one checkpoint, in a round; the next round is for the newest checkpoint of then. So a quorum
//! forms over one tree head also where some witnesses are slow. A round is over when there is a quorum, or when nobody is
//! left to wait for: one that failed is asked again after a pause that grows.

use std::collections::BTreeMap;

use marque_core::time::Timestamp;
use marque_ledger::{
    ADD_CHECKPOINT, AddCheckpoint, Checkpoint, LedgerError, MAX_SKEW, Note, Policy, TileReader, Verifier, WitnessVerifier,
    add_cosignatures, open, parse_stale_size,
};
use serde::{Deserialize, Serialize};

/// A request to a witness (tlog-witness v1.0.0, "add-checkpoint").
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WitnessRequest {
    /// Which witness, for its answer.
    pub witness: usize,
    /// Where to post it.
    pub url: String,
    /// The body.
    pub body: String,
}

/// What became of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WitnessAnswer {
    /// The witness answered.
    Answered {
        /// The status.
        status: u16,
        /// The body.
        body: String,
    },
    /// It did not, for this reason.
    Failed(String),
}

/// A witness is in trouble now, or no longer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WitnessChange {
    /// The policy's name of it.
    pub name: String,
    /// What is wrong; nothing when all is well again.
    pub trouble: Option<String>,
}

/// How a witness is doing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WitnessStatus {
    /// The policy's name of it.
    pub name: String,
    /// Where it is.
    pub url: String,
    /// How many entries the checkpoint has that it cosigned last, since this process started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// When.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Timestamp>,
    /// What is wrong with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// What an answer leads to.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Outcome {
    /// A checkpoint with all its cosignatures so far, and whether they are of a quorum.
    pub publish: Option<(String, bool)>,
    pub change: Option<WitnessChange>,
}

/// The state of the requests for one log.
#[derive(Debug)]
pub(super) struct Rounds {
    policy: Policy,
    log: Verifier,
    peers: Vec<Peer>,
    /// Checkpoints with the cosignatures so far, by size: of this round, and of earlier ones that a witness still works on.
    notes: BTreeMap<u64, String>,
    round: Option<Round>,
    /// How many entries the newest checkpoint with a quorum has.
    pub witnessed: Option<u64>,
}

/// The checkpoint that is asked for now.
#[derive(Clone, Copy, Debug)]
struct Round {
    size: u64,
    began: Timestamp,
    is_quorum: bool,
}

#[derive(Debug)]
struct Peer {
    name: String,
    verifier: WitnessVerifier,
    url: String,
    /// How many entries it cosigned last, as far as we know.
    known: u64,
    cosigned: Option<(u64, Timestamp)>,
    trouble: Option<Trouble>,
    failures: u32,
    not_before: Timestamp,
    /// The size that it is asked for and has not answered for.
    asked: Option<u64>,
    /// Whether nothing more is expected of it in this round.
    done: bool,
    /// Whether it has corrected us about `known` in this round.
    corrected: bool,
}

/// What is wrong with a witness. A change of the kind is worth a word; another wording of the same is not.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Trouble {
    Unreachable(String),
    Refused(String),
    Untrue(String),
}

impl Rounds {
    /// For the log of this key. Refused is a policy that could never be met: one that names other logs alone, or a witness
    /// that nobody knows how to reach (C2SP tlog-policy, "Defining a witness").
    pub fn new(policy: Policy, log: Verifier) -> Result<Self, String> {
        if !policy.logs().is_empty() && !policy.logs().iter().any(|known| known.verifier == log) {
            return Err(format!("the witness policy lists logs, and not this one: `log {log}`"));
        }
        let peers = policy.witnesses().map(|(name, witness)| {
            let url = witness.url.clone().ok_or_else(|| format!("witness `{name}` has no URL in the witness policy"))?;
            Ok(Peer::new(name, witness.verifier.clone(), url))
        });
        let peers = peers.collect::<Result<Vec<_>, String>>()?;
        Ok(Self { policy, log, peers, notes: BTreeMap::new(), round: None, witnessed: None })
    }

    /// Takes notice of the published checkpoint, as it stands in its file.
    pub fn published(&mut self, note: &str, now: Timestamp) -> Result<(), LedgerError> {
        let size = Note::parse(note)?.text.parse::<Checkpoint>()?.size;
        if !self.is_time(size, now) {
            return Ok(());
        }
        // Lines that do not verify would refuse every line to come.
        let (note, verdict) = match self.policy.evaluate(note) {
            Ok(verdict) => (note.to_owned(), Some(verdict)),
            Err(_) => (self.bare(note)?, None),
        };
        let is_quorum = verdict.is_some_and(|verdict| verdict.is_quorum && !verdict.cosigned.is_empty());
        let peers = &self.peers;
        self.notes.retain(|known, _| *known == size || peers.iter().any(|peer| peer.asked == Some(*known)));
        self.notes.entry(size).or_insert(note);
        self.peers.iter_mut().for_each(|peer| (peer.done, peer.corrected) = (false, false));
        self.round = Some(Round { size, began: now, is_quorum });
        Ok(())
    }

    /// Whether a round for a checkpoint of `size` entries begins. An idle log's is asked for again from time to time, so that
    /// its readers see that it is fresh.
    fn is_time(&self, size: u64, now: Timestamp) -> bool {
        let Some(round) = self.round else { return true };
        let age = now.micros().saturating_sub(round.began.micros());
        // An age below zero: the clock went back.
        let is_young = |least: i64| (0..least).contains(&age);
        let is_over = round.is_quorum || self.peers.iter().all(|peer| peer.done || peer.rests(now));
        is_over && !is_young(if size > round.size { SHORTEST } else { RENEWAL })
    }

    /// The requests to send now; each is answered by [`answered`](Self::answered) sooner or later. The proofs are made from the
    /// log's own tiles.
    pub fn due(&mut self, now: Timestamp, tiles: &dyn TileReader) -> Vec<WitnessRequest> {
        let Some(Round { size, .. }) = self.round else { return Vec::new() };
        let Some(Ok(note)) = self.notes.get(&size).map(|note| self.bare(note)) else { return Vec::new() };
        let mut requests = Vec::new();
        for (witness, peer) in self.peers.iter_mut().enumerate() {
            if peer.done || peer.asked.is_some() || peer.rests(now) {
                continue;
            }
            let body = match AddCheckpoint::new(peer.known, &note, tiles) {
                Ok(request) => request.to_string(),
                Err(error) => {
                    peer.failed(Trouble::Refused(format!("nothing could be sent to it: {error}")), now);
                    continue;
                }
            };
            peer.asked = Some(size);
            let url = format!("{}/{ADD_CHECKPOINT}", peer.url.trim_end_matches('/'));
            requests.push(WitnessRequest { witness, url, body });
        }
        requests
    }

    /// Takes in the answer of a witness.
    pub fn answered(&mut self, witness: usize, answer: WitnessAnswer, now: Timestamp) -> Outcome {
        let Some(size) = self.peers.get_mut(witness).and_then(|peer| peer.asked.take()) else { return Outcome::default() };
        let judged = self.judge(witness, size, answer, now);
        let is_of_round = self.round.is_some_and(|round| round.size == size);
        let Some(peer) = self.peers.get_mut(witness) else { return Outcome::default() };
        match judged {
            Ok(None) => Outcome::default(),
            Ok(Some(note)) => {
                let change = peer.cosigned(size, now);
                peer.done |= is_of_round;
                Outcome { publish: Some(self.gathered(size, note)), change }
            }
            Err(trouble) => Outcome { publish: None, change: peer.failed(trouble, now) },
        }
    }

    /// The checkpoint with the cosignature of the answer; nothing when the witness is to be asked again from another size.
    fn judge(&mut self, witness: usize, size: u64, answer: WitnessAnswer, now: Timestamp) -> Result<Option<String>, Trouble> {
        let (status, body) = match answer {
            WitnessAnswer::Answered { status, body } => (status, body),
            WitnessAnswer::Failed(why) => return Err(Trouble::Unreachable(why)),
        };
        let untrue = |error: LedgerError| Trouble::Untrue(error.to_string());
        let note = self.notes.get(&size).ok_or_else(|| Trouble::Untrue("it answered for no checkpoint".to_owned()))?;
        let bare = self.bare(note).map_err(untrue)?;
        let Some(peer) = self.peers.get_mut(witness) else { return Ok(None) };
        match status {
            200 => {
                let own = [peer.verifier.clone()];
                let cosigned = add_cosignatures(&bare, &body, &own).map_err(untrue)?;
                let Some(time) = peer.verifier.verify(&cosigned).map_err(untrue)? else {
                    return Err(Trouble::Untrue("it answered without a cosignature of its key".to_owned()));
                };
                // Whoever verifies takes it for no sign of freshness, and may refuse it (tlog-cosignature v1.0.1, "Format").
                let ahead = time.saturating_sub(u64::try_from(now.seconds()).unwrap_or(0));
                if ahead > MAX_SKEW {
                    return Err(Trouble::Untrue(format!("its cosignature is `{ahead}` seconds in the future")));
                }
                add_cosignatures(note, &body, &own).map(Some).map_err(untrue)
            }
            409 => {
                let cosigned = parse_stale_size(&body).map_err(untrue)?;
                if peer.corrected || cosigned == peer.known {
                    return Err(Trouble::Untrue(format!(
                        "it does not hold to the `{cosigned}` entries that it says it cosigned"
                    )));
                }
                if cosigned > size {
                    // Not taken for true: it is asked again after the pause, as a witness that was wrong once may be right then.
                    let why =
                        format!("it cosigned `{cosigned}` entries of this log, which has `{size}`: one of the two went back");
                    return Err(Trouble::Refused(why));
                }
                (peer.known, peer.corrected) = (cosigned, true);
                Ok(None)
            }
            status => Err(Trouble::Refused(format!("it answered `{status}`: {}", first_line(&body)))),
        }
    }

    /// Keeps the note, and says whether its cosignatures are of a quorum.
    fn gathered(&mut self, size: u64, note: String) -> (String, bool) {
        let is_quorum = self.policy.evaluate(&note).is_ok_and(|verdict| verdict.is_quorum);
        if is_quorum {
            self.witnessed = self.witnessed.max(Some(size));
        }
        if let Some(round) = self.round.as_mut().filter(|round| round.size == size) {
            round.is_quorum |= is_quorum;
        }
        self.notes.insert(size, note.clone());
        (note, is_quorum)
    }

    /// The note with the log's own signature alone.
    fn bare(&self, note: &str) -> Result<String, LedgerError> {
        open(note, std::slice::from_ref(&self.log)).map(|note| note.to_string())
    }

    /// How each witness is doing, in the policy's order.
    pub fn status(&self) -> Vec<WitnessStatus> {
        let status = |peer: &Peer| WitnessStatus {
            name: peer.name.clone(),
            url: peer.url.clone(),
            size: peer.cosigned.map(|(size, _)| size),
            at: peer.cosigned.map(|(_, at)| at),
            error: peer.trouble.as_ref().map(Trouble::text),
        };
        self.peers.iter().map(status).collect()
    }
}

impl Peer {
    fn new(name: &str, verifier: WitnessVerifier, url: String) -> Self {
        Self {
            name: name.to_owned(),
            verifier,
            url,
            known: 0,
            cosigned: None,
            trouble: None,
            failures: 0,
            not_before: Timestamp::from_micros(i64::MIN),
            asked: None,
            done: false,
            corrected: false,
        }
    }

    fn cosigned(&mut self, size: u64, now: Timestamp) -> Option<WitnessChange> {
        self.known = size;
        self.cosigned = Some((size, now));
        self.failures = 0;
        self.not_before = Timestamp::from_micros(i64::MIN);
        self.trouble.take().map(|_| WitnessChange { name: self.name.clone(), trouble: None })
    }

    /// Whether it failed a short while ago. A pause that is longer than any was set before the clock went back.
    fn rests(&self, now: Timestamp) -> bool {
        (1..=LONGEST_PAUSE).contains(&self.not_before.micros().saturating_sub(now.micros()))
    }

    fn failed(&mut self, trouble: Trouble, now: Timestamp) -> Option<WitnessChange> {
        let pause = FIRST_PAUSE.saturating_mul(1 << self.failures.min(16)).min(LONGEST_PAUSE);
        self.not_before = Timestamp::from_micros(now.micros().saturating_add(pause));
        self.failures = self.failures.saturating_add(1);
        let is_new =
            self.trouble.as_ref().is_none_or(|before| std::mem::discriminant(before) != std::mem::discriminant(&trouble));
        let change = is_new.then(|| WitnessChange { name: self.name.clone(), trouble: Some(trouble.text()) });
        self.trouble = Some(trouble);
        change
    }
}

impl Trouble {
    fn text(&self) -> String {
        match self {
            Self::Unreachable(why) => format!("it cannot be reached: {why}"),
            Self::Refused(why) => why.clone(),
            Self::Untrue(why) => format!("its answer is not to be trusted: {why}"),
        }
    }
}

/// What a witness says, fit for a log of messages.
fn first_line(body: &str) -> String {
    body.lines().next().unwrap_or_default().chars().filter(|c| !c.is_control()).take(200).collect()
}

/// Rounds begin at most this often, in microseconds: checkpoints may be signed more often.
const SHORTEST: i64 = 500_000;
/// How old the cosignatures of an idle log become.
const RENEWAL: i64 = 60_000_000;
/// How long a witness that failed is left alone, doubled each time, and at most.
const FIRST_PAUSE: i64 = 1_000_000;
const LONGEST_PAUSE: i64 = 30_000_000;

#[cfg(test)]
#[path = "rounds_tests.rs"]
mod tests;
