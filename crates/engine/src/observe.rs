//! Looking at a process from outside: what the kernel says, never what the process says of itself.

mod cgroup;
mod connection;
mod names;
mod process;
pub mod tables;

pub use connection::Connections;
pub use process::Process;

use std::collections::{BTreeSet, HashMap};
use std::fs::{File, Metadata};
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use marque_core::Digest;
use marque_core::attestation::{Attestation, Selector};
use names::Names;
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
    /// What can be seen of a process: user and groups with their names, executable path and its SHA-256, control groups and
    /// systemd unit. Numbers and digest are always seen; of the others, what there is.
    ///
    /// The process is held by its pidfd from before the first look to after the last: had its number been given to another one
    /// in between, it would have ended, and the look is refused. What another program in the same process could change is read
    /// twice and must be the same.
    pub fn look(&self, process: &Process) -> Result<Attestation> {
        let seen = self.see(process, |file| self.digest(file).map(Some))?;
        seen.ok_or_else(|| EngineError::Read { what: process.to_string(), source: unreadable() })
    }

    /// As [`Observer::look`], without hashing anything: some microseconds. Nothing where that is needed.
    pub fn glance(&self, process: &Process) -> Result<Option<Attestation>> {
        self.see(process, |file| Ok(self.known(FileKey::of(&file.metadata()?))))
    }

    fn see(&self, process: &Process, digest: impl Fn(&File) -> std::io::Result<Option<Digest>>) -> Result<Option<Attestation>> {
        let gone = |source: std::io::Error| EngineError::Read { what: process.to_string(), source };
        let proc = PathBuf::from(format!("/proc/{}", process.pid));
        let started = start_time(process.pid).map_err(gone)?;
        let before = Changing::of(&proc).map_err(gone)?;
        let Some(digest) = digest(&before.exe).map_err(gone)? else { return Ok(None) };
        let mut selectors = BTreeSet::new();
        for (key, field) in [("uid", "Uid:"), ("gid", "Gid:")] {
            let number = effective(&before.status, field).ok_or_else(|| gone(unreadable()))?;
            selectors.insert(Selector::new("unix", key, number)?);
        }
        selectors.insert(Selector::new("unix", "sha256", hex::encode(digest.as_bytes()))?);
        let path = before.path().map(|path| ("unix", "path", path.display().to_string()));
        let cgroup = std::fs::read_to_string(proc.join("cgroup")).unwrap_or_default();
        let more = self.named(&before.status).into_iter().chain(cgroup::facts(&cgroup)).chain(path);
        // What cannot be written as a selector is not claimed.
        selectors.extend(more.filter_map(|(attestor, key, value)| Selector::new(attestor, key, value).ok()));
        if !before.is_same(&Changing::of(&proc).map_err(gone)?) {
            return Err(gone(std::io::Error::other("it became another program while it was looked at")));
        }
        if process.has_ended().map_err(gone)? {
            return Err(gone(std::io::Error::new(std::io::ErrorKind::NotFound, "it ended while it was looked at")));
        }
        Ok(Some(Attestation { method: "unix".into(), pid: process.pid, started, selectors, until: None, node: None }))
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

    fn digest(&self, mut file: &File) -> std::io::Result<Digest> {
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

/// What of a process another program in it can change, or another user.
struct Changing {
    status: String,
    exe: File,
    link: PathBuf,
    file: FileKey,
}

impl Changing {
    fn of(proc: &Path) -> std::io::Result<Self> {
        let exe = File::open(proc.join("exe"))?;
        let file = FileKey::of(&exe.metadata()?);
        let status = text(proc.join("status"))?;
        Ok(Self { status, exe, link: std::fs::read_link(proc.join("exe"))?, file })
    }

    fn is_same(&self, other: &Self) -> bool {
        let who = |of: &Self| ["Uid:", "Gid:", "Groups:"].map(|field| line(&of.status, field).map(str::to_owned));
        (self.file, &self.link, who(self)) == (other.file, &other.link, who(other))
    }

    /// The path, where it leads to this file for us, too: in a mount namespace of its own a process has any file at any path.
    fn path(&self) -> Option<&Path> {
        let here = std::fs::metadata(&self.link).ok()?;
        let ours = FileKey::of(&here);
        ((ours.0, ours.1) == (self.file.0, self.file.1)).then_some(&*self.link)
    }
}

/// Looks at a process once, without remembering anything.
pub fn observe(pid: u32) -> Result<Attestation> {
    Observer::default().look(&Process::open(pid)?)
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

/// What stands behind a field's name in `/proc/<pid>/status`.
fn line<'a>(status: &'a str, field: &str) -> Option<&'a str> {
    status.lines().find_map(|l| l.strip_prefix(field))
}

/// The effective id of a line such as `Uid: real effective saved fs`.
fn effective<'a>(status: &'a str, field: &str) -> Option<&'a str> {
    line(status, field)?.split_ascii_whitespace().nth(1)
}

