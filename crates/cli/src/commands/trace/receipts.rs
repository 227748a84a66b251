//! Receipts in a text: anyone can write one, so what else agrees with it is said.

use marque_core::id::TaskId;
use marque_engine::{FoundReceipt, Trace};

/// What speaks for a receipt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Agreement {
    /// The text, or parts of it, are in that very record.
    Text,
    /// They are in other records of the same task.
    Task,
    /// Nothing in the text: the record is there, and that is all.
    Nothing,
    /// This ledger has no such record.
    Unknown,
}

impl Agreement {
    pub(super) fn of(found: &Trace, receipt: &FoundReceipt) -> Self {
        let Some(chain) = &receipt.chain else { return Self::Unknown };
        let record = chain.decided.as_ref().map(|decided| decided.record);
        if found.chains.iter().any(|c| c.decided.as_ref().map(|decided| decided.record) == record) {
            return Self::Text;
        }
        match chain.tasks.first() {
            Some(own) if is_of(found, own.task.id) => Self::Task,
            _ => Self::Nothing,
        }
    }

    pub(super) fn words(self) -> &'static str {
        match self {
            Self::Text => "in this ledger, and the text comes from it",
            Self::Task => "in this ledger, and the text comes from other records of its task",
            Self::Nothing => "in this ledger, but nothing in the text agrees with it: anyone can write a receipt",
            Self::Unknown => "not in this ledger",
        }
    }
}

/// Whether anything that was found was made under a task.
pub(super) fn is_of(found: &Trace, task: TaskId) -> bool {
    found.chains.iter().flat_map(|chain| &chain.tasks).any(|step| step.task.id == task)
}

/// The tasks that a commit's message names itself: `Agent-Task: task_…`, a line each.
pub(super) fn tasks(message: &str) -> Vec<TaskId> {
    let value = |line: &str| {
        let (key, value) = line.trim().split_once(':')?;
        key.eq_ignore_ascii_case("Agent-Task").then(|| value.trim().parse().ok())?
    };
    let mut tasks: Vec<TaskId> = message.lines().filter_map(value).take(16).collect();
    tasks.dedup();
    tasks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_are_read_from_trailers() {
        let id = TaskId::from_bytes([1; 16]);
        let message = format!("Fix it\n\nAgent-Task: {id}\nagent-task:{id}\nAgent-Task: nonsense\nthe Agent-Task: {id}\n");
        assert_eq!(tasks(&message), [id]);
        assert!(tasks("Agent-Action: rec_1\n").is_empty());
    }
}
