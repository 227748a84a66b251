//! What calls carry and bring back is found again, and every answer names its record.

use std::path::Path;

use http_body_util::BodyExt as _;
use marque_core::record::Ending;
use marque_core::revocation::Target;
use marque_engine::{Trace, TraceClass, sha256};
use serde_json::{Value, json};

use crate::client::{bare, call, legacy, modern, post, read, record_of, values};
use crate::server::Mode;
use crate::world::{ALICE, LEAD, World, person, within};

/// As long as a paragraph, so that parts of it are found too.
const PARAGRAPH: &str = "Ada Holm asked for paper invoices in the spring and for none at all in the summer, when she had moved \
    from Bergen to a smaller town whose post office opens twice a week. Her contract is up for renewal in autumn; until then \
    nobody is to call her before ten in the morning, and whoever writes to her is to write to the new address.";

/// The trace of a text whose words are in no other record than one.
fn found(world: &World, text: &str) -> (TraceClass, Vec<(String, String, Option<String>)>) {
    let Trace { class, chains, .. } = world.engine.trace(text.as_bytes()).unwrap();
    let told = |chain: &marque_engine::Chain| {
        let found = chain.found.clone().unwrap();
        (chain.decided.as_ref().unwrap().record.to_string(), found.side, found.at)
    };
    (class, chains.iter().map(told).collect())
}

#[tokio::test]
async fn the_texts_of_answers_are_found_in_json_and_in_streams() {
    for mode in [Mode::Json, Mode::Events] {
        let world = World::start().await;
        world.server.mode(mode);
        world.server.says(PARAGRAPH);
        let got = world.client().await.ask(call("find", json!({}))).await;
        let record = got.record();
        assert_eq!(world.outcome(record).await.contents.len(), 1, "{mode:?}");
        let told = || vec![(record.to_string(), "response".to_owned(), Some("/result/content/0/text".to_owned()))];
        assert_eq!(found(&world, PARAGRAPH), (TraceClass::Exact, told()), "{mode:?}");
        let quoted = format!("Somebody wrote:\n> {}\n", PARAGRAPH.to_uppercase());
        assert_eq!(found(&world, &quoted), (TraceClass::Normalised, told()), "{mode:?}");
        let mixed = format!("This report is about customers.\n\n{}\n\nNothing else was found.\n", &PARAGRAPH[..200]);
        assert_eq!(found(&world, &mixed), (TraceClass::Strong, told()), "{mode:?}");
        assert_eq!(found(&world, "somebody else wrote a text that is not on record").0, TraceClass::None);
    }
}

#[tokio::test]
async fn what_did_not_come_whole_has_no_texts_and_says_so() {
    let world = World::start().await;
    let mut client = world.client().await;
    world.server.mode(Mode::Torn);
    world.server.says(PARAGRAPH);
    let mut response = client.send(call("find", json!({}))).await;
    let record = record_of(response.headers());
    read(&mut response, PARAGRAPH.len()).await;
    world.server.release();
    assert!(within(response.into_body().collect()).await.is_err());
    let outcome = world.outcome(record).await;
    assert_eq!((outcome.ending, outcome.contents.len()), (Ending::Truncated, 0));

    let (mut client, task) = world.at_work(LEAD, None).await;
    let mut response = client.send(call("find", json!({}))).await;
    let record = record_of(response.headers());
    read(&mut response, PARAGRAPH.len()).await;
    world.engine.revoke(&world.admin, Target::Task(task.id), "test").await.unwrap();
    assert!(within(response.into_body().collect()).await.is_err());
    let outcome = world.outcome(record).await;
    assert_eq!((outcome.ending, outcome.contents.len()), (Ending::Cut, 0));
    assert_eq!(found(&world, PARAGRAPH).0, TraceClass::None);
}

