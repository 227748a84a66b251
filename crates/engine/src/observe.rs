//! Looking at a process from outside: what the kernel says, never what the process says of itself.

use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::io::Read as _;
use std::net::SocketAddrV4;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use marque_core::Digest;
use marque_core::attestation::{Attestation, Selector};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::{Pid, PidfdFlags};
use sha2::{Digest as _, Sha256};

use crate::error::{EngineError, Result};

/// Remembers digests of executables that have not changed, so that a second look is cheap.
#[derive(Debug, Default)]
pub struct Observer {
    digests: Mutex<HashMap<FileKey, Digest>>,
}

/// Names one content of one file: device, inode, size, and the times of its last change.
type FileKey = (u64, u64, u64, i64, i64, i64);

impl Observer {
    /// What can be seen of the process `pid`: user and group, executable path, SHA-256 of the executable.
    ///
    /// A pidfd is held from before the first look to after the last: were the number given to another process in
    /// between, the pidfd's process would have ended, and the look is refused.
    pub fn look(&self, pid: u32) -> Result<Attestation> {
        let gone = |source: std::io::Error| EngineError::Read { what: format!("process {pid}"), source };
        let number = i32::try_from(pid)
            .ok()
            .and_then(Pid::from_raw)
            .ok_or_else(|| EngineError::Invalid(format!("`{pid}` is no process")))?;
        let held = rustix::process::pidfd_open(number, PidfdFlags::empty()).map_err(|e| gone(e.into()))?;
        let proc = PathBuf::from(format!("/proc/{pid}"));
        let started = start_time(pid).map_err(gone)?;
        let status = std::fs::read_to_string(proc.join("status")).map_err(gone)?;
        let exe = std::fs::read_link(proc.join("exe")).map_err(gone)?;
        let digest = self.digest(&proc.join("exe")).map_err(gone)?;
        let mut selectors = BTreeSet::new();
        for (key, field) in [("uid", "Uid:"), ("gid", "Gid:")] {
            selectors.insert(Selector::new("unix", key, effective(&status, field).ok_or_else(|| gone(unreadable()))?)?);
        }
        selectors.insert(Selector::new("unix", "path", exe.display())?);
        selectors.insert(Selector::new("unix", "sha256", hex::encode(digest.as_bytes()))?);
        if ended(&held).map_err(gone)? {
            return Err(gone(std::io::Error::new(std::io::ErrorKind::NotFound, "it ended while it was looked at")));
        }
        Ok(Attestation { method: "unix".into(), pid, started, selectors, until: None })
    }

    fn digest(&self, path: &Path) -> std::io::Result<Digest> {
        let mut file = File::open(path)?;
        let meta = file.metadata()?;
        let key = (meta.dev(), meta.ino(), meta.size(), meta.mtime(), meta.mtime_nsec(), meta.ctime_nsec() ^ meta.ctime());
        if let Some(known) = self.digests.lock().unwrap_or_else(PoisonError::into_inner).get(&key) {
            return Ok(*known);
        }
        let mut hasher = Sha256::new();
        let mut buffer = vec![0; 1 << 16];
        loop {
            let count = file.read(&mut buffer)?;
            match buffer.get(..count) {
                None | Some([]) => break,
                Some(bytes) => hasher.update(bytes),
            }
        }
        let digest = Digest::from_bytes(hasher.finalize().into());
        self.digests.lock().unwrap_or_else(PoisonError::into_inner).insert(key, digest);
        Ok(digest)
    }
}

/// Whether a pidfd's process has ended: only then is the descriptor readable.
fn ended(held: &OwnedFd) -> std::io::Result<bool> {
    let mut fds = [PollFd::new(held, PollFlags::IN)];
    Ok(rustix::event::poll(&mut fds, Some(&Timespec::default()))? > 0)
}

/// Looks at a process once, without remembering anything.
pub fn observe(pid: u32) -> Result<Attestation> {
    Observer::default().look(pid)
}

