//! `kill -9` under load: what was acknowledged is there, and the log only grows.

use std::collections::BTreeSet;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};

use crate::load;
use crate::process::{PATIENCE, until};
use crate::wire::Api;
use crate::world::World;

#[test]
fn what_was_acknowledged_outlives_kill_9() {
    let world = World::with_example();
    let key = world.pinned_key();
    let mut acknowledged = BTreeSet::new();
    let mut size = world.head();

    for round in 1..=ROUNDS {
        let goal = random(250) + 1;
        let context = format!("round {round}, killed after {goal} acknowledged tasks");
        let mut server = world.serve();
        let fresh = load::tasks(&world, |seen| {
            let reached = until(PATIENCE, || seen.count() >= goal);
            server.kill();
            assert!(reached, "{context}: only {} were acknowledged", seen.count());
        });
        let head = world.head();
        assert!(head >= size, "{context}: the head shrank from {size} to {head}");
        acknowledged.extend(fresh);

        let mut server = world.serve();
        assert!(world.head() >= head, "{context}: the head shrank from {head} to {}", world.head());
        let live = listed(&world);
        // In the order of their identifiers, which is that of their start; older ones no longer fit into the list.
        let newest: Vec<_> = acknowledged.iter().rev().take(500).filter(|task| !live.contains(*task)).collect();
        assert!(newest.is_empty(), "{context}: the server does not know {newest:?}");
        size = world.verified(&key);
        assert!(size >= head, "{context}: the ledger shrank from {head} to {size}");
        world.keeps(&acknowledged, &context);
        assert!(server.stop().success(), "{context}: {}", world.log_text());
    }
    assert!(acknowledged.len() >= ROUNDS, "too little was acknowledged to show anything");
}

/// The newest tasks, as the running server lists them.
fn listed(world: &World) -> BTreeSet<String> {
    let reply = Api::connect(&world.state()).unwrap().get("/v1/tasks?limit=1000").unwrap();
    assert_eq!(reply.status, 200, "{reply:?}");
    let tasks = reply.json();
    tasks.as_array().unwrap().iter().map(|task| task["id"].as_str().unwrap().to_owned()).collect()
}

/// A number below `bound`, another one on each run.
fn random(bound: u64) -> usize {
    usize::try_from(RandomState::new().build_hasher().finish() % bound).unwrap()
}

const ROUNDS: usize = 5;