#[tokio::test]
async fn a_request_or_an_answer_with_very_much_in_it_is_recorded_within_bounds() {
    let world = World::start().await;
    let mut client = world.client().await;
    let texts: Vec<String> = (0..200).map(|n| format!("{n} {PARAGRAPH} {}", n * 7919)).collect();
    world.server.says(&texts.concat());
    let arguments = json!({ "texts": texts, ("a".repeat(500)): { ("b".repeat(60_000)): PARAGRAPH } });
    let got = client.ask(call("find", arguments)).await;
    assert_eq!(got.decision(), "allow", "{:.300}", String::from_utf8_lossy(&got.body));
    let outcome = world.outcome(got.record()).await;
    assert_eq!((outcome.ending, outcome.contents.len()), (Ending::Answered, 1));
    assert!((1..=512).contains(&outcome.contents[0].prints.as_slice().len()));
    let row = world.rows().into_iter().find(|row| row.decided.record == got.record()).unwrap();
    assert_eq!(row.decided.contents.len(), 64);
    let prints: usize = row.decided.contents.iter().map(|content| content.prints.as_slice().len()).sum();
    assert!((64..=512).contains(&prints), "{prints}");
    assert!(row.decided.contents.iter().all(|content| content.at.len() <= 200));
    // Longer answers pass as they are and are only digested.
    world.server.says(&PARAGRAPH.repeat(1000));
    let got = client.ask(call("find", json!({ "q": "more" }))).await;
    let outcome = world.outcome(got.record()).await;
    assert_eq!((outcome.ending, outcome.contents.len(), outcome.bytes), (Ending::Answered, 0, got.body.len() as u64));
}

/// The identifier of a request, its trace and the names of members are what a caller makes of them.
#[tokio::test]
async fn a_callers_own_words_are_in_no_published_file() {
    const WORDS: &str = "Erika Mustermann has diagnosis C50";
    const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let world = World::start().await;
    let mut client = world.client().await;
    let body = |id: Value| {
        let params = json!({ "name": "find", "arguments": { (WORDS): PARAGRAPH } });
        json!({ "jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params }).to_string()
    };
    let id = format!("jsonrpc:\"{WORDS}\"");
    let sent = [
        (body(json!(WORDS)), None, id.as_str()),
        (body(json!(4_242_424_242_u64)), None, "jsonrpc:4242424242"),
        (body(json!(1)), Some(WORDS), WORDS),
        (body(json!(2)), Some(TRACE), TRACE),
    ];
    let mut records = Vec::new();
    for (body, trace, correlation) in &sent {
        let headers: Vec<(&str, &str)> = trace.iter().map(|trace| ("traceparent", *trace)).collect();
        let record = client.ask(post(body, &headers)).await.record();
        world.outcome(record).await;
        records.push((record, (*correlation).to_owned()));
    }
    let told = |record: marque_core::id::RecordId| {
        let row = world.rows().into_iter().find(|row| row.decided.record == record).unwrap();
        (row.decided.correlation.clone().unwrap(), row.decided.contents[0].at.clone())
    };
    let at = format!("/params/arguments/{WORDS}");
    for (record, correlation) in &records {
        assert_eq!(told(*record), (correlation.clone(), at.clone()), "here it is known");
    }
    world.engine.drain().await.unwrap();
    world.advance(2);
    world.engine.publish().unwrap();
    let published = world.dir.path().join("state/ledger");
    let hidden = [WORDS, &id, &at, PARAGRAPH].map(|text| sha256(text.as_bytes()).to_string());
    let hidden = hidden.iter().map(|digest| digest.trim_start_matches("sha256:"));
    for needle in hidden.chain(["Erika", "diagnosis", "/params/arguments"]) {
        assert!(!stands_in(&published, needle), "{needle}");
    }
    for plain in ["jsonrpc:4242424242", TRACE] {
        assert!(stands_in(&published, plain), "{plain} tells nothing else");
    }

    world.engine.erase_person(&world.admin, &person(ALICE)).await.unwrap();
    for (record, correlation) in &records {
        let (left, at) = told(*record);
        let is_plain = !correlation.contains(WORDS);
        assert!(at.starts_with("commit:") && (left.starts_with("commit:") != is_plain), "{left} at {at}");
    }
}

/// Whether some file below a folder has this in it.
fn stands_in(folder: &Path, needle: &str) -> bool {
    std::fs::read_dir(folder).unwrap().any(|entry| {
        let path = entry.unwrap().path();
        if path.is_dir() {
            return stands_in(&path, needle);
        }
        let bytes = std::fs::read(path).unwrap_or_default();
        bytes.windows(needle.len()).any(|window| window == needle.as_bytes())
    })
}

/// An agent reads with one tool and writes what it read with another.
#[tokio::test]
async fn what_was_written_leads_to_what_was_read() {
    let world = World::start().await;
    let mut client = world.client().await;
    world.server.says(PARAGRAPH);
    let source = client.ask(call("find", json!({ "q": "Ada" }))).await.record();
    world.outcome(source).await;
    world.server.says("found");
    let letter = format!("# Weekly report\n\nWhat the customer register says of the week:\n\n{PARAGRAPH}\n\nThat is all.\n");
    let written = client.ask(call("find", json!({ "content": letter }))).await.record();
    let trace = world.engine.trace(letter.as_bytes()).unwrap();
    let first = &trace.chains[0];
    assert_eq!((trace.class, first.decided.as_ref().unwrap().record), (TraceClass::Exact, written));
    let above: Vec<_> = first.upstream.iter().map(|c| (c.decided.as_ref().unwrap().record, c.found.clone().unwrap())).collect();
    assert_eq!(above.len(), 1, "{above:?}");
    assert_eq!((above[0].0, above[0].1.class, above[0].1.side.as_str()), (source, TraceClass::Strong, "response"));
}

#[tokio::test]
async fn causes_are_recorded_and_told_as_declared() {
    let world = World::start().await;
    let mut client = world.client().await;
    let cause = client.ask(call("find", json!({ "q": "first" }))).await.record();
    world.outcome(cause).await;
    let body = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"find","arguments":{"q":"second"}}}"#;
    let many: Vec<String> = (0..20_u8).map(|n| marque_core::id::RecordId::from_bytes([n; 16]).to_string()).collect();
    let (named, many) = (format!("nonsense, {cause},{cause} , task_1"), many.join(","));
    let got = client.ask(post(body, &[("marque-cause", &named), ("marque-cause", &many)])).await;
    let chain = world.engine.trace_record(got.record()).unwrap();
    let causes = &chain.decided.as_ref().unwrap().causes;
    assert_eq!((causes[0], causes.len()), (cause, 8));
    // Of those that it names, one is in this ledger.
    assert_eq!(chain.upstream.len(), 1);
    let found = chain.upstream[0].found.clone().unwrap();
    assert_eq!((found.class, found.side.as_str()), (TraceClass::None, "cause"));
    assert!(values(&world.server.seen().pop().unwrap().headers, "marque-cause").is_empty(), "it is nobody else's business");
}

