//! A process that cannot be taken for another: its number may be used again, its pidfd may not.

use std::fmt;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::{Pid, PidfdFlags};

use crate::error::{EngineError, Result};

/// A process, held by a pidfd. While it has not ended, its number is nobody else's.
#[derive(Clone, Debug)]
pub struct Process {
    pub(super) pid: u32,
    pub(super) held: Arc<OwnedFd>,
}

impl Process {
    /// The process that has this number now (pidfd_open(2)).
    pub fn open(pid: u32) -> Result<Self> {
        let number = i32::try_from(pid).ok().and_then(Pid::from_raw);
        let number = number.ok_or_else(|| EngineError::Invalid(format!("`{pid}` is no process")))?;
        let held = rustix::process::pidfd_open(number, PidfdFlags::empty());
        let held = held.map_err(|e| EngineError::Read { what: format!("process {pid}"), source: e.into() })?;
        Ok(Self::held(pid, held))
    }

    /// The process of a pidfd, as the kernel gave it with a connection (`SO_PEERPIDFD`), and its number.
    pub fn held(pid: u32, pidfd: OwnedFd) -> Self {
        Self { pid, held: Arc::new(pidfd) }
    }

    /// Its number.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Whether it has ended: only then is its pidfd readable.
    pub fn has_ended(&self) -> std::io::Result<bool> {
        let mut fds = [PollFd::new(&self.held, PollFlags::IN)];
        Ok(rustix::event::poll(&mut fds, Some(&Timespec::default()))? > 0)
    }
}

impl fmt::Display for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "process {}", self.pid)
    }
}
