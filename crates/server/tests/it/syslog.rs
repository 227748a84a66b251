//! An export to a syslog server over TCP: what the server's system did not acknowledge goes out again.

use std::sync::Arc;
use std::time::Duration;

use marque_engine::{Export, ExportFormat};
use marque_server::sinks::{Exporter, SyslogAddress, Target};
use rustix::net::sockopt::set_socket_recv_buffer_size;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinHandle;

use crate::world::{World, within};

const NAME: &str = "siem";
/// Fewer than go into one batch, and more bytes than a system with little room can take of it.
const ENTRIES: u64 = 400;
const LITTLE: u32 = 16 << 10;
const MUCH: usize = 1 << 20;

/// A server at work, with an address of its own. Its system has little room for what it does not read.
fn server() -> TcpListener {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(LITTLE).unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    socket.listen(16).unwrap()
}

/// A log of some length, and an export of all of it.
async fn exported(server: &TcpListener) -> (World, JoinHandle<()>) {
    let world = World::start().await;
    for n in 0..ENTRIES {
        world.engine.record_read(&world.alice, "a question that makes the log longer", n).await.unwrap();
    }
    let address: SyslogAddress = format!("tcp://{}", server.local_addr().unwrap()).parse().unwrap();
    let target = Target::Syslog(address);
    let export = Export { name: NAME.into(), rendering: target.rendering(ExportFormat::Cef).unwrap(), from: 0 };
    let exporter = Exporter::start(Arc::clone(&world.engine), export, &target).await.unwrap();
    (world, tokio::spawn(exporter.run()))
}

/// The first entry that does not count as taken.
fn cursor(world: &World) -> u64 {
    let all = world.engine.export_status().unwrap();
    all.into_iter().find(|status| status.name == NAME).unwrap().cursor
}

/// Waits until everything below an entry counts as taken.
async fn taken(world: &World, next: u64) {
    within(async {
        while cursor(world) != next {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

/// A connection as the server sees it.
struct Connection(BufReader<TcpStream>);

impl Connection {
    async fn next(server: &TcpListener) -> Self {
        Self(BufReader::new(within(server.accept()).await.unwrap().0))
    }

    /// The index of the next entry: `cn1` of a message whose octets are counted.
    async fn entry(&mut self) -> u64 {
        let mut count = Vec::new();
        within(self.0.read_until(b' ', &mut count)).await.unwrap();
        let count: usize = std::str::from_utf8(&count).unwrap().trim_end().parse().unwrap();
        let mut message = vec![0; count];
        within(self.0.read_exact(&mut message)).await.unwrap();
        let message = String::from_utf8(message).unwrap();
        let (_, rest) = message.split_once(" cn1=").unwrap();
        rest.split(' ').next().unwrap().parse().unwrap()
    }

    /// These entries come next, in order, each once.
    async fn brings(&mut self, entries: std::ops::Range<u64>) {
        for index in entries {
            assert_eq!(self.entry().await, index);
        }
    }
}

#[tokio::test]
async fn what_a_server_did_not_acknowledge_goes_to_its_successor() {
    let server = server();
    let (world, exporting) = exported(&server).await;
    let size = world.engine.log_size();
    let mut first = Connection::next(&server).await;
    first.brings(0..size / 2).await;
    // This system has taken all of it, and the other one has no room for the rest.
    assert_eq!(cursor(&world), 0);
    set_socket_recv_buffer_size(&server, MUCH).unwrap();
    first.0.get_ref().set_zero_linger().unwrap();
    drop(first);
    let mut second = Connection::next(&server).await;
    second.brings(0..size).await;
    taken(&world, size).await;
    exporting.abort();
}

#[tokio::test]
async fn what_a_server_takes_comes_once() {
    let server = server();
    let (world, exporting) = exported(&server).await;
    let size = world.engine.log_size();
    let mut first = Connection::next(&server).await;
    first.brings(0..size).await;
    taken(&world, size).await;
    world.engine.record_read(&world.alice, "one more", 1).await.unwrap();
    first.brings(size..size + 1).await;
    taken(&world, size + 1).await;
    // It closes between two batches: nothing more is sent to it.
    drop(first);
    world.engine.record_read(&world.alice, "yet one more", 1).await.unwrap();
    let mut second = Connection::next(&server).await;
    second.brings(size + 1..size + 2).await;
    taken(&world, size + 2).await;
    exporting.abort();
}
