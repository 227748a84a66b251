//! The kernel's tables and the lists of names, as text: what [`super::Observer`] and [`super::Connections`] read of them.

use std::collections::HashMap;
use std::net::SocketAddrV4;

/// A field of `/proc/<pid>/stat` behind the program's name, counted as proc_pid_stat(5) does: from 3 on.
pub fn stat(text: &str, field: usize) -> Option<u64> {
    super::field_of(text, field)
}

/// The effective id of a line of `/proc/<pid>/status`, such as `Uid:`.
pub fn effective<'a>(status: &'a str, field: &str) -> Option<&'a str> {
    super::effective(status, field)
}

/// The supplementary groups in `/proc/<pid>/status`.
pub fn supplementary(status: &str) -> Vec<&str> {
    super::supplementary(status).collect()
}

/// The facts in `/proc/<pid>/cgroup`, each as the three parts of a selector.
pub fn cgroup(text: &str) -> Vec<(&'static str, &'static str, String)> {
    super::cgroup::facts(text)
}

/// The names in `/etc/passwd` or `/etc/group`, by their numbers.
pub fn names(text: &str) -> HashMap<u32, String> {
    super::names::parse(text)
}

/// The inode in `/proc/<pid>/net/tcp` of the socket whose own address is `theirs`, and whose other end's is `ours`.
pub fn socket(table: &str, theirs: SocketAddrV4, ours: SocketAddrV4) -> Option<&str> {
    super::connection::inode(table, theirs, ours)
}
