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
