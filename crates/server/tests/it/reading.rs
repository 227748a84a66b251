//! Questions to the log over the API, and that each of them is in the log.

use std::sync::Arc;

use axum::body::Body;
use http::StatusCode;
use http_body_util::BodyExt as _;
use marque_core::event::{Body as What, By};
use marque_engine::{Entry, Follow, Page, Query, sha256};
use marque_server::api::{Api, router};
use serde_json::{Value, json};
use tower_service::Service as _;

use crate::world::{ADMIN, Got, LEAD, World, json_request, person, within};

/// The lines of a stream that ended by itself: entries, and how far they cover.
fn lines(got: &Got) -> (Vec<Entry>, Value) {
    assert_eq!((got.status, got.headers["content-type"].as_bytes()), (StatusCode::OK, &b"application/x-ndjson"[..]), "{got:?}");
    let text = std::str::from_utf8(&got.body).unwrap();
    let mut lines: Vec<&str> = text.strip_suffix('\n').unwrap().split('\n').collect();
    let end: Value = serde_json::from_str(lines.pop().unwrap()).unwrap();
    assert!(end["covers"].is_u64() && end["size"].is_u64() && end["pruned"] == 0, "{end}");
    (lines.into_iter().map(|line| serde_json::from_str(line).unwrap()).collect(), end)
}

/// The last reads: who, what, how many.
fn reads(world: &World, most: u32) -> Vec<(By, String, u64)> {
    let query = Query { kind: Some("ledger_read".into()), limit: Some(most), ..Query::default() };
    let read = |entry: Entry| {
        let event = entry.event.unwrap();
        let What::LedgerRead { query, rows } = event.what else { panic!("{event:?}") };
        (event.by, query, rows)
    };
    world.engine.query(&query).unwrap().entries.into_iter().map(read).collect()
}

fn page(got: &Got) -> Page {
    assert_eq!(got.status, StatusCode::OK, "{got:?}");
    serde_json::from_slice(&got.body).unwrap()
}