#[tokio::test]
async fn every_answer_to_an_action_names_its_record() {
    let mut world = World::start().await;
    let mut client = world.client().await;
    for mode in [Mode::Json, Mode::Events, Mode::Long] {
        world.server.mode(mode);
        let got = client.ask(call("find", json!({ "mode": format!("{mode:?}") }))).await;
        assert_eq!(got.record(), world.rows()[0].decided.record, "{mode:?}");
    }
    world.server.mode(Mode::Json);
    for (request, what) in [
        (call("drop", json!({})), "a denial"),
        (call("send", json!({ "to": "bob" })), "a hold"),
        (call("extra", json!({})), "what is not registered"),
        (legacy("resources/read", json!({ "uri": "file:///x" }), None), "a read that is refused"),
        (legacy("tools/call", json!({ "name": "find", "arguments": {} }), None), "an older client"),
    ] {
        let got = client.ask(request).await;
        assert_eq!(got.record(), world.rows()[0].decided.record, "{what}");
    }
    // The protocol's own messages are no action.
    let got = client.ask(modern("ping", json!({}))).await;
    assert!(values(&got.headers, "marque-record").is_empty());
    world.server.stop().await;
    let got = client.ask(call("find", json!({ "q": "nobody is there" }))).await;
    assert_eq!((got.status.as_u16(), got.record()), (502, world.rows()[0].decided.record));
}

#[tokio::test]
async fn a_caller_is_told_the_newest_action_of_its_own_task() {
    let world = World::start().await;
    let (mut client, task) = world.at_work(LEAD, None).await;
    let ask = || bare("GET", "/marque/record", &[]);
    let nothing = client.ask(ask()).await;
    assert_eq!((nothing.status.as_u16(), nothing.json()), (200, json!({ "task": task.id, "record": null })));
    let record = client.ask(call("find", json!({}))).await.record();
    // What was refused or waits for somebody is no action.
    assert_eq!(client.ask(call("drop", json!({}))).await.decision(), "deny");
    assert_eq!(client.ask(call("send", json!({ "to": "bob" }))).await.decision(), "hold");
    let got = client.ask(ask()).await;
    assert_eq!(got.json()["record"], Value::String(record.to_string()));
    let (mut other, _) = world.at_work(LEAD, None).await;
    assert_eq!(other.ask(ask()).await.json()["record"], Value::Null, "another task has done nothing");
    assert_eq!(client.ask(bare("POST", "/marque/record", &[])).await.status, 405);
    assert_eq!(client.ask(bare("GET", "/marque/record", &[("origin", "https://evil.example")])).await.status, 403);
    world.engine.revoke(&world.admin, Target::Task(task.id), "test").await.unwrap();
    assert_eq!(client.ask(ask()).await.status, 401);
}
