//! Looking at a process from outside: what the kernel says, never what the process says of itself.

mod cgroup;
mod connection;
mod names;
pub mod tables;

pub use connection::Connections;

use std::collections::{BTreeSet, HashMap};
use std::fs::{File, Metadata};
use std::io::Read as _;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use marque_core::Digest;
use marque_core::attestation::{Attestation, Selector};
use names::Names;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::{Pid, PidfdFlags};
use sha2::{Digest as _, Sha256};

use crate::error::{EngineError, Result};

/// Remembers what files say that have not changed, so that a second look is cheap.
#[derive(Debug)]
pub struct Observer {
    digests: Mutex<HashMap<FileKey, Digest>>,
    users: Names,
    groups: Names,
}

/// Names one content of one file: device, inode, size, and the times of its last change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct FileKey(u64, u64, u64, i64, i64, i64);

impl FileKey {
    fn of(meta: &Metadata) -> Self {
        Self(meta.dev(), meta.ino(), meta.size(), meta.mtime(), meta.mtime_nsec(), meta.ctime_nsec() ^ meta.ctime())
    }
}

/// A selector's three parts.
type Fact = (&'static str, &'static str, String);

impl Default for Observer {
    fn default() -> Self {
        Self { digests: Mutex::default(), users: Names::of("/etc/passwd"), groups: Names::of("/etc/group") }
    }
}

impl Observer {
    /// What can be seen of the process `pid`: user and groups with their names, executable path and its SHA-256, control
    /// groups and systemd unit. Numbers, path and digest are always seen; of the others, what there is.
    ///
    /// A pidfd is held from before the first look to after the last: were the number given to another process in
    /// between, the pidfd's process would have ended, and the look is refused.
    pub fn look(&self, pid: u32) -> Result<Attestation> {
        let seen = self.see(pid, |path| self.digest(path).map(Some))?;
        seen.ok_or_else(|| EngineError::Read { what: format!("process {pid}"), source: unreadable() })
    }

    /// As [`Observer::look`], without hashing anything: some microseconds. Nothing where that is needed.
    pub fn glance(&self, pid: u32) -> Result<Option<Attestation>> {
        self.see(pid, |path| Ok(self.known(FileKey::of(&File::open(path)?.metadata()?))))
    }

    fn see(&self, pid: u32, digest: impl Fn(&Path) -> std::io::Result<Option<Digest>>) -> Result<Option<Attestation>> {
        let gone = |source: std::io::Error| EngineError::Read { what: format!("process {pid}"), source };
        let number = i32::try_from(pid)
            .ok()
            .and_then(Pid::from_raw)
            .ok_or_else(|| EngineError::Invalid(format!("`{pid}` is no process")))?;
        let held = rustix::process::pidfd_open(number, PidfdFlags::empty()).map_err(|e| gone(e.into()))?;
        let proc = PathBuf::from(format!("/proc/{pid}"));
        let started = start_time(pid).map_err(gone)?;
        let status = text(proc.join("status")).map_err(gone)?;
        let exe = std::fs::read_link(proc.join("exe")).map_err(gone)?;
        let Some(digest) = digest(&proc.join("exe")).map_err(gone)? else { return Ok(None) };
        let mut selectors = BTreeSet::new();
        for (key, field) in [("uid", "Uid:"), ("gid", "Gid:")] {
            selectors.insert(Selector::new("unix", key, effective(&status, field).ok_or_else(|| gone(unreadable()))?)?);
        }
        selectors.insert(Selector::new("unix", "path", exe.display())?);
        selectors.insert(Selector::new("unix", "sha256", hex::encode(digest.as_bytes()))?);
        let cgroup = std::fs::read_to_string(proc.join("cgroup")).unwrap_or_default();
        let more = self.named(&status).into_iter().chain(cgroup::facts(&cgroup));
        // What cannot be written as a selector is not claimed.
        selectors.extend(more.filter_map(|(attestor, key, value)| Selector::new(attestor, key, value).ok()));
        if ended(&held).map_err(gone)? {
            return Err(gone(std::io::Error::new(std::io::ErrorKind::NotFound, "it ended while it was looked at")));
        }
        Ok(Some(Attestation { method: "unix".into(), pid, started, selectors, until: None, node: None }))
    }

    /// The names of user and group, and the supplementary groups.
    fn named(&self, status: &str) -> Vec<Fact> {
        let name = |names: &Names, field| effective(status, field).and_then(|number| names.get(number));
        let user = name(&self.users, "Uid:").map(|name| ("unix", "user", name));
        let group = name(&self.groups, "Gid:").map(|name| ("unix", "group", name));
        let more = supplementary(status).map(|gid| ("unix", "supplementary_gid", gid.to_owned()));
        user.into_iter().chain(group).chain(more).collect()
    }

