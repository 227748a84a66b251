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
mod tests {
    use marque_ledger::{MemoryTiles, Signer, Tree, TreeHead, WitnessSigner, leaf_hash};

    use super::*;

    #[test]
    fn a_quorum_forms_over_one_head_and_the_next_round_is_for_the_newest() {
        let mut world = World::new("group both all w0 w1\nquorum both\n");
        world.publish(3, 0);
        let requests = world.due(0);
        assert_eq!(
            requests.iter().map(|r| r.url.as_str()).collect::<Vec<_>>(),
            ["https://w0.example/w/add-checkpoint", "https://w1.example/w/add-checkpoint"]
        );
        let (first, _) = world.answer(&requests[0], 0).publish.unwrap();
        assert!(!world.rounds.policy.evaluate(&first).unwrap().is_quorum);
        // A newer head waits for the slower witness.
        world.publish(5, 1_000_000);
        assert!(world.due(1_000_000).is_empty());
        let (note, is_quorum) = world.answer(&requests[1], 1_500_000).publish.unwrap();
        assert!(is_quorum && world.rounds.policy.evaluate(&note).unwrap().is_quorum);
        assert_eq!((world.rounds.witnessed, size_of(&note)), (Some(3), 3));
        world.publish(5, 1_500_000);
        for request in world.due(1_500_000) {
            assert!(request.body.starts_with("old 3\n"), "{}", request.body);
            world.answer(&request, 1_500_000);
        }
        assert_eq!(world.rounds.witnessed, Some(5));
        assert!(world.due(1_500_000).is_empty());
    }

    #[test]
    fn a_witness_that_is_down_holds_up_nobody_and_is_told_of_once() {
        let mut world = World::new("group any any w0 w1\nquorum any\n");
        let failed = || WitnessAnswer::Failed("connection refused".to_owned());
        let mut told = Vec::new();
        for (size, now) in [(3, 0), (4, 1_000_000), (5, 2_000_000), (6, 3_000_000)] {
            world.publish(size, now);
            for request in world.due(now) {
                let outcome = match request.witness {
                    0 => world.answer(&request, now),
                    _ => world.rounds.answered(1, failed(), at(now)),
                };
                told.extend(outcome.change);
            }
            assert_eq!(world.rounds.witnessed, Some(size));
        }
        assert_eq!(told.len(), 1, "{told:?}");
        assert_eq!(world.rounds.status()[0].error, None);
        assert!(world.rounds.status()[1].error.as_ref().unwrap().contains("connection refused"));

        // It comes back while nothing happens, and says where it stands: nowhere, as it missed everything.
        let later = 40_000_000;
        let request = world.due(later).pop().unwrap();
        let outcome = world.answer(&request, later);
        assert_eq!(outcome.change, Some(WitnessChange { name: "w1".to_owned(), trouble: None }));
        assert_eq!(world.rounds.status()[1].size, Some(6));
    }

    #[test]
    fn pauses_grow_to_a_bound_and_a_clock_that_goes_back_does_not_prolong_them() {
        let mut world = World::new("group any any w0 w1\nquorum any\n");
        world.publish(3, 0);
        world.due(0);
        let (mut now, mut pauses) = (0, Vec::new());
        for _ in 0..8 {
            world.rounds.answered(1, WitnessAnswer::Failed(String::new()), at(now));
            let from = now;
            while world.due(now).is_empty() {
                now += 500_000;
            }
            pauses.push((now - from) / 1_000_000);
        }
        assert_eq!(pauses, [1_i64, 2, 4, 8, 16, 30, 30, 30]);
        world.rounds.answered(1, WitnessAnswer::Failed(String::new()), at(now));
        assert_eq!(world.due(now).len(), 0);
        assert_eq!(world.due(now - 3_600_000_000).len(), 1);
    }

    #[test]
    fn a_log_that_does_not_know_what_was_cosigned_is_corrected_once() {
        let mut world = World::new("group both all w0 w1\nquorum both\n");
        world.publish(3, 0);
        world.witness_all(0);
        // After a restart nothing is known.
        world.rounds = Rounds::new(world.rounds.policy.clone(), signer().verifier()).unwrap();
        world.publish(7, 0);
        let request = world.due(0).remove(0);
        assert!(request.body.starts_with("old 0\n"));
        assert_eq!(world.answer(&request, 0), Outcome::default());
        let again = world.due(0).remove(0);
        assert!(again.body.starts_with("old 3\n"), "{}", again.body);
        assert!(world.answer(&again, 0).publish.is_some());
    }

