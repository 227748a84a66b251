//! How fast the next segment is made: new files share the disk with the log, whose syncs wait for theirs.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::Thread;

use super::segments::PIECE;

/// Shared by the writer, which says how full its segment is, and the preparer, which stays at twice of that: the next segment
/// is there when this one is half full, and while nothing is written nothing is made.
#[derive(Debug, Default)]
pub(super) struct Pace {
    filled: AtomicU64,
    ended: AtomicBool,
    preparer: OnceLock<Thread>,
}

impl Pace {
    /// Whom to wake; said before the writer writes.
    pub(super) fn preparer(&self, thread: &Thread) {
        let _ = self.preparer.set(thread.clone());
    }

    /// So much of the segment is full; [`u64::MAX`] while the writer waits for the next one.
    pub(super) fn filled(&self, bytes: u64) {
        let before = self.filled.swap(bytes, Ordering::AcqRel);
        // A piece is due for each half of one.
        if before / (PIECE / 2) != bytes / (PIECE / 2) {
            self.wake();
        }
    }

    /// Nothing more is needed.
    pub(super) fn end(&self) {
        self.ended.store(true, Ordering::Release);
        self.wake();
    }

    /// Waits, on the preparer's thread, until more than `made` bytes of the next segment are due. Says no once the log has ended.
    pub(super) fn wait(&self, made: u64) -> bool {
        loop {
            if self.ended.load(Ordering::Acquire) {
                return false;
            }
            if made < self.filled.load(Ordering::Acquire).saturating_mul(2) {
                return true;
            }
            std::thread::park();
        }
    }

    fn wake(&self) {
        if let Some(preparer) = self.preparer.get() {
            preparer.unpark();
        }
    }
}
