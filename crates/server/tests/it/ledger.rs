//! The published log and the witness's routes, as any client sees them.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use http::{Request, StatusCode};
use marque_engine::{Env, RootLog, Witness};
use marque_server::{ledger, witness};

use crate::world::{Got, World, ask};

async fn get(router: &Router, path: &str, known: Option<&str>) -> Got {
    let mut request = Request::get(path);
    if let Some(known) = known {
        request = request.header("if-none-match", known);
    }
    ask(router.clone(), request.body(Body::empty()).unwrap()).await
}

#[tokio::test]
async fn the_published_log_is_there_for_everybody() {
    let world = World::start().await;
    world.engine.publish().unwrap();
    let router = ledger::router(world.engine.published_log());

    let checkpoint = get(&router, "/ledger/checkpoint", None).await;
    assert_eq!(checkpoint.status, StatusCode::OK);
    assert_eq!(checkpoint.headers["content-type"], "text/plain; charset=utf-8");
    assert_eq!(checkpoint.headers["cache-control"], "public, max-age=1");
    assert!(checkpoint.body.starts_with(b"example.org/marque/log\n"), "{checkpoint:?}");
    let verifier = get(&router, "/ledger/verifier", None).await;
    assert!(verifier.body.starts_with(b"example.org/marque/log+"), "{verifier:?}");

    let tile = get(&router, "/ledger/tile/0/000.p/2", None).await;
    assert_eq!((tile.status, tile.body.len()), (StatusCode::OK, 64));
    assert_eq!(tile.headers["content-type"], "application/octet-stream");
    assert_eq!(tile.headers["cache-control"], "public, max-age=31536000, immutable");
    let bundle = get(&router, "/ledger/tile/entries/000.p/1", None).await;
    assert_eq!(bundle.status, StatusCode::OK);
    assert!(String::from_utf8_lossy(&bundle.body).contains("log_started"), "{bundle:?}");

    let absent = [
        "tile/0/000",
        "tile/0/001.p/1",
        "tile/0/000.p/0",
        "checkpoint.witnessed",
        "head",
        "..%2Fkeys%2Flog.key",
        "%2e%2e/keys/log.key",
    ];
    for path in absent {
        let got = get(&router, &format!("/ledger/{path}"), None).await;
        assert_eq!(got.status, StatusCode::NOT_FOUND, "{path}: {got:?}");
        assert_eq!(got.headers["cache-control"], "no-store", "{path}");
    }
}

#[tokio::test]
async fn what_a_client_has_is_not_sent_again() {
    let world = World::start().await;
    world.engine.publish().unwrap();
    let router = ledger::router(world.engine.published_log());
    let first = get(&router, "/ledger/checkpoint", None).await;
    let tag = first.headers["etag"].to_str().unwrap().to_owned();
    for known in [tag.clone(), format!("W/{tag}"), format!("\"other\", {tag}"), "*".to_owned()] {
        let again = get(&router, "/ledger/checkpoint", Some(&known)).await;
        assert_eq!((again.status, again.body.len()), (StatusCode::NOT_MODIFIED, 0), "{known}");
        assert_eq!(again.headers["etag"], tag.as_str());
    }
    let other = get(&router, "/ledger/checkpoint", Some("\"other\"")).await;
    assert_eq!((other.status, &other.body), (StatusCode::OK, &first.body));
}

#[tokio::test]
async fn a_witness_answers_in_the_words_of_its_specification() {
    let dir = tempfile::tempdir().unwrap();
    let witness = Witness::open(dir.path(), Env::system(), Some("witness.example/w1"), &[]).unwrap();
    let router = witness::router(witness);
    let post = async |body: Vec<u8>| {
        let request = Request::post("/add-checkpoint").body(Body::from(body)).unwrap();
        ask(router.clone(), request).await.status
    };
    assert_eq!(post(b"nonsense".to_vec()).await, StatusCode::BAD_REQUEST);
    assert_eq!(post(b"\xff\xfe".to_vec()).await, StatusCode::BAD_REQUEST);
    assert_eq!(post(vec![b'x'; (64 << 10) + 1]).await, StatusCode::PAYLOAD_TOO_LARGE);
    let stranger = "old 0\n\nstranger.example/log\n0\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n\n\u{2014} x AAAAAAA=\n";
    assert_eq!(post(stranger.into()).await, StatusCode::NOT_FOUND);
    assert_eq!(get(&router, &format!("/{}/checkpoint", "0".repeat(64)), None).await.status, StatusCode::NOT_FOUND);
    assert_eq!(get(&router, "/add-checkpoint", None).await.status, StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test]
async fn a_root_log_serves_its_log_beside_its_witness() {
    let dir = tempfile::tempdir().unwrap();
    let (root, feeder) = RootLog::open(dir.path(), Env::system(), Some("root.example"), &[]).unwrap();
    root.publish().unwrap();
    let routes =
        witness::router(feeder).merge(witness::root_router(Arc::clone(&root))).merge(ledger::router(root.published_log()));
    let checkpoint = get(&routes, "/ledger/checkpoint", None).await;
    assert!(checkpoint.body.starts_with(b"root.example/log\n0\n"), "{checkpoint:?}");
    let nobody = "0".repeat(64);
    for path in [format!("/anchor/{nobody}"), format!("/{nobody}/checkpoint"), "/ledger/tile/0/000.p/1".to_owned()] {
        assert_eq!(get(&routes, &path, None).await.status, StatusCode::NOT_FOUND, "{path}");
    }
}