    #[test]
    fn lies_are_found_out() {
        let stale = |size: u64| (409, format!("{size}\n"));
        let foreign = format!("{}\n", witness(7).cosign(&text(3), 5).unwrap());
        let of_other = format!("{}\n", witness(0).cosign(&text(4), 5).unwrap());
        let ahead = format!("{}\n", witness(0).cosign(&text(3), 301).unwrap());
        let cases = [
            ((200, String::new()), "not to be trusted"),
            ((200, "thanks\n".to_owned()), "not to be trusted"),
            ((200, foreign), "without a cosignature of its key"),
            ((200, of_other), "does not verify"),
            ((200, ahead), "`301` seconds in the future"),
            (stale(0), "does not hold to"),
            ((409, "three\n".to_owned()), "not to be trusted"),
            (stale(9), "one of the two went back"),
            ((422, "the consistency proof does not hold\n".to_owned()), "`422`: the consistency proof does not hold"),
            ((500, "a\u{1b}[31m\nb".to_owned()), "`500`: a[31m"),
        ];
        for ((status, body), word) in cases {
            let mut world = World::new("quorum w0\n");
            world.publish(3, 0);
            world.due(0);
            let outcome = world.rounds.answered(0, WitnessAnswer::Answered { status, body: body.clone() }, at(0));
            assert_eq!(outcome.publish, None, "{status} {body:?}");
            let trouble = outcome.change.unwrap().trouble.unwrap();
            assert!(trouble.contains(word), "{status} {body:?}: {trouble}");
            assert_eq!(world.rounds.witnessed, None);
        }
        // Twice corrected in one round is once too often.
        let mut world = World::new("quorum w0\n");
        world.publish(3, 0);
        for size in [2, 1] {
            world.due(0);
            let (status, body) = stale(size);
            world.rounds.answered(0, WitnessAnswer::Answered { status, body }, at(0));
        }
        assert!(world.rounds.status()[0].error.as_ref().unwrap().contains("does not hold to"));
    }

    #[test]
    fn a_clock_that_is_a_little_ahead_is_no_lie() {
        let mut world = World::new("quorum w0\n");
        world.publish(3, 0);
        world.due(0);
        let body = format!("{}\n", witness(0).cosign(&text(3), 300).unwrap());
        assert!(world.rounds.answered(0, WitnessAnswer::Answered { status: 200, body }, at(0)).publish.unwrap().1);
    }

    #[test]
    fn a_witness_that_claimed_more_than_there_is_is_asked_again() {
        let mut world = World::new("group any any w0 w1\nquorum any\n");
        world.publish(3, 0);
        world.due(0);
        let ahead = || WitnessAnswer::Answered { status: 409, body: format!("{}\n", u64::MAX) };
        assert!(world.rounds.answered(0, ahead(), at(0)).change.is_some());
        let again = world.due(1_000_000).pop().unwrap();
        assert!(again.witness == 0 && again.body.starts_with("old 0\n"), "{again:?}");
        assert_eq!(world.rounds.answered(0, ahead(), at(1_000_000)).change, None, "it is told of once");
        let well = world.due(4_000_000).pop().unwrap();
        let outcome = world.answer(&well, 4_000_000);
        assert_eq!(outcome.change, Some(WitnessChange { name: "w0".to_owned(), trouble: None }));
        assert_eq!(world.rounds.witnessed, Some(3));
    }

    #[test]
    fn cosignatures_of_an_earlier_round_still_count() {
        let mut world = World::new("group any any w0 w1\nquorum any\n");
        world.publish(3, 0);
        let requests = world.due(0);
        world.answer(&requests[0], 0);
        world.publish(5, 1_000_000);
        let newer = world.due(1_000_000);
        assert_eq!(newer.iter().map(|r| r.witness).collect::<Vec<_>>(), [0_usize], "the other one is still at work");
        world.answer(&newer[0], 1_000_000);
        let (note, is_quorum) = world.answer(&requests[1], 2_000_000).publish.unwrap();
        assert_eq!((size_of(&note), is_quorum), (3, true));
        assert_eq!(world.rounds.policy.evaluate(&note).unwrap().cosigned.len(), 2);
        assert_eq!(world.rounds.witnessed, Some(5), "what is witnessed never goes back");
        assert_eq!(world.due(2_000_000).iter().map(|r| r.witness).collect::<Vec<_>>(), [1_usize]);
    }

