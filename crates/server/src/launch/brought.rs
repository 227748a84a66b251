//! The listener of an isolated launch. It is made inside, on the loopback of the launch's own network namespace, and a
//! socket stays in the namespace it was made in: so the server accepts on it what comes from there, and from nowhere else.

use std::io::{Error, ErrorKind, IoSliceMut, Result};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;

use marque_engine::{Connections, Launch};
use rustix::net::sockopt::{socket_acceptconn, socket_domain};
use rustix::net::{AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use tokio::io::{AsyncWriteExt as _, Interest};
use tokio::net::{TcpListener, UnixListener, UnixStream};

use crate::serve::{pause_after, peer_of};

/// Waits for the listener that a process of the launch hands over. There is one: the first, which is made before the
/// agent runs. Whoever connects to it is looked at as anywhere else.
pub(super) async fn listener(gate: &UnixListener, launch: &Launch) -> (TcpListener, Connections) {
    loop {
        let stream = match gate.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                pause_after(&error).await;
                continue;
            }
        };
        match taken(stream, launch).await {
            Ok(taken) => return taken,
            Err(error) => tracing::warn!(launcher = launch.pid, "a listener was not taken: {error}"),
        }
    }
}

async fn taken(mut stream: UnixStream, launch: &Launch) -> Result<(TcpListener, Connections)> {
    let wrong = |what: &str| Error::new(ErrorKind::PermissionDenied, what.to_owned());
    let peer = peer_of(&stream)
        .filter(|peer| launch.holds(peer.process.pid()))
        .ok_or_else(|| wrong("it comes from no launched process"))?;
    let received = tokio::time::timeout(PATIENCE, stream.async_io(Interest::READABLE, || descriptor(&stream)));
    let socket = received.await.map_err(|_| wrong("nothing was handed over in time"))??;
    if socket_domain(&socket)? != AddressFamily::INET || !socket_acceptconn(&socket)? {
        return Err(wrong("it does not listen"));
    }
    let listener = std::net::TcpListener::from(socket);
    listener.set_nonblocking(true)?;
    if !listener.local_addr()?.ip().is_loopback() {
        return Err(wrong("it is not on loopback"));
    }
    // The peer waits for the answer, so it is still in the namespace of its listener.
    let taken = (TcpListener::from_std(listener)?, Connections::around(peer.process.pid())?);
    stream.write_all(&[TAKEN]).await?;
    Ok(taken)
}

/// The descriptor in the message that waits.
fn descriptor(stream: &UnixStream) -> Result<OwnedFd> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    recvmsg(stream, &mut [IoSliceMut::new(&mut byte)], &mut ancillary, RecvFlags::CMSG_CLOEXEC)?;
    let found = ancillary.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    });
    found.ok_or_else(|| Error::new(ErrorKind::InvalidData, "nothing was handed over"))
}

/// What the other side is told when its listener is served.
const TAKEN: u8 = b'+';

/// For what a process does at once.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use std::io::IoSlice;
    use std::net::Ipv4Addr;
    use std::os::fd::{AsFd, BorrowedFd};

    use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};

    use super::*;

    fn hand_over(stream: &UnixStream, descriptors: &[BorrowedFd<'_>]) {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        if !descriptors.is_empty() {
            assert!(ancillary.push(SendAncillaryMessage::ScmRights(descriptors)));
        }
        sendmsg(stream, &[IoSlice::new(b"+")], &mut ancillary, SendFlags::empty()).unwrap();
    }

    #[tokio::test]
    async fn a_descriptor_arrives_as_the_same_socket() {
        let (here, there) = UnixStream::pair().unwrap();
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        hand_over(&there, &[listener.as_fd()]);
        here.readable().await.unwrap();
        let arrived = std::net::TcpListener::from(descriptor(&here).unwrap());
        assert_eq!(arrived.local_addr().unwrap(), listener.local_addr().unwrap());
        hand_over(&there, &[]);
        here.readable().await.unwrap();
        assert_eq!(descriptor(&here).unwrap_err().kind(), ErrorKind::InvalidData);
    }
}
