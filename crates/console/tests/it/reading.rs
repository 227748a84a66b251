//! Whoever is shown entries of the log in the console is in the log, and otherwise is shown nothing.

use axum::http::StatusCode;
use marque_core::event::By;

use crate::world::{ADMIN, AGENT, ALICE, World, person};

#[tokio::test]
async fn every_page_with_entries_on_it_is_in_the_log_before_it_is_shown() {
    let world = World::start().await;
    let record = world.record().await;
    let session = world.sign_in(ADMIN).await;
    let (overview, its_page) = ("/".to_owned(), format!("/records/{record}"));
    let pages = [
        (overview.clone(), "console /".to_owned()),
        // Each time that it is looked at.
        (overview, "console /".to_owned()),
        (its_page.clone(), format!("console {its_page}")),
        // What a page does not know may be a secret.
        (format!("{its_page}?credential=secret"), format!("console {its_page}")),
    ];
    for (n, (path, query)) in pages.into_iter().enumerate() {
        let got = world.get(&path, Some(&session)).await;
        assert!(got.status == StatusCode::OK && got.text.contains(&record.to_string()), "{path}: {got:?}");
        let reads = world.reads();
        assert_eq!(reads.len(), n + 1, "{path}: once");
        assert_eq!(reads[0], (By::Person(person(ADMIN)), query, 1), "{path}");
    }
}

#[tokio::test]
async fn the_entries_on_a_page_are_counted() {
    let world = World::start().await;
    let session = world.sign_in(ALICE).await;
    for rows in 0..3 {
        assert_eq!(world.get("/", Some(&session)).await.status, StatusCode::OK);
        assert_eq!(world.reads()[0], (By::Person(person(ALICE)), "console /".to_owned(), rows));
        world.record().await;
    }
}

#[tokio::test]
async fn what_shows_no_entry_is_no_reading() {
    let world = World::start().await;
    let record = world.record().await;
    let session = world.sign_in(ADMIN).await;
    let unknown = "/records/rec_01ARZ3NDEKTSV4RRFFQ69G5FAV";
    for (path, session, status) in [
        ("/sign-in".to_owned(), None, StatusCode::OK),
        ("/".to_owned(), None, StatusCode::SEE_OTHER),
        ("/".to_owned(), Some("marque-session=nobody"), StatusCode::SEE_OTHER),
        (format!("/records/{record}"), None, StatusCode::SEE_OTHER),
        (unknown.to_owned(), Some(session.as_str()), StatusCode::NOT_FOUND),
        ("/records/x".to_owned(), Some(session.as_str()), StatusCode::BAD_REQUEST),
    ] {
        let got = world.get(&path, session).await;
        assert!(got.status == status && !got.text.contains(&record.to_string()), "{path}: {got:?}");
        assert!(world.reads().is_empty(), "{path}");
    }
}

/// The log takes nothing more of somebody who was erased, though their session is still open.
#[tokio::test]
async fn a_page_whose_reading_cannot_be_recorded_is_not_shown() {
    let world = World::start().await;
    let record = world.record().await;
    let session = world.sign_in(ALICE).await;
    assert_eq!(world.get("/", Some(&session)).await.status, StatusCode::OK);
    world.engine.erase_person(&world.admin, &person(ALICE)).await.unwrap();
    for path in ["/".to_owned(), format!("/records/{record}")] {
        let got = world.get(&path, Some(&session)).await;
        assert_eq!(got.status, StatusCode::BAD_REQUEST, "{path}: {got:?}");
        assert!(!got.text.contains(&record.to_string()) && !got.text.contains(AGENT), "{path}: {got:?}");
        assert_eq!(world.reads().len(), 1, "{path}");
    }
}
