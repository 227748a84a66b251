//! The door of a launch: malformed requests change nothing, and it opens to launched processes only.

use std::io::{self, ErrorKind};

use crate::office::Office;
use crate::process::{PATIENCE, until};
use crate::wire::{Link, Reply};

#[test]
fn malformed_requests_are_refused_and_the_door_stays_open() {
    let mut office = Office::open();
    office.passes("door");
    assert!(!office.server.has_ended(), "{}", office.world.log_text());
    let records = office.world.json(&["records", "--limit", "1000"]);
    let actions: Vec<_> = records.as_array().unwrap().iter().map(|r| (&r["effect"], &r["resource"])).collect();
    assert_eq!(actions.len(), 2, "only the two good calls became actions: {actions:?}");
    assert!(actions.iter().all(|(effect, _)| *effect == "allow"), "{actions:?}");
    assert!(office.server.stop().success());
}

#[test]
fn the_door_opens_to_launched_processes_only() {
    let office = Office::open();
    let mut probe = office.waiting("wait");
    let gateway = std::iter::from_fn(|| probe.line()).find_map(|line| line.strip_prefix("GATEWAY ").map(str::to_owned));
    let gateway = gateway.expect("the probe says where the gateway is");
    // This process is an ancestor of the launch, and no part of it.
    let answered = stranger(&gateway).expect("a stranger is told that the door is not theirs");
    assert_eq!(answered.status, 403, "{answered:?}");
    probe.close();
    let status = probe.wait();
    assert!(status.success(), "{}", probe.rest());
    // The door goes with its launch.
    let closed = || stranger(&gateway).is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused);
    assert!(until(PATIENCE, closed), "the door outlives its launch");
}

/// Asks as any process of the machine could. A connection that is left open is a failure.
fn stranger(gateway: &str) -> io::Result<Reply> {
    let mut link = Link::tcp(gateway)?;
    let _ = link.send(b"POST /mcp/office HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n");
    let reply = link.reply();
    // What comes after the first answer is the end.
    let end = link.reply().map_err(|error| error.kind());
    assert!(!matches!(end, Ok(_) | Err(ErrorKind::WouldBlock | ErrorKind::TimedOut)), "the connection is left open");
    reply
}
