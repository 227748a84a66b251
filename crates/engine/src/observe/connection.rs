//! Whose a loopback TCP connection is.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::net::SocketAddrV4;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use super::descends_from;

/// The kernel's table of the TCP connections of one network namespace. The open file keeps the namespace, whoever ends.
#[derive(Debug)]
pub struct Connections(Mutex<File>);

impl Connections {
    /// Those of the network namespace that a process is in now.
    pub fn around(pid: u32) -> std::io::Result<Self> {
        File::open(format!("/proc/{pid}/net/tcp")).map(|file| Self(Mutex::new(file)))
    }

    /// The process that holds the other end of a connection, among those that descend from `ancestor`.
    ///
    /// `theirs` and `ours` are the addresses of the two ends. The table names the socket; only a process that has that
    /// very socket open is its owner, whatever it says.
    pub fn owner(&self, theirs: SocketAddrV4, ours: SocketAddrV4, ancestor: u32) -> std::io::Result<Option<u32>> {
        let table = self.read()?;
        let Some(inode) = inode(&table, theirs, ours) else { return Ok(None) };
        let socket = format!("socket:[{inode}]");
        for entry in std::fs::read_dir("/proc")?.flatten() {
            let Some(pid) = entry.file_name().to_str().and_then(|n| n.parse::<u32>().ok()) else { continue };
            if descends_from(pid, ancestor) && holds(&entry.path().join("fd"), &socket) {
                return Ok(Some(pid));
            }
        }
        Ok(None)
    }

    fn read(&self) -> std::io::Result<String> {
        let mut file = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut table = String::new();
        file.seek(SeekFrom::Start(0))?;
        file.read_to_string(&mut table)?;
        Ok(table)
    }
}

/// The inode of the socket whose own address is `theirs`. A socket that no process holds any more has the inode 0.
pub(super) fn inode(table: &str, theirs: SocketAddrV4, ours: SocketAddrV4) -> Option<&str> {
    let address = |a: SocketAddrV4| format!("{:08X}:{:04X}", u32::from_ne_bytes(a.ip().octets()), a.port());
    let (local, remote) = (address(theirs), address(ours));
    let inode = table.lines().find_map(|line| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let matches = fields.get(1) == Some(&local.as_str()) && fields.get(2) == Some(&remote.as_str());
        matches.then(|| fields.get(9).copied())?
    });
    inode.filter(|inode| *inode != "0")
}

fn holds(fds: &Path, socket: &str) -> bool {
    let open = std::fs::read_dir(fds).into_iter().flatten().flatten();
    open.into_iter().any(|fd| std::fs::read_link(fd.path()).is_ok_and(|target| target.as_os_str() == socket))
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
    use std::os::unix::process::parent_id;

    use super::*;

    #[test]
    fn the_holder_of_a_connection_is_found_below_its_ancestor_only() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (SocketAddr::V4(theirs), SocketAddr::V4(ours)) = (client.local_addr().unwrap(), client.peer_addr().unwrap()) else {
            panic!("the addresses are of IPv4");
        };
        let connections = Connections::around(std::process::id()).unwrap();
        for _ in 0..2 {
            assert_eq!(connections.owner(theirs, ours, parent_id()).unwrap(), Some(std::process::id()));
        }
        assert_eq!(connections.owner(theirs, ours, std::process::id()).unwrap(), None, "it did not start itself");
        let other = SocketAddrV4::new(*theirs.ip(), theirs.port().wrapping_add(1));
        assert_eq!(connections.owner(other, ours, parent_id()).unwrap(), None);
    }
}
