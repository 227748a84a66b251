//! Artifacts: files that a task made, such as models and datasets, bound to it by their digest.

use serde::{Deserialize, Serialize};

use crate::Committed;
use crate::id::{InstanceId, TaskId};
use crate::spiffe::SpiffeId;

/// A file with the task that made it and the files that it was made from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Artifact {
    /// The file's name, for people.
    pub name: String,
    /// SHA-256 of its bytes.
    pub content: Committed,
    /// Its length in bytes.
    pub bytes: u64,
    /// The identity that made it.
    pub identity: SpiffeId,
    /// The task under which it was made.
    pub task: TaskId,
    /// The running copy that made it, where it said so itself; a person vouches for it otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<InstanceId>,
    /// SHA-256 of each file that it was made from: training data, a base model, sources.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub inputs: Vec<Committed>,
}
