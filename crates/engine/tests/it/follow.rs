//! The log as it grows.

use std::sync::Arc;

use marque_engine::{Exchange, Order, Query, TokenType};
use serde_json::json;

use crate::busy::{Dice, busy};
use crate::scan::{expected, indices, oldest_first, pages, question, scan};
use crate::world::{LEAD, WORKER, World, answered, asks, call};

/// In order, none left out and none twice, also while others write.
#[tokio::test]
async fn following_misses_nothing() {
    let world = World::start().await;
    let start = world.engine.log_size();
    let mut follow = world.engine.follow(&Query::default(), start).unwrap();
    let reader = tokio::spawn(async move {
        let mut seen = Vec::new();
        while seen.len() < 400 {
            seen.extend(follow.next().await.unwrap());
        }
        seen
    });
    let writers: Vec<_> = (0..4)
        .map(|writer| {
            let (engine, by) = (Arc::clone(&world.engine), world.alice.clone());
            tokio::spawn(async move {
                for n in 0..100 {
                    engine.record_read(&by, &format!("{writer}: {n}"), n).await.unwrap();
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    let seen = reader.await.unwrap();
    assert_eq!(indices(&seen), (start..start + 400).collect::<Vec<_>>());
    assert_eq!(seen, pages(&world.engine, &Query { from: Some(start), ..oldest_first() }));
}

#[tokio::test]
async fn what_is_followed_matches_as_what_is_asked() {
    let (world, busy) = busy(7).await;
    let mut dice = Dice(77);
    let events = scan(&world).await;
    for _ in 0..40 {
        let query =
            Query { since: None, until: None, before: None, order: Some(Order::Asc), ..question(&events, &busy, &mut dice) };
        let expected = expected(&events, &query);
        let mut follow = world.engine.follow(&query, query.from.unwrap_or(0)).unwrap();
        let mut seen = Vec::new();
        // Behind the last that matches it waits for what comes.
        while seen.len() < expected.len() {
            seen.extend(indices(&follow.next().await.unwrap()));
        }
        assert_eq!(seen, expected, "{query:?}");
    }
}

/// A task that begins while its parent is followed is followed too.
#[tokio::test]
async fn following_a_task_learns_of_those_below_it() {
    let world = World::start().await;
    let lead = world.agent(LEAD).await;
    let root = world.task(LEAD, None).await;
    let query = Query { task: Some(root.id), ..Query::default() };
    let mut follow = world.engine.follow(&query, world.engine.log_size()).unwrap();
    let worker = world.agent(WORKER).await;
    let own = world.token(&lead, &root).await;
    let exchange = Exchange { actor: Some(world.jwt(&worker).await), ..asks(&worker, &own.token, TokenType::AccessToken) };
    let child = world.engine.exchange(exchange).await.unwrap();
    world.permit(call(child.lease.id, "tool:crm/find", json!({}))).await.settle(answered()).unwrap();
    let mut kinds = Vec::new();
    while kinds.len() < 4 {
        kinds.extend(follow.next().await.unwrap().into_iter().map(|entry| entry.event.unwrap().what.kind()));
    }
    assert_eq!(kinds, ["lease_issued", "task_started", "lease_issued", "decided"]);
}