/// The kernel's start time of a process, in clock ticks since boot (`/proc/<pid>/stat`, field 22).
pub fn start_time(pid: u32) -> std::io::Result<u64> {
    stat_field(pid, 22)
}

/// The parent of a process (`/proc/<pid>/stat`, field 4).
pub fn parent_of(pid: u32) -> std::io::Result<u32> {
    stat_field(pid, 4).map(|parent| u32::try_from(parent).unwrap_or(0))
}

/// The process that holds the other end of a loopback TCP connection, among those that descend from `ancestor`.
///
/// `theirs` and `ours` are the addresses of the two ends. The kernel's table names the socket; only a process that has
/// that very socket open is its owner, whatever it says.
pub fn owner_of_connection(theirs: SocketAddrV4, ours: SocketAddrV4, ancestor: u32) -> std::io::Result<Option<u32>> {
    let table = std::fs::read_to_string("/proc/net/tcp")?;
    let address = |a: SocketAddrV4| format!("{:08X}:{:04X}", u32::from_ne_bytes(a.ip().octets()), a.port());
    let (local, remote) = (address(theirs), address(ours));
    let inode = table.lines().find_map(|line| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let matches = fields.get(1) == Some(&local.as_str()) && fields.get(2) == Some(&remote.as_str());
        matches.then(|| fields.get(9).map(|inode| format!("socket:[{inode}]")))?
    });
    let Some(socket) = inode else { return Ok(None) };
    for entry in std::fs::read_dir("/proc")?.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|n| n.parse::<u32>().ok()) else { continue };
        if descends_from(pid, ancestor) && holds(&entry.path().join("fd"), &socket) {
            return Ok(Some(pid));
        }
    }
    Ok(None)
}

/// Whether `ancestor` started `pid`, at any depth.
pub fn descends_from(pid: u32, ancestor: u32) -> bool {
    let mut at = pid;
    for _ in 0..MAX_ANCESTORS {
        match parent_of(at) {
            Ok(parent) if parent == ancestor => return true,
            Ok(parent) if parent > 1 => at = parent,
            _ => return false,
        }
    }
    false
}

fn holds(fds: &Path, socket: &str) -> bool {
    let open = std::fs::read_dir(fds).into_iter().flatten().flatten();
    open.into_iter().any(|fd| std::fs::read_link(fd.path()).is_ok_and(|target| target.as_os_str() == socket))
}

const MAX_ANCESTORS: usize = 64;

/// A numeric field of `/proc/<pid>/stat`. The second field is the program's name in parentheses and may hold anything,
/// so counting starts behind the last of them.
fn stat_field(pid: u32, field: usize) -> std::io::Result<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let (_, rest) = stat.rsplit_once(')').ok_or_else(unreadable)?;
    let text = rest.split_ascii_whitespace().nth(field.saturating_sub(3)).ok_or_else(unreadable)?;
    text.parse().map_err(|_| unreadable())
}

/// The effective id of a line such as `Uid: real effective saved fs`.
fn effective<'a>(status: &'a str, field: &str) -> Option<&'a str> {
    status.lines().find_map(|l| l.strip_prefix(field))?.split_ascii_whitespace().nth(1)
}

fn unreadable() -> std::io::Error {
    std::io::Error::new(std::io::ErrorKind::InvalidData, "the process table is not as expected")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sees_itself_as_the_kernel_does() {
        let pid = std::process::id();
        let seen = observe(pid).unwrap();
        let exe = std::env::current_exe().unwrap();
        let bytes = std::fs::read(&exe).unwrap();
        let expected = [
            format!("unix:path:{}", exe.display()),
            format!("unix:sha256:{}", hex::encode(Sha256::digest(bytes))),
            format!("unix:uid:{}", rustix::process::geteuid().as_raw()),
        ];
        for selector in expected {
            assert!(seen.selectors.iter().any(|s| s.as_str() == selector), "{selector} in {seen:?}");
        }
        assert_eq!(parent_of(pid).unwrap(), std::os::unix::process::parent_id());
        assert!(observe(u32::MAX).is_err());
    }
}
