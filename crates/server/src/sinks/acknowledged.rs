//! What the other end of a TCP connection has acknowledged, by the kernel's table of connections.
//!
//! The table counts the same bytes as `ioctl(SIOCOUTQ)` does, and is read without unsafe code.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Error, ErrorKind, Result};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};
use tokio::net::TcpStream;

/// Waits until the other end's system has acknowledged all that was written; an error where the connection has ended. It
/// waits for as long as it is let: a deadline is the caller's.
pub(super) async fn acknowledged(stream: &TcpStream) -> Result<()> {
    let (ours, theirs) = (stream.local_addr()?, stream.peer_addr()?);
    let mut wait = SHORTEST;
    loop {
        // The table is long where there are many connections.
        let left = tokio::task::spawn_blocking(move || unacknowledged(ours, theirs)).await.map_err(Error::other)??;
        // After the table, in which a connection that was reset is not: what is missing there was not taken.
        if is_closed(stream) {
            return Err(ErrorKind::ConnectionReset.into());
        }
        if left == Some(0) {
            return Ok(());
        }
        tokio::time::sleep(wait).await;
        wait = wait.saturating_mul(2).min(LONGEST);
    }
}

/// Whether the other end has gone away. What it says, if anything, is of no interest. It asks the system itself: what the
/// runtime knows of the connection may be of before.
pub(super) fn is_closed(stream: &TcpStream) -> bool {
    let mut buffer = [0_u8; 512];
    loop {
        match recv(stream, &mut buffer, RecvFlags::DONTWAIT) {
            Ok((0, _)) => return true,
            Ok(_) => {}
            Err(error) => return error != Errno::AGAIN,
        }
    }
}

/// How many bytes were written and not acknowledged yet; nothing where the table has no such connection.
fn unacknowledged(ours: SocketAddr, theirs: SocketAddr) -> Result<Option<u64>> {
    let table = if ours.is_ipv4() { "/proc/self/net/tcp" } else { "/proc/self/net/tcp6" };
    let (ours, theirs) = (listed(ours), listed(theirs));
    for line in BufReader::new(File::open(table)?).lines() {
        let left = queued(&line?, &ours, &theirs);
        if left.is_some() {
            return Ok(left);
        }
    }
    Ok(None)
}

/// The length of the sending queue in a line of the table, if it is the line of this connection: `sl local_address
/// rem_address st tx_queue:rx_queue …` (proc(5)). The kernel counts in it from the first byte that is not acknowledged.
fn queued(line: &str, ours: &str, theirs: &str) -> Option<u64> {
    let mut fields = line.split_ascii_whitespace().skip(1);
    let found = [ours, theirs, ESTABLISHED].into_iter().all(|field| fields.next() == Some(field));
    let (sending, _) = fields.next().filter(|_| found)?.split_once(':')?;
    u64::from_str_radix(sending, 16).ok()
}

/// An address as the table has it: each four octets as one number of this machine, and the port.
fn listed(address: SocketAddr) -> String {
    let words: Vec<[u8; 4]> = match address.ip() {
        IpAddr::V4(ip) => vec![ip.octets()],
        IpAddr::V6(ip) => ip.octets().as_chunks::<4>().0.to_vec(),
    };
    let ip: String = words.into_iter().map(|word| format!("{:08X}", u32::from_ne_bytes(word))).collect();
    format!("{ip}:{:04X}", address.port())
}

/// `TCP_ESTABLISHED` (proc(5)): neither end has closed.
const ESTABLISHED: &str = "01";
/// How long it waits before it looks again: first for little more than an answer on a local network takes.
const SHORTEST: Duration = Duration::from_millis(2);
const LONGEST: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpSocket;

    use super::*;

    /// More than the other end has room for, and less than this one has.
    const MUCH: usize = 256 << 10;

    /// A connection whose other end has little room.
    async fn pair() -> (TcpStream, TcpStream) {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(16 << 10).unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let listener = socket.listen(1).unwrap();
        let ours = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (ours, listener.accept().await.unwrap().0)
    }

    fn left(stream: &TcpStream) -> Option<u64> {
        unacknowledged(stream.local_addr().unwrap(), stream.peer_addr().unwrap()).unwrap()
    }

    async fn within<T>(work: impl Future<Output = T>) -> T {
        tokio::time::timeout(Duration::from_secs(10), work).await.expect("it takes too long")
    }

    #[tokio::test]
    async fn what_the_other_end_has_no_room_for_is_not_acknowledged() {
        let (mut ours, mut theirs) = pair().await;
        assert_eq!(left(&ours), Some(0));
        assert_eq!(unacknowledged(ours.local_addr().unwrap(), "127.0.0.1:1".parse().unwrap()).unwrap(), None);
        within(ours.write_all(&vec![0; MUCH])).await.unwrap();
        assert!(left(&ours) > Some(0), "the system has taken all of it, and the other end has not");
        let mut read = vec![0; MUCH];
        let (taken, read) = within(async { tokio::join!(acknowledged(&ours), theirs.read_exact(&mut read)) }).await;
        taken.unwrap();
        assert_eq!((read.unwrap(), left(&ours)), (MUCH, Some(0)));
        assert!(!is_closed(&ours));
    }

    #[tokio::test]
    async fn a_connection_that_was_reset_has_acknowledged_nothing_more() {
        let (mut ours, theirs) = pair().await;
        within(ours.write_all(&vec![0; MUCH])).await.unwrap();
        theirs.set_zero_linger().unwrap();
        drop(theirs);
        within(acknowledged(&ours)).await.unwrap_err();
    }

    /// The other end has everything and says nothing more: what comes now would be lost.
    #[tokio::test]
    async fn a_connection_that_was_closed_is_seen_to_be() {
        let (mut ours, mut theirs) = pair().await;
        within(ours.write_all(b"all")).await.unwrap();
        within(theirs.read_exact(&mut [0; 3])).await.unwrap();
        within(acknowledged(&ours)).await.unwrap();
        drop(theirs);
        within(async {
            while !is_closed(&ours) {
                tokio::task::yield_now().await;
            }
        })
        .await;
        within(acknowledged(&ours)).await.unwrap_err();
    }

    #[test]
    fn a_line_is_of_one_connection() {
        let [ours, theirs, other] = ["127.0.0.1:8080", "10.1.2.3:514", "10.1.2.3:515"].map(|a| listed(a.parse().unwrap()));
        let line = |state: &str| format!("  12: {ours} {theirs} {state} 0001F4A0:00000007 01:00000014 00000000  0 0 640 1 0 20");
        assert_eq!(queued(&line("01"), &ours, &theirs), Some(0x1F4A0));
        assert_eq!(queued(&line("08"), &ours, &theirs), None, "the other end has closed");
        assert_eq!(queued(&line("01"), &ours, &other), None);
        assert_eq!(queued(&line("01"), &theirs, &ours), None);
        assert_eq!(queued("  sl  local_address rem_address   st tx_queue rx_queue", &ours, &theirs), None);
        assert_eq!(listed("[::1]:514".parse().unwrap()), format!("{}{}", "0".repeat(24), listed("0.0.0.1:514".parse().unwrap())));
    }
}