/// The numbers of a line such as `Groups: 4 24 1000`.
fn supplementary(status: &str) -> impl Iterator<Item = &str> {
    line(status, "Groups:").unwrap_or_default().split_ascii_whitespace().filter(|gid| gid.parse::<u32>().is_ok())
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

    fn sleeper(program: &Path) -> std::process::Child {
        std::process::Command::new(program).arg("600").spawn().unwrap()
    }

    /// The number of a process that has ended may name another one, and the pidfd does not.
    #[test]
    fn whoever_gets_a_number_later_is_not_taken_for_who_had_it() {
        let (mut gone, mut here) = (sleeper(Path::new("sleep")), sleeper(Path::new("sleep")));
        let first = Process::open(gone.id()).unwrap();
        gone.kill().unwrap();
        gone.wait().unwrap();
        let reused = Process { pid: here.id(), ..first };
        let observer = Observer::default();
        observer.look(&Process::open(here.id()).unwrap()).unwrap();
        let error = observer.look(&reused).unwrap_err();
        here.kill().unwrap();
        here.wait().unwrap();
        assert!(error.chain().contains("it ended while it was looked at"), "{}", error.chain());
    }

    /// In a mount namespace of its own a process has any file at any path.
    #[test]
    fn a_path_counts_where_it_is_the_same_file_for_all() {
        let folder = tempfile::tempdir().unwrap();
        let sleep = std::env::split_paths(&std::env::var_os("PATH").unwrap()).map(|dir| dir.join("sleep")).find(|p| p.exists());
        let (theirs, other) = (folder.path().join("theirs"), folder.path().join("other"));
        for copy in [&theirs, &other] {
            std::fs::copy(sleep.as_ref().unwrap(), copy).unwrap();
        }
        let script = "mount --bind \"$1\" \"$2\" && exec \"$2\" 600";
        let mut hidden = std::process::Command::new("unshare");
        hidden.args(["--user", "--map-root-user", "--mount", "sh", "-c", script, "sh"]).args([&theirs, &other]);
        let mut hidden = hidden.spawn().unwrap();
        let link = format!("/proc/{}/exe", hidden.id());
        while std::fs::read_link(&link).unwrap() != other {
            assert!(hidden.try_wait().unwrap().is_none(), "user namespaces are needed here");
            std::thread::yield_now();
        }
        let seen = observe(hidden.id()).unwrap();
        hidden.kill().unwrap();
        hidden.wait().unwrap();
        let mut plain = sleeper(&other);
        while std::fs::read_link(format!("/proc/{}/exe", plain.id())).unwrap() != other {
            std::thread::yield_now();
        }
        let honest = observe(plain.id()).unwrap();
        plain.kill().unwrap();
        plain.wait().unwrap();
        let named = |seen: &Attestation| seen.selectors.iter().any(|s| s.as_str().starts_with("unix:path:"));
        assert!(named(&honest) && !named(&seen), "{seen:?}");
    }
}
