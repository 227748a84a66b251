//! The sockets of a launch, for whoever it did not start.

use std::sync::Arc;
use std::time::Duration;

use marque_server::launch::Launches;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::process::Command;

use crate::world::{ME, NoDoor, World, spiffe};

/// A whole answer, until the other side closes.
async fn said(address: &str, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    let whole = tokio::time::timeout(Duration::from_secs(30), stream.read_to_string(&mut answer));
    whole.await.expect("the connection stays open").expect("the connection was reset");
    answer
}

#[tokio::test]
async fn a_process_of_no_launch_is_told_so_at_the_gateway() {
    let world = World::with_me().await;
    let dir = tempfile::tempdir().unwrap();
    let launcher = Command::new("sleep").arg("600").kill_on_drop(true).spawn().unwrap();
    let task = world.task(ME, None).await;
    let launch = world.engine.launch(&world.alice, &spiffe(ME), task.id, launcher.id().unwrap()).unwrap();
    let launches = Arc::new(Launches::new(Arc::clone(&world.engine), dir.path().to_owned(), Arc::new(NoDoor)));
    let doorway = launches.open(launch, false).await.unwrap();
    let gateway = doorway.gateway.unwrap();
    let address = gateway.strip_prefix("http://").unwrap();

    let body = "x".repeat(100_000);
    let large = format!("POST /mcp/crm HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    for request in ["GET /mcp/crm HTTP/1.1\r\nhost: a\r\n\r\n", "GET /marque/record HTTP/1.1\r\nhost: a\r\n\r\n", large.as_str()]
    {
        let answer = said(address, request).await;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 403 "), "{answer}");
        assert!(head.to_lowercase().contains("connection: close"), "{answer}");
        let told: Value = serde_json::from_str(body).unwrap();
        let sentence = told["error"].as_str().unwrap();
        assert!(sentence.contains("processes of that launch") && told.as_object().unwrap().len() == 1, "{answer}");
    }
    drop(launcher);
}