    fn known(&self, key: FileKey) -> Option<Digest> {
        self.digests.lock().unwrap_or_else(PoisonError::into_inner).get(&key).copied()
    }

    fn digest(&self, path: &Path) -> std::io::Result<Digest> {
        let mut file = File::open(path)?;
        let key = FileKey::of(&file.metadata()?);
        if let Some(known) = self.known(key) {
            return Ok(known);
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

/// Whether a process is in this one's PID namespace (pid_namespaces(7)): only then does a number mean the same to both.
pub fn shares_pids(pid: u32) -> bool {
    let namespace = |of: &str| std::fs::read_link(format!("/proc/{of}/ns/pid")).ok();
    matches!((namespace(&pid.to_string()), namespace("self")), (Some(theirs), Some(ours)) if theirs == ours)
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

const MAX_ANCESTORS: usize = 64;

/// A numeric field of `/proc/<pid>/stat`. The second field is the program's name in parentheses and may hold anything,
/// so counting starts behind the last of them.
fn stat_field(pid: u32, field: usize) -> std::io::Result<u64> {
    field_of(&text(format!("/proc/{pid}/stat"))?, field).ok_or_else(unreadable)
}

/// A table in which a program is named: the kernel cuts a name after 15 bytes, within a letter too.
fn text(table: impl AsRef<Path>) -> std::io::Result<String> {
    Ok(String::from_utf8_lossy(&std::fs::read(table)?).into_owned())
}

fn field_of(stat: &str, field: usize) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_ascii_whitespace().nth(field.saturating_sub(3))?.parse().ok()
}

/// The effective id of a line such as `Uid: real effective saved fs`.
fn effective<'a>(status: &'a str, field: &str) -> Option<&'a str> {
    status.lines().find_map(|l| l.strip_prefix(field))?.split_ascii_whitespace().nth(1)
}

/// The numbers of a line such as `Groups: 4 24 1000`.
fn supplementary(status: &str) -> impl Iterator<Item = &str> {
    let line = status.lines().find_map(|l| l.strip_prefix("Groups:")).unwrap_or_default();
    line.split_ascii_whitespace().filter(|gid| gid.parse::<u32>().is_ok())
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
        let cgroup = std::fs::read_to_string("/proc/self/cgroup").unwrap();
        let cgroup = cgroup::facts(&cgroup).into_iter().map(|(attestor, key, value)| format!("{attestor}:{key}:{value}"));
        let groups = rustix::process::getgroups().unwrap().into_iter();
        let groups = groups.map(|gid| format!("unix:supplementary_gid:{}", gid.as_raw()));
        for selector in expected.into_iter().chain(cgroup).chain(groups) {
            assert!(seen.selectors.iter().any(|s| s.as_str() == selector), "{selector} in {seen:?}");
        }
        assert_eq!(parent_of(pid).unwrap(), std::os::unix::process::parent_id());
        assert!(observe(u32::MAX).is_err());
    }

    #[test]
    fn a_name_that_is_no_text_hides_nothing() {
        rustix::thread::set_name(c"14 letters and\xc3").unwrap();
        let thread = u32::try_from(rustix::thread::gettid().as_raw_nonzero().get()).unwrap();
        assert!(std::fs::read_to_string(format!("/proc/{thread}/stat")).is_err());
        assert_eq!(parent_of(thread).unwrap(), std::os::unix::process::parent_id());
        assert!(start_time(thread).unwrap() >= start_time(std::process::id()).unwrap());
    }

    #[test]
    fn names_and_groups_are_those_of_the_status() {
        let folder = tempfile::tempdir().unwrap();
        let (passwd, group) = (folder.path().join("passwd"), folder.path().join("group"));
        std::fs::write(&passwd, "real:x:1:1::/:\nagent:x:2:2::/:\n").unwrap();
        std::fs::write(&group, "staff:x:9:\n").unwrap();
        let observer = Observer { users: Names::of(passwd), groups: Names::of(group), ..Observer::default() };
        let status = "Name:\ta\nUid:\t1\t2\t2\t2\nGid:\t9\t9\t9\t9\nGroups:\t4 24 \n";
        let named: Vec<String> = observer.named(status).into_iter().map(|(a, k, v)| format!("{a}:{k}:{v}")).collect();
        let expected = ["unix:user:agent", "unix:group:staff", "unix:supplementary_gid:4", "unix:supplementary_gid:24"];
        assert_eq!(named, expected);
        let unnamed = "Uid:\t7\t7\t7\t7\nGid:\t7\t7\t7\t7\nGroups:\t\n";
        assert!(observer.named(unnamed).is_empty(), "a number without a name has none, and there are no groups");
    }
}