    #[test]
    fn an_idle_log_is_cosigned_anew_from_time_to_time() {
        let mut world = World::new("group both all w0 w1\nquorum both\n");
        world.publish(3, 0);
        world.witness_all(0);
        world.publish(3, 59_000_000);
        assert!(world.due(59_000_000).is_empty());
        world.publish(3, 60_000_000);
        assert_eq!(world.due(60_000_000).len(), 2);
    }

    #[test]
    fn policies_that_cannot_be_met_are_refused() {
        let refused = |policy: &str| Rounds::new(policy.parse().unwrap(), signer().verifier()).unwrap_err();
        let other = Signer::from_seed("other.example/log", [9; 32]).unwrap().verifier();
        assert!(refused(&format!("log {other}\nquorum none\n")).contains("not this one"));
        assert!(refused(&format!("witness w0 {}\nquorum w0\n", witness(0).verifier())).contains("`w0` has no URL"));
    }

    /// A log, and witnesses that do what they should.
    struct World {
        rounds: Rounds,
        tiles: MemoryTiles,
        last: [Option<TreeHead>; 2],
    }

    impl World {
        fn new(rules: &str) -> Self {
            let keys: String =
                (0..2).map(|n: u8| format!("witness w{n} {} https://w{n}.example/w/\n", witness(n).verifier())).collect();
            let policy = format!("log {}\n{keys}{rules}", signer().verifier());
            let mut tiles = MemoryTiles::default();
            tiles.extend(tree(10).partial_tiles());
            Self { rounds: Rounds::new(policy.parse().unwrap(), signer().verifier()).unwrap(), tiles, last: [None; 2] }
        }

        fn publish(&mut self, size: u64, now: i64) {
            let note = signer().sign(&text(size)).unwrap();
            self.rounds.published(&note, at(now)).unwrap();
        }

        fn due(&mut self, now: i64) -> Vec<WitnessRequest> {
            self.rounds.due(at(now), &self.tiles)
        }

        fn answer(&mut self, request: &WitnessRequest, now: i64) -> Outcome {
            let last = &mut self.last[request.witness];
            let judged = request.body.parse::<AddCheckpoint>().unwrap().judge(&[signer().verifier()], *last);
            let time = 1 + at(now).seconds().unsigned_abs();
            let cosigned = judged.map(|accepted| accepted.cosign(&witness(request.witness as u8), time).unwrap());
            let answer = match cosigned {
                Ok(cosigned) => {
                    *last = Some(cosigned.head);
                    WitnessAnswer::Answered { status: 200, body: cosigned.answer }
                }
                Err(refusal) => WitnessAnswer::Answered { status: refusal.status(), body: refusal.body() },
            };
            self.rounds.answered(request.witness, answer, at(now))
        }

        fn witness_all(&mut self, now: i64) {
            for request in self.due(now) {
                assert!(self.answer(&request, now).publish.is_some());
            }
        }
    }

    fn at(micros: i64) -> Timestamp {
        Timestamp::from_micros(micros)
    }

    fn tree(size: u64) -> Tree {
        let mut tree = Tree::default();
        (0..size).for_each(|index| tree.push(leaf_hash(index.to_string().as_bytes()), &mut Vec::new()));
        tree
    }

    fn text(size: u64) -> String {
        Checkpoint { origin: "log.example".to_owned(), size, root: tree(size).root(), extensions: vec![] }.body()
    }

    fn size_of(note: &str) -> u64 {
        Note::parse(note).unwrap().text.parse::<Checkpoint>().unwrap().size
    }

    fn signer() -> Signer {
        Signer::from_seed("log.example", [1; 32]).unwrap()
    }

    fn witness(number: u8) -> WitnessSigner {
        WitnessSigner::from_seed(&format!("witness.example/w{number}"), [number + 10; 32]).unwrap()
    }
}