#[tokio::test]
async fn pages_follow_each_other() {
    let world = World::start().await;
    for _ in 0..5 {
        world.task(LEAD, None).await;
    }
    let path = "/v1/ledger/events?kind=task_started&identity=agent/lead&person=alice@example.com&limit=2";
    let (mut seen, mut next) = (Vec::new(), String::new());
    for expected in [2, 2, 1] {
        let page = page(&world.admin("GET", &format!("{path}{next}"), "").await);
        assert_eq!(page.entries.len(), expected);
        assert_eq!(page.next.is_some(), seen.len() + expected < 5);
        next = page.next.map_or(String::new(), |next| format!("&before={next}"));
        seen.extend(page.entries.iter().map(|entry| entry.index));
    }
    assert!(seen.is_sorted_by(|a, b| a > b), "the newest first, each once: {seen:?}");
    let whole = world.engine.query(&Query { kind: Some("task_started".into()), ..Query::default() }).unwrap();
    assert_eq!(seen, whole.entries.iter().map(|entry| entry.index).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_question_that_makes_no_sense_is_invalid_and_not_recorded() {
    let world = World::start().await;
    let size = world.engine.log_size();
    for bad in [
        "events?limit=0",
        "events?limit=1001",
        "events?task=x",
        "events?person=a%20b",
        "events?decision=maybe",
        "events?digest=sha256:1",
        "events?since=yesterday",
        "events?order=up",
        "events?colour=red",
        "events?follow=true",
        "stream?follow=perhaps",
        "stream?follow=true&order=desc",
        "stream?follow=true&until=1h",
        "stream?follow=true&follow=true",
        "stream?limit=0",
        "stream?colour=red",
        "credentials/task_01ARZ3NDEKTSV4RRFFQ69G5FAV",
        "tasks/x/credentials",
        "access?action=fly&resource=tool:crm/find&at=1h",
        "access?action=invoke&resource=tool:crm/find",
        "access?action=invoke&resource=tool:crm/find&at=9999-01-01",
    ] {
        let got = world.admin("GET", &format!("/v1/ledger/{bad}"), "").await;
        assert_eq!((got.status, got.code().as_str()), (StatusCode::BAD_REQUEST, "invalid"), "{bad}");
    }
    for unknown in ["credentials/lease_01ARZ3NDEKTSV4RRFFQ69G5FAV", "tasks/task_01ARZ3NDEKTSV4RRFFQ69G5FAV/credentials"] {
        let got = world.admin("GET", &format!("/v1/ledger/{unknown}"), "").await;
        assert_eq!((got.status, got.code().as_str()), (StatusCode::NOT_FOUND, "not_found"), "{unknown}");
    }
    assert_eq!(world.engine.log_size(), size, "nothing was shown");
}

/// Whatever shows the log says so in it: who read, what they asked, how much they saw.
#[tokio::test]
async fn every_reading_is_recorded() {
    let world = World::start().await;
    let agent = world.agent(LEAD).await;
    let task = world.task(LEAD, None).await;
    let lease = agent.workload.lease;
    let reader = By::Person(person(ADMIN));
    let paths = [
        ("/v1/ledger/events?kind=task_started".to_owned(), 1),
        ("/v1/ledger/events?kind=erased".to_owned(), 0),
        ("/v1/ledger/stream?identity=agent/lead&kind=lease_issued".to_owned(), 1),
        (format!("/v1/ledger/credentials/{lease}"), 1),
        (format!("/v1/ledger/tasks/{}/credentials?below=false", task.id), 0),
        ("/v1/ledger/access?action=invoke&resource=tool:crm/find&at=0s".to_owned(), 3),
        ("/v1/records?limit=5".to_owned(), 0),
    ];
    for (path, rows) in paths {
        let size = world.engine.log_size();
        let got = world.admin("GET", &path, "").await;
        assert_eq!(got.status, StatusCode::OK, "{path}: {got:?}");
        assert_eq!(world.engine.log_size(), size + 1, "{path}: once");
        assert_eq!(reads(&world, 1), [(reader.clone(), path, rows)]);
    }
    let got = world.admin("POST", "/v1/trace", "a text that nobody wrote").await;
    let digest = got.json()["digest"].as_str().unwrap().to_owned();
    assert_eq!(reads(&world, 1), [(reader, format!("/v1/trace of {digest}"), 0)]);
    // What was made from a file is told too, and counts.
    let task = world.task(LEAD, None).await.id;
    let body = json!({ "name": "a", "content": sha256(b"made"), "bytes": 4, "task": task, "inputs": [sha256(b"given")] });
    assert_eq!(world.admin("POST", "/v1/artifacts", &body.to_string()).await.status, StatusCode::OK);
    let got = world.admin("POST", "/v1/trace", "given").await.json();
    assert_eq!((&got["class"], &got["input_of"][0]["artifact"]["name"]), (&json!("none"), &json!("a")));
    assert_eq!(reads(&world, 1)[0].2, 1);
    // The digest may stand for the file, and not beside it.
    let by_digest = format!("/v1/trace?digest={}", sha256(b"made"));
    let got = world.admin("POST", &by_digest, "").await.json();
    assert_eq!((&got["class"], &got["complete"], &got["digest_only"]), (&json!("exact"), &json!(false), &json!(true)));
    assert_eq!(reads(&world, 1)[0].1, format!("/v1/trace of {}", sha256(b"made")));
    let statement = format!("/v1/trace/statement?name=a&digest={}", sha256(b"made"));
    assert_eq!(world.admin("POST", &statement, "").await.status, StatusCode::OK);
    assert_eq!(reads(&world, 1)[0].1, format!("a statement of {}", sha256(b"made")));
    for path in [&by_digest, &statement] {
        assert_eq!(world.admin("POST", path, "made").await.status, StatusCode::BAD_REQUEST, "{path}");
    }
    // A slip is no reading.
    let size = world.engine.log_size();
    for (path, status) in [
        ("/v1/ledger/events?kind=never", StatusCode::BAD_REQUEST),
        ("/v1/ledger/stream?kind=never", StatusCode::BAD_REQUEST),
        ("/v1/ledger/access?action=invoke&resource=tool:nope/x&at=0s", StatusCode::NOT_FOUND),
    ] {
        let got = world.admin("GET", path, "").await;
        assert_eq!((got.status, world.engine.log_size()), (status, size), "{path}: {got:?}");
    }
    // Somebody whom nobody knows reads nothing, and leaves nothing.
    let size = world.engine.log_size();
    let got = world.api(json_request("GET", "/v1/ledger/events", Some("Bearer nobody"), "")).await;
    assert_eq!((got.status, world.engine.log_size()), (StatusCode::UNAUTHORIZED, size));
}

#[tokio::test]
async fn a_stream_has_everything_and_an_end() {
    let world = World::start().await;
    let (engine, alice) = (&world.engine, &world.alice);
    for n in 0..300 {
        engine.record_read(alice, "a page is not enough", n).await.unwrap();
    }
    let query = "person=alice@example.com&kind=ledger_read";
    let size = engine.log_size();
    let (newest_first, end) = lines(&world.admin("GET", &format!("/v1/ledger/stream?{query}"), "").await);
    assert_eq!((newest_first.len(), end["next"].is_null()), (300, true));
    assert!(newest_first.is_sorted_by(|a, b| a.index > b.index));
    // What takes more than one page is written down before it begins and when it has ended.
    assert_eq!(engine.log_size(), size + 2);
    let asked = format!("/v1/ledger/stream?{query}");
    let by = By::Person(person(ADMIN));
    assert_eq!(reads(&world, 2), [(by.clone(), format!("{asked}: ends"), 300), (by, format!("{asked}: begins"), 0)]);

    let (mut oldest_first, end) = lines(&world.admin("GET", &format!("/v1/ledger/stream?{query}&order=asc"), "").await);
    oldest_first.reverse();
    assert_eq!(oldest_first, newest_first);
    assert!(end["covers"].as_u64().unwrap() > size, "the oldest first goes on to what came meanwhile");

    let (some, end) = lines(&world.admin("GET", &format!("/v1/ledger/stream?{query}&limit=260"), "").await);
    assert_eq!(some, newest_first[..260]);
    assert_eq!(end["next"], some[259].index, "there are more");
}

/// Lines of an answer that goes on.
struct Open {
    body: Body,
    rest: Vec<u8>,
}

impl Open {
    async fn next(&mut self) -> Entry {
        loop {
            if let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.rest.drain(..=end).collect();
                return serde_json::from_slice(&line).unwrap();
            }
            let frame = within(self.body.frame()).await.expect("it goes on").unwrap();
            self.rest.extend_from_slice(&frame.into_data().unwrap());
        }
    }
}

#[tokio::test]
async fn what_comes_is_followed_until_the_reader_goes() {
    let world = World::start().await;
    let before = world.task(LEAD, None).await;
    let since = world.engine.log_size() - 1;
    let mut ends: Follow =
        world.engine.follow(&Query { kind: Some("ledger_read".into()), ..Query::default() }, world.engine.log_size()).unwrap();
    let path = format!("/v1/ledger/stream?kind=task_started&follow=true&from={since}");
    let mut api = router(Api { engine: Arc::clone(&world.engine), launches: None }, None);
    let response = api.call(json_request("GET", &path, Some(&world.credential()), "")).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let mut open = Open { body: response.into_body(), rest: Vec::new() };
    let mut tasks = vec![before];
    let mut indices = Vec::new();
    for n in 0..4 {
        let entry = open.next().await;
        let Some(What::TaskStarted { task }) = entry.event.map(|event| event.what) else { panic!("at {n}") };
        assert_eq!(Some(&task), tasks.last(), "each as it comes");
        indices.push(entry.index);
        tasks.push(world.task(LEAD, None).await);
    }
    assert!(indices.is_sorted_by(|a, b| a < b));
    drop(open);
    // Its beginning was written down before anything was shown, and that the reader has gone.
    let mut told = Vec::new();
    while told.len() < 2 {
        let more = within(ends.next()).await.unwrap();
        told.extend(more.into_iter().map(|entry| entry.event.unwrap().what));
    }
    assert_eq!(told[0], What::LedgerRead { query: format!("{path}: begins"), rows: 0 });
    let What::LedgerRead { query, rows } = &told[1] else { panic!("{told:?}") };
    assert!(*query == format!("{path}: ends") && (4..=5).contains(rows), "{told:?}");
}

/// Without a beginning it begins now, and it ends when there is as much as was asked for.
#[tokio::test]
async fn following_begins_now() {
    let world = World::start().await;
    world.task(LEAD, None).await;
    let mut api = router(Api { engine: Arc::clone(&world.engine), launches: None }, None);
    let path = "/v1/ledger/stream?kind=task_started&follow=true&limit=2";
    let response = api.call(json_request("GET", path, Some(&world.credential()), "")).await.unwrap();
    let tasks = [world.task(LEAD, None).await, world.task(LEAD, None).await];
    let headers = response.headers().clone();
    let body = within(axum::body::to_bytes(response.into_body(), 1 << 20)).await.unwrap();
    let (entries, end) = lines(&Got { status: StatusCode::OK, headers, body });
    let started: Vec<_> = entries
        .into_iter()
        .filter_map(|entry| match entry.event?.what {
            What::TaskStarted { task } => Some(task),
            _ => None,
        })
        .collect();
    assert_eq!(started, tasks);
    assert!(end["next"].is_u64());
}
